"""The state machine: the table is total, and each rule about people and time holds."""

from datetime import timedelta
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.incident.alerts import following, joined, merge
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Delivered,
    Event,
    Paused,
    Resolve,
    Resumed,
    StillFiring,
    TimeDue,
    Undelivered,
    UndoResolve,
    Unproved,
    Unreached,
)
from receiver.incident.machine import IGNORED, TRANSITIONS, News, signal, transition
from receiver.incident.meaning import Signal
from receiver.incident.model import (
    UNKNOWN_START,
    Data,
    Decision,
    EntryKind,
    Failure,
    Ignored,
    Kind,
    Origin,
    Pause,
    PauseKind,
    Plan,
    State,
    Target,
)
from tests.receiver.example_site import (
    KEY,
    MINUTE,
    P1,
    P2,
    START,
    Case,
    an_alert,
    labelled,
    people,
    received,
    steps,
    the_routing,
)


@pytest.mark.parametrize(("state", "meaning"), list(product(State, Signal)), ids=lambda one: str(one.value))
def test_every_pair_is_legal_or_is_ignored_for_a_named_reason(state: State, meaning: Signal) -> None:
    assert ((state, meaning) in TRANSITIONS) != ((state, meaning) in IGNORED)


ACK, OVER = Acknowledge("linh", Origin.LINK), received(an_alert(firing=False))
THERE: dict[State, list[Event]] = {
    State.NEW: [],
    State.TRIGGERED: [received(an_alert())],
    State.ACKNOWLEDGED: [received(an_alert()), ACK],
    State.RESOLVED: [received(an_alert()), OVER],
}
EVENTS: list[Event] = [
    *(
        received(an_alert("b")),
        OVER,
        TimeDue(),
        Delivered(1, "linh"),
        Undelivered(1),
        ACK,
        Resolve("linh", Origin.LINK),
        UndoResolve("linh", Origin.LINK),
        StillFiring(1),
        Unproved(),
    ),
    *(Unreached(Target("email", "linh@example.com", "lane", "linh"), 1, Failure.REFUSED), Resumed()),
    Paused(Pause(PauseKind.SILENCE, "s")),
]


def meaning_of(event: Event, case: Case) -> Signal:
    incident = case.incident
    if not isinstance(event, AlertsReceived):
        return signal(incident, event, case.current.routing, case.clock.now)
    merged = merge(incident, event, case.clock.now).incident
    return signal(merged, News(event, joined(incident, merged)), case.current.routing, case.clock.now)


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("state", State)
def test_every_event_in_every_state_gives_the_state_of_the_table_or_nothing(state: State, event: Event) -> None:
    case = Case()
    for before in THERE[state]:
        case.when(before)
    assert case.state() is state
    pair = state, meaning_of(event, case)
    decision = transition(case.incident, event, case.current.routing, case.clock.now)
    if pair in IGNORED:
        assert IGNORED[pair] is not Ignored.NEVER_SENT
        assert decision == Decision(case.incident, ignored=IGNORED[pair])
    else:
        assert decision.incident.state is TRANSITIONS[pair].becomes


def test_a_p1_pages_the_on_call_engineer_and_the_team_at_once() -> None:
    case = Case()
    owed = case.when(received(an_alert()))
    assert case.state() is State.TRIGGERED
    assert case.incident.priority is P1
    assert people(owed) == ["linh"]
    assert {n.target.channel for n in owed} == {"pagerduty", "email", "slack"}
    assert case.incident.clocks.next_due_at == START + 15 * MINUTE


@pytest.mark.parametrize(
    ("priority", "told"),
    [
        ("P1", {0: "linh", 15: "marek", 30: "aisha", 60: "peter"}),
        ("P2", {0: "linh", 30: "marek", 60: "aisha"}),
        ("P3", {15: "linh", 60: "marek"}),
        ("P4", {60: "linh"}),
    ],
)
def test_the_matrix_is_walked_as_the_document_says(priority: str, told: dict[int, str]) -> None:
    case = Case()
    heard: dict[int, str] = {}
    for minute in range(121):
        event: Event = received(an_alert(priority=priority)) if minute == 0 else TimeDue()
        for name in people(case.when(event)):
            heard[minute] = name
        case.clock.forward(minutes=1)
    assert heard == told
    assert case.incident.clocks.next_due_at is None


def test_acknowledge_stops_the_steps_and_tells_everybody_who_was_told() -> None:
    case = Case()
    paged = case.when(received(an_alert()))
    case.clock.forward(minutes=3)
    owed = case.when(Acknowledge("linh", Origin.SLACK))
    assert case.state() is State.ACKNOWLEDGED
    assert {n.target.lane for n in owed} == {n.target.lane for n in paged}
    assert {n.kind for n in owed} == {Kind.ACKNOWLEDGED}
    case.clock.forward(hours=2)
    assert case.when(TimeDue()) == []


def test_a_second_person_joins_and_the_first_keeps_the_incident() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(Acknowledge("linh", Origin.LINK))
    assert case.when(Acknowledge("marek", Origin.LINK)) == []
    assert case.incident.acknowledged_by == "linh"
    assert [(e.actor, e.data.origin) for e in case.noted(EntryKind.JOINED)] == [("marek", Origin.LINK)]


def test_resolve_wins_over_a_late_acknowledge() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(received(an_alert(firing=False)))
    assert case.when(Acknowledge("linh", Origin.LINK)) == []
    assert case.state() is State.RESOLVED
    assert [entry.actor for entry in case.noted(EntryKind.ACKNOWLEDGED_LATE)] == ["linh"]


def test_it_resolves_only_when_the_last_alert_has_resolved() -> None:
    case = Case()
    case.when(received(an_alert("a"), an_alert("b")))
    assert case.when(received(an_alert("a", firing=False), an_alert("b"))) == []
    assert case.state() is State.TRIGGERED
    owed = case.when(received(an_alert("b", firing=False)))
    assert case.state() is State.RESOLVED
    assert {n.kind for n in owed} == {Kind.RESOLVED}


def test_an_alert_that_is_merely_absent_still_fires() -> None:
    case = Case()
    case.when(received(an_alert("a"), an_alert("b")))
    case.when(received(an_alert("a", firing=False)))
    assert case.state() is State.TRIGGERED


def test_a_truncated_payload_resolves_nothing_that_it_does_not_list() -> None:
    case = Case()
    case.when(received(an_alert("a"), truncated=7))
    case.when(received(an_alert("a", firing=False), truncated=6))
    assert case.state() is State.TRIGGERED
    case.when(received(an_alert("a", firing=False)))
    assert case.state() is State.RESOLVED


def test_the_same_webhook_twice_changes_nothing() -> None:
    case = Case()
    case.when(received(an_alert()))
    before = case.incident
    case.clock.forward(minutes=1)
    assert case.when(received(an_alert())) == []
    assert case.incident == before


def next_of(case: Case) -> Case:
    """The next incident of the same group."""
    again = Case()
    again.clock = case.clock
    again.incident = following(case.incident, 2, KEY, case.clock.now)
    return again


def test_firing_resolved_firing_of_one_episode_pages_once() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(received(an_alert(firing=False)))
    again = next_of(case)
    assert again.when(received(an_alert())) == []
    assert again.state() is State.NEW
    owed = again.when(received(an_alert(starts_at=START + MINUTE)))
    assert people(owed) == ["linh"]


def test_a_group_that_changes_as_fast_as_it_can_keeps_a_bounded_memory_of_echoes() -> None:
    case = Case()
    case.when(received(an_alert("first")))
    for number in range(8):
        names = [f"{number} {pod}" for pod in range(1000)]
        case.clock.forward(seconds=1)
        case.when(received(*(an_alert(name) for name in names)))
        case.when(received(*(an_alert(name, firing=False) for name in names)))
    assert len(case.incident.echoes) == 5000
    case.when(received(*(an_alert(f"7 {pod}") for pod in range(1000))))  # the newest are known still
    assert [alert.fingerprint for alert in case.incident.firing] == ["first"]


@pytest.mark.parametrize("later", [90, 100, 400, 3600])
@pytest.mark.parametrize("ahead", [-600, 0, 3600])
def test_an_episode_that_fires_on_after_its_echoes_is_a_refire(ahead: int, later: int) -> None:
    start = START + timedelta(seconds=ahead)
    case = Case()
    case.when(received(an_alert(starts_at=start)))
    case.when(received(an_alert(firing=False, starts_at=start, ends_at=START)))
    assert case.state() is State.RESOLVED
    case.clock.forward(seconds=89)
    assert case.when(received(an_alert(starts_at=start))) == []  # another replica
    case.clock.forward(seconds=later - 89)
    case = case if later <= 600 else next_of(case)  # past the flap window
    assert people(case.when(received(an_alert(starts_at=start)))) == ["linh"]


def test_what_fires_now_after_an_episode_with_a_start_in_the_future_is_a_refire_at_once() -> None:
    ahead = START + timedelta(hours=1)
    case = Case()
    case.when(received(an_alert(starts_at=ahead)))
    case.when(received(an_alert(firing=False, starts_at=ahead, ends_at=START)))
    case.clock.forward(seconds=10)
    assert people(case.when(received(an_alert(starts_at=case.clock.now)))) == ["linh"]


def test_what_has_no_start_is_no_echo() -> None:
    case = Case()
    case.when(received(an_alert(starts_at=UNKNOWN_START)))
    case.clock.forward(seconds=10)
    case.when(received(an_alert(firing=False, starts_at=UNKNOWN_START, ends_at=case.clock.now)))
    assert case.state() is State.RESOLVED
    case.clock.forward(seconds=10)
    assert people(case.when(received(an_alert(starts_at=UNKNOWN_START)))) == ["linh"]


def test_what_has_no_start_and_was_resolved_by_hand_may_page_again() -> None:
    """It cannot be told from the next episode, and nobody is to be kept from hearing of that."""
    case = Case()
    case.when(received(an_alert(starts_at=UNKNOWN_START)))
    case.when(Resolve("linh", Origin.LINK))
    case.clock.forward(hours=1)
    again = next_of(case)
    assert people(again.when(received(an_alert(starts_at=UNKNOWN_START)))) == ["linh"]


def test_what_has_a_start_in_the_future_ends_though_its_resolve_names_another() -> None:
    case = Case()
    case.when(received(an_alert(starts_at=START + timedelta(hours=1))))
    case.clock.forward(minutes=5)
    case.when(received(an_alert(firing=False, starts_at=START, ends_at=case.clock.now)))
    assert case.state() is State.RESOLVED


def test_a_webhook_of_what_the_api_no_longer_knew_is_a_refire_at_once() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(AlertsReceived(received(an_alert(firing=False)).group, drift=EntryKind.VANISHED))
    assert case.state() is State.RESOLVED
    case.clock.forward(seconds=5)
    assert people(case.when(received(an_alert()))) == ["linh"]


def test_what_was_held_back_has_no_echo() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(AlertsReceived(received(an_alert(firing=False)).group, blind=True))
    case.clock.forward(seconds=20)
    case.when(received(an_alert()))
    assert len(case.incident.firing) == 1


def test_a_delayed_resolve_of_an_earlier_episode_does_not_end_the_present_one() -> None:
    case = Case()
    case.when(received(an_alert(starts_at=START)))
    late = an_alert(firing=False, starts_at=START - 10 * MINUTE, ends_at=START - 5 * MINUTE)
    case.when(received(late))
    assert case.state() is State.TRIGGERED


def test_a_resolve_counts_although_alertmanager_moved_the_start_back() -> None:
    case = Case()
    case.when(received(an_alert(starts_at=START)))
    case.when(received(an_alert(firing=False, starts_at=START - MINUTE, ends_at=START + 5 * MINUTE)))
    assert case.state() is State.RESOLVED


@pytest.mark.parametrize("ahead", [0, 3600])
def test_resolved_by_hand_stays_quiet_until_the_next_episode(ahead: int) -> None:
    start = START + timedelta(seconds=ahead)
    case = Case()
    case.when(received(an_alert(starts_at=start)))
    case.when(Resolve("linh", Origin.LINK))
    for hours in (0, 1, 24):
        case.clock.forward(hours=hours)
        again = next_of(case)
        assert again.when(received(an_alert(starts_at=start))) == []
    assert people(next_of(case).when(received(an_alert(starts_at=START + MINUTE)))) == ["linh"]


def test_the_resolve_of_something_never_seen_opens_nothing() -> None:
    case = Case()
    assert case.when(received(an_alert(firing=False))) == []
    assert case.state() is State.NEW


def test_a_rise_to_p1_starts_its_row_now_even_if_somebody_had_the_p2() -> None:
    case = Case()
    case.when(received(an_alert("a", severity="warning")))
    case.when(Acknowledge("linh", Origin.LINK))
    case.clock.forward(minutes=50)
    owed = case.when(received(an_alert("a", severity="warning"), an_alert("b")))
    assert case.incident.priority is P1
    assert case.state() is State.TRIGGERED
    assert people(owed) == ["linh"]
    assert case.incident.clocks.next_due_at == case.clock.now + 15 * MINUTE
    assert {n.target.lane for n in owed if n.target.channel == "pagerduty"} == {"pagerduty:staff:on-call-engineer:P1"}


def test_a_rise_from_p3_to_p2_owes_the_steps_whose_time_has_passed_once() -> None:
    case = Case()
    case.when(received(an_alert("a", severity="info")))
    case.clock.forward(minutes=15)
    assert people(case.when(TimeDue())) == ["linh"]
    case.clock.forward(minutes=20)
    owed = case.when(received(an_alert("a", severity="info"), an_alert("b", severity="warning")))
    assert case.incident.priority is P2
    assert people(owed) == ["marek"]  # Linh was told; Marek's 30 minutes have passed; Aisha's 60 have not
    assert case.incident.clocks.next_due_at == START + 60 * MINUTE


def test_the_priority_never_falls_by_itself() -> None:
    case = Case()
    case.when(received(an_alert("a"), an_alert("b", severity="info")))
    case.when(received(an_alert("a", firing=False), an_alert("b", severity="info")))
    assert case.incident.priority is P1
    assert [(e.data.named, e.data.priority) for e in case.noted(EntryKind.PRIORITY_KEPT)] == [("P3", P1)]


def test_after_an_hour_of_our_own_outage_the_steps_come_one_by_one() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=75)
    told = []
    for _ in range(12):
        told += [(case.clock.now - START, name) for name in people(case.when(TimeDue()))]
        case.clock.forward(minutes=1)
    at = timedelta(minutes=75)
    assert told == [(at, "marek"), (at + 5 * MINUTE, "aisha"), (at + 10 * MINUTE, "peter")]
    assert case.noted(EntryKind.LATE)[0].data.seconds == 3600.0


def test_a_matrix_in_seconds_keeps_its_own_pace() -> None:
    routing = msgspec.structs.replace(
        the_routing(),
        plans={**the_routing().plans, P1: Plan(steps((0, "on-call-engineer"), (0.25, "tech-lead")), 900.0)},
    )
    case = Case(routing)
    case.when(received(an_alert()))
    case.clock.forward(seconds=15)
    assert people(case.when(TimeDue())) == ["marek"]


def test_when_nobody_of_a_step_could_be_told_the_next_step_comes_at_once() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(seconds=10)
    assert people(case.when(Undelivered(round=1))) == ["marek"]
    assert case.when(Undelivered(round=1)) == []  # round 2 is out by now
    assert case.incident.clocks.next_due_at == START + 30 * MINUTE


def test_a_role_that_nobody_holds_is_passed_over_at_once() -> None:
    routing = msgspec.structs.replace(the_routing(), roles={**the_routing().roles, "on-call-engineer": ()})
    case = Case(routing)
    assert people(case.when(received(an_alert()))) == ["marek"]
    assert case.noted(EntryKind.NOBODY)[0].data.roles == ("on-call-engineer",)


@pytest.mark.parametrize(
    ("labels", "kind", "data"),
    [
        ({"severity": "sever"}, EntryKind.SEVERITY_UNKNOWN, Data(named="sever", priority=P2)),
        ({"severity": "", "team": "backend"}, EntryKind.SEVERITY_MISSING, Data(priority=P2)),
        ({"team": "nobody"}, EntryKind.TEAM_UNKNOWN, Data(named="nobody")),
        ({"team": ""}, EntryKind.TEAM_MISSING, Data()),
        ({"priority": "P9"}, EntryKind.PRIORITY_UNKNOWN, Data(named="P9", priority=P1)),
    ],
)
def test_what_is_unknown_pages_and_says_so(labels: dict[str, str], kind: EntryKind, data: Data) -> None:
    case = Case()
    assert people(case.when(received(labelled(an_alert(), **labels)))) == ["linh"]
    assert [entry.data for entry in case.noted(kind)] == [data]


_alerts = st.builds(
    an_alert,
    st.sampled_from("abc"),
    firing=st.booleans(),
    starts_at=st.sampled_from([START, START + MINUTE, START + 2 * MINUTE]),
    severity=st.sampled_from(["critical", "warning", "info", "odd"]),
)
_events = st.one_of(
    st.builds(lambda alerts, cut: received(*alerts, truncated=cut), st.lists(_alerts, max_size=3), st.integers(0, 2)),
    st.just(TimeDue()),
    st.builds(Undelivered, st.integers(0, 4)),
    st.builds(Acknowledge, st.sampled_from(["linh", "marek"]), st.just("link")),
    st.builds(Resolve, st.just("linh"), st.just("link")),
)


@given(st.lists(st.tuples(_events, st.integers(0, 3600)), max_size=25))
def test_whatever_happens_the_invariants_hold(story: list[tuple[Event, int]]) -> None:
    case = Case()
    for event, seconds in story:
        before = case.incident
        assert IGNORED.get((before.state, meaning_of(event, case))) is not Ignored.NEVER_SENT
        owed = case.when(event)
        now = case.incident
        if now.state is State.TRIGGERED:
            assert now.firing or now.truncated, "an open incident has something that fires"
            waiting = now.clocks.next_due_at is not None
            assert waiting == (now.next_step < len(now.plan.steps)), "an unanswered incident always knows its next step"
        else:
            assert now.clocks.next_due_at is None, "an answered incident pages nobody"
        if any(n.kind is Kind.PAGE for n in owed):
            assert now.state is State.TRIGGERED
            assert len({n.target.lane for n in owed}) == len(owed), "one page a lane and round"
            roles = {role for n in owed for role in n.roles}
            assert "cto" not in roles or before.delivery.told, "the CTO is never the first to hear"
        again = transition(now, event, case.current.routing, case.clock.now)
        if not isinstance(event, TimeDue | Undelivered):
            assert not again.notifications or again.incident.state is not now.state, (
                "the same news twice owes nothing twice"
            )
        case.clock.forward(seconds=seconds)
