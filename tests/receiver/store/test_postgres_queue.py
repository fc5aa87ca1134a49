"""The writer to PostgreSQL says when its last attempt failed, and when one hangs."""

import asyncio
import threading
from pathlib import Path

import psycopg
import pytest

from receiver.store.base import Outage, StoreOutageError
from receiver.store.postgres import queue
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.migrate import upgrade
from receiver.store.postgres.queue import HANGS, Line, Reader, TimedOutError, Writer
from receiver.store.sql.connection import Connection
from tests.receiver.stores import conninfo


class Seconds:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.postgres("it is about its connection")
async def test_what_nobody_waits_for_any_more_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "DEADLINE", 0.1)
    login, go_on, tries, works = Login(conninfo(tmp_path)), threading.Event(), list[int](), list[bool]()

    def connect() -> PostgresConnection:
        tries.append(1)
        go_on.wait()
        if works:
            return PostgresConnection(login)
        raise psycopg.OperationalError("no answer")

    writer, reader = Writer(Line("test", connect), "test"), Reader(Line("test", connect))
    for run in (writer.commit, reader.run):
        asked = [run(lambda _: None) for _ in range(100)]
        assert {type(one) for one in await asyncio.gather(*asked, return_exceptions=True)} == {TimedOutError}
    monkeypatch.undo()
    go_on.set()
    for run in (writer.commit, reader.run):
        with pytest.raises(StoreOutageError, match=r"no answer$"):  # the first after those that were given up
            await run(lambda _: None)
    assert len(tries) <= 8  # two of what was begun and of this one, to write and to read
    works.append(True)
    await writer.prepare(upgrade)
    assert [await writer.commit(lambda _: 1), await reader.run(lambda _: 1)] == [1, 1]
    await writer.close()
    await reader.close()


@pytest.mark.postgres("it is about its connection")
@pytest.mark.parametrize("reads", [False, True])
async def test_a_transaction_that_hangs_is_an_outage_before_it_ends(tmp_path: Path, *, reads: bool) -> None:
    where, clock = conninfo(tmp_path), Seconds()
    login = Login(where)
    writer = Writer(Line("test", lambda: PostgresConnection(login)), "test", elapsed=clock)
    await writer.prepare(upgrade)
    begun, go_on = threading.Event(), threading.Event()

    def hang(db: Connection) -> int:
        begun.set()
        go_on.wait()
        return int(db.execute("SELECT 1").fetchone()[0])

    outages = [writer.outage]
    hanging = asyncio.ensure_future(writer.run(hang) if reads else writer.commit(hang))
    await asyncio.to_thread(begun.wait)
    behind = asyncio.ensure_future(writer.commit(lambda db: db.execute("SELECT 2")))
    await asyncio.sleep(0)
    for seconds in (HANGS, 0.1):
        clock.now += seconds
        outages.append(writer.outage)
    go_on.set()
    assert await hanging == 1
    await behind
    clock.now += 10 * HANGS  # nobody has asked for anything since
    assert [*outages, writer.outage] == [None, None, Outage.UNREACHABLE, None]
    await writer.close()
