"""Acts of people, from the message to the incident: each button and each incident at PagerDuty is of one episode.

Messages are written and sent as in the product; what they carry comes back through the endpoints.
"""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from process.settings import Secret
from process.web import require_bearer
from receiver.actions.answer import Actions
from receiver.channels.base import Channel, Message
from receiver.channels.pagerduty import PagerDutyEvents, PagerDutyRest
from receiver.channels.slack_blocks import card
from receiver.clients.http_api import open_session
from receiver.incident.delivery import Handling
from receiver.incident.event import TimeDue
from receiver.incident.model import Incident, Kind, State
from receiver.messages.compose import Links, Messages
from receiver.messages.i18n import Reader
from receiver.messages.templating import Templates
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact, Person
from receiver.web.api import IncidentApi
from receiver.web.pagerduty_webhook import PagerDutyWebhook
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.pagerduty_poll import PagerDutyPoll
from receiver.workers.retry import RetryPolicy
from tests.fakes.pagerduty import FakePagerDuty
from tests.receiver.example_site import Clock, Recorder, an_alert, beside, deciding, received, the_current, the_routing
from tests.receiver.stores import the_store
from tests.receiver.web.slack_endpoint import an_endpoint

SLACK, HOOK, ROUTING = "8f742231b10e8888abcd99yyyzzz85a5", "whs-secret", "r" * 32
API = {"Authorization": "Bearer api-token"}
EVENTS = frozenset({Kind.PAGE, Kind.ACKNOWLEDGED, Kind.RESOLVED})
ENGLISH = Reader()


class Rig:
    """One receiver with PagerDuty and Slack; nothing is sent until ``send``."""

    client: TestClient[web.Request, web.Application]

    def __init__(self, folder: Path, clock: Clock, session: aiohttp.ClientSession, pagerduty: FakePagerDuty) -> None:
        self.folder, self.clock, self.pagerduty, self.slack, self.session = (
            folder,
            clock,
            pagerduty,
            Recorder(),
            session,
        )
        linh = Person("Linh", (Contact("pagerduty", "staff"), Contact("slack", "U01LINH")))
        people = {**the_routing().people, "linh": linh}
        self.current = the_current(replace(the_routing(), people=people, flap_window=600.0))
        self.rest = False
        self.store = the_store(folder, self.clock, lambda: None, handling=self._handling)
        self.metrics = Metrics(["pagerduty", "slack"])
        self.told: list[dict[str, Any]] = []

    async def open(self) -> None:
        await self.store.open(self.clock.now)
        links = Links("https://oncall.example.com", 86400, Secret("s" * 32))
        links.installation = await self.store.installation()
        self._messages = Messages(self.current, links, Templates(), self.clock)
        self.actions = Actions(self.store, self.current, self.clock, self.metrics.registry)
        events = PagerDutyEvents({"staff": Secret(ROUTING)}, self.session, api_url=self.pagerduty.url)
        self.senders = [self._dispatcher("pagerduty", events), self._dispatcher("slack", self.slack)]

    def use_rest(self) -> None:
        """Speak to PagerDuty as mode rest does."""
        token, services, self.rest = Secret("rest-token"), {"staff": "PSVC"}, True
        rest = PagerDutyRest(services, token, "us@example.com", self.session, api_url=self.pagerduty.url)
        self.senders[0] = self._dispatcher("pagerduty", rest)

    def _handling(self, channel: str) -> Handling:
        if channel != "pagerduty":
            return Handling()
        return Handling(kinds=frozenset(Kind) if self.rest else EVENTS, keeps_incidents=True)

    def _dispatcher(self, name: str, channel: Channel) -> Dispatcher:
        return Dispatcher(
            name,
            channel,
            self.store,
            current=self.current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=self._messages.one,
            metrics=self.metrics,
            clock=self.clock,
            elapsed=self.clock.elapsed,
            jitter=lambda: 0.0,
            keeps_incidents=name == "pagerduty",
        )

    async def send(self) -> None:
        for sender in self.senders:
            await sender.run_once()

    async def fire(self, *names: str, firing: bool = True) -> None:
        """These alerts begin or end now."""
        alerts = [an_alert(name, firing=firing, starts_at=self.clock.now) for name in names or ("a",)]
        await self.store.update(received(*alerts), self.current.routing, self.clock.now)

    async def refire(self) -> None:
        """It ends, and fires again two minutes later."""
        self.clock.forward(minutes=1)
        await self.fire(firing=False)
        await self.send()
        self.clock.forward(minutes=1)
        await self.fire()
        await self.send()
        assert (await self.incident()).state is State.TRIGGERED

    async def incident(self) -> Incident:
        stored = await self.store.incident(1)
        assert stored is not None
        return stored[0]

    async def state(self) -> State:
        return (await self.incident()).state

    async def act(self, action: str, **body: object) -> int:
        async with self.client.post(f"/api/v1/incidents/1/{action}", json=body, headers=API) as answer:
            return answer.status

    def keys(self, state: str) -> list[str]:
        return [key for (_, key), stands in self.pagerduty.alerts.items() if stands == state]

    def button(self, action: str, message: Message | None = None) -> str:
        """What a button of a message sends back; of the newest one."""
        laid_out = card(message or self.slack.sent[-1], interactive=True)
        buttons = [one for one in _walk(laid_out) if one.get("action_id") == action]
        return str(buttons[0]["value"])

    async def press(self, action: str, value: str) -> str:
        """Press a button; gives what Slack shows the one who pressed."""
        self.clock.forward(seconds=1)
        url, before = str(self.client.make_url("/response")), len(self.told)
        payload = {
            "type": "block_actions",
            "user": {"id": "U01LINH", "name": "linh.t"},
            "actions": [{"action_id": action, "value": value}],
            "response_url": url,
        }
        body, stamp = urlencode({"payload": json.dumps(payload)}).encode(), str(int(self.clock.now.timestamp()))
        signed = hmac.new(SLACK.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-Slack-Signature": f"v0={signed}", "X-Slack-Request-Timestamp": stamp}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.client.post("/slack/interactivity", data=body, headers=headers) as answer:
            assert answer.status == 200
        for _ in range(20):
            if len(self.told) > before:
                return str(self.told[-1]["text"])
            async with self.client.get("/nothing"):
                pass  # one more turn of the loop for the reply
        return ""

    async def hook(self, action: str, key: str) -> None:
        """A person acknowledges or resolves at PagerDuty."""
        agent = {"type": "user_reference", "summary": "Marek"}
        event = {"event_type": f"incident.{action}d", "agent": agent, "data": {"incident_key": key}}
        body = json.dumps({"event": event}).encode()
        signed = hmac.new(HOOK.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-PagerDuty-Signature": f"v1={signed}"}
        async with self.client.post("/pagerduty/webhook", data=body, headers=headers) as answer:
            assert answer.status == 202

    def dead(self, channel: str) -> float | None:
        return self.metrics.registry.get_sample_value("receiver_notifications_dead_total", {"channel": channel})

    def count(self, source: str, outcome: str) -> float | None:
        labels = {"source": source, "outcome": outcome}
        return self.metrics.registry.get_sample_value("receiver_answers_total", labels)


def _walk(block: object) -> list[dict[str, Any]]:
    if isinstance(block, dict):
        return [block, *(inner for value in block.values() for inner in _walk(value))]
    return [inner for value in block for inner in _walk(value)] if isinstance(block, list) else []


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    pagerduty = FakePagerDuty({ROUTING})
    await pagerduty.start()
    async with open_session() as session:
        rig = Rig(tmp_path, Clock(), session, pagerduty)
        await rig.open()
        app = web.Application()
        slack = an_endpoint(rig.actions, rig.store, rig.current, session, SLACK)
        app.add_routes([*slack.routes(), *PagerDutyWebhook(rig.actions, Secret(HOOK)).routes()])
        app.add_subapp(
            "/api/v1",
            IncidentApi(
                rig.store, rig.actions, require_bearer(Secret("api-token"), "it is the api.token")
            ).application(),
        )

        async def response_url(request: web.Request) -> web.Response:
            rig.told.append(await request.json())
            return web.Response()

        app.router.add_post("/response", response_url)
        async with TestClient(TestServer(app)) as client:
            rig.client = client
            await rig.fire()
            await rig.send()
            yield rig
    await rig.store.close()
    await pagerduty.stop()


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
async def test_a_button_of_an_earlier_episode_says_what_has_happened_since(rig: Rig, action: str) -> None:
    old = rig.button(action)
    await rig.refire()
    told = await rig.press(action, old)
    status = ENGLISH.say("answer_triggered", since="2026-11-23 03:00 UTC", due="03:17 UTC")
    assert told == ENGLISH.say("slack_older", number=1, status=status)
    assert (await rig.state(), rig.count("slack", "outdated")) == (State.TRIGGERED, 1)
    await rig.press("acknowledge", rig.button("acknowledge"))
    assert await rig.state() is State.ACKNOWLEDGED


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
async def test_a_button_of_another_installation_or_of_a_number_only_changes_nothing(rig: Rig, action: str) -> None:
    incident, installation = await rig.incident(), await rig.store.installation()
    stem = f"heypeter-1-{incident.opening.opened}.{incident.opening.fired}"
    elsewhere = f"{stem}.{installation + 1}" + (".1.1" if action == "resolve" else "")
    assert await rig.press(action, elsewhere) == ENGLISH.say("slack_unknown")
    assert "#1" in await rig.press(action, "1")
    assert await rig.press(action, "77") == ENGLISH.say("slack_unknown")
    for value in (f"{stem}.{installation}@1@2", f"{stem}.{installation}\n", "heypeter-1-1.1.1.1.1.1", "9" * 40):
        assert await rig.press(action, value) == ENGLISH.say("slack_unknown")
    assert await rig.state() is State.TRIGGERED


async def test_slack_asks_again_about_alerts_that_joined_after_the_message_and_offers_to_undo(rig: Rig) -> None:
    old = rig.button("resolve")
    await rig.fire("b")
    assert await rig.press("resolve", old) == ENGLISH.say("resolve_firing", count=2)
    assert (await rig.state(), rig.count("slack", "unconfirmed")) == (State.TRIGGERED, 1)
    (again,) = [one for one in _walk(rig.told[-1]) if one.get("action_id") == "resolve"]
    assert await rig.press("resolve", again["value"]) == ENGLISH.say("slack_undo", number=1, seconds=60)
    assert await rig.state() is State.RESOLVED
    (undo,) = [one for one in _walk(rig.told[-1]) if one.get("action_id") == "undo"]
    assert await rig.press("undo", undo["value"]) == ""
    assert await rig.press("undo", undo["value"]) == ""  # twice
    assert await rig.state() is State.TRIGGERED
    assert (rig.count("slack", "taken"), rig.count("slack", "already")) == (2, 1)


async def test_a_late_undo_in_slack_is_told_so(rig: Rig) -> None:
    await rig.press("resolve", rig.button("resolve"))
    (undo,) = [one for one in _walk(rig.told[-1]) if one.get("action_id") == "undo"]
    rig.clock.forward(seconds=60)
    assert (await rig.press("undo", undo["value"])).startswith(ENGLISH.say("slack_too_late", number=1, status="")[:40])
    assert await rig.state() is State.RESOLVED


async def test_an_end_that_was_not_sent_is_cancelled_by_the_undo(rig: Rig) -> None:
    (key,) = rig.keys("triggered")
    sent = len(rig.slack.sent)
    await rig.act("resolve")
    await rig.act("undo")
    await rig.send()
    assert (rig.keys("triggered"), rig.keys("resolved"), len(rig.pagerduty.rung)) == ([key], [], 1)
    assert len(rig.slack.sent) == sent
    await rig.act("resolve")
    await rig.send()
    assert (rig.keys("triggered"), rig.keys("resolved")) == ([], [key])
    assert rig.slack.sent[-1].kind is Kind.RESOLVED


@pytest.mark.parametrize("taken", [False, True])
async def test_an_end_that_was_sent_is_corrected_and_pagerduty_gets_a_new_incident(rig: Rig, *, taken: bool) -> None:
    if taken:
        await rig.act("acknowledge")
    rig.clock.forward(seconds=1)
    await rig.act("resolve")
    await rig.send()
    (old,) = rig.keys("resolved")
    await rig.act("undo", actor="Marek")
    await rig.send()
    assert rig.slack.sent[-1].headline.startswith(ENGLISH.say("news_resolve_undone", whom="Marek"))
    (new,) = rig.keys("acknowledged" if taken else "triggered")
    assert new != old
    await rig.act("resolve")
    await rig.send()
    assert sorted(rig.keys("resolved")) == sorted([old, new])
    assert (rig.keys("triggered"), rig.pagerduty.dropped) == ([], [])


async def test_an_end_whose_answer_was_lost_reaches_pagerduty_before_its_new_incident(rig: Rig) -> None:
    rig.pagerduty.misfortunes = [(500, {})]
    await rig.act("resolve")
    await rig.send()  # it may have arrived
    await rig.act("undo")
    rig.clock.forward(seconds=10)
    await rig.send()
    assert [len(rig.keys(state)) for state in ("resolved", "triggered")] == [1, 1]
    assert [call.body["event_action"] for call in rig.pagerduty.calls] == ["trigger", "resolve", "resolve", "trigger"]


async def test_an_undo_after_several_episodes_rings_once(rig: Rig) -> None:
    for _ in range(3):
        await rig.refire()
    rung = len(rig.pagerduty.rung)
    await rig.act("resolve")
    await rig.send()
    await rig.act("undo")
    await rig.send()
    assert (len(rig.pagerduty.rung) - rung, len(rig.keys("triggered"))) == (1, 1)
    await rig.act("resolve")
    await rig.send()
    assert (rig.keys("triggered"), rig.pagerduty.dropped) == ([], [])


async def test_a_page_that_was_not_sent_yet_goes_out_after_the_undo(rig: Rig) -> None:
    rig.clock.forward(minutes=15)
    escalated = deciding(TimeDue(), rig.clock.now)
    rig.pagerduty.misfortunes = [(500, {})]
    await rig.store.apply(1, escalated, rig.clock.now)  # the tech lead is due
    await rig.send()
    await rig.act("resolve")
    await rig.act("undo")
    rig.clock.forward(minutes=1)
    await rig.send()
    assert len(rig.keys("triggered")) == 2
    assert {message.kind for message in rig.slack.sent} == {Kind.PAGE, Kind.REMINDER}  # no end, and no correction


@pytest.mark.parametrize("again", ["refired", "undone"])
@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
async def test_an_answer_to_an_old_incident_of_pagerduty_changes_nothing(rig: Rig, action: str, again: str) -> None:
    (old,) = rig.keys("triggered")
    if again == "refired":
        await rig.refire()
    else:
        await rig.act("resolve")
        await rig.send()
        await rig.act("undo")
        await rig.send()
    (new,) = rig.keys("triggered")
    await rig.hook(action, old)
    assert (await rig.state(), rig.count("pagerduty", "outdated")) == (State.TRIGGERED, 1)
    person = {"type": "user_reference", "summary": "Marek"}
    answered = {"acknowledgements": [{"acknowledger": person}], "last_status_change_by": person}
    rig.pagerduty.incidents["P1"] = {"id": "P1", "status": f"{action}d", "incident_key": old, **answered}
    poll = PagerDutyPoll(rig.actions, rig.store, Secret("rest-token"), rig.session, rig.pagerduty.url)
    assert (await poll.run_once(), await poll.run_once()) == (0, 0)
    assert (await rig.state(), rig.count("pagerduty_poll", "outdated")) == (State.TRIGGERED, 1)
    poll.close()
    await rig.hook(action, new)
    assert await rig.state() is {"acknowledge": State.ACKNOWLEDGED, "resolve": State.RESOLVED}[action]


async def test_an_answer_while_the_end_waits_to_be_sent_does_not_reach_the_next_episode(rig: Rig) -> None:
    (old,) = rig.keys("triggered")
    rig.clock.forward(minutes=1)
    await rig.fire(firing=False)
    rig.clock.forward(minutes=1)
    await rig.fire()
    await rig.hook("resolve", old)  # somebody resolves what PagerDuty still shows
    assert await rig.state() is State.TRIGGERED


async def test_an_incident_of_another_installation_at_the_same_pagerduty_is_not_ours(rig: Rig) -> None:
    (key,) = rig.keys("triggered")
    stem, _, lane = key.partition("/")
    number, generation, installation = stem.rsplit(".", 2)
    await rig.hook("resolve", f"{number}.{generation}.{int(installation) + 1}/{lane}")
    assert (await rig.state(), rig.count("pagerduty", "ignored")) == (State.TRIGGERED, 1)


async def test_what_an_older_version_triggered_is_resolved_under_its_own_key(rig: Rig) -> None:
    (key,) = rig.keys("triggered")
    old = "heypeter-1-17/pagerduty:staff"
    rig.pagerduty.alerts = {(ROUTING, old): "triggered"}
    with beside(rig.folder) as db:
        db.execute("UPDATE outbox SET ref = ? WHERE ref = ?", (old, key))
    await rig.act("resolve")
    await rig.send()
    assert rig.keys("resolved") == [old]


async def test_in_mode_rest_an_answer_reaches_the_new_incident_and_not_the_old_one(tmp_path: Path, rig: Rig) -> None:
    rig.use_rest()
    await rig.act("resolve")
    rig.clock.forward(minutes=5)
    await rig.fire()
    await rig.send()
    first, *_ = rig.pagerduty.incidents
    await rig.act("resolve")
    await rig.send()
    await rig.act("undo")
    await rig.send()
    await rig.act("acknowledge")
    await rig.send()
    assert {number: one["status"] for number, one in rig.pagerduty.incidents.items()} == {
        first: "resolved",
        "Q00002": "acknowledged",
    }
    assert rig.dead("pagerduty") == 0


async def test_the_old_incident_at_pagerduty_hears_nothing_more_after_its_end(rig: Rig) -> None:
    await rig.refire()
    await rig.act("acknowledge")
    await rig.act("resolve")
    await rig.send()
    assert (set(rig.pagerduty.alerts.values()), rig.pagerduty.dropped) == ({"resolved"}, [])
