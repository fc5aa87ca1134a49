"""Sends the browser to the provider of OpenID Connect, and takes it back."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from aiohttp import web

from process.client_address import Clients, forwarded
from process.settings import Secret
from receiver.web.access import signed_value
from receiver.web.access.attempts import Attempts
from receiver.web.access.guard import local_path
from receiver.web.access.identity import Roles
from receiver.web.access.oidc_flow import Oidc, OidcError, Pending, Reason
from receiver.web.access.session_cookie import Cookies
from receiver.web.access.sign_in import Outcome, SignIn

log = logging.getLogger(__name__)

_COOKIE = "heypeter-oidc"
_PURPOSE = "oidc"
_LASTS = timedelta(minutes=10)
_PATIENCE = 25.0  # seconds for all that the provider is asked
_MOST_USED = 10_000  # that came back in ten minutes
_MOST = 20  # that are asked of it at the same time

_STATUS = {Reason.DENIED: 403, Reason.STALE: 400, Reason.PROVIDER: 502, Reason.INVALID: 403, Reason.UNNAMED: 403}


class OidcPages:
    """See the routes."""

    def __init__(
        self,
        oidc: Oidc,
        sign_in: SignIn,
        roles: Roles,
        clock: Callable[[], datetime],
        secret: Secret,
        base: str,
        *,
        cookies: Cookies,
        clients: Clients,
    ) -> None:
        self._oidc, self._sign_in, self._roles, self._clock = oidc, sign_in, roles, clock
        self._secret, self._base, self._cookies, self._clients = secret, base, cookies, clients
        self._attempts = Attempts()
        self._used: dict[str, datetime] = {}  # by state: until when a copy of the cookie could be used again
        self._room = asyncio.Semaphore(_MOST)

    def routes(self) -> list[web.RouteDef]:
        """List what is open to everybody."""
        return [
            web.get("/sign-in/oidc", self.begin, allow_head=False),
            web.get("/sign-in/oidc/callback", self.finish, allow_head=False),
        ]

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """GET /sign-in/oidc?next=/incidents/7: leads to the provider.

        A link and no form: `form-action 'self'` would forbid what the form leads to.
        """
        back = local_path(request.query.get("next", ""), self._base)
        try:
            async with self._room, asyncio.timeout(_PATIENCE):
                url, pending = await self._oidc.begin(back)
        except (OidcError, TimeoutError) as error:
            return self._failed(request, error, back)
        response = web.Response(status=303, headers={"Location": url})
        kept = signed_value.sign(pending, _PURPOSE, self._secret.reveal(), self._clock() + _LASTS)
        self._cookies.put(request, response, kept, int(_LASTS.total_seconds()), _COOKIE)
        return response

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """GET /sign-in/oidc/callback: where the provider sends the browser back to."""
        text = self._cookies.read(request, _COOKIE)
        pending = signed_value.read(text, Pending, _PURPOSE, self._secret.reveal(), self._clock()) if text else None
        if pending is not None and self._is_used(pending):
            pending = None
        networks = self._clients.networks(request.remote or "", forwarded(request.headers))
        wait = self._attempts.wait("", networks, "", self._clock())
        if wait:  # each try is a request to the provider
            self._sign_in.counted("oidc", Outcome.LIMITED)
            return self._sign_in.page(request, "sign_in_limited", 429, wait=wait)
        try:
            async with self._room, asyncio.timeout(_PATIENCE):
                name, groups = await self._oidc.finish(request.query, pending)
        except (OidcError, TimeoutError) as error:
            self._attempts.failed("", networks, "", self._clock())
            response = self._failed(request, error, pending.back if pending else "")
        else:
            identity = self._roles.identity(name, groups)
            response = await self._sign_in.begin(request, identity, "oidc", pending.back if pending else "")
        self._cookies.drop(request, response, _COOKIE)  # one try
        return response

    def _is_used(self, pending: Pending) -> bool:
        """Say whether this sign-in has come back before; it has by then."""
        now = self._clock()
        self._used = {state: until for state, until in self._used.items() if until > now}
        if pending.state in self._used or len(self._used) >= _MOST_USED:
            return True
        self._used[pending.state] = now + _LASTS
        return False

    def _failed(self, request: web.Request, error: OidcError | TimeoutError, back: str) -> web.StreamResponse:
        reason = error.reason if isinstance(error, OidcError) else Reason.PROVIDER
        log.warning("sign-in by OpenID Connect failed: %s", error if str(error) else "the provider is too slow")
        self._sign_in.counted("oidc", Outcome.FAILED if reason is Reason.PROVIDER else Outcome.REFUSED)
        return self._sign_in.page(request, f"sign_in_oidc_{reason.value}", _STATUS[reason], back=back)
