"""Opens the SQLite file beside a receiver that runs or not, for one command."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from receiver.store.base import StoreError
from receiver.store.sqlite.file import SQLiteConnection, transaction
from receiver.store.sqlite.migrations import SCHEMA_VERSION

_HAS_TOKENS = "SELECT 1 FROM sqlite_master WHERE name = 'token'"


@contextmanager
def beside(path: Path) -> Iterator[SQLiteConnection]:
    """Open the database for one change by a command, while a receiver runs or not; StoreError if that fails."""
    with opened(path) as db, transaction(db):
        yield db


@contextmanager
def opened(path: Path) -> Iterator[SQLiteConnection]:
    """Open the database beside a receiver that runs or not; StoreError if that fails.

    The lock of SQLite lets one of both write at a time. A database of another version is left alone.
    """
    try:
        with closing(
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, factory=SQLiteConnection
            )
        ) as db:
            for pragma in ("busy_timeout=5000", "synchronous=FULL"):
                db.execute(f"PRAGMA {pragma}")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION or not db.execute(_HAS_TOKENS).fetchone():
                raise StoreError(f"{path}: is not of this version; start the receiver of this version once")
            yield db
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used ({error})") from error
