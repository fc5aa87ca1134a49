"""Sentry's ingestion as its documentation describes it: one envelope endpoint a project, keys, limits, misfortunes."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "0123456789abcdef0123456789abcdef"
PROJECT = "42"


@dataclass
class Received:
    """One envelope as it arrived, read as Sentry's SDK reads one (sentry-javascript, parseEnvelope)."""

    body: bytes
    headers: dict[str, str]
    query: dict[str, str]
    peer: object
    envelope: dict[str, Any] = field(init=False)
    items: list[tuple[dict[str, Any], bytes]] = field(init=False)

    def __post_init__(self) -> None:
        first, _, rest = self.body.partition(b"\n")
        self.envelope = json.loads(first)
        self.items = []
        while rest:
            line, _, rest = rest.partition(b"\n")
            header = json.loads(line)
            length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
            if length > len(rest) or rest[length : length + 1] not in {b"", b"\n"}:
                raise ValueError(f"length of item {len(self.items)}")
            self.items.append((header, rest[:length]))
            rest = rest[length + 1 :]

    @property
    def types(self) -> list[str]:
        return [str(header["type"]) for header, _ in self.items]


class FakeSentry:
    """``received`` lists what was taken; ``answers`` are scripted, in order; ``hang`` waits until set."""

    def __init__(self, key: str = KEY, project: str = PROJECT) -> None:
        self.key, self.project = key, project
        self.received: list[Received] = []
        self.arrivals: asyncio.Queue[Received] = asyncio.Queue()
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.limits: dict[str, str] = {}  # item type -> X-Sentry-Rate-Limits: an envelope that has one is a 429
        self.pause = 0.0  # seconds between the two halves of an answer's body
        self.hang: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.calls = 0
        self.elsewhere = 0
        self.url = ""

    @property
    def dsn(self) -> str:
        return f"http://{self.key}@{self.url.removeprefix('http://')}/{self.project}"

    async def start(self) -> None:
        app = web.Application(client_max_size=200 * 1024 * 1024)
        app.router.add_post("/api/{project}/envelope/", self._take)
        app.router.add_route("*", "/{path:.*}", self._elsewhere)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self.hang is not None:
            self.hang.set()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        body = await request.read()
        self.arrived.set()
        if self.hang is not None:
            await self.hang.wait()
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.json_response({"detail": "scripted, with words for nobody"}, status=status, headers=headers)
        answer = self._judge(request, body)
        return await self._in_halves(request, answer) if self.pause else answer

    def _judge(self, request: web.Request, body: bytes) -> web.Response:
        """Refuse as Relay does: the key in the query or in X-Sentry-Auth, the project, then the envelope."""
        if request.match_info["project"] != self.project:
            return web.json_response({"detail": "bad sentry DSN: no such project"}, status=404)
        auth = dict(
            part.strip().partition("=")[::2] for part in request.headers.get("X-Sentry-Auth", "")[7:].split(",")
        )
        if request.query.get("sentry_key", auth.get("sentry_key", "")) != self.key:
            return web.json_response({"detail": "missing or wrong authorization information"}, status=403)
        try:
            received = Received(body, dict(request.headers), dict(request.query), request.transport)
        except (ValueError, KeyError):
            return web.json_response({"detail": "invalid event envelope"}, status=400)
        limits = [limit for kind, limit in self.limits.items() if kind in received.types]
        if limits:
            headers = {"X-Sentry-Rate-Limits": ", ".join(limits)}
            return web.json_response({"detail": "rate limited"}, status=429, headers=headers)
        self.received.append(received)
        self.arrivals.put_nowait(received)
        return web.json_response({"id": received.envelope.get("event_id", "")})

    async def _in_halves(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        text = (answer.text or "").encode()
        response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(text))})
        await response.prepare(request)
        await response.write(text[:5])
        await asyncio.sleep(self.pause)
        await response.write(text[5:])
        return response

    async def _elsewhere(self, _request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response(text="not an endpoint of Sentry's", status=404)
