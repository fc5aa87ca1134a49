"""Silences and maintenance: the clocks stand still, everybody knows why, and nothing is lost."""

from datetime import timedelta

import msgspec
import pytest

from receiver.incident.event import Acknowledge, Paused, Resumed, TimeDue, Undelivered
from receiver.incident.model import Data, Entry, EntryKind, Kind, Notification, Origin, Pause, PauseKind, Reason, State
from receiver.oncall.hours import parse as hours
from receiver.policy.maintenance import Window
from receiver.policy.matcher import parse as matcher
from receiver.policy.routing import Routing
from tests.receiver.example_site import MINUTE, P1, START, Case, an_alert, people, received, the_routing

SILENCE = Pause(PauseKind.SILENCE, "8f1c", "Linh", until=START + timedelta(hours=2))


def windowed(*windows: Window) -> Routing:
    return msgspec.structs.replace(the_routing(), windows=windows)


def test_a_silence_stops_the_steps_and_tells_those_who_were_told() -> None:
    case = Case()
    paged = case.when(received(an_alert()))
    case.clock.forward(minutes=10)
    owed = case.when(Paused(SILENCE))
    assert {n.target.lane for n in owed} == {n.target.lane for n in paged}
    assert {(n.kind, n.reason) for n in owed} == {(Kind.UPDATE, Reason.PAUSED)}
    assert owed[0].data.pause == SILENCE
    case.clock.forward(minutes=60)
    assert case.when(TimeDue()) == []
    assert case.state() is State.TRIGGERED
    assert case.when(Paused(SILENCE)) == []  # the same silence seen a minute later


def test_when_the_silence_ends_the_clocks_go_on_where_they_stood() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=5)
    case.when(Paused(SILENCE))
    case.clock.forward(minutes=60)
    owed = case.when(Resumed())
    assert {(n.reason, n.data.pause) for n in owed} == {(Reason.RESUMED, Pause(PauseKind.SILENCE, "8f1c"))}
    assert case.incident.clocks.next_due_at == START + 75 * MINUTE  # ten minutes were left
    case.clock.forward(minutes=9)
    assert case.when(TimeDue()) == []
    case.clock.forward(minutes=1)
    assert people(case.when(TimeDue())) == ["marek"]


def test_after_a_silence_the_next_step_comes_no_sooner_than_the_dwell() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=14)
    case.when(Paused(SILENCE))
    case.clock.forward(minutes=30)
    case.when(Resumed())
    assert case.incident.clocks.next_due_at == case.clock.now + 5 * MINUTE


def test_a_silence_that_nobody_ends_is_over_at_its_end() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(Paused(SILENCE))
    assert case.incident.wake_at == SILENCE.until
    case.clock.now = START + timedelta(hours=2)
    assert {n.kind for n in case.when(TimeDue())} == {Kind.UPDATE}
    assert case.incident.paused is None


def test_an_alert_that_joins_is_not_silenced_so_nothing_is() -> None:
    case = Case()
    case.when(received(an_alert("a")))
    case.when(Paused(SILENCE))
    case.clock.forward(minutes=30)
    case.when(received(an_alert("a"), an_alert("b")))
    assert case.incident.paused is None


@pytest.mark.parametrize(("severity", "paged"), [("critical", ["linh"]), ("warning", [])])
def test_what_joins_and_ends_the_pause_is_paged_from_the_first_step_if_it_is_as_urgent(
    severity: str, paged: list[str]
) -> None:
    case = Case()
    case.when(received(an_alert("a")))
    case.clock.forward(minutes=5)
    case.when(Paused(SILENCE))
    case.clock.forward(minutes=30)
    owed = case.when(received(an_alert("a"), an_alert("b", severity=severity)))
    assert people(owed) == paged
    lanes = [n.target.lane for n in owed if n.kind is Kind.PAGE]
    assert not [n for n in owed if n.kind is Kind.UPDATE and n.target.lane in lanes]
    assert case.incident.clocks.next_due_at == case.clock.now + (15 if paged else 10) * MINUTE


def test_news_in_which_nothing_begins_does_not_end_the_pause() -> None:
    case = Case()
    case.when(received(an_alert("a"), an_alert("b")))
    case.when(Paused(SILENCE))
    assert case.when(received(an_alert("a", firing=False))) == []
    assert case.incident.paused is not None
    assert case.state() is State.TRIGGERED


def test_an_incident_can_be_acknowledged_and_resolved_while_it_is_paused() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(Paused(SILENCE))
    assert {n.kind for n in case.when(Acknowledge("linh", Origin.LINK))} == {Kind.ACKNOWLEDGED}
    case.when(received(an_alert(firing=False)))
    assert case.state() is State.RESOLVED
    assert case.incident.paused is None


def test_what_fires_in_maintenance_is_recorded_and_tells_nobody() -> None:
    window = Window("database upgrade", (matcher('team="backend"'),), START, START + timedelta(hours=1))
    case = Case(windowed(window))
    assert case.when(received(an_alert())) == []
    assert case.state() is State.TRIGGERED
    pause = Pause(PauseKind.MAINTENANCE, "database upgrade", until=START + timedelta(hours=1))
    assert case.timeline[-1] == Entry(START, EntryKind.RECORDED, Data(pause=pause))
    case.clock.forward(minutes=40)
    assert case.when(TimeDue()) == []
    assert case.when(received(an_alert(firing=False))) == []
    assert case.state() is State.RESOLVED


def test_what_still_fires_when_the_maintenance_is_over_begins_at_the_first_step() -> None:
    window = Window("database upgrade", (matcher('team="backend"'),), START, START + timedelta(hours=1))
    case = Case(windowed(window))
    case.when(received(an_alert()))
    assert case.incident.wake_at == window.end
    case.clock.now = START + timedelta(hours=1)
    assert people(case.when(TimeDue())) == ["linh"]
    assert case.incident.clocks.next_due_at == case.clock.now + 15 * MINUTE


def test_maintenance_of_others_changes_nothing() -> None:
    window = Window("database upgrade", (matcher('team="database"'),), START, START + timedelta(hours=1))
    assert people(Case(windowed(window)).when(received(an_alert()))) == ["linh"]


def test_a_window_of_every_week_holds_in_its_hours_only() -> None:
    nightly = Window("backup", (matcher('team="backend"'),), hours=hours("02:00-04:00", ["mon"], "UTC"))
    assert nightly.until(START) == START + timedelta(hours=1)
    assert nightly.until(START + timedelta(hours=1)) is None
    assert nightly.until(START + timedelta(days=1)) is None
    assert nightly.until(START + timedelta(days=7)) == START + timedelta(days=7, hours=1)


def test_an_alert_outside_the_window_that_joins_ends_the_pause() -> None:
    window = Window("one host", (matcher('instance="a"'),), START, START + timedelta(hours=1))
    case = Case(windowed(window))
    assert case.when(received(an_alert("a", instance="a"))) == []
    assert people(case.when(received(an_alert("a", instance="a"), an_alert("b", instance="b")))) == ["linh"]


def a_window(start: float, end: float, name: str = "upgrade", instance: str = "") -> Window:
    matchers = (matcher(f'instance="{instance}"'),) if instance else (matcher('team="backend"'),)
    return Window(name, matchers, START + start * MINUTE, START + end * MINUTE)


@pytest.mark.parametrize("answered", [False, True])
def test_maintenance_that_begins_after_the_incident_opened_stops_the_later_steps(answered: bool) -> None:
    routing = planned(acknowledge_for=1800.0, warn_after=720.0)
    case = Case(msgspec.structs.replace(routing, windows=(a_window(1, 90),)))
    case.when(received(an_alert()))
    if answered:
        case.when(Acknowledge("linh", Origin.LINK))
    told: list[Notification] = []
    for minute in range(1, 90):
        case.clock.now = START + minute * MINUTE
        told += case.when(TimeDue())
    assert {(n.kind, n.reason) for n in told} == {(Kind.UPDATE, Reason.PAUSED)}
    assert case.incident.breached_at is None
    case.clock.now = START + 90 * MINUTE
    assert {n.reason for n in case.when(TimeDue())} == {Reason.RESUMED}
    case.clock.forward(minutes=30)
    assert people(case.when(TimeDue())) == (["linh"] if answered else ["marek"])


@pytest.mark.parametrize(
    "windows", [[a_window(5, 60)], [a_window(5, 12), a_window(10, 60)], [a_window(-90, -1), a_window(5, 60)]]
)
def test_maintenance_counts_from_its_begin_and_not_from_when_a_step_would_have_been_due(windows: list[Window]) -> None:
    case = Case(msgspec.structs.replace(planned(warn_after=720.0), windows=tuple(windows)))
    case.when(received(an_alert()))
    told: list[tuple[int, Reason | None]] = []
    while (wake := case.incident.wake_at) is not None and wake <= START + 75 * MINUTE:
        case.clock.now = wake
        minute = int((wake - START) / MINUTE)
        told += dict.fromkeys((minute, notification.reason) for notification in case.when(TimeDue()))
    assert told == [
        (12, Reason.PAUSED),
        (60, Reason.RESUMED),
        *((67, Reason.WARNED), (70, Reason.BREACHED), (70, Reason.ESCALATED)),
    ]


def test_what_an_answer_has_begun_anew_lies_in_the_maintenance_from_then_on() -> None:
    case = Case(msgspec.structs.replace(planned(acknowledge_for=1800.0), windows=(a_window(5, 60),)))
    case.when(received(an_alert()))
    case.clock.forward(minutes=10)
    case.when(Acknowledge("linh", Origin.LINK))
    case.clock.now = START + 34 * MINUTE  # the owner would be reminded
    case.when(TimeDue())
    case.clock.now = START + 60 * MINUTE
    case.when(TimeDue())
    assert case.incident.clocks.acknowledged_until == START + 90 * MINUTE


def test_news_finds_maintenance_that_has_begun() -> None:
    case = Case(windowed(a_window(1, 90)))
    case.when(received(an_alert("a")))
    case.clock.forward(minutes=2)
    owed = case.when(received(an_alert("a"), an_alert("b")))
    assert {n.reason for n in owed} == {Reason.PAUSED}


def test_a_page_that_nobody_got_is_not_passed_on_in_maintenance() -> None:
    case = Case(windowed(a_window(1, 90)))
    case.when(received(an_alert("a")))
    case.clock.forward(minutes=2)
    assert case.when(Undelivered(1)) == []


@pytest.mark.parametrize(
    ("windows", "until"),
    [
        ([a_window(0, 60), a_window(0, 20)], 60),
        ([a_window(0, 60), a_window(30, 90)], 90),
        ([a_window(0, 60), a_window(60, 90), a_window(91, 100)], 90),
        ([a_window(0, 60, instance="a"), a_window(0, 40, instance="b"), a_window(30, 50, instance="b")], 50),
    ],
)
def test_maintenance_is_over_when_the_last_window_of_the_first_alert_is(windows: list[Window], until: int) -> None:
    case = Case(windowed(*windows))
    case.when(received(an_alert("a", instance="a"), an_alert("b", instance="b")))
    assert case.incident.paused is not None
    assert case.incident.paused.until == START + until * MINUTE
    assert [n for minute in range(until) for n in _at(case, minute)] == []
    assert people(_at(case, until)) == ["linh"]


def _at(case: Case, minute: int) -> list[Notification]:
    case.clock.now = START + minute * MINUTE
    return case.when(TimeDue())


def test_a_window_that_is_added_before_the_end_of_another_goes_on_without_a_word() -> None:
    case = Case(windowed(a_window(0, 60)))
    case.when(received(an_alert()))
    case.current.routing = msgspec.structs.replace(case.current.routing, windows=(a_window(0, 80, "longer"),))
    assert _at(case, 60) == []
    assert case.incident.paused is not None
    assert case.incident.paused.until == START + 80 * MINUTE
    assert not case.noted(EntryKind.RESUMED)


def test_every_day_from_midnight_to_midnight_is_asked_again_and_never_over() -> None:
    always = Window("forever", (matcher('team="backend"'),), hours=hours("00:00-24:00", [], "UTC"))
    case = Case(windowed(always))
    case.when(received(an_alert()))
    for _ in range(3):
        assert case.incident.wake_at is not None
        case.clock.now = case.incident.wake_at
        assert case.when(TimeDue()) == []


@pytest.mark.parametrize("kind", [PauseKind.SILENCE, PauseKind.MAINTENANCE])
def test_a_pause_moves_the_whole_matrix_the_warning_and_the_breach(kind: PauseKind) -> None:
    case = Case(planned(warn_after=720.0))
    case.when(received(an_alert()))
    case.clock.forward(minutes=5)
    case.when(Paused(Pause(kind, "s")))
    case.clock.forward(minutes=20)
    case.when(Resumed())
    clocks = case.incident.clocks
    assert clocks.started_at == START + 20 * MINUTE
    assert (clocks.warn_due_at, clocks.answer_due_at) == (START + 32 * MINUTE, START + 35 * MINUTE)
    heard = [(minute, name) for minute in range(26, 90) for name in people(_at(case, minute))]
    assert heard == [(35, "marek"), (50, "aisha"), (80, "peter")]


@pytest.mark.parametrize(("passed", "left"), [(10, 20), (28, 5)])
def test_a_pause_moves_the_repeat_of_the_last_step_which_comes_no_sooner_than_the_dwell(passed: int, left: int) -> None:
    case = Case(planned(repeat_every=1800.0))
    case.when(received(an_alert()))
    case.clock.now = START + 60 * MINUTE
    while case.incident.next_step < len(case.incident.plan.steps):
        case.when(TimeDue())
        case.clock.now = max(case.clock.now, case.incident.clocks.next_due_at or case.clock.now)
    repeated = case.incident.clocks.next_due_at
    assert repeated is not None
    case.clock.now = repeated + (passed - 30) * MINUTE
    case.when(Paused(Pause(PauseKind.SILENCE, "s")))
    case.clock.forward(hours=2)
    case.when(Resumed())
    assert case.incident.clocks.next_due_at == case.clock.now + left * MINUTE
    case.clock.forward(minutes=left)
    assert people(case.when(TimeDue())) == ["peter"]


def test_a_pause_moves_the_end_of_an_acknowledgement_and_its_reminder() -> None:
    case = Case(planned(acknowledge_for=1800.0))
    case.when(received(an_alert()))
    case.when(Acknowledge("linh", Origin.LINK))
    case.clock.forward(minutes=5)
    case.when(Paused(SILENCE))
    case.clock.forward(minutes=20)
    case.when(Resumed())
    assert case.incident.clocks.remind_due_at == START + 44 * MINUTE
    assert case.incident.clocks.acknowledged_until == START + 50 * MINUTE
    assert [_at(case, minute) for minute in (30, 43)] == [[], []]
    assert {n.reason for n in _at(case, 44)} == {Reason.EXPIRING}
    assert people(_at(case, 49)) == []
    assert people(_at(case, 50)) == ["linh"]


def planned(**clocks: float) -> Routing:
    routing = the_routing()
    plan = msgspec.structs.replace(routing.plans[P1], **clocks)
    return msgspec.structs.replace(routing, plans={**routing.plans, P1: plan})
