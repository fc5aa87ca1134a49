"""Three exporters that tell each other what they count; the test plays the balancer and says who gets which request."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import TCPConnector
from aiohttp.test_utils import TestClient, TestServer

from deploy.local.ports import free_port
from exporter.app import Addresses, Exporter, Listening, Settings, applications
from exporter.config import Browser, Replicas
from process.settings import Duration, Secret
from tests.exporter.example_exporter import TOKEN, Client, a_config, the_example, value
from tests.stories.stack import until

SECRET = "what-the-three-of-them-have-in-common"
BOOKED = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}


class One:
    """One exporter of them, in this process."""

    def __init__(self, folder: Path | None, port: int, replicas: Replicas, tls: ssl.SSLContext | None) -> None:
        self.folder, self.port, self.replicas, self.tls, self.secret = folder, port, replicas, tls, SECRET
        self.is_running = False

    async def start(self) -> None:
        browser = msgspec.structs.replace(the_example()[0].browser, listen="", settle_after=Duration(3))
        assert isinstance(browser, Browser)
        config = a_config(self.folder, browser=browser, replicas=self.replicas, first_increment_hold=Duration(0))
        settings = Settings(config, the_example()[1], Secret("exporter-token"), {}, Secret(self.secret))
        self.exporter = Exporter(settings)
        await self.exporter.catch_up()
        listening = Listening(Addresses("", ""), None, self.exporter.reloader(lambda: settings), lifecycle=False)
        server = TestServer(applications(self.exporter, listening)[0][1], port=self.port)
        await server.start_server(ssl=self.tls)
        self.client: Client = TestClient(server, connector=TCPConnector(ssl=self.tls is None))
        loops = self.exporter.loops()
        self.loops = [asyncio.ensure_future(work) for work in loops.values()]
        self.is_running = True

    async def end(self) -> None:
        """Stop in good order: what is left is told, and the state is saved."""
        await self._stop()
        await self.exporter.close()

    async def kill(self) -> None:
        """Stop as SIGKILL does: nothing is told or saved, but the folder is free for the next one."""
        self.exporter.replication_peers.forget()
        await self._stop()
        if self.exporter.storage is not None:
            self.exporter.storage.close()

    async def _stop(self) -> None:
        self.is_running = False
        await self.client.close()
        for loop in self.loops:
            loop.cancel()
        await asyncio.gather(*self.loops, return_exceptions=True)

    async def post(self, *events: dict[str, Any], **batch: str) -> tuple[int, Any]:
        body = {"events": events, **batch}
        async with self.client.post("/api/events", json=body, headers=TOKEN) as answer:
            return answer.status, await answer.json()

    async def shows(self, name: str, **labels: str) -> float | None:
        return await value(self.client, name, **labels)

    async def knows(self, ids: int) -> bool:
        return (await self.shows("exporter_dedup_entries") or 0) >= ids


class Three:
    """All of them; each has all as its peers, itself included."""

    def __init__(
        self,
        folder: Path | None = None,
        every: float = 0.2,
        tls: ssl.SSLContext | None = None,
        ca_file: Path | None = None,
    ) -> None:
        ports = [free_port() for _ in range(3)]
        replicas = Replicas(
            peers=tuple(f"{'https' if tls else 'http'}://127.0.0.1:{port}" for port in ports),
            ca_file=ca_file,
            every=Duration(every),
            timeout=Duration(1),
        )
        self.all = [One(folder and folder / str(port), port, replicas, tls) for port in ports]

    async def start(self, *which: One) -> None:
        await asyncio.gather(*(one.start() for one in which or self.all))
        await until("they know each other", self._is_complete)

    async def _is_complete(self) -> bool:
        reached = await self.everywhere("exporter_peers", state="reachable")
        return reached == [len(reached) - 1] * len(reached)

    async def everywhere(self, name: str, **labels: str) -> list[float | None]:
        """The value of a series at each that runs."""
        return [await one.shows(name, **labels) for one in self.all if one.is_running]

    async def total(self, name: str, **labels: str) -> float:
        return sum(filter(None, await self.everywhere(name, **labels)))

    async def users(self, window: str) -> list[float | None]:
        """What each shows as the number of users; it is updated every ten seconds otherwise."""
        for one in self.all:
            if one.is_running:
                one.exporter.parts.state.recorder.refresh(one.exporter.clock.now())
        return await self.everywhere("active_users", window=window)

    async def stop(self) -> None:
        for one in self.all:
            if one.is_running:
                with contextlib.suppress(Exception):
                    await one.end()
        await asyncio.sleep(0.1)  # a connection accepted by a server that closes is closed when its peer has left


def active(users: Sequence[str]) -> list[dict[str, Any]]:
    return [{"type": "user_active", "data": {"user": user}} for user in users]
