"""Apprise: its own JSON service and ntfy on local servers, in each form of text, and never with its own retries."""

import base64
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import get_args

import pytest

from process.settings import Secret
from receiver.channels.apprise import Apprise, Format, Service, markdown
from receiver.channels.base import Failure, Link
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


def sending(url: str, form: Format = "text", timeout: float = 5) -> Apprise:
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


async def test_what_has_not_begun_in_time_never_begins(endpoint: FakeEndpoint) -> None:
    """With every thread hanging, the next message must not go out long after it was counted as failed."""
    channel, gate = sending(at(endpoint), timeout=0.3), threading.Event()
    busy = [channel._threads["ops"].submit(gate.wait) for _ in range(8)]  # noqa: SLF001  # all the threads there are
    error = await fails(channel, message(address="ops"))
    assert (error.reason, error.permanent) == (Failure.TIMEOUT, False)
    gate.set()
    for each in busy:
        each.result()
    channel._threads["ops"].submit(int).result()  # noqa: SLF001  # the queue is empty when this is done
    assert not endpoint.calls


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


async def test_two_channels_at_once_keep_their_logs_apart(
    endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is for a moment when the configuration is read again."""
    caplog.set_level(logging.DEBUG)
    old, new = sending(at(endpoint, rest="/s3cret")), sending(at(endpoint, rest="/s3cret"))
    old.close()
    endpoint.misfortunes = [(503, {})]
    assert (await fails(new, message(address="ops"))).reason is Failure.SERVER_ERROR
    logging.getLogger("apprise").warning("of somebody else")
    assert "s3cret" not in caplog.text
    assert "of somebody else" in caplog.text
