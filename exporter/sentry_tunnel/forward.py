"""Forwards what browsers report to Sentry, checked, counted and filtered, from an address of our own.

It is the `tunnel` of Sentry's SDK (docs.sentry.io/platforms/javascript/troubleshooting/#using-the-tunnel-option). What
an envelope says is never logged, kept or answered; where it goes is never taken from what it says.
"""

import asyncio
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from exporter.sentry_tunnel.dsn import TunnelSettings, endpoints
from exporter.sentry_tunnel.envelope import Envelope, EnvelopeError, Item, discarded, level, scan
from exporter.sentry_tunnel.rate_limits import TOO_MANY, Backoff
from exporter.web.server_events import retry_later
from process.web import BodyError, problem, read_body, refused

log = logging.getLogger(__name__)

_PAUSE = 5  # seconds for which an SDK holds back when too much is under way here
_COMPLAIN_EVERY = 60.0  # seconds
_SMALL = 4096  # bytes of Sentry's answer, read so that its connection can be used again
# What Sentry knows the browser and the page's site by; cookies, Authorization and all else stay here.
_PASSED_ON = ("User-Agent", "Origin", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform")
_TAKEN = range(200, 300)
_LEARNT_FROM = ("X-Sentry-Rate-Limits", "Retry-After", "Date")


class TunnelCounts(Protocol):
    """Where the tunnel counts."""

    def item(self, item: str, outcome: str, n: int) -> None:
        """Count items of envelopes, by what became of them."""

    def discarded(self, reason: str, n: int) -> None:
        """Count events that the SDK says it gave up."""

    def upstream(self, seconds: float) -> None:
        """Observe the time of Sentry's answer."""


class Budget(Protocol):
    """How much one client may send."""

    def wait(self, request: web.Request) -> float:
        """Give the seconds until this client may send again; 0 if it may now."""

    def take(self, request: web.Request, items: int) -> None:
        """Charge this client."""


class _Answer(NamedTuple):
    status: int  # 0 if there was none
    headers: Mapping[str, str]


class Tunnel:
    """The endpoint; it belongs to one event loop."""

    def __init__(
        self,
        settings: TunnelSettings,
        session: aiohttp.ClientSession,
        counts: TunnelCounts,
        client_ip: Callable[[web.Request], str],
        monotonic: Callable[[], float],
        is_bot: Callable[[str], bool],
        budget: Budget | None = None,
    ) -> None:
        self._settings, self._session, self._counts = settings, session, counts
        self._client_ip, self._monotonic, self._is_bot, self._budget = client_ip, monotonic, is_bot, budget
        # The one way to a URL: what a browser sends is only ever compared with the keys.
        self._endpoints = {dsn: URL(url, encoded=True) for dsn, url in endpoints(settings).items()}
        self._drop_levels = frozenset(settings.drop_levels)
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout)
        self._backoff = Backoff()
        self._in_flight = 0
        self._complained = float("-inf")

    async def handler(self, request: web.Request) -> web.Response:
        """POST of an envelope: 200, 400, 403, 413, 429 or 503, with no more in the body than what went wrong."""
        if self._in_flight >= self._settings.max_in_flight:
            self._counts.item("other", "queue_full", 1)
            return retry_later(503, "too many reports are under way", _PAUSE)
        wait = self._budget.wait(request) if self._budget else 0
        if wait:
            self._counts.item("other", "dropped_budget", 1)
            return retry_later(TOO_MANY, "too many reports from here", wait)
        self._in_flight += 1
        try:
            return await self._read(request)
        finally:
            self._in_flight -= 1

    async def _read(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self._settings.timeout):
                body = await read_body(request, self._settings.max_body)
            envelope = scan(body)
        except BodyError as error:
            self._counts.item("other", "bad_envelope", 1)
            return refused(error)
        except TimeoutError:
            self._counts.item("other", "bad_envelope", 1)
            return refused(BodyError(400, "bad_envelope", "the body did not come in time"))
        except EnvelopeError as error:
            self._counts.item("other", "bad_envelope", 1)
            return problem(400, str(error))
        if self._budget:
            self._budget.take(request, len(envelope.items))
        return await self._judge(request, envelope)

    async def _judge(self, request: web.Request, envelope: Envelope) -> web.Response:
        if envelope.dsn not in self._endpoints:
            self._count(envelope.items or (_NOTHING,), "dsn_denied")
            return problem(403, "this DSN is not one of ours; add it to sentry.dsns in exporter.yml")
        if self._is_bot(request.headers.get("User-Agent", "")):
            self._count(envelope.items, "dropped_bot")
            return web.json_response({})
        self._read_reports(envelope)
        unwanted = _with_dependants(envelope, self._unwanted(envelope))
        self._count(unwanted, "dropped_filter")
        wanted = [item for item in envelope.items if item not in unwanted]
        limited = _with_dependants(envelope, self._limited(envelope, wanted)) - unwanted
        self._count(limited, "upstream_429")
        kept = [item for item in wanted if item not in limited]
        if kept:
            return await self._forward(request, envelope, kept, limited)
        return self._held_back(envelope, limited) if limited else web.json_response({})

    def _read_reports(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.type == "client_report":
                for reason, n in discarded(envelope.payload(item)):
                    self._counts.discarded(reason, n)

    def _unwanted(self, envelope: Envelope) -> set[Item]:
        """Find the events whose level is not wanted: the document's beforeSend, for pages that lack it."""
        events = (item for item in envelope.items if item.type == "event")
        return {item for item in events if self._drop_levels and level(envelope.payload(item)) in self._drop_levels}

    def _limited(self, envelope: Envelope, items: Iterable[Item]) -> set[Item]:
        now = self._monotonic()
        return {item for item in items if self._backoff.remaining(envelope.dsn, item.category, now)}

    def _held_back(self, envelope: Envelope, limited: Iterable[Item]) -> web.Response:
        """Answer as Sentry would have, without asking it."""
        now = self._monotonic()
        wait = max(self._backoff.remaining(envelope.dsn, item.category, now) for item in limited)
        response = retry_later(TOO_MANY, "Sentry takes no more of these for now", wait)
        return _with_limits(response, {}, self._limits(envelope, limited))

    def _limits(self, envelope: Envelope, limited: Iterable[Item]) -> str:
        now = self._monotonic()
        held = {item.category for item in limited if self._backoff.remaining(envelope.dsn, item.category, now)}
        return self._backoff.header(envelope.dsn, held, now) if held else ""

    async def _forward(
        self, request: web.Request, envelope: Envelope, kept: list[Item], limited: set[Item]
    ) -> web.Response:
        answer = await self._send(self._endpoints[envelope.dsn], envelope.only(kept), self._headers(request))
        self._backoff.learn(envelope.dsn, answer.status, answer.headers, self._monotonic())
        if answer.status in _TAKEN:
            self._count(kept, "forwarded")
            response = web.json_response({})
        elif answer.status == TOO_MANY:
            self._count(kept, "upstream_429")
            response = retry_later(TOO_MANY, "Sentry takes no more of these for now", 60)
        else:
            self._count(kept, "upstream_error")
            self._complain(answer.status)
            status = answer.status if answer.status in {400, 413} else 503
            response = problem(status, "Sentry did not take this" if answer.status else "Sentry could not be reached")
        return _with_limits(response, answer.headers, self._limits(envelope, limited))

    async def _send(self, url: URL, body: bytes, headers: dict[str, str]) -> _Answer:
        """Send once; a redirect is an answer like any other, for it could lead anywhere."""
        started = self._monotonic()
        answer = _Answer(0, {})
        # What is thrown once there is an answer is only about its body, which nobody needs.
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._session.post(
                url, data=io.BytesIO(body), headers=headers, allow_redirects=False, timeout=self._timeout
            ) as response:
                answer = _Answer(response.status, _plain(response.headers, _LEARNT_FROM))
                left = _SMALL
                while left > 0 and (chunk := await response.content.read(left)):
                    left -= len(chunk)
        self._counts.upstream(self._monotonic() - started)
        return answer

    def _headers(self, request: web.Request) -> dict[str, str]:
        """Name the visitor's address in both headers that Relay knows; else every event came from this machine."""
        headers = _plain(request.headers, _PASSED_ON)
        headers |= {"Content-Type": "application/x-sentry-envelope", "Accept-Encoding": "identity"}
        address = self._client_ip(request)
        if address:
            headers |= {"X-Forwarded-For": address, "X-Sentry-Forwarded-For": address}
        return headers

    def _count(self, items: Iterable[Item], outcome: str) -> None:
        for label, n in Counter(item.label for item in items).items():
            self._counts.item(label, outcome, n)

    def _complain(self, status: int) -> None:
        now = self._monotonic()
        if now - self._complained >= _COMPLAIN_EVERY:
            self._complained = now
            log.warning("Sentry did not take an envelope: %s", f"HTTP {status}" if status else "no answer")


_NOTHING = Item("other", 0, 0, 0)  # what a denied envelope without items is counted as


def _with_dependants(envelope: Envelope, dropped: set[Item]) -> set[Item]:
    return dropped.union(*(envelope.dependants(item) for item in dropped))


def _with_limits(response: web.Response, theirs: Mapping[str, str], ours: str) -> web.Response:
    """Pass on what Sentry has just said about limits, and what we know of earlier ones."""
    if "Retry-After" in theirs:
        response.headers["Retry-After"] = theirs["Retry-After"]
    limits = ", ".join(filter(None, (theirs.get("X-Sentry-Rate-Limits", ""), ours)))
    if limits:
        response.headers["X-Sentry-Rate-Limits"] = limits
    return response


def _plain(headers: CIMultiDictProxy[str], names: Iterable[str]) -> dict[str, str]:
    """Take some headers, but none with bytes that could not be sent on."""
    found = {name: ", ".join(headers.getall(name, ())) for name in names}
    return {name: value for name, value in found.items() if value and value.isascii() and value.isprintable()}
