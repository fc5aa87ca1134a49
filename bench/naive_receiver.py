"""A naive webhook receiver to compare with: it parses the body and answers; with a file, once the body is on disk."""

import asyncio
import json
import os
import sys

from aiohttp import web


class File:
    """Appends bodies and syncs them, each time all that came meanwhile."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._bodies: list[bytes] = []
        self._sync: asyncio.Future[None] | None = None

    async def save(self, body: bytes) -> None:
        """Return once the body is on disk."""
        self._bodies.append(body)
        while body in self._bodies:
            if self._sync is None:
                self._sync = asyncio.ensure_future(self._all())
            await self._sync

    async def _all(self) -> None:
        await asyncio.sleep(0)
        bodies = [*self._bodies]
        await asyncio.to_thread(self._write, b"".join(bodies))
        del self._bodies[: len(bodies)]
        self._sync = None

    def _write(self, data: bytes) -> None:
        os.write(self._file, data)
        os.fdatasync(self._file)


def application(path: str) -> web.Application:
    """Build the web application."""
    file = File(path) if path else None

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        json.loads(body)
        if file:
            await file.save(body)
        return web.json_response({})

    app = web.Application(client_max_size=1 << 25)
    app.add_routes([web.post("/webhook/alertmanager", take)])
    return app


if __name__ == "__main__":
    app = application("".join(sys.argv[2:]))
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda _text: None)
