"""The summary at a change of shift: when, for whom, and what is in it."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.evidence.handover import LISTED, Change, handover, last_change, sections, text, title
from receiver.incident.event import AlertsReceived, Resolve
from receiver.incident.model import AlertGroup, Incident, Origin, Pause, PauseKind, Plan, Priority, State, Step
from receiver.messages.i18n import Reader
from receiver.messages.templating import Templates
from receiver.oncall.contact_rules import Contact
from receiver.oncall.schedule import Layer, Schedule
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.store.base import IncidentHistory, SentPage
from receiver.store.sql.store import SQLStore
from receiver.workers.handover import HandoverError, HandoverSummaries, Recipients
from tests.receiver.example_site import MINUTE, START, Clock, a_store, an_alert, deciding, the_policy, the_routing

ROLE = "on-call-engineer"
READER = Reader(name_of=the_routing().directory.name)
CHANGE = Change(ROLE, START - timedelta(hours=12), START, ("linh",), ("marek",))
PLAN = Plan((Step(0.0, (ROLE,)),), 900.0)


def rotating() -> Routing:
    """Linh and Marek by turns, from 09:00 UTC to 09:00."""
    layer = Layer("UTC", date(2026, 11, 1), 9 * 60, timedelta(days=1), (("linh",), ("marek",)))
    routing = the_routing()
    return replace(
        routing, roles={**routing.roles, ROLE: ("days",)}, schedules={"days": Schedule("days", "UTC", (layer,))}
    )


def incident(number: int, **changes: object) -> Incident:
    made = Incident(
        number, f"k{number}", State.TRIGGERED, Priority.P2, "Disk full", "backend", plan=PLAN, opened_at=START
    )
    return replace(made, **changes)


def test_the_newest_change_is_found_and_only_where_somebody_else_comes() -> None:
    nine = datetime(2026, 11, 23, 9, tzinfo=UTC)
    found = last_change(rotating(), ROLE, nine - timedelta(hours=30), nine + MINUTE)
    assert found is not None
    assert (found.at, found.start) == (nine, nine - timedelta(days=1))
    assert {*found.leaving, *found.coming} == {"linh", "marek"}
    assert last_change(rotating(), ROLE, nine, nine + MINUTE) is None
    assert last_change(the_routing(), ROLE, nine - timedelta(days=3), nine) is None


def test_what_is_open_comes_first_and_what_has_nothing_to_do_with_the_role_is_left_out() -> None:
    others = replace(PLAN, steps=(Step(0.0, ("cto",)),))
    silence = Pause(PauseKind.SILENCE, "s", until=START + timedelta(hours=2))
    still_open = [
        incident(1, paused=silence),
        incident(2, priority=Priority.P1, snoozed_until=START + timedelta(hours=1)),
        incident(3, plan=others),
        incident(4, drill=True),
        incident(5, paused=replace(silence, until=START + timedelta(days=3))),
    ]
    over = incident(6, state=State.RESOLVED, resolved_at=START + 5 * MINUTE, acknowledged_by="linh")
    shift = [IncidentHistory(over, breached=True, pages=(SentPage(START, "linh"),)), IncidentHistory(still_open[2])]
    summary = handover(CHANGE, still_open, shift)
    assert [one.id for one in summary.open] == [2, 1, 5]
    assert [one.id for _, one in summary.ending] == [2, 1]
    assert ([one.id for one in summary.over], summary.opened, summary.pages, summary.breaches) == ([6], 1, 1, 1)
    shown = text(summary, READER, START)
    assert (
        "The shift before\n- Linh, since 2026-11-22 15:00 UTC\n- 1 incident, 1 page, 1 response time breached" in shown
    )
    assert "- [P2 RESOLVED] #6 Disk full, 5m, Linh" in shown
    assert title(summary, READER) == "Hand-over, on-call engineer: Marek"
    assert title(summary, Reader("de")).startswith("Übergabe")


def test_a_storm_is_cut() -> None:
    summary = handover(CHANGE, [incident(n) for n in range(500)], [])
    (_, lines) = sections(summary, READER, START)[1]
    assert (len(lines), lines[-1]) == (LISTED + 1, "and 480 more")


class Box:
    """A channel that keeps what it is given, and refuses as often as it is told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refuses: set[str] = set()
        self.breaks: set[str] = set()

    async def send(self, message: Message) -> Receipt:
        if message.address in self.breaks:
            raise ValueError("a fault of ours")
        if message.address in self.refuses:
            raise SendError("no", Failure.NETWORK)
        self.messages.append(message)
        return Receipt()

    @property
    def addresses(self) -> list[str]:
        return [message.address for message in self.messages]


class Rig:
    def __init__(self, store: SQLStore) -> None:
        self.store, self.clock, self.box = store, Clock(), Box()
        self.clock.now = datetime(2026, 11, 23, 8, tzinfo=UTC)
        self.loop = self.started()

    def started(self) -> HandoverSummaries:
        recipients = {ROLE: Recipients(("email",), (Contact("slack", "#ops"),))}
        channels = {"email": self.box, "slack": self.box}
        loop = HandoverSummaries(
            self.store,
            Current(rotating(), self.clock.now),
            self.clock,
            channels,
            "https://oncall.example.com",
            Templates(),
        )
        loop.use(recipients)
        return loop


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    store = await a_store(tmp_path, Clock())
    yield Rig(store)
    await store.close()


async def test_a_change_is_told_once_to_both_and_to_the_place(rig: Rig) -> None:
    alert = AlertsReceived(AlertGroup("k", (an_alert(starts_at=rig.clock.now),)))
    one = await rig.store.update(alert, the_policy(), rig.clock.now)
    assert one is not None
    await rig.store.apply(one.id, deciding(Resolve("linh", Origin.API), rig.clock.now), rig.clock.now)
    await rig.loop.run_once()
    assert rig.box.messages == []
    rig.clock.forward(hours=1)
    await rig.loop.run_once()
    assert sorted(rig.box.addresses) == ["#ops", "linh@example.com", "marek@example.com"]
    message = rig.box.messages[0]
    assert f"#{one.id}" in message.text
    assert f"#{one.id}" in message.html
    assert message.priority == ""
    await rig.started().run_once()  # after a restart
    rig.clock.forward(minutes=10)
    await rig.loop.run_once()
    assert len(rig.box.messages) == 3


async def test_what_could_not_be_sent_is_tried_again_and_nothing_is_sent_twice(rig: Rig) -> None:
    await rig.loop.run_once()
    rig.clock.forward(hours=1)
    rig.box.refuses = {"#ops"}
    with pytest.raises(HandoverError):
        await rig.loop.run_once()
    rig.box.refuses = set()
    await rig.loop.run_once()
    await rig.loop.run_once()
    assert sorted(rig.box.addresses) == ["#ops", "linh@example.com", "marek@example.com"]


async def test_what_breaks_inside_a_channel_keeps_nobody_else_waiting(rig: Rig) -> None:
    await rig.loop.run_once()
    rig.clock.forward(hours=1)
    rig.box.breaks = {"linh@example.com", "marek@example.com"}
    with pytest.raises(HandoverError):
        await rig.loop.run_once()
    assert rig.box.addresses == ["#ops"]
    rig.box.breaks = set()
    await rig.loop.run_once()
    assert sorted(rig.box.addresses) == ["#ops", "linh@example.com", "marek@example.com"]


async def test_a_summary_that_is_old_is_not_sent(rig: Rig) -> None:
    await rig.loop.run_once()
    rig.clock.forward(hours=2)
    await rig.loop.run_once()
    assert rig.box.messages == []
    assert await rig.store.handed_over(ROLE) == datetime(2026, 11, 23, 9, tzinfo=UTC)


async def test_others_are_told_after_a_reload(rig: Rig) -> None:
    await rig.loop.run_once()
    rig.loop.use({ROLE: Recipients(places=(Contact("slack", "#new"),))})
    rig.clock.forward(hours=1)
    await rig.loop.run_once()
    assert rig.box.addresses == ["#new"]
