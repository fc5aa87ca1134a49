"""The composition root: the one file that names the real clock, the randomness, the store, the channels and the loops.

It reads in the order of a receiver's life: built from its settings, started, served, run, stopped.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from socket import socket
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware

from process import optional
from process.addresses import is_loopback, listen_address
from process.coalescing import Coalesced
from process.errors import report_errors
from process.event_loop import collect_rarely
from process.listener import Connections, Listener, capacity, note_request
from process.optional import MissingExtraError
from process.optional import load as load_optional
from process.service_manager import feed_watchdog, notify
from process.settings import Secret, SettingsError, Source, read_secret, require_secret
from process.web import Handler, answer_malformed, refuse_while
from process.web_config import WebAccess
from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.actions.inbound import Inbound, InboundSetup, nothing
from receiver.actions.silences import Silences
from receiver.channels.base import Channel, Picture
from receiver.channels.declaration import Place, Setup
from receiver.channels.webhook import keys
from receiver.clients.alertmanager import AlertmanagerApi
from receiver.clients.calendar import Feed
from receiver.clients.http_api import Access, open_session
from receiver.clients.prometheus import Prometheus
from receiver.config.build import build_routing, contacts
from receiver.config.calendars import feeds
from receiver.config.channels import Channels
from receiver.config.database import DatabasePassword
from receiver.config.heartbeats import jobs
from receiver.config.load import Config
from receiver.config.priorities import configured
from receiver.config.reload import Reloader
from receiver.config.safety import SHORTEST_SIGNER, unsafe
from receiver.config.sources import AlertmanagerSource, sources
from receiver.evidence.charts import PATIENCE, Charts
from receiver.evidence.deployments import Deployments
from receiver.incident.delivery import Handling
from receiver.incident.model import DEFAULT_SOURCE, Incident, Kind, Priority
from receiver.messages.compose import Links, Messages, reader_of
from receiver.messages.i18n import Reader
from receiver.messages.templating import Failed, Templates
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import Claimed, StoreError
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.store import SQLiteStore
from receiver.web import pagerduty_webhook, slack_actions, twilio_answers
from receiver.web.access.build import ConsoleAccess
from receiver.web.access.erase_api import EraseApi
from receiver.web.access.oidc_flow import Oidc
from receiver.web.admin import Admin
from receiver.web.alertmanager_webhook import AlertmanagerWebhook
from receiver.web.answer_pages import AnswerPages
from receiver.web.api import IncidentApi, view
from receiver.web.charts import ChartRoutes
from receiver.web.console.board import Board
from receiver.web.console.calendar_feed import CalendarFeeds
from receiver.web.console.console import Console
from receiver.web.console.devices import Devices, Pusher
from receiver.web.console.devices import Site as DeviceSite
from receiver.web.console.elsewhere import Elsewhere
from receiver.web.console.layout import Layout
from receiver.web.console.me_page import MePage
from receiver.web.console.silences import SilencePages
from receiver.web.console.status_page import Site
from receiver.web.console.stream import Streams
from receiver.web.duty_api import DutyApi
from receiver.web.evidence import EvidenceRoutes
from receiver.web.generic_webhook import GenericWebhooks
from receiver.web.job_heartbeats import JobHeartbeats
from receiver.web.openapi import OpenApi
from receiver.web.replay_api import Replays
from receiver.web.silences_api import SilencesApi
from receiver.workers import (
    calendar_refresh,
    catch_up,
    cover_notices,
    coverage,
    device_check,
    echo_watch,
    event_webhooks,
    forgetting,
    handover,
    job_heartbeats,
    pagerduty_poll,
    retention,
    same_config,
    silence_watch,
    unserved,
)
from receiver.workers.calendar_refresh import CalendarRefresh
from receiver.workers.catch_up import CatchUp
from receiver.workers.clock_watch import ClockWatch, WatchedClock
from receiver.workers.cover_notices import CoverNotices
from receiver.workers.coverage import Coverage
from receiver.workers.device_check import DeviceCheck
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.echo_watch import EchoWatch
from receiver.workers.escalator import Escalator
from receiver.workers.event_webhooks import EventWebhook, Hook, HookMetrics
from receiver.workers.forgetting import Forgetting
from receiver.workers.handover import HandoverSummaries, Recipients
from receiver.workers.heartbeat import Heartbeat
from receiver.workers.housekeeping import Housekeeping, Round
from receiver.workers.job_heartbeats import HeartbeatLook
from receiver.workers.liveness import Liveness
from receiver.workers.one_of_several import OneOfSeveral
from receiver.workers.reconciler import Reconciler
from receiver.workers.retention import Retention
from receiver.workers.retry import RetryPolicy
from receiver.workers.same_config import SameConfig
from receiver.workers.silence_watch import SilenceWatch
from receiver.workers.stuck import Stuck
from receiver.workers.unserved import NotConfigured, Unserved
from receiver.workers.unsettled import UnsettledOutbox
from receiver.workers.watchdog import Watchdog

log = logging.getLogger(__name__)

DRAIN = 25.0  # seconds that what is being sent gets to finish when the process is asked to stop
_PICTURE = 0.3  # seconds that what is less urgent than a P1 waits for its picture; drawn, it is there in 0.2
_RESTORED_IN = 10.0  # seconds until we serve without the copies of the calendars
_CHECKED_EVERY = 86400.0  # seconds between two looks for damage in the database, which read all of it
_REPORTED_EVERY = 30.0
_DUTY_EVERY = 10.0  # seconds, for what another process of the same database has changed
_STALLED = timedelta(seconds=30)  # without a look at the clocks for so long, we are not healthy

# How answers come in, by the channel whose settings they read; docs/channels.md says how to add one.
INBOUND: dict[str, tuple[Callable[[Any, InboundSetup], Inbound], ...]] = {
    "pagerduty": (pagerduty_webhook.build, pagerduty_poll.build),
    "slack": (slack_actions.build,),
    "sms": (twilio_answers.build_sms,),
    "call": (twilio_answers.build_call,),
}

Loop = Callable[[], Coroutine[Any, Any, None]]
Tasks = dict[asyncio.Future[Any], str]


def now() -> datetime:
    """Read the real clock."""
    return datetime.now(UTC)


def elapsed() -> float:
    """Read the clock that nobody sets, in seconds; it goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


async def serve(
    config: Config,
    source: Source,
    listen: str,
    announce: Callable[[str], None],
    inherited: Sequence[socket] = (),
    access: WebAccess | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; gives the process's exit status. SIGHUP reloads.

    With ``inherited`` sockets it listens on them instead of ``listen``, and hands them over when it stops.
    """
    try:
        host, port = listen_address(listen)
    except ValueError as error:
        raise SettingsError(f"--web.listen-address: {error}") from error
    access = access or WebAccess(None)
    receiver = Receiver(config, source, access=access)
    report_errors("receiver", os.environ, lambda: receiver.secrets)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    loop.add_signal_handler(signal.SIGHUP, Coalesced(partial(_reload, receiver.reloader)).ask)
    async with open_session() as session:
        # 1. The database, the channels and the loops: whatever is wrong with them stops us before anybody connects.
        await receiver.start(session)
        connections = Connections(capacity(), time.monotonic)
        hands_over = bool(inherited)
        application, posts = receiver.application(hands_over=hands_over), receiver.posts(hands_over=hands_over)
        listener = Listener(application, access.tls, connections, shutdown_timeout=10, inherited=inherited, posts=posts)
        try:
            # 2. The endpoints.
            try:
                await listener.start(host, port)
            except OSError as error:
                raise SettingsError(f"cannot listen on {listen}: {error.strerror or error}") from error
            announce(
                f"receiver listens on {'https' if access.tls else 'http'}://{listener.address if inherited else listen}"
            )
            for line in receiver.sign_in_link(f"{'https' if access.tls else 'http'}://{listener.address}"):
                announce(line)
            # 3. The loops, until we are asked to stop; its end sends what is being sent.
            collect_rarely()
            notify("READY=1", os.environ)
            watchdog = asyncio.ensure_future(feed_watchdog(os.environ))
            alive = await receiver.run(stop, listener.hand_over)
            watchdog.cancel()
        finally:
            # 4. No more requests, then no more store: an answer that is being written still needs it.
            await listener.close()
            await receiver.stop()
    return 0 if alive else 1


async def _reload(reloader: Reloader) -> None:
    try:
        reloader.reload()
    except SettingsError:
        return  # it is in the log and in the metric, and nothing has changed


def build_channels(channels: Channels, setup: Callable[[str], Setup]) -> Iterator[tuple[str, Channel]]:
    """Build each channel that the file sets up; SettingsError if a secret is missing."""
    for name, declared, settings in channels.declared():
        yield name, declared.build(settings, setup(name))


def build_hooks(config: Config, source: Source, secrets: list[Secret]) -> Iterator[Hook]:
    """Read what signs each event webhook, and add it to ``secrets``; SettingsError if it is missing or wrong."""
    for name, settings in config.event_webhooks.items():
        at = f".event_webhooks.{name}.secret"
        secret = require_secret(source, at, settings.secret, settings.secret_file, several=True)
        secrets.append(secret)
        try:
            signers = keys(secret.reveal())
        except ValueError as error:
            raise source.error(at, str(error)) from None
        yield Hook(
            name,
            Secret(settings.url),
            signers,
            settings.kinds,
            float(settings.timeout),
            timedelta(seconds=float(settings.skip_after)),
        )


def _load_postgres(config: Config, source: Source) -> ModuleType | None:
    """Load the store of PostgreSQL if it is wanted; SettingsError if its package is missing."""
    if config.postgres is None:
        return None
    try:
        return load_optional("receiver.store.postgres.store", "postgres")
    except MissingExtraError as error:
        raise source.error(".postgres", str(error)) from error


class Receiver:
    """One receiver: its store, channels, loops and web application. ``start``, then ``run``, then ``stop``."""

    def __init__(
        self,
        config: Config,
        source: Source,
        clock: Callable[[], datetime] = now,
        elapsed: Callable[[], float] = elapsed,
        access: WebAccess | None = None,
    ) -> None:
        self._web_access = access or WebAccess(None)
        self._postgres = _load_postgres(config, source)
        own = self._postgres.DatabaseClock(clock, elapsed) if self._postgres else clock
        self._clock = clock = WatchedClock(own, elapsed)
        self.config, self._source, self._elapsed, self._closing = config, source, elapsed, ExitStack()
        self._is_ready, self._is_stopping, self._hooks = False, False, list[EventWebhook]()
        self._dispatchers: dict[str, Dispatcher] = {}
        self._channels: dict[str, Channel] = {}
        self._loops: dict[str, Loop] = {}  # one that fails ends the process
        self._rounds: dict[str, Round] = {}  # one that fails is tried again
        self._inbound: list[Inbound] = []
        self.secrets: list[Secret] = []  # what no report of an error may carry
        self.current = Current(build_routing(config, source), clock())
        self.metrics = Metrics(
            config.channels,
            config.teams,
            sources(config.alertmanager, config.alertmanagers),
            [priority.value for priority in configured(config.escalation_matrix)],
        )
        self._use_senders(config)
        self.reloader = Reloader(
            source.path,
            source,
            self.current,
            self.metrics.config_reloaded,
            self._use_calendars,
            self._use,
            self._web_access,
        )
        held = partial(config.channels.handling, window=timedelta(seconds=float(config.grouping_window)))
        self.store = self._build_store(own, cache(held))  # asked for each notification
        self._watch, self._stuck = (
            ClockWatch(self.store, self.current, clock, elapsed, self.metrics.clock_set),
            Stuck(elapsed, self.metrics.stuck.set),
        )
        self.actions, self.duty = (
            Actions(self.store, self.current, clock, self.metrics.registry, self._stuck.took_nothing),
            Duty(self.store, self.store.duty, self.current, clock, self._stuck.took_nothing),
        )
        self._board = Board(self.store, clock)
        # Positions of open pages are of one process: the next one finds pages of another, and lets them read again.
        self._streams = Streams(self._board, f"{int(clock().timestamp() * 1000):x}")
        self._elsewhere = Elsewhere(self.store, self._board, self._streams, self._wake_hooks)
        self._sources = sources(config.alertmanager, config.alertmanagers)
        pictured = {name for name, (_, one) in self._sources.items() if one.prometheus_url}
        self._layout = Layout(config.site.name, pictured, {name for name, (_, one) in self._sources.items() if one.url})
        self._liveness = {name: Liveness(clock, float(config.watchdog.resend_interval)) for name in self._sources}
        self._watchdog = Watchdog(
            self.store,
            self.current,
            clock,
            elapsed,
            self._watch,
            float(config.watchdog.interval),
            group_interval=float(config.watchdog.group_interval),
            liveness=self._liveness,
            runbooks_url=config.site.runbooks_url,
            careful=self._stuck.careful,
        )
        self._webhook_token = self._secret(".webhook.token", config.webhook.token, config.webhook.token_file)
        self._api_token, self._link_secret = (
            self._secret(".api.token", config.api.token, config.api.token_file),
            self._secret(".links.secret", config.links.secret, config.links.secret_file),
        )
        if len(self._link_secret.reveal()) < SHORTEST_SIGNER:
            raise source.error(".links.secret", f"too short; use at least {SHORTEST_SIGNER} random characters")
        folder = config.templates.dir if config.templates else None
        self._templates = templates = Templates(folder, self._template_failed, config.site.brand)
        url = config.external_url
        self._links = links = Links(url, float(config.links.valid_for), self._link_secret)
        self._messages = Messages(self.current, links, templates, clock, self._picture_of)
        self._handovers = HandoverSummaries(self.store, self.current, clock, self._channels, url, templates)
        self.charts = self._build_charts()
        self._console_access = ConsoleAccess(
            config.console,
            config.external_url,
            self.store.access,
            self.current,
            clock,
            token=self._api_token,
            secret=self._link_secret,
            users=self._web_access,
            oidc=self._oidc,
            layout=self._layout,
            registry=self.metrics.registry,
            brand=config.site.name,
        )

    def _build_store(self, clock: Callable[[], datetime], handling: Callable[[str], Handling]) -> SQLStore:
        settings, file = self.config.postgres, self.config.database
        if settings is None or self._postgres is None:
            file = file or Path("receiver.sqlite3")  # one of both is set: check_database
            return SQLiteStore(file, self._wake_dispatchers, watch=self._saw, handling=handling)
        made: SQLStore = self._postgres.PostgresStore(
            self._postgres.Login(settings.url, DatabasePassword(settings, self._source, self.secrets.append)),
            self._wake_dispatchers,
            clock=clock,
            elapsed=self._elapsed,
            watch=self._saw,
            handling=handling,
            heard=self._heard,
            channels=self.config.channels,
        )
        self._rounds |= {name: Round(*each) for name, each in made.rounds().items()}
        compared = SameConfig(made, lambda: self.reloader.digest)
        self._rounds["same configuration"] = Round(compared.run_once, same_config.PERIOD)
        return made

    def _heard(self, incidents: Collection[int] | None, *, duty: bool) -> None:
        """Another receiver on the same database has changed something; None if nobody knows what."""
        if incidents is None or incidents:
            self._watchdog.doubt()
            self._elsewhere.heard(incidents)
        if duty:
            self._reading = asyncio.ensure_future(self._refresh_duty())

    async def _agree_on_keys(self) -> None:
        """Sign pushes with the key of all receivers that share the database, unless the file names one."""
        settings: Any = self.config.channels.settings.get("push")
        if self._postgres and settings is not None and settings.vapid_key is None:
            push, path = load_optional("receiver.channels.push", "push"), self.config.folder / "vapid.pem"
            try:
                push.take_key(path, await self.store.share(path.name, push.own_key(path)))
            except OSError as error:
                raise self._source.error(".state_dir", f"cannot use {path} ({error.strerror})") from error

    async def _refresh_duty(self) -> None:
        with contextlib.suppress(StoreError):  # it is read every ten seconds as well
            await self.duty.follow()

    def _build_charts(self) -> Charts:
        self._prometheus: dict[str, Prometheus] = {}  # by source
        settings, rasteriser = self.config.charts, None
        self._warm_up: Callable[[], None] = lambda: None
        self._deployments = Deployments(self._prometheus, settings.deployments, self._clock)
        try:
            rasteriser = optional.load("receiver.evidence.png", "charts").PngProcess()
            self._closing.callback(rasteriser.close)
            self._warm_up = rasteriser.warm_up
        except optional.MissingExtraError as error:
            log.info("messages carry no pictures: %s", error)
        return Charts(
            self._prometheus,
            self._clock,
            self._elapsed,
            self.metrics.registry,
            rasteriser=rasteriser,
            deployed=settings.deployments,
            length=timedelta(seconds=float(settings.length)),
        )

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Open the store, build channels and loops; StoreError or SettingsError if that fails."""
        for finding in unsafe(self.config, self._source):
            log.warning("%s", finding.text)
        if self.config.console.sign_in.basic and not self._web_access.has_users:
            log.warning(
                "console.sign_in.basic: the --web.config.file has no basic_auth_users; nobody can sign in by it"
            )
        # The store first: a database that cannot be opened is the commonest reason not to start.
        await self.store.open(self._clock(), self.current.routing.directory.keys_by_name())
        self._links.installation = await self.store.installation()
        if self._postgres:  # its clock is ours from now on
            self._clock.begin_anew()
            self.current.restarted(self._clock())
        await self._watch.begin()
        await self.duty.refresh()
        await self._agree_on_keys()
        setup = partial(self._setup, session)
        for name, channel in build_channels(self.config.channels, setup):
            self._channels[name] = channel
            self._dispatchers[name] = self._dispatcher(name, channel)
            self.store.give_first_pages(name, self._dispatchers[name], self._clock)
        self._add_calendars(session)
        self._add_device_check()
        await self._add_loops(session)
        for name, _, settings in self.config.channels.declared():
            for build in INBOUND.get(name, ()):
                parts = (self.actions, self.store, self.current, self.duty, self.metrics.registry)
                inbound = build(settings, InboundSetup(setup(name), *parts))
                self._inbound.append(inbound)
                self._rounds |= {loop: self._by_one(*round_) for loop, round_ in inbound.loops.items()}
        try:
            async with asyncio.timeout(_RESTORED_IN):
                await self._calendars.restore()
        except TimeoutError:
            log.warning("the copies of the calendars could not be read in %.0f seconds", _RESTORED_IN)

    def posts(self, *, hands_over: bool = False) -> dict[str, Handler]:
        """Give what answers Alertmanager's webhooks without the router; see Listener and ``application``."""
        return self._webhook().posts(self._middlewares(hands_over=hands_over))

    def _webhook(self) -> AlertmanagerWebhook:
        return AlertmanagerWebhook(
            self.store,
            self.current,
            self._webhook_token,
            self.metrics,
            self._clock,
            believes=self._watchdog.believes,
            sources={name: tuple(one.merge_receivers) for name, (_, one) in self._sources.items()},
        )

    def _middlewares(self, *, hands_over: bool) -> list[Middleware]:
        return [note_request, answer_malformed, refuse_while(lambda: self._is_stopping, hands_over=hands_over)]

    def application(self, *, hands_over: bool = False) -> web.Application:
        """Build the web application; call it after ``start``. ``hands_over``: answer until the end, never with 503."""
        app = web.Application(middlewares=self._middlewares(hands_over=hands_over))
        webhook = self._webhook()
        takes = (self.store, self.current, self._webhook_token, self.metrics, self._clock)
        generic = GenericWebhooks(*takes, webhooks=lambda: self._generic)
        heartbeats = JobHeartbeats(self.store, self._webhook_token, self.metrics, self._clock, jobs=lambda: self._jobs)
        admin = Admin(
            self.store,
            self.current,
            self.metrics,
            self._clock,
            ready=lambda: self._is_ready,
            token=self._api_token,
            reloader=self.reloader,
            look=self._watch.look,
            access=self._web_access,
        )
        guard = self._console_access.guard
        charts = ChartRoutes(self.store, self.charts, self.current, self._link_secret, self._clock)
        url = self.config.external_url
        handling = partial(self.config.channels.handling, window=timedelta(seconds=float(self.config.grouping_window)))
        replays = Replays(self.store, self.current, handling, self._clock)
        evidence = EvidenceRoutes(self.store, self.current, self._clock, charts, self._deployments, url)
        console = Console(
            self.store,
            self.actions,
            self.current,
            self._clock,
            layout=self._layout,
            board=self._board,
            streams=self._streams,
            feeds=CalendarFeeds(self._link_secret),
            brand=self.config.site.name,
            handling=self.config.channels.handling,
            duty=self.duty,
            silences=self.store.silences,
            replays=replays,
            registry=self.metrics.registry,
            site=Site(
                tuple(self.config.channels),
                {name: (bool(one.url), bool(one.prometheus_url)) for name, (_, one) in self._sources.items()},
            ),
            deployed=self._deployments.known,
        )
        feeds = CalendarFeeds(self._link_secret)
        me = MePage(self.store.access, self.actions, self.duty, self.current, layout=self._layout, feeds=feeds)
        devices = self._devices()
        silencing = SilencePages(self._silences, self.store, self.current, self._clock, self._layout)
        console_routes = [
            *guard.pages(
                [*silencing.routes(), *console.routes(), *evidence.console(), *devices.routes(), *me.routes()]
            ),
            *guard.open_pages([*console.open_routes(), *devices.open_routes()]),
        ]
        app.on_shutdown.append(self._streams.stop)
        self.store.access.ended = self._streams.ask_again
        # A proxy that serves us below a path of its own takes that path away, or hands it on: both find us.
        for path in dict.fromkeys((urlsplit(self.config.external_url).path.rstrip("/"), "")):
            pages = AnswerPages(
                self.store,
                self.actions,
                self.current,
                self._link_secret,
                float(self.config.links.valid_for),
                layout=self._layout,
                streams=self._streams,
                silences=self.store.silences,
                charts=charts,
                address=self._console_access.address,
            )
            app.add_subapp(f"{path}/webhook/generic", generic.application())
            app.add_subapp(f"{path}/webhook", webhook.application())
            app.add_subapp(f"{path}/heartbeat", heartbeats.application())
            duty = DutyApi(self.duty, self.actions, self.store, view)
            silences = SilencesApi(self._silences, self.store)
            more = [
                *charts.api(),
                *evidence.api(),
                *replays.routes(),
                *self._console_access.api_routes(),
                *duty.routes(),
                *OpenApi().routes(),
                *EraseApi(self.store.erasing, self.current, self._clock).routes(),
                *silences.routes(),
            ]
            api = IncidentApi(self.store, self.actions, guard.api()).application(more)
            app.add_subapp(f"{path}/api/v1", api)
            app.add_subapp(f"{path}/chart", charts.application())
            app.add_subapp(f"{path}/answer", pages.application())
            routes = [
                *(route for one in self._inbound for route in one.routes),
                *admin.routes(),
                *pages.short_routes(),
                *self._console_access.routes(),
            ]
            routes += console_routes if self.config.console.enabled else console.open_routes()
            app.add_routes(web.RouteDef(r.method, f"{path}{r.path}", r.handler, r.kwargs) for r in routes)
        return app

    def _devices(self) -> Devices:
        channel: object = self._channels.get("push")
        config = self.config
        return Devices(
            self.store,
            self.store.push,
            self.store.access,
            self.actions,
            self.current,
            layout=self._layout,
            pusher=channel if isinstance(channel, Pusher) else None,
            site=DeviceSite(config.site.name, config.external_url, self._link_secret, float(config.links.valid_for)),
        )

    def sign_in_link(self, url: str) -> Iterator[str]:
        """Write the link by which whoever runs this signs in, if there is no other way; ``url`` is where we listen."""
        if self._console_access.link is not None:
            here = url if is_loopback(urlsplit(url).hostname or "") else self.config.external_url.rstrip("/")
            yield f"console at {here}{self._console_access.link.path} (this link works once)"

    async def run(self, stop: asyncio.Event, hand_over: Callable[[], None] = lambda: None) -> bool:
        """Run the loops until ``stop``; False if one of them crashed, which ends the process.

        ``hand_over`` is called as soon as it stops, before what is being sent has been sent.
        """
        loops: Tasks = {asyncio.ensure_future(run()): name for name, run in self._loops.items()}
        housekeeping = Housekeeping(self.metrics)
        loops |= {asyncio.ensure_future(housekeeping.run(name, r)): name for name, r in self._rounds.items()}
        senders: Tasks = {
            asyncio.ensure_future(dispatcher.run()): f"dispatcher {name}"
            for name, dispatcher in self._dispatchers.items()
        }
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        self._is_ready = True
        done, _ = await asyncio.wait([*loops, *senders, stopped], return_when=asyncio.FIRST_COMPLETED)
        # 1. Not ready and 503, so that nobody sends us more; or whoever connects waits for the next process.
        self._is_ready, self._is_stopping = False, True
        hand_over()
        # 2. No new steps, and no new claims.
        for task in (*loops, stopped):
            task.cancel()
        for dispatcher in self._dispatchers.values():
            dispatcher.stop()
        # 3. What is being sent is finished. What takes too long stays leased, and goes out again at the next start.
        _, late = await asyncio.wait(senders, timeout=DRAIN) if senders else (None, set())
        for task in late:
            task.cancel()
        await asyncio.gather(*loops, *senders, return_exceptions=True)
        crashed = [task for task in done if task is not stopped and not task.cancelled()]
        for task in crashed:
            error = task.exception()
            log.critical("worker %r crashed, exiting: %r", (loops | senders)[task], error, exc_info=error)
        return not crashed

    async def stop(self) -> None:
        """Close the ways in and the channels, then the store; nothing may be called after it."""
        for inbound in self._inbound:
            await inbound.close()
        await self.charts.close()
        await self._deployments.close()
        self._closing.close()
        await self.store.close()

    def _saw(self, before: Incident, after: Incident) -> None:
        """Look at what has changed as soon as whoever changed it has been answered: no 200 waits for it."""
        asyncio.get_running_loop().call_soon(self._take_in, before, after)

    def _take_in(self, before: Incident, after: Incident) -> None:
        """Count what has changed, tell open pages, and begin the pictures of a new page."""
        self.metrics.watch(before, after)
        self._streams.changed(before, after)
        self._wake_hooks()
        if after.delivery.rounds <= before.delivery.rounds:
            return
        self._deployments.look(after.source)
        told = [one for one in after.delivery.told if self._shows_pictures(one.channel)]
        people = dict.fromkeys(one.person for one in told)
        self.charts.prepare(after, [reader_of(self.current.routing, person) for person in people])

    def _wake_hooks(self) -> None:
        for hook in self._hooks:
            hook.wake()

    def _picture_of(self, claimed: Claimed, reader: Reader) -> Picture | None:
        incident, target = claimed.incident, claimed.notification.target
        if not self.charts.possible(incident):
            return None
        url = self._links.make_chart(incident, target.person, claimed.created_at)
        ready = self.charts.ready(incident, reader)
        if ready is None:
            return Picture(url)
        way = self.config.channels.facts(target.channel).pictures
        public = way == "address" and self.config.charts.public
        return Picture(url, ready[1], ready[0] if way == "inside" else b"", public=public)

    def _shows_pictures(self, channel: str) -> bool:
        way = self.config.channels.facts(channel).pictures
        return way == "inside" or (way == "address" and self.config.charts.public)

    async def _await_picture(self, claimed: Claimed) -> None:
        """Give the picture a moment, where nobody is in a hurry: a P1 goes out as it is, with a link to it."""
        if claimed.priority is not Priority.P1 and claimed.notification.kind in {Kind.PAGE, Kind.REMINDER}:
            reader = reader_of(self.current.routing, claimed.notification.target.person)
            await self.charts.soon(claimed.incident, reader, _PICTURE)

    def _dispatcher(self, name: str, channel: Channel) -> Dispatcher:
        retry, facts = self.config.retry, self.config.channels.facts(name)
        return Dispatcher(
            name,
            channel,
            UnsettledOutbox(self.store),
            current=self.current,
            retry=RetryPolicy(
                first=float(retry.first_delay),
                longest=float(retry.longest_delay),
                give_up=float(retry.give_up_after),
                elsewhere=float(retry.elsewhere_after),
            ),
            render=self._messages.one,
            bundle=self._messages.many if facts.bundles or facts.single_pages else None,
            digest=self._messages.digest if facts.redraws else None,
            umbrella=facts.single_pages > 0,
            host_of=facts.host_of,
            keeps_incidents=facts.keeps_incidents,
            metrics=self.metrics,
            clock=self._clock,
            elapsed=self._elapsed,
            watch=self._watch,
            jitter=random.random,
            before=self._await_picture if self._shows_pictures(name) else None,
            careful=self._stuck.careful,
        )

    def _by_one(
        self, run_once: Callable[[], Awaitable[object]], every: float, rest: Callable[[], Awaitable[None]] = nothing
    ) -> Round:
        """Make what one receiver does for all that share a database."""
        one = OneOfSeveral(self.store, run_once, rest)
        return Round(one.run, every, one.is_due if self._postgres else None)

    def _unserved(self, name: str) -> Dispatcher:
        return self._dispatcher(name, NotConfigured(name))

    async def _add_loops(self, session: aiohttp.ClientSession) -> None:
        """Make every loop beside the dispatchers and those that bring answers in; ``run`` starts them."""
        config, store = self.config, self.store
        self._add_silences()
        escalator = Escalator(store, self.current, self._clock, watch=self._watch, stuck=self._stuck)
        self._loops["escalator"] = escalator.run
        old = Retention(store, self._clock, timedelta(seconds=float(config.retention.keep)), config.retention.archive)
        self._rounds["duty"] = Round(self.duty.follow, _DUTY_EVERY)
        self._rounds["watchdog"] = Round(self._watchdog.run_once, self._watchdog.period)
        jobs_seen = HeartbeatLook(store, self.current, self._clock, self._watch, self.metrics, jobs=lambda: self._jobs)
        self._rounds["job heartbeats"] = self._by_one(jobs_seen.run_once, job_heartbeats.PERIOD, jobs_seen.rest)
        self._rounds["retention"] = self._by_one(old.run_once, retention.PERIOD)
        lengths = (timedelta(seconds=float(one)) for one in (config.retention.audit, config.retention.ended))
        past = Forgetting(store.past, self._clock, *lengths)
        self._rounds["forgetting"] = self._by_one(past.run_once, forgetting.PERIOD)
        self._rounds["database check"] = self._by_one(store.check, _CHECKED_EVERY)
        ended = Unserved(store, self._dispatchers, self._unserved)
        self._rounds["unserved"] = Round(ended.run_once, unserved.PERIOD)
        if config.heartbeat:
            ping = self._secret(".heartbeat.url", config.heartbeat.url, config.heartbeat.url_file)
            heartbeat = Heartbeat(
                ping,
                session,
                lambda: self._clock() - escalator.completed_at < _STALLED and not self._stuck.too_many,
                private_redirects=config.heartbeat.private_redirects,
            )
            self._rounds["heartbeat"] = self._by_one(heartbeat.run_once, float(config.heartbeat.interval))
        now = self._clock()
        down = (min(await store.last_alive() or now, now), now)
        for name, (at, settings) in self._sources.items():
            await self._add_source(name, self._access(at, settings), settings, session, down)
        if self._prometheus:
            self._warm_up()
        await self._add_event_webhooks(session)
        self._use_handovers(config)
        told, read = self._channels, config.channels.read_by_people() - {"call"}  # nobody is rung up for it
        url, templates = config.external_url, self._templates
        notices = CoverNotices(store.duty, self.current, self._clock, told, read, url, templates)
        self._rounds |= {
            "cover notices": self._by_one(notices.run_once, cover_notices.PERIOD),
            "unreadable rows": Round(self._report_unreadable, _REPORTED_EVERY),
            "hand-over": self._by_one(self._handovers.run_once, handover.PERIOD),
        }

    async def _add_source(
        self,
        name: str,
        access: Access,
        settings: AlertmanagerSource,
        session: aiohttp.ClientSession,
        down: tuple[datetime, datetime],
    ) -> None:
        """Make the loops that ask one Alertmanager and its Prometheus."""
        asked: Prometheus | None = None
        of = "" if name == DEFAULT_SOURCE else f" {name}"
        if settings.prometheus_url:
            url, trust = settings.prometheus_url, access.trust
            self._prometheus[name] = Prometheus(session, url, access.headers, PATIENCE, trust=trust)
            asked = Prometheus(session, url, access.headers, trust=trust)
            once = CatchUp(self.store, self.current, asked, down, name, clock=self._clock, elapsed=self._elapsed)
            self._rounds[f"catch-up{of}"] = self._by_one(once.run_once, catch_up.PERIOD)
        if settings.url:
            reconciler = self._reconciler(name, access, settings, session, asked)
            self._rounds[f"reconciler{of}"] = self._by_one(
                reconciler.run_once, float(settings.interval), reconciler.rest
            )
        elif asked is not None:
            self._liveness[name].ask(None, asked)

    async def _report_unreadable(self) -> None:
        self.metrics.show_unreadable(self.store.unreadable.counts())
        self.store.unreadable.report()

    def _add_silences(self) -> None:
        """Make what speaks of silences with the Alertmanagers whose API we compare with."""
        store, url = self.store, self.config.external_url
        self._alertmanagers: dict[str, AlertmanagerApi] = {}  # by source
        self._silences = Silences(store, store.silences, self.actions, self._alertmanagers, external_url=url)
        alertmanagers, careful = self._alertmanagers, self._stuck.careful
        watch = SilenceWatch(store, store.silences, self.current, alertmanagers, self._clock, careful=careful)
        self._rounds["silences"] = self._by_one(watch.run_once, silence_watch.PERIOD)
        echoes = EchoWatch(store, self.current, self._clock, self._alertmanagers)
        self._rounds["echoes"] = self._by_one(echoes.run_once, echo_watch.PERIOD)

    async def _add_event_webhooks(self, session: aiohttp.ClientSession) -> None:
        """Make the loop of each program that is told of changes; SettingsError if its secret is missing or wrong."""
        metrics, installation = HookMetrics(self.metrics.registry), await self.store.installation()
        for hook in build_hooks(self.config, self._source, self.secrets):
            self._hooks.append(
                EventWebhook(
                    hook,
                    self.store.hooks,
                    session,
                    self._clock,
                    metrics,
                    external_url=self.config.external_url,
                    installation=installation,
                    name_of=self.actions.name_of,
                    term=lambda: self.store.term,
                )
            )
            with contextlib.suppress(StoreError):  # a receiver also starts while nothing can be written
                await self._hooks[-1].begin()
            kept = self._hooks[-1]
            self._rounds[f"event webhook {hook.name}"] = self._by_one(kept.run_once, event_webhooks.PERIOD, kept.rest)

    def _add_calendars(self, session: aiohttp.ClientSession) -> None:
        """Make the loops that read calendars and look for gaps on call."""
        monotonic = asyncio.get_running_loop().time
        folder = self.config.folder / "calendars"
        self._calendars = CalendarRefresh(folder, self.current, session, self._clock, self.metrics, monotonic)
        self._coverage = Coverage(self.current, self._clock, self.metrics)
        self._use_calendars(feeds(self.config, self._source))
        self._rounds["calendars"] = Round(self._calendars.run_once, calendar_refresh.PERIOD)
        self._rounds["coverage"] = Round(self._look_for_gaps, coverage.PERIOD)

    def _add_device_check(self) -> None:
        """Make the loop that tests the devices of people; only where there may be any."""
        channel: object = self._channels.get("push")
        if isinstance(channel, Pusher):
            config, rest = self.config, (self.current, self._clock, self.metrics)
            check = DeviceCheck(self.store.push, channel, *rest, url=config.external_url, brand=config.site.name)
            self._rounds["devices"] = self._by_one(check.run_once, device_check.PERIOD, check.rest)

    def _use_calendars(self, named: Iterable[tuple[Feed, float]]) -> None:
        named = list(named)
        self.secrets += [feed.url for feed, _ in named if feed.url is not None]
        self._calendars.use(named)
        self._coverage.say_again()

    def _use(self, config: Config) -> None:
        self._use_senders(config)
        self._use_handovers(config)
        self._console_access.use(config.console)
        self._streams.ask_again()

    def _use_senders(self, config: Config) -> None:
        self._jobs, self._generic = jobs(config.heartbeats), config.generic_webhooks
        self.metrics.expect_requests([f"generic/{name}" for name in self._generic])
        self.metrics.expect_requests([f"heartbeat/{name}" for name in self._jobs])

    def _use_handovers(self, config: Config) -> None:
        named = config.handovers.items()
        self._handovers.use({role: Recipients(tuple(one.channels), contacts(one.named())) for role, one in named})

    async def _look_for_gaps(self) -> None:
        await self._calendars.looked.wait()
        await self._coverage.run_once()

    def _reconciler(
        self,
        name: str,
        access: Access,
        settings: AlertmanagerSource,
        session: aiohttp.ClientSession,
        asked: Prometheus | None,
    ) -> Reconciler:
        self._alertmanagers[name] = api = AlertmanagerApi(settings.url, session, access)
        self._liveness[name].ask(api, asked)
        return Reconciler(
            self.store,
            self.current,
            api,
            self._clock,
            self._elapsed,
            self.metrics,
            receivers=tuple(settings.receivers),
            missed_after=float(settings.missed_after),
            believes=partial(self._watchdog.believes, source=name),
            source=name,
            merged=tuple(settings.merge_receivers),
            careful=self._stuck.careful,
        )

    def _access(self, at: str, settings: AlertmanagerSource) -> Access:
        """Read the credentials for one source; SettingsError if a file cannot be read."""
        headers, basic = dict(settings.headers), settings.basic_auth
        token = read_secret(self._source, f"{at}.token", settings.token, settings.token_file)
        if token:
            self.secrets.append(token)
            headers["Authorization"] = f"Bearer {token.reveal()}"
        if basic:
            password = self._secret(f"{at}.basic_auth.password", basic.password, basic.password_file)
            headers["Authorization"] = aiohttp.encode_basic_auth(basic.username, password.reveal(), "utf-8")
        tls = settings.tls
        if tls.insecure_skip_verify and not tls.cert_file:
            return Access(headers, trust=False)
        try:
            trust = ssl.create_default_context(cafile=tls.ca_file)
            if tls.insecure_skip_verify:
                trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            if tls.cert_file:
                trust.load_cert_chain(tls.cert_file, tls.key_file)
        except (OSError, ssl.SSLError) as error:
            raise self._source.error(f"{at}.tls", f"cannot load the certificates ({error})") from error
        return Access(headers, trust)

    def _oidc(self, redirect_uri: str) -> Oidc | None:
        """Make the side of the provider of OpenID Connect; SettingsError if a package or the secret is missing."""
        settings, at = self.config.console.sign_in.oidc, ".console.sign_in.oidc"
        if settings is None:
            return None
        secret = read_secret(self._source, f"{at}.client_secret", settings.client_secret, settings.client_secret_file)
        if secret is not None:
            self.secrets.append(secret)
        try:
            made: Oidc = load_optional("receiver.web.access.oidc", "oidc").build(
                settings, secret, redirect_uri, self._clock
            )
        except MissingExtraError as error:
            raise self._source.error(at, str(error)) from error
        return made

    def _setup(self, session: aiohttp.ClientSession, name: str) -> Setup:
        place = Place(self._source, name)
        url, folder = self.config.external_url, self.config.folder
        return Setup(place, session, self.secrets, self._closing, url, self.store.push, folder)

    def _wake_dispatchers(self) -> None:
        for dispatcher in self._dispatchers.values():
            dispatcher.wake()

    def _template_failed(self, failed: Failed) -> None:
        log.error("a template failed, the built-in one is used: %s", failed)
        self.metrics.template_failed(failed.name)

    def _secret(self, at: str, value: Secret | None, file: Path | None) -> Secret:
        secret = require_secret(self._source, at, value, file)
        self.secrets.append(secret)
        return secret
