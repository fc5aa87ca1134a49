"""The receiver as the composition root puts it together: a new channel, a missing extra, and stopping."""

import asyncio
import dataclasses
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from deploy.local.ports import free_port
from process.listener import Connections, Listener
from process.settings import SettingsError
from receiver.app import Receiver
from receiver.channels import registry
from receiver.channels.base import Channel
from receiver.channels.declaration import Setup
from receiver.config.load import load
from tests.fakes import bell_channel
from tests.fakes.bell_channel import Bell
from tests.receiver.channels.test_registry import written
from tests.receiver.example_site import beside_file
from tests.receiver.store.test_migrations import older
from tests.receiver.web.test_alertmanager import encoded

BELL = {"rooms": {"ops": "Room 4"}, "token": "s3cret-bell"}
HOOK = {"Authorization": "Bearer t"}
Client = TestClient[web.Request, web.Application]


def settings(folder: Path, bell: dict[str, Any], address: str = "ops") -> Path:
    person = {"name": "Linh Tran", "contacts": {"bell": address}}
    return written(folder, {"channels": {"bell": bell}, "people": {"linh": person}})


def answered(receiver: Receiver) -> dict[tuple[str, ...], float]:
    """Give how many webhooks have been answered, by source and status."""
    samples = next(iter(receiver.metrics.webhooks.collect())).samples
    return {tuple(s.labels.values()): s.value for s in samples if s.name.endswith("_total")}


class Rig:
    """A receiver with the bell, served and running."""

    def __init__(self, receiver: Receiver, client: Client, bell: Bell) -> None:
        self.receiver, self.client, self.bell = receiver, client, bell
        self.stop = asyncio.Event()
        self.running = asyncio.ensure_future(receiver.run(self.stop))

    async def status(self, path: str) -> int:
        async with self.client.get(path) as answer:
            return answer.status

    async def fire(self) -> int:
        async with self.client.post("/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
            return answer.status

    async def ringing(self) -> None:
        await asyncio.wait_for(self.bell.ringing.wait(), 30)

    def count(self, outcome: str) -> float | None:
        labels = {"channel": "bell", "outcome": outcome}
        return self.receiver.metrics.registry.get_sample_value("receiver_deliveries_total", labels)


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[Bell]:
    """Register the channel: in the product this is one line; here it also keeps what is built."""
    built: list[Bell] = []

    def build(settings: bell_channel.Settings, setup: Setup) -> Channel:
        bell = bell_channel.build(settings, setup)
        assert isinstance(bell, Bell)
        built.append(bell)
        return bell

    monkeypatch.setitem(registry.CHANNELS, "bell", dataclasses.replace(bell_channel.CHANNEL, build=build))
    return built


@pytest.fixture
async def rig(tmp_path: Path, bells: list[Bell]) -> AsyncIterator[Rig]:
    receiver = Receiver(*load(settings(tmp_path, BELL)))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        async with TestClient(TestServer(receiver.application())) as client:
            rig = Rig(receiver, client, *bells)
            yield rig
            rig.stop.set()
            rig.bell.hold.set()
            await rig.running
    await receiver.stop()
    assert rig.bell.closed


async def test_a_channel_is_one_file_and_one_line(rig: Rig) -> None:
    assert await rig.fire() == 200
    await rig.ringing()
    rig.stop.set()
    assert await rig.running
    ((room, headline),) = rig.bell.rang
    assert room == "Room 4"
    assert "HighErrorRate" in headline
    assert rig.count("sent") == 1
    assert rig.bell.token in rig.receiver.secrets


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/webhook/alertmanager", HOOK, encoded(), 200),
        ("/webhook/alertmanager/alertmanager", HOOK, encoded(), 200),
        ("/webhook/alertmanager/eu", HOOK, encoded(), 200),
        ("/webhook/alertmanager/mars", HOOK, encoded(), 404),
        ("/webhook/alertmanager", {}, encoded(), 401),
        ("/webhook/alertmanager", {"Authorization": "Bearer x"}, encoded(), 401),
        ("/webhook/alertmanager", HOOK, b"{", 400),
        ("/webhook/alertmanager", HOOK, b"[" * 100_000, 400),
        ("/webhook/alertmanager", {**HOOK, "Content-Encoding": "br"}, encoded(), 415),
        ("/webhook/alertmanager", {**HOOK, "Content-Encoding": "gzip"}, b"no gzip", 400),
    ],
)
async def test_a_webhook_is_answered_without_the_router_as_it_is_with_it(
    tmp_path: Path, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    sources = [{"name": "eu", "url": "http://eu:9093"}]
    receiver, port = Receiver(*load(written(tmp_path, {"alertmanagers": sources}))), free_port()
    direct = []
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        application, connections = receiver.application(), Connections(5, time.monotonic)
        listener = Listener(application, None, connections, shutdown_timeout=1, posts=receiver.posts())
        await listener.start("127.0.0.1", port)
        for question in ("?through=router", ""):
            before = answered(receiver)
            async with session.post(f"http://127.0.0.1:{port}{path}{question}", data=body, headers=headers) as answer:
                counted = {labels: count - before.get(labels, 0) for labels, count in answered(receiver).items()}
                told = {name: answer.headers.get(name) for name in ("Content-Type", "Connection")}
                text = re.sub(r'"incident":\d+', '"incident":1', await answer.text())
                direct.append((answer.status, text, told, {labels: n for labels, n in counted.items() if n}))
        await listener.close()
        await receiver.stop()
    assert direct[0] == direct[1]
    assert direct[0][0] == status


async def test_a_webhook_is_refused_while_the_receiver_stops(rig: Rig) -> None:
    port = free_port()
    listener = Listener(web.Application(), None, Connections(5, time.monotonic), 1, posts=rig.receiver.posts())
    await listener.start("127.0.0.1", port)
    url = f"http://127.0.0.1:{port}/webhook/alertmanager"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=encoded(), headers=HOOK) as answer:
            assert answer.status == 200
        rig.bell.hold.clear()
        rig.stop.set()
        await rig.running
        async with session.post(url, data=encoded(), headers=HOOK) as answer:
            assert (answer.status, answer.headers["Connection"]) == (503, "close")
    await listener.close()


async def test_a_stream_shows_nothing_more_once_its_browser_has_signed_out(rig: Rig) -> None:
    (line,) = rig.receiver.sign_in_link("http://127.0.0.1")
    assert await rig.status(re.findall(r"/sign-in/\S+", line)[0]) == 200
    async with rig.client.get("/stream", headers={"Accept": "text/event-stream"}) as answer:
        await answer.content.readuntil(b"event: tick")
        async with rig.client.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"}) as done:
            assert done.status == 200
        assert await rig.fire() == 200
        async with asyncio.timeout(10):  # it would ask by itself after 15 seconds
            rest = await answer.content.read()
    assert b"event: signed-out" in rest
    assert b"HighErrorRate" not in rest


async def test_while_it_stops_it_refuses_requests_and_finishes_what_it_sends(rig: Rig) -> None:
    rig.bell.hold.clear()
    assert (await rig.fire(), await rig.status("/-/ready")) == (200, 200)
    await rig.ringing()
    rig.stop.set()
    while await rig.status("/-/ready") == 200:
        assert not rig.running.done()
    assert await rig.fire() == 503  # Alertmanager will send it to the next process
    assert await rig.status("/api/v1/incidents") == 503
    assert (await rig.status("/-/healthy"), await rig.status("/metrics")) == (200, 200)
    assert rig.count("sent") == 0
    rig.bell.hold.set()
    assert await rig.running
    assert rig.count("sent") == 1


async def test_a_worker_that_crashes_ends_the_process_and_is_named(
    tmp_path: Path, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    while await rig.status("/-/ready") != 200:
        assert not rig.running.done()
    with beside_file(tmp_path) as other:
        other.execute("DROP TABLE own")  # the escalator writes it
    assert not await rig.running
    assert await rig.status("/-/ready") == 503
    (record,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert record.args is not None
    assert next(iter(record.args)) == "escalator"


@pytest.mark.usefixtures("bells")
@pytest.mark.parametrize(
    ("bell", "address", "at"),
    [
        ({**BELL, "rooms": {}}, "ops", "channels.bell.rooms: "),
        ({**BELL, "rooms": {"ops": ""}}, "ops", "channels.bell.rooms.ops: "),
        ({**BELL, "volume": 11}, "ops", "channels.bell.volume: unknown key"),
        ({**BELL, "timeout": "5m"}, "ops", "channels.bell.timeout: "),
        (BELL, "attic", "people.linh.contacts.bell: no room 'attic'"),
    ],
)
def test_what_it_declares_is_checked(tmp_path: Path, bell: dict[str, Any], address: str, at: str) -> None:
    path = settings(tmp_path, bell, address)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert at in str(caught.value)
    assert f"{path}:" in str(caught.value)


@pytest.mark.parametrize("name", ["apprise"])
def test_a_channel_whose_package_is_missing_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delitem(sys.modules, f"receiver.channels.{name}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)  # how Python itself says that it cannot be imported
    path = written(tmp_path, {"channels": {name: {"services": {"ops": {"url": "json://127.0.0.1"}}}}})
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert f"channels.{name}: " in str(caught.value)
    assert f"pip install 'heypeter-monitoring[{name}]'" in str(caught.value)
    assert load(written(tmp_path, {}))  # whoever does not use it needs no package


async def test_names_in_an_older_database_become_the_keys_of_the_configured_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older(tmp_path, "schema_2")
    receiver = Receiver(
        *load(written(tmp_path, {"people": {"linh.t": {"name": "Linh"}}, "roles": {"engineer": ["linh.t"]}}))
    )
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        incidents = await receiver.store.incidents(None, 100)
    await receiver.stop()
    people = {target.person for incident in incidents for target in incident.delivery.told}
    assert people == {"", "linh.t", "Marek", "Aisha"}
    assert "'Aisha', 'Marek'" in caplog.text


@pytest.mark.postgres("it is about what several receivers share")
async def test_a_key_of_pushes_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "vapid.pem").mkdir()
    shared = {"database": None, "postgres": {"url": "postgresql://db/heypeter"}, "state_dir": "."}
    receiver = Receiver(*load(written(tmp_path, {**shared, "channels": {"push": {}, "log": {}}})))
    with pytest.raises(SettingsError, match=r"state_dir: cannot use .*vapid\.pem \(Is a directory\)"):
        await receiver._agree_on_keys()  # noqa: SLF001


async def test_jobs_and_tools_send_to_the_receiver_and_a_reload_brings_new_ones(tmp_path: Path) -> None:
    path = written(tmp_path, {"heartbeats": {"backup": {"every": "1d"}}})
    config, source = load(path)
    receiver = Receiver(config, source)
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        async with TestClient(TestServer(receiver.application())) as client:

            async def post(where: str, body: object) -> int:
                async with client.post(where, json=body, headers=HOOK) as answer:
                    return answer.status

            assert await post("/heartbeat/backup", None) == 200
            assert await post("/heartbeat/other", None) == 404
            assert await post("/webhook/generic/ci", {"id": 1}) == 404
            with path.open("a") as file:
                file.write("generic_webhooks: {ci: {key: id, status: \"'firing'\", title: \"'build'\"}}\n")
            receiver.reloader.reload()
            assert await post("/webhook/generic/ci", {"id": 1}) == 200
            assert await post("/webhook/alertmanager", None) == 400
        with beside_file(tmp_path) as other:
            assert other.execute("SELECT name FROM job_heartbeat").fetchall() == [("backup",)]
        await receiver.stop()


def test_what_only_commands_and_helpers_need_is_not_loaded_to_serve() -> None:
    """A start takes a second at most; these libraries alone took a third of it."""
    loaded = "import sys, receiver.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    needless = {"apprise", "icalendar", "pygal", "recurring_ical_events", "rich", "sentry_sdk", "tarfile"}
    assert not needless & set(done.stdout.split())
