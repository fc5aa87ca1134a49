"""Serves the browser client: the built file, already compressed, with headers for caches and integrity checks."""

import base64
import hashlib
from importlib.resources import files

from aiohttp import web

from exporter.exposition.negotiate import accepts

_CODINGS = {"br": "br", "gzip": "gz"}  # the preferred one first, and how its file is called


class Script:
    """GET of rum.js; ``integrity`` is what the script tag names."""

    def __init__(self) -> None:
        folder = files("exporter").joinpath("rum")
        self._plain = folder.joinpath("rum.js").read_bytes()
        self._packed = {name: folder.joinpath(f"rum.js.{name}").read_bytes() for name in ("br", "gz")}
        digest = hashlib.sha384(self._plain).digest()
        self.integrity = f"sha384-{base64.b64encode(digest).decode()}"
        # A strong validator must not be shared by two different bodies (RFC 9110, 8.8.1).
        self._tags = {name: f'"{digest.hex()[:24]}{"-" if name else ""}{name}"' for name in ("", "br", "gz")}

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the script, or 304."""
        accept_encoding = ", ".join(request.headers.getall("Accept-Encoding", []))
        coding = next((name for name in _CODINGS if accepts(name, accept_encoding)), "")
        name = _CODINGS.get(coding, "")
        tag = self._tags[name]
        headers = {
            "ETag": tag,
            # An hour: new releases spread soon, and revalidation costs a 304.
            "Cache-Control": "public, max-age=3600, stale-while-revalidate=86400",
            "Vary": "Accept-Encoding",
            # Integrity checks across origins need both.
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
        }
        known = [part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(",")]
        if tag in known or "*" in known:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "text/javascript; charset=utf-8"
        if coding:
            return web.Response(body=self._packed[name], headers={**headers, "Content-Encoding": coding})
        return web.Response(body=self._plain, headers=headers)
