"""What can go wrong on the wire, on every channel: one request, the right kind of failure, and no secret in it."""

import asyncio
import base64
import contextlib
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
import msgspec
import pytest
from aiosmtpd import smtp as aiosmtpd
from py_vapid import Vapid02

from process.settings import Secret
from receiver.channels.apprise import Apprise, Service
from receiver.channels.base import Channel, Failure, Message, SendError
from receiver.channels.email import Email
from receiver.channels.pagerduty import PagerDutyEvents, PagerDutyRest
from receiver.channels.push import Push
from receiver.channels.slack import Slack, SlackWebhooks
from receiver.channels.twilio import Line, Sms
from receiver.channels.webhook import Endpoint, Webhook, keys
from receiver.clients.http_api import open_session
from receiver.incident.model import Kind
from receiver.store.push import PushStore, Subscription
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.push import FakePush
from tests.fakes.server import FakeServer
from tests.fakes.slack import WEBHOOK, FakeSlack
from tests.fakes.smtp import FakeSMTP
from tests.fakes.twilio import SID, FakeTwilio
from tests.receiver.channels.test_channels import message

ROUTING_KEY, REST_TOKEN, SLACK_TOKEN, PASSWORD = "k" * 32, "rest-s3cret", "xoxb-s3cret", "smtp-s3cret"
HOOK, TOPIC, SIGNING = (
    "hook-s3cret",
    "topic-s3cret",
    "whsec_" + base64.b64encode(b"signing-s3cret-of-24-bytes").decode(),
)
SECRETS = (
    *(ROUTING_KEY, REST_TOKEN, SLACK_TOKEN, PASSWORD, base64.b64encode(PASSWORD.encode()).decode()),
    *(HOOK, TOPIC, SIGNING.removeprefix("whsec_")),
)
SIGNER = Vapid02()
SIGNER.generate_keys()
HTTP = ("events", "rest", "slack", "slack webhook", "webhook", "apprise", "push", "sms")
# A channel's time limits: on a busy machine the first may be over before a request has left, so more time follows.
PATIENCES = (0.2, 2.0, 20.0)
ANY_2XX = ("webhook", "apprise")  # what these talk to is anybody's: any 2xx means that it has arrived
# Python 3.11's own imghdr, which Apprise's e-mail plugin still imports.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class OneDevice:
    """Knows one device, and forgets what becomes of it."""

    def __init__(self, url: str) -> None:
        service = FakePush()
        service.url = url
        self._device = service.subscribe(HOOK)

    async def subscriptions(self, _person: str) -> list[Subscription]:
        return [self._device]

    async def note_pushes(self, outcomes: object, now: object) -> None:
        pass


@dataclass
class Wire:
    """A channel, its provider, and a message that would arrive."""

    channel: Channel
    server: FakeServer
    message: Message


@asynccontextmanager
async def connected(name: str, patience: float = 30, url: str = "") -> AsyncIterator[Wire]:
    """The channel ``name`` and a provider that it talks to over HTTP; ``url`` leads elsewhere."""
    server = _server(name)
    await server.start()
    try:
        async with open_session() as session:
            channel = _channel(name, url or server.url, session, patience)
            with closing(channel) if isinstance(channel, Closing) else contextlib.nullcontext():
                yield Wire(channel, server, message(address="+4917012345678" if name == "sms" else "#alerts"))
    finally:
        await server.stop()


Closing = PagerDutyEvents | PagerDutyRest | Apprise


def _server(name: str) -> FakeServer:
    if name.startswith("slack"):
        return FakeSlack(SLACK_TOKEN, {"#alerts"}, {HOOK: "#alerts"})
    if name in {"push", "sms"}:
        return FakePush() if name == "push" else FakeTwilio(REST_TOKEN)
    return FakeEndpoint() if name in ANY_2XX else FakePagerDuty({ROUTING_KEY}, token=REST_TOKEN)


def _push(url: str, session: aiohttp.ClientSession, patience: float) -> Push:
    devices = cast("PushStore", OneDevice(url))
    return Push(devices, session, lambda: SIGNER, contact="https://example.com", hosts=[url], timeout=patience)


def _channel(name: str, url: str, session: aiohttp.ClientSession, patience: float) -> Channel | Closing:
    if name == "push":
        return _push(url, session, patience)
    if name == "sms":
        return Sms(Line(SID, Secret(REST_TOKEN), "+4930123456", url, patience), session, "https://example.com")
    return _other(name, url, session, patience)


def _other(name: str, url: str, session: aiohttp.ClientSession, patience: float) -> Channel | Closing:
    match name:
        case "events":
            return PagerDutyEvents({"#alerts": Secret(ROUTING_KEY)}, session, timeout=patience, api_url=url)
        case "rest":
            services = {"#alerts": "PABC123"}
            return PagerDutyRest(
                services, Secret(REST_TOKEN), "alerts@example.com", session, timeout=patience, api_url=url
            )
        case "slack":
            return Slack(Secret(SLACK_TOKEN), session, timeout=patience, api_url=f"{url}/api/")
        case "slack webhook":
            return SlackWebhooks({"#alerts": Secret(url + WEBHOOK + HOOK)}, session, timeout=patience)
        case "webhook":
            endpoint = Endpoint(Secret(f"{url}/{HOOK}"), keys(SIGNING))
            return Webhook({"#alerts": endpoint}, session, timeout=patience)
    service = Service(Secret(url.replace("http", "json") + f"/{TOPIC}"))
    return Apprise({"#alerts": service}, timeout=patience)


def mail_to(server: FakeSMTP, patience: float = 30, **options: object) -> Email:
    options = {"tls": "none", "sender": "alerts@example.com", **options}
    return Email("127.0.0.1", server.port, timeout=patience, **options)  # type: ignore[arg-type]


@pytest.fixture
def smtp() -> Iterator[FakeSMTP]:
    server = FakeSMTP()
    server.start()
    yield server
    server.stop()


async def failure(channel: Channel, sent: Message) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(sent)
    # `from None`: a traceback must not quote what the SDK says, for that may quote what was sent.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    return caught.value


def expected(status: int) -> tuple[Failure, bool]:
    """What a status means for retrying, whoever says it. A 2xx that is not the provider's own proves nothing."""
    if status == 429:
        return Failure.RATE_LIMITED, False
    if status == 408:
        return Failure.TIMEOUT, False
    if status in {401, 403}:
        return Failure.AUTH, True
    return (Failure.REFUSED, True) if 300 <= status < 500 else (Failure.SERVER_ERROR, False)


@pytest.mark.parametrize("name", HTTP)
async def test_every_status_is_one_request_and_one_kind_of_failure(name: str) -> None:
    async with connected(name) as line:
        for status in range(200, 600):
            await ends_as_expected(name, line, status, "text/plain")
        await line.channel.send(line.message)  # and the connection is as good as before


@pytest.mark.parametrize("words", ["", "[]", "null", '{"ok": fal', '{"error": 3}', '{"ok": true, "ts": "'])
@pytest.mark.parametrize("name", HTTP)
async def test_an_answer_that_is_not_the_providers_own_changes_nothing(name: str, words: str) -> None:
    async with connected(name) as line:
        line.server.words = words
        for status in (200, 202, 204, 302, 400, 401, 404, 408, 413, 429, 500, 502, 503):
            await ends_as_expected(name, line, status, "application/json")


async def ends_as_expected(name: str, line: Wire, status: int, kind: str) -> None:
    line.server.calls.clear()
    line.server.misfortunes = [(status, {"Retry-After": "17", "Content-Type": kind})]
    if (status < 300 and name in ANY_2XX) or (status in {200, 201, 202} and name == "push"):
        await line.channel.send(line.message)
        assert len(line.server.calls) == 1, status
        return
    error = await failure(line.channel, line.message)
    assert len(line.server.calls) == 1, status
    gone = name == "push" and status in {404, 410}
    wanted = (Failure.BAD_ADDRESS, True) if gone else expected(status)
    assert (error.reason, error.permanent) == wanted, (status, str(error))
    wishes = status == 429 and name != "apprise"  # Apprise does not hand it on
    assert error.retry_after == (17 if wishes else None), status


@pytest.mark.parametrize("wish", ["", "soon", "-5", "9" * 400, "1e9", "²", "Wed, 21 Oct 2026 07:28:00 GMT"])
@pytest.mark.parametrize("name", HTTP)
async def test_a_wish_that_is_no_number_of_seconds_is_ignored(name: str, wish: str) -> None:
    async with connected(name) as line:
        line.server.misfortunes = [(429, {"Retry-After": wish})]
        assert (await failure(line.channel, line.message)).retry_after is None


@pytest.mark.parametrize("name", HTTP)
async def test_a_provider_that_hangs_or_is_gone_may_come_back(name: str) -> None:
    for patience in PATIENCES:
        async with connected(name, patience=patience) as line:
            line.server.hang = 60.0
            error = await failure(line.channel, line.message)
            assert (error.reason, error.permanent) == (Failure.TIMEOUT, False)
            if line.server.calls:
                break
    assert len(line.server.calls) == 1
    async with connected(name, url="http://127.0.0.1:9") as line:
        error = await failure(line.channel, line.message)
        assert (error.reason, error.permanent) == (Failure.NETWORK, False)


@dataclass
class Peer:
    """A server that answers byte by byte and then closes: slow (``pause``), cut short, or not HTTP at all."""

    answer: bytes
    pause: float = 0.0
    connections: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        for byte in self.answer:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(self.pause)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[int]:
    """A TCP server; gives its port, and leaves no connection open at its end."""
    tasks: list[asyncio.Task[None]] = []

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(tracked, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[Peer]:
    async with served(peer.serve) as port:
        peer.url = f"http://127.0.0.1:{port}"
        yield peer


@pytest.mark.parametrize("name", HTTP)
async def test_an_answer_that_drips_is_given_up_in_time(name: str) -> None:
    drips = Peer(b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"x" * 2000, pause=0.05)
    async with listening(drips), connected(name, patience=0.4, url=drips.url) as line, asyncio.timeout(60):
        assert (await failure(line.channel, line.message)).reason is Failure.TIMEOUT


@pytest.mark.parametrize("name", ["events", "rest"])
async def test_answers_that_drip_keep_no_other_request_from_leaving(name: str) -> None:
    drips = Peer(b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"x" * 2000, pause=0.05)
    for patience in (1.0, 10.0):  # on a busy machine 64 requests may not have left within a second
        async with listening(drips), connected(name, patience=patience, url=drips.url) as line, asyncio.timeout(80):
            sent = [msgspec.structs.replace(line.message, incident=f"heypeter-{i}-1") for i in range(100)]
            first = await asyncio.gather(*(failure(line.channel, each) for each in sent))
            assert {error.reason for error in first} == {Failure.TIMEOUT}
            left = drips.connections
            await asyncio.gather(*(failure(line.channel, each) for each in sent[:64]))
            if drips.connections == left + 64:
                break
    assert drips.connections == left + 64


@pytest.mark.parametrize("head", [b"HTTP/1.1 202 Accepted", b"HTTP/1.1 500 Oh"])
@pytest.mark.parametrize("name", [name for name in HTTP if name != "apprise"])
async def test_an_answer_without_end_is_not_read_to_its_end(name: str, head: bytes) -> None:
    written = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(head + b"\r\nContent-Type: application/json\r\nContent-Length: 400000000\r\n\r\n")
        while written < 400_000_000:
            writer.write(b" " * 100_000)
            await writer.drain()
            written += 100_000

    async with served(flood) as port, connected(name, url=f"http://127.0.0.1:{port}") as line:
        with contextlib.suppress(SendError):
            await line.channel.send(line.message)
    assert written < 40_000_000


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 202 Acc", b"SMTP ready\r\n\r\n", b"HTTP/1.1 2x2 what\r\n\r\n"])
@pytest.mark.parametrize("name", HTTP)
async def test_what_is_not_http_is_one_network_failure(name: str, answer: bytes) -> None:
    async with listening(Peer(answer)) as peer, connected(name, url=peer.url) as line:
        if name == "apprise" and b"202" in answer:  # Apprise's HTTP library takes a torn status line for a whole one
            await line.channel.send(line.message)
            return
        error = await failure(line.channel, line.message)
        assert (error.reason, error.permanent) == (Failure.NETWORK, False)
        assert peer.connections == 1  # both SDKs would try again by themselves


@pytest.mark.parametrize("name", HTTP)
async def test_many_sends_at_once_are_one_request_each(name: str) -> None:
    async with connected(name) as line:
        many = [msgspec.structs.replace(line.message, id=str(i), incident=f"heypeter-{i}-1") for i in range(40)]
        receipts = await asyncio.gather(*(line.channel.send(sent) for sent in many))
        assert len(line.server.calls) == 40
        named = name in {"events", "rest", "slack", "sms"}  # the others give nothing back to answer to
        assert len({receipt.ref for receipt in receipts}) == (40 if named else 1)


@pytest.mark.parametrize("name", HTTP)
async def test_no_secret_is_logged(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(name) as line:
        await line.channel.send(line.message)
        for status in (400, 401, 429, 500, *(() if name in {*ANY_2XX, "push"} else (200,))):
            line.server.misfortunes = [(status, {})]
            await failure(line.channel, line.message)
    async with connected(name, url="http://127.0.0.1:9") as line:
        await failure(line.channel, line.message)
    logging.getLogger(__name__).debug("this line is heard")
    assert "this line is heard" in caplog.text, "nothing was logged at all: this test proves nothing"
    assert not [secret for secret in SECRETS if secret in caplog.text]


async def test_an_incident_that_pagerduty_holds_already_is_as_good_as_made() -> None:
    async with connected("rest") as line:
        assert isinstance(line.server, FakePagerDuty)
        made = await line.channel.send(line.message)
        again = await line.channel.send(line.message)  # the first answer was lost on the way
        assert len(line.server.calls) == 2
        assert (len(line.server.rung), again.ref) == (1, "")
        assert (await line.channel.send(message(Kind.ACKNOWLEDGED, address="#alerts", thread=made.ref))).ref == made.ref
        assert len(line.server.calls) == 3
        resolved = message(
            Kind.RESOLVED, address="#alerts", thread=again.ref
        )  # the id is not known: looked up by the key
        assert (await line.channel.send(resolved)).ref == made.ref
        await line.channel.send(
            message(Kind.RESOLVED, address="#alerts", thread=made.ref)
        )  # somebody resolved it there before us
        assert line.server.incidents[made.ref]["status"] == "resolved"


async def test_an_incident_that_pagerduty_does_not_know_cannot_be_acknowledged() -> None:
    async with connected("rest") as line:
        error = await failure(line.channel, message(Kind.ACKNOWLEDGED, address="#alerts"))
        assert (error.reason, error.permanent) == (Failure.REFUSED, True)


async def test_a_wrong_key_is_permanent_and_named_as_such() -> None:
    async with connected("rest") as line:
        async with open_session() as session:
            wrong = PagerDutyRest({"#alerts": "P1"}, Secret("old"), "a@example.com", session, api_url=line.server.url)
            with closing(wrong) as rest:
                error = await failure(rest, line.message)
        assert (error.reason, str(error)) == (Failure.AUTH, "PagerDuty answered 401: check the key")
    async with connected("slack") as line, open_session() as session:
        error = await failure(Slack(Secret("old"), session, api_url=f"{line.server.url}/api/"), line.message)
        assert (error.reason, str(error)) == (Failure.AUTH, "Slack: invalid_auth")


def mail_expected(code: int, address: bool) -> tuple[Failure, bool]:
    if code in {530, 534, 535, 538}:
        return Failure.AUTH, True
    if code < 500:
        return Failure.SERVER_ERROR, False
    return (Failure.BAD_ADDRESS if address else Failure.REFUSED), True


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
async def test_every_code_of_a_mail_server_is_one_attempt_and_one_kind_of_failure(smtp: FakeSMTP, verb: str) -> None:
    channel, sent = mail_to(smtp), message(address="linh@example.com")
    for code in [*range(400, 460), *range(500, 560)]:
        smtp.attempts = 0
        script = smtp.refusals if verb == "RCPT" else smtp.replies
        script.append(f"{code} no {SLACK_TOKEN}")
        error = await failure(channel, sent)
        assert smtp.attempts == 1, code
        assert (error.reason, error.permanent) == mail_expected(code, verb == "RCPT"), (code, str(error))
    assert not smtp.mails
    await channel.send(sent)
    assert len(smtp.mails) == 1


async def test_if_one_address_may_be_taken_later_all_are_tried_later(smtp: FakeSMTP) -> None:
    smtp.refusals = ["550 no such user", "450 greylisted"]
    error = await failure(mail_to(smtp), message(address="gone@example.com,grey@example.com"))
    assert (error.reason, error.permanent) == (Failure.SERVER_ERROR, False)


async def test_a_refused_address_among_others_is_logged(smtp: FakeSMTP, caplog: pytest.LogCaptureFixture) -> None:
    smtp.refusals = ["550 no such user"]
    await mail_to(smtp).send(message(address="gone@example.com, here@example.com"))
    assert smtp.mails[0][0] == ["here@example.com"]
    assert "notification 7 went to the others, but gone@example.com was refused with 550" in caplog.text


async def test_a_mail_server_that_hangs_or_is_gone_may_come_back(smtp: FakeSMTP) -> None:
    smtp.hang = 60.0
    for patience in PATIENCES:
        async with asyncio.timeout(patience + 20):
            error = await failure(mail_to(smtp, patience=patience), message(address="a@example.com"))
        assert (error.reason, error.permanent) == (Failure.TIMEOUT, False)
        if smtp.attempts:
            break
    assert smtp.attempts == 1
    gone = FakeSMTP()
    gone.port = 9
    error = await failure(mail_to(gone), message(address="a@example.com"))
    assert (error.reason, error.permanent) == (Failure.NETWORK, False)


@asynccontextmanager
async def mail_server(said: list[str], pause: float) -> AsyncIterator[FakeSMTP]:
    """A mail server in a few lines: slow to answer, and gone when told goodbye."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            said.append(line.split()[0])
            await asyncio.sleep(pause)
            if line == "DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 taken\r\n")
            elif line == "QUIT":
                break
            else:
                writer.write(b"250 OK\r\n")

    async with served(serve) as port:
        address = FakeSMTP()
        address.port = port
        yield address


async def test_a_mail_that_was_taken_is_sent_even_if_the_goodbye_is_lost() -> None:
    said: list[str] = []
    async with mail_server(said, 0) as server:
        assert (await mail_to(server).send(message(address="a@example.com"))).ref
    assert said == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


async def test_a_mail_server_that_is_slow_at_every_word_is_given_up_in_time() -> None:
    async with mail_server([], 0.2) as server, asyncio.timeout(20):  # each word is answered in time
        error = await failure(mail_to(server, patience=0.5), message(address="a@example.com"))
    assert error.reason is Failure.TIMEOUT


def _sign_in(
    _server: aiosmtpd.SMTP, _session: aiosmtpd.Session, _envelope: aiosmtpd.Envelope, _mechanism: str, data: object
) -> aiosmtpd.AuthResult:
    right = aiosmtpd.LoginPassword(b"alerts", PASSWORD.encode())
    return aiosmtpd.AuthResult(success=data == right, handled=False)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate that this process trusts as it trusts any: by OpenSSL's own variable."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: it makes the certificate of this test")
    made, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *curve, "-keyout", str(key), "-out", str(made), *name]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context


async def test_starttls_and_login(certificate: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    smtp = FakeSMTP()
    smtp.start(tls_context=certificate, require_starttls=True, auth_required=True, authenticator=_sign_in)
    caplog.set_level(logging.DEBUG)
    sent = message(address="linh@example.com")
    try:
        await mail_to(smtp, tls="starttls", username="alerts", password=Secret(PASSWORD)).send(sent)
        assert len(smtp.mails) == 1
        wrong = mail_to(smtp, tls="starttls", username="alerts", password=Secret("wrong"))
        error = await failure(wrong, sent)
        assert (error.reason, error.permanent) == (Failure.AUTH, True)
        error = await failure(mail_to(smtp), sent)  # tls: none, where the server insists
        assert error.permanent
    finally:
        smtp.stop()
    ours = "".join(record.getMessage() for record in caplog.records if record.name != "mail.log")  # the fake's own
    assert not [secret for secret in SECRETS if secret in ours]


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    smtp = FakeSMTP()
    smtp.start(tls_context=certificate, require_starttls=True)
    try:
        error = await failure(mail_to(smtp, tls="starttls"), message(address="linh@example.com"))
        assert (error.reason, smtp.attempts) == (Failure.NETWORK, 0)
    finally:
        smtp.stop()


async def test_a_mail_server_without_starttls_is_not_sent_anything_in_the_clear(smtp: FakeSMTP) -> None:
    error = await failure(mail_to(smtp, tls="starttls"), message(address="linh@example.com"))
    assert (error.reason, error.permanent, smtp.attempts) == (Failure.REFUSED, True, 0)
    assert "channels.email.tls" in str(error)


async def test_forty_mails_at_once(smtp: FakeSMTP) -> None:
    channel = mail_to(smtp)
    many = [message(address=f"p{i}@example.com", incident=f"heypeter-{i}-1") for i in range(40)]
    await asyncio.gather(*(channel.send(sent) for sent in many))
    assert {to for ((to,), _) in smtp.mails} == {sent.address for sent in many}
    assert len({mail["Message-ID"] for _, mail in smtp.mails}) == 40
