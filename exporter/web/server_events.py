"""Takes events from servers: POST /api/events, with a token, on disk before the answer."""

import math
from collections.abc import Callable

from aiohttp import web

from exporter.events import cloudevents
from exporter.events.decode import DecodeError, Decoder, Reason
from exporter.persistence.journal import Journal, JournalError
from exporter.self_metrics import Metrics
from exporter.web.accept import Acceptance, Context, Intake
from process.settings import Secret
from process.web import BodyError, bearer_matches, problem, read_body, refused

LARGEST = 1024 * 1024  # bytes of a body, after decompression
MOST = 1000  # events in one request
WAITING = 2000  # requests that may wait for the disk at once
_SOURCE = "events"
_NONE = b'{"accepted":0,"duplicates":0,'
BODY_REASONS = {400: Reason.BAD_ENCODING, 413: Reason.TOO_LARGE, 415: Reason.BAD_ENCODING}


class Ingest:
    """The private endpoint. ``fail`` is called when the disk has failed and the process must not go on."""

    def __init__(
        self,
        decoder: Decoder,
        intake: Intake,
        metrics: Metrics,
        journal: Journal | None,
        token: Secret | None,
        fail: Callable[[str], None],
    ) -> None:
        self._decoder, self._intake, self._metrics, self._journal = decoder, intake, metrics, journal
        self._token, self._fail = token, fail
        self._waiting = 0

    async def events(self, request: web.Request) -> web.Response:
        """POST /api/events: one event, a list, a batch, or CloudEvents; 202 with what was accepted and what was not."""
        if self._token is None:
            return problem(404, "POST /api/events is not served: set events.token_file in exporter.yml")
        if not bearer_matches(request, self._token):
            self._metrics.rejected(_SOURCE, Reason.AUTH)
            return _unauthorised()
        if self._waiting >= WAITING:
            self._metrics.rejected(_SOURCE, Reason.RATE_LIMITED)
            self._metrics.batch(_SOURCE, "throttled", 0)
            return retry_later(429, "the disk is behind; send the same batch again later", 1)
        self._waiting += 1
        try:
            return await self._take(request)
        finally:
            self._waiting -= 1

    async def _take(self, request: web.Request) -> web.Response:
        try:
            raw = await read_body(request, LARGEST)
            body = cloudevents.body(raw, request.headers, request.content_type)
            batch = self._decoder.decode(body)
            outcome = self._intake.take(batch, Context(_SOURCE), body)
        except BodyError as error:
            self._metrics.rejected(_SOURCE, BODY_REASONS[error.status])
            return refused(error)
        except DecodeError as error:
            self._metrics.rejected(_SOURCE, error.reason)
            return problem(400, error.message, reason=error.reason, field=error.field)
        except JournalError as error:
            self._metrics.rejected(_SOURCE, Reason.STORAGE)
            return retry_later(503, f"{error}; send the same batch again later", 5)
        self._metrics.batch(_SOURCE, outcome_of(outcome), len(raw))
        if self._journal is not None:
            try:
                await self._journal.durable()
            except OSError as error:
                self._fail(f"cannot sync the journal: {error.strerror}")
                return retry_later(503, "the disk has failed; send the same batch again later", 5)
        # A client must not send a batch again of which some events were good: only a wholly bad one is a 400.
        answer = outcome.answer
        wholly_bad = answer.startswith(_NONE) and not answer.endswith(b'"rejected_total":0}')
        status = 400 if wholly_bad else 202
        return web.Response(body=answer, status=status, content_type="application/json")


def outcome_of(outcome: Acceptance) -> str:
    """Name how a batch fared, for the metric."""
    if outcome.known:
        return "duplicate"
    if outcome.rejected:
        return "partial" if outcome.accepted else "rejected"
    return "ok"


def retry_later(status: int, error: str, seconds: float) -> web.Response:
    """Answer 429 or 503 with Retry-After: nothing was counted, and the same batch may be sent again."""
    response = problem(status, error)
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


def _unauthorised() -> web.Response:
    response = problem(401, "Authorization: the bearer token is missing or wrong; it is the events.token")
    response.headers["WWW-Authenticate"] = 'Bearer realm="events"'
    return response
