"""Takes events from browsers: our client's batches and what the document's two classes send. Best effort: 204.

The checks stand in the order of their cost: origin, length, consent, robots, rate, and only then the body is read.
"""

from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

from exporter.events import legacy_browser as browser
from exporter.events.decode import Batch, DecodeError, Decoder, Event, Reason, Schema
from exporter.persistence.journal import JournalError
from exporter.self_metrics import Metrics
from exporter.web.accept import Context, Intake
from exporter.web.rate_limit import Clients, Limiter
from exporter.web.server_events import BODY_REASONS, outcome_of, retry_later
from exporter.web.user_agent import device, is_bot
from process.web import BodyError, problem, read_body, refused

LARGEST = 64 * 1024  # bytes: a browser keeps no larger body alive when its page goes (fetch standard, 64 KiB)
MOST = 100  # events in one request

Decode = Callable[[bytes, web.Request], Batch]


class Policy(NamedTuple):
    """Who may post, and what is done about robots and Global Privacy Control."""

    origins: frozenset[str]
    require_origin: bool
    drop_bots: bool
    honour_gpc: bool


class Public:
    """The public endpoints."""

    def __init__(
        self,
        schema: Schema,
        intake: Intake,
        metrics: Metrics,
        limiter: Limiter,
        clients: Clients,
        policy: Policy,
        monotonic: Callable[[], float],
    ) -> None:
        self._schema, self._intake, self._metrics = schema, intake, metrics
        self._limiter, self._clients, self._policy, self._monotonic = limiter, clients, policy, monotonic
        self._decoder = Decoder(schema.public(), MOST)

    async def batch(self, request: web.Request) -> web.Response:
        """Take a batch of our browser client."""
        return await self._take(request, "browser", lambda body, _request: self._decoder.decode(body))

    async def metric(self, request: web.Request) -> web.Response:
        """POST /api/metrics: a page load, an API call or a database query."""
        return await self._take(request, "metrics", lambda body, _request: self._single(browser.metric(body)))

    async def vital(self, request: web.Request) -> web.Response:
        """POST /api/rum/vitals: a web vital, counted once it has settled."""
        return await self._take(request, "vitals", lambda body, _request: self._single(browser.vital(body)))

    async def interaction(self, request: web.Request) -> web.Response:
        """POST /api/rum/events: a click, a form submit or an error."""
        return await self._take(
            request,
            "interactions",
            lambda body, request: self._single(browser.interaction(body, request.headers.get("Referer", ""))),
        )

    async def preflight(self, request: web.Request) -> web.Response:
        """Answer OPTIONS of the public endpoints; the browser may keep the answer for two hours."""
        origin = request.headers.get("Origin", "")
        if not self._allowed(request, origin):
            return self._forbidden("browser")
        response = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "POST"
        response.headers["Access-Control-Allow-Headers"] = "content-type, content-encoding"
        response.headers["Access-Control-Max-Age"] = "7200"
        return _readable(response, origin)

    async def _take(self, request: web.Request, source: str, decode: Decode) -> web.Response:
        origin = request.headers.get("Origin", "")
        if not self._allowed(request, origin):
            return self._forbidden(source)
        return _readable(await self._checked(request, source, decode), origin)

    async def _checked(self, request: web.Request, source: str, decode: Decode) -> web.Response:
        if self._policy.honour_gpc and request.headers.get("Sec-GPC") == "1":
            self._metrics.rejected(source, Reason.CONSENT)
            return web.Response(status=204)
        if self._policy.drop_bots and is_bot(request.headers.get("User-Agent", "")):
            self._metrics.bots(1)
            return web.Response(status=204)
        return await self._limited(request, source, decode)

    async def _limited(self, request: web.Request, source: str, decode: Decode) -> web.Response:
        client = self._clients.network(request.remote or "", request.headers.get("X-Forwarded-For", ""))
        wait = self._limiter.wait(client, self._monotonic())
        if wait:
            self._metrics.rejected(source, Reason.RATE_LIMITED)
            self._metrics.batch(source, "throttled", 0)
            return retry_later(429, "too many events from here; send the same batch again later", wait)
        try:
            body = await read_body(request, LARGEST)
            batch = decode(body, request)
        except BodyError as error:
            self._metrics.rejected(source, BODY_REASONS[error.status])
            return refused(error)
        except DecodeError as error:
            self._metrics.rejected(source, error.reason)
            self._metrics.batch(source, "rejected", 0)
            return problem(400, error.message, reason=error.reason, field=error.field)
        self._limiter.take(client, len(batch.events), self._monotonic())
        return self._count(request, source, batch, body)

    def _count(self, request: web.Request, source: str, batch: Batch, body: bytes) -> web.Response:
        if self._policy.drop_bots and batch.client.automated:
            self._metrics.bots(len(batch.events))
            return web.Response(status=204)
        context = Context(source, device(request.headers))
        try:
            outcome = self._intake.take(batch, context, body if source == "browser" else None)
        except JournalError as error:
            self._metrics.rejected(source, Reason.STORAGE)
            return retry_later(503, f"{error}; send the same batch again later", 5)
        self._metrics.batch(source, outcome_of(outcome), len(body))
        if outcome.rejected and not outcome.accepted:
            return problem(400, batch.errors[0][1].message if batch.errors else "the times are out of range")
        return web.Response(status=204)

    def _single(self, found: browser.Found) -> Batch:
        return Batch([self._event(found)])

    def _event(self, found: browser.Found) -> Event:
        return self._schema.make(found.type, found.id, **found.data)

    def _allowed(self, request: web.Request, origin: str) -> bool:
        if not origin:
            return not self._policy.require_origin
        return origin in self._policy.origins or origin.partition("://")[2] == request.host

    def _forbidden(self, source: str) -> web.Response:
        self._metrics.rejected(source, Reason.ORIGIN)
        return problem(403, "this origin may not post here; add it to browser.origins in exporter.yml")


def _readable(response: web.Response, origin: str) -> web.Response:
    """Let the page read the answer: a beacon is sent with credentials, for which it must name the very origin."""
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        response.headers["Vary"] = "Origin"
    return response
