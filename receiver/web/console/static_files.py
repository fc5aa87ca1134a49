"""Serves the style sheet, the scripts and the icons under names that change with their content, so caches keep them."""

import gzip
import hashlib
import mimetypes
from importlib.resources import files

from aiohttp import web

_WORTH_PACKING = 1024  # bytes; below it the answer is one packet either way
_KEPT = {"README.md", "htmx.LICENSE.txt"}  # what only people read who look into the package
# One script: htmx starts by itself in a moment, and would not know of an extension that arrives after that.
_JOINED = {"htmx.js": ("htmx.min.js", "hx-sse.min.js")}
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}


class _File:
    """One file with its packed form, made once."""

    def __init__(self, name: str, content: bytes) -> None:
        stem, dot, ending = name.rpartition(".")
        self.name = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}{dot}{ending}"
        self.type = _TYPES.get(f".{ending}") or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.content = content
        packed = gzip.compress(content, mtime=0) if len(content) > _WORTH_PACKING else content
        self.packed = packed if len(packed) < len(content) else b""


class StaticFiles:
    """The files of ``static/``; ``names`` gives what a page must call each of them."""

    def __init__(self) -> None:
        folder = files("receiver.web.console").joinpath("static")
        contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in _KEPT}
        for joined, parts in _JOINED.items():
            contents[joined] = b"\n".join(contents.pop(part) for part in parts)
        found = {name: _File(name, content) for name, content in contents.items()}
        self.names = {name: file.name for name, file in found.items()}
        self._files = {file.name: file for file in found.values()}

    def text(self, name: str) -> str:
        """Give a script that is served at an address of its own."""
        return self._files[self.names[name]].content.decode()

    async def serve(self, request: web.Request) -> web.Response:
        """GET /static/{name}: kept by the browser for a year, for another content has another name."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            return web.Response(text="no such file; reload the page\n", status=404)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        body = file.content
        if file.packed and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = file.packed
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, content_type=file.type, headers=headers)
