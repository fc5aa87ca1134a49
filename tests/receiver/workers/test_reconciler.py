"""The reconciler against a real Alertmanager: silences, restarts, truncated messages and lost ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import msgspec
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port
from process.settings import Secret
from process.web import Handler
from receiver.clients.alertmanager import AlertmanagerApi
from receiver.incident.event import AlertsReceived, Resolve
from receiver.incident.model import AlertGroup, EntryKind, Incident, Origin, State
from receiver.metrics import Metrics
from receiver.store.sql.store import SQLStore
from receiver.web.alertmanager_webhook import AlertmanagerWebhook
from receiver.workers.reconciler import Reconciler
from tests.receiver.example_site import (
    Clock,
    a_store,
    deciding,
    people,
    the_current,
)
from tests.stories.stack import until

pytestmark = pytest.mark.stack

PROGRAM = Path(".stack/bin/alertmanager").resolve()


class Rig:
    """A real Alertmanager whose webhooks reach a real store, and a reconciler that asks its API."""

    def __init__(
        self,
        folder: Path,
        store: SQLStore,
        clock: Clock,
        session: aiohttp.ClientSession,
        source: str = "alertmanager",
    ) -> None:
        self.source = source
        self.folder, self.store, self.clock, self.session = folder, store, clock, session
        self.url = f"http://127.0.0.1:{free_port()}"
        self.deaf = False
        self.metrics = Metrics(["email"])
        api = AlertmanagerApi(self.url, session)
        current = the_current()
        self.reconciler = Reconciler(
            store,
            current,
            api,
            clock,
            clock.elapsed,
            self.metrics,
            receivers=("receiver",),
            missed_after=600,
            source=source,
        )
        known = {"alertmanager": (), source: ()}
        self.webhook = AlertmanagerWebhook(store, current, Secret("hook"), self.metrics, clock, sources=known)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, most: int = 0) -> None:
        @web.middleware
        async def deaf(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.deaf:
                return web.Response(status=503)
            return await handler(request)

        app = web.Application(middlewares=[deaf])
        app.add_subapp("/webhook", self.webhook.application())
        self.server = TestServer(app)
        await self.server.start_server()
        hook = {
            "url": str(self.server.make_url(f"/webhook/alertmanager/{self.source}")),
            "max_alerts": most,
            "http_config": {"authorization": {"credentials": "hook"}},
        }
        config = {
            "route": {"receiver": "receiver", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "receiver", "webhook_configs": [hook]}],
        }
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(config), "utf-8")
        await self.run()

    async def run(self) -> None:
        options = [f"--config.file={self.folder}/alertmanager.yml", f"--storage.path={self.folder}/{free_port()}"]
        options += [f"--web.listen-address={self.url.removeprefix('http://')}", "--cluster.listen-address="]
        with (self.folder / "alertmanager.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(PROGRAM, *options, stdout=log, stderr=log)
        await until("Alertmanager is ready", self.ready)

    async def ready(self) -> bool:
        try:
            async with self.session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def post(self, path: str, body: object) -> dict[str, str]:
        async with self.session.post(f"{self.url}/api/v2/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.text() or "{}")  # type: ignore[no-any-return]

    async def fire(self, *names: str, instance: str = "app-1") -> None:
        labels = {"severity": "critical", "team": "backend", "instance": instance}
        await self.post("alerts", [{"labels": {"alertname": name, **labels}} for name in names])

    async def open(self, count: int = 1) -> None:
        async def there() -> bool:
            return len(await self.store.incidents(State.TRIGGERED, 10)) == count

        await until(f"{count} incidents are open", there)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    async with aiohttp.ClientSession() as session:
        rig = Rig(tmp_path, store, clock, session)
        yield rig
        await rig.end()
        await rig.server.close()
    await store.close()


async def test_a_silence_made_in_mid_incident_pauses_it_and_its_end_resumes(rig: Rig) -> None:
    await rig.start()
    await rig.fire("HighErrorRate")
    await rig.open()
    matcher = {"name": "alertname", "value": "HighErrorRate", "isRegex": False, "isEqual": True}
    times = {"startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}
    made = await rig.post("silences", {"matchers": [matcher], "createdBy": "Linh", "comment": "on it", **times})

    async def paused() -> bool:
        await rig.reconciler.run_once()
        (incident,) = await rig.store.incidents(None, 10)
        return incident.paused is not None

    await until("the incident is paused", paused)
    (incident,) = await rig.store.incidents(None, 10)
    assert incident.paused is not None
    assert incident.paused.author == "Linh"
    assert "on it" in incident.paused.comment
    async with rig.session.delete(f"{rig.url}/api/v2/silence/{made['silenceID']}") as answer:
        assert answer.status == 200

    async def resumed() -> bool:
        return not await paused()

    await until("the incident goes on", resumed)


async def test_two_alertmanagers_whose_group_keys_collide_know_nothing_of_each_other(tmp_path: Path, rig: Rig) -> None:
    """``eu`` and ``us`` send the same alert; each silences, forgets and resolves only its own."""
    (tmp_path / "us").mkdir()
    us = Rig(tmp_path / "us", rig.store, rig.clock, rig.session, "us")
    try:
        for one in (rig, us):
            await one.start()
            await one.fire("HighErrorRate")

        async def state(source: str) -> Incident:
            return next(one for one in await rig.store.incidents(None, 10) if one.source == source)

        async def both() -> bool:
            return len(await rig.store.incidents(None, 10)) == 2

        await until("each has opened an incident", both)
        first, second = await state("alertmanager"), await state("us")
        assert first.key.endswith(second.key.rpartition("\t")[2])
        matcher = {"name": "alertname", "value": "HighErrorRate", "isRegex": False, "isEqual": True}
        times = {"startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}
        await us.post("silences", {"matchers": [matcher], "createdBy": "Linh", "comment": "on it", **times})

        async def is_paused() -> bool:
            for one in (rig, us):
                await one.reconciler.run_once()
            return (await state("us")).paused is not None

        await until("the silence of us pauses its incident", is_paused)
        assert (await state("alertmanager")).paused is None
        await us.end()
        await us.run()  # it has forgotten everything; the other has not
        for _ in range(8):
            rig.clock.forward(minutes=1)
            for one in (rig, us):
                await one.reconciler.run_once()
        assert (await state("us")).state is State.RESOLVED
        assert (await state("alertmanager")).state is State.TRIGGERED
        assert len(await rig.store.incidents(None, 10)) == 2
    finally:
        await us.end()
        await us.server.close()


async def test_what_alertmanager_forgot_in_a_restart_is_closed_after_a_time(rig: Rig) -> None:
    await rig.start()
    await rig.fire("HighErrorRate")
    await rig.open()
    await rig.end()
    await rig.reconciler.run_once()  # an API that is away changes nothing
    await rig.run()
    for _ in range(5):
        await rig.reconciler.run_once()
        rig.clock.forward(minutes=1)
    await rig.open()
    await rig.reconciler.run_once()
    assert [i.state for i in await rig.store.incidents(None, 10)] == [State.RESOLVED]
    assert (
        rig.metrics.registry.get_sample_value(
            "receiver_reconcile_drift_total", {"source": "alertmanager", "kind": "vanished"}
        )
        == 1
    )


async def test_a_truncated_message_is_completed_from_the_api(rig: Rig) -> None:
    await rig.start(most=1)
    for instance in ("app-1", "app-2", "app-3"):
        await rig.fire("HighErrorRate", instance=instance)

    async def truncated() -> bool:
        incidents = await rig.store.incidents(None, 10)
        return bool(incidents) and incidents[0].truncated == 2

    await until("a truncated message has come", truncated)
    await rig.reconciler.run_once()
    (incident,) = await rig.store.incidents(None, 10)
    assert len(incident.firing) == 3


async def test_an_alert_whose_webhook_never_came_is_found_and_then_stays_one_incident(rig: Rig) -> None:
    rig.deaf = True
    await rig.start()
    await rig.fire("HighErrorRate")

    async def known() -> bool:
        async with rig.session.get(f"{rig.url}/api/v2/alerts") as answer:
            return bool(await answer.json())

    await until("Alertmanager knows the alert", known)
    view = await AlertmanagerApi(rig.url, rig.session).view()
    (seen,) = view.alerts.values()
    rig.clock.now = seen.alert.starts_at + timedelta(minutes=11)
    await rig.reconciler.run_once()
    (incident,) = await rig.store.incidents(None, 10)
    claims = await rig.store.claim("email", rig.clock.now, 60, 10)
    assert people([claimed.notification for claimed in claims]) == ["linh"]
    rig.deaf = False
    await rig.fire("HighErrorRate", instance="app-2")

    async def joined() -> bool:
        incidents = await rig.store.incidents(None, 10)
        return len(incidents) == 1 and len(incidents[0].firing) == 2

    await until("the webhook joins the incident that was found", joined)
    assert (await rig.store.incidents(None, 10))[0].id == incident.id


@pytest.mark.parametrize("by_hand", [False, True])
async def test_what_fires_on_after_its_incident_was_closed_reopens_it_unless_a_person_closed_it(
    rig: Rig, by_hand: bool
) -> None:
    await rig.start()
    await rig.fire("HighErrorRate")
    await rig.open()
    (incident,) = await rig.store.incidents(None, 10)
    (alert,) = incident.firing
    rig.clock.now = alert.starts_at + timedelta(minutes=1)
    over = msgspec.structs.replace(alert, firing=False, ends_at=rig.clock.now)
    closing = Resolve("linh", Origin.LINK) if by_hand else AlertsReceived(AlertGroup(incident.key, (over,)))
    await rig.store.apply(incident.id, deciding(closing, rig.clock.now), rig.clock.now)
    for _ in range(15):  # beyond the flap window, and until it counts as missed
        await rig.reconciler.run_once()
        rig.clock.forward(minutes=1)
    states = [i.state for i in await rig.store.incidents(None, 10)]
    assert states == [State.RESOLVED if by_hand else State.TRIGGERED]
    labels = {"source": "alertmanager"}
    assert rig.metrics.registry.get_sample_value("receiver_resolved_still_firing", labels) == 0
    rig.clock.forward(minutes=1)
    for _ in range(2):
        await rig.reconciler.run_once()
    assert rig.metrics.registry.get_sample_value("receiver_resolved_still_firing", labels) == by_hand
    stored = await rig.store.incident(incident.id)
    assert stored is not None
    assert [entry.kind for entry in stored[1]].count(EntryKind.STILL_FIRING) == by_hand
