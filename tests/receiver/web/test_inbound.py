"""Answers from Slack's buttons and from PagerDuty: signed, applied once, and never a 500."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from process.settings import Secret
from receiver.actions.answer import Actions
from receiver.clients.http_api import open_session
from receiver.incident.event import Acknowledge, Delivered, Resolve
from receiver.incident.model import Decision, Failure, Incident, Kind, Origin, State
from receiver.messages.i18n import Reader
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact, Person
from receiver.policy.routing import Routing
from receiver.store.sql.store import SQLStore
from receiver.web.pagerduty_webhook import PagerDutyWebhook
from receiver.web.slack_people import slack_ids
from receiver.workers.pagerduty_poll import PagerDutyPoll
from tests.fakes.pagerduty import FakePagerDuty
from tests.receiver.example_site import (
    START,
    Clock,
    a_store,
    an_alert,
    deciding,
    received,
    the_current,
    the_policy,
    the_routing,
)
from tests.receiver.web.slack_endpoint import an_endpoint, signed

SECRET, HOOK = "8f742231b10e8888abcd99yyyzzz85a5", "whs-secret"
KEY = f"heypeter-1-{int(START.timestamp())}/pagerduty:staff:on-call-engineer:P1"


LINHS_MAIL = Contact("email", "linh@example.com")


def on_slack(people: dict[str, Person]) -> Routing:
    return msgspec.structs.replace(the_routing(), people={**the_routing().people, **people})


class Rig:
    """Both ways in over a real store with one open incident."""

    def __init__(self, store: SQLStore, clock: Clock, client: TestClient[web.Request, web.Application]) -> None:
        self.store, self.clock, self.client = store, clock, client
        self.told: list[dict[str, object]] = []
        self.metrics = Metrics(["slack"])

    async def incident(self) -> Incident:
        stored = await self.store.incident(1)
        assert stored is not None
        return stored[0]

    async def button(self, action: str, firing: int = 1, begun: int = 1) -> str:
        """What a button in a message about the incident as it stands sends back."""
        opening, installation = (await self.incident()).opening, await self.store.installation()
        value = f"heypeter-1-{opening.opened}.{opening.fired}.{installation}"
        return f"{value}.{firing}.{begun}" if action == "resolve" else value

    def count(self, source: str, outcome: str) -> float | None:
        labels = {"source": source, "outcome": outcome}
        return self.metrics.registry.get_sample_value("receiver_answers_total", labels)

    async def press(
        self,
        action: str,
        *,
        value: str | None = None,
        user: str = "U01LINH",
        secret: str = SECRET,
        late: float = 0,
        url: str = "",
    ) -> int:
        value = await self.button(action) if value is None else value
        payload = {
            "type": "block_actions",
            "user": {"id": user, "name": "linh.t"},
            "actions": [{"action_id": action, "value": value}],
            "response_url": url,
        }
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return await self.slack(body, str(int(self.clock.now.timestamp() - late)), secret)

    async def slack(self, body: bytes, stamp: str, secret: str = SECRET) -> int:
        signed = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-Slack-Signature": f"v0={signed}", "X-Slack-Request-Timestamp": stamp}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.client.post("/slack/interactivity", data=body, headers=headers) as answer:
            return answer.status

    async def hook(self, kind: str, secret: str = HOOK, **changes: object) -> int:
        event: dict[str, object] = {
            "id": "01ABC",
            "event_type": kind,
            "resource_type": "incident",
            "occurred_at": "2026-11-23T03:05:00.000Z",
            "agent": {"type": "user_reference", "summary": "Marek Novak"},
            "data": {"id": "PGR0VU2", "type": "incident", "incident_key": KEY, "status": "acknowledged"},
        }
        return await self.signed(json.dumps({"event": {**event, **changes}}).encode(), secret)

    async def signed(self, body: bytes, secret: str = HOOK) -> int:
        right = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={right}"}
        async with self.client.post("/pagerduty/webhook", data=body, headers=headers) as answer:
            return answer.status


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await store.update(received(an_alert()), the_policy(), clock.now)
    async with aiohttp.ClientSession() as session:
        made: list[Rig] = []
        app = web.Application()
        metrics = Metrics(["slack"])
        actions = Actions(store, the_current(), clock, metrics.registry)
        current = the_current(on_slack({"linh": Person("Linh", (Contact("slack", "U01LINH"), LINHS_MAIL))}))
        slack = an_endpoint(actions, store, current, session, SECRET)
        app.add_routes([*slack.routes(), *PagerDutyWebhook(actions, Secret(HOOK)).routes()])

        async def response_url(request: web.Request) -> web.Response:
            made[0].told.append(await request.json())
            return web.Response()

        app.router.add_post("/response", response_url)
        async with TestClient(TestServer(app)) as client:
            rig = Rig(store, clock, client)
            rig.metrics = metrics
            made.append(rig)
            yield rig
    await store.close()


@pytest.mark.parametrize("stamp", ["", "1e9", "-1", "\N{SUPERSCRIPT TWO}", "9" * 400, "9" * 5000, "1531420618.0"])
async def test_a_timestamp_that_is_not_one_is_refused(rig: Rig, stamp: str) -> None:
    assert await rig.slack(b"payload=%7B%7D", stamp) == 401


async def test_a_signature_that_is_not_ascii_is_refused(rig: Rig) -> None:
    headers = {"X-Slack-Signature": "v0=\N{LATIN SMALL LETTER E WITH ACUTE}"}
    headers["X-Slack-Request-Timestamp"] = str(int(rig.clock.now.timestamp()))
    async with rig.client.post("/slack/interactivity", data=b"payload=%7B%7D", headers=headers) as answer:
        assert answer.status == 401


async def test_a_button_acknowledges_in_the_name_of_whoever_pressed_it(rig: Rig) -> None:
    assert await rig.press("acknowledge") == 200
    incident = await rig.incident()
    assert (incident.state, incident.acknowledged_by) == (State.ACKNOWLEDGED, "linh")
    assert rig.count("slack", "taken") == 1


async def test_somebody_whom_nobody_has_mapped_may_answer_too(rig: Rig) -> None:
    assert await rig.press("acknowledge", user="U99NEW") == 200
    assert (await rig.incident()).acknowledged_by == "slack:U99NEW (linh.t)"


async def test_the_owner_extends_the_acknowledgement_from_slack(rig: Rig) -> None:
    def for_an_hour(incident: Incident) -> Decision:
        return Decision(replace(incident, plan=replace(incident.plan, acknowledge_for=3600.0)))

    def reminded(incident: Incident) -> Decision:
        return Decision(replace(incident, clocks=replace(incident.clocks, remind_due_at=None)))

    await rig.store.apply(1, for_an_hour, rig.clock.now)
    await rig.press("acknowledge")
    first = (await rig.incident()).clocks.acknowledged_until
    assert first is not None
    rig.clock.forward(minutes=50)
    await rig.press("acknowledge")
    assert (await rig.incident()).clocks.acknowledged_until == first  # a double click is no news
    await rig.store.apply(1, reminded, rig.clock.now)
    rig.clock.forward(seconds=1)
    await rig.press("acknowledge")
    assert (await rig.incident()).clocks.acknowledged_until == first + timedelta(minutes=50, seconds=1)
    assert (rig.count("slack", "taken"), rig.count("slack", "already")) == (2, 1)


async def test_what_the_channel_does_not_show_is_told_to_the_one_who_pressed(rig: Rig) -> None:
    url = str(rig.client.make_url("/response"))
    await rig.press("resolve")
    rig.clock.forward(seconds=1)
    await rig.press("acknowledge", url=url)
    rig.clock.forward(seconds=1)
    await rig.press("acknowledge", value="77", url=url)
    async with rig.client.get("/nothing"):
        pass  # one more turn of the loop for the replies
    for _ in range(200):
        if len(rig.told) == 2:
            break
        async with rig.client.get("/nothing"):
            pass
    replies = {str(told["text"]) for told in rig.told}
    assert replies == {Reader().say("slack_resolved", number=1), Reader().say("slack_unknown")}
    assert {told["response_type"] for told in rig.told} == {"ephemeral"}
    assert (await rig.incident()).state is State.RESOLVED


async def test_what_another_person_is_called_means_nothing_to_slack_in_a_reply(rig: Rig) -> None:
    url = str(rig.client.make_url("/response"))
    await rig.store.apply(1, deciding(Acknowledge("<!channel> & <@U1>", Origin.API), rig.clock.now), rig.clock.now)
    await rig.press("acknowledge", url=url)
    for _ in range(200):
        if rig.told:
            break
        async with rig.client.get("/nothing"):
            pass  # one more turn of the loop for the reply
    (told,) = rig.told
    shown = "&lt;!channel&gt; &amp; &lt;@U1&gt;"
    assert told["text"] == Reader().say("slack_joined", who=shown, number=1)


async def test_a_forged_old_or_repeated_press_changes_nothing(rig: Rig) -> None:
    assert await rig.press("acknowledge", secret="wrong") == 401
    assert await rig.press("acknowledge", late=301) == 401
    assert await rig.slack(b"payload=%7B%7D", "1e9") == 401
    assert await rig.press("link", value="1") == 200
    assert await rig.press("link", value="1") == 401  # the very same request again
    assert (await rig.incident()).state is State.TRIGGERED
    assert rig.count("slack", "refused") == 4


async def test_a_command_is_answered_if_slack_has_signed_it(rig: Rig) -> None:
    body = urlencode({"command": "/oncall", "text": "incidents", "user_id": "U01LINH", "trigger_id": "T1"}).encode()
    stamp = str(int(rig.clock.now.timestamp()))
    headers = signed(body, stamp, SECRET)
    async with rig.client.post("/slack/commands", data=body, headers=headers) as answer:
        assert answer.status == 200
        assert (await answer.json())["text"] == Reader().say("slack_open_one")
    refused = [headers, signed(body, stamp, "wrong"), signed(body, str(int(stamp) - 301), SECRET), {}]
    for again in refused:  # the very same once more, forged, stale, unsigned
        async with rig.client.post("/slack/commands", data=body, headers=again) as answer:
            assert answer.status == 401


async def test_a_button_of_another_database_changes_nothing(rig: Rig) -> None:
    opened = int(START.timestamp())
    await rig.press("acknowledge", value=f"heypeter-1-{opened - 1}")
    assert (await rig.incident()).state is State.TRIGGERED
    await rig.press("acknowledge", value=f"heypeter-1-{opened}")
    assert (await rig.incident()).state is State.ACKNOWLEDGED


@pytest.mark.parametrize("value", ["", "0", "-1", "²", "1;2", "9" * 40, "heypeter-1"])
async def test_a_button_of_no_incident_of_ours_changes_nothing(rig: Rig, value: str) -> None:
    assert await rig.press("acknowledge", value=value) == 200
    assert (await rig.incident()).state is State.TRIGGERED


async def test_a_reply_goes_to_slack_and_to_nobody_else(rig: Rig) -> None:
    for url in ("http://169.254.169.254/latest", "http://[", "https://hooks.slack.com@example.com/"):
        assert await rig.press("acknowledge", value="77", url=url) == 200
    assert rig.told == []


async def test_pagerduty_acknowledges_and_resolves_for_people(rig: Rig) -> None:
    assert await rig.hook("incident.acknowledged") == 202
    assert (await rig.incident()).acknowledged_by == "Marek Novak"  # nobody of that name is configured
    assert await rig.hook("incident.acknowledged") == 202  # at least once, they say
    assert await rig.hook("incident.resolved") == 202
    incident = await rig.incident()
    assert (incident.state, incident.resolved_by) == (State.RESOLVED, "Marek Novak")
    assert (rig.count("pagerduty", "taken"), rig.count("pagerduty", "already")) == (2, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": None},  # PagerDuty's own clock: an automatic resolve is no fix
        {"agent": {"type": "service_reference", "summary": "heypeter"}},  # our own event, coming back
        {"agent": {"type": "integration_reference", "summary": "Events API"}},
        {"data": {"incident_key": KEY, "resolve_reason": {"type": "merge_resolve_reason"}}},
        {"data": {"incident_key": "heypeter-1-17/lane"}},  # the number of an incident of another database
        {"data": {"incident_key": "heypeter-1-"}},
        {"data": {"incident_key": None}},
        {"data": None},
    ],
)
async def test_what_no_person_did_changes_nothing(rig: Rig, changes: dict[str, object]) -> None:
    assert await rig.hook("incident.resolved", HOOK, **changes) == 202
    assert (await rig.incident()).state is State.TRIGGERED
    assert rig.count("pagerduty", "ignored") == 1


async def test_whatever_is_signed_is_taken_so_that_the_subscription_lives(rig: Rig) -> None:
    for body in (b"", b"[]", b'{"event": 1}', b"\xff", b'{"event": {"event_type": "pagey.ping"}}'):
        assert await rig.signed(body) == 202
    assert await rig.hook("incident.unacknowledged") == 202
    assert await rig.hook("incident.acknowledged", secret="wrong") == 401
    assert (await rig.incident()).state is State.TRIGGERED


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=st.binary(max_size=200), stamp=st.text(max_size=20), signed=st.text(max_size=80))
async def test_nothing_that_anybody_sends_is_a_500(rig: Rig, body: bytes, stamp: str, signed: str) -> None:
    headers = {"X-Slack-Signature": quote(signed), "X-Slack-Request-Timestamp": quote(stamp)}
    headers["X-PagerDuty-Signature"] = quote(signed)
    for path in ("/slack/interactivity", "/slack/commands", "/pagerduty/webhook"):
        async with rig.client.post(path, data=body, headers=headers) as answer:
            assert answer.status == 401


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "user", "id", "actions", "action_id", "value"]), inner, max_size=5
            )
        ),
    )
)
async def test_nothing_that_is_signed_is_a_500(rig: Rig, payload: object) -> None:
    body = urlencode({"payload": json.dumps(payload)}).encode()
    rig.clock.forward(seconds=1)
    assert await rig.slack(body, str(int(rig.clock.now.timestamp()))) in {200, 400}
    assert await rig.signed(json.dumps({"event": payload}).encode()) == 202


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[FakePagerDuty]:
    server = FakePagerDuty(set())
    await server.start()
    yield server
    await server.stop()


def listed(status: str, key: str = KEY, **more: object) -> dict[str, object]:
    person = {"type": "user_reference", "summary": "Aisha Bello"}
    answered = {"acknowledgements": [{"acknowledger": person}], "last_status_change_by": person}
    return {"id": "P1", "status": status, "incident_key": key, **answered, **more}


@pytest.mark.parametrize(
    ("incident", "state"),
    [
        (listed("acknowledged"), State.ACKNOWLEDGED),
        (listed("resolved"), State.RESOLVED),
        (listed("resolved", last_status_change_by={"type": "service_reference"}), State.TRIGGERED),
        (listed("acknowledged", acknowledgements=[]), State.TRIGGERED),
        (listed("acknowledged", key="somebody-elses"), State.TRIGGERED),
    ],
)
async def test_answers_are_read_back_from_pagerduty(
    rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession, incident: dict[str, object], state: State
) -> None:
    server.incidents["P1"] = incident
    actions = Actions(rig.store, the_current(), rig.clock, Metrics([]).registry)
    poll = PagerDutyPoll(actions, rig.store, Secret("rest-token"), session, server.url)
    assert await poll.run_once() == (state is not State.TRIGGERED)
    assert (await rig.incident()).state is state
    assert await poll.run_once() == 0
    poll.close()


@pytest.mark.parametrize("lost", [True, False])
async def test_what_pagerduty_still_holds_of_an_incident_that_is_over_is_ended_there_again(
    rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession, *, lost: bool
) -> None:
    for kind in (Kind.PAGE, Kind.RESOLVED):
        if kind is Kind.RESOLVED:
            end = deciding(Resolve("linh", Origin.API), rig.clock.now)
            await rig.store.apply(1, end, rig.clock.now)
        for claimed in await rig.store.claim("pagerduty", rig.clock.now, 60, 10):
            told = deciding(Delivered(claimed.notification.round, "linh"), rig.clock.now)
            if lost and kind is Kind.RESOLVED:
                await rig.store.dead(claimed, Failure.REFUSED, "400", told, told, rig.clock.now)
            else:
                await rig.store.settle(claimed, "ref", told, rig.clock.now)
    server.incidents["P1"] = listed("triggered")
    actions = Actions(rig.store, the_current(), rig.clock, Metrics([]).registry)
    poll = PagerDutyPoll(actions, rig.store, Secret("rest-token"), session, server.url)
    rig.clock.forward(minutes=4)
    await poll.run_once()
    assert await rig.store.claim("pagerduty", rig.clock.now, 60, 10) == []  # it may still be on its way
    rig.clock.forward(minutes=2)
    await poll.run_once()
    await poll.run_once()
    again = await rig.store.claim("pagerduty", rig.clock.now, 60, 10)
    assert [claimed.notification.kind for claimed in again] == [Kind.RESOLVED]
    poll.close()


@pytest.mark.parametrize(("sent", "actor"), [("Linh", "linh"), ("linh@example.com", "linh"), ("Lin", "Lin")])
async def test_whoever_answers_in_pagerduty_is_the_one_person_of_that_name_or_address(
    rig: Rig, sent: str, actor: str
) -> None:
    assert await rig.hook("incident.acknowledged", agent={"type": "user_reference", "summary": sent}) == 202
    assert (await rig.incident()).acknowledged_by == actor


def test_a_slack_id_that_two_people_share_belongs_to_neither() -> None:
    shared = Contact("slack", "U1")
    people = {"linh": Person("Linh", (shared, Contact("slack", "U2"))), "marek": Person("Marek", (shared,))}
    assert slack_ids(the_current(on_slack(people))) == {"U2": "linh"}


async def test_a_pagerduty_that_is_away_changes_nothing(
    rig: Rig, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    actions = Actions(rig.store, the_current(), rig.clock, Metrics([]).registry)
    poll = PagerDutyPoll(actions, rig.store, Secret("rest-token"), session, "http://127.0.0.1:1")
    assert await poll.run_once() == 0
    poll.close()
    assert "cannot read answers from PagerDuty" in caplog.text
    assert "rest-token" not in caplog.text
