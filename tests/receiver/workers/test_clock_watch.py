"""Somebody sets the clock, or suspends the machine: nothing waits longer, comes sooner or is sent twice for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from receiver.channels.base import Failure, SendError
from receiver.incident.event import AlertsReceived, Resolve, UndoResolve
from receiver.incident.model import EntryKind, Kind, Origin, State
from receiver.metrics import Metrics
from receiver.store.base import Outage, StoreError, StoreOutageError
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.store import SQLiteStore
from receiver.workers.clock_watch import ClockWatch, WatchedClock
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.escalator import Escalator
from receiver.workers.retry import RetryPolicy
from receiver.workers.stuck import Stuck
from receiver.workers.watchdog import Watchdog
from tests.receiver.example_site import (
    Clock,
    Recorder,
    Taker,
    a_store,
    an_alert,
    as_message,
    deciding,
    of_group,
    received,
    the_current,
)

HOUR = timedelta(hours=1)


class Rig:
    """Every loop that waits, over one store and one watch."""

    def __init__(self, store: SQLStore, clock: Clock, channel: Recorder | None = None) -> None:
        self.store, self.clock, self.metrics = store, clock, Metrics(["email"])
        self.channel = channel or Recorder()
        current = self.current = the_current()
        current.restarted(clock.now)
        self.read = watched = WatchedClock(clock, clock.elapsed)
        self.watch = ClockWatch(store, current, watched, clock.elapsed, self.metrics.clock_set)
        self.escalator = Escalator(
            store, current, watched, watch=self.watch, stuck=Stuck(clock.elapsed, lambda _: None)
        )
        self.watchdog = Watchdog(store, current, watched, clock.elapsed, self.watch, 60)
        self.dispatcher = Dispatcher(
            "email",
            self.channel,
            store,
            current=current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=as_message,
            metrics=self.metrics,
            clock=watched,
            elapsed=clock.elapsed,
            watch=self.watch,
            jitter=lambda: 0.0,
        )

    async def fire(self, name: str = "a", severity: str = "critical") -> None:
        group = of_group(received(an_alert(name, severity=severity)), key=name)
        await self.store.update(AlertsReceived(group), self.current.routing, self.clock.now)

    async def restarted(self) -> "Rig":
        """The next process over the same store and channel."""
        rig = Rig(self.store, self.clock, self.channel)
        await rig.watch.begin()
        return rig

    async def seconds(self, count: float, step: float = 1) -> None:
        for _ in range(int(count / step)):
            self.clock.forward(seconds=step)
            await self.store.beat("alertmanager", self.clock.now) if self.heard else None
            await self.look()

    heard = False

    async def look(self) -> None:
        await self.watchdog.run_once()
        await self.escalator.run_once()
        await self.dispatcher.run_once()

    def people(self) -> list[str]:
        return [message.address for message in self.channel.sent if message.kind is Kind.PAGE]

    async def noted(self, *kinds: EntryKind) -> list[EntryKind]:
        stored = await self.store.incident(1)
        assert stored is not None
        return [entry.kind for entry in stored[1] if entry.kind in kinds]

    def steps(self, direction: str) -> float | None:
        return self.metrics.registry.get_sample_value("receiver_clock_steps_total", {"direction": direction})


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Rig(store, clock)
    await store.close()


@pytest.mark.parametrize("by", [-HOUR, timedelta(minutes=-10), timedelta(minutes=10), HOUR, timedelta(days=-400)])
async def test_a_page_that_waits_for_its_retry_waits_no_longer_and_no_shorter(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR), SendError("503", Failure.SERVER_ERROR)]
    await rig.seconds(7)  # it is retried after 5 and after 10 seconds more
    rig.clock.set(seconds=by.total_seconds())
    await rig.seconds(7)
    assert rig.channel.sent == []
    owed = (await rig.store.backlog()).oldest_owed["email"]
    assert 13 <= (rig.clock.now - owed).total_seconds() <= 15
    await rig.seconds(3)
    assert rig.people() == ["linh@example.com"]


@pytest.mark.parametrize("by", [-HOUR, timedelta(minutes=10), HOUR])
async def test_the_next_step_is_taken_when_its_minutes_have_passed(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    await rig.seconds(600, 10)
    rig.clock.set(seconds=by.total_seconds())
    await rig.seconds(290, 10)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(20, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]
    assert await rig.noted(EntryKind.LATE) == []


@pytest.mark.parametrize("by", [-HOUR, timedelta(seconds=-200), timedelta(seconds=200), HOUR])
async def test_what_happens_before_the_step_is_noticed_is_due_in_its_own_time(rig: Rig, by: timedelta) -> None:
    """A webhook, a page that is settled and one that fails, all between the step and the next look at the clocks."""
    await rig.seconds(1)
    rig.clock.set(seconds=by.total_seconds())
    group = of_group(received(an_alert("a", severity="critical")), key="a")
    await rig.store.update(AlertsReceived(group), rig.current.routing, rig.read())
    (claimed,) = await rig.store.claim("email", rig.read(), 90, 10)
    await rig.store.retry_at(
        [claimed], rig.read() + timedelta(seconds=5), "503", rig.read(), spent=5, unreached=lambda _: None
    )
    await rig.watch.look()
    assert rig.read() == rig.clock.now
    await rig.seconds(4)
    assert rig.people() == []
    await rig.seconds(2)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(880, 10)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(20, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_what_is_asked_for_before_the_move_and_written_after_it_moves_too(rig: Rig, by: timedelta) -> None:
    await rig.seconds(1)
    rig.clock.set(seconds=by.total_seconds())
    group = of_group(received(an_alert("a", severity="critical")), key="a")
    beat = rig.store.beat("alertmanager", rig.read())  # not urgent: it waits behind what is
    fired = rig.store.update(AlertsReceived(group), rig.current.routing, rig.read())
    await asyncio.gather(beat, fired, rig.watch.look())
    assert (await rig.store.heartbeats())["alertmanager"] == rig.clock.now
    rig.heard = True
    await rig.seconds(890, 10)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(20, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_claim_that_is_under_way_when_the_clock_is_set_leases_for_as_long(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    claiming = asyncio.create_task(rig.store.claim("email", rig.read(), 90, 10))
    await asyncio.sleep(0)  # it has asked whether anything is due
    rig.clock.set(seconds=by.total_seconds())
    await rig.watch.look()
    assert len(await claiming) == 1
    await rig.seconds(80, 10)
    assert await rig.store.claim("email", rig.read(), 90, 10) == []
    await rig.seconds(20, 10)
    assert rig.people() == ["linh@example.com"]


@pytest.mark.sqlite("on PostgreSQL several receivers send")
@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_p1_that_opens_when_the_clock_is_set_is_leased_for_as_long(rig: Rig, by: timedelta) -> None:
    rig.store.give_first_pages("email", Taker(), rig.read)
    opening = asyncio.create_task(rig.fire())
    await asyncio.sleep(0)
    rig.clock.set(seconds=by.total_seconds())
    await rig.watch.look()
    await opening
    await rig.seconds(80, 10)
    assert rig.people() == []
    await rig.seconds(20, 10)
    assert rig.people() == ["linh@example.com"]


class SetBetween(SQLiteStore):
    """A store whose clock is set, and that is noticed, while it looks for what is due."""

    async def due(self, now: datetime, limit: int = 100) -> list[int]:
        numbers = await super().due(now, limit)
        if numbers and self.by:
            self.clock.set(seconds=self.by.total_seconds())
            self.by = timedelta(0)
            await self.look()
        return numbers

    clock: Clock
    by: timedelta
    look: Callable[[], Awaitable[None]]


@pytest.mark.parametrize("by", [-HOUR, timedelta(minutes=10), HOUR])
async def test_a_step_that_is_due_when_the_clock_is_set_is_taken_in_the_new_time(tmp_path: Path, by: timedelta) -> None:
    clock = Clock()
    store = SetBetween(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(clock.now)
    rig = Rig(store, clock)
    store.clock, store.by, store.look = clock, timedelta(0), rig.watch.look
    await rig.fire()
    await rig.seconds(600, 10)
    store.by = by
    await rig.seconds(310, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]
    stored = await store.incident(1)
    assert stored is not None
    (paged,) = [line for line in stored[1] if line.kind is EntryKind.PAGED][1:]
    assert timedelta(0) <= clock.now - paged.at <= timedelta(seconds=20)
    await rig.seconds(880, 10)
    assert len(rig.people()) == 2
    await rig.seconds(30, 10)
    assert rig.people()[2:] == ["aisha@example.com"]
    await store.close()


@pytest.mark.parametrize("by", [-HOUR, timedelta(minutes=-10), timedelta(days=-400)])
async def test_a_clock_that_was_set_back_while_nothing_ran_keeps_nothing_waiting(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)]
    await rig.seconds(2)
    rig.clock.set(seconds=by.total_seconds())  # a machine without a battery for its clock
    rig = await rig.restarted()
    await rig.seconds(5)
    assert rig.people() == ["linh@example.com"]
    assert await rig.noted(EntryKind.CLOCK_BACK) == [EntryKind.CLOCK_BACK]
    await rig.seconds(900, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]


async def test_a_restart_is_no_step_of_the_clock(rig: Rig) -> None:
    await rig.fire()
    await rig.seconds(2)
    rig = await rig.restarted()
    await rig.seconds(2)
    rig.clock.forward(hours=1)
    rig = await rig.restarted()
    await rig.seconds(2)
    assert await rig.noted(EntryKind.CLOCK_BACK, EntryKind.CLOCK_FORWARD) == []


@pytest.mark.parametrize(
    ("by", "direction", "kind"),
    [(-HOUR, "back", EntryKind.CLOCK_BACK), (HOUR, "forward", EntryKind.CLOCK_FORWARD)],
)
async def test_a_step_is_one_line_of_the_timeline_and_counted_once(
    rig: Rig, by: timedelta, direction: str, kind: EntryKind
) -> None:
    await rig.fire()
    await rig.seconds(10)
    rig.clock.set(seconds=by.total_seconds())
    await rig.seconds(10)
    assert await rig.noted(EntryKind.CLOCK_BACK, EntryKind.CLOCK_FORWARD) == [kind]
    assert {name: rig.steps(name) for name in ("back", "forward")} == {"back": 0, "forward": 0} | {direction: 1}


@pytest.mark.parametrize("by", [-HOUR, timedelta(minutes=-10), HOUR])
async def test_the_age_of_what_nobody_has_acknowledged_does_not_jump(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    await rig.seconds(600, 10)
    rig.clock.set(seconds=by.total_seconds())
    await rig.watch.look()
    await rig.fire("b")  # a younger one is not the oldest
    for age in (600, 610, 620):
        rig.metrics.show(await rig.store.backlog(), rig.clock.now)
        labels = {"priority": "P1"}
        shown = rig.metrics.registry.get_sample_value("receiver_incident_unacknowledged_age_seconds", labels)
        assert shown == pytest.approx(age)
        await rig.seconds(10, 10)


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_time_to_acknowledge_is_measured_by_what_has_passed(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    await rig.seconds(60, 10)
    rig.clock.set(seconds=by.total_seconds())
    await rig.watch.look()
    stored = await rig.store.incident(1)
    assert stored is not None
    rig.clock.forward(seconds=30)
    after = replace(stored[0], acknowledged_at=rig.clock.now, resolved_at=rig.clock.now)
    rig.metrics.watch(stored[0], after)
    for family in ("acknowledge", "resolve"):
        labels = {"priority": "P1", "team": "backend"}
        measured = rig.metrics.registry.get_sample_value(f"receiver_time_to_{family}_seconds_sum", labels)
        assert measured == pytest.approx(90)


@pytest.mark.parametrize("by", [timedelta(minutes=-20), timedelta(minutes=20)])
async def test_what_was_held_while_the_clock_was_set_goes_on_where_it_stood(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    await rig.seconds(600, 10)
    over = of_group(received(an_alert(firing=False, starts_at=rig.clock.now)), key="a")
    await rig.store.update(AlertsReceived(over, blind=True), rig.current.routing, rig.clock.now)
    await rig.seconds(60, 10)
    rig.clock.set(seconds=by.total_seconds())
    await rig.seconds(60, 10)
    again = of_group(received(an_alert(starts_at=rig.clock.now)), key="a")
    await rig.store.update(AlertsReceived(again), rig.current.routing, rig.clock.now)
    await rig.seconds(280, 10)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(30, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_resolve_can_be_undone_for_a_minute_of_real_time(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    await rig.seconds(600, 10)
    await rig.store.apply(1, deciding(Resolve("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    rig.clock.set(seconds=by.total_seconds())
    await rig.watch.look()
    rig.clock.forward(seconds=50)
    undone = await rig.store.apply(1, deciding(UndoResolve("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    assert undone is not None
    assert undone.state is State.TRIGGERED
    await rig.seconds(240, 10)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(20, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]


@pytest.mark.parametrize("by", [timedelta(minutes=10), HOUR, -HOUR])
async def test_a_clock_that_is_set_does_not_make_the_watchdog_silent(rig: Rig, by: timedelta) -> None:
    rig.heard = True
    await rig.seconds(30, 5)
    rig.heard = False
    rig.clock.set(seconds=by.total_seconds())
    await rig.seconds(140, 5)
    assert await rig.store.incidents(None, 10) == []
    assert not rig.watchdog.blind()
    await rig.seconds(60, 5)  # and what is really silent is found in time
    (incident,) = await rig.store.incidents(None, 10)
    assert incident.state is State.TRIGGERED


async def test_a_suspended_machine_finds_no_silence_before_it_has_listened(rig: Rig) -> None:
    rig.heard = True
    await rig.seconds(30, 5)
    rig.heard = False
    rig.clock.forward(minutes=40)
    await rig.look()
    await rig.seconds(120, 5)
    assert await rig.store.incidents(None, 10) == []
    assert rig.steps("forward") == 0


@pytest.mark.sqlite("in PostgreSQL, a lease lasts for eight seconds unless it is renewed")
@pytest.mark.parametrize("by", [timedelta(minutes=10), -HOUR])
async def test_what_is_being_sent_is_not_sent_again(rig: Rig, by: timedelta) -> None:
    await rig.fire()
    held = await rig.store.claim("email", rig.clock.now, 90, 10)
    assert len(held) == 1
    rig.clock.set(seconds=by.total_seconds())
    await rig.seconds(20)
    assert rig.channel.sent == []
    await rig.seconds(90, 10)
    assert rig.people() == ["linh@example.com"]


async def test_a_clock_that_is_slewed_is_not_set(rig: Rig) -> None:
    for _ in range(100):
        rig.clock.set(seconds=0.05)
        await rig.seconds(1)
    assert rig.steps("forward") == 0


@pytest.mark.parametrize(
    "change", [datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC)], ids=["autumn", "spring"]
)
async def test_steps_keep_their_distance_while_the_clocks_change(
    tmp_path: Path, change: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    clock = Clock()
    clock.now = change - timedelta(minutes=20)
    store = await a_store(tmp_path, clock)
    rig = Rig(store, clock)
    await rig.fire()
    heard: list[tuple[int, str]] = []
    for minute in range(64):
        await rig.look()
        heard += [(minute, address) for address in rig.people()[len(heard) :]]
        await rig.seconds(60, 20)
    assert heard == [
        (0, "linh@example.com"),
        (15, "marek@example.com"),
        (30, "aisha@example.com"),
        (60, "peter@example.com"),
    ]
    assert (rig.steps("forward"), rig.steps("back")) == (0, 0)
    await store.close()


class AwayOnce(SQLiteStore):
    """A store whose disk is away at the moment of the step."""

    away = True

    async def clock_set(self, by: timedelta, now: datetime) -> None:
        if self.away:
            self.away = False
            raise StoreError("the disk is full")
        await super().clock_set(by, now)


class Away(AwayOnce):
    """The same, for long."""

    async def clock_set(self, by: timedelta, now: datetime) -> None:
        if self.away:
            raise StoreOutageError(Outage.FULL, "the disk is full")
        await super().clock_set(by, now)


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_while_the_store_is_away_everything_goes_on_in_the_old_time(tmp_path: Path, by: timedelta) -> None:
    clock = Clock()
    store = Away(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(clock.now)
    rig = Rig(store, clock)
    await rig.fire()
    await rig.seconds(1)
    clock.set(seconds=by.total_seconds())
    await rig.seconds(300, 10)
    assert rig.read() == clock.now - by
    assert rig.steps("forward") == rig.steps("back") == 0
    store.away = False
    await rig.seconds(590, 10)
    assert rig.read() == clock.now
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(30, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]
    await store.close()


async def test_what_could_not_be_moved_is_moved_later_and_once(tmp_path: Path) -> None:
    clock = Clock()
    store = AwayOnce(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(clock.now)
    rig = Rig(store, clock)
    await rig.fire()
    await rig.seconds(1)
    clock.set(hours=-1)
    with pytest.raises(StoreError):
        await rig.watch.look()
    await rig.seconds(900 - 20, 10)
    assert rig.people() == ["linh@example.com"]
    await rig.seconds(30, 10)
    assert rig.people() == ["linh@example.com", "marek@example.com"]
    assert rig.steps("back") == 1
    await store.close()
