"""Takes Alertmanager's webhooks: what is answered 200 is on the disk.

The codes are chosen for Alertmanager, which retries 5xx within the flush and takes any 4xx, 429 included, as final
until the next group_interval (github.com/prometheus/alertmanager/pull/2145): overload and a store that cannot
commit are 503, and only what can never be taken is 4xx.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from aiohttp import web

from process.settings import Secret
from process.web import BodyError, bearer_matches, problem, read_body, refused
from receiver.incident.event import AlertsReceived
from receiver.incident.machine import transition
from receiver.incident.policy import Policy
from receiver.metrics import Metrics
from receiver.store.base import Store, StoreError
from receiver.web.alertmanager_payload import PayloadError, parse

log = logging.getLogger(__name__)

# A storm of alerts must arrive: a 413 would be final for Alertmanager, and its payloads have no bound of their own.
LIMIT = 32 * 1024 * 1024


class Webhook:
    """The two endpoints of Alertmanager; ``blind`` says whether its Watchdog is overdue."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        token: Secret,
        metrics: Metrics,
        clock: Callable[[], datetime],
        *,
        blind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._policy, self._token, self._blind = store, policy, token, blind
        self._metrics, self._clock = metrics, clock

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [
            web.post("/webhook/alertmanager", self.alertmanager),
            web.post("/webhook/watchdog", self.watchdog),
        ]

    async def alertmanager(self, request: web.Request) -> web.Response:
        """POST /webhook/alertmanager: 200 after the commit, 400, 401, 413 or 415 final, 503 to be sent again."""
        return await self._counted(request, self._take)

    async def watchdog(self, request: web.Request) -> web.Response:
        """POST /webhook/watchdog: the beat that says that Prometheus and Alertmanager are alive."""
        return await self._counted(request, self._beat)

    async def _counted(self, request: web.Request, work: Callable[[bytes], Awaitable[web.Response]]) -> web.Response:
        response = await self._checked(request, work)
        self._metrics.webhooks.labels(str(response.status)).inc()
        if response.status >= web.HTTPBadRequest.status_code:
            log.warning("%s answered %d: %s", request.path, response.status, response.text)
        return response

    async def _checked(self, request: web.Request, work: Callable[[bytes], Awaitable[web.Response]]) -> web.Response:
        if not bearer_matches(request, self._token):
            fix = "set http_config.authorization.credentials_file in alertmanager.yml to the receiver's webhook.token"
            return problem(401, f"Authorization: the bearer token is missing or wrong; {fix}")
        try:
            return await work(await read_body(request, LIMIT))
        except BodyError as error:
            return refused(error)
        except PayloadError as error:
            return problem(400, str(error))
        except StoreError:
            log.exception("an alert group could not be stored; Alertmanager will send it again")
            return problem(503, "the incident could not be stored; send it again")

    async def _take(self, body: bytes) -> web.Response:
        group, now = parse(body), self._clock()
        event = AlertsReceived(group, blind=self._blind())
        incident = await self._store.update(group, partial(transition, event=event, policy=self._policy, now=now), now)
        if incident is None:
            return web.json_response({"incident": None})
        return web.json_response({"incident": incident.id, "state": incident.state, "priority": incident.priority})

    async def _beat(self, body: bytes) -> web.Response:
        group = parse(body)
        if any(alert.firing for alert in group.alerts):
            await self._store.beat("alertmanager", self._clock())
        return web.json_response({"heard": True})
