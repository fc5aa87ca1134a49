"""A local HTTP server that stands in for a provider: real sockets, scripted failures, every call recorded."""

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Call:
    """One request as it arrived."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    raw: bytes = b""
    at: float = field(default_factory=time.monotonic)


class FakeServer:
    """Answers by ``answer``, unless a misfortune is scripted: an HTTP status, headers, or a hang until it stops."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.misfortunes: list[tuple[int, dict[str, str]]] = []
        self.words = ""  # what a misfortune says instead of naming its status
        self.hang = 0.0
        self.url = ""

    async def start(self, port: int = 0) -> None:
        self._ended = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self._ended.set()
        await self._runner.cleanup()

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        raise NotImplementedError

    async def _take(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        is_form = request.content_type == "application/x-www-form-urlencoded"
        is_binary = request.content_type == "application/octet-stream"
        body = dict(await request.post()) if is_form else json.loads(b"{}" if is_binary else raw or b"{}")
        self.calls.append(Call(request.path, body, dict(request.headers), raw))
        if self.hang:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self.hang)
        if self.misfortunes:
            status, headers = self.misfortunes.pop(0)
            words = (self.words or f"scripted {status}").encode()
            return web.Response(status=status, headers={"Content-Type": "text/plain", **headers}, body=words)
        return self.answer(request, body)
