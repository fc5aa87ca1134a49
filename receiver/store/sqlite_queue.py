"""Commits many changes at once: what waits while one transaction is written goes into the next (group commit).

A commit with synchronous=FULL costs one fsync, however much is in it. Each change has a savepoint of its own, so
that one that fails takes nobody else's with it.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from receiver.store.base import StoreError
from receiver.store.sqlite_file import transaction

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], Any]
_Job = tuple[Change, "asyncio.Future[Any]"]

LARGEST = 256  # changes in one transaction: a reader waits for no more than that


class Writer:
    """The one thread that owns the connection: SQLite has one writer anyway, and a queue is fairer than its locks."""

    def __init__(self, name: str) -> None:
        self._name, self.connection = name, None  # type: str, sqlite3.Connection | None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._jobs: deque[_Job] = deque()
        self._guard = threading.Lock()
        self._scheduled = False

    async def commit(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change; it is on the disk when this returns. StoreError: nothing of it has happened."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._guard:
            self._jobs.append((change, future))
            if not self._scheduled:
                self._scheduled = True
                self._thread.submit(self._drain, asyncio.get_running_loop())
        return await future

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read, or do what manages its own transaction."""

        def guarded() -> T:
            try:
                return work(self._open())
            except sqlite3.Error as error:
                raise StoreError(f"{self._name}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    async def call(self, work: Callable[[], T]) -> T:
        """Run something in the thread that owns the connection, before there is one."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def shutdown(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    def _open(self) -> sqlite3.Connection:
        if self.connection is None:
            raise StoreError(f"{self._name}: the store is not open")
        return self.connection

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), LARGEST))]
        outcomes = self._together([change for change, _ in jobs])
        with self._guard:
            self._scheduled = bool(self._jobs)
            if self._scheduled:  # behind whatever reads have queued up meanwhile
                self._thread.submit(self._drain, loop)
        loop.call_soon_threadsafe(_answer, jobs, outcomes)

    def _together(self, changes: list[Change]) -> list[Any]:
        """Give each change's result, or its error; when the commit itself fails, all have failed."""
        outcomes: list[Any] = []
        try:
            db = self._open()
            with transaction(db):
                outcomes += [_apart(db, change) for change in changes]
        except sqlite3.Error as error:
            return [StoreError(f"{self._name}: {error}")] * len(changes)
        except StoreError as error:
            return [error] * len(changes)
        return outcomes


def _apart(db: sqlite3.Connection, change: Change) -> object:
    db.execute("SAVEPOINT one")
    try:
        result = change(db)
    except Exception as error:
        if not db.in_transaction:  # SQLite gave the whole transaction up (disk full): nobody's change has happened
            raise
        db.execute("ROLLBACK TO one")
        db.execute("RELEASE one")
        return StoreError(str(error)) if isinstance(error, sqlite3.Error) else error
    db.execute("RELEASE one")
    return result


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(jobs, outcomes, strict=True):
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
