"""Counts and times requests and queries: timers that also decorate, and middlewares for aiohttp, ASGI and WSGI."""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from .client import Client, trace
from .served import ServedRequest, request_data, since, trace_id

_FAILED = 500
# https://asgi.readthedocs.io/en/latest/extensions.html
_BODIES = {"http.response.body", "http.response.pathsend", "http.response.zerocopysend"}
_LEFT_CHECK = 0.5  # seconds; aiohttp does not tell a handler that its client has left

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Measure:
    """Timers and middlewares for requests and queries; a failure of the monitoring never reaches the application."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @contextlib.contextmanager
    def request(self, method: str, route: str, traceparent: str = "") -> Iterator[dict[str, Any]]:
        """Count and time a request; set ``status`` and ``route`` in the yielded dict. An exception counts as 500."""
        answer: dict[str, Any] = {"status": 0, "route": route}
        began, otherwise = time.perf_counter(), _FAILED
        before = trace.get()
        trace.set(trace_id(traceparent) or before)
        try:
            yield answer
            otherwise = 200
        finally:
            data = request_data(method, answer["route"], answer["status"] or otherwise)
            self._client.track("http_request", {**data, "duration": since(began)})
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
            self._client.track("db_query", {**data, "duration": since(began)})

    def aiohttp(self) -> Callable[..., Awaitable[Any]]:
        """Return a middleware for ``web.Application(middlewares=[...])``."""

        async def middleware(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401  # aiohttp's
            resource = request.match_info.route.resource
            route = re.sub(r"{(\w+)}", r"[\1]", resource.canonical) if resource else request.path
            traceparent = request.headers.get("traceparent", "")
            served = ServedRequest(self._client, request.method, lambda: route, traceparent)
            is_watched = _watch(request, served)
            with _traced(traceparent):
                try:
                    response = await handler(request)
                except asyncio.CancelledError:
                    # Else it is a time limit of the application's, and what follows writes an answer.
                    if _has_left(request):
                        served.end(client_left=True)
                    raise
                except BaseException as error:
                    _failed(request, served, error, is_watched=is_watched)
                    raise
            if not is_watched:
                served.answer(response.status, {}, in_parts=False)
                served.end()
            return response

        # What aiohttp's own decorator sets: https://docs.aiohttp.org/en/stable/web_advanced.html#middlewares
        middleware.__middleware_version__ = 1  # type: ignore[attr-defined]
        return middleware

    def asgi(self, app: Asgi) -> Asgi:
        """Wrap an ASGI application; the route is the framework's template where it gives one (Starlette, FastAPI)."""

        async def measured(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] not in {"http", "websocket"}:
                await app(scope, receive, send)
                return

            asked, root = str(scope["path"]), str(scope.get("root_path") or "")

            def route() -> str:
                template = getattr(scope.get("route"), "path", "")
                path = _mounted(scope, asked, root) + template if template else asked
                return re.sub(r"{(\w+)(:\w+)?}", r"[\1]", path)

            headers = _headers(scope)
            traceparent = headers.get("traceparent", "")
            served = ServedRequest(self._client, scope.get("method", "GET"), route, traceparent)
            # A server says "100 Continue" once it is asked for the body: only the application may decide that.
            watched = _Received(receive, served, ahead="expect" not in headers)
            try:
                with _traced(traceparent):
                    await app(scope, watched, _sending(send, served, watched))
                served.fail()  # if it returns before its answer is whole; the server breaks the connection then
            except asyncio.CancelledError:
                served.end(client_left=True)
                raise
            except BaseException:
                served.fail()
                raise
            finally:
                watched.close()
                served.end()

        return measured

    def wsgi(self, app: Wsgi) -> Wsgi:
        """Wrap a WSGI application; timed until it has given the last part of its answer, or the client has left."""

        def measured(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            traceparent = environ.get("HTTP_TRACEPARENT", "")
            path = environ.get("PATH_INFO") or "/"
            served = ServedRequest(self._client, environ["REQUEST_METHOD"], lambda: path, traceparent)

            def started(status: str, headers: Any, *rest: Any, **more: Any) -> Any:  # noqa: ANN401  # WSGI's
                named = {name.lower(): value for name, value in headers}
                served.answer(int(status[:3]) if status[:3].isdecimal() else _FAILED, named, in_parts=True)
                return start_response(status, headers, *rest, **more)

            try:
                with _traced(traceparent):
                    answer = app(environ, started)
            except BaseException:
                served.fail()
                served.end()
                raise
            if isinstance(answer, (list, tuple)):  # it is all there; servers take its length for the Content-Length
                served.end()
                return answer
            return _Parts(answer, served)

        return measured


@contextlib.contextmanager
def _traced(traceparent: str) -> Iterator[None]:
    before = trace.get()
    trace.set(trace_id(traceparent) or before)
    try:
        yield
    finally:
        trace.set(before)


def _watch(request: Any, served: ServedRequest) -> bool:  # noqa: ANN401  # aiohttp's
    """Follow what aiohttp writes for a request, whichever response it is; False for a request without a connection."""
    writer = getattr(request, "writer", None)
    if writer is None:
        return False
    write_headers, write_eof = writer.write_headers, writer.write_eof
    timer: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()

    async def headed(status_line: str, headers: Any) -> None:  # noqa: ANN401  # aiohttp's
        named = {name.lower(): value for name, value in headers.items()}
        served.answer(int(status_line.split(" ", 2)[1]), named, in_parts=True)
        await write_headers(status_line, headers)

    async def ended(*chunk: Any) -> None:  # noqa: ANN401  # aiohttp's
        try:
            await write_eof(*chunk)
        except BaseException:
            served.end(client_left=True)
            raise
        finally:
            served.end()
            for handle in timer:
                handle.cancel()

    def check() -> None:
        if _has_left(request):
            served.end(client_left=True)
        timer[:] = [] if served.is_counted else [loop.call_later(_LEFT_CHECK, check)]

    check()
    writer.write_headers, writer.write_eof = headed, ended
    return True


def _has_left(request: Any) -> bool:  # noqa: ANN401  # aiohttp's
    transport = getattr(request, "transport", None)
    return transport is None or transport.is_closing()


def _failed(request: Any, served: ServedRequest, error: BaseException, *, is_watched: bool) -> None:  # noqa: ANN401
    # Only an HTTPException of aiohttp is an answer; other errors may have a status of another server.
    is_answer = hasattr(error, "prepared")
    if not is_watched:
        served.answer(getattr(error, "status", _FAILED) if is_answer else _FAILED, {}, in_parts=False)
        served.end()
    elif _has_left(request):
        served.end(client_left=True)
    elif not is_answer:
        served.fail()
        if served.is_answered:  # nothing more is written: aiohttp breaks the connection
            served.end()


def _mounted(scope: Message, asked: str, root: str) -> str:
    """Return where the application that answers is mounted: frameworks append that to the root path of the server."""
    path = str(scope.get("root_path") or "")
    return path[len(root) :] if path.startswith(root) and asked.startswith(path) else ""


def _headers(message: Message) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message.get("headers", ())}


class _Received:
    """What the server tells an ASGI application, looked at before the application asks for it.

    After the whole body, and after the request for a websocket, the next message is that the client has left: nobody
    would see it while the handler works.
    """

    def __init__(self, receive: Receive, served: ServedRequest, *, ahead: bool) -> None:
        self._receive, self._served = receive, served
        self._messages: deque[Message] = deque()
        self._task: asyncio.Task[Message] | None = None
        self._is_whole = False
        self._awaited = 0  # by the application itself
        if ahead:
            self._fetch()

    async def __call__(self) -> Message:
        while not self._messages:
            task = self._fetch()
            self._awaited += 1
            try:
                await asyncio.wait({task})
            finally:
                self._awaited -= 1
            if not self._messages:
                self._task = None
                return task.result()  # raises
        return self._messages.popleft()

    async def stop(self) -> None:
        """Look ahead no further, as the application answers; what it awaits itself is left alone."""
        self._is_whole = True
        task = self._task
        if task is not None and not task.done() and not self._awaited:
            task.cancel()
            await asyncio.wait({task}, timeout=_LEFT_CHECK)
            self._task = None

    def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()

    def _fetch(self) -> asyncio.Task[Message]:
        if self._task is None:
            self._task = asyncio.ensure_future(self._message())
            self._task.add_done_callback(self._arrived)
        return self._task

    async def _message(self) -> Message:
        return await self._receive()

    def _arrived(self, task: asyncio.Task[Message]) -> None:
        if task.cancelled() or task.exception() is not None:
            return
        message = task.result()
        self._task = None
        self._messages.append(message)
        if message["type"] in {"http.disconnect", "websocket.disconnect"}:
            self._served.end(client_left=True)
        elif not message.get("more_body") and not self._is_whole:
            self._is_whole = True
            self._fetch()


def _sending(send: Send, served: ServedRequest, received: _Received) -> Send:
    head: dict[str, Any] = {"status": 0, "headers": {}}

    async def watched(message: Message) -> None:
        kind = message["type"].removeprefix("websocket.")
        if kind != message["type"]:
            # A server may end if a websocket is closed while its next message is awaited: Granian 2.8 does.
            await received.stop()
        if kind in {"http.response.start", "accept"} or (kind == "close" and not served.is_answered):
            head["status"] = message["status"] if "status" in message else {"accept": 101}.get(kind, 403)
            head["headers"] = _headers(message)
            served.answer(head["status"], head["headers"], in_parts=True)
        elif kind == "http.response.body" and not head.get("begun"):
            head["begun"] = True
            served.answer(head["status"], head["headers"], in_parts=bool(message.get("more_body")))
        try:
            await send(message)
        except OSError:  # since version 2.4 of the specification, for a client that has left
            served.end(client_left=True)
            raise
        is_last = kind in _BODIES and not message.get("more_body")
        if is_last or kind == "close":
            served.end()

    return watched


class _Parts:
    """What a WSGI application gives bit by bit; a server calls close() at the end, or when the client has left."""

    def __init__(self, parts: Iterable[bytes], served: ServedRequest) -> None:
        self._parts, self._served = parts, served
        self._is_whole = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._parts
            self._is_whole = True
        except GeneratorExit:
            raise
        except BaseException:
            self._served.fail()
            raise

    def close(self) -> None:
        """Count the request, and close what the application gave."""
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            self._served.end(client_left=not self._is_whole and not self._served.has_failed)
