"""Saves the whole state as one file, replaced atomically, and loads it; locks the folder for one process."""

import fcntl
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec

from exporter.persistence.journal import sync_folder

log = logging.getLogger("exporter.persistence.snapshot")

VERSION = 1
_KEY_BYTES = 32
_NAME = "state.snapshot"
_PREVIOUS = "state.snapshot.previous"
_SET_ASIDE = "set-aside.records"  # each record as its length in four bytes, little-endian, and its bytes
_MAX_SET_ASIDE = 16 * 1024 * 1024  # bytes


class StorageError(Exception):
    """The folder cannot be used; the text names it and the fix."""


class SnapshotError(Exception):
    """The file is not a snapshot of this version, or is damaged."""


class Folder:
    """The folder of one exporter, locked while it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults = 0  # of the key
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.fdopen(_private(path / "lock", os.O_TRUNC), "w", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"storage.path {path}: {error.strerror} (expected a writable folder)") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise StorageError(f"storage.path {path} is in use by another exporter; use a folder of its own") from error

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.close()

    def key(self) -> bytes:
        """Return the key of this installation's hashes, created at the first start."""
        path = self.path / "key"
        try:
            key = path.read_bytes()[:64] if path.exists() else b""
            is_sound = len(key) >= _KEY_BYTES or not path.exists()
        except OSError:
            key, is_sound = b"", False
        if not is_sound:
            self.faults += 1
            log.error("%s is damaged: made a new one; known users are counted again", path)
        return key if len(key) >= _KEY_BYTES else self._new_key(path)

    def _new_key(self, path: Path) -> bytes:
        """Write a whole file or none: anybody could compute hashes that have an empty key."""
        key, new = os.urandom(_KEY_BYTES), path.with_name("key.new")
        try:
            if path.is_dir():
                _set_aside(path)
            with os.fdopen(_private(new, os.O_TRUNC), "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            sync_folder(self.path)
        except OSError as error:
            self.faults += 1
            log.error("cannot write %s: %s; known users are counted again after a restart", path, error.strerror)  # noqa: TRY400
        return key

    def load(self) -> dict[str, Any] | None:
        """Load the snapshot; None if there is none, SnapshotError if it is damaged (it is renamed and kept)."""
        return _load(self.path / _NAME)

    def load_previous(self) -> dict[str, Any] | None:
        """Load the snapshot before the newest, as ``load`` does."""
        return _load(self.path / _PREVIOUS)

    def set_aside(self, record: bytes) -> str:
        """Keep a record that could not be counted, for whoever looks into it; returns where it went."""
        path = self.path / _SET_ASIDE
        try:
            with os.fdopen(_private(path, os.O_APPEND), "ab") as file:
                if file.tell() + len(record) > _MAX_SET_ASIDE:
                    return f"dropped, as {path.name} is full"
                file.write(len(record).to_bytes(4, "little") + record)
        except OSError as error:  # a full disk must not keep the exporter from starting
            return f"dropped, as {path.name} cannot be written: {error.strerror}"
        return f"kept in {path.name}"


def _load(path: Path) -> dict[str, Any] | None:
    try:
        path.chmod(0o600)  # earlier versions left it readable by all
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}, {_set_aside(path)}") from error
    state = _decoded(data)
    if state is None or state.get("version") != VERSION:
        raise SnapshotError(f"{path} is damaged or of another version, {_set_aside(path)}")
    return state


def _decoded(data: bytes) -> dict[str, Any] | None:
    if zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
        return None
    try:
        state = msgspec.msgpack.decode(data[4:])
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return None
    return state if isinstance(state, dict) else None


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        return f"and cannot be renamed: {error.strerror}"
    return f"kept as {aside.name}"


def _private(path: Path, flags: int) -> int:
    """Open a file for writing that only the exporter's own user can read."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | flags, 0o600)
    os.fchmod(descriptor, 0o600)  # it may have existed
    return descriptor


def encode(state: dict[str, Any]) -> bytes:
    """Encode plain data as the file's bytes; the state may change as soon as this returns."""
    body = msgspec.msgpack.encode({"version": VERSION, **state})
    return zlib.crc32(body).to_bytes(4, "little") + body


def save(folder: Path, data: bytes) -> None:
    """Write and sync a new file and rename it over the old one, which is kept beside it; OSError leaves the old one."""
    new = folder / f"{_NAME}.new"
    with os.fdopen(_private(new, os.O_TRUNC), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _keep_previous(folder)
    new.replace(folder / _NAME)
    sync_folder(folder)  # else a crash of the machine may undo the rename


def _keep_previous(folder: Path) -> None:
    """Give the newest snapshot a second name, so that there is one at every moment."""
    if not (folder / _NAME).exists():
        return
    link = folder / f"{_PREVIOUS}.new"
    link.unlink(missing_ok=True)
    link.hardlink_to(folder / _NAME)
    link.replace(folder / _PREVIOUS)
