"""Apprise: its own JSON service and ntfy on local servers, in each form of text, and never with its own retries."""

import asyncio
import base64
import contextlib
import logging
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import get_args

import pytest

from process.settings import Secret
from receiver.channels.apprise import Apprise, Service, markdown
from receiver.channels.apprise_process import MEMORY, Format
from receiver.channels.base import Failure, Link
from receiver.clients.limited_process import Worker
from receiver.incident.model import Kind
from tests.fakes.endpoint import FakeEndpoint
from tests.receiver.channels.test_channels import fails, message

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


_opened: list[Apprise] = []


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeEndpoint]:
    server = FakeEndpoint()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def sending(url: str, form: Format = "text", timeout: float = 30) -> Apprise:
    _opened.append(Apprise({"ops": Service(Secret(url), form)}, timeout=timeout))
    return _opened[-1]


def at(server: FakeEndpoint, schema: str = "json", rest: str = "/t0pic") -> str:
    return server.url.replace("http", schema) + rest


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        (Kind.PAGE, "failure"),
        (Kind.REMINDER, "warning"),
        (Kind.ACKNOWLEDGED, "info"),
        (Kind.UPDATE, "info"),
        (Kind.RESOLVED, "success"),
    ],
)
async def test_each_kind_arrives_as_what_it_is(endpoint: FakeEndpoint, kind: Kind, sort: str) -> None:
    await sending(at(endpoint)).send(message(kind, address="ops"))
    (call,) = endpoint.calls
    assert call.path == "/t0pic"
    assert call.body["title"] == "P1 #12 HighErrorRate: High error rate detected"
    assert call.body["message"] == "12% of requests fail."
    assert call.body["type"] == sort


async def test_ntfy_is_sent_its_topic_and_its_login(endpoint: FakeEndpoint) -> None:
    host = endpoint.url.removeprefix("http://")
    await sending(f"ntfy://linh:pa55@{host}/alerts").send(message(address="ops"))
    (call,) = endpoint.calls
    assert call.body["topic"] == "alerts"
    assert call.body["message"] == "12% of requests fail."
    assert call.headers["Authorization"] == f"Basic {base64.b64encode(b'linh:pa55').decode()}"


async def test_each_form_of_text(endpoint: FakeEndpoint) -> None:
    said = []
    for form in get_args(Format):
        await sending(
            at(endpoint, rest="/t?format=markdown" if form == "markdown" else f"/t?format={form}"), form
        ).send(message(address="ops"))
        said.append(endpoint.calls[-1].body["message"])
    plain, marked, html = said
    assert plain == "12% of requests fail."
    assert "**Team**: backend" in marked
    assert "[Acknowledge or resolve](https://oncall.example.com/answer/abc.def)" in marked
    assert "<p>12% of requests fail.</p>" in html


def test_an_alert_writes_no_markdown() -> None:
    hostile = "[click](https://evil.example) **now** `x` <b> # !\n- item"
    written = markdown(message(text=hostile, fields=((hostile, hostile),), links=(Link("See", "https://a.example/"),)))
    assert "[click](" not in written
    assert "\\[click\\]\\(https://evil.example\\) \\*\\*now\\*\\*" in written
    assert [line for line in written.splitlines() if "](" in line and "\\]" not in line] == [
        "- [See](https://a.example/)"
    ]


async def test_a_url_that_asks_for_retries_is_still_tried_once(endpoint: FakeEndpoint) -> None:
    endpoint.misfortunes = [(503, {})] * 5
    error = await fails(sending(at(endpoint, rest="/t?retry=3&wait=0")), message(address="ops"))
    assert (error.reason, error.permanent, len(endpoint.calls)) == (Failure.SERVER_ERROR, False, 1)
    endpoint.calls.clear()
    error = await fails(sending(at(endpoint, rest="/t?optional=yes")), message(address="ops"))
    assert (error.reason, len(endpoint.calls)) == (Failure.SERVER_ERROR, 1)  # "optional" would be: never mind


async def test_a_redirect_is_not_followed(endpoint: FakeEndpoint) -> None:
    endpoint.misfortunes = [(307, {"Location": f"{endpoint.url}/elsewhere"})]
    error = await fails(sending(at(endpoint)), message(address="ops"))
    assert (error.reason, error.permanent, len(endpoint.calls)) == (Failure.REFUSED, True, 1)


async def test_what_is_too_long_for_a_service_is_cut(endpoint: FakeEndpoint) -> None:
    host = endpoint.url.removeprefix("http://")
    await sending(f"ntfy://{host}/alerts").send(message(address="ops", text="x" * 90_000))
    (call,) = endpoint.calls
    assert 1000 < len(call.body["message"]) < 90_000


@contextlib.asynccontextmanager
async def stubborn(
    piece: bytes, pause: float, most: int, both: asyncio.Event | None = None
) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers 200 in pieces; gives its place and how many bytes it has sent to each request.

    ``both`` is set once two are being answered.
    """
    sent, answering = list[int](), list[asyncio.Task[object]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(sent)
        sent.append(0)
        if both is not None and len(sent) > 1:
            both.set()
        task = asyncio.current_task()
        answering.extend([task] if task else [])
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % most)
            while sent[number] < most:
                writer.write(piece)
                await writer.drain()
                sent[number] += len(piece)
                await asyncio.sleep(pause)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", sent
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


async def test_an_answer_without_end_costs_neither_memory_nor_time() -> None:
    async with stubborn(b"x" * (1 << 20), 0, 400 << 20) as (place, sent):
        for _ in range(2):  # the first also loads what Apprise needs
            before = resident()
            error = await fails(sending(f"json://{place}/t0pic", timeout=20), message(address="ops"))
            assert (error.reason, error.permanent) == (Failure.SERVER_ERROR, False)
        assert resident() - before < 20 << 20
        assert max(sent) < MEMORY
    assert "t0pic" not in str(error)


async def test_an_answer_that_drips_ends_with_its_time_and_holds_up_nobody_else(endpoint: FakeEndpoint) -> None:
    for patience in (8.0, 60.0):  # a busy machine takes longer to start what sends
        both = asyncio.Event()
        async with stubborn(b"x", 0.05, 1 << 20, both) as (place, sent):
            slow = Service(Secret(f"json://{place}/t"))
            with contextlib.closing(
                Apprise({"slow": slow, "ops": Service(Secret(at(endpoint)))}, timeout=patience)
            ) as channel:
                stuck = [asyncio.ensure_future(fails(channel, message(address="slow"))) for _ in range(3)]
                await asyncio.wait_for(both.wait(), 60)
                await channel.send(message(address="ops"))
                was_held_up = any(each.done() for each in stuck)
                assert {(await each).reason for each in stuck} == {Failure.TIMEOUT}
        if not was_held_up:
            break
    assert endpoint.calls
    assert not was_held_up
    assert len(sent) == 2  # what has not begun in time never begins


async def test_no_answer_in_time_is_no_connection_error_although_we_look_late(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Worker.ask
    monkeypatch.setattr(Worker, "ask", lambda worker, line, deadline: asked(worker, line, deadline + 2))
    endpoint.hang = 60
    error = await fails(sending(at(endpoint), timeout=0.2), message(address="ops"))
    assert (error.reason, error.permanent) == (Failure.TIMEOUT, False)


async def test_why_it_failed_is_known_however_quiet_the_log_is(
    endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("apprise").setLevel(logging.NOTSET)
    caplog.set_level(logging.ERROR)  # as --log.level=error does
    endpoint.misfortunes = [(401, {})]
    error = await fails(sending(at(endpoint)), message(address="ops"))
    assert (error.reason, error.permanent) == (Failure.AUTH, True)


async def test_a_service_that_left_the_configuration(endpoint: FakeEndpoint) -> None:
    error = await fails(sending(at(endpoint)), message(address="gone"))
    assert (error.reason, error.permanent) == (Failure.BAD_ADDRESS, True)
    assert "channels.apprise.services" in str(error)


@pytest.mark.parametrize("url", ["nonsense", "unknown://host/s3cret", "tgram://s3cret", ""])
def test_a_url_that_apprise_does_not_know(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match=r"^ops$"):
        sending(url)
    assert "s3cret" not in caplog.text


async def test_nothing_of_its_log_is_shown(endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.misfortunes = [(503, {})]
    error = await fails(sending(at(endpoint, rest="/s3cret")), message(address="ops"))
    assert error.reason is Failure.SERVER_ERROR
    logging.getLogger("apprise").warning("of somebody else")
    assert "s3cret" not in caplog.text
    assert "of somebody else" in caplog.text
