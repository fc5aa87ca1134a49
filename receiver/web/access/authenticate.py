"""Finds out who makes a request: by a bearer token, by name and password, by what a proxy says, or by a session."""

import contextlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
from aiohttp import web

from process.client_address import Clients, forwarded
from process.listener import note_authenticated
from process.settings import Secret
from process.web_config import Credentials, credentials_of
from receiver.config.console import ProxySettings
from receiver.store.access import AccessStore, Session, Token
from receiver.store.base import StoreError
from receiver.web.access import api_token
from receiver.web.access.identity import Identity, Roles
from receiver.web.access.passwords import Checked, Passwords
from receiver.web.access.session_cookie import Cookies, hashed
from receiver.web.access.viewer import Role, Viewer

_NOTED_EVERY = timedelta(minutes=10)  # when a session or token was last used; each request would be a write
_NOTED = 2000  # sessions and tokens whose last note is remembered
LOOPBACK = "loopback"  # by the link that is printed at the start
API_TOKEN = "api"  # noqa: S105  # the name of whoever uses `api.token`


class Known(msgspec.Struct, frozen=True):
    """Who it is. ``ambient``: the browser sends the credential by itself, also for a page of another site."""

    viewer: Viewer
    ambient: bool
    session: Session | None = None


class Refused(Exception):  # noqa: N818  # not an error of ours
    """A credential is there, and it is wrong; the text says which. ``wait`` is seconds until it may be tried again."""

    def __init__(self, text: str, status: int = 401, wait: float = 0.0) -> None:
        super().__init__(text)
        self.text, self.status, self.wait = text, status, wait


class Authenticator:
    """``methods`` are the ways to sign in that are set up: a session that was made by another one is void."""

    def __init__(  # noqa: PLR0913  # each is a way to know who it is, or what that needs
        self,
        store: AccessStore,
        roles: Roles,
        clock: Callable[[], datetime],
        token: Secret,
        clients: Clients,
        *,
        cookies: Cookies,
        methods: frozenset[str],
        passwords: Passwords | None = None,
        proxy: ProxySettings | None = None,
    ) -> None:
        self._store, self._roles, self._clock = store, roles, clock
        self._token, self._clients, self._methods = token, clients, methods
        self._cookies, self._passwords, self._proxy = cookies, passwords, proxy
        self._proxies = Clients(proxy.addresses if proxy else ())
        self._noted: OrderedDict[tuple[str, int], datetime] = OrderedDict()

    def address(self, request: web.Request) -> str:
        """Give the address that the request came from, as far as it can be believed."""
        return self._clients.address(request.remote or "", forwarded(request.headers))

    async def known(self, request: web.Request) -> Known | None:
        """Say who it is; None for nobody, Refused for a wrong credential, StoreError if it cannot be looked up."""
        known = await self._by_header(request) or self._by_proxy(request) or await self._by_session(request)
        if known is not None:
            note_authenticated()
        return known

    async def _by_header(self, request: web.Request) -> Known | None:
        """Look at Authorization. Basic is somebody else's, as a proxy's before us, if we have no such users."""
        header = request.headers.get("Authorization", "")
        if header[:7].lower() == "bearer ":
            return Known(await self._by_token(header[7:].strip()), ambient=False)
        credentials = credentials_of(header) if self._passwords is not None else None
        return None if credentials is None else Known(await self._by_password(request, credentials), ambient=False)

    async def _by_password(self, request: web.Request, credentials: Credentials) -> Viewer:
        if self._passwords is None:
            raise Refused("there are no users")
        checked, wait = await self._passwords.check(request, credentials)
        if checked is Checked.LIMITED:
            raise Refused(f"too many tries; wait {wait:.0f} s", 429, wait)
        if checked is Checked.WRONG:
            raise Refused("user or password is wrong; they stand in the --web.config.file")
        return self._viewer(self._roles.identity(credentials.user.decode("utf-8", "replace")), "basic")

    def _by_proxy(self, request: web.Request) -> Known | None:
        """Believe the proxy, and nobody else: not even a client whose X-Forwarded-For names the proxy."""
        if self._proxy is None or not self._proxies.trusts(request.remote or ""):
            return None
        names = request.headers.getall(self._proxy.header, [])
        if len(names) != 1 or not names[0].strip():  # a second one is what the client has sent, and which of them?
            return None
        groups = request.headers.get(self._proxy.groups_header, "") if self._proxy.groups_header else ""
        identity = self._roles.identity(names[0].strip(), [group.strip() for group in groups.split(",")])
        return Known(self._viewer(identity, "proxy"), ambient=True)

    def _viewer(self, identity: Identity, via: str) -> Viewer:
        role = self._roles.role(identity)
        if role is None:
            raise Refused("console.roles gives you no role", 403)
        return Viewer(identity.person, self._roles.shown(identity), role, via)

    async def _by_token(self, text: str) -> Viewer:
        if hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token.reveal().encode()):
            return Viewer("", API_TOKEN, Role.RESPONDER, "token")
        token = await self._store.token(hashed(text)) if text.startswith(api_token.PREFIX) else None
        now = self._clock()
        if token is None or not api_token.works(token, now):
            raise Refused(
                "Authorization: the bearer token is missing or wrong; use one of `heypeter-receiver token` or api.token"
            )
        role = self._role(token)
        if role is None:
            raise Refused("Authorization: the owner of the token has left")
        await self._note("token", token.id, now, token.last_used, "")
        return Viewer(token.owner if self._roles.is_known(token.owner) else "", token.name, role, "token")

    def _role(self, token: Token) -> Role | None:
        """Give what a token may do: never more than its owner, if that is a person."""
        role = api_token.SCOPES[token.scope]
        if not token.owner:
            return role
        own = self._roles.role(Identity(self._roles.person(token.owner), token.owner))
        return None if own is None else min(role, own)

    async def _by_session(self, request: web.Request) -> Known | None:
        secret = self._cookies.read(request)
        if not secret:
            return None
        now = self._clock()
        session = await self._store.session(hashed(secret), now)
        viewer = self.viewer_of(session) if session else None
        if session is None or viewer is None:
            return None
        await self._note("session", session.id, now, session.seen, self.address(request))
        return Known(viewer, ambient=True, session=session)

    def viewer_of(self, session: Session) -> Viewer | None:
        """Give who has a session, with the role of now; None if it is void."""
        if session.via not in self._methods:
            return None
        if session.via == LOOPBACK:
            return Viewer("", session.name, Role.ADMIN, LOOPBACK)
        identity = Identity(session.person, session.name, session.groups)
        if session.person and not self._roles.is_known(session.person):
            return None
        if session.via == "basic" and self._passwords is not None and not self._passwords.has(session.name):
            return None
        role = self._roles.role(identity)
        return Viewer(session.person, self._roles.shown(identity), role, "session") if role else None

    async def _note(self, kind: str, number: int, now: datetime, last: datetime | None, ip: str) -> None:
        """Note that it was used, if that is not known already; whoever uses it must not depend on it."""
        noted = max(filter(None, (last, self._noted.get((kind, number)))), default=None)
        if noted is not None and now - noted < _NOTED_EVERY:
            return
        self._noted[kind, number] = now
        self._noted.move_to_end((kind, number))
        if len(self._noted) > _NOTED:
            self._noted.popitem(last=False)
        with contextlib.suppress(StoreError):
            if kind == "token":
                await self._store.used_token(number, now)
            else:
                await self._store.seen_session(number, now, ip)
