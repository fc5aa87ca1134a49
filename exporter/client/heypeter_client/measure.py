"""Counts and times requests and queries: timers that also decorate, and middlewares for aiohttp, ASGI and WSGI."""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from .client import Client, trace

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_CLIENT_WENT, _FAILED = 499, 500

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Measure:
    """What a web application puts around its requests and queries; nothing here raises for monitoring's sake."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @contextlib.contextmanager
    def request(self, method: str, route: str, traceparent: str = "") -> Iterator[dict[str, Any]]:
        """Count and time a request; what it gives takes ``status`` and ``route``. An exception counts as 500."""
        answer: dict[str, Any] = {"status": 0, "route": route}
        began, otherwise = time.perf_counter(), _FAILED
        match = _TRACEPARENT.fullmatch(traceparent)
        before = trace.get()
        trace.set(match[1] if match else before)
        try:
            yield answer
            otherwise = 200
        finally:
            data = {"method": method, "route": answer["route"], "status": answer["status"] or otherwise}
            self._client.track("http_request", {**data, "duration": time.perf_counter() - began})
            trace.set(before)

    @contextlib.contextmanager
    def query(self, operation: str, table: str) -> Iterator[None]:
        """Count and time a query of a database."""
        began, outcome = time.perf_counter(), "failure"
        try:
            yield
            outcome = "success"
        finally:
            data = {"operation": operation, "table": table, "outcome": outcome}
            self._client.track("db_query", {**data, "duration": time.perf_counter() - began})

    def aiohttp(self) -> Callable[..., Awaitable[Any]]:
        """Give a middleware for ``web.Application(middlewares=[...])``."""

        async def middleware(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401  # aiohttp's
            resource = request.match_info.route.resource
            route = re.sub(r"{(\w+)}", r"[\1]", resource.canonical) if resource else request.path
            with self.request(request.method, route, request.headers.get("traceparent", "")) as answer:
                try:
                    response = await handler(request)
                except asyncio.CancelledError:
                    answer["status"] = _CLIENT_WENT
                    raise
                except BaseException as error:
                    # Only an HTTPException of aiohttp is an answer; other errors may have a status of another server.
                    answer["status"] = getattr(error, "status", 0) if hasattr(error, "prepared") else _FAILED
                    raise
                answer["status"] = response.status
                return response

        # What aiohttp's own decorator sets: https://docs.aiohttp.org/en/stable/web_advanced.html#middlewares
        middleware.__middleware_version__ = 1  # type: ignore[attr-defined]
        return middleware

    def asgi(self, app: Asgi) -> Asgi:
        """Wrap an ASGI application; the route is the framework's template where it gives one (Starlette, FastAPI)."""

        async def measured(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
            with self.request(scope["method"], scope["path"], headers.get(b"traceparent", "")) as answer:

                async def watched(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        answer["status"] = message["status"]
                    await send(message)

                try:
                    await app(scope, receive, watched)
                finally:
                    path = getattr(scope.get("route"), "path", "") or str(scope["path"])
                    answer["route"] = re.sub(r"{(\w+)(:\w+)?}", r"[\1]", path)

        return measured

    def wsgi(self, app: Wsgi) -> Wsgi:
        """Wrap a WSGI application; timed until the application gives its answer, the sending not included."""

        def measured(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            traceparent = environ.get("HTTP_TRACEPARENT", "")
            with self.request(environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/", traceparent) as answer:

                def started(status: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401  # WSGI's
                    answer["status"] = int(status[:3])
                    return start_response(status, *rest, **more)

                return app(environ, started)

        return measured
