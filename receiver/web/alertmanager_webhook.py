"""Takes Alertmanager's webhooks: what is answered 200 is on disk.

The codes are chosen for Alertmanager, which retries 5xx within the flush and takes any 4xx, 429 included, as final
until the next group_interval (github.com/prometheus/alertmanager/pull/2145): overload and a store that cannot
commit are 503, and only what can never be taken is 4xx.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from process.settings import Secret
from process.web import BodyError, Handler, behind, problem, read_body, refused, require_bearer
from receiver.incident.event import AlertsReceived
from receiver.incident.model import DEFAULT_SOURCE, Alert, AlertGroup, merged_into, of_source
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.web.alertmanager_payload import Payload, PayloadError, parse

log = logging.getLogger(__name__)

# A storm of alerts must arrive: a 413 would be final for Alertmanager, and its payloads have no bound of their own.
LIMIT = 32 * 1024 * 1024
_LISTED = 5  # dropped alerts in the log line


_ONLY_DEFAULT: Mapping[str, tuple[str, ...]] = {DEFAULT_SOURCE: ()}


async def _always(_alerts: tuple[Alert, ...], _source: str) -> bool:
    return True


def answering(metrics: Metrics, source: Callable[[web.Request], str]) -> Middleware:
    """Make the middleware that turns every error into an answer, and counts and logs each answer.

    400, 413 and 415 are final, 503 is sent again. ``source`` gives the metric's label, "" for what is unknown.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except BodyError as error:
            response = refused(error)
        except PayloadError as error:
            response = problem(400, str(error))
        except StoreError:
            log.exception("cannot store what %s was sent; the sender must send it again", request.path)
            response = problem(503, "cannot store it; send it again")
        metrics.webhooks.labels(source(request), str(response.status)).inc()
        if response.status >= web.HTTPBadRequest.status_code:
            text = response.text if isinstance(response, web.Response) else ""
            log.warning("%s answered %d: %s", request.path, response.status, text)
        return response

    return answer


class AlertmanagerWebhook:
    """The two endpoints of Alertmanager; ``believes`` says whether what a source calls resolved is over.

    ``sources`` gives the receivers that each source merges into one.
    """

    def __init__(
        self,
        store: Store,
        current: Current,
        token: Secret,
        metrics: Metrics,
        clock: Callable[[], datetime],
        *,
        believes: Callable[[tuple[Alert, ...], str], Awaitable[bool]] = _always,
        sources: Mapping[str, tuple[str, ...]] = _ONLY_DEFAULT,
    ) -> None:
        self._store, self._current, self._token, self._believes = store, current, token, believes
        self._sources = sources
        self._metrics, self._clock = metrics, clock

    def application(self) -> web.Application:
        """Build what is served below /webhook."""
        app = web.Application(middlewares=self._middlewares(self._label))
        for path, take in (("/alertmanager", self.alertmanager), ("/watchdog", self.watchdog)):
            app.add_routes([web.post(path, take), web.post(f"{path}/{{source}}", take)])
        return app

    def posts(self, middlewares: Sequence[Middleware]) -> dict[str, Handler]:
        """Give what answers a webhook of each source by its path, without the router, behind ``middlewares`` first."""
        handlers = dict[str, Handler]()
        for source in self._sources:
            inner = self._middlewares(partial(_named, source))
            handlers[f"/webhook/alertmanager/{source}"] = behind([*middlewares, *inner], partial(self._take, source))
        if DEFAULT_SOURCE in self._sources:
            handlers["/webhook/alertmanager"] = handlers[f"/webhook/alertmanager/{DEFAULT_SOURCE}"]
        return handlers

    def _middlewares(self, source: Callable[[web.Request], str]) -> list[Middleware]:
        hint = "set http_config.authorization.credentials_file in alertmanager.yml to the receiver's webhook.token"
        return [answering(self._metrics, source), require_bearer(self._token, hint)]

    def _label(self, request: web.Request) -> str:
        source = _source(request)
        return source if source in self._sources else ""

    async def alertmanager(self, request: web.Request) -> web.Response:
        """POST /webhook/alertmanager: 200 after the commit."""
        source = _source(request)
        return await self._take(source, request) if source in self._sources else self._unknown()

    async def _take(self, source: str, request: web.Request) -> web.Response:
        now = self._clock()
        payload = self._parse(await read_body(request, LIMIT), source, now)
        told: dict[str, object] = {"incident": None}
        for group in self._groups(payload, source):
            event = AlertsReceived(group, blind=not await self._believes(group.alerts, source))
            incident = await self._store.update(event, self._current.routing, now)
            if incident is not None:
                told = {"incident": incident.id, "state": incident.state, "priority": incident.priority}
        told |= {"dropped": len(payload.dropped)} if payload.dropped else {}
        return web.Response(body=msgspec.json.encode(told), content_type="application/json")

    async def watchdog(self, request: web.Request) -> web.Response:
        """POST /webhook/watchdog: the beat that says that Prometheus and Alertmanager are alive."""
        source = _source(request)
        if source not in self._sources:
            return self._unknown()
        payload = self._parse(await read_body(request, LIMIT), source, self._clock())
        if any(alert.firing for group in payload.groups for alert in group.alerts):
            await self._store.beat(source, self._clock())
        return web.json_response({"heard": True})

    def _groups(self, payload: Payload, source: str) -> Iterator[AlertGroup]:
        for group in payload.groups:
            receiver = merged_into(group.receiver, self._sources[source])
            key = receiver + group.key.removeprefix(group.receiver)
            yield of_source(msgspec.structs.replace(group, receiver=receiver, key=key), source)

    def _unknown(self) -> web.Response:
        known = ", ".join(sorted(self._sources))
        return problem(404, f"unknown source (expected {known}); add it to `alertmanagers` in receiver.yml")

    def _parse(self, body: bytes, source: str, now: datetime) -> Payload:
        """Parse, and count and log what had to be dropped of a body that is else taken."""
        payload = parse(body, now)
        if payload.dropped:
            self._metrics.alerts_dropped.labels(source).inc(len(payload.dropped))
            log.warning(
                "dropped %d alerts of a webhook: %s", len(payload.dropped), "; ".join(payload.dropped[:_LISTED])
            )
        return payload


def _named(source: str, _request: web.Request) -> str:
    return source


def _source(request: web.Request) -> str:
    return request.match_info.get("source", DEFAULT_SOURCE)
