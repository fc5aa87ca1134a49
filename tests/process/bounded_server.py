"""aiohttp's test server, serving each connection as the two programs do."""

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from process.listener import SERVING


class BoundedServer(TestServer):
    async def _make_runner(self, **kwargs: Any) -> web.BaseRunner:  # noqa: ANN401  # as aiohttp has it
        # aiohttp's own test server cancels the handlers of clients that have left, which servers do only if told to.
        return web.AppRunner(self.app, **{**kwargs, "handler_cancellation": False, **SERVING})
