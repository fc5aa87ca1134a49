"""The console on a real store and a real socket, its viewer told by the test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient

from process.settings import Secret
from process.web import Handler
from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.actions.silences import Silences
from receiver.clients.alertmanager import AlertmanagerApi
from receiver.incident.delivery import Handling
from receiver.incident.event import AlertsReceived, Event
from receiver.incident.model import Alert, AlertGroup, Incident
from receiver.messages.link import DigestGrant, Grant, sign, sign_digest
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.store.sql.store import SQLStore
from receiver.web.access.viewer import VIEWER, Role, Viewer
from receiver.web.answer_pages import AnswerPages
from receiver.web.console.board import Board
from receiver.web.console.calendar_feed import CalendarFeeds
from receiver.web.console.console import Console
from receiver.web.console.layout import Layout
from receiver.web.console.silences import SilencePages
from receiver.web.console.status_page import Site
from receiver.web.console.stream import Streams
from receiver.web.replay_api import Replays
from tests.process.bounded_server import BoundedServer
from tests.receiver.example_site import START, Clock, deciding, the_current, the_routing
from tests.receiver.stores import the_store

LINH = Viewer("linh", "Linh", Role.RESPONDER, "session")
MAREK = Viewer("marek", "Marek", Role.RESPONDER, "session")
READER = Viewer("", "Guest", Role.VIEWER, "session")
LAYOUT = Layout()
SECRET = "s" * 32


class Rig:
    """One console; ``viewer`` is who looks, unless a request says ``X-Viewer: marek``."""

    def __init__(self, store: SQLStore, clock: Clock, streams: Streams, current: Current) -> None:
        self.store, self.clock, self.streams, self.current = store, clock, streams, current
        self.routing = current.routing
        self.viewer = LINH
        self.connected = asyncio.Semaphore(0)  # released by a test whose stream has begun
        self.client: TestClient[web.Request, web.Application]
        self.metrics: Metrics

    async def fire(self, key: str = "one", *alerts: Alert, **labels: str) -> Incident:
        """Let an alert fire, or these."""
        group = AlertGroup(key, alerts or (alert(key, **labels),), receiver="oncall")
        incident = await self.store.update(AlertsReceived(group), self.routing, self.clock.now)
        assert incident is not None
        return incident

    async def apply(self, number: int, event: Event) -> None:
        await self.store.apply(number, deciding(event, self.clock.now, self.routing), self.clock.now)

    async def get(self, path: str, **headers: str) -> str:
        async with self.client.get(path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def read(self, number: int) -> Incident:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0]

    async def link(self, *numbers: int) -> str:
        """Give the link of a message to Linh: of one incident, or of a bundle of several."""
        incidents, expires = [await self.read(number) for number in numbers], int(self.clock.now.timestamp()) + 86400
        installation = await self.store.installation()
        if len(numbers) == 1:
            return f"/answer/{sign(Grant.of(incidents[0], 'linh', expires, installation), SECRET)}"
        return f"/answer/digest/{sign_digest(DigestGrant.of(incidents, 'linh', expires, installation), SECRET)}"

    @property
    def url(self) -> str:
        return str(self.client.make_url("/")).rstrip("/")


def alert(name: str = "a", **labels: str) -> Alert:
    labels = {
        "alertname": "HighErrorRate",
        "severity": "critical",
        "team": "backend",
        "instance": f"{name}:9100",
        **labels,
    }
    told = {
        "summary": "High error rate",
        "description": "12% of requests fail.",
        "runbook_url": "https://wiki.example.com/errors",
    }
    return Alert(name, True, START, None, labels, told)  # noqa: FBT003  # it fires


@asynccontextmanager
async def a_console(
    folder: Path, routing: Routing | None = None, apis: Mapping[str, AlertmanagerApi] | None = None
) -> AsyncIterator[Rig]:
    """``apis``: Alertmanagers that can be asked for silences."""
    clock = Clock()
    streams: list[Streams] = []

    def watch(before: Incident, after: Incident) -> None:
        streams[0].changed(before, after)

    store = the_store(folder, clock, lambda: None, watch=watch)
    await store.open(clock.now)
    current = the_current(routing or the_routing())
    board = Board(store, clock)
    streams.append(Streams(board, "test"))
    metrics = Metrics(["email", "slack", "pagerduty"])
    actions = Actions(store, current, clock, metrics.registry)
    feeds = CalendarFeeds(Secret(SECRET))
    layout = Layout(pictured=apis, silenceable=apis) if apis else LAYOUT
    silences = Silences(store, store.silences, actions, apis or {})
    silencing = SilencePages(silences, store, current, clock, layout)
    console = Console(
        store,
        actions,
        current,
        clock,
        layout=layout,
        board=board,
        streams=streams[0],
        feeds=feeds,
        duty=Duty(store, store.duty, current, clock),
        silences=store.silences,
        replays=Replays(store, current, lambda _channel: Handling(), clock),
        registry=metrics.registry,
        site=Site(("email", "slack"), {"alertmanager": (True, False)}),
    )
    rig = Rig(store, clock, streams[0], current)
    rig.metrics = metrics

    @web.middleware
    async def somebody(request: web.Request, handler: Handler) -> web.StreamResponse:
        named = {"marek": MAREK, "guest": READER}.get(request.headers.get("X-Viewer", ""), rig.viewer)
        request[VIEWER] = named
        return await handler(request)

    app = web.Application(middlewares=[somebody])
    app.add_routes([*silencing.routes(), *console.routes(), *console.open_routes()])
    pages = AnswerPages(
        store, actions, current, Secret(SECRET), silences=store.silences, layout=layout, streams=streams[0]
    )
    app.add_subapp("/answer", pages.application())
    app.on_shutdown.append(streams[0].stop)
    async with TestClient(BoundedServer(app)) as client:
        rig.client = client
        yield rig
    await store.close()


def with_people(routing: Routing, **changes: object) -> Routing:
    """Change every person alike."""
    people = {key: msgspec.structs.replace(person, **changes) for key, person in routing.people.items()}
    return msgspec.structs.replace(routing, people=people)
