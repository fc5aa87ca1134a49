"""Takes the heartbeats of jobs: what is answered 200 is on disk.

GET as well as POST, as other services of this kind take them: healthchecks.io/docs/http_api,
docs.opsgenie.com/docs/heartbeat-api.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from aiohttp import web

from process.settings import Secret
from process.web import problem, require_bearer
from receiver.incident.heartbeat import Job
from receiver.metrics import Metrics
from receiver.store.base import Store
from receiver.web.alertmanager_webhook import answering


class JobHeartbeats:
    """The endpoint /heartbeat/{name}; ``jobs`` gives those that the file names now."""

    def __init__(
        self,
        store: Store,
        token: Secret,
        metrics: Metrics,
        clock: Callable[[], datetime],
        *,
        jobs: Callable[[], Mapping[str, Job]],
    ) -> None:
        self._store, self._token, self._metrics, self._clock, self._jobs = store, token, metrics, clock, jobs

    def application(self) -> web.Application:
        """Build what is served below /heartbeat."""
        hint = "send the receiver's webhook.token"
        app = web.Application(middlewares=[answering(self._metrics, self._label), require_bearer(self._token, hint)])
        app.add_routes([web.post("/{name}", self.take), web.get("/{name}", self.take)])
        return app

    async def take(self, request: web.Request) -> web.Response:
        """POST or GET /heartbeat/{name}: 200 after the commit. A body is not read."""
        name = request.match_info["name"]
        if name not in self._jobs():
            return problem(404, "unknown name; add it to `heartbeats` in receiver.yml")
        await self._store.job_beat(name, self._clock())
        return web.json_response({"heard": True})

    def _label(self, request: web.Request) -> str:
        name = request.match_info.get("name", "")
        return f"heartbeat/{name}" if name in self._jobs() else ""
