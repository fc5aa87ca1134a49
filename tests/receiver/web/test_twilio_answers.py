"""Answers by short message and by a key in a call: signed by Twilio, for one incident, and applied once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL as YARL

from process.settings import Secret
from receiver.app import Receiver
from receiver.incident.event import Unacknowledge
from receiver.incident.model import EntryKind, Incident, Origin, State
from receiver.web.twilio_answers import is_signed
from tests.fakes.twilio import SID, TOKEN, FakeTwilio, signature
from tests.receiver.example_site import deciding
from tests.receiver.web.access.test_in_receiver import HOOK, running
from tests.receiver.web.test_alertmanager import encoded

URL, LINH, BO, OURS = "https://oncall.example.com", "+4917012345678", "+4917087654321", "+4930123456"
STRANGER = "+4915100000000"


class Phone:
    """A receiver with a line to Twilio, and those who answer."""

    def __init__(
        self, receiver: Receiver, client: TestClient[web.Request, web.Application], twilio: FakeTwilio, url: str
    ) -> None:
        self.receiver, self.client, self.twilio, self.url = receiver, client, twilio, url
        self._sids = 0

    async def page(self, channel: str) -> dict[str, Any]:
        """Let an alert fire; gives what Twilio was asked to send."""
        async with self.client.post("/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
            assert answer.status == 200
        await self.receiver._dispatchers[channel].run_once()  # noqa: SLF001  # once, in place of its loop
        return self.twilio.taken[-1]

    async def post(self, path: str, form: dict[str, str], *, token: str = TOKEN, url: str = "") -> tuple[int, str]:
        headers = {"X-Twilio-Signature": signature(token, url or f"{self.url}{path}", form)}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.client.post(YARL(path, encoded=True), data=urlencode(form), headers=headers) as answer:
            return answer.status, await answer.text()

    async def reply(self, body: str, sender: str = LINH, sid: str = "") -> str:
        """Reply to a short message; gives the text that comes back."""
        self._sids += 1
        form = {"MessageSid": sid or f"SM{self._sids:032x}", "From": sender, "To": OURS, "Body": body}
        status, text = await self.post("/twilio/sms", form)
        assert status == 200
        said = [one.text or "" for one in ET.fromstring(text).iter("Message")]  # noqa: S314  # our own
        return said[0] if said else ""

    async def press(self, action: str, key: str, called: str = LINH, sid: str = "CA" + "0" * 32) -> str:
        """Press a key; gives what the voice says, and whether it asks again."""
        parts = urlsplit(action)
        form = {"CallSid": sid, "From": OURS, "To": called, "Digits": key}
        status, text = await self.post(f"{parts.path}?{parts.query}", form, url=action)
        assert status == 200
        return text

    async def incident(self) -> Incident:
        stored = await self.receiver.store.incident(1)
        assert stored is not None
        return stored[0]

    async def origins(self) -> list[Origin | None]:
        stored = await self.receiver.store.incident(1)
        assert stored is not None
        kinds = {EntryKind.ACKNOWLEDGED, EntryKind.JOINED}
        return [entry.data.origin for entry in stored[1] if entry.kind in kinds]

    def count(self, source: str, outcome: str) -> float | None:
        labels = {"source": source, "outcome": outcome}
        return self.receiver.metrics.registry.get_sample_value("receiver_answers_total", labels)


@asynccontextmanager
async def at_twilio(folder: Path, url: str = URL) -> AsyncIterator[Phone]:
    twilio = FakeTwilio()
    await twilio.start()
    account = {"account_sid": SID, "auth_token": TOKEN, "from": OURS, "api_url": twilio.url}
    settings = {
        "external_url": url,
        "channels": {"sms": account, "call": account},
        "people": {
            "linh": {"name": "Linh Tran", "contacts": {"sms": LINH, "call": LINH}},
            "bo": {"name": "Bo", "contacts": {"sms": BO}},
        },
    }
    try:
        async with running(folder, settings) as (receiver, client):
            yield Phone(receiver, client, twilio, url)
    finally:
        await twilio.stop()


@pytest.fixture
async def phone(tmp_path: Path) -> AsyncIterator[Phone]:
    async with at_twilio(tmp_path) as made:
        yield made


def code_in(sent: dict[str, Any]) -> str:
    found = re.search(r"Reply (\w+) to", sent["Body"])
    assert found is not None
    return found[1]


def action_in(sent: dict[str, Any]) -> str:
    return ET.fromstring(sent["Twiml"])[0].attrib["action"]  # noqa: S314  # our own


async def test_a_reply_with_the_code_acknowledges(phone: Phone) -> None:
    code = code_in(await phone.page("sms"))
    assert await phone.reply(f" {code.lower()} on it") == "You have incident 1."
    incident = await phone.incident()
    assert (incident.state, incident.acknowledged_by) == (State.ACKNOWLEDGED, "linh")
    assert await phone.origins() == [Origin.SMS]
    assert await phone.reply(code, BO) == "Linh Tran already has incident 1. You are listed as helping."
    assert phone.count("sms", "taken") == 1
    (act,) = [act for act in await phone.receiver.store.access.audit(None, 10) if act.actor == "linh"]
    assert (act.act, act.via) == ("incident.acknowledge", "sms")


async def test_a_key_acknowledges_and_another_one_is_asked_for_again(phone: Phone) -> None:
    action = action_in(await phone.page("call"))
    assert action.startswith(f"{URL}/twilio/call?incident=heypeter-1-")
    again = await phone.press(action, "7")
    assert "<Gather" in again
    assert ET.fromstring(again)[0].attrib["action"] == action  # noqa: S314  # our own
    assert (await phone.incident()).state is State.TRIGGERED
    assert "You have incident 1." in await phone.press(action, "1")
    assert ((await phone.incident()).acknowledged_by, await phone.origins()) == ("linh", [Origin.CALL])


async def test_what_is_sent_again_does_nothing(phone: Phone) -> None:
    """Whoever has recorded a request of Twilio could send it for ever: its signature has no time in it."""
    code, action = code_in(await phone.page("sms")), action_in(await phone.page("call"))
    await phone.reply(code, sid="SM1")
    store, now = phone.receiver.store, phone.receiver.actions.clock()
    back = Unacknowledge("linh", Origin.CONSOLE)
    await store.apply(1, deciding(back, now, phone.receiver.current.routing), now)
    assert "latest one" in await phone.reply(code, sid="SM1")
    assert (await phone.incident()).state is State.TRIGGERED
    await phone.press(action, "1", sid="CA1")
    await store.apply(1, deciding(back, now, phone.receiver.current.routing), now)
    await phone.press(action, "1", sid="CA1")
    assert (await phone.incident()).state is State.TRIGGERED
    await phone.reply(code, sid="SM2")
    assert (await phone.incident()).state is State.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("ok", "Not understood"),
        ("", "Not understood"),
        ("9CODE", "Not understood"),
        ("99999999999999999BBB", "Not understood"),
        ("1AAA", "fired again"),
        ("1 the house burns", "fired again"),
        ("💥" * 1000, "Not understood"),
        ("<b>&", "Not understood"),
    ],
)
async def test_a_reply_without_the_code_changes_nothing(phone: Phone, body: str, says: str) -> None:
    await phone.page("sms")
    assert says in await phone.reply(body)
    assert (await phone.incident()).state is State.TRIGGERED


async def test_a_stranger_gets_no_answer_even_with_the_code(phone: Phone) -> None:
    code = code_in(await phone.page("sms"))
    assert await phone.reply(code, STRANGER) == ""
    assert (await phone.incident()).state is State.TRIGGERED
    assert phone.count("sms", "refused") == 1


@pytest.mark.parametrize("path", ["/twilio/sms", "/twilio/call?incident=heypeter-1-1"])
async def test_what_twilio_has_not_signed_is_refused(phone: Phone, path: str) -> None:
    await phone.page("sms")
    form = {"MessageSid": "SM1", "CallSid": "CA1", "From": LINH, "To": LINH, "Body": "1BBB", "Digits": "1"}
    for wrong in ({"token": "other"}, {"url": "https://other.example.com/twilio/sms"}):
        assert (await phone.post(path, form, **wrong))[0] == 403
    for headers in ({}, {"X-Twilio-Signature": "ä"}, {"X-Twilio-Signature": ""}):
        async with phone.client.post(path, data=form, headers=headers) as answer:
            assert answer.status == 403
    async with phone.client.post(path, data=b"\xff=%ff" + b"&a=b" * 300) as answer:
        assert answer.status == 400
    async with phone.client.post(path, data=b"a" * 70_000) as answer:
        assert answer.status == 413
    assert (await phone.incident()).state is State.TRIGGERED


async def test_bytes_in_the_address_that_are_no_text_are_refused(phone: Phone) -> None:
    port = phone.client.server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /twilio/call?incident=\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    writer.write(head)
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] in {b"400", b"403"}


@pytest.mark.parametrize("incident", ["", "x", "heypeter-1-1", "heypeter-9-1.1.1", "heypeter-1-1.1.1/lane"])
async def test_a_key_for_no_incident_of_ours_changes_nothing(phone: Phone, incident: str) -> None:
    await phone.page("call")
    assert "no longer exists" in await phone.press(f"{URL}/twilio/call?{urlencode({'incident': incident})}", "1")
    assert (await phone.incident()).state is State.TRIGGERED


async def test_below_a_path_and_on_a_port_the_signature_is_of_that_url(tmp_path: Path) -> None:
    url = "https://example.com:8443/oncall"
    async with at_twilio(tmp_path, url) as phone:
        code = code_in(await phone.page("sms"))
        form = {"MessageSid": "SM1", "From": LINH, "To": OURS, "Body": code}
        status, _ = await phone.post("/oncall/twilio/sms", form, url=f"{url}/twilio/sms")
        assert (status, (await phone.incident()).state) == (200, State.ACKNOWLEDGED)


def test_the_example_of_twilios_documentation_is_believed() -> None:
    form = {"CallSid": "CA1234567890ABCDE", "Digits": "1234", "From": "+14158675309", "To": "+18005551212"}
    form["Caller"] = "+14158675309"
    url, signed = "https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert is_signed(Secret("12345"), url, form.items(), signed)
    assert is_signed(Secret("12345"), url.replace(".com/", ".com:443/"), form.items(), signed)
    assert not is_signed(Secret("12345"), f"{url}3", form.items(), signed)
