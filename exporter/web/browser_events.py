"""Takes events from browsers: our client's batches and what the document's two classes send. Best effort: 204.

The cheapest checks come first: origin, consent, rate; only then is the body read, for bots too, as their events are
counted.
"""

from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

from exporter.accept import Acceptor, Sender
from exporter.events import legacy_browser
from exporter.events.decode import Batch, Client, DecodeError, Decoder, Reason, Schema
from exporter.persistence.journal import JournalError
from exporter.self_metrics import Metrics
from exporter.web.origin import Origins
from exporter.web.rate_limit import Limiter
from exporter.web.server_events import batch_outcome, retry_later
from exporter.web.user_agent import device, is_bot
from process.client_address import Clients, forwarded
from process.web import BodyError, problem, read_body, refused

MAX_BODY = 64 * 1024  # bytes; the fetch standard allows no larger body to outlive its page (keepalive, sendBeacon)
MAX_EVENTS = 100  # in one request
_OWN = Origins(())  # only the exporter's own

Decode = Callable[["BrowserEvents", bytes, web.Request], Batch]


class Policy(NamedTuple):
    """Who may post and what, and whether bots and Global Privacy Control are honoured."""

    origins: Origins
    require_origin: bool
    drop_bots: bool
    honour_gpc: bool
    max_sample: int  # how many page views one may stand for
    refuse: frozenset[str]  # types of events that browsers may not send


class BrowserEvents:
    """The public endpoints. A reload replaces them; ``latest`` gives what counts from then on."""

    def __init__(
        self,
        schema: Schema,
        acceptor: Acceptor,
        metrics: Metrics,
        limiter: Limiter,
        clients: Clients,
        policy: Policy,
        monotonic: Callable[[], float],
        latest: Callable[[], "BrowserEvents"],
    ) -> None:
        self._schema, self._acceptor, self._metrics = schema, acceptor, metrics
        self._limiter, self._clients, self._policy, self._monotonic = limiter, clients, policy, monotonic
        self._latest, self.refuse = latest, policy.refuse
        types = {name: kind for name, kind in schema.public().items() if name not in policy.refuse}
        self.decoder = Decoder(types, MAX_EVENTS, "BrowserBatch")
        self._many = {kind for kind in types.values() if "count" in kind.__annotations__["data"].__struct_fields__}

    async def batch(self, request: web.Request) -> web.Response:
        """Take a batch of our browser client."""
        return await self._take(request, "browser", lambda events, body, _request: events.decoder.decode(body))

    async def metric(self, request: web.Request) -> web.Response:
        """POST /api/metrics: a page load, an API call or a database query."""
        return await self._take(
            request,
            "metrics",
            lambda events, body, _request: events.single("metrics", legacy_browser.metric(body, refuse=events.refuse)),
        )

    async def vital(self, request: web.Request) -> web.Response:
        """POST /api/rum/vitals: a web vital, counted once it has settled."""
        return await self._take(
            request, "vitals", lambda events, body, _request: events.single("vitals", legacy_browser.vital(body))
        )

    async def interaction(self, request: web.Request) -> web.Response:
        """POST /api/rum/events: a click, a form submit or an error."""
        return await self._take(
            request,
            "interactions",
            lambda events, body, request: events.single(
                "interactions",
                legacy_browser.interaction(
                    body, request.headers.get("Referer", ""), cross_site=not _same_origin(request)
                ),
            ),
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
        # Of a page that nobody has seen yet, and perhaps nobody will; our client waits, the document's classes do not.
        # https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Purpose
        if "prerender" in request.headers.get("Sec-Purpose", ""):
            self._metrics.rejected(source, Reason.PRERENDER)
            return web.Response(status=204)
        return await self._limited(request, source, decode)

    async def _limited(self, request: web.Request, source: str, decode: Decode) -> web.Response:
        client = self._clients.networks(request.remote or "", forwarded(request.headers))
        wait = self._limiter.wait(client, self._monotonic())
        if wait:
            self._metrics.rejected(source, Reason.RATE_LIMITED)
            self._metrics.batch(source, "throttled", 0)
            return retry_later(429, "rate limit exceeded; retry the same batch later", wait)
        try:
            body = await read_body(request, MAX_BODY)
        except BodyError as error:
            self._metrics.rejected(source, Reason(error.reason))
            return refused(error)
        return self._latest().count(request, client, source, decode, body)

    def count(
        self, request: web.Request, client: tuple[str, ...], source: str, decode: Decode, body: bytes
    ) -> web.Response:
        """Count the events of a body, at the cost of its ``client``, the sender's networks."""
        try:
            batch = decode(self, body, request)
            self._check_sample(batch)
        except DecodeError as error:
            self._metrics.rejected(source, error.reason)
            if error.reason is Reason.NOISE:
                return web.Response(status=204)
            self._metrics.batch(source, "rejected", 0)
            return problem(400, error.message, reason=error.reason, field=error.field)
        self._limiter.take(client, self._cost(batch), self._monotonic())
        return self._accept(request, source, batch, body)

    def _accept(self, request: web.Request, source: str, batch: Batch, body: bytes) -> web.Response:
        if self._policy.drop_bots and (batch.client.automated or is_bot(request.headers.get("User-Agent", ""))):
            self._metrics.bots(len(batch.events))
            return web.Response(status=204)
        sender = Sender(source, device(request.headers))
        try:
            result = self._acceptor.accept(batch, sender, None)
        except JournalError as error:
            self._metrics.rejected(source, Reason.STORAGE)
            return retry_later(503, f"{error}; retry the same batch later", 5)
        self._metrics.batch(source, batch_outcome(result), len(body))
        if result.answer.rejected and not result.answer.accepted:
            return problem(400, result.answer.rejected[0].message)
        return web.Response(status=204)

    def _check_sample(self, batch: Batch) -> None:
        if batch.client.sample > self._policy.max_sample:
            message = f"expected at most {self._policy.max_sample}, the browser.max_sample of exporter.yml"
            raise DecodeError(Reason.VALUE_RANGE, message, "client.sample")

    def _cost(self, batch: Batch) -> int:
        """Return how much a batch will count: who makes one event stand for many pays for all of them."""
        number = len(batch.events)
        if not self._many.isdisjoint(map(type, batch.events)):
            number += sum(event.data.count - 1 for event in batch.events if type(event) in self._many)
        return number * batch.client.sample

    def single(self, source: str, event: legacy_browser.Fields) -> Batch:
        """Make a batch of the one event of the document's two classes; DecodeError if browsers may not send it."""
        legacy_browser.check_allowed(event.type, self.refuse)
        if event.left_out:
            self._metrics.left_out(source, event.left_out)
        made = self._schema.make(event.type, event.id, **event.data)
        return Batch([made], client=Client(session=event.session))

    def _allowed(self, request: web.Request, origin: str) -> bool:
        if not origin:
            return not self._policy.require_origin
        return self._policy.origins.allow(origin, request.host)

    def _forbidden(self, source: str) -> web.Response:
        self._metrics.rejected(source, Reason.ORIGIN)
        return problem(403, "origin not allowed; add it to browser.origins in exporter.yml")


def _same_origin(request: web.Request) -> bool:
    return _OWN.allow(request.headers.get("Origin", ""), request.host)


def _readable(response: web.Response, origin: str) -> web.Response:
    """Let the page read the answer. Beacons carry credentials, so the origin must be named; `*` is not enough."""
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        response.headers["Vary"] = "Origin"
    return response
