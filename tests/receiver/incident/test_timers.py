"""The clocks of an incident: response time, acknowledgement, repeats, business hours, and what they say to whom."""

from datetime import timedelta

import msgspec
import pytest

from receiver.incident.event import Acknowledge, Delivered, Resolve, TimeDue, Unreached
from receiver.incident.model import (
    Data,
    EntryKind,
    Failure,
    Kind,
    Notification,
    Origin,
    Plan,
    Priority,
    Reason,
    State,
    Target,
)
from receiver.oncall.contact_rules import Contact
from receiver.oncall.hours import parse as hours
from receiver.policy.routing import Routing
from tests.receiver.example_site import MINUTE, P1, P2, START, Case, an_alert, people, received, steps, the_routing


def planned(**changes: object) -> Routing:
    """The document's matrix with other clocks for P1."""
    routing = the_routing()
    plan = msgspec.structs.replace(routing.plans[P1], **changes)
    return msgspec.structs.replace(routing, plans={**routing.plans, P1: plan})


def at(case: Case, minutes: float) -> list[Notification]:
    """Let the clock stand at a minute after the start, and ask it."""
    case.clock.now = START + minutes * MINUTE
    return case.when(TimeDue())


def test_the_clock_wakes_for_the_next_thing_and_not_before() -> None:
    case = Case(planned(warn_after=720.0))
    case.when(received(an_alert()))
    assert case.incident.wake_at == START + 12 * MINUTE
    assert at(case, 11.9) == []
    assert {n.kind for n in at(case, 12)} == {Kind.REMINDER}
    assert case.incident.wake_at == START + 15 * MINUTE


def test_the_warning_and_the_breach_are_told_to_those_who_were_told_once() -> None:
    case = Case(planned(warn_after=720.0))
    paged = case.when(received(an_alert()))
    warned = at(case, 12)
    assert {n.target.lane for n in warned} == {n.target.lane for n in paged}
    assert {(n.reason, n.data.due) for n in warned} == {(Reason.WARNED, START + 15 * MINUTE)}
    assert at(case, 13) == []
    breached = at(case, 15)
    assert case.incident.breached_at == case.clock.now
    reminded = [n for n in breached if n.kind is Kind.REMINDER]
    assert {n.target.person for n in reminded} == {"linh"}  # the team's channel hears it in the page to the tech lead
    assert people(breached) == ["marek"]
    assert (reminded[0].reason, reminded[0].data.seconds) == (Reason.BREACHED, 900.0)
    assert not [n for n in at(case, 16) if n.kind is Kind.REMINDER]


def test_an_answer_in_time_is_no_breach() -> None:
    case = Case()
    case.when(received(an_alert(severity="warning")))
    case.clock.forward(minutes=29)
    case.when(Acknowledge("linh", Origin.LINK))
    assert at(case, 31) == []
    assert case.incident.breached_at is None


def test_an_acknowledgement_runs_out_and_the_step_that_was_answered_is_taken_again() -> None:
    case = Case(planned(acknowledge_for=1800.0))
    case.when(received(an_alert()))
    assert people(at(case, 15)) == ["marek"]
    case.clock.forward(minutes=1)
    case.when(Acknowledge("marek", Origin.LINK))
    assert at(case, 16 + 23.9) == []
    reminder = at(case, 16 + 24)
    assert {n.target.person for n in reminder} == {"marek"}
    assert {(n.reason, n.data.due) for n in reminder} == {(Reason.EXPIRING, START + 46 * MINUTE)}
    assert people(at(case, 46)) == ["marek"]
    assert case.state() is State.TRIGGERED
    assert [entry.actor for entry in case.noted(EntryKind.EXPIRED)] == ["marek"]
    assert (
        case.incident.clocks.next_due_at == START + 61 * MINUTE
    )  # fifteen minutes to the manager, as the table has it
    assert people(at(case, 61)) == ["aisha"]


def test_the_owner_who_is_still_at_it_says_so_and_keeps_the_incident() -> None:
    case = Case(planned(acknowledge_for=1800.0))
    case.when(received(an_alert()))
    case.when(Acknowledge("linh", Origin.LINK))
    before = case.incident
    case.clock.forward(seconds=1)
    assert case.when(Acknowledge("linh", Origin.LINK)) == []  # a double click is no news
    assert case.incident == before
    at(case, 24)
    case.clock.forward(minutes=1)
    case.when(Acknowledge("linh", Origin.LINK))
    assert case.incident.clocks.acknowledged_until == START + 55 * MINUTE
    assert at(case, 30) == []
    assert case.state() is State.ACKNOWLEDGED


def test_the_next_owner_hears_that_alerts_have_joined_as_the_first_one_did() -> None:
    case = Case(planned(acknowledge_for=1800.0))
    case.when(received(an_alert("a")))
    for fingerprint, minute in (("b", 0), ("c", 31)):
        at(case, minute)  # after half an hour the first acknowledgement has run out
        case.when(Acknowledge("linh", Origin.LINK))
        owed = case.when(received(an_alert("a"), an_alert(fingerprint)))
        assert {n.kind for n in owed} == {Kind.UPDATE}


def test_without_a_time_out_an_acknowledgement_holds() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(Acknowledge("linh", Origin.LINK))
    assert case.incident.wake_at is None
    assert at(case, 10_000) == []


def test_the_last_step_is_repeated_until_somebody_answers() -> None:
    case = Case(planned(repeat_every=1200.0))
    case.when(received(an_alert()))
    heard = [(minute, name) for minute in range(1, 125) for name in people(at(case, minute))]
    assert heard == [
        *((15, "marek"), (30, "aisha"), (60, "peter")),
        *((80, "peter"), (100, "peter"), (120, "peter")),
    ]
    case.when(Resolve("peter", Origin.LINK))
    assert case.incident.wake_at is None


def test_a_step_of_business_hours_waits_for_them() -> None:
    office = hours("09:00-18:00", ["mon", "tue", "wed", "thu", "fri"], "UTC")
    plan = Plan(steps((0, "on-call-engineer"), (15, "tech-lead")), 900.0)
    second = msgspec.structs.replace(plan.steps[1], hours="office")
    routing = msgspec.structs.replace(
        the_routing(),
        plans={**the_routing().plans, P2: msgspec.structs.replace(plan, steps=(plan.steps[0], second))},
        hours={"office": office},
    )
    case = Case(routing)
    case.when(received(an_alert(severity="warning")))  # at 03:00 on a Monday
    assert case.incident.clocks.next_due_at == START + timedelta(hours=6)
    assert people(at(case, 6 * 60)) == ["marek"]
    assert not case.noted(EntryKind.LATE)


def test_several_roles_of_a_step_are_told_together() -> None:
    both = msgspec.structs.replace(the_routing().plans[P1].steps[0], roles=("on-call-engineer", "tech-lead"))
    case = Case(planned(steps=(both,)))
    assert people(case.when(received(an_alert()))) == ["linh", "marek"]


def test_the_next_step_keeps_its_distance_from_the_moment_of_delivery() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=13)
    case.when(Delivered(1, "linh"))
    assert case.incident.clocks.next_due_at == START + 18 * MINUTE  # five minutes at least
    case.clock.forward(minutes=1)
    case.when(Delivered(1, "linh"))  # the second way to the same person changes nothing
    assert case.incident.clocks.next_due_at == START + 18 * MINUTE


def test_a_page_that_reached_only_a_channel_of_the_team_anchors_nothing() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=13)
    case.when(Delivered(1, ""))
    assert case.incident.delivery.delivered_at is None


def test_after_an_outage_of_ours_nobody_is_told_over_the_head_of_somebody_who_was_not() -> None:
    case = Case()
    case.when(received(an_alert()))  # and then this receiver is down before the page is out
    case.clock.forward(minutes=40)
    case.current.restarted(case.clock.now)
    assert people(case.when(TimeDue())) == []
    assert case.noted(EntryKind.STEP_DELAYED)
    case.clock.forward(seconds=20)
    case.when(Delivered(1, "linh"))
    case.clock.forward(minutes=4, seconds=59)
    assert people(case.when(TimeDue())) == []
    case.clock.forward(seconds=1)
    assert people(case.when(TimeDue())) == ["marek"]


def test_after_an_outage_a_page_that_cannot_be_delivered_holds_the_steps_up_no_longer_than_the_dwell() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=40)
    case.current.restarted(case.clock.now)
    case.when(TimeDue())
    case.clock.forward(minutes=5)
    assert people(case.when(TimeDue())) == ["marek"]


def test_in_normal_running_a_provider_that_is_down_holds_nothing_up() -> None:
    case = Case()
    case.when(received(an_alert()))
    assert people(at(case, 15)) == ["marek"]


def a_way(name: str = "linh", channel: str = "email") -> Target:
    address = f"{name}@example.com" if channel == "email" else "staff"
    return Target(channel, address, f"{channel}:{address}", name, "on-call-engineer")


def one_way(*rules: str) -> Routing:
    """Linh is paged by PagerDuty alone, though there is an address, too."""
    routing = the_routing()
    linh = msgspec.structs.replace(routing.people["linh"], contacts=(Contact("pagerduty", "staff"),))
    return msgspec.structs.replace(routing, people={**routing.people, "linh": linh})


def test_a_person_whom_one_way_does_not_reach_is_told_by_another() -> None:
    case = Case(one_way())
    case.when(received(an_alert()))
    full = the_routing().people["linh"]
    case.current.routing = msgspec.structs.replace(
        case.current.routing, people={**case.current.routing.people, "linh": full}
    )
    pagerduty = Target("pagerduty", "staff", "pagerduty:staff:on-call-engineer:P1", "linh", "on-call-engineer")
    owed = case.when(Unreached(pagerduty, 1, Failure.TIMEOUT))
    assert [(n.target.channel, n.target.person, n.kind) for n in owed] == [("email", "linh", Kind.PAGE)]
    (fallback,) = case.noted(EntryKind.FALLBACK)
    assert (fallback.data.person, fallback.data.channel, fallback.data.channels) == ("linh", "pagerduty", ("email",))
    assert fallback.data.failure is Failure.TIMEOUT
    assert case.when(Unreached(pagerduty, 1, Failure.TIMEOUT)) == []  # once


def test_when_every_way_of_a_person_is_used_the_places_of_last_resort_are_told() -> None:
    routing = msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#lost-pages"),))
    case = Case(routing)
    case.when(received(an_alert()))
    owed = case.when(Unreached(a_way(), 1, Failure.REFUSED))
    assert [n.target.address for n in owed] == ["#lost-pages"]


def test_nobody_looks_for_another_way_to_somebody_who_was_reached() -> None:
    routing = msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#lost-pages"),))
    case = Case(routing)
    case.when(received(an_alert()))
    case.when(Delivered(1, "linh"))
    assert case.when(Unreached(a_way(), 1, Failure.REFUSED)) == []


@pytest.mark.parametrize("number", [0, 2])
def test_what_became_of_another_round_changes_nothing(number: int) -> None:
    case = Case()
    case.when(received(an_alert()))
    before = case.incident
    assert case.when(Unreached(a_way(), number, Failure.REFUSED)) == []
    assert case.when(Delivered(number, "linh")) == []
    assert case.incident == before


def test_an_owner_hears_once_that_more_has_begun_to_fire() -> None:
    case = Case()
    case.when(received(an_alert("a")))
    case.when(Acknowledge("linh", Origin.LINK))
    case.clock.forward(minutes=5)
    owed = case.when(received(an_alert("a"), an_alert("b", instance="app-2")))
    assert {(n.kind, n.target.person) for n in owed} == {(Kind.UPDATE, "linh")}
    assert (owed[0].reason, owed[0].data.count, owed[0].data.total) == (Reason.ALERTS_JOINED, 1, 2)
    assert case.when(received(an_alert("a"), an_alert("b"), an_alert("c"))) == []


def test_a_rise_below_p1_is_news_to_the_owner_and_no_page() -> None:
    case = Case()
    case.when(received(an_alert("a", severity="info")))
    at(case, 15)
    case.when(Acknowledge("linh", Origin.LINK))
    owed = case.when(received(an_alert("a", severity="info"), an_alert("b", severity="warning")))
    assert {(n.kind, n.reason, n.data) for n in owed} == {
        (Kind.UPDATE, Reason.PRIORITY_RAISED, Data(before=Priority.P3, priority=P2))
    }
    assert case.state() is State.ACKNOWLEDGED


def test_a_repeat_rings_at_pagerduty_again() -> None:
    case = Case(planned(repeat_every=1200.0))
    owed = case.when(received(an_alert()))
    for minute in (15, 30, 60, 80, 100):
        owed += at(case, minute)
    rings = [n.target.lane for n in owed if n.kind is Kind.PAGE and n.target.channel == "pagerduty"]
    assert len(rings) == len(set(rings)) == 6
    mails = [n.target.lane for n in owed if n.kind is Kind.PAGE and n.target.address == "peter@example.com"]
    assert len(set(mails)) == 1  # a thread is one lane


def test_a_place_of_last_resort_that_was_told_already_is_not_told_twice() -> None:
    routing = msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#alerts-backend"),))
    case = Case(routing)
    case.when(received(an_alert()))
    assert case.when(Unreached(a_way(), 1, Failure.REFUSED)) == []
    assert not case.noted(EntryKind.FALLBACK)
