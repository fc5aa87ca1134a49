"""Saves the whole state as one file, replaced in one step, and reads it back; the folder is one process's at a time."""

import fcntl
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec

VERSION = 1
_NAME = "state.snapshot"


class StorageError(Exception):
    """The folder cannot be used; the text names it and the fix."""


class SnapshotError(Exception):
    """The file is not a snapshot of ours, or is damaged."""


class Folder:
    """The folder of one exporter, locked while it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"storage.path {path}: {error.strerror}; name a folder that may be written") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise StorageError(f"storage.path {path} is in use by another exporter; each needs its own") from error

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()

    def key(self) -> bytes:
        """Give the key of this installation's hashes, made at the first start."""
        path = self.path / "key"
        if not path.exists():
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
        return path.read_bytes()[:64]

    def load(self) -> dict[str, Any] | None:
        """Read the snapshot; None if there is none yet, SnapshotError if it is damaged (it is set aside)."""
        path = self.path / _NAME
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            state: dict[str, Any] = msgspec.msgpack.decode(data[4:])
        except msgspec.DecodeError:
            state = {}
        if zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4] or state.get("version") != VERSION:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            raise SnapshotError(f"{path} is damaged or of another version; it is kept as {aside.name}")
        return state


def encode(state: dict[str, Any]) -> bytes:
    """Turn plain data into the file's bytes; the caller's state may change as soon as this returns."""
    body = msgspec.msgpack.encode({"version": VERSION, **state})
    return zlib.crc32(body).to_bytes(4, "little") + body


def save(folder: Path, data: bytes) -> None:
    """Write the file beside the old one, sync it, and put it in its place; OSError leaves the old one."""
    new = folder / f"{_NAME}.new"
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / _NAME)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # else a crash of the machine may bring the old name back
    finally:
        os.close(descriptor)
