"""The cookie of a session: 256 random bits, of which the store keeps the SHA-256, and a name for the connection.

`__Host-` makes the browser refuse a cookie that another host of the domain has set, and one that came without TLS. On
plain HTTP to this machine there is no TLS; cookies do not tell ports apart, so the name does.
"""

import hashlib
import secrets

from aiohttp import web

from receiver.web.access.cross_site import is_local

SESSION_COOKIE = "heypeter-session"


def new_secret() -> str:
    """Make what goes into a cookie."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """Give what is stored of it. It is random, so that nobody can find it by trying: no salt, no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Cookies:
    """Our cookies. ``allows_local``: whether some may go over plain HTTP, to this machine itself.

    Not where the console has a public address: a proxy that does not pass the Host on would make each browser look like
    one of this machine.
    """

    def __init__(self, *, allows_local: bool) -> None:
        self._allows_local = allows_local

    def read(self, request: web.Request, name: str = SESSION_COOKIE) -> str:
        """Give what the browser has; empty for nothing."""
        return request.cookies.get(self._full(request, name), "")

    def put(self, request: web.Request, response: web.StreamResponse, value: str, seconds: int, name: str) -> None:
        """Set one. Lax: a link from a mail or from the provider of OpenID Connect must bring it along."""
        secure = not self.is_local(request)
        response.set_cookie(
            self._full(request, name),
            value,
            max_age=seconds,
            path="/",
            secure=secure,
            httponly=True,
            samesite="Lax",
        )

    def drop(self, request: web.Request, response: web.StreamResponse, name: str = SESSION_COOKIE) -> None:
        """Take one from the browser, which does so only if the attributes are those that it was set with."""
        secure = not self.is_local(request)
        response.del_cookie(self._full(request, name), path="/", secure=secure, httponly=True, samesite="Lax")

    def is_local(self, request: web.Request) -> bool:
        """Say whether cookies of this connection go over plain HTTP, to this machine."""
        return self._allows_local and is_local(request)

    def _full(self, request: web.Request, name: str) -> str:
        if not self.is_local(request):
            return f"__Host-{name}"
        port = request.host.rpartition(":")[2]  # what is no number is in no browser's Host either
        return f"{name}-{port if port.isascii() and port.isdigit() else 80}"
