"""Reads incidents that opened in a period from the SQLite file, also beside a running receiver."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from receiver.incident.model import Entry, Incident
from receiver.oncall.cover import Cover
from receiver.store.base import IncidentHistory, PastIncident, StoreError, Undelivered
from receiver.store.duty import MadeWindow
from receiver.store.sql import duty, row
from receiver.store.sql.connection import ALL, Connection
from receiver.store.sql.history import opened_between, undelivered
from receiver.store.sqlite.file import SQLiteConnection
from receiver.store.sqlite.migrations import SCHEMA_VERSION

_BUSY_TIMEOUT = 10.0  # seconds
T = TypeVar("T")


class SQLiteHistory:
    """See receiver.store.base.History. The file is opened at the first reading, and only to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: SQLiteConnection | None = None

    def opened_between(self, start: datetime, end: datetime) -> AsyncIterator[IncidentHistory]:
        return opened_between(self._run, start, end)

    async def undelivered(self, start: datetime, end: datetime) -> list[Undelivered]:
        return await self._run(lambda db: undelivered(db, start, end))

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        def read(db: Connection) -> tuple[Incident, tuple[Entry, ...]] | None:
            stored = row.incident(db, incident_id)
            return (stored, row.timeline(db, incident_id, ALL)) if stored else None

        return await self._run(read)

    async def covers(self, now: datetime) -> tuple[Cover, ...]:
        return await self._run(lambda db: duty.covers(db, now))

    async def windows(self, now: datetime) -> tuple[MadeWindow, ...]:
        return await self._run(lambda db: duty.windows(db, now))

    async def alike(self, alertname: str, team: str, limit: int) -> list[PastIncident]:
        return await self._run(lambda db: row.alike(db, alertname, team, limit))

    async def close(self) -> None:
        if self._db is not None:
            self._db.close()

    async def _run(self, read: Callable[[Connection], T]) -> T:
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
