"""No text that somebody else wrote adds a header, a recipient or a body to a mail: read from the bytes that arrived."""

import asyncio
import email
import email.header
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from process.settings import Secret
from receiver.channels.apprise import Apprise, Service
from receiver.channels.base import Failure, Message, SendError
from receiver.channels.email import Email
from receiver.incident.model import Alert, Incident, Kind, Notification, Priority, State, Target
from receiver.messages.render import render
from tests.fakes.smtp import FakeSMTP
from tests.receiver.example_site import START

HEADERS = sorted(
    [
        *("From", "To", "Subject", "Date", "Message-ID", "List-Id", "Auto-Submitted", "X-Auto-Response-Suppress"),
        *("X-HeyPeter-Incident", "X-HeyPeter-Kind", "X-HeyPeter-Priority", "X-Priority", "Importance"),
        *("Thread-Topic", "Thread-Index"),
        *("Content-Type", "MIME-Version"),
    ]
)
Q = "=?utf-8?q?ok=0D=0AReply-To:_x@y=0D=0ABcc:_z@y=0D=0A=0D=0Apay_here?="
B = "=?utf-8?b?b2sNCkJjYzogeEB5DQoNCnBheQ==?="
EVIL = [
    Q,
    B,
    f"x {B} {'y' * 300}",
    f"ü{Q}",
    f"{'ü ' * 60}{Q}",
    f"={Q}",
    f"=\u200b{Q[1:]}",  # invisible characters are taken out first: none may join what is left to a word
    f"=\r\n {Q[1:]}",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3F=0D=0ABcc:_x@y=3F=3D?=",
    "=?us-ascii*en?Q?a=0D=0ABcc:_x@y?=",
    "=?utf-8?q?a=0D=0ABcc:_x@y?=" * 20,
    "x\r\nBcc: victim@example.com",
    "x\x0bBcc: a\x0c\x1c\x85b\u2028c",
]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeSMTP]:
    made = FakeSMTP()
    made.start()
    yield made
    made.stop()


def page(labels: dict[str, str], annotations: dict[str, str], title: str) -> Message:
    alert = Alert("1", True, START, None, labels, annotations)  # noqa: FBT003  # it fires
    incident = Incident(
        id=12, key="k", state=State.TRIGGERED, priority=Priority.P1, title=title, team=labels.get("team", ""),
        labels=labels, alerts={"1": alert}, opened_at=START,
    )  # fmt: skip
    target = Target("email", "linh@example.com", "email:linh@example.com", "linh", "on-call-engineer")
    notification = Notification(Kind.PAGE, target, 1, ("on-call-engineer",), at=START)
    return render(notification, incident, (), delivery_id="7", thread="", link="https://x.example/a", now=START)


def received(server: FakeSMTP, message: Message, sender: str = "alerts@example.com") -> tuple[list[str], bytes, str]:
    """Names of the headers, the bytes before the body, and the decoded subject."""
    asyncio.run(Email("127.0.0.1", server.port, sender, tls="none", timeout=30).send(message))
    head = server.contents[-1].partition(b"\r\n\r\n")[0]
    parsed = email.message_from_bytes(server.contents[-1])
    subject = str(email.header.make_header(email.header.decode_header(str(parsed["Subject"]))))
    return sorted(parsed.keys()), head, subject


@pytest.mark.parametrize("text", EVIL)
def test_an_encoded_word_in_an_alert_adds_no_header(server: FakeSMTP, text: str) -> None:
    message = page({"alertname": text, "team": text, "instance": text}, {"summary": text, "description": text}, text)
    names, head, _ = received(server, message)
    assert names == HEADERS
    assert b"=?utf-8?q?ok=0D" not in head
    assert server.mails[-1][0] == ["linh@example.com"]
    body = server.mails[-1][1]
    assert [part.get_content_type() for part in body.iter_parts()] == ["text/plain", "text/html"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.text(alphabet=st.one_of(st.sampled_from('=?qQbB_ \r\n\t\u200b@<>:,;"utf-8ü\U0001f4a5'), st.characters())),
    st.sampled_from(["", *EVIL]),
)
@example("\ud800", "")
@example("0\x80\xa1\xa1\U00014400\xa1", "")
@example("000000\xa1\xa1\U00014400\xa1", "")
@example("\xa1 a \U00014400" * 30, "")
def test_arbitrary_text_adds_no_header_and_arrives(server: FakeSMTP, text: str, evil: str) -> None:
    title = f"{text}{evil}{text}"
    message = page({"alertname": title, "team": title}, {"summary": title, "description": title}, title)
    names, _, subject = received(server, msgspec.structs.replace(message, thread="x" if len(text) % 2 else ""))
    assert sorted({*names} - {"In-Reply-To", "References"}) == HEADERS
    assert len(names) == len(set(names))
    # What the reader sees is what the alert says, but for blanks and the two characters that are kept apart.
    assert "".join(subject.split()) == "".join(message.subject.split())


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        (f'"{Q}" <alerts@example.com>', "ok Reply-To: x@y Bcc: z@y pay here"),
        ("=?utf-8?q?J=C3=B6rg?= <alerts@example.com>", "Jörg"),
        ('"Alerts, Jörg" <alerts@example.com>', "Alerts, Jörg"),
        ("alerts@example.com", ""),
    ],
)
def test_the_senders_name_is_words_only(server: FakeSMTP, sender: str, shown: str) -> None:
    names, _, _ = received(server, page({"alertname": "A"}, {}, "A"), sender)
    assert names == HEADERS
    from_ = server.mails[-1][1]["From"].addresses[0]
    assert (from_.display_name, from_.addr_spec) == (shown, "alerts@example.com")


def test_a_senders_domain_of_another_script_stays_in_ascii_where_an_id_needs_it(server: FakeSMTP) -> None:
    _, head, _ = received(server, page({"alertname": "A"}, {}, "A"), "alerts@exämple.com")
    assert b"@xn--exmple-cua.com>" in head
    assert b"<alerts.xn--exmple-cua.com>" in head


@pytest.mark.parametrize("field", ["id", "incident", "lane", "priority"])
def test_no_other_field_of_a_message_adds_a_header(server: FakeSMTP, field: str) -> None:
    message = msgspec.structs.replace(page({"alertname": "A"}, {}, "A"), **{field: Q})
    names, _, _ = received(server, message)
    assert sorted({*names, "X-Priority", "Importance"}) == HEADERS
    message = msgspec.structs.replace(message, **{field: "x\r\nBcc: y@z"}, thread="x")
    assert "Bcc" not in received(server, message)[0]


def test_an_address_with_an_encoded_word_is_refused(server: FakeSMTP) -> None:
    message = msgspec.structs.replace(page({"alertname": "A"}, {}, "A"), address=f"{Q.replace(' ', '')}@example.com")
    with pytest.raises(SendError) as caught:
        received(server, message)
    assert (caught.value.reason, caught.value.permanent) == (Failure.BAD_ADDRESS, True)


async def test_mail_by_apprise_adds_no_header_either(server: FakeSMTP) -> None:
    url = Secret(f"mailto://127.0.0.1:{server.port}?from=alerts@example.com&to=linh@example.com&mode=insecure")
    channel = Apprise({"mail": Service(url)}, timeout=30)
    for text in EVIL:
        message = page({"alertname": text}, {"summary": text}, text)
        await channel.send(msgspec.structs.replace(message, address="mail"))
        raw = server.contents[-1]
        head = raw.partition(b"\r\n\r\n")[0].replace(b"\n\n", b"\n")
        parsed = email.message_from_bytes(raw)
        assert not {"Bcc", "Reply-To"} & {*parsed.keys()}
        subject = str(email.header.make_header(email.header.decode_header(str(parsed["Subject"]))))
        assert "\n" not in subject, head
    channel.close()
