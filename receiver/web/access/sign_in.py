"""The pages by which somebody signs in and out: each way ends in a new session of a new cookie, or says why not."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from math import ceil
from typing import NamedTuple

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from process.web import read_form
from process.web_config import Credentials
from receiver.messages.i18n import Reader, one_line, preferred
from receiver.store.access import AccessStore, Session
from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.web.access.authenticate import LOOPBACK, Authenticator, Refused
from receiver.web.access.guard import SESSION, local_path
from receiver.web.access.identity import Identity, Roles
from receiver.web.access.one_time_link import OneTimeLink
from receiver.web.access.passwords import Checked, Passwords
from receiver.web.access.session_cookie import SESSION_COOKIE, Cookies, hashed, new_secret
from receiver.web.access.viewer import VIEWER
from receiver.web.console.layout import Layout

log = logging.getLogger(__name__)

_MAX_FORM = 8 * 1024  # bytes
_NAME = 200  # characters of a name that is shown again
_AGENT = 200  # characters of the browser's name
_WAYS = ("basic", "oidc", LOOPBACK)
_HERE = "console"  # the name of whoever came by the printed link


class Outcome(StrEnum):
    """What became of a sign-in: the metric label `outcome`."""

    TAKEN = "taken"
    REFUSED = "refused"  # a wrong password or link, or no role
    LIMITED = "limited"  # too many tries
    FAILED = "failed"  # the provider, or the store


class Counted:
    """Counts sign-ins by way and outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter("receiver_sign_ins", "Sign-ins to the console.", ["via", "outcome"], registry=registry)
        for via in _WAYS:
            for outcome in Outcome:
                self._counter.labels(via, outcome.value)

    def __call__(self, via: str, outcome: Outcome) -> None:
        """Count one."""
        self._counter.labels(via, outcome.value).inc()


class Ways(NamedTuple):
    """The ways to sign in that are set up, and how their page looks."""

    layout: Layout
    brand: str
    cookies: Cookies
    link: OneTimeLink | None = None
    passwords: Passwords | None = None
    provider: str = ""
    proxy: bool = False


class SignIn:
    """See the routes. ``begin`` is what each way to sign in ends with."""

    def __init__(
        self,
        store: AccessStore,
        authenticator: Authenticator,
        roles: Roles,
        clock: Callable[[], datetime],
        ways: Ways,
        *,
        base: str,
        valid_for: timedelta,
        counted: Counted,
    ) -> None:
        self._store, self._authenticator, self._roles, self._clock = store, authenticator, roles, clock
        self._ways, self._base, self._valid_for, self.counted = ways, base, valid_for, counted

    def routes(self) -> list[web.RouteDef]:
        """List what is open to everybody."""
        return [
            web.get("/sign-in", self.show),
            web.post("/sign-in", self.by_password),
            web.get("/sign-in/{token}", self.by_link, allow_head=False),
        ]

    def routes_of_viewers(self) -> list[web.RouteDef]:
        """List what is for those who are signed in, whatever their role."""
        return [web.post("/sign-out", self.sign_out)]

    async def show(self, request: web.Request) -> web.StreamResponse:
        """GET /sign-in?next=/incidents/7: the ways to sign in."""
        back = request.query.get("next", "")
        return await self._back_in(request, back) or self.page(request, back=back)

    async def by_link(self, request: web.Request) -> web.StreamResponse:
        """GET /sign-in/{token}: signs in whoever has the link that was printed at the start, once."""
        if "Sec-Purpose" in request.headers:  # fetched in advance: it would be used up
            return web.Response(status=503)
        if self._ways.link is None or not self._ways.link.use(request.match_info["token"]):
            back_in = await self._back_in(request, "")  # who uses it again in the same browser is signed in already
            if back_in is None:
                self.counted(LOOPBACK, Outcome.REFUSED)
            return back_in or self.page(request, "sign_in_link_used", 403)
        response = await self.begin(request, Identity("", _HERE), LOOPBACK, "")
        if response.status != HTTPStatus.SEE_OTHER:  # the store is away, say: another link would need a restart
            self._ways.link.is_used = False
        return response

    async def _back_in(self, request: web.Request, back: str) -> web.Response | None:
        """Lead whoever is signed in to where they want to go; None for everybody else."""
        try:
            known = await self._authenticator.known(request)
        except (Refused, StoreError):
            return None
        if known is None or known.session is None:
            return None
        return web.Response(status=303, headers={"Location": self._base + (local_path(back, self._base) or "/")})

    async def by_password(self, request: web.Request) -> web.StreamResponse:
        """POST /sign-in with name, password and next."""
        form = await read_form(request, _MAX_FORM)
        name, back = form.get("name", ""), form.get("next", "")
        passwords = self._ways.passwords
        if passwords is None:
            return self.page(request, "", 404)
        credentials = Credentials(name.encode(), form.get("password", "").encode())
        checked, wait = await passwords.check(request, credentials)
        if checked is Checked.LIMITED:
            self.counted("basic", Outcome.LIMITED)
            return self.page(request, "sign_in_limited", 429, wait=wait, back=back, name=name)
        if checked is Checked.WRONG:
            self.counted("basic", Outcome.REFUSED)
            return self.page(request, "sign_in_wrong", 401, back=back, name=name)
        response = await self.begin(request, self._roles.identity(name), "basic", back)
        if response.status == HTTPStatus.SEE_OTHER:
            passwords.remember(request, response, name)
        return response

    async def begin(self, request: web.Request, identity: Identity, via: str, back: str) -> web.StreamResponse:
        """Make a session with a new secret, end the one that the browser had, and lead on."""
        if request.headers.get("Origin", "").startswith("http:") and not self._ways.cookies.is_local(request):
            self.counted(via, Outcome.REFUSED)
            return self.page(request, "sign_in_needs_https", 400)  # the browser would throw the cookie away
        if via != LOOPBACK and self._roles.role(identity) is None:
            log.info("sign-in: console.roles gives no role to somebody who has signed in by %s", via)
            self.counted(via, Outcome.REFUSED)
            return self.page(request, "sign_in_no_role", 403)
        now, ip = self._clock(), self._authenticator.address(request)
        agent = one_line(request.headers.get("User-Agent", ""), _AGENT)
        session = Session(
            identity.person, identity.name, via, now, now, now + self._valid_for, ip, agent, identity.groups
        )
        secret = new_secret()
        act = Act(now, identity.person or identity.name, via, ip, "session.begin", "", after=agent)
        try:
            before = await self._before(request, now)
            await self._store.begin_session(hashed(secret), session, act)
            if before is not None:
                await self._end(before, act)
        except StoreError:
            self.counted(via, Outcome.FAILED)
            return self.page(request, "refused_store", 503)
        self.counted(via, Outcome.TAKEN)
        response = web.Response(status=303, headers={"Location": self._base + (local_path(back, self._base) or "/")})
        self._ways.cookies.put(request, response, secret, int(self._valid_for.total_seconds()), SESSION_COOKIE)
        return response

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """POST /sign-out: ends the session and leads to the sign-in."""
        session = request.get(SESSION)
        if session is not None:
            now, viewer = self._clock(), request[VIEWER]
            act = Act(now, viewer.actor, viewer.via, self._authenticator.address(request), "", "")
            try:
                await self._end(session, act)
            except StoreError:
                return self.page(request, "refused_store", 503)
        response = web.Response(status=303, headers={"Location": f"{self._base}/sign-in"})
        self._ways.cookies.drop(request, response)
        return response

    async def _before(self, request: web.Request, now: datetime) -> Session | None:
        secret = self._ways.cookies.read(request)
        return await self._store.session(hashed(secret), now) if secret else None

    async def _end(self, session: Session, act: Act) -> None:
        done = msgspec.structs.replace(act, act="session.end", object=f"session/{session.id}", after="")
        await self._store.end_session(session.id, done)

    def page(
        self,
        request: web.Request,
        key: str = "",
        status: int = 200,
        *,
        wait: float = 0.0,
        back: str = "",
        name: str = "",
    ) -> web.Response:
        """Show the ways to sign in, and what is wrong."""
        reader = Reader(preferred(request.headers.get("Accept-Language", "")))
        text = self._ways.layout.bare(
            "sign_in.html",
            reader,
            f"{self._base}/",
            {
                "heading": reader.say("sign_in_to", brand=self._ways.brand),
                "text": reader.say(key, time=reader.duration(max(1.0, wait))) if key else "",
                "link": self._ways.link is not None,
                "passwords": self._ways.passwords is not None,
                "provider": self._ways.provider,
                "proxy": self._ways.proxy,
                "back": local_path(back, self._base),
                "name": name[:_NAME],
            },
        )
        headers = {"Retry-After": str(ceil(wait))} if wait else {}
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    def refuse(self, request: web.Request, status: int, key: str, wait: float) -> web.StreamResponse:
        """Say why a page is not shown, and in how many seconds it may be tried again."""
        return self.page(request, key, status, wait=wait)
