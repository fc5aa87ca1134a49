"""Whether a resolve is believed: by Alertmanager's API, by Prometheus itself, or by the Watchdog's beats alone."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from receiver.clients.alertmanager import AlertmanagerApi
from receiver.clients.prometheus import Prometheus
from receiver.incident.event import AlertsReceived
from receiver.incident.model import Alert, EntryKind, State
from receiver.store.sql.store import SQLStore
from receiver.workers.liveness import Liveness
from receiver.workers.watchdog import Watchdog
from tests.receiver.example_site import START, Clock, a_store, a_watch, an_alert, received, the_current, the_policy

URL = "http://prometheus:9090/graph?g0.expr=up"


class Double:
    """Both APIs: ``posted`` maps each Prometheus to when its Watchdog came; the rules are as they are set."""

    def __init__(self) -> None:
        self.posted: dict[str, Any] = {}
        self.rules: list[dict[str, Any]] = []
        self.started = START - timedelta(days=1)
        self.down = False
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.down:
            return web.Response(status=500)
        if request.path == "/api/v2/alerts":
            assert request.query["filter"] == 'alertname="Watchdog"'
            return web.json_response([_watchdog(name, at.isoformat()) for name, at in self.posted.items()])
        if request.path == "/api/v1/status/runtimeinfo":
            return web.json_response({"data": {"startTime": self.started.isoformat()}})
        groups = [{"name": "g", "file": "f", "interval": 30, "rules": self.rules}]
        return web.json_response({"data": {"groups": groups}})


def _watchdog(generator: str, at: str) -> dict[str, Any]:
    return {
        "fingerprint": generator,
        "startsAt": START.isoformat(),
        "updatedAt": at,
        "labels": {"alertname": "Watchdog"},
        "receivers": [],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
        "generatorURL": generator,
    }


def rule(clock: Clock, state: str = "", **changes: object) -> dict[str, Any]:
    labels = {"alertname": "HighErrorRate", "severity": "critical"}
    alerts = [{"labels": labels, "state": state}] if state else []
    known = {"name": "HighErrorRate", "type": "alerting", "health": "ok", "lastEvaluation": clock.now.isoformat()}
    return {**known, "alerts": alerts, **changes}


def over(url: str = URL) -> Alert:
    return msgspec.structs.replace(an_alert(firing=False), generator_url=url)


class Rig:
    def __init__(self, store: SQLStore, clock: Clock, double: Double, session: aiohttp.ClientSession, url: str) -> None:
        self.store, self.clock, self.double, self._session, self._url = store, clock, double, session, url
        self.liveness = Liveness(clock, 60)
        self.watchdog = self.new_watchdog()

    def new_watchdog(self) -> Watchdog:
        current, clock = the_current(), self.clock
        watch = a_watch(self.store, clock, current)
        return Watchdog(self.store, current, clock, clock.elapsed, watch, 60, liveness={"alertmanager": self.liveness})

    def ask(self, *, alertmanager: bool = False, prometheus: bool = False) -> None:
        self.liveness.ask(
            AlertmanagerApi(self._url, self._session) if alertmanager else None,
            Prometheus(self._session, self._url) if prometheus else None,
        )

    async def resolve(self) -> State:
        """What becomes of an incident whose resolve comes now."""
        await self.store.update(received(an_alert()), the_policy(), self.clock.now)
        event = received(over())
        event = AlertsReceived(event.group, blind=not await self.watchdog.believes(event.group.alerts))
        incident = await self.store.update(event, the_policy(), self.clock.now)
        assert incident is not None
        assert incident.held is (incident.state is State.TRIGGERED)
        return incident.state

    async def later(self, seconds: float, *, posts: bool = False, beats: bool = True) -> State:
        """What has become of it after a while, in which the source lives or not."""
        for _ in range(int(seconds // 5)):
            self.clock.forward(seconds=5)
            if posts:
                self.double.posted = {URL: self.clock.now}
            if beats:
                await self.store.beat("alertmanager", self.clock.now)
            await self.watchdog.run_once()
        return (await self.store.incidents(None, 10))[-1].state

    async def state(self) -> State:
        return (await self.store.incidents(None, 10))[-1].state

    async def due(self) -> datetime | None:
        """When its next clock runs to its time."""
        return (await self.store.incidents(None, 10))[-1].wake_at

    async def kinds(self, *wanted: EntryKind) -> list[EntryKind]:
        stored = await self.store.incident((await self.store.incidents(None, 10))[-1].id)
        assert stored is not None
        return [entry.kind for entry in stored[1] if entry.kind in wanted]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock, double, app = Clock(), Double(), web.Application()
    store = await a_store(tmp_path, clock)
    app.router.add_route("*", "/{any:.*}", double.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Rig(store, clock, double, session, str(server.make_url("/")))
    await store.close()


@pytest.mark.parametrize(("age", "state"), [(119, State.RESOLVED), (120, State.TRIGGERED), (150, State.TRIGGERED)])
async def test_a_watchdog_younger_than_two_resend_intervals_proves_it(rig: Rig, age: float, state: State) -> None:
    rig.ask(alertmanager=True)
    rig.double.posted = {URL: START - timedelta(seconds=age)}
    await rig.store.beat("alertmanager", START)  # Alertmanager repeats it by itself
    assert await rig.resolve() is state


async def test_proof_is_asked_for_once_while_it_holds_and_a_refusal_is_not_asked_for_at_once_again(rig: Rig) -> None:
    rig.ask(alertmanager=True)
    rig.double.posted = {URL: START}
    for _ in range(3):
        assert await rig.watchdog.believes([over()])
    assert rig.double.asked == 1
    rig.clock.forward(seconds=200)
    for _ in range(3):
        assert not await rig.watchdog.believes([over()])
    assert rig.double.asked == 2


async def test_one_dead_prometheus_of_several_is_told_apart(rig: Rig) -> None:
    rig.ask(alertmanager=True)
    other = "http://other:9090/graph?g0.expr=up"
    rig.double.posted = {URL: START - timedelta(seconds=150), other: START}
    assert not await rig.watchdog.believes([over()])
    assert await rig.watchdog.believes([over(other)])
    assert await rig.watchdog.believes([over("http://loki:3100/graph")])  # it has no Watchdog of its own
    rig.clock.forward(seconds=30)
    rig.double.posted = {other: rig.clock.now}  # Alertmanager has forgotten the dead one
    assert not await rig.watchdog.believes([over()])


async def test_while_only_its_own_prometheus_is_dead_nobody_is_kept_from_being_paged_for_ever(rig: Rig) -> None:
    """The Watchdog of another one beats on, so that nobody hears that this one is dead."""
    rig.ask(alertmanager=True)
    other = "http://other:9090/graph?g0.expr=up"

    async def later(seconds: int, *lives: str) -> State:
        for _ in range(seconds // 5):
            rig.double.posted |= dict.fromkeys((other, *lives), rig.clock.now)
            await rig.later(5)
        return await rig.state()

    rig.double.posted = {URL: START - timedelta(seconds=150), other: START}
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    await later(500)
    assert await rig.due() is None  # it may come back
    await later(60)
    due = await rig.due()
    assert due is not None
    assert START + timedelta(minutes=15 + 9) < due < START + timedelta(minutes=15 + 10)
    assert await rig.kinds(EntryKind.HELD, EntryKind.UNPROVED) == [EntryKind.HELD, EntryKind.UNPROVED]
    assert await later(600) is State.TRIGGERED
    assert await later(175, URL) is State.TRIGGERED
    assert await later(15, URL) is State.RESOLVED
    assert len(await rig.kinds(EntryKind.HELD, EntryKind.UNPROVED)) == 2


async def test_a_source_that_has_left_the_configuration_keeps_nobody_from_being_paged(rig: Rig) -> None:
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    current = the_current()
    watch = a_watch(rig.store, rig.clock, current)
    rig.watchdog = Watchdog(rig.store, current, rig.clock, rig.clock.elapsed, watch, 60, liveness={"eu": rig.liveness})
    await rig.later(600, beats=False)
    assert await rig.due() is not None


async def test_while_everything_is_blind_what_is_held_stands_still(rig: Rig) -> None:
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    await rig.later(3600, beats=False)
    assert await rig.due() is None


async def test_what_was_held_is_over_when_its_prometheus_has_been_back_for_a_while(rig: Rig) -> None:
    rig.ask(alertmanager=True)
    rig.double.posted = {URL: START - timedelta(seconds=150)}
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    assert await rig.later(600) is State.TRIGGERED  # beats alone, repeated by Alertmanager, prove nothing
    assert await rig.later(175, posts=True) is State.TRIGGERED  # it may still find out that it fires
    assert await rig.later(15, posts=True) is State.RESOLVED


@pytest.mark.parametrize("state", ["firing", "pending"])
async def test_prometheus_itself_says_that_it_still_fires(rig: Rig, state: str) -> None:
    rig.ask(alertmanager=True, prometheus=True)
    rig.double.posted = {URL: START - timedelta(seconds=150)}
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    for _ in range(100):
        rig.double.rules = [rule(rig.clock, state)]
        assert await rig.later(5, posts=True) is State.TRIGGERED
    rig.double.rules = [rule(rig.clock)]
    assert await rig.later(5) is State.RESOLVED


@pytest.mark.parametrize(
    "changes",
    [
        {"health": "err"},
        {"lastEvaluation": (START - timedelta(seconds=100)).isoformat()},
        {"lastEvaluation": "0001-01-01T00:00:00Z"},
        {"name": "Other"},
        None,
        "just started",
    ],
)
async def test_prometheus_proves_nothing_while_it_does_not_evaluate_the_rule(rig: Rig, changes: object) -> None:
    rig.ask(prometheus=True)
    await rig.store.beat("alertmanager", START)
    rig.double.rules = [rule(rig.clock, **changes)] if isinstance(changes, dict) else []
    if changes == "just started":
        rig.double.started, rig.double.rules = START - timedelta(seconds=119), [rule(rig.clock)]
    assert await rig.resolve() is State.TRIGGERED
    await rig.watchdog.run_once()
    assert (await rig.store.incidents(None, 10))[-1].state is State.TRIGGERED


@pytest.mark.parametrize("api", [False, True])
async def test_without_an_api_it_waits_for_a_beat_that_alertmanager_cannot_have_made_up(rig: Rig, api: bool) -> None:
    rig.ask(alertmanager=api)
    rig.double.down = True
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    assert await rig.later(180) is State.TRIGGERED  # two resend intervals and the route's group_interval
    assert await rig.later(5) is State.RESOLVED


async def test_without_an_api_no_beat_means_no_resolve(rig: Rig) -> None:
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    assert await rig.later(175, beats=True) is State.TRIGGERED  # Alertmanager makes these up
    assert await rig.later(3600, beats=False) is State.TRIGGERED
    states = {incident.title.partition(":")[0]: incident.state for incident in await rig.store.incidents(None, 10)}
    assert states == {"HighErrorRate": State.TRIGGERED, "WatchdogSilent": State.TRIGGERED}


async def test_a_source_that_has_no_watchdog_is_believed(rig: Rig) -> None:
    assert await rig.resolve() is State.RESOLVED
    rig.ask(alertmanager=True)
    assert await rig.watchdog.believes([over()])


async def test_what_was_held_before_a_restart_is_let_go_after_it(rig: Rig) -> None:
    await rig.store.beat("alertmanager", START)
    assert await rig.resolve() is State.TRIGGERED
    rig.watchdog = rig.new_watchdog()
    assert await rig.later(185) is State.RESOLVED
