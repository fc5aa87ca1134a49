"""Takes the JSON webhooks of other tools: what is answered 200 is on disk, as with Alertmanager's."""

from collections.abc import Callable, Mapping
from datetime import datetime

from aiohttp import web

from process.settings import Secret
from process.web import problem, read_body, require_bearer
from receiver.config.generic import GenericWebhook
from receiver.incident.event import AlertsReceived
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import Store
from receiver.web.alertmanager_webhook import answering
from receiver.web.generic_payload import parse, source

LIMIT = 256 * 1024


class GenericWebhooks:
    """The endpoint /webhook/generic/{name}; ``webhooks`` gives those that the file names now."""

    def __init__(
        self,
        store: Store,
        current: Current,
        token: Secret,
        metrics: Metrics,
        clock: Callable[[], datetime],
        *,
        webhooks: Callable[[], Mapping[str, GenericWebhook]],
    ) -> None:
        self._store, self._current, self._token = store, current, token
        self._metrics, self._clock, self._webhooks = metrics, clock, webhooks

    def application(self) -> web.Application:
        """Build what is served below /webhook/generic."""
        hint = "send the receiver's webhook.token"
        app = web.Application(middlewares=[answering(self._metrics, self._label), require_bearer(self._token, hint)])
        app.add_routes([web.post("/{name}", self.take)])
        return app

    async def take(self, request: web.Request) -> web.Response:
        """POST /webhook/generic/{name}: 200 after the commit; 400 names the mapping that finds nothing usable."""
        name, now = request.match_info["name"], self._clock()
        webhook = self._webhooks().get(name)
        if webhook is None:
            return problem(404, "unknown name; add it to `generic_webhooks` in receiver.yml")
        group = parse(name, webhook, await read_body(request, LIMIT), now)
        incident = await self._store.update(AlertsReceived(group), self._current.routing, now)
        if incident is None:
            return web.json_response({"incident": None})
        return web.json_response({"incident": incident.id, "state": incident.state, "priority": incident.priority})

    def _label(self, request: web.Request) -> str:
        name = request.match_info.get("name", "")
        return source(name) if name in self._webhooks() else ""
