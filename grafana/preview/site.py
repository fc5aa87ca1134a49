"""Serves the preview's page on loopback: the bundle, the dashboards' JSON, and a proxy to Prometheus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web


@asynccontextmanager
async def serve(page: Path, dashboards: Path, prometheus: str) -> AsyncIterator[str]:
    """Serve on a free port and give the address."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def index(_request: web.Request) -> web.FileResponse:
            return web.FileResponse(page / "index.html")

        async def ask(request: web.Request) -> web.Response:
            """Forward a query: a browser may only ask the host that served the page."""
            path = request.match_info["path"]
            try:
                async with session.get(f"{prometheus.rstrip('/')}/{path}", params=request.query) as answer:
                    return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")
            except (aiohttp.ClientError, TimeoutError) as error:
                words = {"status": "error", "error": f"Prometheus at {prometheus} does not answer: {error}"}
                return web.json_response(words, status=502)

        app = web.Application()
        app.router.add_get("/", index)
        app.router.add_get("/prometheus/{path:.+}", ask)
        app.router.add_static("/dashboards", dashboards)
        app.router.add_static("/", page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
