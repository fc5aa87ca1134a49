"""Many changes in one transaction, and none of them waits for ever."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from receiver.store.base import Outage, StoreOutageError
from receiver.store.sql.connection import Connection
from receiver.store.sql.queue import LARGEST
from receiver.store.sqlite.file import SQLiteConnection
from receiver.store.sqlite.queue import Writer

pytestmark = pytest.mark.sqlite("its writer")


@contextmanager
def in_memory(over: Callable[[], None] = lambda: None) -> Iterator[Writer]:
    """Give a writer of a database that nobody else sees; it is shut down at the end."""
    writer = Writer("test", over)
    opened = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=SQLiteConnection)
    with closing(opened) as db:
        writer.connection = db
        yield writer
        writer.shutdown()


async def test_a_storm_of_urgent_changes_does_not_keep_the_others_waiting() -> None:
    done, go = list[str](), threading.Event()
    with in_memory() as writer:

        async def made(name: str, *, urgent: bool) -> None:
            await writer.commit(lambda _: done.append(name), urgent=urgent)

        busy = asyncio.create_task(writer.call(go.wait))
        webhooks = [made("webhook", urgent=True) for _ in range(20 * LARGEST)]
        claims = [made("claim", urgent=False) for _ in range(4)]
        storm = asyncio.gather(*webhooks, *claims)
        await asyncio.sleep(0)  # all of them are in the queue now
        go.set()
        await asyncio.gather(busy, storm)
    assert len(done) == 20 * LARGEST + 4
    assert done[:LARGEST] == ["webhook"] * (LARGEST - 4) + ["claim"] * 4


@pytest.mark.parametrize("urgent", [1, 2, 3])
async def test_a_few_urgent_changes_do_not_wait_for_what_is_not_urgent(urgent: int) -> None:
    done, go = list[str](), threading.Event()
    with in_memory(lambda: done.append("committed")) as writer:
        busy = asyncio.create_task(writer.call(go.wait))
        settled = [writer.commit(lambda _: done.append("settle")) for _ in range(3)]
        webhooks = [writer.commit(lambda _: done.append("webhook"), urgent=True) for _ in range(urgent)]
        waiting = asyncio.gather(*settled, *webhooks)
        await asyncio.sleep(0)  # all of them are in the queue now
        go.set()
        await asyncio.gather(busy, waiting)
    apart = [*["webhook"] * urgent, "committed", *["settle"] * 3, "committed"]
    together = [*["webhook"] * urgent, *["settle"] * 3, "committed"]
    assert done == (apart if urgent < 3 else together)


async def test_what_is_not_urgent_is_kept_waiting_once() -> None:
    done, go = list[str](), threading.Event()
    with in_memory(lambda: done.append("committed")) as writer:
        more = list[asyncio.Future[None]]()
        loop, added = asyncio.get_running_loop(), threading.Event()

        def add() -> None:
            more.append(asyncio.ensure_future(writer.commit(lambda _: done.append("second"), urgent=True)))
            loop.call_soon(added.set)

        def first(_db: object) -> None:
            done.append("first")
            loop.call_soon_threadsafe(add)  # another comes while it is made
            added.wait()

        busy = asyncio.create_task(writer.call(go.wait))
        changes = [writer.commit(lambda _: done.append("settle")), writer.commit(first, urgent=True)]
        waiting = asyncio.gather(*changes)
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(busy, waiting)
        await asyncio.gather(*more)
    assert done == ["first", "committed", "second", "settle", "committed"]


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), sqlite3.IntegrityError("no"), RecursionError()])
async def test_a_change_that_fails_takes_nobody_elses_with_it(error: Exception) -> None:
    go = threading.Event()

    def fails(_db: object) -> None:
        raise error

    with in_memory() as writer:
        db = writer.connection
        assert db is not None
        db.execute("CREATE TABLE t (x)")
        busy = asyncio.create_task(writer.call(go.wait))
        good = [writer.commit(lambda db: db.execute("INSERT INTO t VALUES (1)").rowcount) for _ in range(2)]
        waiting = asyncio.gather(good[0], writer.commit(fails), good[1], return_exceptions=True)
        await asyncio.sleep(0)  # all of them are in the queue now
        go.set()
        async with asyncio.timeout(20):
            first, failed, last = await waiting
        await busy
        assert (first, last) == (1, 1)
        assert isinstance(failed, Exception)
        assert db.execute("SELECT count(*) FROM t").fetchone() == (2,)


async def test_each_change_in_order_ends_a_transaction_of_its_own() -> None:
    """Of one transaction, PostgreSQL makes those first that have said what they will read."""
    done, go = list[str](), threading.Event()
    with in_memory(lambda: done.append("committed")) as writer:
        busy = asyncio.create_task(writer.call(go.wait))
        waiting = asyncio.gather(
            writer.commit(lambda _: done.append("before"), urgent=True),
            writer.commit_in_order(lambda _: done.append("set")),
            writer.commit(lambda _: done.append("between"), urgent=True),
            writer.commit_in_order(lambda _: done.append("set again")),
            writer.commit(lambda _: done.append("after"), urgent=True),
        )
        await asyncio.sleep(0)  # all of them are in the queue now
        go.set()
        await asyncio.gather(busy, waiting)
    assert done == ["before", "set", "committed", "between", "set again", "committed", "after", "committed"]


async def test_a_full_disk_is_over_when_something_could_be_written_and_not_before(tmp_path: Path) -> None:
    writer = Writer("test", lambda: None)
    made = sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False, factory=SQLiteConnection)
    with closing(made) as db:
        db.execute("CREATE TABLE t (x BLOB)")
        db.execute("PRAGMA max_page_count=3")
        writer.connection = db
        with pytest.raises(StoreOutageError):
            await writer.commit(lambda db: db.execute("INSERT INTO t VALUES (zeroblob(100000))"))
        assert await writer.commit(lambda db: db.execute("DELETE FROM t").rowcount) == 0  # a round with nothing to do
        found = [writer.outage]
        await writer.commit(lambda db: db.execute("INSERT INTO t VALUES (1)"))
        assert [*found, writer.outage] == [Outage.FULL, None]
        writer.shutdown()


async def test_a_look_that_finds_nothing_waits_for_nobodys_lock(tmp_path: Path) -> None:
    writer = Writer("test", lambda: None)
    opened = (
        sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False, factory=SQLiteConnection)
        for _ in range(2)
    )
    with closing(next(opened)) as db, closing(next(opened)) as other:
        for pragma in ("journal_mode=WAL", "busy_timeout=0"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE t (x)")
        writer.connection = db
        other.execute("BEGIN IMMEDIATE")
        assert await writer.commit_if(lambda _: False, lambda db: db.execute("INSERT INTO t VALUES (1)")) is None
        found = [writer.outage]
        with pytest.raises(StoreOutageError):
            await writer.commit_if(lambda _: True, lambda db: db.execute("INSERT INTO t VALUES (1)"))
        found.append(writer.outage)
        other.execute("ROLLBACK")
        assert await writer.commit_if(lambda _: True, lambda db: db.execute("INSERT INTO t VALUES (1)").rowcount) == 1
        assert [*found, writer.outage] == [None, Outage.LOCKED, None]
        writer.shutdown()


async def test_what_was_made_is_answered_though_the_store_closes_with_more_to_do() -> None:
    begun, go = threading.Event(), threading.Event()
    with in_memory() as writer:

        def slow(_db: Connection) -> str:
            begun.set()
            go.wait()
            return "made"

        made = asyncio.create_task(writer.commit(slow))
        await asyncio.to_thread(begun.wait)
        left = asyncio.create_task(writer.commit(lambda _: "left"))
        await asyncio.sleep(0)
        closing_down = asyncio.create_task(asyncio.to_thread(writer.shutdown))
        while not writer._changes._thread._is_over:  # noqa: SLF001, ASYNC110  # nothing else tells
            await asyncio.sleep(0.001)
        go.set()
        await closing_down
        assert await asyncio.wait_for(made, 30) == "made"
        left.cancel()
