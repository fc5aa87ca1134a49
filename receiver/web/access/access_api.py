"""The API of who may do what: the caller, tokens, sessions and the audit log, below /api/v1."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from process.settings import parse_duration
from process.web import problem, read_body, whole_number
from receiver.store.access import AccessStore, FullError, Session, Token
from receiver.store.audit import Act
from receiver.web.access import api_token, session_cookie
from receiver.web.access.guard import SESSION, needs
from receiver.web.access.identity import Roles
from receiver.web.access.viewer import ADDRESS, VIEWER, Role, Viewer
from receiver.web.conditional import tagged

_LIMIT = 16 * 1024  # bytes
_PAGE, _MOST = 100, 1000  # lines of the audit log and sessions in one answer
_MOST_NUMBER = 10**17  # fits SQLite


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a new token."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=api_token.LONGEST_NAME)]
    scope: Literal["read", "act", "admin"] = "read"
    owner: Annotated[str, msgspec.Meta(max_length=200)] = ""  # a person, whose acts its acts are
    valid_for: str = ""  # as "90d"; for ever, if empty


class AccessApi:
    """See the routes."""

    def __init__(self, store: AccessStore, roles: Roles, clock: Callable[[], datetime]) -> None:
        self._store, self._roles, self._clock = store, roles, clock

    def routes(self) -> list[web.RouteDef]:
        """List what is served below /api/v1."""
        return [
            web.get("/me", self.me),
            web.get("/tokens", self.tokens),
            web.post("/tokens", self.create_token),
            web.delete("/tokens/{id}", self.revoke_token),
            web.get("/sessions", self.sessions),
            web.delete("/sessions/{id}", self.end_session),
            web.get("/audit", self.audit),
        ]

    async def me(self, request: web.Request) -> web.Response:
        """GET /api/v1/me: who asks, by which way, and with which role."""
        return web.json_response(msgspec.to_builtins(request[VIEWER]))

    @needs(Role.ADMIN)
    async def tokens(self, _request: web.Request) -> web.Response:
        """GET /api/v1/tokens: all, the newest first, without what they are."""
        return web.json_response({"tokens": [self._shown(token) for token in await self._store.tokens()]})

    @needs(Role.ADMIN)
    async def create_token(self, request: web.Request) -> web.Response:
        """POST /api/v1/tokens with {"name": "deploys", "scope": "act", "valid_for": "90d"}: 201, and the token once."""
        try:
            asked = msgspec.json.decode(await read_body(request, _LIMIT), type=_Asked)
            valid_for = timedelta(seconds=parse_duration(asked.valid_for)) if asked.valid_for else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
            return problem(400, f'invalid body (expected e.g. {{"name": "deploys", "scope": "act"}}): {error}')
        if asked.owner and not self._roles.is_known(asked.owner):
            return problem(400, f"owner: {asked.owner!r} is not a key in `people`")
        now, secret = self._clock(), api_token.new_token()
        token = Token(asked.name, asked.scope, asked.owner, now, now + valid_for if valid_for else None)
        act = self._act(request, "token.create", "", after=f"{asked.name} ({asked.scope})")
        try:
            made = await self._store.add_token(session_cookie.hashed(secret), token, act)
        except FullError as error:
            return problem(409, str(error))
        shown = {**self._shown(made), "token": secret}
        return web.json_response(shown, status=201, headers={"Cache-Control": "no-store"})

    @needs(Role.ADMIN)
    async def revoke_token(self, request: web.Request) -> web.Response:
        """DELETE /api/v1/tokens/{id}: 204, or 404 if none works that has this number."""
        number = _number(request)
        if not await self._store.revoke_token(number, self._act(request, "token.revoke", f"token/{number}")):
            return problem(404, f"no token {request.match_info['id']} that works")
        return web.Response(status=204)

    async def sessions(self, request: web.Request) -> web.Response:
        """GET /api/v1/sessions: one's own; an administrator's list has everybody's."""
        sessions = await self._store.sessions(self._clock(), _MOST)
        viewer, own = request[VIEWER], request.get(SESSION)
        shown = [
            {**self._session(session), "current": own is not None and own.id == session.id}
            for session in sessions
            if _may_end(viewer, session)
        ]
        return web.json_response({"sessions": shown})

    @needs(Role.VIEWER)
    async def end_session(self, request: web.Request) -> web.Response:
        """DELETE /api/v1/sessions/{id}: signs a browser out: one's own, or anybody's for an administrator."""
        number = _number(request)
        found = await self._store.session_numbered(number, self._clock())
        if found is None or not _may_end(request[VIEWER], found):
            return problem(404, f"no session {request.match_info['id']} of yours")
        act = self._act(request, "session.end", f"session/{number}", before=found.person or found.name)
        await self._store.end_session(number, act)
        return web.Response(status=204)

    @needs(Role.ADMIN)
    async def audit(self, request: web.Request) -> web.Response:
        """GET /api/v1/audit?limit=100&before=42&object=incident/7: newest first; `next` is the `before` to go on."""
        limit = whole_number(request.query.get("limit", str(_PAGE)), _MOST)
        before = request.query.get("before")
        older = None if before is None else whole_number(before, _MOST_NUMBER)
        if not limit:
            return problem(400, f"limit: expected a number from 1 to {_MOST}")
        if before is not None and older is None:
            return problem(400, "before: expected the `next` of the page before")
        acts = await self._store.audit(older, limit, request.query.get("object", ""))
        following = acts[-1].seq if len(acts) == limit else None
        return tagged(request, {"audit": msgspec.to_builtins(list(acts)), "next": following})

    def _act(self, request: web.Request, act: str, of: str, *, before: str = "", after: str = "") -> Act:
        viewer = request[VIEWER]
        return Act(self._clock(), viewer.actor, viewer.way, request[ADDRESS], act, of, before, after)

    def _shown(self, token: Token) -> dict[str, object]:
        shown: dict[str, object] = msgspec.to_builtins(token)
        return {**shown, "works": api_token.works(token, self._clock())}

    def _session(self, session: Session) -> dict[str, object]:
        shown: dict[str, object] = msgspec.to_builtins(session)
        return shown


def _may_end(viewer: Viewer, session: Session) -> bool:
    """Say whether a session is one's own, or one is an administrator."""
    if viewer.role is Role.ADMIN:
        return True
    return bool(viewer.person) and viewer.person == session.person


def _number(request: web.Request) -> int:
    return whole_number(request.match_info["id"], _MOST_NUMBER) or 0
