"""Stands before each page and each endpoint of the API: who is it, may they, and was it a page of ours that asked."""

from collections.abc import Callable, Container, Iterable
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Middleware

from process.web import Handler, problem
from receiver.store.access import Session
from receiver.store.base import StoreError
from receiver.web.access.authenticate import Authenticator, Refused
from receiver.web.access.cross_site import SAFE, is_cross_site
from receiver.web.access.security_headers import add_headers
from receiver.web.access.viewer import ADDRESS, STILL_SIGNED_IN, VIEWER, Role, StillSignedIn

SESSION = web.RequestKey("session", Session)  # set if the viewer has one
_LONGEST_NEXT = 500  # characters of the page that a sign-in leads back to

_NEEDS = "needs_role"
H = TypeVar("H", bound=Callable[..., object])
Refuse = Callable[[web.Request, int, str, float], web.StreamResponse]


class Refusal(NamedTuple):
    """Why one may not: ``text`` tells it to programs, and ``key`` is the phrase for people.

    ``wait`` is the seconds until it may be tried again, 0 where waiting does not help.
    """

    status: int
    text: str
    key: str = ""
    wait: float = 0.0


_REFUSED = {403: "sign_in_no_role", 429: "sign_in_limited"}
_STORE = Refusal(503, "the store does not answer; try again", "refused_store")
_NOBODY = Refusal(401, "Authorization: the bearer token is missing or wrong; it is the api.token")
_CROSS_SITE = Refusal(
    403, "a page of another site asked for this; use the console's own pages, or a token", "sign_in_cross_site"
)


def needs(role: Role) -> Callable[[H], H]:
    """Mark a handler: who may call it, where it is not the rule that readers may GET and responders the rest."""

    def mark(handler: H) -> H:
        setattr(handler, _NEEDS, role)
        return handler

    return mark


class Guard:
    """``base`` is the path of the external URL; ``refuse`` writes the page that says why one may not."""

    def __init__(self, authenticator: Authenticator, origins: Container[str], base: str, refuse: Refuse) -> None:
        self._authenticator, self._origins, self._base, self._refuse = authenticator, origins, base, refuse

    def api(self) -> Middleware:
        """Make the middleware of the API, which answers with problems as JSON."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = await self._check(request, getattr(request.match_info.handler, _NEEDS, None))
            if refused is None:
                return await handler(request)
            response = problem(refused.status, refused.text)
            if refused.wait:
                response.headers["Retry-After"] = str(ceil(refused.wait))
            return response

        return check

    def pages(self, routes: Iterable[web.RouteDef], role: Role | None = None) -> list[web.RouteDef]:
        """Let only those pass who may: readers may GET, responders may POST, or whoever has ``role``."""
        wanted = ((route, role or getattr(route.handler, _NEEDS, None)) for route in routes)
        return [
            web.RouteDef(route.method, route.path, self._guarded(route.handler, needed), route.kwargs)
            for route, needed in wanted
        ]

    def open_pages(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """Let everybody pass, with the same headers and without what other sites send: for sign-in and static files."""
        return [web.RouteDef(route.method, route.path, self._opened(route.handler), route.kwargs) for route in routes]

    def _guarded(self, handler: Handler, role: Role | None) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            refused = await self._check(request, role)
            if refused is None:
                return await _with_headers(handler, request)
            if refused.status == HTTPStatus.UNAUTHORIZED:
                response: web.StreamResponse = self._to_sign_in(request)
            else:
                response = self._refuse(request, refused.status, refused.key, refused.wait)
            add_headers(response)
            return response

        return guarded

    def _opened(self, handler: Handler) -> Handler:
        async def opened(request: web.Request) -> web.StreamResponse:
            if is_cross_site(request, self._origins, ambient=True):
                response = self._refuse(request, _CROSS_SITE.status, _CROSS_SITE.key, 0.0)
                add_headers(response)
                return response
            request[ADDRESS] = self._authenticator.address(request)
            return await _with_headers(handler, request)

        return opened

    async def _check(self, request: web.Request, role: Role | None) -> Refusal | None:
        """Set the viewer, or say why not."""
        try:
            known = await self._authenticator.known(request)
        except Refused as refused:
            return Refusal(refused.status, refused.text, _REFUSED.get(refused.status, ""), refused.wait)
        except StoreError:
            return _STORE
        if known is None:
            return _NOBODY
        if is_cross_site(request, self._origins, ambient=known.ambient):
            return _CROSS_SITE
        needed = role or (Role.VIEWER if request.method in SAFE else Role.RESPONDER)
        if known.viewer.role < needed:
            text = f"the role {needed.value} is needed, and yours is {known.viewer.role.value}"
            return Refusal(403, text, "sign_in_not_allowed")
        request[VIEWER], request[ADDRESS] = known.viewer, self._authenticator.address(request)
        request[STILL_SIGNED_IN] = StillSignedIn(partial(self._still, request, needed))
        if known.session is not None:
            request[SESSION] = known.session
        return None

    async def _still(self, request: web.Request, needed: Role) -> bool:
        try:
            known = await self._authenticator.known(request)
        except Refused:
            return False
        return known is not None and known.viewer.role >= needed

    def _to_sign_in(self, request: web.Request) -> web.Response:
        """Lead to the sign-in, and from there back to a page that was opened; a form that was posted is lost.

        A script of the page that asks for a part of it would take the sign-in for that part.
        """
        if request.headers.get("HX-Request") == "true" or "text/event-stream" in request.headers.get("Accept", ""):
            return web.Response(status=401, headers={"HX-Refresh": "true"})
        back = local_path(request.raw_path, self._base) if request.method in {"GET", "HEAD"} else ""
        query = f"?next={quote(back, safe='')}" if back not in {"", "/"} else ""
        return web.Response(status=303, headers={"Location": f"{self._base}/sign-in{query}"})


async def _with_headers(handler: Handler, request: web.Request) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as answer:
        add_headers(answer)
        raise
    if not response.prepared:
        add_headers(response)
    return response


def local_path(text: str, base: str) -> str:
    r"""Give a path of ours without the ``base``; empty for anything that could lead to another site.

    Browsers take `//host` and `/\host` for another host, and drop tabs and line breaks first.
    """
    path = text.removeprefix(base) if base and text.startswith(f"{base}/") else text
    strange = any(character <= " " or character in "\\\x7f" for character in path)
    if strange or not path.startswith("/") or path.startswith("//") or len(path) > _LONGEST_NEXT:
        return ""
    return path
