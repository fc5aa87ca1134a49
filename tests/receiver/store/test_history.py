"""What reports read: the same by the running store and by a reader beside it, in pages, and without stopping either."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.incident.event import AlertsReceived
from receiver.incident.model import Failure, Incident, Priority, State
from receiver.store.base import History, StoreError
from receiver.store.postgres.command import PostgresDatabase
from receiver.store.postgres.connection import Login
from receiver.store.sql.history import PAGE_SIZE, StoredHistory
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.history import SQLiteHistory
from tests.receiver import stores
from tests.receiver.example_site import (
    MINUTE,
    START,
    Clock,
    a_store,
    an_alert,
    beside,
    deciding,
    of_group,
    received,
    the_policy,
)

DAY = timedelta(days=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLStore]:
    opened = await a_store(tmp_path, Clock())
    yield opened
    await opened.close()


@pytest.fixture
async def reader(tmp_path: Path, store: SQLStore) -> AsyncIterator[StoredHistory]:
    opened: StoredHistory
    if stores.on_postgres():
        opened = PostgresDatabase(Login(stores.conninfo(tmp_path))).history()
    else:
        opened = SQLiteHistory(tmp_path / "receiver.sqlite3")
    yield opened
    await opened.close()


@pytest.fixture(params=["store", "reader"])
def history(request: pytest.FixtureRequest, store: SQLStore, reader: StoredHistory) -> History:
    return store if request.param == "store" else reader


def insert(folder: Path, *minutes: int) -> None:
    """One resolved incident for each: when it opened, in minutes after START; numbered from 1."""
    with beside(folder) as db:
        for number, minute in enumerate(minutes, 1):
            at = START + minute * MINUTE
            incident = Incident(number, str(number), State.RESOLVED, Priority.P2, opened_at=at, resolved_at=at)
            values = (
                number,
                str(number),
                "resolved",
                "P2",
                at.timestamp(),
                at.timestamp(),
                msgspec.json.encode(incident),
            )
            db.execute("INSERT INTO incident VALUES (?, ?, ?, ?, ?, NULL, ?, ?)", values)


async def numbers(history: History, start: int, end: int) -> list[int]:
    opened = history.opened_between(START + start * MINUTE, START + end * MINUTE)
    return [one.incident.id async for one in opened]


async def test_a_period_has_its_start_and_not_its_end(tmp_path: Path, history: History) -> None:
    insert(tmp_path, 5, 4, 3, 2, 1)
    assert await numbers(history, 2, 4) == [4, 3]
    assert await numbers(history, 6, 9) == []


async def test_more_than_a_page_is_read_once_though_all_opened_at_one_time(tmp_path: Path, history: History) -> None:
    count = 2 * PAGE_SIZE + 1
    insert(tmp_path, *([0] * count))
    assert await numbers(history, 0, 1) == list(range(1, count + 1))


async def test_exactly_one_page(tmp_path: Path, history: History) -> None:
    insert(tmp_path, *range(PAGE_SIZE))
    assert await numbers(history, 0, PAGE_SIZE) == list(range(1, PAGE_SIZE + 1))


async def test_a_report_under_way_does_not_stop_the_receiver(tmp_path: Path, store: SQLStore, history: History) -> None:
    insert(tmp_path, *range(PAGE_SIZE + 1))
    opened = history.opened_between(START, START + DAY)
    assert (await anext(opened)).incident.id == 1
    group = of_group(received(an_alert("new")), "new")
    incident = await store.update(AlertsReceived(group), the_policy(), START + DAY - MINUTE)
    assert incident is not None
    assert [one.incident.id async for one in opened][-1] == incident.id  # it opened before the last page was read


async def test_what_was_given_up_is_counted_by_channel_and_person(
    tmp_path: Path, store: SQLStore, history: History
) -> None:
    group = of_group(received(an_alert("a")), "a")
    await store.update(AlertsReceived(group), the_policy(), START)
    nothing = deciding(AlertsReceived(group), START)
    for channel in ("email", "slack"):
        for claimed in await store.claim(channel, START, 60, 10):
            await store.dead(claimed, Failure.REFUSED, "refused", nothing, nothing, START + MINUTE)
    counts = await history.undelivered(START, START + DAY)
    assert {(one.channel, one.person): one.count for one in counts} == {("email", "linh"): 1, ("slack", ""): 1}
    assert await history.undelivered(START + 2 * MINUTE, START + DAY) == []


async def test_a_reader_writes_nothing(reader: StoredHistory) -> None:
    await reader.undelivered(START, START + DAY)
    with pytest.raises(StoreError, match=r"read-?only"):
        await reader._run(lambda db: db.execute("DELETE FROM incident"))  # noqa: SLF001  # no method of it writes


@pytest.mark.sqlite("its reader")
@pytest.mark.parametrize(("version", "reason"), [(1, "schema version 1"), (99, "schema version 99")])
async def test_another_schema_is_refused(tmp_path: Path, version: int, reason: str) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={version}")
    history = SQLiteHistory(path)
    with pytest.raises(StoreError, match=reason):
        await history.undelivered(START, START + DAY)


@pytest.mark.sqlite("its reader")
async def test_what_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to be read as one" * 100, "utf-8")
    for path in (tmp_path / "none", tmp_path, tmp_path / "text"):
        history = SQLiteHistory(path)
        with pytest.raises(StoreError):
            await anext(history.opened_between(START, START + DAY))
    assert not (tmp_path / "none").exists()
