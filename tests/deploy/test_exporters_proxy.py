"""The example of nginx before several exporters: a batch stays with one, and a dead one is passed over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_port
from deploy.local.servers import PLACE
from tests.deploy.installed import ROOT
from tests.deploy.test_proxies import check
from tests.stories.stack import until

pytestmark = pytest.mark.stack


class Exporters:
    """nginx, and three servers in the place of the exporters."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.ports = {f"10.0.0.{number}:3001": free_port() for number in (1, 2, 3)}
        self.seen: list[tuple[int, str]] = []
        self.runners: dict[int, web.AppRunner] = {}
        self.fails = False

    async def serve(self) -> None:
        for port in self.ports.values():

            async def take(request: web.Request, port: int = port) -> web.Response:
                self.seen.append((port, request.headers["Idempotency-Key"]))
                if self.fails and request.transport is not None:
                    request.transport.abort()
                return web.Response(status=202)

            app = web.Application()
            app.add_routes([web.post("/api/events", take)])
            self.runners[port] = web.AppRunner(app)
            await self.runners[port].setup()
            await web.TCPSite(self.runners[port], "127.0.0.1", port).start()

    def configuration(self) -> str:
        text = (ROOT / "deploy/proxy/nginx-exporters.conf").read_text("utf-8")
        for address, port in self.ports.items():
            text = text.replace(f"server {address}", f"server 127.0.0.1:{port}")
        text = text.replace("listen 127.0.0.1:3000", f"listen 127.0.0.1:{self.port}")
        temporary = "".join(
            f"{n}_temp_path {self.folder}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = f"daemon off; user root; pid {self.folder}/pid; error_log stderr; events {{}}\n"
        return f"{head}http {{ access_log off; {temporary}\n{text}\n}}\n"

    async def post(self, batch: str) -> int:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{self.port}/api/events"
            async with session.post(url, json={}, headers={"Idempotency-Key": batch}) as answer:
                return answer.status

    async def answers(self) -> bool:
        try:
            return await self.post("first") == 202
        except aiohttp.ClientConnectorError:
            return False


@pytest.fixture
async def exporters(tmp_path: Path) -> AsyncIterator[Exporters]:
    program = PLACE / "bin/nginx"
    if not program.exists():
        pytest.skip("no nginx: run make servers")
    three = Exporters(tmp_path)
    (tmp_path / "nginx.conf").write_text(three.configuration(), "utf-8")
    words = [str(program), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    check(words)
    await three.serve()
    process = await asyncio.create_subprocess_exec(*words)
    try:
        await until("nginx answers", three.answers)
        three.seen.clear()
        yield three
    finally:
        process.terminate()
        await process.wait()
        for runner in three.runners.values():
            await runner.cleanup()


async def test_a_batch_stays_with_one_exporter_until_that_is_dead(exporters: Exporters) -> None:
    for number in range(30):
        for _ in range(2):
            assert await exporters.post(f"b-{number}") == 202
    of = dict.fromkeys(batch for _, batch in exporters.seen)
    at = {batch: {port for port, seen in exporters.seen if seen == batch} for batch in of}
    assert all(len(ports) == 1 for ports in at.values())
    assert len({port for port, _ in exporters.seen}) == 3
    dead = exporters.seen[0][0]
    await exporters.runners[dead].cleanup()
    exporters.seen.clear()
    for number in range(30):
        assert await exporters.post(f"b-{number}") == 202
    moved = {batch for port, batch in exporters.seen if port not in at[batch]}
    assert moved == {batch for batch, ports in at.items() if ports == {dead}}


async def test_a_batch_whose_answer_is_lost_is_not_repeated_by_the_balancer(exporters: Exporters) -> None:
    exporters.fails = True
    assert await exporters.post("b-1") == 502
    assert len(exporters.seen) == 1
