"""Reads incidents that opened in a period from the SQLite file, also beside a running receiver."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from receiver.store.base import StoreError
from receiver.store.sql.connection import Connection
from receiver.store.sql.history import StoredHistory
from receiver.store.sqlite.file import SQLiteConnection
from receiver.store.sqlite.migrations import SCHEMA_VERSION

_BUSY_TIMEOUT = 10.0  # seconds
T = TypeVar("T")


class SQLiteHistory(StoredHistory):
    """See receiver.store.base.History. The file is opened at the first reading, and only to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(self._read, self._let_go)
        self._path = path
        self._db: SQLiteConnection | None = None

    def _let_go(self) -> None:
        if self._db is not None:
            self._db.close()

    async def _read(self, read: Callable[[Connection], T]) -> T:
        try:
            if self._db is None:
                self._db = await asyncio.to_thread(self._open)
            return await asyncio.to_thread(read, self._db)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise StoreError(f"{self._path}: not a receiver's database ({error})") from error

    def _open(self) -> SQLiteConnection:
        if not self._path.is_file():
            raise StoreError(f"{self._path}: no such database")
        url = f"{self._path.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(url, uri=True, timeout=_BUSY_TIMEOUT, check_same_thread=False, factory=SQLiteConnection)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error:
            db.close()
            raise
        if version != SCHEMA_VERSION:
            db.close()
            raise StoreError(
                f"{self._path}: schema version {version}, expected {SCHEMA_VERSION}; run the receiver's own version"
            )
        return db
