"""What fires again soon after it was over: one incident, never at the CTO, and called flapping once."""

from datetime import timedelta

import msgspec
import pytest

from receiver.incident.event import Acknowledge, AlertsReceived, Paused, Resolve, Resumed, TimeDue
from receiver.incident.model import EntryKind, Kind, Notification, Origin, Pause, PauseKind, Reason, State
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse as matcher
from tests.receiver.example_site import MINUTE, P1, START, THE_GROUP, Case, an_alert, people, received, the_routing


def fire(case: Case) -> list[Notification]:
    return case.when(received(an_alert(starts_at=case.clock.now)))


def clear(case: Case) -> list[Notification]:
    alert = next(iter(case.incident.alerts.values()))
    return case.when(received(an_alert(firing=False, starts_at=alert.starts_at, ends_at=case.clock.now)))


def test_a_refire_within_the_window_reopens_at_the_first_step() -> None:
    case = Case()
    fire(case)
    for _ in range(3):
        case.clock.forward(minutes=30)
        case.when(TimeDue())
    clear(case)
    case.clock.forward(minutes=9)
    assert people(fire(case)) == ["linh"]
    assert case.incident.id == 1
    assert case.state() is State.TRIGGERED
    assert case.incident.clocks.next_due_at == case.clock.now + 15 * MINUTE
    assert [entry.data.count for entry in case.noted(EntryKind.REOPENED)] == [1]


def answered(minute: int, actor: str, **clocks: float) -> Case:
    """A P1 that is acknowledged after some minutes, and resolves by itself a minute later."""
    routing = the_routing()
    plan = msgspec.structs.replace(routing.plans[P1], **clocks)
    case = Case(msgspec.structs.replace(routing, plans={**routing.plans, P1: plan}))
    fire(case)
    for due in (15, 30, 60):
        if due <= minute:
            case.clock.now = START + due * MINUTE
            case.when(TimeDue())
    case.clock.now = START + minute * MINUTE
    case.when(Acknowledge(actor, Origin.LINK))
    case.clock.forward(minutes=1)
    clear(case)
    return case


@pytest.mark.parametrize("minute", [0, 20, 61])
@pytest.mark.parametrize("actor", ["linh", "marek", "slack:U123"])
@pytest.mark.parametrize("wait", [timedelta(seconds=1), 9 * MINUTE])
def test_a_refire_within_the_window_keeps_its_owner_who_hears_of_it_once_and_quietly(
    minute: int, actor: str, wait: timedelta
) -> None:
    case = answered(minute, actor)
    told = {target.person for target in case.incident.delivery.told}
    case.clock.now += wait
    owed = fire(case)
    assert {(n.kind, n.reason) for n in owed} == {(Kind.UPDATE, Reason.REOPENED)}
    assert {n.target.person for n in owed} == ({actor} if actor in told else told)
    assert (case.state(), case.incident.acknowledged_by) == (State.ACKNOWLEDGED, actor)
    assert fire(case) == []


def test_the_acknowledgement_runs_on_to_its_time_out_over_a_refire() -> None:
    case = answered(1, "linh", acknowledge_for=1800.0)
    case.clock.forward(minutes=5)
    fire(case)
    assert case.incident.clocks.acknowledged_until == START + 31 * MINUTE
    case.clock.now = START + 25 * MINUTE
    assert {n.reason for n in case.when(TimeDue())} == {Reason.EXPIRING}
    case.clock.now = START + 31 * MINUTE
    assert people(case.when(TimeDue())) == ["linh"]


@pytest.mark.parametrize("minute", [0, 20, 61])
def test_an_acknowledgement_that_ran_out_before_the_refire_starts_at_the_on_call_engineer(minute: int) -> None:
    case = answered(minute, "peter", acknowledge_for=300.0)
    case.clock.forward(minutes=5)
    assert people(fire(case)) == ["linh"]
    assert case.incident.clocks.next_due_at == case.clock.now + 15 * MINUTE


def test_whoever_resolved_it_by_hand_owns_no_refire() -> None:
    case = Case()
    fire(case)
    case.clock.forward(minutes=61)
    case.when(Acknowledge("peter", Origin.LINK))
    case.when(Resolve("peter", Origin.LINK))
    case.clock.forward(minutes=1)
    assert people(fire(case)) == ["linh"]


def test_a_refire_in_maintenance_tells_nobody() -> None:
    window = Window("upgrade", (matcher('team="backend"'),), START + 2 * MINUTE, START + 20 * MINUTE)
    for acknowledge in (False, True):
        case = Case(msgspec.structs.replace(the_routing(), windows=(window,)))
        fire(case)
        if acknowledge:
            case.when(Acknowledge("linh", Origin.LINK))
        case.clock.forward(minutes=1)
        clear(case)
        case.clock.forward(minutes=2)
        assert fire(case) == []
        assert case.incident.paused is not None
        case.clock.now = START + 20 * MINUTE
        case.when(TimeDue())
        assert case.incident.paused is None


@pytest.mark.parametrize(
    ("minute", "actor", "heard"), [(61, "linh", "linh"), (20, "marek", "marek"), (61, "?", "linh")]
)
def test_an_acknowledgement_that_runs_out_goes_back_to_its_owner(minute: int, actor: str, heard: str) -> None:
    case = answered(minute, actor, acknowledge_for=1800.0)
    fire(case)
    case.clock.now = START + (minute + 30) * MINUTE
    assert people(case.when(TimeDue())) == [heard]


def test_a_refire_after_the_window_is_for_a_new_incident() -> None:
    case = Case()
    fire(case)
    clear(case)
    case.clock.forward(minutes=10, seconds=1)
    before = case.incident
    assert fire(case) == []
    assert case.incident == before


def test_the_third_reopening_within_an_hour_is_flapping_and_said_once() -> None:
    case = Case()
    fire(case)
    for _ in range(3):
        case.clock.forward(minutes=2)
        clear(case)
        case.clock.forward(minutes=2)
        fire(case)
    assert case.incident.flapping
    assert [entry.data.seconds for entry in case.noted(EntryKind.FLAPPING)] == [900.0]


def flapping() -> Case:
    case = Case()
    fire(case)
    for _ in range(3):
        case.clock.forward(minutes=2)
        clear(case)
        case.clock.forward(minutes=2)
        fire(case)
    return case


def test_a_flapping_incident_stays_open_and_pages_nobody_for_each_turn() -> None:
    case = flapping()
    case.when(Acknowledge("linh", Origin.LINK))
    for _ in range(10):
        case.clock.forward(minutes=3)
        assert clear(case) == []
        case.clock.forward(minutes=3)
        assert people(fire(case)) == []
    assert case.state() is State.ACKNOWLEDGED


def test_it_is_over_when_it_has_been_quiet_for_long_enough() -> None:
    case = flapping()
    case.clock.forward(minutes=1)
    clear(case)
    quiet_from = case.clock.now
    assert case.incident.wake_at == quiet_from + 15 * MINUTE
    case.clock.forward(minutes=14)
    assert case.when(TimeDue()) == []
    case.clock.forward(minutes=1)
    assert {n.kind for n in case.when(TimeDue())} == {Kind.RESOLVED}
    assert case.state() is State.RESOLVED
    assert case.incident.resolved_by == "alerts"


def test_nobody_is_escalated_to_while_nothing_fires() -> None:
    case = flapping()
    clear(case)
    case.clock.forward(minutes=14)
    assert people(case.when(TimeDue())) == []
    case.clock.forward(seconds=30)
    fire(case)
    assert not case.noted(EntryKind.LATE)


def test_after_a_quiet_the_next_step_keeps_the_time_that_it_had_left() -> None:
    case = flapping()
    case.clock.forward(minutes=5)
    clear(case)
    case.clock.forward(minutes=14)
    assert people(fire(case)) == []
    assert people(case.when(TimeDue())) == []
    case.clock.forward(minutes=9)
    assert people(case.when(TimeDue())) == []
    case.clock.forward(minutes=1)
    assert people(case.when(TimeDue())) == ["marek"]
    assert not case.noted(EntryKind.LATE)


def test_after_a_quiet_the_next_step_comes_no_sooner_than_the_dwell() -> None:
    case = flapping()
    case.clock.forward(minutes=14)
    clear(case)
    case.clock.forward(minutes=10)
    fire(case)
    assert case.incident.clocks.next_due_at == case.clock.now + 5 * MINUTE


def test_the_wait_for_the_first_page_goes_on_when_it_fires_again() -> None:
    case = Case()
    case.when(received(an_alert(starts_at=case.clock.now, severity="none")))  # a P4 is paged after an hour
    for _ in range(2):
        case.clock.forward(minutes=29)
        alert = next(iter(case.incident.alerts.values()))
        end = an_alert(firing=False, starts_at=alert.starts_at, ends_at=case.clock.now, severity="none")
        case.when(received(end))
        case.clock.forward(minutes=5)
        assert people(case.when(received(an_alert(starts_at=case.clock.now, severity="none")))) == []
    assert case.incident.clocks.next_due_at == case.clock.now + 2 * MINUTE  # it has fired for 58 minutes
    case.clock.forward(minutes=2)
    assert people(case.when(TimeDue())) == ["linh"]


def test_a_silence_that_ends_does_not_end_the_quiet_of_what_nobody_has_heard_of() -> None:
    case = Case()
    started = START
    for _ in range(4):  # a P4 is paged after an hour: nobody has heard of it yet
        started = case.clock.now
        case.when(received(an_alert(starts_at=started, severity="none")))
        case.clock.forward(minutes=1)
        case.when(received(an_alert(firing=False, starts_at=started, ends_at=case.clock.now, severity="none")))
    quiet_until = case.incident.clocks.quiet_until
    assert quiet_until is not None
    case.when(Paused(Pause(PauseKind.SILENCE, "s")))
    case.when(Resumed())
    assert (case.incident.delivery.rounds, case.incident.clocks.quiet_until) == (0, quiet_until)


def test_a_calm_hour_is_no_flapping_any_more() -> None:
    case = Case()
    fire(case)
    for _ in range(4):
        case.clock.forward(minutes=25)
        clear(case)
        case.clock.forward(minutes=5)
        fire(case)
    assert not case.incident.flapping
    assert len(case.incident.reopened) <= 3


def test_resolved_by_hand_the_same_episode_does_not_reopen_it_and_the_next_one_does() -> None:
    case = Case()
    fire(case)
    case.when(Resolve("linh", Origin.LINK))
    case.clock.forward(minutes=1)
    assert case.when(received(an_alert(starts_at=START))) == []
    assert case.state() is State.RESOLVED
    assert people(fire(case)) == ["linh"]


def test_a_message_in_which_nothing_begins_does_not_reopen_what_a_person_has_resolved() -> None:
    case = Case()
    fire(case)
    case.when(Resolve("linh", Origin.LINK))
    case.clock.forward(minutes=1)
    assert case.when(received(an_alert(starts_at=START), truncated=3)) == []  # the episode that was resolved, and news
    assert case.state() is State.RESOLVED


def blind(*alerts: object) -> AlertsReceived:
    event = received(*alerts)  # type: ignore[arg-type]
    return AlertsReceived(event.group, blind=True)


def test_a_resolve_is_not_believed_while_the_watchdog_is_overdue() -> None:
    case = Case()
    fire(case)
    case.clock.forward(minutes=4)
    assert case.when(blind(an_alert(firing=False))) == []
    assert case.state() is State.TRIGGERED
    assert case.incident.held
    case.clock.forward(minutes=11)
    assert people(case.when(TimeDue())) == ["marek"]  # nobody knows that it is over


def test_what_was_held_is_believed_when_monitoring_is_back() -> None:
    case = Case()
    fire(case)
    case.when(blind(an_alert(firing=False)))
    assert case.when(blind()) == []
    case.clock.forward(minutes=5)
    assert {n.kind for n in case.when(received())} == {Kind.RESOLVED}


def test_what_a_person_has_resolved_is_not_held_any_more() -> None:
    case = Case()
    fire(case)
    case.when(blind(an_alert(firing=False)))
    case.when(Resolve("linh", Origin.LINK))
    assert (case.state(), case.incident.held) == (State.RESOLVED, False)


def test_what_fires_again_was_never_over() -> None:
    case = Case()
    fire(case)
    case.when(blind(an_alert(firing=False)))
    case.clock.forward(minutes=5)
    assert case.when(received(an_alert(starts_at=case.clock.now))) == []
    assert not case.incident.held
    case.when(received())
    assert case.state() is State.TRIGGERED


def test_an_episode_that_the_api_confirms_to_fire_is_not_over() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=1)
    case.when(received(an_alert(firing=False)))
    case.clock.forward(minutes=1)
    assert case.when(received(an_alert())) == []  # a replica that is late
    confirmed = AlertsReceived(received(an_alert()).group, confirmed=True, drift=EntryKind.CONFIRMED)
    assert people(case.when(confirmed)) == ["linh"]
    assert case.incident.acknowledged_at is None
    assert timedelta(0) < case.clock.now - START


def test_that_it_flaps_is_said_once_an_hour_and_not_at_each_turn() -> None:
    case = flapping()
    clear(case)
    case.clock.forward(minutes=15)
    case.when(TimeDue())
    assert case.state() is State.RESOLVED
    case.clock.forward(minutes=1)
    fire(case)
    assert case.incident.flapping
    assert len(case.noted(EntryKind.FLAPPING)) == 1


def test_what_comes_back_worse_begins_at_the_first_step_whoever_had_it() -> None:
    case = Case()
    case.when(received(an_alert(severity="warning")))
    case.clock.forward(minutes=30)
    case.when(TimeDue())
    case.when(Acknowledge("marek", Origin.LINK))
    case.clock.forward(minutes=1)
    case.when(received(an_alert(firing=False, severity="warning")))
    case.clock.forward(minutes=1)
    assert people(case.when(received(an_alert(starts_at=case.clock.now)))) == ["linh"]


def test_what_a_person_has_resolved_is_not_opened_by_what_the_api_confirms() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(Resolve("linh", Origin.LINK))
    case.clock.forward(minutes=1)
    confirmed = AlertsReceived(received(an_alert()).group, confirmed=True)
    assert case.when(confirmed) == []
    assert case.state() is State.RESOLVED


def held(event: AlertsReceived) -> AlertsReceived:
    return AlertsReceived(event.group, blind=True)


def test_while_a_resolve_is_held_the_escalation_stands_still_and_goes_on_where_it_stood() -> None:
    case = Case()
    case.when(received(an_alert()))
    due = case.incident.clocks.next_due_at
    assert due is not None
    case.clock.forward(minutes=5)
    case.when(held(received(an_alert(firing=False))))
    assert case.incident.wake_at is None
    case.clock.forward(minutes=40)
    case.when(received(an_alert(starts_at=case.clock.now)))
    assert not case.incident.held
    assert case.incident.clocks.next_due_at == due + 40 * MINUTE
    assert case.incident.wake_at is not None


def test_a_pause_that_begins_while_a_resolve_is_held_moves_the_clocks_once() -> None:
    case = Case()
    case.when(received(an_alert()))
    due = case.incident.clocks.next_due_at
    assert due is not None
    case.when(held(received(an_alert(firing=False))))
    case.clock.forward(minutes=10)
    case.when(Paused(Pause(PauseKind.SILENCE, "s")))
    case.clock.forward(minutes=10)
    case.when(received(an_alert(starts_at=case.clock.now)))
    case.when(Resumed())
    assert case.incident.clocks.next_due_at == due + 20 * MINUTE


def test_what_flaps_and_may_only_have_lost_its_prometheus_is_not_quiet() -> None:
    case = Case()
    for _ in range(4):
        case.when(received(an_alert(starts_at=case.clock.now)))
        case.clock.forward(minutes=2)
        last = an_alert(firing=False, starts_at=case.clock.now - 2 * MINUTE, ends_at=case.clock.now)
        if not case.incident.flapping:
            case.when(received(last))
    assert case.incident.flapping
    case.when(held(received(last)))
    assert (case.incident.held, case.incident.wake_at) == (True, None)
    case.when(AlertsReceived(THE_GROUP))  # Prometheus was alive after all: now it has to be quiet
    assert not case.incident.held
    assert case.incident.clocks.quiet_until is not None
