"""The loops that ask the clock: escalation, and the silence of the Watchdog."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from receiver.incident.event import AlertsReceived, Delivered
from receiver.incident.model import Kind, State
from receiver.store.base import Outage, StoreOutageError
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.store import SQLiteStore
from receiver.workers.escalator import Escalator
from receiver.workers.stuck import Stuck
from receiver.workers.watchdog import Watchdog
from tests.receiver.example_site import (
    P1,
    THE_GROUP,
    Clock,
    a_store,
    a_watch,
    an_alert,
    deciding,
    received,
    the_current,
    the_policy,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLStore]:
    opened = await a_store(tmp_path, clock)
    yield opened
    await opened.close()


def a_watchdog(store: SQLStore, clock: Clock) -> Watchdog:
    current = the_current()
    return Watchdog(store, current, clock, clock.elapsed, a_watch(store, clock, current), interval=60)


async def listen(watchdog: Watchdog, clock: Clock, seconds: int) -> None:
    """Let time pass while the loop runs, for a gap between two looks is a suspension."""
    for _ in range(seconds // 10):
        clock.forward(seconds=10)
        await watchdog.run_once()
    if seconds % 10:
        clock.forward(seconds=seconds % 10)
        await watchdog.run_once()


async def told(store: SQLStore, clock: Clock) -> list[str]:
    claims = await store.claim("email", clock.now, 1.0, 50)
    for claimed in claims:
        told = Delivered(claimed.notification.round, claimed.notification.target.person)
        await store.settle(claimed, "", deciding(told, clock.now), clock.now)
    return [c.notification.target.person for c in claims if c.notification.kind is Kind.PAGE]


async def test_the_escalator_takes_each_step_once_and_in_time(store: SQLStore, clock: Clock) -> None:
    current = the_current()
    escalator = Escalator(
        store, current, clock, watch=a_watch(store, clock, current), stuck=Stuck(clock.elapsed, lambda _: None)
    )
    await store.update(received(an_alert()), the_policy(), clock.now)
    heard: list[tuple[int, str]] = []
    for minute in range(70):
        for _ in range(2):
            await escalator.run_once()
        heard += [(minute, name) for name in await told(store, clock)]
        clock.forward(minutes=1)
    assert heard == [(0, "linh"), (15, "marek"), (30, "aisha"), (60, "peter")]


async def test_a_silent_watchdog_is_a_p1_that_closes_by_itself(store: SQLStore, clock: Clock) -> None:
    watchdog = a_watchdog(store, clock)
    await watchdog.run_once()
    assert await store.incidents(None, 10) == []  # never heard, never missed
    await store.beat("alertmanager", clock.now)
    await listen(watchdog, clock, 180)
    assert await store.incidents(None, 10) == []
    await listen(watchdog, clock, 1)
    await watchdog.run_once()
    (incident,) = await store.incidents(None, 10)
    assert (incident.state, incident.priority) == (State.TRIGGERED, P1)
    assert incident.title == "WatchdogSilent: Monitoring is blind"
    assert await told(store, clock) == ["linh"]
    await store.beat("alertmanager", clock.now)
    await watchdog.run_once()
    (incident,) = await store.incidents(None, 10)
    assert incident.state is State.RESOLVED
    await listen(watchdog, clock, 200)
    (incident,) = await store.incidents(None, 10)  # the same trouble, so soon again: the same incident
    assert incident.state is State.TRIGGERED
    assert len(incident.reopened) == 1


async def test_our_own_downtime_is_not_the_watchdogs_silence(store: SQLStore, clock: Clock) -> None:
    await store.beat("alertmanager", clock.now)
    clock.forward(hours=3)
    watchdog = a_watchdog(store, clock)
    await listen(watchdog, clock, 170)
    assert await store.incidents(None, 10) == []
    await listen(watchdog, clock, 20)
    assert len(await store.incidents(None, 10)) == 1


async def test_what_could_not_be_stored_is_not_the_watchdogs_silence(tmp_path: Path, clock: Clock) -> None:
    class Away(SQLiteStore):
        """Its database is away for a while, in which webhooks get 503."""

        away: Outage | None = None

        @property
        def outage(self) -> Outage | None:
            return self.away

        async def heartbeats(self) -> dict[str, datetime]:
            if self.away is not None:
                raise StoreOutageError(self.away, "away")
            return await super().heartbeats()

    store = Away(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(clock.now)
    watchdog = a_watchdog(store, clock)
    await store.beat("alertmanager", clock.now)
    await listen(watchdog, clock, 60)
    store.away = Outage.UNREACHABLE
    for _ in range(60):
        clock.forward(seconds=10)
        with pytest.raises(StoreOutageError):
            await watchdog.run_once()
    store.away = None
    await listen(watchdog, clock, 170)
    assert await store.incidents(None, 10) == []
    await listen(watchdog, clock, 20)  # and nothing came after it
    assert [one.title for one in await store.incidents(None, 10)] == ["WatchdogSilent: Monitoring is blind"]
    await store.close()


async def test_a_clock_that_jumps_is_an_absence_and_sends_nothing_twice(store: SQLStore, clock: Clock) -> None:
    current = the_current()
    escalator = Escalator(
        store, current, clock, watch=a_watch(store, clock, current), stuck=Stuck(clock.elapsed, lambda _: None)
    )
    await store.update(received(an_alert()), the_policy(), clock.now)
    await escalator.run_once()
    clock.forward(minutes=40)  # suspended before the page was out
    await escalator.run_once()
    assert current.routing.running_since == clock.now
    assert await told(store, clock) == ["linh"]  # and nobody above her
    clock.set(minutes=-50)
    await escalator.run_once()
    clock.set(minutes=50)
    await escalator.run_once()
    assert await told(store, clock) == []
    clock.forward(minutes=5)
    await escalator.run_once()
    assert await told(store, clock) == ["marek"]


async def test_what_was_held_is_let_go_when_the_watchdog_has_been_back_for_a_while(
    store: SQLStore, clock: Clock
) -> None:
    watchdog = a_watchdog(store, clock)
    await store.update(received(an_alert()), the_policy(), clock.now)
    await store.beat("alertmanager", clock.now)
    await listen(watchdog, clock, 181)
    assert watchdog.blind()
    group = received(an_alert(firing=False)).group
    over = AlertsReceived(group, blind=not await watchdog.believes(group.alerts))
    held = await store.update(over, the_policy(), clock.now)
    assert held is not None
    assert (held.state, held.held) == (State.TRIGGERED, True)
    for _ in range(4):
        await store.beat("alertmanager", clock.now)
        await watchdog.run_once()
        assert (await store.incidents(State.RESOLVED, 10))[-1].key != THE_GROUP.key
        await listen(watchdog, clock, 50)
    await store.beat("alertmanager", clock.now)
    await watchdog.run_once()
    assert not watchdog.blind()
    assert THE_GROUP.key in {incident.key for incident in await store.incidents(State.RESOLVED, 10)}
