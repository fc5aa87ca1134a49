"""An incident's card in Slack: every act changes it soon, whichever way it came, and nothing waits for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from process.settings import Secret
from receiver.channels.send_rate import Pace
from receiver.channels.slack import Slack
from receiver.incident.delivery import Handling
from receiver.incident.event import (
    Acknowledge,
    Event,
    HandOver,
    Resolve,
    Snooze,
    TakeOver,
    TimeDue,
    UndoResolve,
)
from receiver.incident.model import EntryKind, Incident, Origin
from receiver.messages.compose import Links, Messages
from receiver.messages.templating import Templates
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact, Person
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.retry import RetryPolicy
from tests.fakes.slack import FakeSlack
from tests.receiver.example_site import MINUTE, Clock, an_alert, deciding, received, the_current, the_routing
from tests.receiver.stores import the_store

TOKEN = "xoxb-s3cret-token"


class Rig:
    """A receiver whose team reads #alerts; nothing is sent until ``send``."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession, slack: FakeSlack, window: int = 0) -> None:
        self.clock, self.slack = Clock(), slack
        handling = Handling(MINUTE * window, redraws=True)
        self.store = the_store(folder, self.clock, lambda: None, handling=lambda _channel: handling)
        routing, ways = the_routing(), (Contact("slack", "#alerts"),)
        people = {**routing.people, "linh": Person("Linh", (Contact("slack", "U01LINH"),))}
        self.current = the_current(replace(routing, people=people, teams=dict.fromkeys(routing.teams, ways)))
        links = Links("https://oncall.example.com", 86400, Secret("s" * 32))
        messages = Messages(self.current, links, Templates(), self.clock)
        self.metrics = Metrics(["slack"])
        channel = Slack(
            Secret(TOKEN), session, timeout=30, api_url=f"{slack.url}/api/", interactive=True, pace=Pace(0, 1)
        )
        self.sender = Dispatcher(
            "slack",
            channel,
            self.store,
            current=self.current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=messages.one,
            bundle=messages.many,
            digest=messages.digest,
            metrics=self.metrics,
            clock=self.clock,
            elapsed=self.clock.elapsed,
            jitter=lambda: 0.0,
        )

    async def fire(self, severity: str = "critical", key: str = "a") -> Incident:
        alert = an_alert(key, severity=severity, starts_at=self.clock.now)
        incident = await self.store.update(received(alert), self.current.routing, self.clock.now)
        assert incident is not None
        await self.sender.run_once()
        return incident

    async def act(self, event: Event, *numbers: int) -> None:
        self.clock.forward(seconds=1)
        for number in numbers or (1,):
            await self.store.apply(number, deciding(event, self.clock.now, self.current.routing), self.clock.now)
        await self.sender.run_once()

    def card(self) -> str:
        """All that the first message in #alerts says now."""
        first = next(m for m in self.slack.messages if m["channel"] == "#alerts")
        return "\n".join(_texts(self.slack.shown[first["ts"]]))


def _texts(block: Any) -> list[str]:  # noqa: ANN401  # JSON
    if isinstance(block, dict):
        own = [block["text"]] if isinstance(block.get("text"), str) else []
        return own + [text for key, value in block.items() if key != "metadata" for text in _texts(value)]
    return [text for value in block for text in _texts(value)] if isinstance(block, list) else []


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    slack = FakeSlack(TOKEN, {"#alerts", "U01LINH"})
    await slack.start()
    async with aiohttp.ClientSession() as session:
        rig = Rig(tmp_path, session, slack)
        await rig.store.open(rig.clock.now)
        yield rig
        await rig.store.close()
    await slack.stop()


async def test_the_card_follows_what_people_do(rig: Rig) -> None:
    await rig.fire()
    assert "P1 · Triggered" in rig.card()
    await rig.act(Acknowledge("marek", Origin.API))
    assert "P1 · Acknowledged" in rig.card()
    assert "Marek" in rig.card()
    await rig.act(TakeOver("linh", Origin.CONSOLE))
    assert "*Acknowledged by*\nLinh" in rig.card()
    await rig.act(Snooze("linh", Origin.CONSOLE, rig.clock.now + 30 * MINUTE))
    assert "*Snoozed until*\n03:30 UTC" in rig.card()
    await rig.act(HandOver("linh", Origin.CONSOLE, person="marek"))
    assert "*Asked to take over*\nMarek, until 03:05 UTC" in rig.card()
    await rig.act(Resolve("linh", Origin.PAGERDUTY))
    assert "P1 · Resolved" in rig.card()
    await rig.act(UndoResolve("linh", Origin.API))
    assert "P1 · Acknowledged" in rig.card()


async def test_nobody_is_told_and_the_timeline_says_nothing_of_it(rig: Rig) -> None:
    await rig.fire()
    await rig.act(Acknowledge("marek", Origin.API))
    posted = len(rig.slack.messages)
    await rig.act(HandOver("linh", Origin.CONSOLE, person="marek"))  # tells Marek alone, by mail
    assert len(rig.slack.messages) == posted
    stored = await rig.store.incident(1)
    assert stored is not None
    told = [entry for entry in stored[1] if entry.kind is EntryKind.TOLD and entry.data.channel == "slack"]
    assert len(told) == posted


async def test_the_card_does_not_wait_for_news_that_is_gathered(tmp_path: Path, rig: Rig) -> None:
    await rig.store.close()
    async with aiohttp.ClientSession() as session:
        slow = Rig(tmp_path / "slow", session, rig.slack, window=5)
        (tmp_path / "slow").mkdir()
        await slow.store.open(slow.clock.now)
        await slow.fire("warning")
        posted = len(slow.slack.messages)
        await slow.act(Acknowledge("marek", Origin.API))
        assert len(slow.slack.messages) == posted  # held until the window ends
        assert "P2 · Acknowledged" in slow.card()
        await slow.store.close()


async def test_a_page_waits_for_no_card(rig: Rig) -> None:
    await rig.fire()
    rig.slack.errors = ["ratelimited", "ratelimited"]  # the card of the team, and Linh's
    await rig.act(HandOver("linh", Origin.CONSOLE, person="marek"))
    assert "Asked" not in rig.card()
    posted = len(rig.slack.messages)
    rig.clock.forward(minutes=15)
    await rig.act(TimeDue())
    assert len(rig.slack.messages) > posted


async def test_a_card_that_has_gone_is_not_missed(rig: Rig) -> None:
    await rig.fire()
    rig.slack.errors = ["message_not_found"]
    await rig.act(HandOver("linh", Origin.CONSOLE, person="marek"))
    labels = {"channel": "slack"}
    assert rig.metrics.registry.get_sample_value("receiver_notifications_dead_total", labels) == 0


async def test_a_storm_is_one_card_that_shows_how_its_incidents_stand(rig: Rig) -> None:
    for at in range(6):
        event = received(an_alert(f"{at}", severity="warning", instance=f"web-{at}", starts_at=rig.clock.now))
        group = replace(event.group, key=f"group-{at}")
        await rig.store.update(replace(event, group=group), rig.current.routing, rig.clock.now)
    await rig.sender.run_once()
    assert len([m for m in rig.slack.messages if m["channel"] == "#alerts"]) == 1
    assert "6 incidents" in rig.card()
    await rig.act(Acknowledge("marek", Origin.API), 1, 2)
    assert "*Triggered*\n4" in rig.card()
    assert "*Acknowledged*\n2" in rig.card()
    rig.slack.calls.clear()
    await rig.act(Resolve("marek", Origin.API), *range(1, 7))
    assert "P2 · Resolved" in rig.card()
    assert "*Resolved*\n6" in rig.card()
    updates = [call for call in rig.slack.calls if call.path == "/api/chat.update" and call.body["channel"] == "C0000"]
    assert len(updates) < 6  # one shows several


async def test_a_card_that_cannot_be_changed_is_no_notification_that_was_lost(rig: Rig) -> None:
    await rig.fire()
    rig.slack.errors = ["token_revoked", "token_revoked"]
    await rig.act(HandOver("linh", Origin.CONSOLE, person="marek"))
    labels = {"channel": "slack"}
    assert rig.metrics.registry.get_sample_value("receiver_notifications_dead_total", labels) == 0
    failed = {**labels, "reason": "auth"}
    assert rig.metrics.registry.get_sample_value("receiver_delivery_failures_total", failed) == 2
    stored = await rig.store.incident(1)
    assert stored is not None
    assert EntryKind.DEAD not in {entry.kind for entry in stored[1]}


async def test_a_card_that_waits_is_no_notification_that_waits(rig: Rig) -> None:
    await rig.fire()
    rig.slack.misfortunes = [(503, {}), (503, {})]
    await rig.act(HandOver("linh", Origin.CONSOLE, person="marek"))
    assert "Asked" not in rig.card()
    assert "slack" not in (await rig.store.backlog()).oldest_owed
    rig.clock.forward(minutes=5)
    await rig.sender.run_once()
    assert "Asked" in rig.card()
