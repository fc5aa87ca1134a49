"""Writes accepted events to disk before they are acknowledged: an append-only file, with one sync for many requests.

A record is its length and CRC-32 (little-endian) and its bytes. What was written survives a crash of the process, as it
is in the kernel's page cache; what was synced survives a crash of the machine. A truncated record at the end of a
file was never acknowledged; anything else that cannot be read is damage, and only what is damaged is skipped. A file
begins with the size of the one before it, so that it is noticed if files are deleted, emptied or cut off.
"""

import asyncio
import enum
import errno
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<II")
# The first record of a file: the number and the size of the file before. No MessagePack begins with 0xC1
# (github.com/msgpack/msgpack/blob/master/spec.md), so it is never taken for a record of events.
_LINK = struct.Struct("<6sQQ")
_LINK_MARK = b"\xc1after"
_FILE_NAME = re.compile(r"([0-9]{12}|[1-9][0-9]{12,17})\.journal", re.ASCII)
_GATHER = 0.002  # seconds to wait for more records before a sync, at most
_MAX_RECORD = 64 * 1024 * 1024
_PARTS = 4  # a snapshot is due when the journal since the last one, or what is left of the limit, is such a part of it


# Bytes that a search for the next record may check-sum: random bytes look like a record's head in one of 64 places.
_MAX_SEARCHED = 1 << 30


class Kind(enum.Enum):
    """What is wrong with a file."""

    INCOMPLETE = "its last record is incomplete and was never acknowledged"
    DAMAGED = "bytes of it are damaged"
    CUT_OFF = "its end is missing"
    MISSING = "it is missing"
    UNREADABLE = "it cannot be read and was renamed"


class Fault(NamedTuple):
    """So many bytes of a file that could not be read, from ``at`` on; 0 if it is not known how many."""

    path: Path
    at: int
    lost: int
    kind: Kind


class JournalError(Exception):
    """The record could not be written; nothing of it was counted."""


class Journal:
    """Numbered files in a folder, of which the last is written. ``observe`` gets the seconds of each sync.

    All files together hold at most ``limit`` bytes. ``grown`` is set when a snapshot should make room.
    """

    def __init__(
        self, folder: Path, monotonic: Callable[[], float], observe: Callable[[float], None], limit: int
    ) -> None:
        self._folder, self._monotonic, self._observe, self._limit = folder, monotonic, observe, limit
        self._file = -1
        self._retired: list[int] = []
        self._is_new = False  # the folder has not been synced since the file was created
        self._broken = False
        self._size = 0  # of the file, up to its last complete record
        self._written = self._synced = 0  # bytes since the start, over all files
        self._syncing: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.bytes = 0  # since the last snapshot
        self.grown = asyncio.Event()
        self._before = 0  # no file gets this number or a smaller one
        self._total = sum(self._size_of(number) for number in self.numbers())

    def numbers(self) -> list[int]:
        """List the numbers of the existing files."""
        return sorted(int(path.stem) for path in self._folder.iterdir() if _FILE_NAME.fullmatch(path.name))

    def read(self, first: int, on_fault: Callable[[Fault], None]) -> Iterator[bytes]:
        """Yield the records from file ``first`` on; ``on_fault`` is told of what is skipped, missing or cut off.

        File ``first`` must exist, unless it is 0. A file that cannot be read at all is renamed, so that it is kept.
        """
        numbers = [number for number in self.numbers() if number >= first] or ([first] if first else [])
        for number in _with_gaps(first or min(numbers, default=0), numbers):
            size = self._size_once(number)
            path = self._path(number)
            try:
                data = path.read_bytes()
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                if not missing:
                    with suppress(OSError):
                        path.replace(path.with_name(f"{path.name}.damaged"))
                on_fault(Fault(path, 0, size, Kind.MISSING if missing else Kind.UNREADABLE))
                continue
            yield from self._records(path, data, size, on_fault)

    def _records(self, path: Path, data: bytes, size: int, on_fault: Callable[[Fault], None]) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            end = _end_of_record(data, at)
            if end is None:
                following = _next_record(data, at)
                if following < len(data) or not _is_cut_off(data, at):
                    on_fault(Fault(path, at, following - at, Kind.DAMAGED))
                elif len(data) >= size:
                    on_fault(Fault(path, at, following - at, Kind.INCOMPLETE))
                at = following
            else:
                if at or _linked(data[_HEAD.size : end]) is None:
                    yield data[at + _HEAD.size : end]
                at = end
        if len(data) < size:
            on_fault(Fault(path, len(data), size - len(data), Kind.CUT_OFF))

    def _size_once(self, number: int) -> int:
        """Return the size that a file had when the next one was begun; 0 if that does not say."""
        try:
            with self._path(number + 1).open("rb") as file:
                data = file.read(_HEAD.size + _LINK.size)
        except OSError:
            return 0
        linked = _linked(data[_HEAD.size :]) if _end_of_record(data, 0) else None
        return linked[1] if linked and linked[0] == number else 0

    def begin(self, after: int) -> None:
        """Begin the first file, with a number above ``after``; if the disk has no room, the next record begins it."""
        self._before = after
        try:
            self.rotate()
        except OSError:
            self._broken = True

    def rotate(self) -> int:
        """Begin a new file and return its number; the old one is closed with the next sync."""
        previous = max([*self.numbers(), self._before])
        number = previous + 1
        descriptor = os.open(self._path(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        if self._file >= 0:
            self._retired.append(self._file)
        self._file, self._broken = descriptor, False
        self._size = self.bytes = self._write_link(descriptor, previous) if previous else 0
        self._total += self._size
        self._is_new = True
        self.grown.clear()
        return number

    def _write_link(self, descriptor: int, previous: int) -> int:
        """Write the size of the file before; returns the bytes written: none if the disk is full."""
        link = _LINK.pack(_LINK_MARK, previous, self._size_of(previous))
        data = _HEAD.pack(len(link), zlib.crc32(link)) + link
        with suppress(OSError):
            if os.write(descriptor, data) == len(data):
                return len(data)
            os.ftruncate(descriptor, 0)
        return 0

    def append(self, record: bytes) -> None:
        """Write a record; JournalError if that fails, and then nothing of it is left in the file."""
        data = _HEAD.pack(len(record), zlib.crc32(record)) + record
        if self.bytes + len(data) > self._limit // _PARTS or self._total > self._limit - self._limit // _PARTS:
            self.grown.set()
        if self._total + len(data) > self._limit:
            raise JournalError(f"the journal in {self._folder} has reached storage.max_journal, {self._limit} bytes")
        try:
            if self._broken:
                self.rotate()
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301  # both are undone below
        except OSError as error:
            self._undo()
            raise JournalError(f"cannot write to {self._folder}: {error.strerror}") from error
        self._size += len(data)
        self._total += len(data)
        self.bytes += len(data)
        self._written += len(data)

    def _undo(self) -> None:
        """Remove a half-written record: in the middle of a file it would hide those behind it."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._broken = True  # the next record goes to a new file

    async def durable(self) -> None:
        """Wait until everything written so far is on disk; one sync serves all who are waiting.

        OSError if the sync fails. The kernel may then have dropped the pages, so the process must not go on
        (wiki.postgresql.org/wiki/Fsync_Errors).
        """
        if self._synced >= self._written:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._written, waiter))
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.ensure_future(self._sync())
        await waiter

    @property
    def clean(self) -> bool:
        """Whether everything written is on disk."""
        return self._synced == self._written

    async def _sync(self) -> None:
        """Sync until nobody waits; a failure is raised for all who do."""
        served = 0
        while self._waiting:
            if served > 1:
                await self._gather()
            served = len(self._waiting)
            written, retired, self._retired = self._written, self._retired, []
            folder, self._is_new = self._folder if self._is_new else None, False
            began = self._monotonic()
            try:
                await asyncio.to_thread(_sync_all, [*retired, self._file], retired, folder)
            except OSError as error:
                self._wake(self._written, error)
                return
            self._observe(self._monotonic() - began)
            self._synced = max(self._synced, written)
            self._wake(written, None)

    async def _gather(self) -> None:
        """Wait for more records, as a sync takes 80 µs of a thread's time: while each turn of the loop brings some.

        A turn that brings none shows that the process is idle, so nothing is saved by waiting.
        """
        until, before = self._monotonic() + _GATHER, -1
        while before < self._written and self._monotonic() < until:
            before = self._written
            await asyncio.sleep(0)

    def _wake(self, written: int, error: OSError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for target, waiter in waiting:
            if target > written:
                self._waiting.append((target, waiter))
            elif not waiter.done():  # a waiter may have been cancelled
                waiter.set_result(None) if error is None else waiter.set_exception(error)

    def delete(self, before: int) -> None:
        """Delete the files before this number, once a snapshot has all that they hold."""
        for number in self.numbers():
            if number < before:
                size = self._size_of(number)
                with suppress(OSError):  # a stray folder of this name must not be the end of all snapshots
                    self._path(number).unlink()
                    self._total -= size

    def close(self) -> None:
        """Sync and close."""
        descriptors = [*self._retired, *([self._file] if self._file >= 0 else [])]
        _sync_all(descriptors, descriptors, self._folder)
        self._file, self._retired = -1, []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.journal"

    def _size_of(self, number: int) -> int:
        path = self._path(number)
        return path.stat().st_size if path.is_file() else 0


def _with_gaps(first: int, numbers: list[int]) -> Iterator[int]:
    """Yield the numbers, from ``first`` on, and the last of each gap: the next file may know its size."""
    expected = first
    for number in numbers:
        if number > expected:
            yield number - 1
        yield number
        expected = number + 1


def _linked(record: bytes) -> tuple[int, int] | None:
    """Return number and size of the file before, from the first record of a file; None for a record of events."""
    if len(record) != _LINK.size or not record.startswith(_LINK_MARK):
        return None
    _, number, size = _LINK.unpack(record)
    return number, size


def _sync_all(descriptors: list[int], close: list[int], folder: Path | None) -> None:
    """Sync files, and the ``folder`` that has a new one: else a crash of the machine may leave no name for it."""
    for descriptor in descriptors:
        os.fdatasync(descriptor)
    if folder is not None:
        sync_folder(folder)
    for descriptor in close:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Sync what is in a folder: that a file was created, renamed or deleted."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_of_record(data: bytes, at: int) -> int | None:
    """Return where the record ends that begins ``at``; None if there is no complete and sound one."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    end: int = at + _HEAD.size + length
    if not 0 < length <= _MAX_RECORD or end > len(data):  # no record is empty, but zeros look like an empty one
        return None
    return end if zlib.crc32(memoryview(data)[at + _HEAD.size : end]) == checksum else None


def _next_record(data: bytes, damaged: int) -> int:
    """Return where the first sound record after a damaged one begins; the length of the data if none is found."""
    if damaged + _HEAD.size <= len(data):  # its length is most likely sound
        following: int = damaged + _HEAD.size + _HEAD.unpack_from(data, damaged)[0]
        if _end_of_record(data, following) is not None:
            return following
    searched = 0
    for at in range(damaged + 1, len(data) - _HEAD.size):
        length = _HEAD.unpack_from(data, at)[0]
        if not 0 < length <= len(data) - at - _HEAD.size:
            continue
        searched += length
        if _end_of_record(data, at) is not None:
            return at
        if searched > _MAX_SEARCHED:
            break
    return len(data)


def _is_cut_off(data: bytes, at: int) -> bool:
    """Whether the record is incomplete because the file ends in it, not because its bytes are damaged."""
    if at + _HEAD.size > len(data):
        return True
    length, checksum = _HEAD.unpack_from(data, at)
    is_whole = zlib.crc32(memoryview(data)[at + _HEAD.size :]) == checksum  # and only its length is damaged
    return length <= _MAX_RECORD and at + _HEAD.size + length > len(data) and not is_whole
