"""A row that cannot be read is said and left out: no loop ends at it, nothing else waits for it, nobody deletes it."""

import logging
import math
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.incident.event import Acknowledge, AlertsReceived, Resolve
from receiver.incident.heartbeat import Watch
from receiver.incident.model import EntryKind, Origin, State
from receiver.metrics import Metrics
from receiver.oncall.cover import Cover, CoverState
from receiver.store.audit import Act
from receiver.store.base import IncidentFilter, StoreError
from receiver.store.duty import MadeWindow
from receiver.store.sql.store import SQLStore
from receiver.store.unreadable import Table, UnreadableError
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.escalator import Escalator
from receiver.workers.retry import RetryPolicy
from receiver.workers.stuck import Stuck
from tests.receiver.example_site import (
    Clock,
    Recorder,
    a_store,
    a_watch,
    an_alert,
    as_message,
    beside,
    deciding,
    of_group,
    received,
    the_current,
    the_policy,
)
from tests.receiver.stores import on_postgres, the_store

ROOT = Path(__file__).parents[3]
NONSENSE = [b"{", b"", b"\xff\xfe", b"null", b'{"kind": "page"}', b"[" * 3000, b'{"id": "x"}', b"\x78\x9cbroken"]


class Rig:
    """An escalator and a dispatcher over a real store in which somebody has damaged something."""

    def __init__(self, store: SQLStore, clock: Clock, folder: Path) -> None:
        self.store, self.clock, self.channel, self.folder = store, clock, Recorder(), folder
        self.shown = list[int]()
        self.stuck = Stuck(clock.elapsed, self.shown.append)
        current = the_current()
        self.escalator = Escalator(store, current, clock, watch=a_watch(store, clock, current), stuck=self.stuck)
        self.dispatcher = Dispatcher(
            "email",
            self.channel,
            store,
            current=current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=as_message,
            metrics=Metrics(["email"]),
            clock=clock,
            elapsed=clock.elapsed,
            jitter=lambda: 0.0,
            careful=self.stuck.careful,
        )

    async def fire(self, *names: str) -> None:
        for name in names:
            group = of_group(received(an_alert(name)), key=name)
            await self.store.update(AlertsReceived(group), the_policy(), self.clock.now)

    def damage(self, statement: str, *values: object) -> None:
        with beside(self.folder) as db:
            db.execute(statement, values)

    async def paged(self) -> list[str]:
        await self.dispatcher.run_once()
        told = [message.address for message in self.channel.sent]
        self.channel.sent.clear()
        return told

    def shows(self) -> dict[Table, int]:
        return {table: count for table, count in self.store.unreadable.counts().items() if count}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Rig(store, clock, tmp_path)
    await store.close()


@pytest.mark.parametrize("doc", NONSENSE)
async def test_a_notification_goes_out_by_what_its_columns_say(
    rig: Rig, doc: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.fire("a", "b", "c")
    rig.damage("UPDATE outbox SET notification = ? WHERE incident_id = 2", doc)
    with caplog.at_level(logging.ERROR):
        assert await rig.paged() == ["linh@example.com"] * 3
        assert await rig.paged() == []
    assert rig.shows() == {Table.NOTIFICATION: 1}
    assert [record.levelname for record in caplog.records if "cannot be read" in record.message] == ["ERROR"]
    stored = await rig.store.incident(2)
    assert stored is not None
    assert EntryKind.TOLD in {line.kind for line in stored[1]}


@pytest.mark.parametrize("doc", NONSENSE)
async def test_of_an_incident_that_cannot_be_read_nothing_is_sent_and_the_others_go_out(rig: Rig, doc: bytes) -> None:
    await rig.fire("a", "b", "c")
    with beside(rig.folder) as db:
        ((before,),) = db.execute("SELECT doc FROM incident WHERE id = 2").fetchall()
        db.execute("UPDATE incident SET doc = ? WHERE id = 2", (doc,))
    assert len(await rig.paged()) == 2
    rig.clock.forward(seconds=200)
    assert await rig.paged() == []
    assert rig.shows() == {Table.INCIDENT: 1}
    with beside(rig.folder) as db:
        row = "SELECT state, tries FROM outbox WHERE incident_id = 2 AND channel = 'email'"
        assert db.execute(row).fetchall() == [("sending", 0)]
        db.execute("UPDATE incident SET doc = ? WHERE id = 2", (before,))
    rig.clock.forward(minutes=6)
    assert await rig.paged() == ["linh@example.com"]
    assert rig.shows() == {}


async def test_an_incident_with_the_number_of_another_is_not_taken_for_it(rig: Rig) -> None:
    """A flipped bit is enough; what is decided for one would be written over the other."""
    await rig.fire("a", "b")
    for number in (2, 0):
        with beside(rig.folder) as db:
            ((doc,),) = db.execute("SELECT doc FROM incident WHERE id = 1").fetchall()
            changed = msgspec.json.encode({**msgspec.json.decode(bytes(doc)), "id": number})
            db.execute("UPDATE incident SET doc = ?, wake_at = 0 WHERE id = 1", (changed,))
        rig.clock.forward(minutes=16)
        await rig.escalator.run_once()
        await rig.paged()
        with pytest.raises(UnreadableError):
            await rig.store.apply(1, deciding(Acknowledge("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    stored = await rig.store.incident(2)
    assert stored is not None
    assert (stored[0].key, stored[0].state) == ("b", State.TRIGGERED)
    assert rig.shows() == {Table.INCIDENT: 1}


async def test_what_was_under_way_when_its_incident_became_unreadable_is_settled(rig: Rig) -> None:
    await rig.fire("a")
    (claimed,) = await rig.store.claim("email", rig.clock.now, 90, 10)
    rig.damage("UPDATE incident SET doc = ?", b"{")
    await rig.store.settle(claimed, "ref", deciding(Acknowledge("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    with beside(rig.folder) as db:
        assert db.execute("SELECT state FROM outbox WHERE channel = 'email'").fetchall() == [("sent",)]


async def test_a_failed_page_whose_incident_became_unreadable_is_put_off(rig: Rig) -> None:
    await rig.fire("a")
    (claimed,) = await rig.store.claim("email", rig.clock.now, 90, 10)
    rig.damage("UPDATE incident SET doc = ?", b"{")
    now = rig.clock.now
    await rig.store.retry_at([claimed], now + timedelta(seconds=5), "no", now, spent=5, unreached=lambda _: None)
    with beside(rig.folder) as db:
        assert db.execute("SELECT state FROM outbox WHERE channel = 'email'").fetchall() == [("pending",)]


async def test_a_late_page_that_cannot_be_sent_keeps_no_other_from_another_way(rig: Rig) -> None:
    await rig.fire("a", "b")
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", b"{")
    rig.clock.forward(minutes=5)
    assert [late.incident.id for late in await rig.store.late_pages("email", rig.clock.now, 1)] == []
    assert [late.incident.id for late in await rig.store.late_pages("email", rig.clock.now, 1)] == [2]


async def test_a_line_of_a_timeline_is_shown_as_unreadable(rig: Rig) -> None:
    await rig.fire("a", "b")
    rig.damage("UPDATE timeline SET data = ? WHERE incident_id = 1", "{")
    assert len(await rig.paged()) == 2
    stored = await rig.store.incident(1)
    assert stored is not None
    assert [line.text for line in stored[1] if line.kind is EntryKind.REMARK] == ["A line that cannot be read."] * 3
    assert set(rig.shows()) == {Table.TIMELINE}


@pytest.mark.parametrize("doc", NONSENSE)
async def test_every_list_leaves_it_out(rig: Rig, doc: bytes) -> None:
    await rig.fire("a", "b")
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", doc)
    store, now = rig.store, rig.clock.now
    assert [one.id for one in await store.still_open()] == [2]
    assert [one.id for one in await store.still_open(lambda _: True)] == [2]
    assert [one.id for one in await store.incidents(None, 10)] == [2]
    assert [one.id for one in (await store.listed(IncidentFilter(10))).incidents] == [2]
    assert [one.id for one in (await store.listed(IncidentFilter(10, team="payments"))).incidents] in ([], [2])
    assert [one.id for one in (await store.backlog()).most_urgent] == [2]
    history = [one.incident.id async for one in store.opened_between(now - timedelta(1), now + timedelta(1))]
    assert history == [2]
    assert [one.id for one in await store.alike("HighErrorRate", "backend", 10)] == [2]
    lines, _ = await store.hooks.lines(0, set(EntryKind), 10)
    assert {line.incident.id for line in lines} == {2}
    with pytest.raises(UnreadableError, match="incident 1"):
        await store.incident(1)


@pytest.mark.parametrize("doc", NONSENSE)
async def test_it_is_left_out_of_what_is_over(rig: Rig, doc: bytes) -> None:
    await rig.fire("a", "b")
    for number in (1, 2):
        await rig.store.apply(number, deciding(Resolve("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", doc)
    start = rig.clock.now - timedelta(hours=1)
    assert [one.id for one in await rig.store.resolved_since(start, 10)] == [2]
    rig.clock.forward(days=1)
    await rig.fire("c")  # the newest of all is never deleted
    old = await rig.store.resolved_before(rig.clock.now, 10)
    assert [incident.id for incident, _ in old] == [2]


@pytest.mark.parametrize("doc", NONSENSE)
async def test_a_clock_that_is_set_moves_the_others(rig: Rig, doc: bytes) -> None:
    await rig.fire("a", "b")
    await rig.paged()
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", doc)
    await rig.store.clock_set(timedelta(hours=1), rig.clock.now + timedelta(hours=1))
    stored = await rig.store.incident(2)
    assert stored is not None
    assert stored[0].clock_moved


@pytest.mark.parametrize("doc", NONSENSE)
async def test_its_group_gets_another_incident(rig: Rig, doc: bytes) -> None:
    await rig.fire("a", "b")
    await rig.paged()
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", doc)
    await rig.fire("a", "b")
    assert await rig.paged() == ["linh@example.com"]
    await rig.fire("a", "b")
    assert await rig.paged() == []
    assert [one.id for one in await rig.store.still_open()] == [2, 3]
    with beside(rig.folder) as db:
        assert db.execute("SELECT state FROM incident WHERE id = 1").fetchall() == [("triggered",)]


@pytest.mark.parametrize("doc", NONSENSE)
async def test_the_statements_of_the_runbook_end_it(rig: Rig, doc: bytes) -> None:
    await rig.fire("a", "b")
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", doc)
    assert await rig.paged() == ["linh@example.com"]
    page = (ROOT / "docs/runbooks/ReceiverIncidentsStuck.md").read_text("utf-8")
    program = "psql" if on_postgres() else "sqlite3"
    (script,) = re.findall(rf"{program} [^\n]*<<'EOF'\n(.*?)\n *EOF\n", page, re.DOTALL)
    for statement in script.replace("17", "1").split(";")[:-1]:
        rig.damage(statement)
    stored = await rig.store.incident(1)
    assert stored is not None
    assert (stored[0].state, stored[0].key) == (State.RESOLVED, "a")
    await rig.escalator.run_once()
    assert rig.shows() == {}
    rig.clock.forward(seconds=200)
    assert await rig.paged() == []
    assert [one.id for one in await rig.store.still_open()] == [2]
    await rig.fire("a")
    assert await rig.paged() == ["linh@example.com"]
    assert [one.id for one in await rig.store.still_open()] == [2, 3]


async def test_an_incident_that_was_over_is_not_needed_for_the_next_one(rig: Rig) -> None:
    await rig.fire("a")
    over = of_group(received(an_alert("a", firing=False)), key="a")
    await rig.store.update(AlertsReceived(over), the_policy(), rig.clock.now)
    rig.damage("UPDATE incident SET doc = ? WHERE id = 1", b"{")
    rig.clock.forward(hours=2)
    again = of_group(received(an_alert("a", starts_at=rig.clock.now)), key="a")
    opened = await rig.store.update(AlertsReceived(again), the_policy(), rig.clock.now)
    assert opened is not None
    assert (opened.id, opened.state) == (2, State.TRIGGERED)


async def test_heartbeats_of_no_time_are_left_out(rig: Rig) -> None:
    await rig.store.beat("east", rig.clock.now)
    await rig.store.beat("west", rig.clock.now)
    await rig.store.job_beat("backup", rig.clock.now)
    await rig.store.job_beat("billing", rig.clock.now)
    rig.damage("UPDATE heartbeat SET last_seen_at = 1e300 WHERE source = 'east'")
    rig.damage("UPDATE job_heartbeat SET heard_at = 1e300 WHERE name = 'backup'")
    assert set(await rig.store.heartbeats()) == {"west"}
    watch = await rig.store.watch_jobs(lambda before: Watch(before.beats, before.looked_at))
    assert set(watch.beats) == {"billing"}


async def test_what_the_receiver_remembers_of_itself_may_be_of_no_time(rig: Rig) -> None:
    now = rig.clock.now
    await rig.store.alive(now)
    await rig.store.hand_over("lead", now)
    await rig.store.watch_jobs(lambda before: Watch(before.beats, now))
    rig.damage("UPDATE own SET value = 1e300 WHERE name <> 'installation'")
    assert await rig.store.last_alive() is None
    assert await rig.store.handed_over("lead") is None
    assert (await rig.store.watch_jobs(lambda before: before)).looked_at is None


async def test_a_start_says_that_the_number_of_the_installation_is_damaged(rig: Rig, tmp_path: Path) -> None:
    await rig.store.installation()
    rig.damage("UPDATE own SET value = ? WHERE name = 'installation'", math.inf)
    other = the_store(tmp_path, rig.clock)
    await rig.store.close()
    await other.open(rig.clock.now)
    with pytest.raises(StoreError, match=r"own\.installation"):
        await other.installation()
    await other.close()


async def test_covers_windows_and_who_is_awake(rig: Rig) -> None:
    now, act = rig.clock.now, Act(rig.clock.now, "linh", "api", "", "", "")
    for person in ("linh", "marek"):
        await rig.store.duty.set_awake(person, now + timedelta(hours=1), act)
        cover = Cover("primary", person, "asha", now, now + timedelta(hours=1), CoverState.ACTIVE, person, person, "")
        await rig.store.duty.change_covers(lambda _, cover=cover: (cover,), now, act)  # type: ignore[misc]
        window = MadeWindow(("instance=db1",), now, now + timedelta(hours=1), person, "", 0)
        await rig.store.duty.add_window(window, 10, act)
    rig.damage("UPDATE awake SET until = 1e300 WHERE person = 'linh'")
    rig.damage("""UPDATE "override" SET "end" = 1e300 WHERE id = 1""")
    rig.damage("""UPDATE "window" SET matchers = '{' WHERE id = 1""")
    assert set(await rig.store.duty.awake(now)) == {"marek"}
    assert [one.id for one in await rig.store.duty.covers(now)] == [2]
    assert [one.id for one in await rig.store.duty.windows(now)] == [2]


async def test_a_notice_of_a_cover_is_put_off(rig: Rig) -> None:
    now, act = rig.clock.now, Act(rig.clock.now, "linh", "api", "", "", "")
    for person in ("linh", "marek"):
        cover = Cover("primary", person, "asha", now, now + timedelta(hours=1), CoverState.ACTIVE, "tuan", "asha", "")
        await rig.store.duty.change_covers(lambda _, cover=cover: (cover,), now, act)  # type: ignore[misc]
    before = await rig.store.duty.cover_notices(now, 100)
    rig.damage("UPDATE cover_notice SET cover = '{' WHERE id = 1")
    assert len(await rig.store.duty.cover_notices(now, 1)) == 0
    assert [one.id for one in await rig.store.duty.cover_notices(now, 100)] == [one.id for one in before][1:]


async def test_reports_count_what_cannot_be_read(rig: Rig) -> None:
    await rig.fire("a")
    await rig.paged()
    now = rig.clock.now
    rig.damage("UPDATE outbox SET notification = ?", b"{")
    (history,) = [one async for one in rig.store.opened_between(now - timedelta(1), now + timedelta(1))]
    assert history.pages == ()
    rig.damage("UPDATE outbox SET state = 'dead', settled_at = created_at WHERE channel = 'email'")
    (dead,) = await rig.store.undelivered(now - timedelta(1), now + timedelta(1))
    assert (dead.channel, dead.person, dead.count) == ("email", "", 1)


@pytest.mark.sqlite("PostgreSQL's text is always UTF-8")
async def test_a_text_of_damaged_bytes_is_read_as_far_as_it_goes(rig: Rig) -> None:
    await rig.fire("a", "b")
    rig.damage("UPDATE timeline SET actor = CAST(x'ff41' AS TEXT)")
    rig.damage("UPDATE outbox SET last_error = CAST(x'ff41' AS TEXT)")
    assert len(await rig.paged()) == 2
    stored = await rig.store.incident(1)
    assert stored is not None
    assert "\ufffdA" in {line.actor for line in stored[1]}


async def test_two_hundred_of_them_end_nothing(rig: Rig) -> None:
    names = [f"n{number}" for number in range(200)]
    await rig.fire(*names, "last")
    rig.damage("UPDATE incident SET doc = ? WHERE id <= 200", b"{")
    assert await rig.paged() == ["linh@example.com"]
    for _ in range(100):
        rig.clock.forward(seconds=10)
        await rig.escalator.run_once()
    assert rig.shown[-1] == 200
    assert "marek@example.com" in await rig.paged()
