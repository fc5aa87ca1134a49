"""Opens the SQLite file: one process at a time, WAL, every commit on the disk, schema up to date."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from receiver.store.base import StoreError
from receiver.store.migrations import SCHEMA_VERSION, upgrade


def lock(path: Path) -> IO[str]:
    """Hold the file for this process; two receivers on one file would page twice. StoreError when it is held."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise StoreError(f"{path}: cannot be used ({error.strerror}); set `database` to a writable place") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise StoreError(f"{path}: another receiver uses this file; stop it, or set another `database`") from error
    return held


def connect(path: Path, now: datetime, keys: Mapping[str, str]) -> sqlite3.Connection:
    """Open and upgrade the file. What a dead process had leased is released: the lock says that nobody sends it."""
    new = not path.exists()
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used as the database ({error})") from error
    try:
        if new:
            path.chmod(0o600)  # incidents name people and systems
            _sync_folder(path.parent)
        _prepare(db, path, now, keys)
    except sqlite3.Error as error:
        db.close()
        raise StoreError(f"{path}: cannot be used as the database ({error})") from error
    except StoreError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, now: datetime, keys: Mapping[str, str]) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        db.execute(f"PRAGMA {pragma}")  # synchronous=NORMAL would lose the last commits with the power
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise StoreError(f"{path}: written by a newer receiver (schema {found}); run that one")
    with transaction(db):
        upgrade(db, found, keys)
        # What the dead process had leased is free: the lock says that nobody sends it.
        db.execute("UPDATE outbox SET lease_until = ? WHERE state = 'sending'", (now.timestamp() - 1,))
        db.execute("UPDATE outbox SET parked = 0 WHERE parked = 1")  # whether an address works is found out anew


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE: what is read inside cannot change before it is written."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.rollback()
        raise
    db.commit()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # else the new file's name may be lost with the power
    finally:
        os.close(handle)
