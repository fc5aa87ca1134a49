"""The cookie of a session: 256 random bits, of which the store keeps the SHA-256, and a name for the connection.

`__Host-` makes the browser refuse a cookie that another host of the domain has set, and one that came without TLS. On
plain HTTP to this machine there is no TLS; cookies do not tell ports apart, so the name does.
"""

import hashlib
import secrets
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web

from receiver.web.access.cross_site import is_local

_NAME = "heypeter-session"


def new_secret() -> str:
    """Make what goes into a cookie."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """Give what is stored of it. It is random, so that nobody can find it by trying: no salt, no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def read(request: web.Request) -> str:
    """Give what the browser has; empty for nothing."""
    return read_cookie(request, _NAME)


def put(request: web.Request, response: web.StreamResponse, secret: str, now: datetime, expires: datetime) -> None:
    """Give the browser a new one."""
    put_cookie(request, response, _NAME, secret, int((expires - now).total_seconds()))


def drop(request: web.Request, response: web.StreamResponse) -> None:
    """Take it from the browser."""
    drop_cookie(request, response, _NAME)


def read_cookie(request: web.Request, name: str) -> str:
    """Read any cookie of ours."""
    return request.cookies.get(_full(request, name), "")


def put_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str, seconds: int) -> None:
    """Set any cookie of ours. Lax: a link from a mail or from the provider of OpenID Connect must bring it along."""
    response.set_cookie(
        _full(request, name),
        value,
        max_age=seconds,
        path="/",
        secure=not is_local(request),
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(request: web.Request, response: web.StreamResponse, name: str) -> None:
    """Take any cookie of ours from the browser, which does so only if the attributes are those that it was set with."""
    response.del_cookie(_full(request, name), path="/", secure=not is_local(request), httponly=True, samesite="Lax")


def _full(request: web.Request, name: str) -> str:
    if not is_local(request):
        return f"__Host-{name}"
    return f"{name}-{urlsplit(f'//{request.host}').port or 80}"
