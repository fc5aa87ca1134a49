"""History slows nothing: no statement of the store looks through a table that grows with the years."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from receiver.incident.delivery import Handling
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Attach,
    Delivered,
    Raise,
    Resolve,
    TimeDue,
    Undelivered,
    UndoResolve,
    Unreached,
)
from receiver.incident.heartbeat import Watch
from receiver.incident.machine import transition
from receiver.incident.model import AlertGroup, Decision, Failure, Incident, Kind, Origin, State
from receiver.incident.timers import clock_set
from receiver.store.base import ANY, Ask, IncidentFilter, Sent, Standing, Store, Trace, Wanted
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite import file
from receiver.store.sqlite.store import SQLiteStore
from tests.receiver.example_site import (
    MINUTE,
    START,
    Clock,
    Taker,
    an_alert,
    beside_file,
    deciding,
    of_group,
    received,
    the_policy,
)
from tests.receiver.stores import on_postgres

pytestmark = pytest.mark.sqlite("its plans; test_postgres_plans.py has the others")

# Over all that is open or unsettled, and never over what is past.
SMALL = {"incident_open", "incident_wake", "incident_count", "outbox_unsettled", "outbox_due"}
SMALL |= {"outbox_waiting", "outbox_parked", "outbox_owed", "outbox_lease"}
TABLES = {"heartbeat", "job_heartbeat", "own", "gathering", "json_each", "CONSTANT"}  # a row a source, job or address
TABLES |= {"cover_notice"}  # what nobody has been told yet
# As many as are asked for, from the end of an index.
NEWEST = (
    "SELECT id, doc FROM incident  ORDER BY id DESC LIMIT",
    "SELECT id, priority, opened_at, doc FROM incident WHERE id <",
    "WHERE state = 'dead' ORDER BY settled_at DESC LIMIT",
)


def handling(channel: str) -> Handling:
    there = channel == "pagerduty"
    return Handling(MINUTE, keeps_incidents=there, umbrella=there, redraws=channel == "slack")


async def with_a_past(folder: Path) -> tuple[SQLiteStore, Clock]:
    """Give a store with resolved incidents, their pages and timelines."""
    clock = Clock()
    store = SQLiteStore(folder / "receiver.sqlite3", lambda: None, handling=handling)
    await store.open(clock.now)
    incident = await store.update(received(an_alert()), the_policy(), clock.now)
    assert incident is not None
    await store.apply(incident.id, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    with beside_file(folder) as db:
        fill(db, 500)
    return store, clock


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[tuple[SQLiteStore, Clock]]:
    store, clock = await with_a_past(tmp_path)
    clock.forward(days=1)
    yield store, clock
    await store.close()


def fill(db: sqlite3.Connection, count: int) -> None:
    (doc,) = db.execute("SELECT doc FROM incident WHERE id = 1").fetchone()
    at = START.timestamp()
    rows = [
        (n, f"old-{n}", at, at, json.dumps({**json.loads(doc), "id": n, "key": f"old-{n}"}).encode())
        for n in range(2, count + 2)
    ]
    incidents = "INSERT INTO incident (id, key, state, priority, opened_at, resolved_at, doc) "
    db.executemany(incidents + "VALUES (?, ?, 'resolved', 'P1', ?, ?, ?)", rows)
    same = "lane, channel, address, kind, round, serial, priority, notification, created_at, not_before"
    sent = f"""INSERT INTO outbox (incident_id, {same}, state, settled_at)
        SELECT ?1, {same}, 'sent', created_at FROM outbox WHERE incident_id = 1"""  # noqa: S608  # our own text
    db.executemany(sent, [(row[0],) for row in rows])


async def use(store: SQLStore, clock: Clock) -> None:
    """Call every method of the store, with something to do for each."""
    numbers = list[int]()
    for number in range(4):
        group = of_group(
            received(an_alert(f"f{number}", severity="warning" if number else "critical")), f"new-{number}"
        )
        incident = await store.update(AlertsReceived(group), the_policy(), clock.now)
        assert incident is not None
        numbers.append(incident.id)
    moved = AlertGroup("renamed", (an_alert("f0"),), receiver="receiver")
    await store.update(AlertsReceived(moved), the_policy(), clock.now)
    clock.forward(minutes=2)
    claims = await store.claim("email", clock.now, 60, 2)
    page = claims[0].notification
    assert page.kind is Kind.PAGE
    await store.settle(claims[0], "ref", deciding(Delivered(page.round, page.target.person), clock.now), clock.now)
    lost = deciding(Unreached(page.target, page.round, Failure.TIMEOUT), clock.now)
    await store.retry_at(claims[1:], clock.now, "503", clock.now, spent=1, unreached=lambda _: lost)
    for wanted in (
        Wanted("staff", early=True),
        Wanted("staff", trial=True),
        Wanted("staff", kind="page", urgent=False),
    ):
        await store.park("staff", await store.claim("pagerduty", clock.now, 60, 1, wanted), "pagerduty")
    await store.most_urgent("pagerduty", ["staff"])
    nothing = Sent(claims[0], "ref", deciding(Delivered(page.round, page.target.person), clock.now))
    asked = (Ask(1), Ask(1, Wanted("staff", trial=True)))
    for given in await store.settle_and_claim([nothing], "pagerduty", clock.now, 60, ["staff"], lambda *_: iter(asked)):
        await store.park("staff", given.claims, "pagerduty")
    await store.release("pagerduty", "staff", clock.now, forward=True)
    for late in await store.late_pages("pagerduty", clock.now, 5):
        await store.look_elsewhere(late, lost, clock.now)
    (dead,) = await store.claim("slack", clock.now, 60, 1)
    gone = deciding(Undelivered(dead.notification.round), clock.now)
    await store.dead(dead, Failure.REFUSED, "no", lost, gone, clock.now)
    clock.forward(minutes=20)
    for number in await store.due(clock.now):
        await store.apply(number, deciding(TimeDue(), clock.now), clock.now)
    await store.apply(numbers[0], deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    await store.apply(numbers[1], deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)

    def undone(before: Incident, _standing: Standing) -> Decision:
        return transition(before, UndoResolve("linh", Origin.LINK), the_policy(), clock.now)

    after = await store.answer(numbers[1], undone, clock.now, "pagerduty:staff")
    assert after is not None
    assert after.state is State.TRIGGERED
    await store.apply(numbers[1], deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    await attach(store, clock, numbers[2], numbers[3])
    await store.apply(numbers[0], partial(clock_set, by=timedelta(seconds=1), now=clock.now), clock.now)
    await store.owe_end_again(numbers[1], "pagerduty", clock.now)
    await store.owe_acknowledgement_again(numbers[0], "pagerduty", clock.now)
    await store.clock_set(timedelta(seconds=1), clock.now)
    await ask(store, clock)


async def attach(store: SQLStore, clock: Clock, child: int, parent: int) -> None:
    """One incident speaks for another, and is over; a person raises a third, and the pages of a fourth are leased."""

    def attached(before: Incident, standing: Standing) -> Decision:
        event = Attach("linh", Origin.LINK, parent, parent=standing.parent, siblings=standing.siblings)
        return transition(before, event, the_policy(), clock.now)

    def raised(before: Incident, _standing: Standing) -> Decision:
        return transition(before, Raise("linh", Origin.LINK, "help"), the_policy(), clock.now)

    await store.answer(child, attached, clock.now, parent=parent, trace=Trace("linh", form="1"))
    await store.apply(parent, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    assert await store.raise_by_hand(raised, clock.now, Trace("linh", form="2"))
    store.give_first_pages("email", Taker(), clock)
    assert await store.update(AlertsReceived(of_group(received(an_alert("first")), "first")), the_policy(), clock.now)


async def ask(store: SQLStore, clock: Clock) -> None:
    assert await store.channels_owed()
    await store.served_elsewhere()
    await store.same_config("a")
    await store.channel_states()
    await store.umbrella(1)
    await store.digest("*C0001/1.2")
    for state in (None, "triggered", "acknowledged", "resolved"):
        await store.incidents(state, 5)
        await store.listed(IncidentFilter(5, state=State(state) if state else None, team="backend"))
    await store.incident(3)
    await store.lines(3, 0, 5)
    await store.hand_over("cto", clock.now)
    assert await store.handed_over("cto") == clock.now
    await store.alike("HighErrorRate", "backend", 5)
    await store.still_open()
    await store.check()
    await store.beat("alertmanager", clock.now)
    await store.heartbeats()
    await store.job_beat("backup", clock.now)
    await store.watch_jobs(lambda known: Watch(known.beats, clock.now))
    await store.forget_job("backup")
    await store.share("vapid.pem", b"key")
    await store.alive(clock.now)
    await store.last_alive()
    await store.installation()
    await store.readable("email", clock.now, 5, ANY, held=[1], settled=[2])
    await store.backlog()
    assert [history async for history in store.opened_between(START, clock.now)]
    await store.undelivered(START, clock.now)
    await store.resolved_since(START, 5)
    assert await store.pack(clock.now, 5) == (0 if on_postgres() else 5)
    old = await store.resolved_before(clock.now, 3)
    await store.delete([incident.id for incident, _ in old])


def scans(db: sqlite3.Connection, statement: str) -> list[str]:
    plan = [str(line[3]) for line in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    # What a part of the statement gives is read as a whole; how that part finds it has lines of its own.
    plan = [line for line in plan if not line.startswith(("SCAN (subquery-", "SCAN part"))]
    scanning = [line for line in plan if line.startswith("SCAN") or re.search(r"PRIMARY KEY \(rowid[<>]", line)]
    return [
        line
        for line in scanning
        if line != "SCAN CONSTANT ROW" and not (set(re.findall(r"\w+", line)) & {*SMALL, *TABLES})
    ]


async def test_no_statement_looks_through_what_is_past(filled: tuple[SQLiteStore, Clock]) -> None:
    store, clock = filled
    db = store._file_writer.connection  # noqa: SLF001
    assert db is not None
    statements: dict[str, str] = {}

    def trace(statement: str) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)", statement):
            statements.setdefault(re.sub(r"'[^']*'|[0-9.]+", "?", statement), statement)

    reading = store._file_reader.connection  # noqa: SLF001
    assert reading is not None
    for connection in (db, reading):
        connection.set_trace_callback(trace)
    await use(store, clock)
    for connection in (db, reading):
        connection.set_trace_callback(None)
    assert len(statements) > 50
    looked = [one for one in statements.values() if not any(newest in one for newest in NEWEST)]
    scanning = {one: lines for one in looked if (lines := scans(db, one))}
    assert scanning == {}


async def test_a_start_looks_through_nothing_that_is_past(
    filled: tuple[SQLiteStore, Clock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = filled
    await store.close()
    statements: list[str] = []
    monkeypatch.setattr(file, "CHECKED_FIRST", 0)  # quick_check reads all of a small database
    with beside_file(tmp_path) as db:
        db.set_trace_callback(statements.append)
        file._prepare(db, tmp_path / "receiver.sqlite3", clock.now, {})  # noqa: SLF001
        db.set_trace_callback(None)
        changes = [one for one in statements if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)", one)]
        assert len(changes) > 1
        assert not [one for one in statements if "quick_check" in one]
        assert {one: lines for one in changes if (lines := scans(db, one))} == {}


async def test_a_statement_that_looks_through_a_table_is_found(filled: tuple[SQLiteStore, Clock]) -> None:
    db = filled[0]._file_writer.connection  # noqa: SLF001
    assert db is not None
    assert scans(db, "SELECT doc FROM incident WHERE priority = 'P1'")
    assert scans(db, "DELETE FROM timeline WHERE kind = 'told'")
    assert scans(db, "SELECT doc FROM incident WHERE state <> 'acknowledged' AND id > 3")


def test_every_method_of_a_store_is_looked_at() -> None:
    methods = {name for name in dir(Store) if not name.startswith("_")} - {
        "close",
        "outage",
        "leads",
        "term",
        "holds",
        "in_turn",
    }
    source = Path(__file__).read_text("utf-8")
    assert [name for name in sorted(methods) if f"store.{name}(" not in source] == []
