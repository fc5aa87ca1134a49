"""What people do beside acknowledging and resolving, and each race of it: an act, and what else happens meanwhile."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from receiver.incident.acts import ANSWER_WITHIN, act_of
from receiver.incident.delivery import pointless
from receiver.incident.event import (
    Acknowledge,
    Answer,
    Delivered,
    Detach,
    EscalateNow,
    Event,
    HandOver,
    Note,
    Paused,
    Raise,
    Resolve,
    Resumed,
    Snooze,
    TakeOver,
    TimeDue,
    Unacknowledge,
    Undelivered,
    UndoResolve,
    Unreached,
)
from receiver.incident.model import (
    EntryKind,
    Failure,
    Ignored,
    Kind,
    Notification,
    Origin,
    Pause,
    PauseKind,
    Plan,
    Priority,
    Reason,
    State,
)
from receiver.policy.routing import Routing
from tests.receiver.example_site import MINUTE, P1, P2, START, Case, an_alert, people, received, the_routing

API = Origin.API
ACK, BACK, TAKE = Acknowledge("linh", API), Unacknowledge("linh", API), TakeOver("marek", API)
HOUR, DWELL = 60 * MINUTE, 5 * MINUTE
SILENCED = Paused(Pause(PauseKind.SILENCE, "s"))


def snooze(case: Case, hours: float = 2, actor: str = "linh") -> Snooze:
    return Snooze(actor, API, case.clock.now + hours * HOUR)


def a_case(*events: Event, severity: str = "critical", routing: Routing | None = None) -> Case:
    case = Case(routing)
    case.when(received(an_alert(severity=severity)))
    for event in events:
        case.clock.forward(minutes=2)
        case.when(event)
    return case


def expiring(hours: float = 4) -> Routing:
    routing = the_routing()
    plans = {p: replace(plan, acknowledge_for=hours * 3600) for p, plan in routing.plans.items()}
    return replace(routing, plans=plans)


def told(owed: list[Notification], reason: Reason) -> set[str]:
    """Whom news of this kind goes to; "" for a place."""
    return {n.target.person for n in owed if n.reason is reason and n.kind is not Kind.PAGE}


def wait(case: Case, length: timedelta) -> list[tuple[datetime, str]]:
    """Let time pass as the escalator does; gives whom it pages and when."""
    end, pages = case.clock.now + length, list[tuple[datetime, str]]()
    while (at := case.incident.wake_at) is not None and at <= end:
        case.clock.now = max(at, case.clock.now)
        before = case.incident
        pages += [(case.clock.now, name) for name in people(case.when(TimeDue()))]
        assert case.incident != before, "a clock that does not move on"
    case.clock.now = end
    return pages


# Un-acknowledge


def test_what_is_given_back_is_paged_again_but_not_to_who_gave_it_back() -> None:
    routing = replace(the_routing(), roles={**the_routing().roles, "on-call-engineer": ("linh", "peter")})
    case = a_case(ACK, routing=routing)
    case.clock.forward(minutes=10)
    owed = case.when(BACK)
    assert case.state() is State.TRIGGERED
    assert people(owed) == ["peter"]
    assert case.incident.acknowledged_by == ""
    assert told(owed, Reason.GIVEN_BACK) == {"linh"}
    assert wait(case, HOUR)[0] == (START + 27 * MINUTE, "marek")  # the distance of the table


def test_who_is_the_only_one_is_paged_though_they_gave_it_back() -> None:
    case = a_case(ACK)
    case.clock.forward(minutes=10)
    assert people(case.when(BACK)) == ["linh"]


def test_a_slip_of_the_thumb_pages_nobody_and_leaves_the_clocks_as_they_were() -> None:
    case = a_case()
    before = case.incident.clocks
    case.when(ACK)
    case.clock.forward(seconds=59)
    assert people(case.when(BACK)) == []
    assert case.incident.clocks == before
    assert case.state() is State.TRIGGERED


def test_given_back_while_paused_it_pages_when_that_is_over() -> None:
    case = a_case(ACK, SILENCED)
    case.clock.forward(minutes=30)
    assert people(case.when(BACK)) == []
    assert case.state() is State.TRIGGERED
    case.clock.forward(minutes=30)
    case.when(Resumed())
    assert wait(case, DWELL)[0][1] == "linh"


# Snooze


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_snooze_is_an_acknowledgement_with_an_end(acknowledged: bool) -> None:
    case = a_case(*([ACK] if acknowledged else []), routing=expiring())
    until = case.clock.now + 3 * HOUR
    owed = case.when(Snooze("linh", API, until))
    assert case.state() is State.ACKNOWLEDGED
    assert (case.incident.acknowledged_by, case.incident.wake_at) == ("linh", until)
    assert {n.kind for n in owed} == {Kind.UPDATE if acknowledged else Kind.ACKNOWLEDGED}
    assert wait(case, 3 * HOUR - MINUTE) == []


def test_when_a_snooze_ends_its_owner_is_paged_and_the_matrix_after_the_dwell() -> None:
    case = a_case()
    case.when(snooze(case))
    assert wait(case, 2 * HOUR + DWELL)[:2] == [(START + 2 * HOUR, "linh"), (START + 2 * HOUR + DWELL, "linh")]
    assert case.state() is State.TRIGGERED
    assert case.incident.snoozed_until is None


def test_when_the_snooze_of_a_stranger_ends_the_matrix_is_walked_at_once() -> None:
    case = a_case()
    case.when(snooze(case, actor="a stranger"))
    assert wait(case, 2 * HOUR) == [(START + 2 * HOUR, "linh")]


@pytest.mark.parametrize(
    ("severity", "hours", "works"),
    [("critical", 4, True), ("critical", 4.1, False), ("warning", 24, True), ("warning", 24.1, False)],
)
def test_a_snooze_has_bounds(severity: str, hours: float, works: bool) -> None:
    case = a_case(severity=severity)
    case.when(snooze(case, hours))
    assert case.ignored is (None if works else Ignored.OUT_OF_BOUNDS)


def test_a_snooze_into_the_past_is_refused() -> None:
    case = a_case()
    case.when(snooze(case, 0))
    assert case.ignored is Ignored.OUT_OF_BOUNDS


def test_the_owner_ends_a_snooze_by_acknowledging() -> None:
    case = a_case(routing=expiring())
    case.when(snooze(case))
    case.clock.forward(minutes=5)
    case.when(ACK)
    assert case.incident.snoozed_until is None
    assert case.incident.clocks.acknowledged_until == case.clock.now + 4 * HOUR
    assert case.incident.clocks.remind_due_at is not None


def test_the_echo_of_a_snooze_at_pagerduty_does_not_end_it() -> None:
    case = a_case()
    case.when(snooze(case))
    case.when(Acknowledge("linh", Origin.PAGERDUTY))
    assert case.ignored is Ignored.REPEATED
    assert case.incident.snoozed_until is not None


def test_a_snooze_by_another_takes_it_over_and_tells_who_had_it() -> None:
    case = a_case(ACK)
    owed = case.when(snooze(case, actor="marek"))
    assert case.incident.acknowledged_by == "marek"
    assert told(owed, Reason.TAKEN_OVER) == {"linh", ""}


def test_a_snooze_ends_by_the_calendar_whatever_pauses_meanwhile() -> None:
    case = a_case()
    case.when(snooze(case, 1))
    case.clock.forward(minutes=10)
    case.when(SILENCED)
    case.clock.forward(minutes=20)
    case.when(Resumed())
    assert case.incident.wake_at == START + HOUR


def test_a_snooze_that_has_ended_in_a_pause_pages_a_dwell_after_it() -> None:
    case = a_case()
    case.when(snooze(case, 1))
    case.when(SILENCED)
    assert wait(case, 2 * HOUR) == []
    case.when(Resumed())
    assert wait(case, HOUR)[0] == (START + 2 * HOUR + DWELL, "linh")


def test_what_refires_within_the_window_is_still_snoozed() -> None:
    case = a_case()
    case.when(snooze(case))
    until = case.incident.snoozed_until
    case.clock.forward(minutes=5)
    case.when(received(an_alert(firing=False, ends_at=case.clock.now)))
    case.clock.forward(minutes=1)
    assert people(case.when(received(an_alert(starts_at=case.clock.now)))) == []
    assert case.state() is State.ACKNOWLEDGED
    assert (case.incident.acknowledged_by, case.incident.wake_at) == ("linh", until)


def test_a_rise_ends_the_snooze() -> None:
    case = a_case(severity="warning")
    case.when(snooze(case))
    assert people(case.when(received(an_alert(), an_alert("b")))) == ["linh"]
    assert case.state() is State.TRIGGERED
    case.when(ACK)
    assert case.incident.snoozed_until is None
    assert wait(case, 3 * HOUR) == []


def test_another_p1_ends_the_snooze_of_a_p1() -> None:
    case = a_case()
    case.when(snooze(case))
    assert people(case.when(received(an_alert(), an_alert("b", starts_at=case.clock.now)))) == ["linh"]
    assert (case.state(), case.incident.snoozed_until) == (State.TRIGGERED, None)


# Take over


def test_who_takes_over_has_it_and_who_had_it_is_told() -> None:
    case = a_case(ACK, routing=expiring())
    case.clock.forward(hours=1)
    owed = case.when(TAKE)
    assert case.incident.acknowledged_by == "marek"
    assert case.incident.clocks.acknowledged_until == case.clock.now + 4 * HOUR
    assert told(owed, Reason.TAKEN_OVER) == {"linh", ""}
    assert [e.data.person for e in case.noted(EntryKind.TAKEN_OVER)] == ["linh"]


def test_who_had_it_is_told_though_they_were_never_paged() -> None:
    case = a_case(Acknowledge("aisha", API))
    assert told(case.when(TAKE), Reason.TAKEN_OVER) == {"aisha", ""}


def test_taking_over_what_nobody_has_acknowledges_it() -> None:
    case = a_case(TAKE)
    assert (case.state(), case.incident.acknowledged_by) == (State.ACKNOWLEDGED, "marek")
    assert [e.actor for e in case.noted(EntryKind.ACKNOWLEDGED)] == ["marek"]


# Hand over


def test_who_is_asked_is_paged_and_the_owner_keeps_it_until_they_answer() -> None:
    case = a_case(ACK)
    case.clock.forward(minutes=1)
    owed = case.when(HandOver("linh", API, person="marek"))
    assert people(owed) == ["marek"]
    assert case.incident.acknowledged_by == "linh"
    case.clock.forward(minutes=1)
    answered = case.when(Acknowledge("marek", API))
    assert case.incident.acknowledged_by == "marek"
    assert case.incident.asked is None
    assert told(answered, Reason.TAKEN_OVER) == {"linh", ""}


def test_no_answer_is_told_to_both_and_the_owner_has_it() -> None:
    case = a_case(ACK)
    case.when(HandOver("linh", API, person="marek"))
    case.clock.now = case.clock.now + ANSWER_WITHIN
    owed = case.when(TimeDue())
    assert told(owed, Reason.UNANSWERED) == {"linh", "marek", ""}
    assert (case.state(), case.incident.acknowledged_by) == (State.ACKNOWLEDGED, "linh")
    assert case.incident.wake_at is None


def test_while_somebody_is_asked_the_matrix_goes_on() -> None:
    case = a_case()
    case.when(HandOver("linh", API, person="peter"))
    assert case.state() is State.TRIGGERED
    assert (START + 15 * MINUTE, "marek") in wait(case, 20 * MINUTE)


def test_who_is_asked_in_a_snooze_ends_it_by_accepting() -> None:
    case = a_case(routing=expiring())
    case.when(snooze(case))
    case.when(HandOver("linh", API, person="marek"))
    case.when(Acknowledge("marek", API))
    assert (case.incident.acknowledged_by, case.incident.snoozed_until) == ("marek", None)
    assert case.incident.clocks.acknowledged_until == case.clock.now + 4 * HOUR


def test_who_is_asked_and_cannot_be_reached_is_tried_another_way() -> None:
    case = a_case(ACK)
    case.clock.forward(minutes=1)
    (page, *_) = case.when(HandOver("linh", API, person="marek"))
    contacts = case.current.routing.people["marek"].contacts
    target = next(n.target for n in case.notifications if n.target.channel == "email")
    assert page.round == case.incident.delivery.rounds
    assert case.when(Unreached(target, page.round, Failure.REFUSED)) == []  # both ways were tried at once
    case.when(Delivered(page.round, "marek"))
    assert case.incident.delivery.reached == ("marek",)
    assert len(contacts) == 2


def test_what_becomes_of_a_page_before_the_acknowledgement_does_not_matter() -> None:
    case = a_case()
    (page, *_) = case.when(EscalateNow("linh", API))
    case.clock.forward(minutes=1)
    case.when(ACK)
    case.when(Unreached(page.target, page.round, Failure.REFUSED))
    assert case.ignored is Ignored.ANSWERED


def test_help_that_nobody_could_be_told_of_goes_to_the_next_step() -> None:
    case = a_case(ACK)
    case.clock.forward(minutes=1)
    assert people(case.when(EscalateNow("linh", API))) == ["marek"]
    assert people(case.when(Undelivered(case.incident.delivery.rounds))) == ["aisha"]
    assert case.incident.clocks.next_due_at is None


@pytest.mark.parametrize("state", [State.TRIGGERED, State.ACKNOWLEDGED])
def test_another_team_begins_its_row_and_the_old_one_is_told(state: State) -> None:
    case = a_case(*([ACK] if state is State.ACKNOWLEDGED else []))
    case.clock.forward(minutes=20)
    owed = case.when(HandOver("linh", API, team="default"))
    assert (case.state(), case.incident.team, case.incident.next_step) == (State.TRIGGERED, "default", 1)
    assert people(owed) == ["linh"]
    pages = {n.target.address for n in owed if n.kind is Kind.PAGE}
    assert "#alerts" in pages
    assert "#alerts-backend" not in pages
    assert {n.target.address for n in owed if n.reason is Reason.MOVED and n.kind is Kind.UPDATE} >= {"#alerts-backend"}


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (HandOver("linh", API, person="nobody"), Ignored.NOBODY),
        (HandOver("linh", API, team="nobody"), Ignored.NOBODY),
        (HandOver("linh", API), Ignored.NOBODY),
        (HandOver("linh", API, person="marek", team="default"), Ignored.NOBODY),
        (HandOver("marek", API, person="linh"), Ignored.REPEATED),  # who has it already
        (HandOver("linh", API, team="backend"), Ignored.REPEATED),
        (Detach("linh", API), Ignored.REPEATED),
        (EscalateNow("linh", API, step=0), Ignored.REPEATED),
        (Raise("linh", API, "help"), Ignored.REPEATED),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(event: Answer, why: Ignored) -> None:
    case = a_case(ACK)
    before = case.incident
    assert case.when(event) == []
    assert (case.ignored, case.incident) == (why, before)


# Escalate now


def test_the_next_step_is_taken_at_once_and_the_one_after_keeps_its_distance() -> None:
    case = a_case()
    case.clock.forward(minutes=2)
    assert people(case.when(EscalateNow("linh", API, step=1))) == ["marek"]
    assert case.incident.next_step == 2
    assert wait(case, HOUR)[0] == (START + 30 * MINUTE, "aisha")


def test_two_who_escalate_at_once_escalate_once() -> None:
    case = a_case()
    case.when(EscalateNow("linh", API, step=1))
    assert case.when(EscalateNow("marek", API, step=1)) == []
    assert case.ignored is Ignored.REPEATED


def test_the_last_step_is_repeated_by_hand() -> None:
    case = a_case()
    names = [people(case.when(EscalateNow("linh", API))) for _ in range(5)]
    assert names == [["marek"], ["aisha"], ["peter"], ["peter"], ["peter"]]


def test_who_has_it_gets_help_and_keeps_it() -> None:
    case = a_case(ACK)
    case.clock.forward(minutes=1)
    owed = case.when(EscalateNow("linh", API, step=1))
    assert people(owed) == ["marek"]
    assert (case.state(), case.incident.acknowledged_by) == (State.ACKNOWLEDGED, "linh")
    assert wait(case, 3 * HOUR) == []


def test_a_step_by_hand_in_a_silence_does_not_shorten_what_comes_after_it() -> None:
    case = a_case(SILENCED)
    case.clock.forward(minutes=30)
    assert people(case.when(EscalateNow("linh", API))) == ["marek"]
    assert case.incident.paused is not None
    case.clock.forward(minutes=30)
    case.when(Resumed())
    assert wait(case, HOUR)[0][1] == "aisha"
    assert case.clock.now >= START + HOUR


# Notes, raising, and what comes too late


@pytest.mark.parametrize("tell", [False, True])
def test_a_note_is_a_line_and_may_be_told(tell: bool) -> None:
    case = a_case(ACK)
    owed = case.when(Note("linh", API, "restarted the pods", tell))
    assert told(owed, Reason.NOTED) == ({"linh", ""} if tell else set())
    assert [e.data.text for e in case.noted(EntryKind.NOTED)] == ["restarted the pods"]
    case.when(Resolve("linh", API))
    assert case.when(Note("linh", API, "a bad deployment", tell=True)) == []
    assert len(case.noted(EntryKind.NOTED)) == 2


def test_a_team_is_paged_by_hand() -> None:
    case = Case()
    owed = case.when(Raise("aisha", API, "the shop is down\nplease look", team="backend", priority=P2))
    assert (case.state(), case.incident.priority, case.incident.team) == (State.TRIGGERED, P2, "backend")
    assert case.incident.title == "the shop is down please look"
    assert people(owed) == ["linh"]
    assert {n.reason for n in owed} == {Reason.RAISED}
    assert wait(case, HOUR)[0] == (START + 30 * MINUTE, "marek")


def test_a_person_is_paged_by_hand_and_the_row_follows_if_they_are_silent() -> None:
    case = Case()
    assert people(case.when(Raise("linh", API, "call me", person="peter"))) == ["peter"]
    assert wait(case, 20 * MINUTE)[:2] == [(START + 5 * MINUTE, "linh"), (START + 15 * MINUTE, "marek")]
    assert [e.data.person for e in case.noted(EntryKind.UNANSWERED)] == ["peter"]


@pytest.mark.parametrize("answers", [(), (Acknowledge("linh", API),)])
def test_a_test_of_ones_own_pages_goes_to_nobody_else_and_ends_by_itself(answers: tuple[Event, ...]) -> None:
    case = Case()
    assert people(case.when(Raise("linh", API, "test", person="linh", drill=True))) == ["linh"]
    incident = case.incident
    assert (incident.drill, incident.plan, incident.asked, incident.raised_by) == (True, Plan(), None, "linh")
    for event in answers:
        case.when(event)
    case.clock.now = START + HOUR - MINUTE
    assert case.when(TimeDue()) == []
    case.clock.now = START + HOUR
    due: datetime | None = case.incident.wake_at
    assert due == case.clock.now
    assert all(one.kind is Kind.RESOLVED for one in case.when(TimeDue()))
    assert (case.state(), case.incident.wake_at, case.incident.drill) == (State.RESOLVED, None, True)
    assert case.noted(EntryKind.RESOLVED)
    assert not case.noted(EntryKind.STILL_NEEDED)


def test_what_was_raised_by_hand_is_asked_about_each_day_and_is_no_drill() -> None:
    case = Case()
    case.when(Raise("aisha", API, "x" * 3000))
    case.when(ACK)
    assert wait(case, timedelta(days=3)) == []
    assert len(case.noted(EntryKind.STILL_NEEDED)) == 3
    case.when(Resolve("linh", API))
    assert not case.incident.drill
    assert len(case.incident.title) == 200


def test_who_is_not_known_cannot_be_paged_by_hand() -> None:
    case = Case()
    for event in (Raise("linh", API, "x", person="nobody"), Raise("linh", API, "x", team="nobody")):
        case.when(event)
        assert (case.state(), case.ignored) == (State.NEW, Ignored.NOBODY)


LATE: list[Answer] = [
    *(Unacknowledge("linh", API), Snooze("linh", API, START + HOUR), TakeOver("linh", API), Detach("linh", API)),
    *(HandOver("linh", API, person="marek"), EscalateNow("linh", API)),
]


@pytest.mark.parametrize("event", LATE, ids=act_of)
def test_an_act_after_the_resolve_is_a_line_and_nothing_else(event: Answer) -> None:
    case = a_case(Resolve("linh", API))
    before = case.incident
    assert case.when(event) == []
    assert case.incident == before
    assert [(e.actor, e.data.act) for e in case.noted(EntryKind.ACTED_LATE)] == [("linh", act_of(event))]


@pytest.mark.parametrize("event", [*LATE, Note("linh", API, "x")], ids=act_of)
def test_an_act_on_what_has_fired_again_since_changes_nothing(event: Answer) -> None:
    case = a_case()
    seen = replace(case.incident.opening, fired=1)
    assert case.when(replace(event, seen=seen)) == []
    assert case.ignored is Ignored.FIRED_AGAIN


@pytest.mark.parametrize("event", [*LATE, ACK, Note("linh", API, "x"), Resolve("linh", API)], ids=act_of)
@pytest.mark.parametrize("before", [[], [ACK]], ids=["triggered", "acknowledged"])
def test_whatever_is_done_twice_pages_nobody_twice(before: list[Event], event: Answer) -> None:
    case = a_case(*before)
    case.when(event)
    pages = people(case.when(event))
    assert not pages or isinstance(event, EscalateNow)  # a form names the step that it has seen


def test_an_undone_resolve_brings_the_snooze_back() -> None:
    case = a_case(routing=expiring())
    case.when(snooze(case))
    until = case.incident.wake_at
    case.when(Resolve("linh", API))
    case.when(UndoResolve("linh", API))
    assert (case.state(), case.incident.acknowledged_by, case.incident.wake_at) == (State.ACKNOWLEDGED, "linh", until)


def test_a_plan_without_steps_has_nobody_to_escalate_to() -> None:
    routing = replace(the_routing(), plans={**the_routing().plans, P1: Plan()})
    case = a_case(routing=routing)
    case.when(EscalateNow("linh", API))
    assert case.ignored is Ignored.NOBODY
    assert P1 is Priority.P1


def test_an_acknowledgement_answers_a_page_of_another_receiver_that_was_faster() -> None:
    """It asked the clock before, and was written after it."""
    case = a_case()
    case.clock.forward(minutes=15)
    case.when(TimeDue())
    paged = case.incident.delivery.paged_at
    assert paged == case.clock.now
    case.clock.now -= timedelta(seconds=4)
    case.when(ACK)
    assert pointless(Kind.PAGE, paged, case.incident)


def test_an_acknowledgement_answers_no_page_that_is_asked_for_after_it_by_a_receiver_that_waited() -> None:
    case = a_case(ACK)
    case.clock.now -= timedelta(seconds=4)
    pages = [owed for owed in case.when(EscalateNow("linh", API)) if owed.kind is Kind.PAGE]
    assert pages
    assert not any(pointless(page.kind, page.at or case.clock.now, case.incident) for page in pages)
