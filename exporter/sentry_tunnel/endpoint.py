"""Puts the Sentry tunnel behind the limits of the public side; without DSNs it says how to get it."""

from collections.abc import Callable

import aiohttp
from aiohttp import web

from exporter.sentry_tunnel.dsn import TunnelSettings
from exporter.sentry_tunnel.forward import Tunnel, TunnelCounts
from exporter.web.rate_limit import Clients, Limiter
from exporter.web.user_agent import is_bot
from process.web import problem


class Reports:
    """POST of Sentry's envelopes. ``session`` is given once the event loop runs."""

    def __init__(
        self,
        settings: TunnelSettings,
        counts: TunnelCounts,
        clients: Clients,
        limiter: Limiter,
        monotonic: Callable[[], float],
        *,
        drop_bots: bool,
    ) -> None:
        self._settings, self._counts, self._clients = settings, counts, clients
        self._limiter, self._monotonic, self._drop_bots = limiter, monotonic, drop_bots
        self._tunnel: Tunnel | None = None

    async def handle(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        """Forward an envelope, or say why not."""
        if not self._settings.dsns:
            return problem(404, "reports are not taken here: set sentry.dsns in exporter.yml")
        if self._tunnel is None:
            self._tunnel = Tunnel(
                self._settings, session, self._counts, self._address, self._monotonic, self._is_bot, budget=self
            )
        return await self._tunnel.handler(request)

    def wait(self, request: web.Request) -> float:
        """Give the seconds until this client may send again; 0 if it may now."""
        return self._limiter.wait(self._network(request), self._monotonic())

    def take(self, request: web.Request, items: int) -> None:
        """Charge this client."""
        self._limiter.take(self._network(request), items, self._monotonic())

    def _network(self, request: web.Request) -> str:
        return self._clients.network(request.remote or "", request.headers.get("X-Forwarded-For", ""))

    def _address(self, request: web.Request) -> str:
        return self._clients.address(request.remote or "", request.headers.get("X-Forwarded-For", ""))

    def _is_bot(self, user_agent: str) -> bool:
        return self._drop_bots and is_bot(user_agent)
