"""What one of several receivers does for all, when it passes from one to the other and back."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from receiver.clients.alertmanager import AlertmanagerApi
from receiver.incident.event import AlertsReceived
from receiver.incident.heartbeat import Job, looked
from receiver.incident.model import AlertGroup, State
from receiver.metrics import Metrics
from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.store.postgres import turns
from receiver.store.sql.store import SQLStore
from receiver.workers.job_heartbeats import HeartbeatLook
from receiver.workers.one_of_several import OneOfSeveral
from receiver.workers.reconcile_diff import VANISHED
from receiver.workers.reconciler import Reconciler
from receiver.workers.retention import Retention
from receiver.workers.watchdog import Watchdog
from tests.fakes.server import FakeServer
from tests.receiver.example_site import (
    THE_GROUP,
    Clock,
    a_store,
    a_watch,
    an_alert,
    received,
    the_current,
    the_policy,
)

pytestmark = pytest.mark.postgres


class Two:
    """Two receivers' stores on one database; the first leads."""

    def __init__(self, clock: Clock, one: SQLStore, other: SQLStore) -> None:
        self.clock, self.one, self.other, self.leader = clock, one, other, one

    async def lead(self, store: SQLStore) -> None:
        """Let this one take over from the other, which is dead for longer than its turn, or was stopped."""
        self.clock.forward(seconds=turns.LENGTH + 1)
        self.leader = store
        await self.go_on()

    async def go_on(self) -> None:
        """Both say that they live."""
        follower = self.other if self.leader is self.one else self.one
        for each in (self.leader, follower):
            await each.be_present()  # type: ignore[attr-defined]  # of PostgreSQL
        assert (self.leader.leads, follower.leads) == (True, False)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    clock = Clock()
    one, other = await a_store(tmp_path, clock), await a_store(tmp_path, clock)
    yield Two(clock, one, other)
    for store in (one, other):
        await store.close()


async def test_a_loop_runs_where_the_receiver_leads_and_rests_once_when_it_does_not_any_more(two: Two) -> None:
    done: list[str] = []

    def a_loop(name: str, store: SQLStore) -> OneOfSeveral:
        async def runs() -> None:
            done.append(f"{name} runs")

        async def rests() -> None:
            done.append(f"{name} rests")

        return OneOfSeveral(store, runs, rests)

    loops = a_loop("one", two.one), a_loop("other", two.other)

    async def once() -> list[str]:
        done.clear()
        for loop in loops:
            await loop.run()
        return list(done)

    assert await once() == await once() == ["one runs"]
    await two.lead(two.other)
    assert [loop.is_due() for loop in loops] == [True, True]  # neither waits until its next round
    assert await once() == ["one rests", "other runs"]
    assert [loop.is_due() for loop in loops] == [False, False]
    assert await once() == ["other runs"]


async def test_a_round_ends_where_the_receiver_does_not_lead_any_more(two: Two) -> None:
    begun, ended = asyncio.Event(), list[str]()

    async def runs() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    loop = OneOfSeveral(two.one, runs)
    running = asyncio.ensure_future(loop.run())
    await begun.wait()
    await two.lead(two.other)
    await running
    assert ended == ["ended"]


async def test_a_round_that_fails_or_is_ended_with_its_receiver_is_not_hidden(two: Two) -> None:
    async def fails() -> None:
        raise StoreError("full")

    with pytest.raises(StoreError):
        await OneOfSeveral(two.one, fails).run()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.ensure_future(OneOfSeveral(two.one, waits).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_receiver_numbers_each_time_for_which_it_leads(two: Two) -> None:
    terms = [(two.one.term, two.other.term)]
    await two.go_on()
    terms.append((two.one.term, two.other.term))
    for store in (two.other, two.one):
        await two.lead(store)
        terms.append((two.one.term, two.other.term))
    assert terms == [(1, None), (1, None), (None, 1), (2, None)]


async def test_a_heartbeat_that_came_while_nobody_led_resolves_its_incident(two: Two) -> None:
    current, job = the_current(), Job("backup", every=15, grace=0)

    def a_look(store: SQLStore) -> HeartbeatLook:
        watch = a_watch(store, two.clock, current)
        return HeartbeatLook(store, current, two.clock, watch, Metrics(["email"]), jobs=lambda: {"backup": job})

    one, other = a_look(two.one), a_look(two.other)
    await one.run_once()  # it is not missed, as far as the first one knows
    await two.lead(two.other)
    await other.run_once()
    two.clock.forward(seconds=10)
    await other.run_once()
    (incident,) = await two.one.incidents(None, 10)
    assert incident.state is State.TRIGGERED
    await two.one.job_beat("backup", two.clock.now)  # any receiver takes it; the leader is killed before its next look
    await two.lead(two.one)
    await one.run_once()
    (incident,) = await two.one.incidents(None, 10)
    assert incident.state is State.RESOLVED


async def test_who_looks_no_more_says_no_more_who_is_missed(two: Two) -> None:
    current, metrics, clock = the_current(), Metrics(["email"]), two.clock
    watch, job = a_watch(two.one, clock, current), Job("backup", every=15, grace=0)
    look = HeartbeatLook(two.one, current, clock, watch, metrics, jobs=lambda: {"backup": job})
    for _ in range(2):
        await look.run_once()
        clock.forward(seconds=20)
    await look.run_once()
    labels = {"heartbeat": "backup"}
    assert metrics.registry.get_sample_value("receiver_heartbeat_missed", labels) == 1
    await look.rest()
    assert metrics.registry.get_sample_value("receiver_heartbeat_missed", labels) is None


async def test_what_another_held_back_is_let_go_by_who_leads_next(two: Two) -> None:
    current, clock = the_current(), two.clock

    def a_watchdog(store: SQLStore) -> Watchdog:
        return Watchdog(store, current, clock, clock.elapsed, a_watch(store, clock, current), interval=60)

    async def listen(seconds: int, *, beats: bool) -> None:
        for _ in range(seconds // 10):
            clock.forward(seconds=10)
            for each in watchdogs:
                await each.run_once()
            await two.go_on()
            if beats:
                await two.other.beat("alertmanager", clock.now)

    watchdogs = one, other = a_watchdog(two.one), a_watchdog(two.other)
    await two.one.beat("alertmanager", clock.now)
    await two.one.update(received(an_alert()), the_policy(), clock.now)
    await one.run_once()  # it leads, and nothing is held
    await two.lead(two.other)
    await listen(240, beats=False)
    assert (one.blind(), other.blind()) == (True, True)
    group = received(an_alert(firing=False)).group
    over = AlertsReceived(group, blind=not await other.believes(group.alerts))
    held = await two.other.update(over, the_policy(), clock.now)
    assert held is not None
    assert held.held
    await listen(120, beats=True)  # not long enough: it is held when its receiver dies
    (still,) = [one for one in await two.one.still_open() if one.key == THE_GROUP.key]
    assert still.held
    await two.lead(two.one)
    await listen(120, beats=True)
    assert THE_GROUP.key in {incident.key for incident in await two.one.incidents(State.RESOLVED, 10)}


class Nothing(FakeServer):
    """An Alertmanager in which nothing fires."""

    def answer(self, _request: web.Request, _body: dict[str, Any]) -> web.Response:
        return web.json_response([])


async def test_what_was_not_seen_by_who_led_before_is_not_taken_for_gone_since_then(two: Two) -> None:
    alertmanager = Nothing()
    await alertmanager.start()
    async with aiohttp.ClientSession() as session:

        def a_reconciler(store: SQLStore) -> Reconciler:
            api, clock = AlertmanagerApi(alertmanager.url, session), two.clock
            return Reconciler(store, the_current(), api, clock, clock.elapsed, Metrics(["email"]))

        one, other = a_reconciler(two.one), a_reconciler(two.other)
        group = msgspec.structs.replace(THE_GROUP, alerts=(an_alert(),), receiver="receiver")
        await two.one.update(AlertsReceived(group), the_policy(), two.clock.now)
        await one.run_once()
        await two.lead(two.other)
        two.clock.forward(hours=1)  # in which the other one has seen it fire
        await two.lead(two.one)
        await one.run_once()
        assert [incident.state for incident in await two.one.incidents(None, 10)] == [State.TRIGGERED]
        two.clock.forward(seconds=VANISHED.total_seconds())
        await one.run_once()
        assert [incident.state for incident in await two.one.incidents(None, 10)] == [State.RESOLVED]
        await other.run_once()
    await alertmanager.stop()


async def test_a_heartbeat_that_was_found_missing_by_who_died_before_telling_is_told_by_the_next(two: Two) -> None:
    current, job = the_current(), Job("backup", every=15, grace=0)
    jobs = {"backup": job}
    for seconds in (0, 15):
        two.clock.forward(seconds=seconds)
        await two.one.watch_jobs(partial(looked, jobs=jobs, now=two.clock.now))  # killed before the incident opens
    assert await two.one.incidents(None, 10) == []
    await two.lead(two.other)
    watch = a_watch(two.other, two.clock, current)
    look = HeartbeatLook(two.other, current, two.clock, watch, Metrics(["email"]), jobs=lambda: jobs)
    for _ in range(2):
        await look.run_once()
    (incident,) = await two.one.incidents(None, 10)
    assert incident.delivery.rounds == 1


async def test_a_clock_that_both_see_set_moves_what_waits_once(two: Two) -> None:
    await two.one.update(received(an_alert()), the_policy(), two.clock.now)
    before = (await two.one.incidents(None, 1))[0].clocks.next_due_at
    two.clock.forward(hours=1)
    for store in (two.one, two.other):
        await store.clock_set(timedelta(hours=1), two.clock.now)
    after = (await two.one.incidents(None, 1))[0].clocks.next_due_at
    assert before is not None
    assert after == before + timedelta(hours=1)


async def test_who_keeps_house_may_meet_another_who_does(two: Two, tmp_path: Path) -> None:
    stores = (two.one, two.other)
    for number in range(60):
        group = AlertGroup(f"k{number}", (an_alert("a"),))
        await two.one.update(AlertsReceived(group), the_policy(), two.clock.now)
        over = msgspec.structs.replace(group, alerts=(an_alert("a", firing=False),))
        await two.other.update(AlertsReceived(over), the_policy(), two.clock.now)
    two.clock.forward(days=2)
    act = Act(two.clock.now, "peter", "session", "", "person.erase", "")
    await asyncio.gather(*(store.erasing.erase("linh", ["Linh"], act) for store in stores))
    keep = timedelta(days=1)
    olds = [Retention(store, two.clock, keep, tmp_path / str(at)) for at, store in enumerate(stores)]
    await asyncio.gather(*(old.run_once() for old in olds))
    left = {incident.id for incident in await two.one.incidents(None, 100)}
    assert left == {60}  # whose number is not given again
    assert archived(tmp_path) | left == set(range(1, 61))


def archived(folder: Path) -> set[int]:
    """Number the incidents in the archives of both."""
    files = folder.glob("*/incidents-*.jsonl.gz")
    lines = [line for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    return {msgspec.json.decode(line)["incident"]["id"] for line in lines}


async def test_one_asks_alertmanager_for_silences_until_it_has_ended_or_is_dead(two: Two) -> None:
    one, other = two.one.silences, two.other.silences
    assert await one.take_turn(two.clock.now)
    assert not await other.take_turn(two.clock.now)
    await one.end_turn()
    assert await other.take_turn(two.clock.now)
    await one.end_turn()  # which it does not have
    assert not await one.take_turn(two.clock.now)
    two.clock.forward(seconds=turns.LENGTH + 1)
    assert await one.take_turn(two.clock.now)
