"""Keeps accepted events on disk before they are answered: an append-only file, synced for many requests at once.

A record is its length and CRC-32 (little-endian) and its bytes. What was written survives the death of the process, for
it is in the kernel's page cache; what was synced survives the death of the machine. One that is cut off at the end
of the last file was never answered.
"""

import asyncio
import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

_HEAD = struct.Struct("<II")
_GATHER = 0.002  # seconds
_LARGEST = 64 * 1024 * 1024


class JournalError(Exception):
    """The disk did not take it; nothing of it was counted."""


class Journal:
    """Numbered files in a folder; the last one is written. ``observe`` is told the seconds of each sync."""

    def __init__(self, folder: Path, monotonic: Callable[[], float], observe: Callable[[float], None]) -> None:
        self._folder, self._monotonic, self._observe = folder, monotonic, observe
        self._file = -1
        self._retired: list[int] = []
        self._broken = False
        self._size = 0  # of the file, up to its last whole record
        self._written = self._synced = 0  # bytes since the start, over all files
        self._syncing: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.bytes = 0  # since the last snapshot

    def numbers(self) -> list[int]:
        """List the files that there are."""
        return sorted(int(path.stem) for path in self._folder.glob("*.journal") if path.stem.isdigit())

    def read(self, first: int, on_fault: Callable[[Path, int], None]) -> Iterator[bytes]:
        """Give the records from file ``first`` on; a broken one ends its file, and ``on_fault`` is told of it."""
        for number in self.numbers():
            if number < first:
                continue
            path = self._path(number)
            data = path.read_bytes()
            at = 0
            while at + _HEAD.size <= len(data):
                length, checksum = _HEAD.unpack_from(data, at)
                record = data[at + _HEAD.size : at + _HEAD.size + length]
                if length > _LARGEST or len(record) < length or zlib.crc32(record) != checksum:
                    break
                yield record
                at += _HEAD.size + length
            if at < len(data):
                on_fault(path, len(data) - at)

    def rotate(self) -> int:
        """Begin a new file, and give its number; the old one is synced and closed with the next sync."""
        number = max([*self.numbers(), 0]) + 1
        descriptor = os.open(self._path(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        if self._file >= 0:
            self._retired.append(self._file)
        self._file, self._size, self.bytes, self._broken = descriptor, 0, 0, False
        return number

    def append(self, record: bytes) -> None:
        """Write a record; JournalError if the disk does not take it, and then it is as if it had never been."""
        data = _HEAD.pack(len(record), zlib.crc32(record)) + record
        try:
            if self._broken:
                self.rotate()
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301  # both are undone below
        except OSError as error:
            self._undo()
            raise JournalError(f"cannot write to {self._folder}: {error.strerror}") from error
        self._size += len(data)
        self.bytes += len(data)
        self._written += len(data)

    def _undo(self) -> None:
        """Take back what was written of a record: a cut-off one in the middle would hide those behind it."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._broken = True  # the next record goes to a file of its own

    async def durable(self) -> None:
        """Wait until all that was written is on the disk: one sync serves all who wait meanwhile.

        OSError if the sync fails. The kernel may then have thrown the pages away, so the process must not go on
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
        """Say whether all that was written is on the disk."""
        return self._synced == self._written

    async def _sync(self) -> None:
        """Sync until nobody waits; a failure is told to all."""
        served = 0
        while self._waiting:
            if served > 1:  # many are sending: a sync costs 80 µs of a thread's time, so let a few more come first
                await asyncio.sleep(_GATHER)
            served = len(self._waiting)
            written, retired, self._retired = self._written, self._retired, []
            began = self._monotonic()
            try:
                await asyncio.to_thread(_sync_all, [*retired, self._file], retired)
            except OSError as error:
                self._wake(self._written, error)
                return
            self._observe(self._monotonic() - began)
            self._synced = max(self._synced, written)
            self._wake(written, None)

    def _wake(self, written: int, error: OSError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for target, waiter in waiting:
            if target > written:
                self._waiting.append((target, waiter))
            elif not waiter.done():  # whoever waited may have gone
                waiter.set_result(None) if error is None else waiter.set_exception(error)

    def forget(self, before: int) -> None:
        """Delete the files before this number: a snapshot has all that they hold."""
        for number in self.numbers():
            if number < before:
                self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Sync and close."""
        descriptors = [*self._retired, *([self._file] if self._file >= 0 else [])]
        _sync_all(descriptors, descriptors)
        self._file, self._retired = -1, []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.journal"


def _sync_all(descriptors: list[int], close: list[int]) -> None:
    for descriptor in descriptors:
        os.fdatasync(descriptor)
    for descriptor in close:
        os.close(descriptor)
