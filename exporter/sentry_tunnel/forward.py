"""Forwards what browsers report to Sentry: checked, counted and filtered.

It is the `tunnel` of Sentry's SDK (docs.sentry.io/platforms/javascript/troubleshooting/#using-the-tunnel-option). The
content of an envelope is never logged, stored or echoed, and it never decides where the envelope is sent.
"""

import io
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from exporter.self_metrics import Metrics
from exporter.sentry_tunnel.dsn import TunnelSettings, endpoints
from exporter.sentry_tunnel.envelope import Envelope, EnvelopeError, Item, discarded, level, scan
from exporter.sentry_tunnel.rate_limits import TOO_MANY_REQUESTS, Backoff
from exporter.web.rate_limit import Limiter
from exporter.web.server_events import retry_later
from process.client_address import Clients, forwarded
from process.web import BodyError, problem, read_body, refused

log = logging.getLogger(__name__)

_RETRY_AFTER = 5  # seconds for an SDK to wait while too many envelopes are under way
_MAX_READING = 16  # bodies of one network that are read at once; a body takes milliseconds, so few have even two
_WARN_EVERY = 60.0  # seconds
_MAX_ANSWER = 4096  # bytes of Sentry's answer that are read, so that its connection can be reused
# What tells Sentry the browser and the page's site; cookies, Authorization and everything else stay here.
_FORWARDED_HEADERS = ("User-Agent", "Origin", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform")
_SUCCESS = range(200, 300)
_LIMIT_HEADERS = ("X-Sentry-Rate-Limits", "Retry-After", "Date")


SESSION = web.AppKey("sentry_session", aiohttp.ClientSession)


async def client_session(app: web.Application) -> AsyncIterator[None]:
    """Give an application the HTTP client for Sentry while it runs; add it to its ``cleanup_ctx``."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        app[SESSION] = session
        yield


class _Answer(NamedTuple):
    status: int  # 0 if there was none
    headers: Mapping[str, str]


class Tunnel:
    """POST of Sentry's envelopes. The application needs ``client_session``."""

    def __init__(
        self,
        settings: TunnelSettings,
        metrics: Metrics,
        clients: Clients,
        limiter: Limiter,
        monotonic: Callable[[], float],
    ) -> None:
        self._settings, self._metrics, self._clients, self._limiter = settings, metrics, clients, limiter
        self._monotonic = monotonic
        # URLs come only from here; what a browser sends is only ever compared with the keys.
        self._endpoints = {dsn: URL(url, encoded=True) for dsn, url in endpoints(settings).items()}
        self._drop_levels = frozenset(settings.drop_levels)
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout)
        self._backoff = Backoff()
        self._in_flight = 0
        self._reading: Counter[str] = Counter()  # bodies that are being read, by network
        self._warned_at = float("-inf")

    async def handle(self, request: web.Request) -> web.Response:
        """Answer 200, 400, 403, 404, 413, 429 or 503; the body says no more than what went wrong."""
        if not self._endpoints:
            return problem(404, "the Sentry tunnel is disabled: set sentry.dsns in exporter.yml")
        if self._in_flight >= self._settings.max_in_flight:
            self._metrics.item("other", "queue_full", 1)
            return retry_later(503, "too many envelopes under way", _RETRY_AFTER)
        networks = self._networks(request)
        wait = self._limiter.wait(networks, self._monotonic())
        if wait or self._reading[networks[-1]] >= _MAX_READING:
            self._metrics.item("other", "dropped_budget", 1)
            return retry_later(TOO_MANY_REQUESTS, "rate limit exceeded", wait or _RETRY_AFTER)
        try:
            envelope = scan(await self._read(request, networks[-1]))
        except BodyError as error:
            self._metrics.item("other", "bad_envelope", 1)
            return refused(error)
        except EnvelopeError as error:
            self._metrics.item("other", "bad_envelope", 1)
            return problem(400, str(error))
        self._limiter.take(networks, len(envelope.items), self._monotonic())
        return await self._filter(request, envelope)

    def _networks(self, request: web.Request) -> tuple[str, ...]:
        return self._clients.networks(request.remote or "", forwarded(request.headers))

    async def _read(self, request: web.Request, network: str) -> bytes:
        """Read the body; while its sender takes its time it holds a place of its network's and of nobody else's."""
        self._reading[network] += 1
        try:
            return await read_body(request, self._settings.max_body, float(self._settings.timeout))
        finally:
            self._reading[network] -= 1
            if not self._reading[network]:
                del self._reading[network]

    async def _filter(self, request: web.Request, envelope: Envelope) -> web.Response:
        if envelope.dsn not in self._endpoints:
            self._count(envelope.items or (_NO_ITEM,), "dsn_denied")
            return problem(403, "unknown DSN; add it to sentry.dsns in exporter.yml")
        self._count_discarded(request, envelope)
        unwanted = _with_dependants(envelope, self._unwanted(envelope))
        self._count(unwanted, "dropped_filter")
        wanted = [item for item in envelope.items if item not in unwanted]
        limited = _with_dependants(envelope, self._limited(envelope, wanted)) - unwanted
        self._count(limited, "upstream_429")
        kept = [item for item in wanted if item not in limited]
        if kept:
            return await self._forward(request, envelope, kept, limited)
        return self._rate_limited(envelope, limited) if limited else web.json_response({})

    def _count_discarded(self, request: web.Request, envelope: Envelope) -> None:
        """Count what client reports say, and charge the sender for it as for so many events."""
        reports = (discarded(envelope.payload(item)) for item in envelope.items if item.type == "client_report")
        entries = [entry for report in reports for entry in report]
        for reason, n in entries:
            self._metrics.discarded(reason, n)
        if entries:
            self._limiter.take(self._networks(request), sum(n for _, n in entries), self._monotonic())

    def _unwanted(self, envelope: Envelope) -> set[Item]:
        """Find the events whose level is dropped, as the document's beforeSend does, for pages without it."""
        events = (item for item in envelope.items if item.type == "event")
        return {item for item in events if self._drop_levels and level(envelope.payload(item)) in self._drop_levels}

    def _limited(self, envelope: Envelope, items: Iterable[Item]) -> set[Item]:
        now = self._monotonic()
        return {item for item in items if self._backoff.remaining(envelope.dsn, item.category, now)}

    def _rate_limited(self, envelope: Envelope, limited: Iterable[Item]) -> web.Response:
        """Answer as Sentry would, without asking it."""
        now = self._monotonic()
        wait = max(self._backoff.remaining(envelope.dsn, item.category, now) for item in limited)
        response = retry_later(TOO_MANY_REQUESTS, "rate limited by Sentry", wait)
        return _with_limits(response, {}, self._limits(envelope, limited))

    def _limits(self, envelope: Envelope, limited: Iterable[Item]) -> str:
        now = self._monotonic()
        categories = {item.category for item in limited if self._backoff.remaining(envelope.dsn, item.category, now)}
        return self._backoff.header(envelope.dsn, categories, now) if categories else ""

    async def _forward(
        self, request: web.Request, envelope: Envelope, kept: list[Item], limited: set[Item]
    ) -> web.Response:
        if self._in_flight >= self._settings.max_in_flight:
            self._count(kept, "queue_full")
            return retry_later(503, "too many envelopes under way", _RETRY_AFTER)
        self._in_flight += 1
        try:
            answer = await self._send(request, self._endpoints[envelope.dsn], envelope.only(kept))
        finally:
            self._in_flight -= 1
        self._backoff.learn(envelope.dsn, answer.status, answer.headers, self._monotonic())
        if answer.status in _SUCCESS:
            self._count(kept, "forwarded")
            response = web.json_response({})
        elif answer.status == TOO_MANY_REQUESTS:
            self._count(kept, "upstream_429")
            response = retry_later(TOO_MANY_REQUESTS, "rate limited by Sentry", 60)
        else:
            self._count(kept, "upstream_error")
            self._warn(answer.status)
            status = answer.status if answer.status in {400, 413} else 503
            response = problem(status, "rejected by Sentry" if answer.status else "cannot reach Sentry")
        return _with_limits(response, answer.headers, self._limits(envelope, limited))

    async def _send(self, request: web.Request, url: URL, body: bytes) -> _Answer:
        """Send once; redirects are not followed, as they could lead anywhere."""
        started = self._monotonic()
        answer = _Answer(0, {})
        # Errors after the status arrived concern only the body, which is not needed.
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with request.app[SESSION].post(
                url,
                data=io.BytesIO(body),
                headers=self._headers(request),
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                answer = _Answer(response.status, _plain(response.headers, _LIMIT_HEADERS))
                left = _MAX_ANSWER
                while left > 0 and (chunk := await response.content.read(left)):
                    left -= len(chunk)
        self._metrics.upstream(self._monotonic() - started)
        return answer

    def _headers(self, request: web.Request) -> dict[str, str]:
        """Pass on the visitor's address in both headers that Relay knows; else all events seem to come from here."""
        headers = _plain(request.headers, _FORWARDED_HEADERS)
        headers |= {"Content-Type": "application/x-sentry-envelope", "Accept-Encoding": "identity"}
        address = self._clients.address(request.remote or "", forwarded(request.headers))
        if address:
            headers |= {"X-Forwarded-For": address, "X-Sentry-Forwarded-For": address}
        return headers

    def _count(self, items: Iterable[Item], outcome: str) -> None:
        for label, n in Counter(item.label for item in items).items():
            self._metrics.item(label, outcome, n)

    def _warn(self, status: int) -> None:
        now = self._monotonic()
        if now - self._warned_at >= _WARN_EVERY:
            self._warned_at = now
            log.warning("envelope rejected by Sentry: %s", f"HTTP {status}" if status else "no answer")


_NO_ITEM = Item("other", 0, 0, 0)  # counted for a denied envelope without items


def _with_dependants(envelope: Envelope, dropped: set[Item]) -> set[Item]:
    return dropped.union(*(envelope.dependants(item) for item in dropped))


def _with_limits(response: web.Response, theirs: Mapping[str, str], ours: str) -> web.Response:
    """Pass on the limits of Sentry's answer, and those still known from earlier ones."""
    if "Retry-After" in theirs:
        response.headers["Retry-After"] = theirs["Retry-After"]
    limits = ", ".join(filter(None, (theirs.get("X-Sentry-Rate-Limits", ""), ours)))
    if limits:
        response.headers["X-Sentry-Rate-Limits"] = limits
    return response


def _plain(headers: CIMultiDictProxy[str], names: Iterable[str]) -> dict[str, str]:
    """Pick headers, leaving out values that cannot be sent on."""
    values = {name: ", ".join(headers.getall(name, ())) for name in names}
    return {name: value for name, value in values.items() if value and value.isascii() and value.isprintable()}
