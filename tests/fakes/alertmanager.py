"""The real Alertmanager on a free port, and a way to it that loses what it is told to lose."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any, Self

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port

_CONFIG = "route: {receiver: nobody, group_by: [alertname]}\nreceivers: [{name: nobody}]\n"


class Alertmanager:
    """Runs until it is stopped; its time is the machine's."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "alertmanager.yml").write_text(_CONFIG, "utf-8")
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        options = (f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data")
        listen = (f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=")
        self._process = Popen([".stack/bin/alertmanager", *options, *listen], stdout=DEVNULL, stderr=DEVNULL)

    async def ready(self, session: aiohttp.ClientSession) -> datetime:
        """Wait until it answers; gives its time."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                async with session.get(f"{self.url}/api/v2/status") as answer:
                    return datetime.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)
        raise AssertionError("Alertmanager did not start")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


class WayThrough:
    """A proxy in front: ``lose`` drops the next answer to a POST after it has arrived, ``hang`` never answers."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session, self.lose, self.hang, self.posts = url, session, False, False, 0
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        self.url = str(self._server.make_url("")).rstrip("/")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang = False
        await self._server.close()

    async def close(self) -> None:
        """From here on nothing listens."""
        await self._server.close()

    async def _pass(self, request: web.Request) -> web.Response:
        if self.hang:
            await asyncio.Event().wait()
        kind = {"Content-Type": "application/json"}
        target = f"{self._url}{request.raw_path}"
        async with self._session.request(request.method, target, data=await request.read(), headers=kind) as answer:
            body: Any = await answer.read()
        if request.method == "POST":
            self.posts += 1
            if self.lose:
                self.lose = False
                assert request.transport is not None
                request.transport.close()
        return web.Response(status=answer.status, body=body, content_type="application/json")
