"""A web site with our script in its pages, whose public paths are a real exporter's."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from aiohttp import StreamReader, web
from aiohttp.test_utils import TestServer

from exporter.app import Exporter, Settings, middlewares, public_routes
from exporter.config import Browser, Config, shipped_catalogue
from exporter.sentry_tunnel.forward import client_session
from process.settings import Duration

PATIENCE = 60.0


class Site:
    """Pages by path; ``misfortunes`` are the answers to the next beacons, None being no answer at all."""

    def __init__(self, origins: tuple[str, ...] = (), script: str = "/rum.js") -> None:
        self.pages: dict[str, str] = {}
        self.script = script
        self.misfortunes: list[int | None] = []
        self.wait = ""  # their Retry-After
        self.received: list[dict[str, Any]] = []
        browser = Browser(drop_bots=False, origins=origins, refuse=(), settle_after=Duration(0))
        lists = {"pages": ("/", "/second", "/spa/[id]"), "routes": ("/api/classes/[id]",)}
        lists |= {"forms": ("signup",), "tables": ("users",)}
        config = Config(browser=browser, lists=lists, first_increment_hold=Duration(0))
        config = msgspec.structs.replace(config, limits=msgspec.structs.replace(config.limits, client_burst=10_000))
        self.exporter = Exporter(Settings(config, shipped_catalogue(config)))
        app = web.Application(middlewares=[self._beacons, *middlewares(self.exporter)])
        app.add_routes(public_routes(self.exporter))
        app.cleanup_ctx.append(client_session)
        app.add_routes([web.get("/api/classes/{id}", self._class), web.get("/{path:.*}", self._page)])
        self.server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def batches(self) -> dict[str, list[dict[str, Any]]]:
        """The batches of each page, each once, as they were numbered: one may overtake another."""
        pages: dict[str, list[dict[str, Any]]] = {}
        for batch in {batch["batch_id"]: batch for batch in self.received}.values():
            pages.setdefault(batch["client"]["page_id"], []).append(batch)
        return {page: sorted(batches, key=_number) for page, batches in pages.items()}

    def is_whole(self) -> bool:
        """Whether no batch is missing before another one of its page."""
        return all(
            [_number(one) for one in batches] == list(range(len(batches))) for batches in self.batches().values()
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was taken, in the order of each page."""
        return [event for batches in self.batches().values() for batch in batches for event in batch["events"]]

    def vitals(self) -> set[str]:
        """Which of them have arrived."""
        return {data["vital"] for data in self.of("web_vital")}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of the events of a type."""
        return [event["data"] for event in self.events if event["type"] == kind]

    def viewed(self, path: str) -> bool:
        """Whether a page's view has arrived."""
        return any(data["page"] == path for data in self.of("page_load"))

    def count(self, name: str, *labels: str) -> float:
        """A counter of the exporter, or how many observations a histogram has."""
        self.exporter.tick()
        cell = self.exporter.parts.state.recorder.series[name].cells.get(labels)
        return 0 if cell is None else float(sum(cell.counts) if hasattr(cell, "counts") else cell.value)

    def rejected(self, *sources: str) -> float:
        """How many events and requests of these endpoints the exporter refused."""
        cells = self.exporter.parts.state.recorder.series["exporter_events_rejected_total"].cells.items()
        return float(sum(cell.value for labels, cell in cells if labels[0] in sources))

    async def until(self, question: Callable[[], object]) -> None:
        """Wait until it is so; a failure shows what has arrived."""
        async with asyncio.timeout(PATIENCE):
            while not question():  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # what it waits for happens in another process

    async def _class(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        return web.json_response({"id": number}, status=500 if number == "500" else 200)

    async def _page(self, request: web.Request) -> web.Response:
        body = self.pages.get(request.path)
        if body is None:
            return web.Response(status=404)
        return web.Response(text=f"<!doctype html><title>x</title>{body}", content_type="text/html")

    @web.middleware
    async def _beacons(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method != "POST" or request.path != "/api/pulse":
            return await handler(request)
        if self.misfortunes:
            status = self.misfortunes.pop(0)
            if status is None:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            headers = {"Retry-After": self.wait} if self.wait else {}
            return web.Response(
                status=status, headers={**headers, "Access-Control-Allow-Origin": request.headers["Origin"]}
            )
        body = await request.read()
        again = StreamReader(request.protocol, 2**16, loop=asyncio.get_running_loop())
        again.feed_data(body)
        again.feed_eof()
        request._payload = again  # noqa: SLF001  # the exporter reads the stream itself
        answer = await handler(request)
        self.received.append(json.loads(body))  # once it has been counted
        return answer

    def tag(self, **options: str) -> str:
        """The script tag with data attributes; batches go out at once unless told otherwise."""
        settings = {"interval": "50", **options}
        attributes = " ".join(f'data-{name.replace("_", "-")}="{value}"' for name, value in settings.items())
        return f'<script src="{self.script}" {attributes}></script>'


def _number(batch: dict[str, Any]) -> int:
    return int(batch["client"]["sequence"])


BUILT = Path("exporter/rum/rum.js")
