"""The endpoints for those who run the receiver: is it alive, is it ready, its metrics, and reload."""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from process.settings import Secret, SettingsError
from process.web import bearer_matches, problem
from process.web_config import WebAccess
from receiver.config.reload import Reloader
from receiver.metrics import Metrics
from receiver.policy.coverage import holders, is_covered, roles
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError, StoreOutageError

log = logging.getLogger(__name__)


class Admin:
    """See the routes; ``ready`` says whether the loops run."""

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        store: Store,
        current: Current,
        metrics: Metrics,
        clock: Callable[[], datetime],
        *,
        ready: Callable[[], bool],
        token: Secret,
        reloader: Reloader,
        look: Callable[[], Awaitable[None]],
        access: WebAccess | None = None,
    ) -> None:
        self._access = access or WebAccess(None)
        self._store, self._current, self._metrics, self._clock = store, current, metrics, clock
        self._is_ready, self._token, self._reloader = ready, token, reloader
        self._look = look  # whether the clock was set: every age is measured by it
        self._exposition = make_aiohttp_handler(metrics.registry)

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [
            web.get("/-/healthy", self.healthy),
            web.get("/-/ready", self.ready),
            web.post("/-/reload", self.reload),
            web.get("/metrics", self.metrics),
        ]

    async def healthy(self, _request: web.Request) -> web.Response:
        """GET /-/healthy: 200 while the process runs."""
        return web.Response(text="Healthy.\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """GET /-/ready: 200 while webhooks are taken and pages go out."""
        outage = self._store.outage
        if not self._is_ready():
            return web.Response(text="Starting or stopping.\n", status=503)
        if outage is not None:
            return web.Response(text=f"The database cannot be written: {outage.value}.\n", status=503)
        return web.Response(text="Ready.\n")

    async def reload(self, request: web.Request) -> web.Response:
        """POST /-/reload with the API's token: 200 and what needs a restart, or 400 with what is wrong in the file."""
        if not bearer_matches(request, self._token):
            return problem(401, "Authorization: the bearer token is missing or wrong; it is the api.token")
        try:
            self._reloader.reload()
        except SettingsError as error:
            return problem(400, str(error))
        stale = ", ".join(self._reloader.stale)
        return web.Response(text=f"Config reloaded.{f' Restart for the new contents of {stale}.' if stale else ''}\n")

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """GET /metrics, for the users of the --web.config.file if it has any: titles and owners are in it."""
        refused = await self._access.refuse(request)
        if refused is not None:
            return refused
        outage = self._store.outage
        with contextlib.suppress(StoreError):  # what cannot be moved now is moved at the next look
            await self._look()
        now, routing = self._clock(), self._current.routing
        try:
            self._metrics.show(await self._store.backlog(), now)
        except StoreOutageError as error:  # what can be known is shown: above all, that there is an outage
            outage = self._store.outage or outage or error.outage
            self._metrics.show_nothing_stored(now)
        except StoreError:
            log.exception("cannot read the store for a scrape")
            return web.Response(text="the store does not answer\n", status=503)
        self._metrics.show_store(outage)
        covered = [role for role in roles(routing) if is_covered(routing, role, now)]
        self._metrics.show_cover({role: holders(routing, role, now) for role in roles(routing)}, covered)
        return await self._exposition(request)
