"""Under systemd's socket a restart loses no request: whoever connects meanwhile waits, and is answered."""

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import NamedTuple

import aiohttp
import pytest
import yaml

from deploy.local.installation import Site, prepare
from deploy.local.ports import free_port
from tests.deploy.handed import listening, start
from tests.receiver.web.test_alertmanager import PAYLOAD, encoded
from tests.stories.stack import until

CLIENTS = 8
RESTARTS = 2
BETWEEN = 25  # answers between two restarts


class Tried(NamedTuple):
    """What the clients saw."""

    answered: list[int]
    failed: list[str]


Post = Callable[[aiohttp.ClientSession, int], Awaitable[int]]


@contextlib.asynccontextmanager
async def load(post: Post) -> AsyncIterator[Tried]:
    """Send requests all the time, half of the clients on a new connection each time, the others on a kept one."""
    tried, ended, numbers = Tried([], []), asyncio.Event(), iter(range(1_000_000))

    async def client(*, keeps: bool) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=not keeps)) as session:
            while not ended.is_set():
                number = next(numbers)
                try:
                    status = await post(session, number)
                except aiohttp.ClientError as error:
                    tried.failed.append(f"{'kept' if keeps else 'new'}: {error!r}")
                    continue
                tried.answered.append(number) if status in {200, 202} else tried.failed.append(str(status))

    clients = [asyncio.ensure_future(client(keeps=bool(n % 2))) for n in range(CLIENTS)]
    try:
        yield tried
    finally:
        ended.set()
        await asyncio.gather(*clients)


class Service:
    """A program that is restarted below a socket that stays."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.socket = listening()
        self.port = int(self.socket.getsockname()[1])
        self.site = Site(folder, {n: free_port() for n in ("exporter", "receiver", "prometheus", "alertmanager")})
        prepare(self.site)
        config = yaml.safe_load((folder / "exporter.yml").read_text("utf-8")) | {"first_increment_hold": "0s"}
        (folder / "exporter.yml").write_text(yaml.safe_dump(config), "utf-8")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def bearer(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.site.secret(secret).read_text('utf-8').strip()}"}

    async def start(self, **environment: str) -> None:
        command = [sys.executable, "-m", self.name, f"--config.file={self.folder / f'{self.name}.yml'}"]
        self.process = await start({self.name: self.socket}, command, self.folder / "log", **environment)

    async def metric(self, begins: str) -> float:
        """Add up the samples of the running program whose lines begin so."""
        async with aiohttp.ClientSession() as session, session.get(self.url("/metrics")) as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(begins))

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self.process.wait(), 30) == 0, (self.folder / "log").read_text("utf-8")

    async def restarted_under_load(self, post: Post) -> Tried:
        await self.start()
        async with load(post) as tried:
            for _ in range(RESTARTS):
                enough = len(tried.answered) + BETWEEN
                await until("requests are answered", lambda enough=enough: len(tried.answered) >= enough)  # type: ignore[misc]
                await self.restart()
            enough = len(tried.answered) + BETWEEN
            await until("requests are answered at the end", lambda: len(tried.answered) >= enough)
        return tried


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(tmp_path, "receiver")
    with service.socket:
        yield service
        await service.stop()


@pytest.fixture
async def exporter(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(tmp_path, "exporter")
    with service.socket:
        yield service
        await service.stop()


async def test_a_restart_of_the_receiver_loses_no_alert(receiver: Service, tmp_path: Path) -> None:
    headers = receiver.bearer("webhook-token")

    async def post(session: aiohttp.ClientSession, number: int) -> int:
        name = f"A{number}"
        alert = {**PAYLOAD["alerts"][0], "fingerprint": f"{number:016x}", "labels": {"alertname": name}}
        body = encoded(
            groupKey=f'receiver|{{}}:{{alertname="{name}"}}', groupLabels={"alertname": name}, alerts=[alert]
        )
        url = receiver.url("/webhook/alertmanager")
        async with session.post(url, data=body, headers=headers) as answer:
            return answer.status

    tried = await receiver.restarted_under_load(post)
    assert tried.failed == []
    with contextlib.closing(sqlite3.connect(tmp_path / "receiver.sqlite3")) as store:
        assert store.execute("SELECT count(*) FROM incident").fetchone() == (len(tried.answered),)


async def test_a_restart_of_the_exporter_loses_no_event(exporter: Service) -> None:
    headers = exporter.bearer("exporter-token")

    async def post(session: aiohttp.ClientSession, number: int) -> int:
        event = {"type": "class_booked", "id": f"b-{number}", "data": {"class_type": "private", "channel": "web"}}
        async with session.post(exporter.url("/api/events"), json=[event], headers=headers) as answer:
            return answer.status

    tried = await exporter.restarted_under_load(post)
    assert tried.failed == []
    assert await exporter.metric("class_bookings_total{") == len(tried.answered)


async def test_requests_that_come_while_no_process_runs_are_answered_by_the_next(exporter: Service) -> None:
    async with aiohttp.ClientSession() as session:
        waiting = asyncio.ensure_future(session.get(exporter.url("/-/ready")))
        await exporter.start()
        async with await asyncio.wait_for(waiting, 60) as answer:
            assert answer.status == 200


async def test_systemd_is_told_when_it_is_ready(exporter: Service) -> None:
    with socket(AF_UNIX, SOCK_DGRAM) as heard:
        heard.bind(str(exporter.folder / "notify"))
        heard.settimeout(0)
        await exporter.start(NOTIFY_SOCKET=str(exporter.folder / "notify"), WATCHDOG_USEC="60000000")
        said = {await asyncio.wait_for(asyncio.get_running_loop().sock_recv(heard, 100), 60) for _ in range(2)}
        assert said == {b"READY=1", b"WATCHDOG=1"}
        assert await exporter.metric("exporter_build_info") == 1


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate here")
async def test_systemd_hands_each_socket_to_its_application(exporter: Service) -> None:
    private, public = free_port(), free_port()
    config = yaml.safe_load((exporter.folder / "exporter.yml").read_text("utf-8"))
    config["browser"]["listen"] = "127.0.0.1:1"  # systemd's address counts, not this one
    (exporter.folder / "exporter.yml").write_text(yaml.safe_dump(config), "utf-8")
    command = [
        *("systemd-socket-activate", f"--listen=127.0.0.1:{private}", f"--listen=127.0.0.1:{public}"),
        *("--fdname=private:browser", sys.executable, "-m", "exporter"),
        f"--config.file={exporter.folder / 'exporter.yml'}",
    ]
    exporter.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)

    async def status(port: int, path: str) -> int:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status
            except aiohttp.ClientConnectorError:
                return 0  # systemd-socket-activate does not listen yet

    async def answers() -> bool:
        return await status(private, "/-/ready") == 200

    await until("the exporter answers", answers)
    assert [await status(public, path) for path in ("/rum.js", "/metrics")] == [200, 404]
    assert await status(private, "/rum.js") == 404


async def test_a_socket_for_browsers_without_an_address_for_them_is_refused(exporter: Service) -> None:
    config = yaml.safe_load((exporter.folder / "exporter.yml").read_text("utf-8"))
    config["browser"].pop("listen", None)
    (exporter.folder / "exporter.yml").write_text(yaml.safe_dump(config), "utf-8")
    command = [sys.executable, "-m", "exporter", f"--config.file={exporter.folder / 'exporter.yml'}"]
    process = await start({"browser": exporter.socket}, command, exporter.folder / "log")
    assert await asyncio.wait_for(process.wait(), 60) == 1
    assert "browser.listen" in (exporter.folder / "log").read_text("utf-8")
    await exporter.start()
    assert await exporter.metric("exporter_build_info") == 1
