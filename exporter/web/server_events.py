"""Takes events from servers: POST /api/events, with a token; they are on disk before the answer."""

import asyncio
import math
from collections.abc import Callable

import msgspec
from aiohttp import web

from exporter.accept import Acceptor, Result, Sender
from exporter.events import cloudevents
from exporter.events.decode import DecodeError, Decoder, Reason, Schema
from exporter.persistence.journal import Journal, JournalError
from exporter.self_metrics import Metrics
from process.settings import Secret
from process.web import BodyError, bearer_matches, problem, read_body, refused

MAX_BODY = 1024 * 1024  # bytes, after decompression
MAX_EVENTS = 1000  # in one request
MAX_WAITING = 2000  # requests that may wait for the disk at once
_STOOD_STILL = 0.5  # seconds without a request, after which the process may have stood still
_DOUBTFUL = 1.0  # seconds after that in which a sender may be gone
_SOURCE = "events"
_JSON = {"Content-Type": "application/json"}  # cheaper than content_type=, which parses it


class ServerEvents:
    """The private endpoint. ``fail`` is called when the disk has failed and the process must not go on.

    A reload replaces it; ``latest`` gives what counts from then on, also what was still being read.
    """

    def __init__(
        self,
        schema: Schema,
        acceptor: Acceptor,
        metrics: Metrics,
        journal: Journal | None,
        token: Secret | None,
        fail: Callable[[str], None],
        monotonic: Callable[[], float],
        latest: Callable[[], "ServerEvents"],
    ) -> None:
        self.decoder = Decoder(schema.private(), MAX_EVENTS, "ServerBatch")
        self._acceptor, self._metrics, self._journal = acceptor, metrics, journal
        self._token, self._fail, self._latest = token, fail, latest
        self._monotonic, self._asked_at, self._doubtful_until = monotonic, monotonic(), 0.0
        self._waiting = 0

    async def handle(self, request: web.Request) -> web.Response:
        """POST /api/events: one event, a list, a batch, or CloudEvents; 202 with what was accepted and what was not."""
        if self._token is None:
            return problem(404, "POST /api/events is disabled: set events.token_file in exporter.yml")
        if not bearer_matches(request, self._token):
            self._metrics.rejected(_SOURCE, Reason.AUTH)
            return _unauthorised()
        if self._waiting >= MAX_WAITING:
            self._metrics.rejected(_SOURCE, Reason.RATE_LIMITED)
            self._metrics.batch(_SOURCE, "throttled", 0)
            return retry_later(429, "the disk is behind; retry the same batch later", 1)
        self._waiting += 1
        try:
            raw = await read_body(request, MAX_BODY)
            if self._acceptor.has_peers and await self._has_hung_up(request):
                self._metrics.rejected(_SOURCE, Reason.ABANDONED)
                return retry_later(503, "too late", 1)
            return await self._latest().count(request, raw)
        except BodyError as error:
            self._metrics.rejected(_SOURCE, Reason(error.reason))
            return refused(error)
        finally:
            self._waiting -= 1

    async def _has_hung_up(self, request: web.Request) -> bool:
        """Whether the sender went away while this process stood still: another exporter has the batch by now.

        What came meanwhile is read before the end of its connection is, which takes one more turn of the event loop.
        """
        now = self._monotonic()
        if now - self._asked_at > _STOOD_STILL:
            self._doubtful_until = now + _DOUBTFUL
        self._asked_at = now
        if now > self._doubtful_until:
            return False
        await asyncio.sleep(0)
        return request.transport is None or request.transport.is_closing()

    async def count(self, request: web.Request, raw: bytes) -> web.Response:
        """Count the events of a body, and answer once they are on disk."""
        try:
            body = cloudevents.body(raw, request.headers, request.content_type)
            batch = self.decoder.decode(body)
            result = self._acceptor.accept(batch, Sender(_SOURCE), body)
        except DecodeError as error:
            self._metrics.rejected(_SOURCE, error.reason)
            return problem(400, error.message, reason=error.reason, field=error.field)
        except JournalError as error:
            self._metrics.rejected(_SOURCE, Reason.STORAGE)
            return retry_later(503, f"{error}; retry the same batch later", 5)
        self._metrics.batch(_SOURCE, batch_outcome(result), len(raw))
        position = self._acceptor.position
        if self._journal is not None:
            try:
                await self._journal.durable()
            except OSError as error:
                self._fail(f"cannot sync the journal: {error.strerror}")
                return retry_later(503, "the disk failed; retry the same batch later", 5)
        self._acceptor.synced(position)
        # A client must not resend a batch of which some events were counted: 400 is only for a wholly rejected one.
        status = 400 if result.answer.wholly_rejected else 202
        return web.Response(body=msgspec.json.encode(result.answer), status=status, headers=_JSON)


def batch_outcome(result: Result) -> str:
    """Name what became of a batch, for the metric label `outcome`."""
    if result.known:
        return "duplicate"
    if result.answer.rejected_total:
        return "partial" if result.answer.accepted else "rejected"
    return "ok"


def retry_later(status: int, error: str, seconds: float) -> web.Response:
    """Answer 429 or 503 with Retry-After: nothing was counted, so the same batch may be sent again."""
    response = problem(status, error)
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


def _unauthorised() -> web.Response:
    response = problem(401, "missing or wrong bearer token (expected the events.token of exporter.yml)")
    response.headers["WWW-Authenticate"] = 'Bearer realm="events"'
    return response
