"""Rows of business hours: their distances, the response time and the warning count in them, from the first page on."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from receiver.incident.event import Acknowledge, Delivered, Paused, Resumed, TimeDue, Undelivered
from receiver.incident.model import EntryKind, Kind, Origin, Pause, PauseKind, Plan, Reason, Step
from receiver.oncall.hours import parse as hours
from tests.receiver.example_site import P2, P3, Case, an_alert, people, received, the_routing

FRIDAY, MONDAY = datetime(2026, 11, 27, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
HOURS = {
    "office": hours("09:00-18:00", ["mon", "tue", "wed", "thu", "fri"], "UTC"),
    "night": hours("18:00-09:00", [], "UTC"),
}
ROLES = {"engineer": "on-call-engineer", "lead": "tech-lead", "manager": "engineering-manager", "cto": "cto"}
Row = tuple[float, str, str]  # minutes, role, hours


def step(minutes: float, role: str, only: str = "") -> Step:
    return Step(minutes * 60, (ROLES[role],), only)


def opened(at: datetime, *rows: Row, response: float = 7200.0, **clocks: float) -> Case:
    routing = the_routing()
    plan = Plan(tuple(step(*row) for row in rows), response, **clocks)
    case = Case(msgspec.structs.replace(routing, plans={**routing.plans, P2: plan}, hours=HOURS))
    case.clock.now = at
    case.when(received(an_alert(severity="warning", starts_at=at)))
    return case


def told(case: Case, until: datetime) -> list[tuple[str, str]]:
    """When each clock ran to its time, and whom that paged or of what it reminded."""
    lines = [(f"{case.clock.now:%a %H:%M}", name) for name in people(list(case.notifications))]
    while (wake := case.incident.wake_at) is not None and wake <= until:
        case.clock.now = wake
        owed = case.when(TimeDue())
        lines += [(f"{wake:%a %H:%M}", name) for name in people(owed)]
        reasons = dict.fromkeys(n.reason.value for n in owed if n.kind is Kind.REMINDER and n.reason)
        lines += [(f"{wake:%a %H:%M}", reason) for reason in reasons]
    return lines


def test_rows_of_business_hours_keep_their_distance_in_these_hours() -> None:
    case = opened(FRIDAY + timedelta(hours=18), (1, "lead", "office"), (240, "manager", "office"))
    assert told(case, MONDAY + timedelta(days=1)) == [
        ("Mon 09:00", "marek"),
        *(("Mon 11:00", "breached"), ("Mon 13:00", "aisha")),
    ]
    assert not case.noted(EntryKind.LATE)


@pytest.mark.parametrize(
    ("opened_at", "rows", "expected"),
    [
        (17, [(1, "lead", "office"), (240, "manager", "office")], ["Fri 17:01", "Mon 12:00"]),
        (10, [(1, "lead", "office"), (240, "manager", "office")], ["Fri 10:01", "Fri 14:00"]),
        (18, [(0, "engineer", ""), (60, "lead", "office")], ["Fri 18:00", "Mon 09:00"]),
        (18, [(0, "engineer", "office"), (15, "lead", "")], ["Mon 09:00", "Mon 09:15"]),
        (
            18,
            [(1, "engineer", "office"), (61, "lead", ""), (121, "manager", "office")],
            ["Mon 09:00", "Mon 10:00", "Mon 11:01"],
        ),
        (10, [(0, "engineer", ""), (480, "lead", "office")], ["Fri 10:00", "Mon 09:00"]),  # Friday's closing time
    ],
)
def test_a_distance_counts_in_the_hours_of_the_step_and_from_the_first_page(
    opened_at: int, rows: list[Row], expected: list[str]
) -> None:
    case = opened(FRIDAY + timedelta(hours=opened_at), *rows, response=1e6)
    assert [at for at, _ in told(case, MONDAY + timedelta(days=7))] == expected


@pytest.mark.parametrize(
    ("opened_at", "first", "warned", "breached"),
    [
        (18, 0, "Mon 10:36", "Mon 11:00"),
        (17, 0, "Mon 09:36", "Mon 10:00"),
        (17, 30, "Mon 09:36", "Mon 10:00"),
        (17.5, 60, "Mon 10:36", "Mon 11:00"),  # the first page is out at 09:00
        (8, 60, "Fri 10:36", "Fri 11:00"),
    ],
)
def test_the_warning_and_the_breach_count_in_the_hours_of_the_first_step(
    opened_at: float, first: float, warned: str, breached: str
) -> None:
    rows = (first, "lead", "office")
    case = opened(FRIDAY + timedelta(hours=opened_at), rows, response=7200.0, warn_after=5760.0)
    lines = [line for line in told(case, MONDAY + timedelta(days=2)) if line[1] != "marek"]
    assert lines == [(warned, "warned"), (breached, "breached")]


@pytest.mark.parametrize("response", [60.0, 600.0, 3600.0, 3601.0, 4000.0])
def test_nothing_is_late_before_the_first_page(response: float) -> None:
    case = opened(FRIDAY, (60, "engineer", ""), response=response, warn_after=response * 0.8)
    lines = told(case, FRIDAY + timedelta(days=1))
    assert lines[0] == ("Fri 01:00", "linh")
    assert [reason for _, reason in lines[1:]][-1:] == ["breached"]


@pytest.mark.parametrize(
    ("opened_at", "expected"),
    [
        (10, [("Fri 10:15", "marek"), ("Fri 10:30", "aisha"), ("Fri 18:00", "linh")]),
        (20, [("Fri 20:15", "linh"), ("Fri 20:30", "aisha"), ("Mon 09:00", "marek")]),
    ],
)
def test_of_two_rows_of_one_time_the_one_whose_hours_come_first_is_taken(
    opened_at: int, expected: list[tuple[str, str]]
) -> None:
    rows: list[Row] = [(15, "lead", "office"), (15, "engineer", "night"), (30, "manager", "")]
    case = opened(FRIDAY + timedelta(hours=opened_at), *rows, response=1e6)
    lines = told(case, MONDAY + timedelta(days=1))
    assert lines[:2] == expected[:2]
    assert lines[2][1] == expected[2][1]


def test_when_nobody_of_the_steps_before_could_be_told_a_row_of_business_hours_is_taken_at_night() -> None:
    """Else nobody would hear of it until the morning."""
    case = opened(FRIDAY, (0, "engineer", ""), (15, "lead", "office"), (30, "manager", "office"))
    assert people(case.when(Undelivered(1))) == ["marek"]
    assert case.incident.clocks.next_due_at == FRIDAY + timedelta(hours=9, minutes=30)


def test_the_repeat_of_a_step_of_business_hours_comes_in_them() -> None:
    case = opened(FRIDAY + timedelta(hours=17), (0, "lead", "office"), response=1e6, repeat_every=3600.0 * 2)
    assert [at for at, _ in told(case, MONDAY + timedelta(hours=13))] == ["Fri 17:00", "Mon 10:00", "Mon 12:00"]


def test_an_acknowledgement_that_runs_out_at_night_waits_for_the_hours() -> None:
    case = opened(
        FRIDAY + timedelta(hours=17), (0, "lead", "office"), (60, "manager", "office"), acknowledge_for=7200.0
    )
    case.when(Acknowledge("marek", Origin.LINK))
    lines = [line for line in told(case, MONDAY + timedelta(hours=12)) if line[1] in {"marek", "aisha"}]
    assert lines == [("Mon 09:00", "marek"), ("Mon 10:00", "aisha")]


def test_a_page_that_arrives_at_closing_time_moves_the_next_step_to_the_next_opening() -> None:
    case = opened(FRIDAY + timedelta(hours=17, minutes=30), (0, "lead", "office"), (25, "manager", "office"))
    case.clock.forward(minutes=25)
    case.when(Delivered(1, "marek"))
    assert case.incident.clocks.next_due_at == MONDAY + timedelta(hours=9)


def test_a_silence_outside_the_hours_moves_nothing_that_counts_in_them() -> None:
    case = opened(FRIDAY + timedelta(hours=17), (0, "lead", "office"), (120, "manager", "office"))
    case.clock.now = FRIDAY + timedelta(hours=20)
    case.when(Paused(Pause(PauseKind.SILENCE, "s")))
    case.clock.forward(hours=3)
    assert {n.reason for n in case.when(Resumed())} == {Reason.RESUMED}
    assert case.incident.clocks.next_due_at == MONDAY + timedelta(hours=10)
    assert case.incident.clocks.answer_due_at == MONDAY + timedelta(hours=10)


def test_a_rise_owes_only_steps_whose_hours_have_come() -> None:
    routing = the_routing()
    rows = Plan((step(0, "engineer"), step(30, "lead", "office"), step(60, "manager")), 1e6)
    case = Case(msgspec.structs.replace(routing, plans={**routing.plans, P2: rows}, hours=HOURS))
    case.clock.now = FRIDAY + timedelta(hours=20)
    case.when(received(an_alert("a", severity="info", starts_at=case.clock.now)))
    assert case.incident.priority is P3
    case.clock.forward(minutes=45)
    owed = case.when(received(an_alert("a", severity="info"), an_alert("b", severity="warning")))
    assert people(owed) == ["linh"]
    assert case.incident.clocks.next_due_at == MONDAY + timedelta(hours=9)


def test_rows_of_one_time_that_are_open_together_page_everybody_once() -> None:
    rows: list[Row] = [(0, "engineer", "night"), (0, "lead", "night"), (0, "engineer", ""), (60, "cto", "")]
    assert told(opened(FRIDAY + timedelta(hours=20), *rows), FRIDAY + timedelta(hours=21)) == [
        *(("Fri 20:00", "linh"), ("Fri 20:00", "marek")),
        ("Fri 21:00", "peter"),
    ]
