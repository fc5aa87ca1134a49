"""The composition root: the one file that names the real clock, and that puts the parts of the exporter together."""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector

from exporter.catalogue.model import Catalogue
from exporter.config import Config
from exporter.events.decode import Decoder
from exporter.persistence.journal import Journal
from exporter.persistence.recovery import Storage
from exporter.persistence.snapshot import Folder
from exporter.registry.state import State
from exporter.self_metrics import Metrics
from exporter.sentry_tunnel.endpoint import Reports
from exporter.web import openapi
from exporter.web.accept import Intake
from exporter.web.browser_events import Policy, Public
from exporter.web.rate_limit import Clients, Limiter
from exporter.web.rum_script import Script
from exporter.web.scrape import INDEX, Scrape
from exporter.web.server_events import MOST, Ingest, retry_later
from process.settings import Secret
from process.version import VERSION
from process.web_config import BasicAuth

log = logging.getLogger("exporter")

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SESSION = web.AppKey("session", aiohttp.ClientSession)
_DISTINCT = 10.0  # seconds between two looks at the distinct counts


class Settings(NamedTuple):
    """What a process runs with; a reload brings another."""

    config: Config
    catalogue: Catalogue
    token: Secret | None = None
    users: dict[str, str] = {}  # a default that nobody changes


class Clock(NamedTuple):
    """Unix seconds, and seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class _Parts(NamedTuple):
    """What a reload replaces, all at once."""

    settings: Settings
    state: State
    metrics: Metrics
    ingest: Ingest
    public: Public
    reports: Reports
    scrape: Scrape
    auth: BasicAuth


class Exporter:
    """One exporter: its state, its endpoints and its loops. Use it after ``start``."""

    def __init__(self, settings: Settings, clock: Clock = Clock()) -> None:  # noqa: B008  # immutable
        self.clock = clock
        self.draining = False
        self.failed = asyncio.Event()
        self.storage: Storage | None = None
        self.script = Script()
        self._process = _process_metrics(settings)
        path, key = settings.config.storage.path, os.urandom(32)
        if path is not None:
            folder = Folder(path)
            key = folder.key()
            journal = Journal(path, clock.monotonic, self._synced)
            self.storage = Storage(folder, journal, clock.now)
        self._key = key
        state = self._new_state(settings)
        metrics = Metrics(state.recorder)
        if self.storage is not None:
            self.storage.recover(state, metrics, float(settings.config.first_increment_hold))
        self.parts = self._assemble(settings, state, metrics)

    def _new_state(self, settings: Settings) -> State:
        return State(settings.catalogue, self._key, float(settings.config.browser.settle_after))

    def _assemble(self, settings: Settings, state: State, metrics: Metrics) -> _Parts:
        config, (now, monotonic) = settings.config, self.clock
        limits, browser = config.limits, config.browser
        journal = self.storage.journal if self.storage else None
        limiter = Limiter(limits.client_rate, limits.client_burst, limits.total_rate, limits.total_burst, monotonic())
        clients = Clients(browser.trusted_proxies)
        intake = Intake(state, metrics, journal, now)
        policy = Policy(frozenset(browser.origins), browser.require_origin, browser.drop_bots, browser.honour_gpc)
        hold = float(config.first_increment_hold)
        metrics.gauge("exporter_config_last_reload_successful", 1, now())
        metrics.gauge("exporter_config_last_reload_success_timestamp_seconds", now(), now())
        return _Parts(
            settings=settings,
            state=state,
            metrics=metrics,
            ingest=Ingest(Decoder(state.schema.private(), MOST), intake, metrics, journal, settings.token, self._fail),
            public=Public(state.schema, intake, metrics, limiter, clients, policy, monotonic),
            reports=Reports(config.sentry, metrics, clients, limiter, monotonic, drop_bots=browser.drop_bots),
            scrape=Scrape(state, metrics, self._process, limiter, journal, hold, now, monotonic),
            auth=BasicAuth(settings.users),
        )

    def reload(self, settings: Settings) -> None:
        """Go on with other settings and the same counts; families whose shape has changed begin at 0."""
        state = self._new_state(settings)
        changed = state.load(self.parts.state.dump(own=True))
        if changed:
            log.warning("families with another shape than before begin at 0: %s", ", ".join(changed))
        self.parts = self._assemble(settings, state, Metrics(state.recorder))

    def reload_failed(self) -> None:
        """Show that the last reload was refused."""
        self.parts.metrics.gauge("exporter_config_last_reload_successful", 0, self.clock.now())

    def tick(self) -> None:
        """Let time pass in the state."""
        self.parts.state.tick(self.clock.now())

    async def save(self) -> None:
        """Write a snapshot, if there is a folder for it."""
        if self.storage is not None:
            await self.storage.save(self.parts.state, self.parts.metrics)

    async def close(self) -> None:
        """Save, and let the folder go; after a failure of the disk nothing is saved, for it may not be true."""
        if self.storage is not None:
            if not self.failed.is_set():
                await self.save()
            self.storage.close()

    def loops(self) -> dict[str, Awaitable[None]]:
        """List what runs for ever beside the endpoints; one that ends is the end of the process."""
        return {"settle": self._settle(), "snapshot": self._snapshot(), "lag": self._lag(), "disk": self._disk()}

    async def _settle(self) -> None:
        while True:
            self.tick()
            self.parts.state.recorder.refresh(self.clock.now())
            for _ in range(int(_DISTINCT)):
                await asyncio.sleep(1)
                self.tick()

    async def _snapshot(self) -> None:
        while True:
            await asyncio.sleep(float(self.parts.settings.config.storage.snapshot_every))
            await self.save()

    async def _lag(self) -> None:
        while True:
            before = self.clock.monotonic()
            await asyncio.sleep(0.25)
            self.parts.metrics.lag(self.clock.monotonic() - before - 0.25)

    async def _disk(self) -> None:
        await self.failed.wait()

    def _synced(self, seconds: float) -> None:
        self.parts.metrics.synced(seconds)

    def _fail(self, why: str) -> None:
        """The kernel may have lost what it was to write: stop, and count again from what the disk has."""
        if not self.failed.is_set():
            log.critical("%s; stopping, for what was counted since may not be on the disk", why)
            self.parts.metrics.storage_error("sync")
            self.failed.set()

    def public_routes(self) -> list[web.RouteDef]:
        """List what browsers reach."""
        browser = self.parts.settings.config.browser
        routes: dict[str, Endpoint] = {
            browser.path: self._current(lambda parts: parts.public.batch),
            "/api/metrics": self._current(lambda parts: parts.public.metric),
            "/api/rum/vitals": self._current(lambda parts: parts.public.vital),
            "/api/rum/events": self._current(lambda parts: parts.public.interaction),
        }
        found = []
        for path, endpoint in routes.items():
            found.append(web.post(path, self._unless_draining(endpoint)))
            found.append(web.options(path, self._current(lambda parts: parts.public.preflight)))
        found.append(web.get(browser.script, self.script.handle))
        found.append(web.post(self.parts.settings.config.sentry.path, self._unless_draining(self._report)))
        return found

    def hot(self, app: web.Application) -> dict[str, Endpoint]:
        """Give what an application answers most often, by path: the POSTs of events."""
        paths = {
            "/api/events": self._current(lambda parts: parts.ingest.events),
            self.parts.settings.config.browser.path: self._current(lambda parts: parts.public.batch),
        }
        served = {resource.canonical for resource in app.router.resources()}
        return {path: self._unless_draining(endpoint) for path, endpoint in paths.items() if path in served}

    async def connect(self, app: web.Application) -> AsyncIterator[None]:
        """Give the application its client of Sentry while it runs."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            app[_SESSION] = session
            yield

    async def _report(self, request: web.Request) -> web.StreamResponse:
        return await self.parts.reports.handle(request, request.app[_SESSION])

    def private_routes(self) -> list[web.RouteDef]:
        """List what servers and Prometheus reach."""
        return [
            web.post("/api/events", self._unless_draining(self._current(lambda parts: parts.ingest.events))),
            web.get("/metrics", self.guarded(self._current(lambda parts: parts.scrape.metrics))),
            web.get("/", self.guarded(self._index)),
            web.get("/openapi.json", self._openapi),
            web.get("/-/healthy", _healthy),
            web.get("/-/ready", self._readiness),
        ]

    def _current(self, choose: Callable[[_Parts], Endpoint]) -> Endpoint:
        """Find the endpoint anew for each request, for a reload replaces them all."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await choose(self.parts)(request)

        return handle

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Let only those pass who have a user of the --web.config.file, if it names any."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.parts.auth.refuse(request) or await endpoint(request)

        return handle

    def _unless_draining(self, endpoint: Endpoint) -> Endpoint:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not self.draining:
                return await endpoint(request)
            response = retry_later(503, "stopping; send the same batch again in a moment", 1)
            response.force_close()
            return response

        return handle

    async def _index(self, _request: web.Request) -> web.Response:
        path = self.parts.settings.config.browser.script
        text = INDEX.format(version=VERSION, script=path, integrity=self.script.integrity)
        return web.Response(text=text, content_type="text/html")

    async def _openapi(self, _request: web.Request) -> web.Response:
        settings = self.parts.settings
        return web.json_response(openapi.document(settings.catalogue, VERSION, settings.config.browser.path))

    async def _readiness(self, _request: web.Request) -> web.Response:
        if self.draining or self.failed.is_set():
            return web.Response(text="The exporter is stopping.\n", status=503)
        return web.Response(text="The exporter is ready.\n")


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="The exporter is running.\n")


def _process_metrics(settings: Settings) -> CollectorRegistry:
    """What prometheus_client knows of the process, and what runs in it."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    Info("exporter_build", "The version of the exporter.", registry=registry).info({"version": VERSION})
    digest = hashlib.sha256(msgspec.json.encode(settings.catalogue)).hexdigest()[:16]
    catalogue = Info("exporter_catalogue", "The catalogue and its lists, by a digest.", registry=registry)
    catalogue.info({"sha256": digest, "families": str(len(settings.catalogue.families))})
    return registry
