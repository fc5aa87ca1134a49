"""The channels: what arrives at the provider, exactly one request, the right kind of failure, and no secret in it."""

import base64
import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import closing as closing_of

import aiohttp
import msgspec
import pytest

from process.settings import Secret
from receiver.channels.base import Channel, Failure, Link, Message, Picture, SendError
from receiver.channels.email import Email
from receiver.channels.log import Log
from receiver.channels.pagerduty import PagerDutyEvents, PagerDutyRest
from receiver.channels.send_rate import Pace
from receiver.channels.slack import Slack
from receiver.clients.http_api import open_session
from receiver.clients.pagerduty import Region
from receiver.incident.model import Kind
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.server import FakeServer
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSMTP
from tests.receiver.example_site import START

KEY, TOKEN = "r0uting-key-0123456789abcdef0000", "xoxb-s3cret-token"


def message(kind: Kind = Kind.PAGE, **changes: object) -> Message:
    made = Message(
        id="7",
        kind=kind,
        address="staff",
        lane="pagerduty:staff:on-call-engineer:P1",
        incident="heypeter-12-1795402800",
        priority="P1",
        severity="critical",
        subject="[P1] #12 HighErrorRate: High error rate detected",
        headline="P1 #12 HighErrorRate: High error rate detected",
        text="12% of requests fail.",
        write_html=lambda: "<p>12% of requests fail.</p>",
        fields=(("Priority", "P1"), ("Team", "backend")),
        links=(Link("Acknowledge or resolve", "https://oncall.example.com/answer/abc.def"),),
        sent_at=START,
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
async def pagerduty() -> AsyncIterator[FakePagerDuty]:
    server = FakePagerDuty({KEY}, token=TOKEN)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    server = FakeSlack(TOKEN, {"#alerts", "U01LINH"})
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
def smtp() -> Iterator[FakeSMTP]:
    server = FakeSMTP()
    server.start()
    yield server
    server.stop()


_opened: list[PagerDutyEvents | PagerDutyRest] = []


_sessions: list[aiohttp.ClientSession] = []


@pytest.fixture(autouse=True)
async def closing() -> AsyncIterator[None]:
    async with open_session() as session:
        _sessions.append(session)
        yield
        _sessions.pop()
        while _opened:
            _opened.pop().close()


def events(server: FakePagerDuty, timeout: float = 30) -> PagerDutyEvents:
    made = PagerDutyEvents(
        {"staff": Secret(KEY)}, _sessions[-1], timeout=timeout, api_url=server.url, client_url="https://oncall"
    )
    _opened.append(made)
    return made


def rest(server: FakePagerDuty, token: str = TOKEN) -> PagerDutyRest:
    made = PagerDutyRest(
        {"staff": "PABC123"}, Secret(token), "alerts@example.com", _sessions[-1], timeout=30, api_url=server.url
    )
    _opened.append(made)
    return made


def slack_channel(server: FakeSlack, session: aiohttp.ClientSession, timeout: float = 30) -> Slack:
    return Slack(Secret(TOKEN), session, timeout=timeout, api_url=f"{server.url}/api/")


def mail(server: FakeSMTP, **options: object) -> Email:
    return Email("127.0.0.1", server.port, "alerts@example.com", tls="none", timeout=30, **options)  # type: ignore[arg-type]


async def fails(channel: Channel, sent: Message) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(sent)
    assert caught.value.__cause__ is None, "the SDK's text would reach the log"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "the SDK's text would reach the log"
    assert KEY not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_pagerduty_triggers_acknowledges_and_resolves_one_alert(pagerduty: FakePagerDuty) -> None:
    channel = events(pagerduty)
    await channel.send(message())
    (call,) = pagerduty.calls
    assert call.body["payload"]["severity"] == "critical"
    details = {"Priority": "P1", "Team": "backend", "text": "12% of requests fail."}
    assert call.body["payload"]["custom_details"] == details
    assert call.body["links"] == [
        {"href": "https://oncall.example.com/answer/abc.def", "text": "Acknowledge or resolve"}
    ]
    (key,) = pagerduty.alerts
    assert key == (KEY, "heypeter-12-1795402800/pagerduty:staff:on-call-engineer:P1")
    await channel.send(message())  # a repeat updates, and does not ring again
    assert len(pagerduty.rung) == 1
    await channel.send(message(Kind.ACKNOWLEDGED))
    assert pagerduty.alerts[key] == "acknowledged"
    await channel.send(message(Kind.RESOLVED))
    assert pagerduty.alerts[key] == "resolved"


async def test_pagerduty_rest_creates_and_moves_an_incident(pagerduty: FakePagerDuty) -> None:
    channel = rest(pagerduty)
    receipt = await channel.send(message())
    made = pagerduty.incidents[receipt.ref]
    assert made["urgency"] == "high"
    assert made["service"] == {"id": "PABC123", "type": "service_reference"}
    await channel.send(message(Kind.ACKNOWLEDGED, thread=receipt.ref))
    assert made["id"] == receipt.ref
    assert pagerduty.incidents[receipt.ref]["status"] == "acknowledged"
    await channel.send(message(Kind.RESOLVED))  # its id was lost: found by its key
    assert pagerduty.incidents[receipt.ref]["status"] == "resolved"


LATER = (Kind.UPDATE, Kind.REMINDER)


@pytest.mark.parametrize("kind", LATER)
async def test_pagerduty_events_have_nothing_to_say_an_update_with(pagerduty: FakePagerDuty, kind: Kind) -> None:
    receipt = await events(pagerduty).send(message(kind))
    assert receipt.ref == "heypeter-12-1795402800/pagerduty:staff:on-call-engineer:P1"
    assert not pagerduty.calls


async def test_pagerduty_is_told_what_is_broken_and_shown_the_dashboard(pagerduty: FakePagerDuty) -> None:
    labels = {"alertname": "HighErrorRate", "team": "backend", "instance": "app-1", "job": "shop"}
    channel = events(pagerduty)
    await channel.send(message(labels=labels, image_url="https://grafana.example.com/render.png"))
    body = pagerduty.calls[0].body
    named = {name: body["payload"].get(name) for name in ("class", "component", "group")}
    assert named == {"class": "HighErrorRate", "component": "shop", "group": "backend"}
    assert body["images"] == [{"src": "https://grafana.example.com/render.png", "alt": "The dashboard"}]
    chart = Picture("https://oncall.example.com/chart/t.png")
    await channel.send(message(picture=chart))
    assert pagerduty.calls[1].body["images"] == [{"src": chart.url, "alt": "The chart"}]
    await channel.send(message(image_url="http://grafana.example.com/render.png"))  # PagerDuty would refuse the event
    body = pagerduty.calls[2].body
    assert "images" not in body
    assert not {"class", "component", "group"} & set(body["payload"])


async def test_a_storm_leaves_room_for_the_loudest(pagerduty: FakePagerDuty) -> None:
    keys = {"staff": Secret(KEY), "others": Secret(KEY)}
    with closing_of(PagerDutyEvents(keys, _sessions[-1], api_url=pagerduty.url, pace=Pace(60.0, 2))) as channel:
        for at in range(2):
            await channel.send(message(incident=f"heypeter-{at}-1", priority="P2"))
        error = await fails(channel, message(incident="heypeter-2-1", priority="P2"))
        assert (error.reason, error.permanent) == (Failure.RATE_LIMITED, False)
        assert error.retry_after is not None
        await channel.send(message(incident="heypeter-3-1"))
        await channel.send(message(incident="heypeter-4-1", priority="P2", address="others"))  # each key has its own
    assert len(pagerduty.rung) == 4


@pytest.mark.parametrize(("region", "where"), [("us", "pagerduty.com"), ("eu", "eu.pagerduty.com")])
async def test_an_account_lives_in_one_region(pagerduty: FakePagerDuty, region: Region, where: str) -> None:
    with closing_of(
        PagerDutyEvents({"staff": Secret(KEY)}, _sessions[-1], region=region, api_url=pagerduty.url)
    ) as channel:
        await channel.send(message())
    token, sender = Secret(TOKEN), "alerts@example.com"
    with closing_of(
        PagerDutyRest({"staff": "P1"}, token, sender, _sessions[-1], region=region, api_url=pagerduty.url)
    ) as channel:
        await channel.send(message())
    assert [call.headers["X-Forwarded-Host"] for call in pagerduty.calls] == [f"events.{where}", f"api.{where}"]


@pytest.mark.parametrize("kind", LATER)
async def test_pagerduty_rest_notes_an_update_on_the_incident(pagerduty: FakePagerDuty, kind: Kind) -> None:
    channel = rest(pagerduty)
    receipt = await channel.send(message())
    told = message(kind, thread=receipt.ref, headline="3 more alerts", text="x" * 90_000)
    assert (await channel.send(told)).ref == receipt.ref
    await channel.send(message(kind))  # the incident's id was lost: found by its key
    (first, text), (second, _) = pagerduty.notes
    assert first == second == receipt.ref
    assert text.startswith("3 more alerts\n\nxxx")
    assert pagerduty.incidents[receipt.ref]["status"] == "triggered"
    assert len(pagerduty.rung) == 1


@pytest.mark.parametrize(("severity", "urgency"), [("critical", "high"), ("warning", "low"), ("info", "low")])
async def test_urgency_and_sender_of_an_incident(pagerduty: FakePagerDuty, severity: str, urgency: str) -> None:
    await rest(pagerduty).send(message(severity=severity))
    (made,) = pagerduty.incidents.values()
    assert made["urgency"] == urgency
    assert made["incident_key"] == "heypeter-12-1795402800/pagerduty:staff:on-call-engineer:P1"
    assert pagerduty.calls[0].headers["From"] == "alerts@example.com"


@pytest.mark.parametrize(
    ("labels", "source"),
    [
        ({"instance": "web-1:9100", "job": "node", "cluster": "eu"}, "web-1:9100"),
        ({"job": "node", "cluster": "eu"}, "node"),
        ({"cluster": "eu", "instance": ""}, "eu"),
        ({"alertname": "A"}, "HeyPeter Monitoring"),
    ],
)
async def test_the_source_of_an_event_is_what_broke(
    pagerduty: FakePagerDuty, labels: dict[str, str], source: str
) -> None:
    await events(pagerduty).send(message(labels=labels))
    assert pagerduty.calls[0].body["payload"]["source"] == source


@pytest.mark.parametrize("letter", ["x", "\0", "é", "\U0001f4a5"])
async def test_long_texts_stay_within_pagerdutys_limits(pagerduty: FakePagerDuty, letter: str) -> None:
    huge = letter * 900_000
    fields = tuple((str(at), huge) for at in range(40))
    labels = {"alertname": huge, "team": huge, "job": huge}
    sent = message(headline=huge, text=huge, fields=fields, lane=huge, labels=labels)
    await events(pagerduty).send(sent)
    await rest(pagerduty).send(sent)
    assert len(pagerduty.rung) == 2
    details = pagerduty.calls[0].body["payload"]["custom_details"]
    assert (len(details["text"]), len(details["0"])) == (12_000, 12_000)


async def test_mail_is_threaded_and_answers_to_no_machine(smtp: FakeSMTP) -> None:
    channel = mail(smtp)
    sent = message(address="linh@example.com", lane="email:linh@example.com")
    receipt = await channel.send(sent)
    await channel.send(
        msgspec.structs.replace(sent, kind=Kind.RESOLVED, id="9", thread=receipt.ref, headline="Resolved")
    )
    (to, first), (_, second) = smtp.mails
    assert to == ["linh@example.com"]
    assert first["Subject"] == "[P1] #12 HighErrorRate: High error rate detected"
    assert first["Thread-Topic"] == second["Thread-Topic"] == "heypeter-12-1795402800"
    indexes = [base64.b64decode(str(sent["Thread-Index"])) for sent in (first, second)]
    assert [len(index) for index in indexes] == [22, 27]
    assert indexes[1].startswith(indexes[0])
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert second["Message-ID"] != first["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["X-Priority"] == "1"
    parts = [part.get_content_type() for part in first.iter_parts()]
    assert parts == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    ("kind", "priority", "loud"),
    [
        (Kind.PAGE, "P1", True),
        (Kind.REMINDER, "P1", True),
        (Kind.PAGE, "P2", False),
        (Kind.UPDATE, "P1", False),
        (Kind.RESOLVED, "P1", False),
    ],
)
async def test_only_what_wants_an_answer_now_is_loud(smtp: FakeSMTP, kind: Kind, priority: str, loud: bool) -> None:
    await mail(smtp).send(message(kind, address="linh@example.com", priority=priority))
    ((_, sent),) = smtp.mails
    assert (sent["X-Priority"], sent["Importance"]) == (("1", "high") if loud else (None, None))
    assert sent["X-HeyPeter-Priority"] == priority
    assert sent["X-HeyPeter-Kind"] == kind.value
    assert sent["X-HeyPeter-Incident"] == "heypeter-12-1795402800"
    assert sent["List-Id"] == "HeyPeter Monitoring <alerts.example.com>"
    # A page must not be unsubscribed from by a click, and is no bulk mail: filters would put it aside.
    assert (sent["List-Unsubscribe"], sent["Precedence"]) == (None, None)


async def test_a_subject_cannot_smuggle_a_header(smtp: FakeSMTP) -> None:
    await mail(smtp).send(message(address="a@example.com", subject="x\r\nBcc: victim@example.com"))
    ((to, sent),) = smtp.mails
    assert to == ["a@example.com"]
    assert sent["Bcc"] is None


@pytest.mark.parametrize(
    ("refusals", "replies", "reason", "permanent"),
    [
        (["550 no such user"], [], Failure.BAD_ADDRESS, True),
        (["450 try later"], [], Failure.SERVER_ERROR, False),
        ([], ["451 try later"], Failure.SERVER_ERROR, False),
        ([], ["554 looks like spam"], Failure.REFUSED, True),
    ],
)
async def test_mail_refusals(
    smtp: FakeSMTP, refusals: list[str], replies: list[str], reason: Failure, permanent: bool
) -> None:
    smtp.refusals, smtp.replies = refusals, replies
    error = await fails(mail(smtp), message(address="a@example.com"))
    assert (error.reason, error.permanent) == (reason, permanent)


async def test_one_refused_address_of_two_is_still_a_delivery(smtp: FakeSMTP) -> None:
    smtp.refusals = ["550 no such user"]
    await mail(smtp).send(message(address="gone@example.com,here@example.com"))
    assert smtp.mails[0][0] == ["here@example.com"]


@pytest.mark.parametrize("address", ["a b@example.com c@d", "a@b\0c"])
async def test_what_is_no_mail_address_is_never_said_to_a_server(smtp: FakeSMTP, address: str) -> None:
    error = await fails(mail(smtp), message(address=address))
    assert (error.reason, error.permanent) == (Failure.BAD_ADDRESS, True)
    assert not smtp.mails


async def test_addresses_of_all_scripts_and_a_comma_too_many(smtp: FakeSMTP) -> None:
    await mail(smtp).send(message(address="jörg@example.com,a@exämple.com,"))
    assert smtp.mails[0][0] == ["jörg@example.com", "a@exämple.com"]


async def test_a_server_that_offers_no_login_is_not_sent_the_mail(smtp: FakeSMTP) -> None:
    error = await fails(mail(smtp, username="u", password=Secret(TOKEN)), message(address="a@example.com"))
    assert not smtp.mails
    assert (error.reason, error.permanent) == (Failure.REFUSED, True)


async def test_nobody_listens(session: aiohttp.ClientSession) -> None:
    nowhere = FakePagerDuty(set())
    nowhere.url = "http://127.0.0.1:9"
    closed = FakeSMTP()
    closed.port = 9
    slack = Slack(Secret(TOKEN), session, timeout=30, api_url="http://127.0.0.1:9/api/")
    for channel in (events(nowhere), rest(nowhere), slack, mail(closed)):
        error = await fails(channel, message(address="staff"))
        assert (error.reason, error.permanent) == (Failure.NETWORK, False)


async def test_a_provider_that_hangs_is_left(
    pagerduty: FakePagerDuty, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    for server in (pagerduty, slack):
        assert isinstance(server, FakeServer)
        server.hang = 60
    for channel in (events(pagerduty, timeout=0.3), slack_channel(slack, session, timeout=0.3)):
        error = await fails(channel, message(address="staff"))
        assert (error.reason, error.permanent) == (Failure.TIMEOUT, False)


async def test_a_service_that_left_the_configuration_is_a_bad_address(pagerduty: FakePagerDuty) -> None:
    error = await fails(events(pagerduty), message(address="gone"))
    assert (error.reason, error.permanent) == (Failure.BAD_ADDRESS, True)


@pytest.mark.parametrize("kind", Kind)
async def test_the_terminal_has_a_colour_for_each_kind(kind: Kind) -> None:
    stream = io.StringIO()
    await Log(stream, colour=True).send(message(kind))
    assert re.match(r"\n  \033\[3\dm┃\033\[0m To staff: P1 #12", stream.getvalue())


async def test_the_terminal_shows_a_block_that_cannot_drive_it() -> None:
    stream = io.StringIO()
    text = "12% fail.\n\033[2J" + "word " * 30 + "\nhttps://oncall.example.com/" + "x" * 90
    await Log(stream).send(message(address="Linh Tran", text=text))
    shown = stream.getvalue()
    assert "\033" not in shown
    assert shown.startswith("\n  ┃ To Linh Tran: P1 #12 HighErrorRate: High error rate detected\n  ┃\n  ┃ 12% fail.\n")
    assert all(len(line) <= 80 or "://" in line for line in shown.splitlines())
    assert "x" * 90 in shown  # a link is never cut
