"""The threads of the SQLite store: one that writes, and one that reads beside it.

Many changes are committed at once: what waits while one transaction is written goes into the next (group commit).

A commit with synchronous=FULL costs one fsync, however much is in it. When a change fails, nothing of its transaction
has happened, and each is made again by itself, so that one that fails takes nobody else's with it: changes are pure
decisions and may run twice.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from receiver.store.base import Outage, StoreError, StoreOutageError
from receiver.store.sqlite_file import transaction

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], Any]
_Job = tuple[Change, "asyncio.Future[Any]"]

log = logging.getLogger(__name__)

# How long a change waits for another program's lock: while it has one, 503 now is better than 503 in five seconds.
_PATIENT, _IMPATIENT = 5000, 50  # milliseconds
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
LARGEST = 32  # changes in one transaction: what comes meanwhile waits for no more than that
NOT_URGENT = 8  # of these, kept for what is not urgent: in a storm of webhooks, pages must be claimed and settled


class Writer:
    """The one thread that owns the connection: SQLite has one writer anyway, and a queue is fairer than its locks."""

    def __init__(self, name: str, committed: Callable[[], None]) -> None:
        """``committed`` is called in the thread after each transaction, before anybody hears of its outcome."""
        self._name, self.connection = name, None  # type: str, sqlite3.Connection | None
        self._committed = committed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._urgent: deque[_Job] = deque()
        self._jobs: deque[_Job] = deque()
        self._guard = threading.Lock()
        self._scheduled = False
        self.outage: Outage | None = None  # of the last attempt to write

    async def commit(self, change: Callable[[sqlite3.Connection], T], *, urgent: bool = False) -> T:
        """Make a change; it is on the disk when this returns. StoreError: nothing of it has happened.

        What is ``urgent`` (somebody waits for the answer) goes before what is not, but for a part of each transaction.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._guard:
            (self._urgent if urgent else self._jobs).append((change, future))
            if not self._scheduled:
                self._scheduled = True
                self._thread.submit(self._drain, asyncio.get_running_loop())
        return await future

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read, or do what manages its own transaction."""
        read = partial(_guarded, self._name, self._open, work)
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)

    async def call(self, work: Callable[[], T]) -> T:
        """Run something in the thread that owns the connection, before there is one."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def shutdown(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    def _waiting(self) -> int:
        return len(self._urgent) + len(self._jobs)

    def _open(self) -> sqlite3.Connection:
        if self.connection is None:
            raise StoreError(f"{self._name}: the store is not open")
        return self.connection

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            jobs = self._next()
        outcomes = self._together([change for change, _ in jobs])
        self._committed()
        with self._guard:
            self._scheduled = self._waiting() > 0
            if self._scheduled:  # behind whatever reads have queued up meanwhile
                self._thread.submit(self._drain, loop)
        loop.call_soon_threadsafe(_answer, jobs, outcomes)

    def _next(self) -> list[_Job]:
        """Take what goes into one transaction: first what is urgent, but never so much that the rest waits for ever."""
        room = max(LARGEST - len(self._urgent), NOT_URGENT)
        rest = [self._jobs.popleft() for _ in range(min(len(self._jobs), room))]
        urgent = [self._urgent.popleft() for _ in range(min(len(self._urgent), LARGEST - len(rest)))]
        return urgent + rest

    def _together(self, changes: list[Change]) -> list[Any]:
        """Give each change's result, or its error. One that fails is found by making each by itself."""
        try:
            db = self._open()
        except StoreError as error:
            return [error] * len(changes)
        try:
            written = db.total_changes
            with transaction(db):
                done = [change(db) for change in changes]
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the business of the one who asked
            named = _named(self._name, error) if isinstance(error, sqlite3.Error) else error
            if isinstance(named, StoreOutageError):
                self._turn(db, named)
                return [named] * len(changes)  # each by itself would fail alike
            if len(changes) == 1:
                return [named]
        else:
            # A commit of nothing succeeds on a full disk as well.
            if db.total_changes > written or self.outage is Outage.LOCKED:
                self._turn(db, None)
            return done
        return [outcome for change in changes for outcome in self._together([change])]

    def _turn(self, db: sqlite3.Connection, error: StoreOutageError | None) -> None:
        """Take in whether something could be written."""
        before, self.outage = self.outage, error.outage if error else None
        if (before is None) == (error is None):
            return
        db.execute(f"PRAGMA busy_timeout={_IMPATIENT if error else _PATIENT}")
        if error is not None:
            log.error("the database cannot be written; webhooks get 503, and pages that are owed go out: %s", error)
        else:
            log.warning("the database can be written again")


class Reader:
    """A second connection in a thread of its own, which only reads: neither waits for a commit nor keeps one waiting.

    What it reads is what was committed when the statement began.
    """

    def __init__(self, name: str) -> None:
        self._name, self.connection = name, None  # type: str, sqlite3.Connection | None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-reader")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read."""
        read = partial(_guarded, self._name, self._open, work)
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)

    async def close(self) -> None:
        """Finish what is under way, and let the thread end."""
        if self.connection is not None:
            await self.run(lambda db: db.close())
            self.connection = None
        self._thread.shutdown()

    def _open(self) -> sqlite3.Connection:
        if self.connection is None:
            raise StoreError(f"{self._name}: the store is not open")
        return self.connection


def _guarded(name: str, opened: Callable[[], sqlite3.Connection], work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return work(opened())
    except sqlite3.Error as error:
        raise _named(name, error) from error


def _named(name: str, error: sqlite3.Error) -> StoreError:
    """Give our error for one of SQLite's; its extended codes hold the primary one in their low byte."""
    outage = _OUTAGES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    text = f"{name}: {error}"
    return StoreError(text) if outage is None else StoreOutageError(outage, text)


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(jobs, outcomes, strict=True):
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
