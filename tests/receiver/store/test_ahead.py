"""What the webhooks of one transaction read is asked for at once, and is as true as what each would ask by itself."""

import asyncio
import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.incident.delivery import Handling
from receiver.incident.event import AlertsReceived
from receiver.incident.model import AlertGroup
from receiver.store.base import Wanted
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.postgres.pipeline import Pipeline
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import KEY, MINUTE, START, Clock, an_alert, the_policy
from tests.receiver.stores import beside, the_store

pytestmark = pytest.mark.postgres("it is about the answers that it waits for")

GATHERED = Handling(hold=timedelta(seconds=30))
UMBRELLA = Handling(hold=timedelta(seconds=30), umbrella=True, keeps_incidents=True)
TABLES = ("incident", "member", "alike", "timeline", "outbox", "gathering")


async def opened(folder: Path) -> SQLStore:
    folder.mkdir()  # noqa: ASYNC240
    store = the_store(folder, Clock(), handling=lambda name: UMBRELLA if name == "pagerduty" else GATHERED)
    await store.open(START)
    return store


async def queued(store: SQLStore, count: int) -> None:
    """Wait until so many changes wait for their transaction."""
    async with asyncio.timeout(20):
        while store._writer._changes._waiting() < count:  # type: ignore[attr-defined]  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0)


async def together(store: SQLStore, events: list[AlertsReceived], minute: int = 0) -> None:
    """Let all of them come while the writer is busy, so that one transaction takes them."""
    go_on = threading.Event()
    busy = asyncio.ensure_future(store._writer.run(lambda _: go_on.wait()))  # noqa: SLF001
    await asyncio.sleep(0)
    now = START + minute * MINUTE
    asked = [asyncio.ensure_future(store.update(event, the_policy(), now)) for event in events]
    await queued(store, len(asked))
    go_on.set()
    await asyncio.gather(busy, *asked)


async def one_by_one(store: SQLStore, events: list[AlertsReceived], minute: int = 0) -> None:
    for event in events:
        await store.update(event, the_policy(), START + minute * MINUTE)


def written(folder: Path) -> dict[str, list[Any]]:
    db = beside(folder)
    return {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}  # noqa: S608


def some(dice: random.Random) -> AlertsReceived:
    """News of a group: its alerts are those of other groups as well."""
    numbers = dice.sample(range(6), dice.randint(1, 3))
    firing = dice.random() < 0.7
    severity = dice.choice(("critical", "warning", "info"))
    alerts = tuple(an_alert(f"f{number}", firing=firing, severity=severity) for number in numbers)
    return AlertsReceived(AlertGroup(f"group-{dice.randrange(4)}", alerts, receiver="receiver"))


@pytest.mark.parametrize("seed", range(6))
async def test_together_they_write_what_they_write_one_by_one(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    stores = [await opened(tmp_path / name) for name in ("together", "one by one")]
    for minute in range(4):
        events = [some(dice) for _ in range(20)]
        await together(stores[0], events, minute)
        await one_by_one(stores[1], events, minute)
    both = [written(tmp_path / name) for name in ("together", "one by one")]
    assert both[0] == both[1]
    assert len(both[0]["outbox"]) > 3
    for store in stores:
        await store.close()


def new(number: int) -> AlertsReceived:
    alert = an_alert(f"new{number}", severity="warning")
    return AlertsReceived(AlertGroup(f"{KEY}{number}", (alert,)))


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each answer that is waited for in a transaction: time in which no other receiver writes."""
    ask, ways = Pipeline.ask, list[object]()

    def counted(self: Pipeline) -> None:
        ways.append(self)
        ask(self)

    monkeypatch.setattr(Pipeline, "ask", counted)
    return ways


async def test_they_wait_for_fewer_answers_than_they_are(tmp_path: Path, ways: list[object]) -> None:
    store = await opened(tmp_path / "store")
    ways.clear()
    await together(store, [new(number) for number in range(20)])
    assert len(ways) < 20
    await store.close()


async def test_a_bundle_is_claimed_with_fewer_answers_than_it_has_pages(tmp_path: Path, ways: list[object]) -> None:
    store = await opened(tmp_path / "store")
    await together(store, [new(number) for number in range(30)])
    ways.clear()
    wanted = Wanted(address="#alerts-backend", kind="page")
    claims = await store.claim("slack", START + MINUTE, 8.0, 50, wanted)
    assert sorted(claimed.incident.id for claimed in claims) == list(range(1, 31))
    assert len(ways) < 20
    await store.close()


async def test_what_comes_while_another_has_the_turn_is_made_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, transactions = await opened(tmp_path / "store"), list[str]()
    execute = PostgresConnection.execute
    waiting = threading.Event()

    def noted(self: PostgresConnection, sql: str, parameters: object = (), /) -> object:
        if sql == "COMMIT":
            transactions.append(sql)
        if "pg_advisory_xact_lock" in sql:
            waiting.set()
        return execute(self, sql, parameters)

    other = beside(tmp_path / "store")
    other.execute("BEGIN")
    other.execute("SELECT pg_advisory_xact_lock('incident'::regclass::oid::int, 0)").fetchone()
    monkeypatch.setattr(PostgresConnection, "execute", noted)
    asked = [asyncio.ensure_future(store.update(new(0), the_policy(), START))]
    assert await asyncio.to_thread(waiting.wait, 20)
    asked += [asyncio.ensure_future(store.update(new(number), the_policy(), START)) for number in range(1, 9)]
    await queued(store, len(asked))
    other.execute("ROLLBACK")
    opened_as = [incident.id for incident in await asyncio.gather(*asked) if incident is not None]
    assert opened_as == list(range(1, 10))
    assert len(transactions) == 1
    await store.close()
