"""Takes events over HTTP: the document's three public endpoints, and the private one for servers."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from exporter import browser
from exporter.dedupe import Recent
from exporter.event import Batch, DecodeError, Decoder, Event, Reason
from exporter.metrics import Metrics
from exporter.recorder import Recorder
from exporter.settle import Settling
from process.settings import Secret
from process.web import BodyError, bearer_matches, problem, read_body, refused

PUBLIC, PRIVATE = 64 * 1024, 1024 * 1024  # bytes of a body, after decompression
_REMEMBER = 24 * 3600.0  # seconds that ids of batches and events are known
_IDS = 200_000

_BODY_REASONS = {400: Reason.BAD_ENCODING, 413: Reason.TOO_LARGE, 415: Reason.BAD_ENCODING}


class Ingest:
    """The endpoints; ``monotonic`` gives seconds that never go back."""

    def __init__(  # the composition root hands over every collaborator
        self,
        recorder: Recorder,
        decoder: Decoder,
        metrics: Metrics,
        settling: Settling,
        *,
        token: Secret | None,
        origins: frozenset[str],
        monotonic: Callable[[], float],
    ) -> None:
        self._recorder, self._decoder, self._metrics, self._settling = recorder, decoder, metrics, settling
        self._token, self._origins, self._monotonic = token, origins, monotonic
        self._batches = Recent[dict[str, Any]](_REMEMBER, _IDS)
        self._ids = Recent[bool](_REMEMBER, _IDS)

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        public = {"/api/metrics": self.metric, "/api/rum/vitals": self.vital, "/api/rum/events": self.interaction}
        routes = [web.post("/api/events", self.events)]
        for path, handler in public.items():
            routes += [web.post(path, handler), web.options(path, self.preflight)]
        return routes

    async def metric(self, request: web.Request) -> web.Response:
        """POST /api/metrics: a page load, an API call or a database query; 204."""
        return await self._public(request, "metrics", lambda body: self._recorder.record(browser.metric(body)))

    async def vital(self, request: web.Request) -> web.Response:
        """POST /api/rum/vitals: a web vital, counted once it has settled; 204."""

        def take(body: bytes) -> None:
            for event in self._settling.hold(browser.vital(body), self._monotonic()):
                self._recorder.record(event)

        return await self._public(request, "vitals", take)

    async def interaction(self, request: web.Request) -> web.Response:
        """POST /api/rum/events: a click, a form submit or an error; 204."""
        page = request.headers.get("Referer", "")
        return await self._public(
            request, "interactions", lambda body: self._recorder.record(browser.interaction(body, page))
        )

    async def events(self, request: web.Request) -> web.Response:
        """POST /api/events: one event, a list or a batch; 202 with what was accepted and what was not, and why."""
        if self._token is None:
            return problem(404, "POST /api/events is not served: set events.token_file in exporter.yml")
        if not bearer_matches(request, self._token):
            self._reject("events", Reason.AUTH)
            return problem(401, "Authorization: the bearer token is missing or wrong; it is the events.token")
        try:
            batch = self._decoder.decode(await read_body(request, PRIVATE))
        except BodyError as error:
            self._reject("events", _BODY_REASONS[error.status])
            return refused(error)
        except DecodeError as error:
            self._reject("events", error.reason)
            return problem(400, error.message, reason=error.reason, field=error.field)
        known = self._batches.get(batch.id, self._monotonic()) if batch.id else None
        if known is not None:
            self._metrics.duplicates.inc(len(batch.events))
            return web.json_response(known, status=202)
        answer = self._count(batch)
        if batch.id:
            self._batches.put(batch.id, answer, self._monotonic())
        # A client must not send a batch again of which some events were good: only a wholly bad one is a 400.
        return web.json_response(answer, status=202 if batch.events or not batch.errors else 400)

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS of the public endpoints."""
        origin = request.headers.get("Origin", "")
        if not self._allowed(request, origin):
            return problem(403, "this origin may not post here; add it to cors.origins in exporter.yml")
        headers = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "content-type"}
        return web.Response(status=204, headers={**headers, **_cors(origin), "Access-Control-Max-Age": "7200"})

    async def _public(self, request: web.Request, source: str, take: Callable[[bytes], None]) -> web.Response:
        origin = request.headers.get("Origin", "")
        if origin and not self._allowed(request, origin):
            self._reject(source, Reason.ORIGIN)
            return problem(403, "this origin may not post here; add it to cors.origins in exporter.yml")
        headers = _cors(origin) if origin else {}
        try:
            take(await read_body(request, PUBLIC))
        except BodyError as error:
            self._reject(source, _BODY_REASONS[error.status])
            return refused(error)
        except DecodeError as error:
            self._reject(source, error.reason)
            return problem(400, error.message, reason=error.reason, field=error.field)
        return web.Response(status=204, headers=headers)

    def _count(self, batch: Batch) -> dict[str, Any]:
        duplicates = 0
        for _, event in batch.events:
            if self._is_known(event):
                duplicates += 1
            else:
                self._recorder.record(event)
        self._metrics.duplicates.inc(duplicates)
        for _, error in batch.errors:
            self._reject("events", error.reason)
        rejected = [
            {"index": index, "reason": error.reason, "field": error.field, "message": error.message}
            for index, error in batch.errors
        ]
        return {"accepted": len(batch.events) - duplicates, "duplicates": duplicates, "rejected": rejected}

    def _is_known(self, event: Event) -> bool:
        if not event.id:
            return False
        now = self._monotonic()
        if self._ids.get(event.id, now):
            return True
        self._ids.put(event.id, True, now)  # noqa: FBT003  # the value that is remembered
        return False

    def _allowed(self, request: web.Request, origin: str) -> bool:
        return origin in self._origins or origin.partition("://")[2] == request.host

    def _reject(self, source: str, reason: Reason) -> None:
        self._metrics.rejected.labels(source, reason.value).inc()


def _cors(origin: str) -> dict[str, str]:
    """A beacon is sent with credentials, for which an answer must name its very origin."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
