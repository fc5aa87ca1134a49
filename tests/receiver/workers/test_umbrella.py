"""A storm at PagerDuty: the first pages ring by themselves, the rest of a window is one incident there, an umbrella."""

import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from process.settings import Secret
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource
from receiver.channels.base import Failure, Message, SendError
from receiver.channels.pagerduty import PagerDutyEvents, dedup_key
from receiver.clients.http_api import open_session
from receiver.incident.delivery import UMBRELLA, Handling
from receiver.incident.event import Acknowledge, AlertsReceived, Note, Resolve, Unacknowledge, UndoResolve
from receiver.incident.model import Incident, Kind, Origin, State
from receiver.messages.compose import Links, Messages
from receiver.messages.templating import Templates
from receiver.metrics import Metrics
from receiver.store.sql.store import SQLStore
from receiver.web.answer_pages import AnswerPages
from receiver.web.console.board import Board
from receiver.web.console.layout import Layout
from receiver.web.console.stream import Streams
from receiver.web.pagerduty_webhook import PagerDutyWebhook
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.pagerduty_poll import PagerDutyPoll
from receiver.workers.retry import RetryPolicy
from tests.fakes.pagerduty import FakePagerDuty
from tests.receiver.example_site import (
    Clock,
    Recorder,
    an_alert,
    beside,
    deciding,
    labelled,
    of_group,
    received,
    refusing,
    the_current,
    the_policy,
)
from tests.receiver.stores import the_store

HOLD, ALONE = timedelta(seconds=10), 2
KEY, HOOK = Secret("k" * 32), "hook-secret"
KINDS = frozenset({Kind.PAGE, Kind.ACKNOWLEDGED, Kind.RESOLVED})
PAGERDUTY = Handling(HOLD, ALONE, KINDS, keeps_incidents=True, umbrella=True)


class Rig:
    """PagerDuty's dispatcher over a real store, with the messages that people get."""

    def __init__(self, store: SQLStore, clock: Clock) -> None:
        self.store, self.clock, self.channel, self.current = store, clock, Recorder(), the_current()
        self.links = Links("https://oncall.example.com", 86400.0, KEY)
        messages = Messages(self.current, self.links, Templates(None, lambda _: None), clock)
        self.metrics = Metrics(["pagerduty"])
        self.actions = Actions(store, self.current, clock, self.metrics.registry)
        self.dispatcher = Dispatcher(
            "pagerduty",
            self.channel,
            store,
            current=self.current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=messages.one,
            bundle=messages.many,
            umbrella=True,
            keeps_incidents=True,
            metrics=self.metrics,
            clock=clock,
            elapsed=clock.elapsed,
            jitter=lambda: 0.0,
        )

    async def fire(self, name: str, severity: str = "warning", *, firing: bool = True) -> int:
        alert = labelled(an_alert(name, firing=firing), severity=severity)
        opened = await self.store.update(
            AlertsReceived(of_group(received(alert), key=name)), the_policy(), self.clock.now
        )
        assert opened is not None
        return opened.id

    async def storm(self, count: int) -> list[int]:
        """Fire so many P2 and send what is due until the window is over."""
        numbers = [await self.fire(f"slow-{number}") for number in range(count)]
        await self.dispatcher.run_once()
        self.clock.forward(seconds=10)
        await self.dispatcher.run_once()
        return numbers

    async def send(self) -> list[Message]:
        """Send what is due now, and give it."""
        self.channel.sent.clear()
        await self.dispatcher.run_once()
        return list(self.channel.sent)

    async def end(self, number: int) -> None:
        await self.store.apply(number, deciding(Resolve("linh", Origin.API), self.clock.now), self.clock.now)

    async def undo(self, number: int) -> None:
        await self.store.apply(number, deciding(UndoResolve("linh", Origin.API), self.clock.now), self.clock.now)

    async def take(self, number: int) -> None:
        await self.store.apply(number, deciding(Acknowledge("linh", Origin.API), self.clock.now), self.clock.now)

    async def states(self) -> list[State]:
        return [one.state for one in reversed(await self.store.incidents(None, 500))]

    async def incident(self, number: int) -> Incident:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = the_store(tmp_path, clock, lambda: None, handling=lambda _: PAGERDUTY)
    await store.open(clock.now)
    made = Rig(store, clock)
    made.links.installation = await store.installation()
    yield made
    await store.close()


def umbrella(rig: Rig) -> Message:
    (message,) = [one for one in rig.channel.sent if "umbrella" in one.incident]
    return message


async def test_the_first_pages_ring_by_themselves_and_the_rest_of_the_window_is_one_incident(rig: Rig) -> None:
    numbers = [await rig.fire(f"slow-{number}") for number in range(17)]
    assert [one.number for one in await rig.send()] == numbers[:ALONE]
    urgent = await rig.fire("down", "critical")
    assert [one.number for one in await rig.send()] == [urgent]  # a P1 is always its own
    rig.clock.forward(seconds=9)
    assert await rig.send() == []
    rig.clock.forward(seconds=1)
    (message,) = await rig.send()
    assert message.kind is Kind.PAGE
    assert message.headline.startswith("15 incidents: ")
    assert message.links[0].url.startswith("https://oncall.example.com/answer/digest/")
    assert all(f"#{number} " in message.text for number in numbers[ALONE : ALONE + 10])
    assert dedup_key(message).startswith("heypeter-umbrella-")


async def test_its_link_lists_and_acknowledges_all_of_it(rig: Rig) -> None:
    await rig.storm(12)
    path = umbrella(rig).links[0].url.removeprefix("https://oncall.example.com/answer")
    streams = Streams(Board(rig.store, rig.actions.clock), "test")
    app = AnswerPages(
        rig.store, rig.actions, rig.current, KEY, silences=rig.store.silences, layout=Layout(), streams=streams
    ).application()
    async with TestClient(TestServer(app)) as client:
        page = await (await client.get(path)).text()
        assert all(f"#{number}" in page for number in range(ALONE + 1, 13))
        assert (await client.post(path, data={"verb": "acknowledge"}, allow_redirects=False)).status == 303
    assert await rig.states() == [State.TRIGGERED] * ALONE + [State.ACKNOWLEDGED] * 10


async def test_it_is_acknowledged_and_resolved_once_all_its_members_are(rig: Rig) -> None:
    members = (await rig.storm(ALONE + 3))[ALONE:]
    key = dedup_key(umbrella(rig))
    await rig.send()
    for number in members[:-1]:
        await rig.take(number)
        assert await rig.send() == []
    await rig.end(members[-1])
    assert await rig.send() == []  # nobody has acknowledged it, and two are still open
    await rig.take(members[0])
    for number in members[:-1]:
        assert await rig.send() == []
        await rig.end(number)
    (resolved,) = await rig.send()
    assert (resolved.kind, dedup_key(resolved)) == (Kind.RESOLVED, key)
    assert rig.metrics.registry.get_sample_value("receiver_notifications_dead_total", {"channel": "pagerduty"}) == 0


async def test_the_last_acknowledgement_is_that_of_the_umbrella(rig: Rig) -> None:
    members = (await rig.storm(ALONE + 2))[ALONE:]
    key = dedup_key(umbrella(rig))
    await rig.take(members[0])
    assert await rig.send() == []
    await rig.take(members[1])
    (taken,) = await rig.send()
    assert (taken.kind, dedup_key(taken)) == (Kind.ACKNOWLEDGED, key)


async def test_what_is_given_back_at_pagerduty_is_all_of_it_but_what_has_its_own(rig: Rig) -> None:
    members = (await rig.storm(ALONE + 3))[ALONE:]
    key = dedup_key(umbrella(rig))
    for number in members[:2]:
        await rig.take(number)
    event = Unacknowledge("marek", Origin.PAGERDUTY)
    results = await rig.actions.act_on_key(ActionSource.PAGERDUTY, key, event)
    assert results == (ActionResult.TAKEN, ActionResult.TAKEN, ActionResult.ALREADY)
    assert set(await rig.states()) == {State.TRIGGERED}
    await rig.end(members[0])
    note = Note("marek", Origin.PAGERDUTY, "the switch of rack 4")
    assert len(await rig.actions.act_on_key(ActionSource.PAGERDUTY, key, event)) == 2
    assert await rig.actions.act_on_key(ActionSource.PAGERDUTY, key, note) == (ActionResult.TAKEN,) * 3


async def test_those_that_rang_by_themselves_are_told_by_themselves(rig: Rig) -> None:
    numbers = await rig.storm(ALONE + 3)
    await rig.end(numbers[0])
    (resolved,) = await rig.send()
    assert (resolved.kind, resolved.number) == (Kind.RESOLVED, numbers[0])
    assert "umbrella" not in dedup_key(resolved)


async def test_what_was_answered_before_the_window_ended_is_no_member(rig: Rig) -> None:
    numbers = [await rig.fire(f"slow-{number}") for number in range(ALONE + 2)]
    await rig.dispatcher.run_once()
    await rig.take(numbers[-1])
    rig.clock.forward(seconds=10)
    (message,) = await rig.send()
    assert message.number == numbers[ALONE]
    await rig.end(numbers[ALONE])
    (resolved,) = await rig.send()
    assert (resolved.kind, dedup_key(resolved)) == (Kind.RESOLVED, dedup_key(message))


async def test_a_failure_repeats_the_same_incident_and_makes_no_second_one(rig: Rig) -> None:
    for number in range(ALONE + 4):
        await rig.fire(f"slow-{number}")
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=10)
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)]
    assert await rig.send() == []
    rig.clock.forward(seconds=5)
    (message,) = await rig.send()
    assert message.headline.startswith("4 incidents: ")


async def test_each_window_of_a_storm_has_an_umbrella_of_its_own_and_a_great_one_has_several(rig: Rig) -> None:
    await rig.storm(ALONE + UMBRELLA + 20)
    first = {dedup_key(one) for one in rig.channel.sent if "umbrella" in one.incident}
    assert len(first) == 2
    for number in range(3):
        await rig.fire(f"later-{number}")
    rig.clock.forward(seconds=10)
    second = {dedup_key(one) for one in await rig.send()}
    assert len(second) == 1
    assert not first & second


async def hooked(rig: Rig, kind: str, key: str) -> int:
    event = {"event_type": kind, "agent": {"type": "user_reference", "summary": "Marek"}, "data": {"incident_key": key}}
    body = json.dumps({"event": event}).encode()
    signed = {"X-PagerDuty-Signature": "v1=" + hmac.new(HOOK.encode(), body, hashlib.sha256).hexdigest()}
    app = web.Application()
    app.add_routes(PagerDutyWebhook(rig.actions, Secret(HOOK)).routes())
    async with TestClient(TestServer(app)) as client, client.post("/pagerduty/webhook", data=body, headers=signed) as a:
        return a.status


async def test_who_acknowledges_it_at_pagerduty_acknowledges_every_member_that_is_no_p1(rig: Rig) -> None:
    numbers = await rig.storm(ALONE + 3)
    key = dedup_key(umbrella(rig))
    await rig.fire("slow-4", "critical")  # it has become a P1, and rings by itself
    assert await hooked(rig, "incident.acknowledged", key) == 202
    told = [State.TRIGGERED] * ALONE + [State.ACKNOWLEDGED] * 2 + [State.TRIGGERED]
    assert await rig.states() == told
    assert (await rig.incident(numbers[ALONE])).acknowledged_by == "marek"
    assert await hooked(rig, "incident.resolved", key) == 202
    assert (await rig.states())[ALONE:] == [State.RESOLVED] * 2 + [State.TRIGGERED]


async def test_the_umbrella_of_another_database_answers_nothing(rig: Rig) -> None:
    await rig.storm(ALONE + 3)
    installation = str(rig.links.installation)
    other = dedup_key(umbrella(rig)).replace(installation, str(int(installation) + 1))
    assert await hooked(rig, "incident.acknowledged", other) == 202
    assert await rig.states() == [State.TRIGGERED] * (ALONE + 3)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[FakePagerDuty]:
    server = FakePagerDuty({"R" * 32})
    await server.start()
    yield server
    await server.stop()


async def test_answers_to_it_are_read_back_and_what_is_still_held_is_ended(
    rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession
) -> None:
    members = (await rig.storm(ALONE + 3))[ALONE:]
    person = {"type": "user_reference", "summary": "Aisha"}
    held = {"id": "P1", "incident_key": dedup_key(umbrella(rig)), "acknowledgements": [{"acknowledger": person}]}
    server.incidents["P1"] = {**held, "status": "acknowledged", "last_status_change_by": person}
    poll = PagerDutyPoll(rig.actions, rig.store, Secret("rest-token"), session, server.url)
    assert await poll.run_once() == 3
    assert await poll.run_once() == 0
    for number in members:
        assert (await rig.incident(number)).acknowledged_by == "aisha"
        await rig.end(number)
    assert [one.kind for one in await rig.send()] == [Kind.RESOLVED]
    rig.clock.forward(minutes=6)
    await poll.run_once()
    assert [one.kind for one in await rig.send()] == [Kind.RESOLVED]
    poll.close()


async def test_pagerduty_rings_once_for_it_and_everything_is_over_there_in_the_end(
    rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession
) -> None:
    for number in await rig.storm(17):
        await rig.take(number)
        await rig.dispatcher.run_once()
        await rig.end(number)
        await rig.dispatcher.run_once()
    channel = PagerDutyEvents({"staff": Secret("R" * 32)}, session, api_url=server.url)
    for message in rig.channel.sent:
        await channel.send(message)
    channel.close()
    assert len(server.rung) == ALONE + 1
    assert server.rung[-1].startswith("15 incidents: ")
    assert set(server.alerts.values()) == {"resolved"}
    assert server.dropped == []


async def at_pagerduty(rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    """Send there what was sent to the recorder."""
    channel = PagerDutyEvents({"staff": Secret("R" * 32)}, session, api_url=server.url)
    for message in rig.channel.sent:
        await channel.send(message)
    channel.close()


@pytest.mark.parametrize("again", ["refired", "undone"])
@pytest.mark.parametrize("last", [True, False])
async def test_a_member_that_fires_again_rings_by_itself_and_leaves_nothing_open(
    rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession, *, again: str, last: bool
) -> None:
    numbers = await rig.storm(ALONE + 3)
    first, *others = numbers[ALONE:]
    await rig.end(first)
    await rig.dispatcher.run_once()  # the umbrella is not told: others still fire
    rig.clock.forward(seconds=30)
    if again == "undone":
        await rig.undo(first)
    else:
        alert = an_alert(f"slow-{ALONE}", severity="warning", starts_at=rig.clock.now)
        group = of_group(received(alert), key=f"slow-{ALONE}")
        await rig.store.update(AlertsReceived(group), the_policy(), rig.clock.now)
    assert (await rig.incident(first)).state is State.TRIGGERED
    rig.clock.forward(seconds=10)
    await rig.dispatcher.run_once()
    for number in [*numbers[:ALONE], *([*others, first] if last else [first, *others])]:
        await rig.end(number)
        await rig.dispatcher.run_once()
    await at_pagerduty(rig, server, session)
    assert len(server.rung) == ALONE + 2
    assert set(server.alerts.values()) == {"resolved"}
    assert server.dropped == []


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_member_that_takes_no_answer_keeps_no_other_from_it(
    rig: Rig, server: FakePagerDuty, session: aiohttp.ClientSession, tmp_path: Path, is_read: bool
) -> None:
    stuck, *others = (await rig.storm(ALONE + 3))[ALONE:]
    person = {"type": "user_reference", "summary": "Aisha"}
    held = {"incident_key": dedup_key(umbrella(rig)), "acknowledgements": [{"acknowledger": person}]}
    alone = await rig.fire("alone", "critical")
    (page,) = await rig.send()
    key = dedup_key(page)
    for name, one in (("P1", held), ("P2", {**held, "incident_key": key})):
        server.incidents[name] = {**one, "id": name, "status": "acknowledged", "last_status_change_by": person}
    poll = PagerDutyPoll(rig.actions, rig.store, Secret("rest-token"), session, server.url)
    fault = refusing(tmp_path, "UPDATE ON incident", "no", f"NEW.id = {stuck}") if is_read else contextlib.nullcontext()
    with fault:
        if not is_read:
            with beside(tmp_path) as db:
                db.execute("UPDATE incident SET doc = ? WHERE id = ?", (b"{", stuck))
        assert await poll.run_once() == len(others) + 1
        for number in (*others, alone):
            assert (await rig.incident(number)).acknowledged_by == "aisha"
        results = await rig.actions.apply_to_key(
            ActionSource.PAGERDUTY, str(held["incident_key"]), Action.RESOLVE, "aisha"
        )
        assert results == (ActionResult.STUCK, ActionResult.TAKEN, ActionResult.TAKEN)
    poll.close()
