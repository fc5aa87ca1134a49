"""A console behind its guard, over HTTP: a page that says who looks, the API, and a clock that is told the time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import bcrypt
import msgspec
import yaml
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry
from yarl import URL

from process.settings import Secret
from process.web_config import WebAccess
from receiver.config.console import ConsoleSettings
from receiver.policy.current import Current
from receiver.store.sql.store import SQLStore
from receiver.web.access.build import ConsoleAccess
from receiver.web.access.oidc import Oidc
from receiver.web.access.viewer import VIEWER
from receiver.web.console.board import Board
from receiver.web.console.layout import Layout
from receiver.web.console.stream import Changes, Frame, Streams
from tests.process.bounded_server import BoundedServer
from tests.receiver.example_site import Clock, a_store, the_current

EXTERNAL = "https://oncall.example.com"
API_TOKEN = "api-token-of-the-file"
PASSWORD = "open sesame"
OURS = {"Sec-Fetch-Site": "same-origin"}
HTTPS = {"Host": "oncall.example.com"}  # as a proxy with TLS before us hands it on
Client = TestClient[web.Request, web.Application]


class Rig:
    def __init__(self, client: Client, access: ConsoleAccess, store: SQLStore, folder: Path, clock: Clock) -> None:
        self.users: WebAccess
        self.registry: CollectorRegistry
        self.client, self.access, self.store, self.folder, self.clock = client, access, store, folder, clock

    def forget(self) -> None:
        """Be another browser."""
        self.client.session.cookie_jar.clear()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Give the status, and where it leads to or what it says."""
        async with self.client.get(path, headers=_named(headers), allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def client_get(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        async with self.client.get(path, params=query, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def post(self, path: str, **headers: str) -> tuple[int, str]:
        return await self.submit(path, {}, **headers)

    async def submit(self, path: str, form: dict[str, str], /, **headers: str) -> tuple[int, str]:
        async with self.client.post(path, data=form, headers=_named(headers), allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def api(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Ask the API; gives the status and the JSON, None without any."""
        data = None if body is None else msgspec.json.encode(body)
        async with self.client.request(method, f"/api/v1{path}", data=data, headers=_named(headers)) as answer:
            content = await answer.read()
            return answer.status, msgspec.json.decode(content) if content else None

    async def sign_in_by_link(self) -> None:
        assert self.access.link is not None
        assert await self.get(self.access.link.path) == (303, "/")

    def cookies(self) -> dict[str, str]:
        return {name: one.value for name, one in self.client.session.cookie_jar.filter_cookies(URL(self.url)).items()}

    @property
    def url(self) -> str:
        return str(self.client.make_url("/"))

    def counted(self, via: str, outcome: str) -> float | None:
        return self.registry.get_sample_value("receiver_sign_ins_total", {"via": via, "outcome": outcome})

    async def acts(self) -> list[tuple[str, str]]:
        return [(act.act, act.actor) for act in await self.store.access.audit(None, 100)]


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _web_file(folder: Path) -> Path:
    """Two people and a scraper, by the cheapest hashes that bcrypt allows."""
    users = {
        name: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode() for name in ("linh", "marek", "scraper")
    }
    (folder / "web.yml").write_text(yaml.safe_dump({"basic_auth_users": users}), "utf-8")
    return folder / "web.yml"


def provider(console: ConsoleSettings, clock: Clock, redirect_uri: str) -> Oidc | None:
    settings = console.sign_in.oidc
    return Oidc(settings, Secret("client-secret"), redirect_uri, clock) if settings else None


class Silent:
    """A page on which nothing changes."""

    key = "silent"

    async def frame(self, _changes: Changes) -> Frame | None:
        return None


async def say_who(request: web.Request) -> web.Response:
    viewer = request[VIEWER]
    return web.json_response(msgspec.to_builtins(viewer))


@asynccontextmanager
async def a_console(
    folder: Path, settings: dict[str, Any] | None = None, current: Current | None = None, external: str = EXTERNAL
) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(folder, clock)
    console = msgspec.convert(settings or {}, ConsoleSettings)
    registry = CollectorRegistry()
    users = WebAccess(_web_file(folder))
    access = ConsoleAccess(
        console,
        external,
        store.access,
        current or the_current(),
        clock,
        token=Secret(API_TOKEN),
        secret=Secret("s" * 32),
        users=users,
        oidc=partial(provider, console, clock),
        brand="HeyPeter",
        layout=Layout(),
        registry=registry,
    )
    app = web.Application()
    api = web.Application(middlewares=[access.guard.api()])
    api.add_routes([web.get("/who", say_who), web.post("/who", say_who), *access.api_routes()])
    app.add_subapp("/api/v1", api)
    pages = [
        web.get("/", say_who),
        web.get("/incidents/{id}", say_who),
        web.post("/incidents/{id}/acknowledge", say_who),
    ]
    streams = Streams(Board(store, clock), "test")
    pages.append(web.get("/stream", lambda request: streams.serve(request, Silent())))
    app.add_routes([*access.guard.pages(pages), *access.routes()])
    app.on_shutdown.append(streams.stop)
    server = BoundedServer(app)
    await server.start_server()
    jar = CookieJar(unsafe=True, treat_as_secure_origin=server.make_url("/").origin())
    async with TestClient(server, cookie_jar=jar) as client:
        rig = Rig(client, access, store, folder, clock)
        rig.users, rig.registry = users, registry
        yield rig
    await store.close()
