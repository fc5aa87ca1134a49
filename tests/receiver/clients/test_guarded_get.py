"""Where a secret URL may lead: redirects into our own network, endless ones, and answers that are too large."""

import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from process.settings import Secret
from receiver.clients.guarded_get import FetchError, get, is_public
from receiver.workers.heartbeat import Heartbeat


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    seen.clear()

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        target = request.query.get("to")
        return web.Response(status=302, headers={"Location": target}) if target else web.Response(text="inner secret")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    started = TestServer(app)
    await started.start_server()
    yield started
    await started.close()


seen: list[str] = []


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/inner",
        "http://localhost:{port}/inner",
        "http://[::1]:{port}/inner",
        "http://[::ffff:127.0.0.1]:{port}/inner",
        "http://0.0.0.0:{port}/inner",
        "http://127.1:{port}/inner",
        "http://2130706433:{port}/inner",
        "//localhost:{port}/inner",
        "/inner",
        "file:///etc/passwd",
        "ftp://localhost/inner",
        "http:///inner",
    ],
)
async def test_a_redirect_into_our_own_network_is_not_followed(
    session: aiohttp.ClientSession, server: TestServer, target: str
) -> None:
    url = server.make_url("/outer").with_query(to=target.format(port=server.port))
    with pytest.raises(FetchError) as caught:
        await get(session, str(url), seconds=5, largest=1000, private_redirects=False)
    assert seen == ["/outer"]
    assert "inner" not in str(caught.value)


async def test_it_is_followed_if_the_configuration_allows_it(
    session: aiohttp.ClientSession, server: TestServer
) -> None:
    url = str(server.make_url("/outer").with_query(to="/inner"))
    assert await get(session, url, seconds=5, largest=1000, private_redirects=True) == (200, b"inner secret")
    loop = str(server.make_url("/outer").with_query(to="/outer?to=/outer%3Fto=/outer"))
    with pytest.raises(FetchError):
        await get(session, loop, seconds=5, largest=2, private_redirects=True)


async def test_redirects_without_an_end_and_answers_without_an_end_are_refused(
    session: aiohttp.ClientSession,
) -> None:
    async def around(request: web.Request) -> web.StreamResponse:
        if request.path == "/around":
            raise web.HTTPFound("/around")
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    app = web.Application()
    app.router.add_get("/{any:.*}", around)
    async with TestServer(app) as server:
        for path in ("/around", "/endless"):
            with pytest.raises(FetchError):
                await get(session, str(server.make_url(path)), seconds=5, largest=1 << 20, private_redirects=True)


async def test_a_heartbeat_goes_nowhere_else_and_its_answer_is_in_no_log(
    session: aiohttp.ClientSession, server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = Secret(str(server.make_url("/ping-uuid").with_query(to="/inner")))
    with caplog.at_level(logging.DEBUG):
        assert not await Heartbeat(url, session, lambda: True, private_redirects=False).run_once()
        assert seen == ["/ping-uuid"]
        assert await Heartbeat(url, session, lambda: True, private_redirects=True).run_once()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("receiver")]
    assert len(said) == 1
    assert not any("uuid" in text or "inner" in text for text in said)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("93.184.216.34", True), ("2606:2800:220:1::1", True), ("10.0.0.1", False), ("192.168.1.1", False)),
        *(("169.254.169.254", False), ("100.64.0.1", False), ("127.0.0.1", False), ("0.0.0.0", False)),  # noqa: S104
        *(("::1", False), ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:10.0.0.1", False)),
        *(("64:ff9b::a00:1", False), ("64:ff9b::5db8:d822", True), ("2002:a00:1::", False), ("224.0.0.1", False)),
        ("example.com", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) == public


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Content-Encoding": "gzip"}, "decompressed"),
        ({"Content-Encoding": "br"}, "Content-Encoding"),
        ({"Location": "http://[::1"}, "not a URL"),
    ],
)
async def test_what_is_wrong_with_an_answer_is_said_in_words(
    session: aiohttp.ClientSession, headers: dict[str, str], named: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302 if "Location" in headers else 200, headers=headers, body=b"plain")

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        with pytest.raises(FetchError, match=named):
            await get(session, str(server.make_url("/")), seconds=5, largest=100, private_redirects=True)
