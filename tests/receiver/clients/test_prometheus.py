"""The Prometheus client: what it asks, what it makes of the answers, and each way in which it can fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from receiver.clients import http_api
from receiver.clients.alertmanager import AlertmanagerApi
from receiver.clients.http_api import ApiError, Failure
from receiver.clients.prometheus import MAX_POINTS, Prometheus, pieces


class Double:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, str]], web.StreamResponse] = lambda _asked: web.Response()
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        fields = {k: str(v) for k, v in (await request.post() or request.query).items()}
        self.asked.append((request.method, request.path, fields))
        self.headers = dict(request.headers)
        return self.answer(fields)


@pytest.fixture
async def double() -> AsyncIterator[tuple[Double, Prometheus]]:
    double = Double()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", double.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield double, Prometheus(session, str(server.make_url("/")), {"Authorization": "Bearer t"}, timeout=30)


def data(kind: str, *result: object) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}})


async def test_a_long_range_is_asked_in_pieces_and_joined(double: tuple[Double, Prometheus]) -> None:
    server, prometheus = double
    server.answer = lambda asked: data(
        "matrix", {"metric": {"job": "a"}, "values": [[float(asked["start"]), "1"], [float(asked["end"]), "+Inf"]]}
    )
    end = 10.0 * (MAX_POINTS + 5)
    series = await prometheus.range("up", 0.0, end, 10)
    assert series == {
        (("job", "a"),): [(0.0, 1.0), (99_990.0, float("inf")), (100_000.0, 1.0), (100_050.0, float("inf"))]
    }
    assert [(method, path) for method, path, _ in server.asked] == [("POST", "/api/v1/query_range")] * 2
    assert server.headers["Authorization"] == "Bearer t"


async def test_stored_samples_are_taken_once_though_pieces_overlap(double: tuple[Double, Prometheus]) -> None:
    server, prometheus = double
    server.answer = lambda _asked: data(
        "matrix", {"metric": {}, "values": [[86_399.5, "1"], [86_400.0, "2"], [86_400.5, "3"]]}
    )
    series = await prometheus.stored_samples("up", 0.0, 86_401.0)
    assert series == {(): [(86_399.5, 1.0), (86_400.0, 2.0), (86_400.5, 3.0)]}
    assert [asked["query"] for _, _, asked in server.asked] == ["up[86400s]", "up[1s]"]


async def test_an_instant_query_gives_values_and_takes_a_scalar(double: tuple[Double, Prometheus]) -> None:
    server, prometheus = double
    server.answer = lambda _asked: data("vector", {"metric": {"b": "2", "a": "1"}, "value": [1.0, "0.5"]})
    assert await prometheus.instant("up", 1.0) == {(("a", "1"), ("b", "2")): 0.5}
    server.answer = lambda _asked: data("scalar", 1.0, "3")
    assert await prometheus.instant("3", 1.0) == {(): 3.0}


async def test_alerting_rules_are_listed_by_group(double: tuple[Double, Prometheus]) -> None:
    server, prometheus = double
    rule = {"name": "A", "type": "alerting", "query": "up == 0", "duration": 60, "labels": {"priority": "P1"}}
    group = {"file": "/r.yml", "interval": 30, "rules": [rule, {"name": "a:b", "type": "recording"}]}
    server.answer = lambda _asked: web.json_response({"status": "success", "data": {"groups": [group]}})
    (only,) = await prometheus.alerting_rules()
    assert (only.name, only.duration, only.interval, only.file) == ("A", 60, 30, "/r.yml")
    assert server.asked == [("GET", "/api/v1/rules", {"type": "alert"})]


@pytest.mark.parametrize(
    ("body", "status", "failure"),
    [
        (b"<html>", 200, Failure.UNREADABLE),
        (b"\xff", 200, Failure.UNREADABLE),
        (b'{"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}}', 200, Failure.UNREADABLE),
        (b'{"data": {"resultType": "scalar", "result": {}}}', 200, Failure.UNREADABLE),
        (b'{"status": "error", "error": "parse\\nerror"}', 400, Failure.REFUSED),
        (b"<html>", 502, Failure.REFUSED),
        (b"", 302, Failure.REFUSED),
    ],
)
async def test_every_bad_answer_is_an_error_of_a_named_kind(
    double: tuple[Double, Prometheus], body: bytes, status: int, failure: Failure
) -> None:
    server, prometheus = double
    server.answer = lambda _asked: web.Response(body=body, status=status, headers={"Location": "/elsewhere"})
    with pytest.raises(ApiError) as raised:
        await prometheus.instant("up", 1.0)
    assert raised.value.failure is failure
    assert "\n" not in str(raised.value)
    assert len(server.asked) == 1


async def test_what_prometheus_says_of_a_query_is_told_and_cut(double: tuple[Double, Prometheus]) -> None:
    server, prometheus = double
    server.answer = lambda _asked: web.json_response({"status": "error", "error": "e" * 10_000}, status=400)
    with pytest.raises(ApiError) as raised:
        await prometheus.instant("up", 1.0)
    assert "eee" in str(raised.value)
    assert len(str(raised.value)) < 400


async def test_an_answer_without_end_is_left() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", endless)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(ApiError) as raised:
            await http_api.call(
                session, "GET", str(server.make_url("/")), name="X", seconds=30, headers={}, largest=1 << 20
            )
    assert raised.value.failure is Failure.TOO_LARGE


async def test_a_server_that_never_answers_is_left() -> None:
    released = asyncio.Event()

    async def silent(_request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", silent)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(ApiError) as raised:
            await Prometheus(session, str(server.make_url("/")), timeout=0.05).instant("up", 1.0)
        released.set()
    assert raised.value.failure is Failure.TIMED_OUT


@pytest.mark.parametrize("url", ["http://user:hidden@127.0.0.1:1", "http://user:hidden@[bad"])
async def test_what_cannot_be_reached_is_told_without_the_credentials(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for question in (Prometheus(session, url).instant("up", 1.0), AlertmanagerApi(url, session).view()):
            with pytest.raises(ApiError) as raised:
                await question
            assert raised.value.failure is Failure.UNREACHABLE
            assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(("body", "status"), [(b"<html>", 200), (json.dumps([{"a": 1}]).encode(), 200), (b"", 503)])
async def test_alertmanager_fails_in_the_same_ways(body: bytes, status: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(ApiError) as raised:
            await AlertmanagerApi(str(server.make_url("/")), session).view()
    assert raised.value.failure is (Failure.UNREADABLE if status == 200 else Failure.REFUSED)


@given(st.integers(0, 100_000), st.integers(0, 50_000), st.integers(1, 300), st.integers(2, 500))
def test_pieces_ask_for_each_moment_once(start: int, length: int, step: int, points: int) -> None:
    asked = [
        begin + n * step
        for begin, end in pieces(start, start + length, step, points)
        for n in range(int((end - begin) // step) + 1)
    ]
    assert asked == list(range(start, start + length + 1, step))
    assert all((end - begin) // step < points for begin, end in pieces(start, start + length, step, points))
