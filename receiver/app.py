"""The composition root: the one file that names the real clock and the real randomness."""

import asyncio
import logging
import os
import random
import signal
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from process.errors import report_errors
from process.settings import Secret, SettingsError, Source, read_secret, require_secret
from receiver.actions.answer import Answers
from receiver.clients.alertmanager import AlertmanagerApi
from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import Prometheus
from receiver.config.build import known, routing
from receiver.config.channels import channel_names
from receiver.config.load import Config
from receiver.config.reload import Reloader
from receiver.inbound import build as build_inbound
from receiver.messages.compose import READ_BY_PEOPLE, Links, Messages
from receiver.messages.templating import Templates
from receiver.metrics import Metrics
from receiver.policy.current import Live
from receiver.store.sqlite import SQLiteStore
from receiver.web.admin import Operation
from receiver.web.alertmanager_webhook import Webhook
from receiver.web.api import Actions
from receiver.wiring import build
from receiver.workers.calendar_refresh import CalendarLoop, Feed
from receiver.workers.dispatcher import Dispatcher, RetryPolicy
from receiver.workers.escalator import Escalator
from receiver.workers.heartbeat import Heartbeat
from receiver.workers.reconciler import Reconciler, record_outage
from receiver.workers.retention import Janitor
from receiver.workers.watchdog import WatchdogLoop

log = logging.getLogger(__name__)

DRAIN = 25.0  # seconds that what is being sent gets to finish when the process is asked to stop
_SHORTEST_SECRET = 32
_ASLEEP = timedelta(seconds=30)  # clocks that were not asked for so long are not alive

Loops = list[Coroutine[Any, Any, None]]


def now() -> datetime:
    """Read the real clock."""
    return datetime.now(UTC)


class Receiver:
    """One receiver: its store, channels, loops and web application. ``start``, then ``run``, which ends in ``stop``."""

    def __init__(self, config: Config, source: Source, clock: Callable[[], datetime] = now) -> None:
        self.config, self._source, self._clock = config, source, clock
        self._ready = False
        self._dispatchers: list[Dispatcher] = []
        self._closing: list[Callable[[], None]] = []
        self._loops: Loops = []
        self._ways_in: list[web.RouteDef] = []
        self.secrets: list[Secret] = []  # what no report of an error may carry
        self.policy = Live(routing(config, source), clock())
        self.metrics = Metrics(channel_names(config.channels), config.teams)
        self.reloader = Reloader(source.path, source, self.policy, self.metrics.config_reloaded)
        hold = timedelta(seconds=float(config.grouping_window))
        self.store = SQLiteStore(config.database, self._ring, watch=self.metrics.watch, hold=hold)
        self._watchdog = WatchdogLoop(self.store, self.policy, clock, float(config.watchdog.interval))
        self._asked = clock()  # when the clocks of the incidents were last asked
        self._webhook_token = self._secret(".webhook.token", config.webhook.token, config.webhook.token_file)
        self._api_token = self._secret(".api.token", config.api.token, config.api.token_file)
        self._link_secret = self._secret(".links.secret", config.links.secret, config.links.secret_file)
        if len(self._link_secret.reveal()) < _SHORTEST_SECRET:
            raise source.error(".links.secret", f"is short; use at least {_SHORTEST_SECRET} random characters")
        folder = config.templates.dir if config.templates else None
        templates = Templates(folder, lambda name: self.metrics.template_failures.labels(name).inc())
        links = Links(config.external_url, float(config.links.valid_for), self._link_secret)
        self._messages = Messages(self.policy, links, templates, clock)

    def application(self) -> web.Application:
        """Build the web application; it serves nothing useful before ``start``."""
        app = web.Application(client_max_size=1024 * 1024)
        webhook = Webhook(
            self.store, self.policy, self._webhook_token, self.metrics, self._clock, blind=self._watchdog.blind
        )
        actions = Actions(
            self.store, self.policy, token=self._api_token, link_secret=self._link_secret, clock=self._clock
        )
        operation = Operation(
            self.store,
            self.policy,
            self.metrics,
            self._clock,
            ready=lambda: self._ready,
            token=self._api_token,
            reloader=self.reloader,
        )
        app.add_routes([*webhook.routes(), *actions.routes(), *operation.routes(), *self._ways_in])
        return app

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Open the store and prepare channels and loops; StoreError or SettingsError says what is in the way."""
        await self.store.open(self._clock())
        retry = self.config.retry
        wired = build(self.config.channels, self._source, session, self.secrets, self.config.external_url)
        self._closing += wired.closing
        for name, channel in wired.channels.items():
            dispatcher = Dispatcher(
                name,
                channel,
                self.store,
                policy=self.policy,
                retry=RetryPolicy(
                    first=float(retry.first_delay),
                    longest=float(retry.longest_delay),
                    give_up=float(retry.give_up_after),
                    elsewhere=float(retry.elsewhere_after),
                ),
                render=self._messages.one,
                bundle=self._messages.many if name in READ_BY_PEOPLE else None,
                metrics=self.metrics,
                clock=self._clock,
                jitter=random.random,
            )
            self._dispatchers.append(dispatcher)
        self._loops = await self._prepare(session)
        answers = Answers(self.store, self.policy, self._clock, self.metrics.registry)
        given, live = self.config.channels, self.policy
        inbound = build_inbound(given, self._source, answers, self.store, live, session, self.secrets)
        self._ways_in = inbound.routes
        self._loops += inbound.loops
        self._closing += inbound.closing

    async def _prepare(self, session: aiohttp.ClientSession) -> Loops:
        """Make the loops beside the dispatchers; nothing of them runs yet."""
        config, store = self.config, self.store
        escalator = Escalator(store, self.policy, self._clock, away=self.policy.restarted, done=self._was_asked)
        archive = config.retention.archive
        janitor = Janitor(store, self._clock, timedelta(seconds=float(config.retention.keep)), archive)
        loops: Loops = [escalator.run(), self._watchdog.run(), janitor.run()]
        if config.heartbeat:
            url = self._secret(".heartbeat.url", config.heartbeat.url, config.heartbeat.url_file)
            beat = Heartbeat(url, session, float(config.heartbeat.interval), self._is_alive)
            loops.append(beat.run())
        loops += [loop.run() for loop in self._calendars(session)]
        if config.alertmanager:
            given = config.alertmanager
            token = read_secret(self._source, ".alertmanager.token", given.token, given.token_file)
            self.secrets += [token] if token else []
            reconciler = Reconciler(
                store,
                self.policy,
                AlertmanagerApi(given.url, session, token),
                self._clock,
                self.metrics,
                interval=float(given.interval),
                receivers=tuple(given.receivers),
                missed_after=float(given.missed_after),
                blind=self._watchdog.blind,
            )
            down = (await store.last_alive() or self._clock(), self._clock())
            loops.append(reconciler.run(lambda: self._record(session, given.prometheus_url, down)))
        return loops

    def _calendars(self, session: aiohttp.ClientSession) -> list[CalendarLoop]:
        """Make a loop for each schedule that is read from a calendar; its last copy lies beside the database."""
        found = []
        for name, schedule in self.config.schedules.items():
            given = schedule.calendar
            if given is None:
                continue
            at = f".schedules.{name}.calendar.url"
            url = self._secret(at, given.url, given.url_file) if given.file is None else None
            copy = self.config.database.parent / "calendars" / f"{name}.ics"
            feed = Feed(name, copy, float(given.every), given.file, url)
            loop = CalendarLoop(feed, self.policy, known(self.config), session, self._clock, self.metrics)
            found.append(loop)
        return found

    async def run(self, stop: asyncio.Event) -> bool:
        """Run the loops until ``stop``; False when a loop died, for a dead loop is a dead process."""
        clocks = [asyncio.ensure_future(loop) for loop in self._loops]
        senders = [asyncio.ensure_future(dispatcher.run()) for dispatcher in self._dispatchers]
        stopped = asyncio.ensure_future(stop.wait())
        self._ready = True
        done, _ = await asyncio.wait([*clocks, *senders, stopped], return_when=asyncio.FIRST_COMPLETED)
        # Not ready first, so that nobody sends us more; then no new steps; then what is being sent is finished.
        self._ready = False
        for task in (*clocks, stopped):
            task.cancel()
        for dispatcher in self._dispatchers:
            dispatcher.stop()
        _, late = await asyncio.wait(senders, timeout=DRAIN) if senders else (None, set())
        for task in late:
            task.cancel()  # its rows stay leased, and go out again at the next start
        await asyncio.gather(*clocks, *senders, return_exceptions=True)
        died = [task.exception() for task in done if task is not stopped and not task.cancelled()]
        for error in died:
            log.critical("a loop has died, and the process with it: %r", error, exc_info=error)
        return not died

    async def stop(self) -> None:
        """Close the store; nothing may be called after it."""
        for loop in self._loops:
            loop.close()  # one that was never run; to any other this is nothing
        for close in self._closing:
            close()
        await self.store.close()

    async def _record(self, session: aiohttp.ClientSession, prometheus: str, down: tuple[datetime, datetime]) -> None:
        if not prometheus:
            return
        try:
            count = await record_outage(self.store, self.policy, Prometheus(session, prometheus), down)
        except ApiError as error:
            log.warning("what fired while the receiver was down is not known: %s", error)
        else:
            log.info("%d alerts fired and were over while the receiver was down; they are recorded", count)

    def _was_asked(self, at: datetime) -> None:
        self._asked = at

    def _is_alive(self) -> bool:
        return self._clock() - self._asked < _ASLEEP

    def _ring(self) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.ring()

    def _secret(self, at: str, value: Secret | None, file: Path | None) -> Secret:
        found = require_secret(self._source, at, value, file)
        self.secrets.append(found)
        return found


async def serve(config: Config, source: Source, listen: str, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; gives the process's exit status. SIGHUP reloads."""
    receiver = Receiver(config, source)
    report_errors("receiver", os.environ, lambda: receiver.secrets)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, receiver.reloader)
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise SettingsError(f"--web.listen-address {listen!r}: write HOST:PORT, as 127.0.0.1:9095")
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        runner = web.AppRunner(receiver.application(), access_log=None, shutdown_timeout=10)
        try:
            await runner.setup()
            try:
                await web.TCPSite(runner, host or None, int(port)).start()
            except OSError as error:
                raise SettingsError(f"cannot listen on {listen}: {error.strerror or error}") from error
            announce(f"receiver listens on http://{listen}")
            alive = await receiver.run(stop)
        finally:
            await runner.cleanup()
            await receiver.stop()
    return 0 if alive else 1


def _reload(reloader: Reloader) -> None:
    try:
        reloader.reload()
    except SettingsError:
        return  # it is in the log and in the metric, and nothing has changed
