"""Commits many changes at once: what waits while one transaction is written goes into the next (group commit).

A commit with synchronous=FULL costs one fsync, however much is in it. When a change fails, nothing of its transaction
has happened, and each is made again by itself, so that one that fails takes nobody else's with it: changes are pure
decisions and may run twice.
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

LARGEST = 64  # changes in one transaction: what comes meanwhile waits for no more than that


class Writer:
    """The one thread that owns the connection: SQLite has one writer anyway, and a queue is fairer than its locks."""

    def __init__(self, name: str) -> None:
        self._name, self.connection = name, None  # type: str, sqlite3.Connection | None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._urgent: deque[_Job] = deque()
        self._jobs: deque[_Job] = deque()
        self._guard = threading.Lock()
        self._scheduled = False

    async def commit(self, change: Callable[[sqlite3.Connection], T], *, urgent: bool = False) -> T:
        """Make a change; it is on the disk when this returns. StoreError: nothing of it has happened.

        What is ``urgent`` (somebody waits for the answer) goes before all that is not.
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

    def _waiting(self) -> int:
        return len(self._urgent) + len(self._jobs)

    def _open(self) -> sqlite3.Connection:
        if self.connection is None:
            raise StoreError(f"{self._name}: the store is not open")
        return self.connection

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            jobs = [(self._urgent or self._jobs).popleft() for _ in range(min(self._waiting(), LARGEST))]
        outcomes = self._together([change for change, _ in jobs])
        with self._guard:
            self._scheduled = self._waiting() > 0
            if self._scheduled:  # behind whatever reads have queued up meanwhile
                self._thread.submit(self._drain, loop)
        loop.call_soon_threadsafe(_answer, jobs, outcomes)

    def _together(self, changes: list[Change]) -> list[Any]:
        """Give each change's result, or its error. One that fails is found by making each by itself."""
        try:
            db = self._open()
        except StoreError as error:
            return [error] * len(changes)
        try:
            with transaction(db):
                return [change(db) for change in changes]
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the business of the one who asked
            if len(changes) == 1:
                return [StoreError(f"{self._name}: {error}") if isinstance(error, sqlite3.Error) else error]
        return [outcome for change in changes for outcome in self._together([change])]


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(jobs, outcomes, strict=True):
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
