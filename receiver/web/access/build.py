"""Puts sign-in, sessions, tokens and roles together by the settings of the console."""

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CollectorRegistry

from process.addresses import is_loopback
from process.client_address import Clients
from process.settings import Secret
from process.web_config import WebAccess
from receiver.config.console import ConsoleSettings, Members
from receiver.policy.current import Current
from receiver.store.access import AccessStore
from receiver.web.access.access_api import AccessApi
from receiver.web.access.authenticate import LOOPBACK, Authenticator
from receiver.web.access.guard import Guard
from receiver.web.access.identity import Roles
from receiver.web.access.oidc_flow import Oidc
from receiver.web.access.oidc_pages import OidcPages
from receiver.web.access.one_time_link import OneTimeLink
from receiver.web.access.passwords import Passwords
from receiver.web.access.session_cookie import Cookies
from receiver.web.access.sign_in import Counted, SignIn, Ways
from receiver.web.access.viewer import Role
from receiver.web.console.layout import Layout


class ConsoleAccess:
    """What the composition root needs of it: ``guard`` for pages and API, ``routes`` to serve, ``link`` to print.

    ``oidc`` makes the provider's side for a redirect URI, if there is one.
    """

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        settings: ConsoleSettings,
        external_url: str,
        store: AccessStore,
        current: Current,
        clock: Callable[[], datetime],
        *,
        token: Secret,
        secret: Secret,
        users: WebAccess,
        oidc: Callable[[str], Oidc | None],
        brand: str,
        layout: Layout,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        url = urlsplit(external_url)
        base = url.path.rstrip("/")
        methods = _methods(settings)
        self.link = OneTimeLink() if settings.enabled and not methods else None
        clients = Clients(settings.trusted_proxies)
        roles = Roles(current, self._members, self._rest)
        ways = methods or frozenset({LOOPBACK})
        cookies = Cookies(allows_local=self.link is not None or is_loopback(url.hostname or ""))
        passwords = Passwords(users, clients, clock, secret, cookies) if settings.sign_in.basic else None
        authenticator = Authenticator(
            store,
            roles,
            clock,
            token,
            clients,
            cookies=cookies,
            methods=ways,
            passwords=passwords,
            proxy=settings.sign_in.proxy,
        )
        provider = oidc(f"{external_url.rstrip('/')}/sign-in/oidc/callback")
        ways_shown = Ways(
            layout,
            brand,
            cookies,
            self.link,
            passwords,
            provider.name if provider else "",
            settings.sign_in.proxy is not None,
        )
        self._sign_in = SignIn(
            store,
            authenticator,
            roles,
            clock,
            ways_shown,
            base=base,
            valid_for=timedelta(seconds=float(settings.session_valid_for)),
            counted=Counted(registry),
        )
        self._api = AccessApi(store, roles, clock)
        self._oidc = (
            OidcPages(provider, self._sign_in, roles, clock, secret, base, cookies=cookies, clients=clients)
            if provider
            else None
        )
        origin = f"{url.scheme}://{url.netloc.rpartition('@')[2]}".lower()
        self.address = authenticator.address
        self.guard = Guard(authenticator, {origin}, base, self._sign_in.refuse)

    def use(self, settings: ConsoleSettings) -> None:
        """Take the roles of a file that was read again; the rest of it stays as it was."""
        self._settings = settings

    def routes(self) -> list[web.RouteDef]:
        """List the pages by which people sign in and out."""
        if not self._settings.enabled:
            return []
        guarded = self.guard.pages(self._sign_in.routes_of_viewers(), Role.VIEWER)
        by_provider = self._oidc.routes() if self._oidc else []  # before /sign-in/{token}
        return guarded + self.guard.open_pages([*by_provider, *self._sign_in.routes()])

    def api_routes(self) -> list[web.RouteDef]:
        """List what is served below /api/v1, behind its guard."""
        return self._api.routes()

    def _members(self, role: Role) -> Members:
        roles = self._settings.roles
        return {Role.VIEWER: roles.viewer, Role.RESPONDER: roles.responder, Role.ADMIN: roles.admin}[role]

    def _rest(self) -> tuple[str, str]:
        return self._settings.roles.people, self._settings.roles.others


def _methods(settings: ConsoleSettings) -> frozenset[str]:
    ways = {"basic": settings.sign_in.basic, "oidc": settings.sign_in.oidc, "proxy": settings.sign_in.proxy}
    return frozenset(name for name, set_up in ways.items() if set_up)
