"""An incident that takes no answer: every way to answer says so, and answers of others go on."""

import hashlib
import hmac
import itertools
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from yarl import URL as YARL

from process.settings import Secret
from receiver.actions import answer, duty
from receiver.app import Receiver
from receiver.channels.twilio import code_of
from receiver.incident.event import Event
from receiver.incident.machine import transition
from receiver.incident.model import Decision, Incident, State
from receiver.incident.policy import Policy
from receiver.messages.i18n import Reader
from receiver.messages.link import DigestGrant, Grant, sign, sign_digest
from receiver.web import slack_actions
from receiver.web.slack_actions import handler_of
from tests.fakes.push import FakePush
from tests.fakes.slack import RESPONSE, FakeSlack
from tests.fakes.twilio import SID, TOKEN, signature
from tests.receiver.web.access.signing_in import Client
from tests.receiver.web.access.test_in_receiver import HOOK, running
from tests.receiver.web.slack_endpoint import interaction, signed
from tests.receiver.web.test_alertmanager import PAYLOAD, encoded
from tests.stories.stack import until

SIGNING, PAGERDUTY = "8f742231b10e8888abcd99yyyzzz85a5", "whs-secret"
LINH = {"X-User": "linh", "Sec-Fetch-Site": "same-origin"}
PHONE, OURS, URL = "+4917012345678", "+4930123456", "https://oncall.example.com"
FAULTS = ["stuck", "unreadable", "rejected"]
GERMAN = Reader("de")  # as Linh reads it

pytestmark = pytest.mark.sqlite("the whole receiver with a file; of two on PostgreSQL, see test_several_receivers")


class Doors:
    """A receiver with every way to answer; its incident 1 is at fault, and 2 and 3 are not."""

    def __init__(
        self, receiver: Receiver, client: Client, slack: FakeSlack, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.receiver, self.client, self.slack, self._folder = receiver, client, slack, folder
        self._patch, self._intact = monkeypatch, b""
        self._known: dict[int, Incident] = {}
        self._installation = 0
        self._requests = itertools.count(1)
        self._is_broken = False

    async def fire(self, *names: str) -> None:
        for name in names:
            one = {**PAYLOAD["alerts"][0], "labels": {"alertname": name, "severity": "critical"}, "fingerprint": name}
            body = encoded(groupKey=name, alerts=[one])
            async with self.client.post("/webhook/alertmanager", data=body, headers=HOOK) as told:
                assert told.status == 200
        self._installation = await self.receiver.store.installation()
        for number in range(1, len(names) + 1):
            self._known[number] = await self.incident(number)

    async def incident(self, number: int) -> Incident:
        stored = await self.receiver.store.incident(number)
        assert stored is not None
        return stored[0]

    def breaks(self, fault: str) -> None:
        self._is_broken = True
        if fault == "stuck":
            for module in (answer, duty):
                self._patch.setattr(module, "transition", _raising)
        elif fault == "unreadable":
            self._intact = self._change("UPDATE incident SET doc = ? WHERE id = 1", b"{")
        else:
            self._change(
                """CREATE TRIGGER refused BEFORE UPDATE ON incident WHEN NEW.id = 1
                BEGIN SELECT RAISE(ABORT, 'no'); END"""
            )

    def heal(self) -> None:
        self._is_broken = False
        for module in (answer, duty):
            self._patch.setattr(module, "transition", transition)
        self._change("DROP TRIGGER IF EXISTS refused")
        if self._intact:
            self._change("UPDATE incident SET doc = ? WHERE id = 1", self._intact)

    def _change(self, statement: str, *values: object) -> bytes:
        with closing(sqlite3.connect(self._folder / "receiver.sqlite3")) as db, db:
            ((before,),) = db.execute("SELECT doc FROM incident WHERE id = 1").fetchall()
            db.execute(statement, values)
        return bytes(before)

    def count(self, source: str, outcome: str = "stuck") -> float | None:
        return self.receiver.metrics.registry.get_sample_value(
            "receiver_answers_total", {"source": source, "outcome": outcome}
        )

    async def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] = LINH,
        **sent: Any,  # noqa: ANN401  # of aiohttp
    ) -> tuple[int, str]:
        """Give the status and the text of where it leads to, without its marks."""
        async with self.client.request(method, YARL(path, encoded=True), headers=headers, **sent) as said:
            text = await said.text()
            is_json = said.content_type == "application/json"
            return said.status, json.dumps(json.loads(text), ensure_ascii=False) if is_json else unescape(text)

    # The ways to answer

    async def api(self, number: int) -> tuple[int, str]:
        return await self.ask("POST", f"/api/v1/incidents/{number}/acknowledge", HOOK, json={"actor": "linh"})

    async def console(self, number: int) -> tuple[int, str]:
        return await self.ask("POST", f"/incidents/{number}/acknowledge", data={})

    async def console_row(self, number: int) -> tuple[int, str]:
        return await self.ask("POST", f"/incidents/{number}/acknowledge", data={"back": "team=none"})

    async def console_script(self, number: int) -> tuple[int, str]:
        headers = {**LINH, "HX-Request": "true"}
        return await self.ask("POST", f"/incidents/{number}/acknowledge", headers, data={"back": ""})

    async def link(self, number: int) -> tuple[int, str]:
        return await self.ask("POST", f"/answer/{self._token(number)}/acknowledge", data={})

    async def push(self, number: int) -> tuple[int, str]:
        return await self.ask("POST", "/push/acknowledge", json={"token": self._token(number)})

    async def button(self, number: int) -> tuple[int, str]:
        return await self._pressed(number, {"action_id": "acknowledge", "value": self._reference(number)})

    async def menu(self, number: int) -> tuple[int, str]:
        chosen = {"selected_option": {"value": "60"}, "block_id": f"{self._reference(number)}|77"}
        return await self._pressed(number, {"action_id": "snooze", "action_ts": f"{number}.1", **chosen})

    async def modal(self, number: int) -> tuple[int, str]:
        meta = json.dumps({"reference": self._reference(number), "step": 0})
        state = {
            "act": {"act": {"selected_option": {"value": "snooze"}}},
            "until": {"value": {"selected_date_time": int(datetime.now().timestamp()) + 600}},  # noqa: DTZ005
        }
        view = {"id": f"V{number}", "hash": "1", "private_metadata": meta, "state": {"values": state}}
        return await self._slack({"type": "view_submission", "user": {"id": "U01LINH"}, "view": view})

    async def command(self, number: int) -> tuple[int, str]:
        before = len(self.slack.replies)
        form = {"command": "/oncall", "text": f"snooze {number} 1h", "user_id": "U01LINH"}
        form |= {"trigger_id": f"T{next(self._requests)}", "response_url": f"{self.slack.url}{RESPONSE}"}
        status, said = await self._from_slack("/slack/commands", urlencode(form).encode())
        if not said:
            await until("somebody is told", lambda: len(self.slack.replies) > before)
        return status, said + "".join(str(one["text"]) for one in self.slack.replies[before:])

    async def sms(self, number: int) -> tuple[int, str]:
        code = code_of(self._reference(number), number, Secret(TOKEN))
        return await self._twilio("/twilio/sms", {"MessageSid": f"SM{number}", "From": PHONE, "To": OURS, "Body": code})

    async def call(self, number: int) -> tuple[int, str]:
        path = f"/twilio/call?incident={self._reference(number)}"
        return await self._twilio(path, {"CallSid": f"CA{number}", "From": OURS, "To": PHONE, "Digits": "1"})

    async def pagerduty(self, number: int, key: str = "") -> tuple[int, str]:
        data = {"incident_key": key or f"heypeter-{number}-{self._known[number].opening.opened}/pagerduty:staff"}
        agent = {"type": "user_reference", "summary": "Linh Tran"}
        event = {"id": f"E{number}{key}", "event_type": "incident.acknowledged", "agent": agent, "data": data}
        body = json.dumps({"event": event}).encode()
        made = hmac.new(PAGERDUTY.encode(), body, hashlib.sha256).hexdigest()
        return await self.ask("POST", "/pagerduty/webhook", {"X-PagerDuty-Signature": f"v1={made}"}, data=body)

    def digest(self, *numbers: int) -> str:
        until_then = int(self._known[1].opening.opened) + 86400
        grant = DigestGrant.of([self._known[one] for one in numbers], "linh", until_then, self._installation)
        return f"/answer/digest/{sign_digest(grant, 's' * 32)}"

    def _token(self, number: int) -> str:
        incident = self._known[number]
        grant = Grant.of(incident, "linh", int(incident.opening.opened) + 86400, self._installation)
        return sign(grant, "s" * 32)

    def _reference(self, number: int) -> str:
        opening = self._known[number].opening
        return f"heypeter-{number}-{opening.opened}.{opening.fired}.{self._installation}"

    async def _pressed(self, number: int, press: dict[str, Any]) -> tuple[int, str]:
        """Press a button, and read what is said to the one who pressed of what is refused."""
        before = len(self.slack.replies)
        payload = {"type": "block_actions", "user": {"id": "U01LINH"}, "actions": [press]}
        status, said = await self._slack({**payload, "response_url": f"{self.slack.url}{RESPONSE}"})
        if self._is_broken and number == 1:
            await until("somebody is told", lambda: len(self.slack.replies) > before)
        return status, said + "".join(str(one["text"]) for one in self.slack.replies[before:])

    async def _slack(self, payload: dict[str, Any]) -> tuple[int, str]:
        payload["trigger_id"] = f"T{next(self._requests)}"  # what is sent a second time is signed anew
        return await self._from_slack("/slack/interactivity", interaction(payload))

    async def _from_slack(self, path: str, body: bytes) -> tuple[int, str]:
        stamp = str(int(datetime.now().timestamp()))  # noqa: DTZ005
        return await self.ask("POST", path, signed(body, stamp, SIGNING), data=body)

    async def _twilio(self, path: str, form: dict[str, str]) -> tuple[int, str]:
        headers = {"X-Twilio-Signature": signature(TOKEN, f"{URL}{path}", form)}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return await self.ask("POST", path, headers, data=urlencode(form))


def _raising(before: Incident, event: Event, policy: Policy, now: datetime) -> Decision:
    if before.id == 1:
        raise ZeroDivisionError
    return transition(before, event, policy, now)


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    slack, service = FakeSlack("xoxb-1", {"#alerts"}), FakePush()
    await slack.start()
    await service.start()
    # Replies may go to this machine.
    monkeypatch.setattr(slack_actions, "handler_of", partial(handler_of, hosts=("127.0.0.1",)))
    api = f"{slack.url}/api/"
    line = {"account_sid": SID, "auth_token": TOKEN, "from": OURS, "api_url": slack.url}
    settings = {
        "external_url": URL,
        "channels": {
            "slack": {"token": "xoxb-1", "signing_secret": SIGNING, "interactive": True, "api_url": api},
            "pagerduty": {"services": {"staff": {"routing_key": "r" * 32}}, "webhook_secret": PAGERDUTY},
            "sms": line,
            "call": line,
            "push": {"hosts": [service.url]},
        },
        "people": {
            "linh": {
                "name": "Linh Tran",
                "language": "de",
                "slack": "U01LINH",
                "push": True,
                "contacts": {"sms": PHONE, "call": PHONE},
            }
        },
        "console": {"sign_in": {"proxy": {"addresses": ["127.0.0.1"], "header": "X-User"}}},
    }
    async with running(tmp_path, settings) as (receiver, client):
        made = Doors(receiver, client, slack, tmp_path, monkeypatch)
        await made.fire("one", "two", "three")
        yield made
    await slack.stop()
    await service.stop()


Door = Callable[[Doors, int], Any]
LOOKS_FIRST = {"link", "push", "sms", "slack command"}
# What is asked, the source, and the status and the text of a refusal.
WAYS: dict[str, tuple[Door, str, int, str | None]] = {
    "api": (Doors.api, "api", 503, "an error of the receiver keeps this incident from changing"),
    "console": (Doors.console, "console", 200, ""),
    "console row": (Doors.console_row, "console", 200, ""),
    "console script": (Doors.console_script, "console", 200, ""),
    "link": (Doors.link, "link", 503, ""),
    "push": (Doors.push, "push", 503, ""),
    "slack button": (Doors.button, "slack", 200, ""),
    "slack menu": (Doors.menu, "slack", 200, ""),
    "slack form": (Doors.modal, "slack", 200, ""),
    "slack command": (Doors.command, "slack", 200, ""),
    "sms": (Doors.sms, "sms", 200, ""),
    "call": (Doors.call, "call", 200, ""),
    "pagerduty": (Doors.pagerduty, "pagerduty", 202, None),  # there nobody reads it
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_answer_says_that_an_incident_takes_no_answer(
    doors: Doors, way: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    door, source, status, text = WAYS[way]
    doors.breaks(fault)
    with caplog.at_level(logging.ERROR):
        answered, said = await door(doors, 1)
    wanted = [text] if text else [GERMAN.say("refused_stuck"), GERMAN.say("refused_unreadable")]
    assert text is None or any(one in said for one in wanted), said
    assert answered == (503 if (way, fault) == ("console", "unreadable") else status)
    assert "Traceback" not in said
    assert "Error handling request" not in caplog.text
    # What cannot even be looked at is not asked for.
    assert doors.count(source) == (0 if fault == "unreadable" and way in LOOKS_FIRST else 1)

    assert (await door(doors, 2))[0] in {200, 202}
    assert (await doors.incident(2)).state is State.ACKNOWLEDGED
    doors.heal()
    assert (await doors.incident(1)).state is State.TRIGGERED
    assert (await door(doors, 1))[0] in {200, 202}
    # A form of the same id is remembered only once it has done something.
    assert (await doors.incident(1)).state is State.ACKNOWLEDGED


@pytest.mark.parametrize("fault", FAULTS)
async def test_of_several_those_that_can_are_answered_and_the_others_are_counted(doors: Doors, fault: str) -> None:
    doors.breaks(fault)
    fields = [("incident", str(number)) for number in (1, 2, 3)]
    status, said = await doors.ask("POST", "/incidents/acknowledge", data=[*fields, ("back", "")])
    assert status == 200
    assert GERMAN.say("console_said_all_stuck", count=1) in said
    assert [(await doors.incident(number)).state for number in (2, 3)] == [State.ACKNOWLEDGED] * 2


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_page_of_a_digest_acknowledges_those_that_can_be(doors: Doors, fault: str) -> None:
    doors.breaks(fault)
    path = doors.digest(1, 2, 3)
    said = (await doors.ask("GET", path))[1]
    assert ("1 weiterer Vorfall lässt sich nicht lesen" in said) == (fault == "unreadable")
    status, said = await doors.ask("POST", path, data={"verb": "acknowledge"})
    assert status == 200
    assert (GERMAN.say("console_said_all_stuck", count=1) in said) == (fault != "unreadable")
    assert [(await doors.incident(number)).state for number in (2, 3)] == [State.ACKNOWLEDGED] * 2


@pytest.mark.parametrize("fault", FAULTS)
async def test_it_is_counted_logged_once_and_shown(doors: Doors, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    doors.breaks(fault)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await doors.api(1)
    assert doors.count("api") == 3
    assert [one.message for one in caplog.records if "incident 1 is stuck" in one.message] != []
    assert len([one for one in caplog.records if "incident 1 is stuck" in one.message]) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_window_pauses_the_others(doors: Doors, fault: str) -> None:
    doors.breaks(fault)
    window = {"minutes": 60, "matchers": ["severity=critical"], "actor": "linh"}
    status, _ = await doors.ask("POST", "/api/v1/windows", HOOK, json=window)
    assert status == 201
    assert [(await doors.incident(number)).paused is not None for number in (2, 3)] == [True, True]


async def test_what_cannot_be_raised_by_hand_is_said(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Decision:
        raise ZeroDivisionError

    monkeypatch.setattr(answer, "transition", fails)
    asked = {"text": "all is down", "team": "default", "actor": "linh"}
    status, said = await doors.ask("POST", "/api/v1/incidents", HOOK, json=asked)
    assert (status, "keeps it from paging anybody" in said) == (503, True)
    form = {"text": "all is down", "whom": "person:linh", "priority": "P1"}
    status, said = await doors.ask("POST", "/raise", data=form)
    assert (status, GERMAN.say("refused_not_raised") in said) == (422, True)
    status, said = await doors.ask("POST", "/me/test", data={"priority": "P1"})
    assert (status, GERMAN.say("refused_not_raised") in said) == (503, True)
    text = urlencode({"command": "/oncall", "text": "page default all is down", "user_id": "U01LINH"})
    status, said = await doors._from_slack("/slack/commands", text.encode())  # noqa: SLF001
    assert (status, GERMAN.say("refused_not_raised") in said) == (200, True)


async def test_pages_of_others_are_shown_beside_one_that_cannot_be_read(doors: Doors) -> None:
    doors.breaks("unreadable")
    for path in ("/?said=acknowledge.stuck.1", "/", "/api/v1/incidents", "/history"):
        assert (await doors.ask("GET", path, {**LINH, **HOOK}))[0] == 200, path
    for path in ("/incidents/1", "/incidents/1/timeline", "/incidents/1/silence"):
        status, said = await doors.ask("GET", path)
        assert (status, GERMAN.say("refused_unreadable") in said) == (503, True)
    status, said = await doors.ask("GET", f"/answer/{doors._token(1)}")  # noqa: SLF001
    assert (status, GERMAN.say("refused_unreadable") in said) == (503, True)
    status, said = await doors.ask("GET", "/api/v1/incidents/1", HOOK)
    assert (status, msgspec.json.decode(said)["error"]) == (503, "the incident 1 cannot be read; the log says why")
