"""The composition root: the one file that names the real clock and the real randomness."""

import asyncio
import logging
import os
import random
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from process.errors import report_errors
from process.settings import Secret, SettingsError, Source
from receiver.actions import Actions
from receiver.channel_settings import addresses, channel_names, uses_log
from receiver.channels.base import Message
from receiver.config import Config, cells, secret
from receiver.dispatcher import Dispatcher, RetryPolicy
from receiver.escalation import Priority, Step
from receiver.escalator import Escalator
from receiver.link import Grant, sign
from receiver.metrics import Metrics
from receiver.render import render
from receiver.routing import Contact, Person, Routing
from receiver.store.base import Claimed, StoreError
from receiver.store.sqlite import SQLiteStore
from receiver.watchdog import WatchdogLoop
from receiver.webhook import Webhook
from receiver.wiring import build

log = logging.getLogger(__name__)

DRAIN = 25.0  # seconds that what is being sent gets to finish when the process is asked to stop
_SHORTEST_SECRET = 32

Loop = Callable[[], Awaitable[None]]


def now() -> datetime:
    """Read the real clock."""
    return datetime.now(UTC)


def routing(config: Config) -> Routing:
    """Turn the file's words into what the pure core asks."""
    matrix: dict[Priority, tuple[Step, ...]] = {}
    for priority in Priority:
        column = ((float(row.after), cells(row)[priority]) for row in config.escalation_matrix)
        matrix[priority] = tuple(Step(after, roles) for after, roles in column if roles)
    terminal = uses_log(config.channels)
    people = {
        key: Person(
            person.name,
            (
                *_contacts(person.pagerduty, person.slack, person.email, person.contacts),
                *((Contact("log", person.name),) if terminal else ()),
            ),
        )
        for key, person in config.people.items()
    }
    return Routing(
        severities=config.severities,
        unknown_severity=config.unknown_severity,
        matrix=matrix,
        response_times={priority: float(time) for priority, time in config.response_times.items()},
        dwell=float(config.catch_up_dwell),
        roles={role: tuple(names) for role, names in config.roles.items()},
        people=people,
        teams={
            name: _contacts(t.pagerduty, t.slack, ",".join(t.email), t.contacts) for name, t in config.teams.items()
        },
    )


def _contacts(pagerduty: str, slack: str, email: str, contacts: dict[str, str]) -> tuple[Contact, ...]:
    return tuple(Contact(*pair) for pair in addresses(pagerduty, slack, email, contacts).items())


class Receiver:
    """One receiver: its store, channels, loops and web application. ``start``, then ``run``, which ends in ``stop``."""

    def __init__(self, config: Config, source: Source, clock: Callable[[], datetime] = now) -> None:
        self.config, self._source, self._clock = config, source, clock
        self._ready = False
        self._dispatchers: list[Dispatcher] = []
        self._closing: list[Callable[[], None]] = []
        self.secrets: list[Secret] = []  # what no report of an error may carry
        self.policy = routing(config)
        self.store = SQLiteStore(config.database, self._ring)
        self._webhook_token = self._secret(".webhook.token", config.webhook.token, config.webhook.token_file)
        self._api_token = self._secret(".api.token", config.api.token, config.api.token_file)
        self._link_secret = self._secret(".links.secret", config.links.secret, config.links.secret_file)
        if len(self._link_secret.reveal()) < _SHORTEST_SECRET:
            raise source.error(".links.secret", f"is short; use at least {_SHORTEST_SECRET} random characters")
        self.metrics = Metrics(channel_names(config.channels))

    def application(self) -> web.Application:
        """Build the web application; it serves nothing useful before ``start``."""
        app = web.Application(client_max_size=1024 * 1024)
        webhook = Webhook(self.store, self.policy, self._webhook_token, self.metrics, self._clock)
        actions = Actions(
            self.store, self.policy, token=self._api_token, link_secret=self._link_secret, clock=self._clock
        )
        app.add_routes([*webhook.routes(), *actions.routes()])
        app.add_routes([web.get("/-/healthy", self._healthy), web.get("/-/ready", self._readiness)])
        app.add_routes([web.get("/metrics", self._exposition)])
        return app

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Open the store and prepare the channels; StoreError or SettingsError says what is in the way."""
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
                retry=RetryPolicy(float(retry.first_delay), float(retry.longest_delay), float(retry.give_up_after)),
                render=self._render,
                metrics=self.metrics,
                clock=self._clock,
                jitter=random.random,
            )
            self._dispatchers.append(dispatcher)

    async def run(self, stop: asyncio.Event) -> bool:
        """Run the loops until ``stop``; False when a loop died, for a dead loop is a dead process."""
        escalator = Escalator(self.store, self.policy, self._clock)
        watchdog = WatchdogLoop(self.store, self.policy, self._clock, float(self.config.watchdog.interval))
        clocks = [asyncio.ensure_future(escalator.run()), asyncio.ensure_future(watchdog.run())]
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
        for close in self._closing:
            close()
        await self.store.close()

    def link(self, incident_id: int, person: str, made_at: datetime) -> str:
        """Make the URL by which a person answers an incident."""
        expires = int((made_at + timedelta(seconds=float(self.config.links.valid_for))).timestamp())
        token = sign(Grant(incident_id, person, expires), self._link_secret.reveal())
        return f"{self.config.external_url.rstrip('/')}/answer/{token}"

    def _render(self, claimed: Claimed) -> Message:
        return render(
            claimed.notification,
            claimed.incident,
            claimed.timeline,
            delivery_id=str(claimed.id),
            thread=claimed.thread,
            link=self.link(claimed.incident.id, claimed.notification.target.person, claimed.created_at),
            now=self._clock(),
        )

    def _ring(self) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.ring()

    def _secret(self, at: str, value: Secret | None, file: Path | None) -> Secret:
        found = secret(self._source, at, value, file)
        self.secrets.append(found)
        return found

    async def _healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="The receiver is running.\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        if self._ready:
            return web.Response(text="The receiver is ready.\n")
        return web.Response(text="The receiver is starting or stopping.\n", status=503)

    async def _exposition(self, request: web.Request) -> web.StreamResponse:
        try:
            self.metrics.show(await self.store.backlog(), self._clock())
        except StoreError:
            log.exception("the store does not answer a scrape")
            return web.Response(text="the store does not answer\n", status=503)
        return await make_aiohttp_handler(self.metrics.registry)(request)


async def serve(config: Config, source: Source, listen: str, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; gives the process's exit status."""
    receiver = Receiver(config, source)
    report_errors("receiver", os.environ, lambda: receiver.secrets)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
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
