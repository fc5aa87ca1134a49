"""What fired and was over while no receiver ran is asked of Prometheus until it has answered."""

import asyncio
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_port
from receiver.clients.prometheus import Prometheus
from receiver.incident.model import EntryKind, Pause, PauseKind, State
from receiver.metrics import Metrics
from receiver.store.base import Store
from receiver.workers import catch_up
from receiver.workers.catch_up import CatchUp, NotAnsweredError, record_outage
from receiver.workers.housekeeping import Housekeeping, Round
from tests.fakes.server import FakeServer
from tests.receiver.example_site import START, Clock, a_store, the_current
from tests.stories.stack import until

PROGRAM = Path(".stack/bin/prometheus").resolve()
DOWN = (START - timedelta(hours=1), START)


class Remembering(FakeServer):
    """A Prometheus: when it was started, and in which alerts fired when, in seconds after the receiver's start."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.fired = START - timedelta(days=1), dict[str, list[float]]()

    def answer(self, request: web.Request, _body: dict[str, Any]) -> web.Response:
        if request.path.endswith("runtimeinfo"):
            return web.json_response({"status": "success", "data": {"startTime": self.started.isoformat()}})
        series = [
            {
                "metric": {"__name__": "ALERTS", "alertname": name, "alertstate": "firing", "severity": "critical"},
                "values": [[START.timestamp() + at, "1"] for at in times],
            }
            for name, times in self.fired.items()
        ]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": series}})


class Rig:
    def __init__(self, server: Remembering, store: Store, clock: Clock, session: aiohttp.ClientSession) -> None:
        self.server, self.store, self.clock = server, store, clock
        self.asked = self.once(session)

    def once(self, session: aiohttp.ClientSession, down: tuple[datetime, datetime] = DOWN) -> CatchUp:
        prometheus = Prometheus(session, self.server.url, timeout=2.0)
        return CatchUp(self.store, the_current(), prometheus, down, "eu", clock=self.clock, elapsed=self.clock.elapsed)

    async def recorded(self) -> list[str]:
        return sorted(one.title for one in await self.store.incidents(None, 10))


@pytest.fixture
async def rig(tmp_path: Path) -> Any:  # noqa: ANN401  # a generator
    server, clock = Remembering(), Clock()
    await server.start()
    store = await a_store(tmp_path, clock)
    async with aiohttp.ClientSession() as session:
        yield Rig(server, store, clock, session)
    await store.close()
    await server.stop()


async def test_it_is_asked_again_until_it_has_answered_and_then_no_more(rig: Rig) -> None:
    rig.server.fired = {"DiskFull": [-3000.0, -2400.0]}
    url, rig.server.url = rig.server.url, f"http://127.0.0.1:{free_port()}"
    async with aiohttp.ClientSession() as session:
        not_up = rig.once(session)
        with pytest.raises(NotAnsweredError, match="cannot be reached"):
            await not_up.run_once()
    rig.server.url = url
    for status, hang in ((503, 0.0), (200, 0.0), (0, 30.0)):  # 200 and what is no JSON; 0 is what comes too late
        rig.server.misfortunes, rig.server.hang = [(status, {})] * 2 if status else [], hang
        with pytest.raises(NotAnsweredError, match="as yet"):
            await rig.asked.run_once()
        assert await rig.recorded() == []
        rig.clock.forward(minutes=10)
    rig.server.hang = 0.0
    await rig.asked.run_once()
    assert await rig.recorded() == ["DiskFull"]
    calls = len(rig.server.calls)
    await rig.asked.run_once()
    assert len(rig.server.calls) == calls


async def test_it_is_shown_meanwhile(rig: Rig) -> None:
    metrics = Metrics(["email"])
    house = Housekeeping(metrics)
    rig.server.misfortunes = [(503, {})] * 2
    shown = list[float | None]()
    for _ in range(2):
        await house.once("catch-up", Round(rig.asked.run_once, catch_up.PERIOD))
        shown.append(metrics.registry.get_sample_value("receiver_housekeeping_failing", {"loop": "catch-up"}))
    assert shown == [1, 0]


async def test_a_prometheus_that_has_just_been_started_does_not_know_yet_what_still_fires(rig: Rig) -> None:
    rig.server.fired = {"Still": [-3000.0, -2400.0], "Over": [-3000.0, -2400.0]}
    rig.server.started = START - timedelta(seconds=20)
    with pytest.raises(NotAnsweredError, match="just been started"):
        await rig.asked.run_once()
    rig.clock.forward(minutes=3)
    rig.server.fired["Still"] += [90.0, 120.0]
    await rig.asked.run_once()
    assert await rig.recorded() == ["Over"]
    (form,) = [call for call in rig.server.calls if call.path.endswith("query_range")]
    assert f"end={(START + timedelta(minutes=3)).timestamp():.3f}".encode() in form.raw


async def test_what_began_after_the_start_came_by_its_webhook(rig: Rig) -> None:
    rig.clock.forward(minutes=30)
    rig.server.fired = {"Later": [60.0, 90.0], "Over": [-3000.0, -2400.0]}
    async with aiohttp.ClientSession() as session:
        asked = rig.once(session)
        await asked.run_once()
    assert await rig.recorded() == ["Over"]


async def test_who_leads_only_long_after_the_start_asks_nothing(rig: Rig) -> None:
    rig.clock.forward(minutes=6)
    await rig.asked.run_once()
    assert rig.server.calls == []


async def test_after_a_day_nobody_asks_any_more(rig: Rig) -> None:
    rig.server.misfortunes = [(422, {})] * 10
    with pytest.raises(NotAnsweredError):
        await rig.asked.run_once()
    rig.clock.forward(days=1)
    await rig.asked.run_once()
    calls = len(rig.server.calls)
    await rig.asked.run_once()
    assert len(rig.server.calls) == calls


def remembered(folder: Path) -> None:
    """What a Prometheus remembers of an hour: an alert that was over, one that still fires, the Watchdog."""
    begun = START - timedelta(minutes=50)
    lines = ["# TYPE ALERTS gauge"]
    spans = {
        'alertname="DiskFull",alertstate="firing",severity="critical",team="infrastructure"': (0, 10),
        'alertname="DiskFull",alertstate="pending",severity="critical",team="infrastructure"': (0, 10),
        'alertname="Still",alertstate="firing",severity="critical"': (0, 51),
        'alertname="Watchdog",alertstate="firing",severity="none"': (0, 20),
    }
    for labels, (first, last) in spans.items():
        for quarter in range(first * 4, last * 4):
            at = begun + timedelta(seconds=15 * quarter)
            lines.append(f"ALERTS{{{labels}}} 1 {at.timestamp():.0f}")
    text = folder / "alerts.om"
    text.write_text("\n".join([*lines, "# EOF", ""]), "utf-8")
    tool = [".stack/bin/promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "tsdb")]
    subprocess.run(tool, check=True, capture_output=True)


@pytest.mark.stack
async def test_what_fired_and_was_over_while_we_were_down_is_recorded_and_tells_nobody(tmp_path: Path) -> None:
    remembered(tmp_path)
    (tmp_path / "prometheus.yml").write_text("global: {}\n", "utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    options = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    options += [f"--web.listen-address={url.removeprefix('http://')}", "--storage.tsdb.retention.time=100y"]
    with (tmp_path / "prometheus.log").open("ab") as log:
        prometheus = await asyncio.create_subprocess_exec(PROGRAM, *options, stdout=log, stderr=log)
    clock = Clock()
    store = await a_store(tmp_path, clock)
    try:
        async with aiohttp.ClientSession() as session:

            async def ready() -> bool:
                try:
                    async with session.get(f"{url}/-/ready") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

            await until("Prometheus is ready", ready)
            assert await record_outage(store, the_current(), Prometheus(session, url), DOWN) == 1
            short = (START - timedelta(seconds=30), START)
            assert await record_outage(store, the_current(), Prometheus(session, url), short) == 0
    finally:
        prometheus.kill()
        await prometheus.wait()
    (incident,) = await store.incidents(None, 10)
    assert (incident.state, incident.title) == (State.RESOLVED, "DiskFull")
    (alert,) = incident.alerts.values()
    assert abs(alert.starts_at - (START - timedelta(minutes=50))) <= timedelta(seconds=30)
    stored = await store.incident(incident.id)
    assert stored is not None
    (recorded,) = (entry for entry in stored[1] if entry.kind is EntryKind.RECORDED)
    assert recorded.data.pause == Pause(PauseKind.OUTAGE)
    assert await store.claim("email", clock.now, 60, 10) == []
    await store.close()
