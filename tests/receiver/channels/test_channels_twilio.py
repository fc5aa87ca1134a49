"""Short messages and calls by Twilio: what is sent, how long it is, what a voice says, and what an error means."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from process.settings import Secret, SettingsError
from receiver.__main__ import main
from receiver.channels.base import Failure, SendError, Words
from receiver.channels.twilio import Call, Line, Sms, code_of, fitted, segments_of
from receiver.config.load import load
from receiver.incident.model import Kind
from tests.fakes.twilio import SID, TOKEN, FakeTwilio
from tests.receiver.channels.test_channels import message
from tests.receiver.channels.test_registry import written

URL, LINH, OURS = "https://oncall.example.com", "+4917012345678", "+4930123456"
REFERENCE = "heypeter-12-1795402800.1795402800.77"
PAGE = {"address": LINH, "number": 12, "state": "triggered", "button": REFERENCE}


@pytest.fixture
async def twilio() -> AsyncIterator[FakeTwilio]:
    server = FakeTwilio()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def line(twilio: FakeTwilio, sender: str = OURS, token: str = TOKEN) -> Line:
    return Line(SID, Secret(token), sender, twilio.url, 0.5)


async def test_a_short_message_says_what_to_reply(twilio: FakeTwilio, session: aiohttp.ClientSession) -> None:
    receipt = await Sms(line(twilio), session, f"{URL}/").send(message(Kind.PAGE, **PAGE))
    (sent,) = twilio.taken
    code = code_of(REFERENCE, 12, Secret(TOKEN))
    assert sent == {
        "To": LINH,
        "From": OURS,
        "Body": "P1 #12 HighErrorRate: High error rate detected\n"
        f"Reply {code} to acknowledge.\nhttps://oncall.example.com/incidents/12",
    }
    assert receipt.ref.startswith("SM")
    service = "MG" + "0" * 32
    await Sms(line(twilio, service), session, URL).send(message(Kind.RESOLVED, **{**PAGE, "state": "resolved"}))
    sent = twilio.taken[-1]
    assert (sent["MessagingServiceSid"], "Reply" in sent["Body"]) == (service, False)


async def test_many_at_once_are_one_message_without_a_code(twilio: FakeTwilio, session: aiohttp.ClientSession) -> None:
    await Sms(line(twilio), session, URL).send(message(Kind.PAGE, **{**PAGE, "number": 0, "button": ""}))
    assert twilio.taken[0]["Body"].endswith("\nhttps://oncall.example.com/")


async def test_a_call_says_it_twice_and_asks_for_a_key(twilio: FakeTwilio, session: aiohttp.ClientSession) -> None:
    words = Words(press="Drücken Sie die 1 zum Bestätigen.", language="de")
    evil = {"headline": 'P1 #12 </Say><Dial>+1900</Dial> & "x"\x00', "words": words}
    receipt = await Call(line(twilio), session, URL, 20).send(message(Kind.PAGE, **{**PAGE, **evil}))
    (sent,) = twilio.taken
    assert (sent["To"], sent["From"], sent["Timeout"]) == (LINH, OURS, "20")
    assert receipt.ref.startswith("CA")
    (asked,) = ET.fromstring(sent["Twiml"])  # noqa: S314  # our own
    assert (asked.tag, asked.attrib["numDigits"]) == ("Gather", "1")
    assert asked.attrib["action"] == f"{URL}/twilio/call?incident={REFERENCE}"
    assert [one.tag for one in asked] == ["Say", "Say", "Pause", "Say", "Say"]
    assert asked[0].text == 'P1  12 </Say><Dial>+1900</Dial> & "x" '
    assert (asked[1].text, asked[1].attrib["language"]) == (words.press, "de-DE")


async def test_a_call_about_what_is_answered_asks_nothing(twilio: FakeTwilio, session: aiohttp.ClientSession) -> None:
    await Call(line(twilio), session, URL).send(message(Kind.REMINDER, **{**PAGE, "state": "acknowledged"}))
    assert "Gather" not in twilio.taken[0]["Twiml"]


@pytest.mark.parametrize(
    ("code", "reason", "permanent"),
    [
        (21211, Failure.BAD_ADDRESS, True),
        (21614, Failure.BAD_ADDRESS, True),
        (21610, Failure.BAD_ADDRESS, True),
        (13223, Failure.BAD_ADDRESS, True),
        (21606, Failure.REFUSED, True),
        (20003, Failure.AUTH, True),
        (20429, Failure.RATE_LIMITED, False),
        (21611, Failure.RATE_LIMITED, False),
    ],
)
async def test_what_an_error_of_twilio_means(
    twilio: FakeTwilio, session: aiohttp.ClientSession, code: int, reason: Failure, *, permanent: bool
) -> None:
    twilio.refuses[LINH] = code
    for channel in (Sms(line(twilio), session, URL), Call(line(twilio), session, URL)):
        with pytest.raises(SendError, match=str(code)) as caught:
            await channel.send(message(Kind.PAGE, **PAGE))
        assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
        assert LINH not in str(caught.value)
    assert len(twilio.calls) == 2


async def test_a_wrong_token_and_a_wrong_number(twilio: FakeTwilio, session: aiohttp.ClientSession) -> None:
    with pytest.raises(SendError) as caught:
        await Sms(line(twilio, token="wrong"), session, URL).send(message(Kind.PAGE, **PAGE))
    assert (caught.value.reason, caught.value.permanent) == (Failure.AUTH, True)
    with pytest.raises(SendError) as caught:
        await Sms(line(twilio), session, URL).send(message(Kind.PAGE, **{**PAGE, "address": "linh"}))
    assert (caught.value.reason, len(twilio.calls)) == (Failure.BAD_ADDRESS, 1)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("ü" * 160, 1),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ł" * 70, 1),
        ("ł" * 71, 2),
        ("💥" * 35, 1),
        ("💥" * 36, 2),
    ],
)
def test_parts_are_counted_as_the_network_does(text: str, segments: int) -> None:
    assert segments_of(text) == segments


@given(st.text(max_size=600), st.integers(1, 6))
def test_a_message_has_no_more_parts_than_it_may(headline: str, segments: int) -> None:
    answer = ["Reply 12KTV to acknowledge.", f"{URL}/incidents/12"]
    text = fitted(headline, answer, segments)
    assert segments_of(text) <= segments or segments == 1  # one part of wide characters is too short for the answer
    assert text.endswith("\n".join(answer))


def test_a_code_is_of_one_time_of_one_incident() -> None:
    token = Secret(TOKEN)
    codes = {code_of(f"{REFERENCE}{n}", 12, token) for n in range(200)}
    assert len(codes) > 180
    assert all(code.startswith("12") and len(code) == 5 and code[2:].isalpha() for code in codes)
    assert code_of(REFERENCE, 12, token) != code_of(REFERENCE, 12, Secret("other"))


ACCOUNT = {"account_sid": SID, "auth_token": "s3cret", "from": OURS}


@pytest.mark.parametrize(
    ("channels", "contacts", "says"),
    [
        ({"sms": {**ACCOUNT, "account_sid": "AC1"}}, {"sms": LINH}, "channels.sms.account_sid: invalid account SID"),
        ({"sms": {**ACCOUNT, "from": "+0"}}, {"sms": LINH}, "channels.sms.from: invalid sender"),
        ({"call": {**ACCOUNT, "from": "Alerts"}}, {"call": LINH}, "channels.call.from: invalid sender"),
        ({"sms": {**ACCOUNT, "segments": 9}}, {"sms": LINH}, "channels.sms.segments: "),
        ({"sms": ACCOUNT}, {"sms": "017012345678"}, "people.linh.contacts.sms: not a phone number"),
        ({"call": ACCOUNT}, {"call": "+49 170 1234567"}, "people.linh.contacts.call: not a phone number"),
        ({"call": ACCOUNT}, {"sms": LINH}, "people.linh.contacts.sms: channels.sms is not set up"),
    ],
)
def test_what_could_not_be_sent_is_refused(
    tmp_path: Path, channels: dict[str, Any], contacts: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, {"channels": channels, "people": {"linh": {"name": "Linh", "contacts": contacts}}}))
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_check_refuses_a_token_that_would_be_sent_in_the_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person = {"name": "Linh", "contacts": {"sms": LINH}}
    for url, wrong in (("http://proxy.example.com", True), ("http://127.0.0.1:1", False), ("https://x.example", False)):
        channels = {"sms": {**ACCOUNT, "api_url": url}}
        main(["check", f"--config.file={written(tmp_path, {'channels': channels, 'people': {'linh': person}})}"])
        assert ("channels.sms.api_url: the auth token would reach" in capsys.readouterr().err) is wrong
