"""What the Python client puts around requests and queries, and that none of it changes what they do."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.client.heypeter_client import Client, Measure, Settings
from exporter.client.heypeter_client.measure import Message
from exporter.client.heypeter_client.served import ServedRequest, since
from exporter.events.decode import MAX_SECONDS
from tests.exporter.client.exporter_double import TOKEN, ExporterDouble, serve

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def double() -> Iterator[ExporterDouble]:
    with serve(ExporterDouble()) as double:
        yield double


@pytest.fixture
def client(double: ExporterDouble) -> Iterator[Client]:
    with Client(Settings(url=double.url, token=TOKEN, batch_delay=3600.0, close_timeout=60.0)) as client:
        yield client


def told(client: Client, double: ExporterDouble) -> list[tuple[object, ...]]:
    """What was counted, without the times, which are checked here."""
    client.close()
    events = []
    for event in double.counted:
        data = dict(event["data"])
        assert 0 <= data.pop("duration") < 60
        events.append((*data.values(), *([event["trace_id"]] if "trace_id" in event else [])))
    return events


def test_what_takes_more_than_an_hour_is_counted(client: Client, double: ExporterDouble) -> None:
    """The exporter refuses durations above an hour, and with them the request or query."""
    served = ServedRequest(client, "GET", lambda: "/export", "")
    served._began -= 2 * MAX_SECONDS  # noqa: SLF001  # as if it had begun then
    served.answer(200, {}, in_parts=False)
    served.end()
    assert since(0.0, MAX_SECONDS + 0.1) == MAX_SECONDS
    assert since(5.0, 4.0) == 0
    client.close()
    assert [event["data"]["duration"] for event in double.counted] == [MAX_SECONDS]


def test_timers_count_success_and_failure_and_decorate(client: Client, double: ExporterDouble) -> None:
    measure = Measure(client)

    @measure.query("select", "classes")
    def classes() -> int:
        return 42

    with measure.request("POST", "/api/bookings", HEADER) as answer:
        assert classes() == 42
        answer["status"] = 201
    with pytest.raises(KeyError), measure.request("GET", "/api/classes"), measure.query("insert", "users"):
        raise KeyError
    with measure.request("GET", "/api/users", HEADER.replace("00-", "ff-", 1)):  # a version that there is not
        pass
    classes()
    assert told(client, double) == [
        ("select", "classes", "success", TRACE),
        ("POST", "/api/bookings", 201, TRACE),
        ("insert", "users", "failure"),
        ("GET", "/api/classes", 500),
        ("GET", "/api/users", 200),
        ("select", "classes", "success"),
    ]


async def test_an_aiohttp_application_is_counted_by_route(client: Client, double: ExporterDouble) -> None:
    async def booking(request: web.Request) -> web.Response:
        broken, upstream = ZeroDivisionError(), ValueError()
        upstream.status = 404  # type: ignore[attr-defined]  # as errors of HTTP clients have it
        fates = {"made": web.HTTPCreated(), "broken": broken, "upstream": upstream, "moved": web.HTTPFound("/")}
        if fate := fates.get(request.match_info["id"]):
            raise fate
        return web.Response(status=202)

    app = web.Application(middlewares=[Measure(client).aiohttp()])
    app.router.add_get("/api/bookings/{id}", booking)
    async with TestClient(TestServer(app)) as http:
        for path in ("7", "made", "broken", "upstream", "moved"):
            answer = await http.get(f"/api/bookings/{path}", headers={"traceparent": HEADER}, allow_redirects=False)
            await answer.read()
        await http.get("/nowhere")
    expected = [("GET", "/api/bookings/[id]", status, TRACE) for status in (202, 201, 500, 500, 302)]
    assert told(client, double) == [*expected, ("GET", "/nowhere", 404)]


async def test_an_asgi_application_is_counted_by_route(client: Client, double: ExporterDouble) -> None:
    sent: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's
        if scope["type"] == "lifespan":
            return
        scope["route"] = SimpleNamespace(path="/items/{id:int}")
        if scope["path"] == "/items/0":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 206, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    measured = Measure(client).asgi(app)
    await measured({"type": "lifespan"}, receive, send)
    headers = [(b"TraceParent", HEADER.encode())]
    await measured({"type": "http", "method": "GET", "path": "/items/7", "headers": headers}, receive, send)
    with pytest.raises(ZeroDivisionError):
        await measured({"type": "http", "method": "PUT", "path": "/items/0", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert told(client, double) == [("GET", "/items/[id]", 206, TRACE), ("PUT", "/items/[id]", 500)]


def test_a_wsgi_application_is_counted(client: Client, double: ExporterDouble) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:  # noqa: ANN401  # WSGI's
        if environ["PATH_INFO"] == "/broken":
            raise ZeroDivisionError
        start_response("204 No Content", [])
        return [b"x"]

    measured = Measure(client).wsgi(app)
    environ: dict[str, Any] = {"HTTP_TRACEPARENT": HEADER, "PATH_INFO": "/classes"}
    setup_testing_defaults(environ)
    started: list[str] = []
    assert measured(environ, lambda *arguments: started.append(arguments[0])) == [b"x"]
    with pytest.raises(ZeroDivisionError):
        measured({**environ, "PATH_INFO": "/broken"}, started.append)
    assert started == ["204 No Content"]
    assert told(client, double) == [("GET", "/classes", 204, TRACE), ("GET", "/broken", 500, TRACE)]


@pytest.mark.parametrize(
    ("path", "read", "expected"),
    [
        ("/whole", 3, ("GET", "/whole", 201)),
        ("/left", 1, ("GET", "/left", 499)),
        ("/broken", 3, ("GET", "/broken", 500)),
    ],
)
def test_a_wsgi_application_that_answers_in_parts_is_counted_at_its_end(
    client: Client, double: ExporterDouble, path: str, read: int, expected: tuple[object, ...]
) -> None:
    closed: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:  # noqa: ANN401  # WSGI's
        try:
            start_response("201 Created", [("Content-Type", "text/html")])
            yield b"one"
            if environ["PATH_INFO"] == "/broken":
                raise ZeroDivisionError
            yield b"two"
        finally:
            closed.append(path)

    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    answer: Any = Measure(client).wsgi(app)(environ, lambda *_: None)
    parts = iter(answer)
    try:
        for _ in range(read):
            next(parts, None)
    except ZeroDivisionError:
        assert path == "/broken"
    answer.close()
    assert closed == [path]
    assert told(client, double) == [expected]


async def test_a_request_that_its_client_left_counts_as_499(client: Client, double: ExporterDouble) -> None:
    began = asyncio.Event()

    async def handler(_request: object) -> object:
        began.set()
        return await asyncio.Event().wait()

    headers: dict[str, str] = {}
    route = SimpleNamespace(resource=None)
    request = SimpleNamespace(method="GET", path="/", headers=headers, match_info=SimpleNamespace(route=route))
    task = asyncio.ensure_future(Measure(client).aiohttp()(request, handler))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told(client, double) == [("GET", "/", 499)]


async def test_what_a_time_limit_of_the_application_ends_was_not_left_by_the_client(
    client: Client, double: ExporterDouble
) -> None:
    @web.middleware
    async def limited(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401  # aiohttp's
        try:
            async with asyncio.timeout(0.05):
                response: web.StreamResponse = await handler(request)
                return response
        except TimeoutError:
            return web.Response(status=504)

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application(middlewares=[limited, Measure(client).aiohttp()])
    app.router.add_get("/slow", slow)
    async with TestClient(TestServer(app)) as visitor:
        assert (await visitor.get("/slow")).status == 504
    assert told(client, double) == [("GET", "/slow", 504)]


async def test_no_path_is_too_long_to_be_counted(client: Client, double: ExporterDouble) -> None:
    served = ServedRequest(client, "A" * 40_000, lambda: "/" + "é" * 40_000, "")
    served.answer(404, {}, in_parts=False)
    served.end()
    client.close()
    (event,) = double.counted
    assert event["data"]["route"] == "/" + "é" * 1999
    assert len(event["data"]["method"]) <= 50


@pytest.mark.parametrize("kind", ["http.response.body", "http.response.pathsend", "http.response.zerocopysend"])
async def test_a_file_may_be_sent_in_each_way_of_asgi(client: Client, double: ExporterDouble, kind: str) -> None:
    async def app(_scope: Message, _receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": kind})

    async def send(_message: Message) -> None: ...

    async def receive() -> Message:
        return {"type": "http.request"}

    await Measure(client).asgi(app)({"type": "http", "method": "GET", "path": "/file", "headers": []}, receive, send)
    assert told(client, double) == [("GET", "/file", 200)]


@pytest.mark.parametrize(("status", "counted"), [("204 No Content", 204), ("999 Odd", 500), ("20", 500), ("odd", 500)])
def test_whatever_status_a_wsgi_application_has_it_is_counted(
    client: Client, double: ExporterDouble, status: str, counted: int
) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:  # noqa: ANN401  # WSGI's
        start_response(status, [])
        return []

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    said: list[str] = []
    assert list(Measure(client).wsgi(app)(environ, lambda status, *_: said.append(status))) == []
    assert said == [status]
    assert told(client, double) == [("GET", "/", counted)]


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_websocket_is_answered_with_nothing_of_ours_under_way(
    client: Client, double: ExporterDouble, accepts: bool
) -> None:
    """Granian 2.8 ends its worker if a message is awaited while the application closes a websocket."""
    asked = 0
    messages: asyncio.Queue[Message] = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        try:
            return await messages.get()
        finally:
            asked -= 1

    async def send(message: Message) -> None:
        assert asked == 0, message
        await asyncio.sleep(0)
        if message["type"] == "websocket.accept":
            messages.put_nowait({"type": "websocket.receive", "text": "a"})

    async def app(_scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's
        assert (await receive())["type"] == "websocket.connect"
        await asyncio.sleep(0.01)
        if accepts:
            await send({"type": "websocket.accept"})
            assert (await receive())["text"] == "a"
        await asyncio.sleep(0.01)
        await send({"type": "websocket.close"})

    await Measure(client).asgi(app)({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    assert told(client, double) == [("GET", "/ws", *((101, "stream") if accepts else (403,)))]


async def test_what_an_application_itself_awaits_of_a_websocket_arrives(client: Client, double: ExporterDouble) -> None:
    messages: asyncio.Queue[Message] = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})

    async def send(message: Message) -> None:
        if message["type"] == "websocket.accept":
            messages.put_nowait({"type": "websocket.receive", "text": "a"})

    async def app(_scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's
        await receive()
        following = asyncio.ensure_future(receive())
        await asyncio.sleep(0.01)
        await send({"type": "websocket.accept"})
        assert (await following)["text"] == "a"
        await send({"type": "websocket.close"})

    await Measure(client).asgi(app)({"type": "websocket", "path": "/ws", "headers": []}, messages.get, send)
    assert told(client, double) == [("GET", "/ws", 101, "stream")]


@pytest.mark.parametrize(
    ("root", "mounted", "path", "route"),
    [
        ("", "/sub", "/sub/deep/9", "/sub/deep/[x]"),
        ("", "", "/deep/9", "/deep/[x]"),
        ("/api", "/api/sub", "/api/sub/deep/9", "/sub/deep/[x]"),
        ("", "/api", "/deep/9", "/deep/[x]"),  # FastAPI(root_path="/api") behind a proxy that takes it away
        ("/api", "/api", "/api/deep/9", "/deep/[x]"),
    ],
)
async def test_the_route_of_a_mounted_application_has_the_path_that_it_is_mounted_at(
    client: Client, double: ExporterDouble, root: str, mounted: str, path: str, route: str
) -> None:
    async def app(scope: Message, _receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's
        # As Starlette's Mount and then its Route do.
        scope.update({"root_path": mounted, "route": SimpleNamespace(path="/deep/{x}")})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(_message: Message) -> None: ...

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "root_path": root, "path": path, "headers": []}
    await Measure(client).asgi(app)(scope, receive, send)
    assert told(client, double) == [("GET", route, 200)]
