"""The composition root: puts the parts of the exporter together, serves them, reloads them and stops them.

It is the one file that names the real clock. It reads from top to bottom: what a process runs with, the exporter and
its loops, the applications and their routes, and the life of the process.
"""

import asyncio
import hashlib
import logging
import os
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from socket import socket
from typing import NamedTuple

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector

from exporter.accept import Acceptor
from exporter.catalogue.model import Catalogue
from exporter.config import Config, restart_needed
from exporter.persistence.journal import Journal
from exporter.persistence.recovery import Storage
from exporter.persistence.snapshot import Folder
from exporter.registry.replication_log import ReplicationLog
from exporter.registry.state import State
from exporter.replication.endpoint import PATH, Endpoint
from exporter.replication.peers import Others, Peers
from exporter.self_metrics import Metrics
from exporter.sentry_tunnel.forward import Tunnel, client_session
from exporter.web import openapi
from exporter.web.browser_events import BrowserEvents, Policy
from exporter.web.origin import Origins
from exporter.web.rate_limit import Limiter
from exporter.web.rum_script import Script
from exporter.web.scrape import INDEX, Scrape
from exporter.web.server_events import ServerEvents, retry_later
from process.addresses import listen_address
from process.client_address import Clients
from process.coalescing import Coalesced
from process.listener import Connections, Listener, capacity, note_request
from process.service_manager import feed_watchdog, notify
from process.settings import Secret, SettingsError
from process.version import VERSION
from process.web import Handler, behind, is_from_page, problem
from process.web_config import BasicAuth

log = logging.getLogger("exporter")

_DISTINCT_COUNTS_EVERY = 10  # seconds between two updates of the gauges of distinct counts
_SNAPSHOT_PAUSE = 1.0  # seconds between two snapshots, at least
_SHUTDOWN_TIMEOUT = 10  # seconds for requests under way when the process is told to stop
_EVENTS = "/api/events"
BROWSER_SOCKET = "browser"  # FileDescriptorName of the socket for browsers in the unit file


class Settings(NamedTuple):
    """What a process runs with; a reload replaces all of it."""

    config: Config
    catalogue: Catalogue
    token: Secret | None = None
    users: dict[str, str] = {}  # never changed
    secret: Secret | None = None  # of the exporters among themselves

    @property
    def secrets(self) -> list[Secret]:
        """What no log or report may show."""
        return [secret for secret in (self.token, self.secret) if secret is not None]

    def needs_restart(self, new: "Settings") -> str:
        """Name the changed key of new ones that a reload cannot apply; empty if there is none."""
        known, read = (one.secret.reveal() if one.secret else "" for one in (self, new))
        return restart_needed(self.config, new.config) or ("replicas.secret_file" if known != read else "")


class Clock(NamedTuple):
    """``now`` gives Unix seconds; ``monotonic`` gives seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Addresses(NamedTuple):
    """Where the process listens, as HOST:PORT."""

    private: str
    public: str = ""  # empty: browsers use the private address
    metrics: str = ""  # empty: Prometheus and operators use the private address
    reuse_port: bool = False  # other processes share the first two

    @classmethod
    def of(cls, config: Config) -> "Addresses":
        """Take them from the configuration."""
        return cls(config.listen, config.browser.listen, config.metrics_listen, config.reuse_port)


class Listening(NamedTuple):
    """Where the process listens, and how it is reloaded."""

    addresses: Addresses
    tls: ssl.SSLContext | None
    reload: Coalesced[str]  # of ``Exporter.reloader``
    lifecycle: bool  # serve POST /-/reload, as Prometheus' --web.enable-lifecycle
    inherited: Mapping[str, list[socket]] = {}  # by systemd's FileDescriptorName; they replace the addresses

    def sockets(self) -> list[list[socket]]:
        """List the inherited sockets of each address, none for metrics; SettingsError if `browser` has no use."""
        browser = self.inherited.get(BROWSER_SOCKET, [])
        if browser and not self.addresses.public:
            raise SettingsError(f"socket {BROWSER_SOCKET!r} is inherited: set browser.listen, or remove the socket")
        private = [one for name, named in self.inherited.items() if name != BROWSER_SOCKET for one in named]
        return [private, *([browser] if self.addresses.public else []), []]


class Parts(NamedTuple):
    """What a reload replaces, all at once; ``metrics`` stays, and follows the state."""

    settings: Settings
    state: State
    metrics: Metrics
    server_events: ServerEvents
    browser_events: BrowserEvents
    tunnel: Tunnel
    scrape: Scrape
    auth: BasicAuth


class Exporter:
    """One exporter: its state, its endpoints and its loops. Creating it recovers the state from the disk."""

    def __init__(self, settings: Settings, clock: Clock = Clock()) -> None:  # noqa: B008  # immutable
        self.clock = clock
        self.is_starting = False  # until all its addresses listen
        self.draining = False
        self.hands_over = False  # its sockets stay open when it ends, so it answers while it drains
        self.failed = asyncio.Event()
        self.storage: Storage | None = None
        self.script = Script()
        self._facts = ReplicationLog() if settings.secret else None
        self._process = _process_metrics(settings)
        path, key = settings.config.storage.path, os.urandom(32)
        if path is not None:
            folder = Folder(path)
            key = folder.key()
            journal = Journal(path, clock.monotonic, self._synced, settings.config.storage.max_journal)
            self.storage = Storage(folder, journal, clock.now)
        self._key = key if settings.secret is None else shared_key(settings.secret)
        state = self._new_state(settings)
        metrics = Metrics(state.recorder)
        if self.storage is not None:
            self.storage.recover(state, metrics, float(settings.config.first_increment_hold))
        if self._facts is not None:
            self._facts.synced(self._facts.servers.end)
        self.parts = self._assemble(settings, state, metrics)
        boot = os.urandom(16).hex()
        facts = self._facts or ReplicationLog()
        self.replication_peers = self._others(settings, boot, facts)
        self.replication = Endpoint(
            boot,
            settings.secret,
            lambda: self.parts.state,
            lambda: self.parts.metrics,
            clock.now,
            facts,
            self.replication_peers.heard,
        )

    def _others(self, settings: Settings, boot: str, facts: ReplicationLog) -> Peers:
        replicas = settings.config.replicas
        try:
            ca = ssl.create_default_context(cafile=replicas.ca_file) if replicas.ca_file else None
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"replicas.ca_file {replicas.ca_file} cannot be read ({error})") from error
        others = Others(replicas.peers, settings.secret, boot, float(replicas.every), float(replicas.timeout), ca)
        return Peers(
            others,
            facts,
            lambda: self.parts.state,
            lambda: self.parts.metrics,
            self.clock.now,
            self.clock.monotonic,
        )

    def _new_state(self, settings: Settings) -> State:
        config = settings.config
        settle_after, server_ids = float(config.browser.settle_after), config.limits.server_ids
        return State(settings.catalogue, self._key, settle_after, self._facts, server_ids)

    def _assemble(self, settings: Settings, state: State, metrics: Metrics) -> Parts:
        config, (now, monotonic) = settings.config, self.clock
        limits, browser = config.limits, config.browser
        journal = self.storage.journal if self.storage else None
        limiter = Limiter(limits.client_rate, limits.client_burst, limits.total_rate, limits.total_burst, monotonic())
        clients = Clients(browser.trusted_proxies)
        acceptor = Acceptor(state, metrics, journal, now)
        policy = Policy(
            origins=Origins(browser.origins),
            require_origin=browser.require_origin,
            drop_bots=browser.drop_bots,
            honour_gpc=browser.honour_gpc,
            max_sample=browser.max_sample,
            refuse=frozenset(browser.refuse),
        )
        hold = float(config.first_increment_hold)
        metrics.gauge("exporter_config_last_reload_successful", 1, now())
        metrics.gauge("exporter_config_last_reload_success_timestamp_seconds", now(), now())
        return Parts(
            settings=settings,
            state=state,
            metrics=metrics,
            server_events=ServerEvents(
                state.schema,
                acceptor,
                metrics,
                journal,
                settings.token,
                self._fail,
                monotonic,
                lambda: self.parts.server_events,
            ),
            browser_events=BrowserEvents(
                state.schema, acceptor, metrics, limiter, clients, policy, monotonic, lambda: self.parts.browser_events
            ),
            tunnel=Tunnel(config.sentry, metrics, clients, limiter, monotonic),
            scrape=Scrape(state, metrics, self._process, limiter, journal, hold, now, monotonic),
            auth=BasicAuth(settings.users),
        )

    def reload(self, settings: Settings) -> None:
        """Replace the settings and keep the counts; families whose type, labels or buckets changed restart at 0."""
        self._replace(settings, self._new_state(settings))

    def _replace(self, settings: Settings, state: State) -> None:
        changed = state.load(self.parts.state.dump(own=True))
        if changed:
            log.warning("restarting at 0, because their type, labels or buckets changed: %s", ", ".join(changed))
        self.parts.metrics.follow(state.recorder)
        self.parts = self._assemble(settings, state, self.parts.metrics)

    def reloader(self, read: Callable[[], Settings]) -> Coalesced[str]:
        """Return the job that reloads; it gives an empty string, or why the new settings were refused."""
        return Coalesced(lambda: self._try_reload(read))

    async def _try_reload(self, read: Callable[[], Settings]) -> str:
        def prepare() -> tuple[Settings, State]:
            settings = read()
            return settings, self._new_state(settings)

        try:
            # In a thread, as it takes many times as long as the exchange, in which nothing else runs.
            self._replace(*await asyncio.to_thread(prepare))
        except SettingsError as error:
            self.parts.metrics.gauge("exporter_config_last_reload_successful", 0, self.clock.now())
            log.error("reload failed, keeping the previous settings: %s", error)  # noqa: TRY400  # the text says it all
            return str(error)
        log.info("reloaded")
        return ""

    async def catch_up(self) -> None:
        """Hear from the peers what they have counted while this one was away."""
        await self.replication_peers.catch_up(self.replication.merge_facts)

    def tick(self) -> None:
        """Count the vitals and end the sessions whose time has come."""
        self.parts.state.tick(self.clock.now())

    async def save(self) -> None:
        """Write a snapshot, if storage is configured."""
        if self.storage is not None:
            await self.storage.save(self.parts.state, self.parts.metrics)

    async def close(self) -> None:
        """Save and unlock the folder. After a disk failure nothing is saved: the counts may be ahead of the disk."""
        if self.storage is not None:
            if not self.failed.is_set():
                await self.save()
            self.storage.close()

    def loops(self) -> dict[str, Awaitable[None]]:
        """List what runs beside the endpoints; if one of them ends, the process ends."""
        return {
            "tick": self._tick_each_second(),
            "snapshot": self._save_snapshots(),
            "lag": self._measure_lag(),
            "disk": self._until_disk_fails(),
            "peers": self.replication_peers.run(),
        }

    async def _tick_each_second(self) -> None:
        while True:
            self.tick()
            self.parts.state.recorder.refresh(self.clock.now())
            for _ in range(_DISTINCT_COUNTS_EVERY):
                await asyncio.sleep(1)
                self.tick()

    async def _save_snapshots(self) -> None:
        while True:
            await self._until_a_snapshot_is_due()
            await self.save()

    async def _until_a_snapshot_is_due(self) -> None:
        every = float(self.parts.settings.config.storage.snapshot_every)
        pause = min(_SNAPSHOT_PAUSE, every)
        await asyncio.sleep(pause)
        if self.storage is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.storage.journal.grown.wait(), every - pause)

    async def _measure_lag(self) -> None:
        while True:
            before = self.clock.monotonic()
            await asyncio.sleep(0.25)
            self.parts.metrics.lag(self.clock.monotonic() - before - 0.25)

    async def _until_disk_fails(self) -> None:
        await self.failed.wait()

    def _synced(self, seconds: float) -> None:
        self.parts.metrics.synced(seconds)

    def _fail(self, error: str) -> None:
        """Stop the process: the kernel may have lost what it should have written, so recover from the disk."""
        if not self.failed.is_set():
            log.critical("%s; exiting, because recent events may not be on disk", error)
            self.parts.metrics.storage_error("sync")
            self.replication_peers.forget()
            self.failed.set()


def shared_key(secret: Secret) -> bytes:
    """Derive the key of users' hashes: sketches can be united only if it is the same."""
    return hashlib.blake2b(secret.reveal().encode(), person=b"distinct counts", digest_size=32).digest()


def _process_metrics(settings: Settings) -> CollectorRegistry:
    """Collect what prometheus_client knows of the process, and which version and catalogue it runs."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    Info("exporter_build", "Version of the exporter.", registry=registry).info({"version": VERSION})
    digest = hashlib.sha256(msgspec.json.encode(settings.catalogue)).hexdigest()[:16]
    catalogue = Info("exporter_catalogue", "Digest and size of the catalogue and its lists.", registry=registry)
    catalogue.info({"sha256": digest, "families": str(len(settings.catalogue.families))})
    return registry


# The applications: routes, and what stands before all of them.


def applications(exporter: Exporter, listening: Listening) -> list[tuple[str, web.Application]]:
    """Build the application of each address."""
    addresses = listening.addresses
    private = _application(exporter)
    private.add_routes(_server_routes(exporter))
    public = _application(exporter) if addresses.public else private
    public.add_routes(public_routes(exporter))
    public.cleanup_ctx.append(client_session)
    metrics = _application(exporter) if addresses.metrics else private
    metrics.add_routes(_operator_routes(exporter))
    if listening.lifecycle:
        metrics.add_routes([web.post("/-/reload", _guarded(exporter, _reload(listening.reload)))])
    if addresses.metrics:
        metrics.add_routes(_probes(exporter))
        private.add_routes([web.get("/metrics", _moved)])
    more = ((addresses.public, public), (addresses.metrics, metrics))
    return [(addresses.private, private), *(one for one in more if one[0])]


def _application(exporter: Exporter) -> web.Application:
    return web.Application(middlewares=middlewares(exporter))


def middlewares(exporter: Exporter) -> list[Middleware]:
    """Build what every request passes, in this order; what few requests need stands before their handlers.

    They are plain functions that return the handler's awaitable: a coroutine each would cost a small batch 2 %.
    """

    @web.middleware
    def draining(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        if not exporter.draining or request.method != "POST":
            return handler(request)
        answers = exporter.hands_over and not exporter.failed.is_set()
        return _answer_last(request, handler) if answers else _refuse_draining()

    return [note_request, draining]


async def _refuse_draining() -> web.Response:
    """While the process stops, refuse what the sender should send again to the next one."""
    response = retry_later(503, "stopping; retry the same batch shortly", 1)
    response.force_close()
    return response


async def _answer_last(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer, and let the client's next request go to the next process."""
    response = await handler(request)
    response.force_close()
    return response


def direct_posts(exporter: Exporter, listening: Listening) -> list[dict[str, Handler]]:
    """Give, for each address, what answers batches of events without aiohttp's router, behind the same middlewares."""

    def through(choose: Callable[[Parts], Handler]) -> Handler:
        def handler(request: web.Request) -> Awaitable[web.StreamResponse]:
            return choose(exporter.parts)(request)

        return behind(middlewares(exporter), handler)

    servers = {_EVENTS: through(lambda parts: parts.server_events.handle)}
    browsers = {exporter.parts.settings.config.browser.path: through(lambda parts: parts.browser_events.batch)}
    return [*([servers, browsers] if listening.addresses.public else [servers | browsers]), {}]


def public_routes(exporter: Exporter) -> list[web.RouteDef]:
    """List what browsers reach."""
    config = exporter.parts.settings.config
    posts = {
        config.browser.path: _current(exporter, lambda parts: parts.browser_events.batch),
        "/api/metrics": _current(exporter, lambda parts: parts.browser_events.metric),
        "/api/rum/vitals": _current(exporter, lambda parts: parts.browser_events.vital),
        "/api/rum/events": _current(exporter, lambda parts: parts.browser_events.interaction),
    }
    preflight = _current(exporter, lambda parts: parts.browser_events.preflight)
    return [
        *(web.post(path, handler) for path, handler in posts.items()),
        *(web.options(path, preflight) for path in posts),
        web.get(config.browser.script, exporter.script.handle),
        web.post(config.sentry.path, _current(exporter, lambda parts: parts.tunnel.handle)),
    ]


def _server_routes(exporter: Exporter) -> list[web.RouteDef]:
    """List what servers reach."""
    return [
        web.post(_EVENTS, _current(exporter, lambda parts: parts.server_events.handle)),
        *_probes(exporter),
    ]


def _probes(exporter: Exporter) -> list[web.RouteDef]:
    return [web.get("/-/healthy", _healthy), web.get("/-/ready", _ready(exporter))]


async def _moved(_request: web.Request) -> web.Response:
    return problem(404, "several exporters may share this address: scrape the metrics_listen of each")


def _operator_routes(exporter: Exporter) -> list[web.RouteDef]:
    """List what Prometheus and operators reach."""
    return [
        web.get("/metrics", _guarded(exporter, _current(exporter, lambda parts: parts.scrape.handle))),
        web.get("/", _guarded(exporter, _index(exporter))),
        web.get("/openapi.json", _guarded(exporter, _openapi(exporter))),
        web.post(PATH, exporter.replication.handle),
    ]


def _current(exporter: Exporter, choose: Callable[[Parts], Handler]) -> Handler:
    """Answer with an endpoint of the present parts, even if a reload comes meanwhile."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await choose(exporter.parts)(request)

    return handle


def _guarded(exporter: Exporter, handler: Handler) -> Handler:
    """Answer only users of the --web.config.file, if it has any."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await exporter.parts.auth.refuse(request) or await handler(request)

    return handle


def _index(exporter: Exporter) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        path = exporter.parts.settings.config.browser.script
        text = INDEX.format(version=VERSION, script=path, integrity=exporter.script.integrity)
        return web.Response(text=text, content_type="text/html")

    return handle


def _openapi(exporter: Exporter) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        parts = exporter.parts
        path, decoders = parts.settings.config.browser.path, (parts.server_events.decoder, parts.browser_events.decoder)
        return web.json_response(openapi.document(*decoders, VERSION, path))

    return handle


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="The exporter is running.\n")


def _ready(exporter: Exporter) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        if exporter.is_starting or exporter.draining or exporter.failed.is_set():
            text = "starting" if exporter.is_starting else "stopping"
            return web.Response(text=f"The exporter is {text}.\n", status=503)
        return web.Response(text="The exporter is ready.\n")

    return handle


def _reload(reload: Coalesced[str]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        if is_from_page(request):
            return problem(403, "a page in a browser may not reload the exporter; send the POST from a command line")
        error = await asyncio.shield(reload.ask())
        return problem(500, error) if error else web.Response(text="Reloaded.\n")

    return handle


# The life of the process.


async def serve(exporter: Exporter, listening: Listening, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status: 1 if a loop of the exporter ended."""
    exporter.is_starting = True
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    loop.add_signal_handler(signal.SIGHUP, listening.reload.ask)
    listeners: list[Listener] = []
    loops = {asyncio.ensure_future(work): name for name, work in exporter.loops().items()}
    stopped = asyncio.ensure_future(_wait(stop))
    watchdog = asyncio.ensure_future(feed_watchdog(os.environ))
    try:
        await exporter.catch_up()
        served = applications(exporter, listening)
        inherited = listening.sockets()
        exporter.hands_over = any(inherited) or listening.addresses.reuse_port
        direct = direct_posts(exporter, listening)
        for (address, application), sockets, posts in zip(served, inherited, direct, strict=False):
            connections = Connections(capacity() // len(served), exporter.clock.monotonic)
            shared = listening.addresses.reuse_port and address != listening.addresses.metrics
            listener = Listener(
                application, listening.tls, connections, _SHUTDOWN_TIMEOUT, sockets, posts, reuse_port=shared
            )
            listeners.append(listener)
            await _start(listener, address)
            at = listener.address if sockets else address
            announce(f"exporter listens on {'https' if listening.tls else 'http'}://{at}")
        exporter.is_starting = False
        notify("READY=1", os.environ)
        await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
        return _exit_status({name: task for task, name in loops.items() if task.done()})
    finally:
        # Refuse new requests, finish those under way, then save: nothing that was answered may be missing.
        exporter.draining = True
        await asyncio.gather(*(listener.close() for listener in listeners))
        for task in (*loops, stopped, watchdog):
            task.cancel()
        await asyncio.gather(*loops, stopped, watchdog, return_exceptions=True)
        await exporter.close()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _exit_status(ended: dict[str, asyncio.Future[None]]) -> int:
    """A dead loop is a dead process: log which one it was."""
    for name, task in ended.items():
        log.critical("loop '%s' ended, exiting", name, exc_info=task.exception())
    return 1 if ended else 0


async def _start(listener: Listener, address: str) -> None:
    host, port = listen_address(address)
    try:
        await listener.start(host, port)
    except OSError as error:
        raise SettingsError(f"cannot listen on {address}: {error.strerror or error}") from error
