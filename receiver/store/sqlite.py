"""The store on one SQLite file: one writing thread, BEGIN IMMEDIATE around each change, fsync before the answer."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import IO, TypeVar

from receiver.incident import Entry, Incident, Kind
from receiver.store import sqlite_row as row
from receiver.store.base import Backlog, Claimed, Decide, StoreError
from receiver.store.sqlite_file import connect, lock, transaction

T = TypeVar("T")

_CLAIM = """
UPDATE outbox SET state = 'sending', attempt = attempt + 1, lease_until = :until WHERE id IN (
    SELECT o.id FROM outbox o JOIN incident i ON i.id = o.incident_id
    WHERE o.channel = :channel AND o.not_before <= :now
      AND (o.state = 'pending' OR (o.state = 'sending' AND o.lease_until < :now))
      AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.incident_id = o.incident_id AND e.lane = o.lane
                      AND e.id < o.id AND e.state IN ('pending', 'sending'))
    ORDER BY i.priority, o.id LIMIT :limit)
RETURNING id, incident_id, notification, attempt, created_at, lane
"""
# A page whose incident was answered while its sender died: in doubt it was sent, and now it is pointless.
_DROP_POINTLESS = """
UPDATE outbox SET state = 'cancelled', lease_until = NULL, settled_at = :now
WHERE kind = 'page' AND state = 'sending' AND lease_until < :now
  AND incident_id IN (SELECT id FROM incident WHERE state <> 'triggered')
"""
_RETRY = """
UPDATE outbox SET lease_until = NULL, not_before = :when, last_error = :error,
    state = CASE WHEN i.state <> 'triggered' AND kind = 'page' THEN 'cancelled' ELSE 'pending' END,
    settled_at = CASE WHEN i.state <> 'triggered' AND kind = 'page' THEN :now END
FROM incident i
WHERE outbox.id = :id AND i.id = outbox.incident_id AND outbox.state = 'sending' AND attempt = :attempt
"""
_BEAT = "INSERT INTO heartbeat VALUES (?, ?) ON CONFLICT DO UPDATE SET last_seen_at = excluded.last_seen_at"


class SQLiteStore:
    """See receiver.store.base.Store. ``changed`` is called in the event loop after each commit that owes something."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path, self._changed = path, changed
        # One thread owns the connection: SQLite has one writer anyway, and a queue is fairer than its busy handler.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None

    async def open(self, now: datetime) -> None:
        """Create or upgrade the file; StoreError says what is in the way."""

        def work() -> None:
            held = lock(self._path)
            try:
                self._connection = connect(self._path, now)
            except StoreError:
                held.close()
                raise
            self._lock = held

        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def update(self, key: str, decide: Decide, now: datetime) -> Incident | None:
        def change(db: sqlite3.Connection) -> Incident | None:
            return row.save(db, row.open_or_new(db, key, now), decide, now)

        return await self._commit(change)

    async def act(self, incident_id: int, decide: Decide, now: datetime) -> Incident | None:
        def change(db: sqlite3.Connection) -> Incident | None:
            before = row.incident(db, incident_id)
            return row.save(db, before, decide, now) if before else None

        return await self._commit(change)

    async def due(self, now: datetime) -> list[int]:
        query = "SELECT id FROM incident WHERE next_due_at <= ? ORDER BY next_due_at LIMIT 100"
        return await self._run(lambda db: [found[0] for found in db.execute(query, (now.timestamp(),))])

    async def claim(self, channel: str, now: datetime, lease: float, limit: int) -> list[Claimed]:
        at = now.timestamp()
        given = {"channel": channel, "now": at, "until": at + lease, "limit": limit}

        def change(db: sqlite3.Connection) -> list[Claimed]:
            with transaction(db):
                db.execute(_DROP_POINTLESS, given)
                return [row.claimed(db, *found) for found in db.execute(_CLAIM, given).fetchall()]

        return await self._run(change)

    async def settle(self, claimed: Claimed, ref: str, now: datetime) -> None:
        await self._commit(lambda db: row.finish(db, claimed, "sent", now, ref=ref))

    async def retry_at(self, claimed: Claimed, when: datetime, error: str, now: datetime) -> None:
        given = {"when": when.timestamp(), "error": error, "now": now.timestamp()}
        given |= {"id": claimed.id, "attempt": claimed.attempt}
        await self._commit(lambda db: db.execute(_RETRY, given))

    async def dead(self, claimed: Claimed, error: str, decide: Decide, now: datetime) -> None:
        def change(db: sqlite3.Connection) -> None:
            if not row.finish(db, claimed, "dead", now, error=error):
                return  # another attempt holds the lease by now
            target = claimed.notification.target
            row.write(db, claimed.incident.id, Entry(now, "dead", f"{target.channel} to {target.address}: {error}"))
            before = row.incident(db, claimed.incident.id)
            if claimed.notification.kind is Kind.PAGE and before and row.round_is_dead(db, claimed):
                row.save(db, before, decide, now)

        await self._commit(change)

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        def read(db: sqlite3.Connection) -> tuple[Incident, tuple[Entry, ...]] | None:
            found = row.incident(db, incident_id)
            return (found, row.timeline(db, incident_id)) if found else None

        return await self._run(read)

    async def incidents(self, state: str | None, limit: int) -> list[Incident]:
        return await self._run(lambda db: row.newest(db, state, limit))

    async def beat(self, source: str, now: datetime) -> None:
        await self._commit(lambda db: db.execute(_BEAT, (source, now.timestamp())))

    async def backlog(self) -> Backlog:
        return await self._run(row.backlog)

    async def close(self) -> None:
        if self._connection is not None:
            await self._run(lambda db: db.close())
            self._connection = None
        self._thread.shutdown()
        if self._lock is not None:
            self._lock.close()

    async def _commit(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def run(db: sqlite3.Connection) -> T:
            with transaction(db):
                return change(db)

        result = await self._run(run)
        self._changed()
        return result

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def guarded() -> T:
            if self._connection is None:
                raise StoreError(f"{self._path}: the store is not open")
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                raise StoreError(f"{self._path}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)
