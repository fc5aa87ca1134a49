"""Group commit: what waits while one transaction is written goes into the next.

A commit costs one fsync, however much is in it. When a change fails, nothing of its transaction has happened, and each
is made again by itself, so that one that fails takes nobody else's with it: changes are pure decisions and may run
twice.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from receiver.store.base import Outage, StoreOutageError
from receiver.store.sql.connection import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[Connection], Any]
_Job = tuple[Change, "asyncio.Future[Any]"]

LARGEST = 32  # changes in one transaction: what comes meanwhile waits for no more than that
NOT_URGENT = 8  # of these, kept for what is not urgent: in a storm of webhooks, pages must be claimed and settled


class OneThread:
    """Does one thing after another in a thread of its own.

    A ThreadPoolExecutor of one does the same and needs a quarter longer to begin and to answer, for which each webhook
    waits. What is done raises nothing.
    """

    def __init__(self, name: str) -> None:
        self._name, self._thread = name, None  # type: str, threading.Thread | None
        self._waiting = SimpleQueue[Callable[[], None] | None]()
        self._is_over = False

    def do(self, work: Callable[[], None]) -> None:
        """Do something after all that waits now; RuntimeError after ``shutdown``."""
        if self._is_over:
            raise RuntimeError(f"{self._name}: the store is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._waiting.put(work)

    def shutdown(self) -> None:
        """Do what waits, and end."""
        self._is_over = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()


class _Chosen:
    """What goes into one transaction: what waits when that can begin, and the same if it is asked again."""

    def __init__(self, take: Callable[[], list[_Job]]) -> None:
        self._take = take
        self.jobs: list[_Job] | None = None

    def __call__(self) -> list[Change]:
        """Give the changes."""
        if self.jobs is None:
            self.jobs = self._take()
        return [change for change, _ in self.jobs]


class GroupCommit:
    """The changes that wait, and the one thread that makes them.

    ``transact`` makes some in one transaction and gives the result of each; StoreOutageError if all would fail alike.
    It calls what it gets when it can begin, for what has come until then, and gets the same if it asks again.
    ``over`` is called after them, before anybody hears of the outcome.
    """

    def __init__(
        self,
        name: str,
        transact: Callable[[Callable[[], list[Change]]], list[Any]],
        over: Callable[[], None] = lambda: None,
        *,
        apart: int = 0,
    ) -> None:
        """At most ``apart`` urgent changes that wait beside others are made by themselves, and the others next."""
        self._transact, self._over, self._apart = transact, over, apart
        self._thread = OneThread(name)
        self._urgent: deque[_Job] = deque()
        self._jobs: deque[_Job] = deque()
        self._first = deque[list[_Job]]()  # before both, each in a transaction of its own
        self._guard = threading.Lock()
        self._scheduled = False
        self._kept_waiting = False  # what is not urgent, by the transaction before

    async def commit(self, change: Callable[[Connection], T], *, urgent: bool = False) -> T:
        """Make a change; it is on the disk when this returns.

        What is ``urgent`` (somebody waits for the answer) goes before what is not, but for a part of each transaction.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._guard:
            (self._urgent if urgent else self._jobs).append((change, future))
            self._schedule()
        return await future

    async def commit_in_order(self, change: Callable[[Connection], T]) -> T:
        """Make a change after all that wait now, in one transaction with them, and before all that come."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._guard:
            self._first.append([*self._urgent, *self._jobs, (change, future)])
            self._urgent.clear()
            self._jobs.clear()
            self._schedule()
        return await future

    async def call(self, work: Callable[[], T]) -> T:
        """Run something else in the thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._thread.do(partial(_run, work, future, loop))
        return await future

    @property
    def is_idle(self) -> bool:
        """Say whether no change waits or is being made."""
        return not self._scheduled

    def shutdown(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._thread.do(partial(self._drain, asyncio.get_running_loop()))

    def _waiting(self) -> int:
        return sum(map(len, self._first)) + len(self._urgent) + len(self._jobs)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        chosen = _Chosen(self._take)
        outcomes = self._together(chosen)
        self._over()
        with self._guard:
            self._scheduled = self._waiting() > 0
            if self._scheduled:  # behind whatever reads have queued up meanwhile
                with contextlib.suppress(RuntimeError):  # it is closed: what was made is still to be answered
                    self._thread.do(partial(self._drain, loop))
        _tell(loop, partial(_answer, chosen.jobs or [], outcomes))

    def _take(self) -> list[_Job]:
        with self._guard:
            return self._next()

    def _together(self, choose: Callable[[], list[Change]]) -> list[Any]:
        """Give each change's result, or its error. One that fails is found by making each by itself."""
        try:
            return self._transact(choose)
        except StoreOutageError as error:
            return [error] * len(choose())
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the business of the one who asked
            if len(choose()) == 1:
                return [error]
        return [outcome for change in choose() for outcome in self._together(partial(list, [change]))]

    def _next(self) -> list[_Job]:
        """Take what goes into one transaction: first what is urgent, but never so much that the rest waits for ever."""
        for waiting in (self._urgent, self._jobs):
            while waiting and waiting[0][1].cancelled():  # nobody waits for it any more
                waiting.popleft()
        if self._first:
            return self._first.popleft()
        self._kept_waiting = not self._kept_waiting and bool(self._jobs) and 0 < len(self._urgent) <= self._apart
        if self._kept_waiting:
            return [self._urgent.popleft() for _ in range(len(self._urgent))]
        room = max(LARGEST - len(self._urgent), NOT_URGENT)
        rest = [self._jobs.popleft() for _ in range(min(len(self._jobs), room))]
        urgent = [self._urgent.popleft() for _ in range(min(len(self._urgent), LARGEST - len(rest)))]
        return urgent + rest


def log_turn(before: Outage | None, error: StoreOutageError | None, meanwhile: str) -> bool:
    """Log when writing begins to fail, with what happens ``meanwhile``, and when it works again; True if it does."""
    if (before is None) == (error is None):
        return False
    if error is not None:
        log.error("the database cannot be written; %s: %s", meanwhile, error)
    else:
        log.warning("the database can be written again")
    return True


def _run(work: Callable[[], T], future: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop) -> None:
    """Do something for somebody who waits for it in the loop."""
    outcome: T | BaseException
    try:
        outcome = work()
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the business of the one who asked
        outcome = error
    _tell(loop, partial(_answer_one, future, outcome))


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(what)


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(jobs, outcomes, strict=True):
        _answer_one(future, outcome)


def _answer_one(future: "asyncio.Future[Any]", outcome: Any) -> None:  # noqa: ANN401  # of any change
    if future.cancelled():
        return
    if isinstance(outcome, StopIteration):  # a future takes none, and those behind it would wait for ever
        future.set_exception(RuntimeError("a change has raised StopIteration"))
    elif isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
