"""The threads of the SQLite store: one that writes, and one that reads beside it.

A commit with synchronous=FULL costs one fsync, however much is in it.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from receiver.store.base import Outage, RejectedError, StoreError, StoreOutageError
from receiver.store.sql.ahead import Ahead
from receiver.store.sql.connection import Connection
from receiver.store.sql.queue import Change, GroupCommit, log_turn
from receiver.store.sqlite.file import PATIENT, SQLiteConnection, transaction

T = TypeVar("T")

# Milliseconds that a change waits, while another program has a lock: 503 now is better than 503 in five seconds.
_IMPATIENT = 50
# A webhook that comes while a page is settled is answered after its own part of the work. More of them share a commit.
_APART = 2
_OUTAGES = {
    sqlite3.SQLITE_FULL: Outage.FULL,
    sqlite3.SQLITE_BUSY: Outage.LOCKED,
    sqlite3.SQLITE_LOCKED: Outage.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Outage.LOCKED,
    sqlite3.SQLITE_READONLY: Outage.READ_ONLY,
    sqlite3.SQLITE_IOERR: Outage.IO_ERROR,
    sqlite3.SQLITE_CANTOPEN: Outage.IO_ERROR,
    sqlite3.SQLITE_CORRUPT: Outage.CORRUPT,
    sqlite3.SQLITE_NOTADB: Outage.CORRUPT,
}


class Writer:
    """The one thread that owns the connection: SQLite has one writer anyway, and a queue is fairer than its locks."""

    def __init__(self, name: str, committed: Callable[[], None]) -> None:
        """``committed`` is called in the thread after each transaction, before anybody hears of its outcome."""
        self._name, self.connection = name, None  # type: str, SQLiteConnection | None
        self._committed = committed
        self._changes = GroupCommit("sqlite", self._transact, committed, apart=_APART)
        self.outage: Outage | None = None  # of the last attempt to write

    async def commit(
        self,
        change: Callable[[Connection], T],
        *,
        urgent: bool = False,
        ask: Callable[[Ahead], None] | None = None,  # noqa: ARG002  # an answer takes no time
    ) -> T:
        """See receiver.store.sql.connection.Writer."""
        return await self._changes.commit(change, urgent=urgent)

    async def commit_in_order(self, change: Callable[[Connection], T]) -> T:
        """See receiver.store.sql.connection.Writer."""
        return await self._changes.commit_in_order(change)

    @property
    def is_idle(self) -> bool:
        """Say whether no change waits or is being made."""
        return self._changes.is_idle

    async def commit_if(self, look: Callable[[Connection], bool], change: Callable[[Connection], T]) -> T | None:
        """Make a change by itself if a look says so, in one turn of the thread; None if it does not."""

        def work() -> T | None:
            if not _guarded(self._name, self._open, look):
                return None
            try:
                done: T = self._transact(lambda: [change])[0]
            finally:
                self._committed()
            return done

        return await self.call(work)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read, or do what manages its own transaction."""
        return await self.call(partial(_guarded, self._name, self._open, work))

    async def call(self, work: Callable[[], T]) -> T:
        """Run something in the thread that owns the connection, before there is one."""
        return await self._changes.call(work)

    def shutdown(self) -> None:
        """Let the thread end."""
        self._changes.shutdown()

    def _open(self) -> SQLiteConnection:
        if self.connection is None:
            raise StoreError(f"{self._name}: the store is not open")
        return self.connection

    def _transact(self, choose: Callable[[], list[Change]]) -> list[Any]:
        db = self._open()
        try:
            written = db.total_changes
            with transaction(db):
                done = [change(db) for change in choose()]
        except sqlite3.Error as error:
            named = _named(self._name, error)
            if isinstance(named, StoreOutageError):
                self._turn(db, named)
            raise named from error
        # A commit of nothing succeeds on a full disk as well.
        if db.total_changes > written or self.outage is Outage.LOCKED:
            self._turn(db, None)
        return done

    def _turn(self, db: SQLiteConnection, error: StoreOutageError | None) -> None:
        """Take in whether something could be written."""
        before, self.outage = self.outage, error.outage if error else None
        if log_turn(before, error, "webhooks get 503, and pages that are owed go out"):
            db.execute(f"PRAGMA busy_timeout={_IMPATIENT if error else PATIENT}")


class Reader:
    """A second connection in a thread of its own, which only reads: neither waits for a commit nor keeps one waiting.

    What it reads is what was committed when the statement began.
    """

    def __init__(self, name: str) -> None:
        self._name, self.connection = name, None  # type: str, SQLiteConnection | None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-reader")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read."""
        read = partial(_guarded, self._name, self._open, work)
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)

    async def close(self) -> None:
        """Finish what is under way, and let the thread end."""
        if self.connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.connection.close)
            self.connection = None
        self._thread.shutdown()

    def _open(self) -> SQLiteConnection:
        if self.connection is None:
            raise StoreError(f"{self._name}: the store is not open")
        return self.connection


def _guarded(name: str, opened: Callable[[], SQLiteConnection], work: Callable[[Connection], T]) -> T:
    try:
        return work(opened())
    except sqlite3.Error as error:
        raise _named(name, error) from error


def _named(name: str, error: sqlite3.Error) -> StoreError:
    """Give our error for one of SQLite's; its extended codes hold the primary one in their low byte."""
    outage = _OUTAGES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    text = f"{name}: {error}"
    if outage is not None:
        return StoreOutageError(outage, text)
    return RejectedError(text) if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError) else StoreError(text)
