"""Refuses what a page of another site makes a browser send, by Fetch Metadata and Origin, as net/http of Go 1.25 does.

go.dev/src/net/http/csrf.go; web.dev/articles/fetch-metadata. Browsers send Sec-Fetch-Site to https and to localhost,
and Origin with every POST everywhere; scripts send neither.
"""

from collections.abc import Container
from urllib.parse import urlsplit

from aiohttp import web

from process.addresses import is_loopback

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_cross_site(request: web.Request, origins: Container[str], *, ambient: bool) -> bool:
    """Say whether a request must be refused, because a page that is not ours may have made it.

    ``origins`` are ours. ``ambient``: the browser adds the credential by itself, as a cookie; then one of the two
    headers must say that it is our page, and a request with neither is refused.
    """
    if request.method in SAFE:
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    if origin is None:
        return ambient
    return origin not in origins and origin != _own_origin(request)


def _own_origin(request: web.Request) -> str:
    """Give where the request was sent to, if that is this machine; another Host could be a name for it of a stranger's.

    (DNS rebinding: the stranger's page would be of the same origin, but has no cookie of ours.)
    """
    return f"{request.scheme}://{request.host}" if is_local(request) else ""


def is_local(request: web.Request) -> bool:
    """Say whether the browser speaks to this machine, without a name and without TLS."""
    try:
        host = urlsplit(f"//{request.host}").hostname
    except ValueError:
        return False
    return is_loopback(host or "") and not request.secure
