"""`receiver test` and the store: the same story gives the same incidents, and the same is told to the same people."""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.incident.delivery import Handling
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Delivered,
    Event,
    Paused,
    Resolve,
    Resumed,
    TimeDue,
    Undelivered,
    UndoResolve,
    Unreached,
)
from receiver.incident.machine import transition
from receiver.incident.model import (
    AlertGroup,
    Decision,
    Failure,
    Incident,
    Kind,
    Notification,
    Origin,
    Pause,
    PauseKind,
)
from receiver.oncall.contact_rules import Contact
from receiver.oncall.hours import parse as hours
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse as matcher
from receiver.policy.routing import Route, Routing
from receiver.policy.simulate import Simulation
from receiver.store.base import Claimed
from tests.examples import EXAMPLES
from tests.receiver.example_site import MINUTE, P3, START, Clock, an_alert, beside, the_policy, the_routing
from tests.receiver.stores import schemas, the_store

CHANNELS = ("pagerduty", "email", "slack")
Line = tuple[datetime, int, Notification]


def busy(flap_window: timedelta) -> Routing:
    """The document's matrix with every clock that there is."""
    routing = the_routing()
    plans = {
        priority: msgspec.structs.replace(
            plan, warn_after=plan.response_time * 0.8, repeat_every=2400.0, acknowledge_for=3600.0
        )
        for priority, plan in routing.plans.items()
    }
    late = msgspec.structs.replace(plans[P3].steps[1], hours="office")
    plans[P3] = msgspec.structs.replace(plans[P3], steps=(plans[P3].steps[0], late))
    windows = (
        Window("one host", (matcher('instance="b"'),), START + 20 * MINUTE, START + 50 * MINUTE),
        Window("a team", (matcher('team="payments"'),), START + 45 * MINUTE, START + 90 * MINUTE),
        Window("every night", (matcher('team="backend"'),), hours=hours("04:30-05:00", [], "UTC")),
    )
    return msgspec.structs.replace(
        routing,
        plans=plans,
        flap_window=flap_window.total_seconds(),
        teams={**routing.teams, "payments": (Contact("slack", "#payments"),)},
        routes=(Route((matcher('category="security"'),), (Contact("slack", "#security"),)),),
        windows=windows,
        hours={"office": hours("09:00-18:00", [], "UTC")},
    )


class Stored:
    """The real store; its clocks and its outbox are looked at whenever something is due."""

    def __init__(self, folder: Path, routing: Routing, hold: Handling, arrives: Callable[[Notification], bool]) -> None:
        self._folder, self._policy, self._arrives = folder, the_policy(routing), arrives
        self.clock, self.told = Clock(), list[Line]()
        self.store = the_store(folder, self.clock, lambda: None, handling=lambda _: hold)

    async def play(self, at: datetime, event: Event, key: str) -> None:
        await self.run(at)
        if isinstance(event, AlertsReceived):
            await self.store.update(event, self._policy, at)
        else:
            with beside(self._folder) as db:
                (number,) = db.execute("SELECT max(id) FROM incident WHERE key = ?", (key,)).fetchone()
            await self._apply(number or 0, event)
        await self._send()

    async def run(self, until: datetime) -> None:
        while (due := self._next()) is not None and due <= until:
            self.clock.now = max(self.clock.now, due)
            for number in await self.store.due(self.clock.now, 1000):
                await self._apply(number, TimeDue())
            await self._send()
        self.clock.now = until

    def _next(self) -> datetime | None:
        wake = "SELECT min(wake_at) FROM incident"
        owed = """SELECT min(not_before) FROM outbox o WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM outbox e
            WHERE e.incident_id = o.incident_id AND e.lane = o.lane AND e.id < o.id AND e.state = 'pending')"""
        with beside(self._folder) as db:
            times = [db.execute(query).fetchone()[0] for query in (wake, owed)]
        return min((datetime.fromtimestamp(at, UTC) for at in times if at is not None), default=None)

    async def _send(self) -> None:
        while claims := [c for name in CHANNELS for c in await self.store.claim(name, self.clock.now, 60, 1000)]:
            for claimed in sorted(claims, key=lambda claimed: claimed.id):
                await self._settle(claimed)

    async def _settle(self, claimed: Claimed) -> None:
        owed, now = claimed.notification, self.clock.now
        if self._arrives(owed):
            self.told.append((now, claimed.incident.id, owed))
            await self.store.settle(claimed, "", self._deciding(Delivered(owed.round, owed.target.person)), now)
            return
        unreached, undelivered = Unreached(owed.target, owed.round, Failure.REFUSED), Undelivered(owed.round)
        await self.store.dead(
            claimed, Failure.REFUSED, "dead", self._deciding(unreached), self._deciding(undelivered), now
        )

    async def _apply(self, number: int, event: Event) -> None:
        await self.store.apply(number, self._deciding(event), self.clock.now)

    def _deciding(self, event: Event) -> partial[Decision]:
        return partial(transition, event=event, policy=self._policy, now=self.clock.now)


GROUPS = {
    "api": ("a", "b"),
    "database": ("d",),
    "moved": ("a", "b", "d"),
}  # as after a change of Alertmanager's grouping
SEVERITIES = ("critical", "warning", "info", "none")
KINDS: tuple[dict[str, str], ...] = ({}, {}, {"team": "payments"}, {"category": "security"}, {"drill": "true"})
KEYS = st.sampled_from(["api", "api", "database", "moved"])
Happening = Callable[[datetime], tuple[str, Event]]


@st.composite
def news(draw: st.DrawFn) -> Happening:
    key = draw(KEYS)
    names = draw(st.lists(st.sampled_from(GROUPS[key]), min_size=1, unique=True))
    firing = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    truncated, own = (
        draw(st.sampled_from([0, 0, 0, 0, 2])),
        st.tuples(st.sampled_from(SEVERITIES), st.sampled_from(KINDS)),
    )
    labels = [{"instance": name, "severity": severity, **kind} for name in names for severity, kind in [draw(own)]]
    blind, old = draw(st.sampled_from([False] * 5 + [True])), draw(st.booleans())

    def at(now: datetime) -> tuple[str, Event]:
        begun = START if old else now
        alerts = tuple(
            an_alert(name, firing=fires, starts_at=begun, ends_at=None if fires else now, **own)
            for name, fires, own in zip(names, firing, labels, strict=True)
        )
        return key, AlertsReceived(AlertGroup(key, alerts, truncated, "receiver"), blind=blind)

    return at


def answers() -> st.SearchStrategy[Happening]:
    until = st.sampled_from([None, 30])
    events = st.one_of(
        st.builds(Acknowledge, st.sampled_from(["Linh", "Marek"]), st.just(Origin.LINK)),
        st.just(Resolve("Linh", Origin.LINK)),
        st.just(UndoResolve("Marek", Origin.LINK)),
        st.just(Resumed()),
    )
    said = st.builds(lambda key, event: lambda _now: (key, event), KEYS, events)
    silences = st.builds(
        lambda key, minutes: (
            lambda now: (key, Paused(Pause(PauseKind.SILENCE, "s", until=minutes and now + minutes * MINUTE)))
        ),
        KEYS,
        until,
    )
    return st.one_of(said, said, silences)


WAITS = st.sampled_from([0, 0, 1, 1, 4, 9, 14, 16, 31, 61, 119, 170]).map(lambda minutes: minutes * MINUTE)
STORIES = st.lists(st.tuples(WAITS, st.one_of(news(), news(), answers())), min_size=1, max_size=20)
DEAD = st.sets(
    st.sampled_from(["linh@example.com", "marek@example.com", "staff", "#alerts-backend", "aisha@example.com"]),
    max_size=4,
)


async def both(
    story: list[tuple[timedelta, Happening]], dead: set[str], hold: Handling, window: timedelta
) -> tuple[list[Line], list[Line], list[Incident | None], list[Incident | None]]:
    """Current through a story twice; gives what was told and what became of the incidents, simulated and stored."""

    def arrives(notification: Notification) -> bool:
        # News of a page that is dead would arrive, if it were owed.
        return notification.kind is not Kind.PAGE or notification.target.address not in dead

    simulated = Simulation(busy(window), START, handling=lambda _: hold, arrives=arrives)
    with tempfile.TemporaryDirectory() as folder:
        stored = Stored(Path(folder), busy(window), hold, arrives)
        await stored.store.open(START)
        now = START
        for wait, happening in story:
            now += wait
            key, event = happening(now)
            simulated.play(now, event, key)
            await stored.play(now, event, key)
        simulated.run(now + timedelta(hours=4))
        await stored.run(now + timedelta(hours=4))
        incidents: list[Incident | None] = [*reversed(await stored.store.incidents(None, 1000))]
        await stored.store.close()
        schemas.give_back()
    told = [(one.at, one.incident, one.notification) for one in simulated.story().told]
    numbers = range(1, max(simulated.next_number(), len(incidents) + 1))
    return told, stored.told, [simulated.incident(number) for number in numbers], incidents


def in_order(told: list[Line]) -> list[Line]:
    return sorted(told, key=lambda line: (line[:2], repr(line[2])))


@given(STORIES, DEAD, st.sampled_from([0, 120]), st.integers(0, 2), st.sampled_from([10, 180]), st.booleans())
@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_simulated_is_what_is_stored(
    story: list[tuple[timedelta, Happening]], dead: set[str], hold: int, at_once: int, window: int, keeps: bool
) -> None:
    handling = Handling(timedelta(seconds=hold), at_once, keeps_incidents=keeps)
    simulated, stored, expected, incidents = asyncio.run(both(story, dead, handling, timedelta(minutes=window)))
    assert in_order(simulated) == in_order(stored)
    assert expected == incidents


def _fires(now: datetime) -> tuple[str, Event]:
    return "api", AlertsReceived(AlertGroup("api", (an_alert(starts_at=now),), receiver="receiver"))


def _warns(now: datetime) -> tuple[str, Event]:
    alert = an_alert(starts_at=now, severity="warning")
    return "api", AlertsReceived(AlertGroup("api", (alert,), receiver="receiver"))


def _clears(now: datetime) -> tuple[str, Event]:
    over = an_alert(firing=False, starts_at=START, ends_at=now)
    return "api", AlertsReceived(AlertGroup("api", (over,), receiver="receiver"))


async def test_a_page_that_waits_for_others_is_not_sent_once_it_is_answered() -> None:
    answer = Resolve("linh", Origin.LINK)
    story: list[tuple[timedelta, Happening]] = [(MINUTE / 2, _warns), (MINUTE / 2, lambda _now: ("api", answer))]
    simulated, stored, _, incidents = await both(story, set(), Handling(2 * MINUTE, at_once=0), 10 * MINUTE)
    assert simulated == stored == []
    assert [incident is not None and incident.resolved_by for incident in incidents] == ["linh"]


async def test_news_goes_nowhere_where_the_page_is_dead() -> None:
    story: list[tuple[timedelta, Happening]] = [(MINUTE, _fires), (MINUTE, _clears)]
    simulated, stored, _, _ = await both(story, {"linh@example.com", "#alerts-backend"}, Handling(), 10 * MINUTE)
    for told in (simulated, stored):
        assert {(owed.kind, owed.target.channel) for _, _, owed in told} == {
            (Kind.PAGE, "pagerduty"),
            (Kind.RESOLVED, "pagerduty"),
        }


@pytest.mark.parametrize(("window", "numbers"), [(10, [1, 2]), (120, [1, 2]), (121, [1])])
async def test_what_fires_again_belongs_to_the_same_incident_within_the_policys_window(
    window: int, numbers: list[int]
) -> None:
    story: list[tuple[timedelta, Happening]] = [(0 * MINUTE, _fires), (5 * MINUTE, _clears), (121 * MINUTE, _fires)]
    simulated, stored, _, _ = await both(story, set(), Handling(), window * MINUTE)
    for told in (simulated, stored):
        again = START + 126 * MINUTE
        pages = [number for at, number, owed in told if owed.kind is Kind.PAGE and at == again]
        assert pages == [numbers[-1]] * 3
        assert sorted({number for _, number, _ in told}) == numbers


def _joins(now: datetime) -> tuple[str, Event]:
    both = (an_alert("a", severity="warning"), an_alert("b", starts_at=now, severity="warning"))
    return "api", AlertsReceived(AlertGroup("api", both, receiver="receiver"))


async def test_who_acknowledges_before_the_page_was_sent_hears_of_alerts_that_join_and_of_the_end() -> None:
    fires = AlertsReceived(AlertGroup("api", (an_alert("a", severity="warning"),), receiver="receiver"))
    over = tuple(an_alert(name, firing=False, starts_at=START, ends_at=START + 9 * MINUTE) for name in "ab")
    clears = AlertsReceived(AlertGroup("api", over, receiver="receiver"))
    story: list[tuple[timedelta, Happening]] = [
        (timedelta(seconds=1), lambda _now: ("api", fires)),
        (timedelta(seconds=1), lambda _now: ("api", Acknowledge("linh", Origin.API))),
        (timedelta(seconds=1), _joins),
        (timedelta(seconds=30), lambda _now: ("api", clears)),
    ]
    simulated, stored, _, _ = await both(story, set(), Handling(timedelta(seconds=10), at_once=0), 10 * MINUTE)
    for told in (simulated, stored):
        assert {(owed.kind, owed.target.person) for _, _, owed in told} == {
            (Kind.UPDATE, "linh"),
            (Kind.RESOLVED, "linh"),
        }
