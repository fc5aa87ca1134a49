"""Connections are bounded, slow ones end, whoever has authenticated gets in, and no body is larger than it may be."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, closing, suppress
from socket import SO_RCVBUF, SOL_SOCKET, socket, socketpair
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.ports import free_port
from process import listener as serving
from process.listener import Connection, Connections, Listener, note_request
from process.logs import BURST, PERIOD, RateLimit
from process.settings import Secret
from process.web import answer_malformed, read_body, read_form, require_bearer, whole_number
from tests.stories.stack import until

TOKEN = {"Authorization": "Bearer token"}
LIMIT = 1024 * 1024
LARGE = 16 * LIMIT  # more than the kernel keeps for a connection
HALF = b"POST /open HTTP/1.1\r\nHost: x\r\nX-"


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Place(NamedTuple):
    port: int
    time: Time
    connections: Connections
    read: list[int]
    session: aiohttp.ClientSession
    responding: list[asyncio.Transport]

    async def half(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send half a header."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(HALF)
        return reader, writer

    async def post(self, path: str, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> int:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.post(url, data=body, headers=headers) as answer:
            return answer.status


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    read: list[int] = []
    responding: list[asyncio.Transport] = []

    async def take(request: web.Request) -> web.Response:
        read.append(len(await read_body(request, LIMIT, 0.5)))
        return web.Response()

    async def form(request: web.Request) -> web.Response:
        return web.json_response(await read_form(request, LIMIT))

    async def deep(_request: web.Request) -> web.Response:
        raise RecursionError

    async def large(request: web.Request) -> web.Response:
        assert request.transport is not None
        responding.append(request.transport)
        return web.Response(body=bytes(LARGE))

    app = web.Application(middlewares=[note_request, answer_malformed])
    closed = web.Application(middlewares=[require_bearer(Secret("token"), "")])
    closed.add_routes([web.post("/take", take)])
    app.add_subapp("/closed", closed)
    app.add_routes([web.get("/large", large)])
    app.add_routes([web.post("/open", take), web.post("/form", form), web.post("/deep", deep)])
    time, port = Time(), free_port()
    connections = Connections(20, time)
    listener = Listener(app, None, connections, shutdown_timeout=1)
    await listener.start("127.0.0.1", port)
    async with aiohttp.ClientSession() as session:
        yield Place(port, time, connections, read, session, responding)
    await listener.close()


async def test_half_headers_take_no_place_for_long(place: Place) -> None:
    slow = [await place.half() for _ in range(100)]
    assert await place.post("/open") == 200
    assert len(place.connections) <= 20
    assert sum([await _ended(reader) for reader, _ in slow[:80]]) == 80  # the oldest went first
    place.time.now += serving.FIRST_REQUEST + 1
    assert all([await _ended(reader) for reader, _ in slow])  # each is awaited
    assert await place.post("/open") == 200
    for _, writer in slow:
        writer.close()


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 30) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(("seconds", "whole"), [(serving.READ_RESPONSE - 1, True), (serving.READ_RESPONSE + 1, False)])
async def test_a_response_that_nobody_reads_is_not_kept_for_long(place: Place, seconds: float, whole: bool) -> None:
    loop = asyncio.get_running_loop()
    with closing(socket()) as reader:
        reader.setblocking(False)  # noqa: FBT003
        reader.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        await loop.sock_connect(reader, ("127.0.0.1", place.port))
        await loop.sock_sendall(reader, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await until("it waits", lambda: any(one.get_write_buffer_size() for one in place.responding))
        place.connections.sweep()
        place.time.now += seconds
        place.connections.sweep()
        received = 0
        with suppress(ConnectionError):
            while piece := await loop.sock_recv(reader, 1 << 20):
                received += len(piece)
        assert (received > LARGE) is whole


async def test_an_authenticated_peer_keeps_its_connection_through_a_flood(place: Place) -> None:
    assert await place.post("/closed/take", headers=TOKEN) == 200
    slow = [await place.half() for _ in range(100)]
    assert await place.post("/closed/take", headers=TOKEN) == 200
    assert len(place.connections) <= 20
    for _, writer in slow:
        writer.close()


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer s3cret\x00",
        b"Authorization : Bearer s3cret",
        b"Authorization: Bearer s3cret" + b"x" * 9000,
        b"Content-Length: s3cret",
        b"Transfer-Encoding: chunked\r\n\r\ns3cret",
    ],
)
async def test_a_malformed_request_is_logged_without_what_it_holds(
    place: Place, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(b"POST /open HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 30)).split()[1] == b"400"
        writer.close()
    record = next(one for one in caplog.records if one.name == "aiohttp.server")
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "127.0.0.1" in record.getMessage()
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_inflated_no_further_than_its_limit_and_without_a_token_not_at_all(
    place: Place, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflated = 0
    real = zlib.decompressobj

    class Counting:
        def __init__(self, window: int) -> None:
            self._real = real(window)

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def decompress(self, data: bytes, most: int = 0) -> bytes:
            nonlocal inflated
            piece = self._real.decompress(data, most)
            inflated += len(piece)
            return piece

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    zeros = bytes(200 * LIMIT)
    bomb = gzip.compress(zeros, 1) if encoding == "gzip" else zlib.compress(zeros, 1)
    headers = {"Content-Encoding": encoding}
    assert len(bomb) < LIMIT
    assert await place.post("/closed/take", bomb, headers) == 401
    assert inflated == 0
    assert await place.post("/closed/take", bomb, {**headers, **TOKEN}) == 413
    assert await place.post("/open", bomb, headers) == 413
    assert inflated <= 2 * 2 * LIMIT
    assert place.read == []


@pytest.mark.parametrize(
    ("encoding", "stream"),
    [("gzip", gzip.compress(b"", mtime=0)), ("deflate", zlib.compress(b"")), ("deflate", b"\x03\x00")],
)
async def test_a_body_of_many_empty_streams_costs_no_more_than_its_length(
    place: Place, encoding: str, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = made = 0
    real = zlib.decompressobj

    class Counting:
        def __init__(self, window: int) -> None:
            nonlocal made
            made += 1
            self._real = real(window)

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def decompress(self, data: bytes, most: int = 0) -> bytes:
            nonlocal fed
            fed += len(data)  # what is behind the end of a stream is copied
            return self._real.decompress(data, most)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    body = stream * (LIMIT // len(stream))
    assert await place.post("/open", body, {"Content-Encoding": encoding}) == 400
    assert (made <= 1000, fed <= 16 * LIMIT) == (True, True)
    assert place.read == []


async def test_members_of_gzip_may_be_many_and_of_any_length(place: Place) -> None:
    parts = [b"x" * (997 * n % 3001) for n in range(300)] + [b"", bytes(range(256)) * 900, b""]
    body = b"".join(gzip.compress(part, mtime=0) for part in parts)
    assert await place.post("/open", body, {"Content-Encoding": "gzip"}) == 200
    assert place.read == [len(b"".join(parts))]
    assert await place.post("/open", gzip.compress(b"", mtime=0) * 1000, {"Content-Encoding": "gzip"}) == 200


GZIPPED = gzip.compress(b"x" * 1000, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", GZIPPED, 200),
        ("GZIP", GZIPPED, 200),
        ("gzip", GZIPPED[:500] + gzip.compress(b"y", mtime=0), 200),
        ("deflate", zlib.compress(b"x" * 1000), 200),
        ("deflate", zlib.compress(b"x" * 1000)[2:-4], 200),  # as some send it
        ("gzip", b"", 200),
        ("gzip", GZIPPED[:-1], 400),
        ("gzip", GZIPPED + b"junk", 400),
        ("gzip", b"junk", 400),
        ("deflate", GZIPPED[3:], 400),
        ("deflate", zlib.compress(b"x") * 2, 400),  # it is one stream (RFC 9110, 8.4.1.2)
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
    ],
)
async def test_encodings(place: Place, encoding: str, body: bytes, status: int) -> None:
    assert await place.post("/open", body, {"Content-Encoding": encoding}) == status


@given(st.binary(max_size=3000), st.integers(1, 3), st.booleans())
def test_what_is_compressed_comes_out_as_it_was(body: bytes, members: int, gzipped: bool) -> None:
    async def run() -> None:
        bodies: list[bytes] = []

        async def take(request: web.Request) -> web.Response:
            bodies.append(await read_body(request, LIMIT))
            return web.Response()

        app = web.Application()
        app.add_routes([web.post("/", take)])
        port = free_port()
        listener = Listener(app, None, Connections(20, Time()), shutdown_timeout=1)
        await listener.start("127.0.0.1", port)
        sent = gzip.compress(body) * members if gzipped else zlib.compress(body)
        headers = {"Content-Encoding": "gzip" if gzipped else "deflate"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/", data=sent, headers=headers) as answer,
        ):
            assert answer.status == 200
        await listener.close()
        assert bodies == [body * (members if gzipped else 1)]

    asyncio.run(run())


@pytest.mark.parametrize("header", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_never_ends_is_given_up(place: Place, header: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(b"POST /open HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 408")
    writer.close()


@pytest.mark.parametrize("charset", ["utf-8", "nonsense", "utf-16", b"\x00".hex(), "base64", "rot13"])
async def test_no_charset_is_looked_at(place: Place, charset: str) -> None:
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    for body in (b"verb=acknowledge", b"\xff=\xfe", b"a=%ff", b"&" * 30):
        assert await place.post("/form", body, {"Content-Type": kind}) == 200
    assert await place.post("/form", b"a=1&" * 1000, {"Content-Type": kind}) == 400


async def test_a_recursion_error_is_the_senders(place: Place) -> None:
    assert await place.post("/deep") == 400


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("7", 7),
        ("1000", 1000),
        ("1001", None),
        ("9" * 5000, None),
        ("", None),
        ("-1", None),
        ("\u0667", None),
        ("1e3", None),
    ],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text, 1000) == number


def _sockets(stack: ExitStack, number: int) -> list[socket]:
    sockets = []
    for _ in range(number):
        ours, theirs = socketpair()
        stack.enter_context(closing(theirs))
        sockets.append(stack.enter_context(closing(ours)))
    return sockets


class Ended:
    """Stands for a transport that notes its end."""

    def __init__(self, connection: Connection, ended: list[str]) -> None:
        self._connection, self._ended = connection, ended

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._ended.append(self._connection.group)
        self._connection.socket.close()


def _open(connections: Connections, sock: socket, peer: str, ended: list[str]) -> Connection:
    connection = connections.add(sock, peer)
    connection.transport = Ended(connection, ended)  # type: ignore[assignment]
    return connection


def test_the_peer_with_most_connections_gives_way() -> None:
    with ExitStack() as stack:
        connections, ended = Connections(12, Time()), list[str]()
        for number, sock in enumerate(_sockets(stack, 40)):
            peer = f"10.0.0.{number}" if number < 5 else "203.0.113.7"
            _open(connections, sock, peer, ended)
        assert set(ended) == {"203.0.113.7"}
        assert len(connections) == 9  # the rest is kept for those who authenticate


def test_the_addresses_of_one_ipv6_customer_are_one_peer() -> None:
    with ExitStack() as stack:
        connections, ended = Connections(12, Time()), list[str]()
        for number, sock in enumerate(_sockets(stack, 30)):
            _open(connections, sock, f"2001:db8::{number:x}" if number > 4 else f"10.0.0.{number}", ended)
        assert set(ended) == {"2001:db8::/56"}


def test_those_who_authenticate_give_way_only_to_each_other() -> None:
    with ExitStack() as stack:
        connections, ended = Connections(12, Time()), list[str]()
        sockets = iter(_sockets(stack, 100))
        for number in range(3):
            connections.trust(_open(connections, next(sockets), f"10.0.0.{number}", ended))
        for number in range(50):
            _open(connections, next(sockets), f"10.1.0.{number}", ended)
        assert not [peer for peer in ended if peer.startswith("10.0.0.")]
        for _ in range(12):
            assert _open(connections, next(sockets), "10.0.0.1", ended).is_trusted
        assert len(connections) == 12
        assert len([peer for peer in ended if peer.startswith("10.0.0.")]) == 3


def test_one_that_has_asked_outlives_one_that_has_not() -> None:
    with ExitStack() as stack:
        connections, ended = Connections(4, Time()), list[str]()
        opened = [_open(connections, sock, "10.0.0.1", ended) for sock in _sockets(stack, 3)]
        connections.used(opened[0])
        for sock in _sockets(stack, 5):
            _open(connections, sock, "10.0.0.1", ended)
        assert not opened[0].is_closed
        assert opened[1].is_closed


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["open", "use", "trust", "close", "wait"])), max_size=60
    )
)
def test_there_are_never_more_than_the_limit(steps: list[tuple[str, str]]) -> None:
    with ExitStack() as stack:
        time = Time()
        connections, ended, opened = Connections(6, time), list[str](), list[Connection]()
        for peer, step in steps:
            chosen = next((one for one in reversed(opened) if one.group == peer and not one.is_closed), None)
            if step == "open":
                opened.append(_open(connections, _sockets(stack, 1)[0], peer * 3, ended))
            elif step == "wait":
                time.now += 1
                connections.sweep()
            elif chosen is not None and step == "close":
                chosen.socket.close()
            elif chosen is not None:
                (connections.used if step == "use" else connections.trust)(chosen)
            assert len(connections) <= 6
            assert sum(not one.is_closed for one in opened) <= 6


def test_one_kind_of_entry_does_not_fill_the_log() -> None:
    time = Time()
    limit = RateLimit(time)

    def passes(name: str, text: str, *values: object) -> logging.LogRecord | None:
        record = logging.LogRecord(name, logging.WARNING, "", 0, text, values, None)
        return record if limit.filter(record) else None

    assert sum(passes("a", "refused %s", number) is not None for number in range(1000)) == BURST
    assert passes("a", "something else") is not None
    assert passes("b", "refused %s", 1) is not None
    time.now += PERIOD
    record = passes("a", "refused %s", 1)
    assert record is not None
    assert record.__dict__["facts"]["left_out"] == 1000 - BURST
    for number in range(10_000):
        passes("c", f"text {number}")
    assert passes("a", "refused %s", 1) is not None


async def test_a_post_may_be_answered_without_the_application_unless_it_is_written_in_another_way() -> None:
    async def application(_request: web.Request) -> web.Response:
        return web.Response(text="application")

    async def direct(request: web.Request) -> web.Response:
        return web.Response(text=f"direct, {len(await request.read())} bytes")

    app, port = web.Application(), free_port()
    app.add_routes([web.route("*", "/events", application)])
    listener = Listener(app, None, Connections(5, Time()), shutdown_timeout=1, posts={"/events": direct})
    await listener.start("127.0.0.1", port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def ask(method: str, path: str, *, expect: bool = False) -> str:
            async with session.request(method, path, data=b"four", expect100=expect) as answer:
                return await answer.text()

        assert await ask("POST", "/events") == "direct, 4 bytes"
        assert await ask("POST", "/events?a=b") == "application"
        assert await ask("PUT", "/events") == "application"
        assert await ask("POST", "/events", expect=True) == "application"
    await listener.close()
