"""What is worth delivering: nobody is paged about what was answered, and news goes where the trouble went."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from receiver.incident.delivery import Status, due_at, nobody_told, pointless, serial, worth_owing
from receiver.incident.model import Clocks, Incident, Kind, Notification, Priority, Reason, State, Target
from tests.receiver.given import MINUTE, START

OPEN = Incident(1, "k", State.TRIGGERED, Priority.P2)
TAKEN = replace(OPEN, state=State.ACKNOWLEDGED, acknowledged_at=START + MINUTE)
OVER = replace(TAKEN, state=State.RESOLVED)
SENT, SENDING, PENDING = (Status.SENT, 1), (Status.SENDING, 1), (Status.PENDING, 1)


def owed(kind: Kind, reason: Reason | None = None) -> Notification:
    return Notification(kind, Target("email", "a", "l"), 1, reason=reason)


@pytest.mark.parametrize(
    ("incident", "kinds"),
    [
        (OPEN, set[Kind]()),
        (TAKEN, {Kind.PAGE, Kind.REMINDER}),
        (OVER, {Kind.PAGE, Kind.REMINDER, Kind.UPDATE, Kind.ACKNOWLEDGED}),
    ],
    ids=["triggered", "acknowledged", "resolved"],
)
def test_an_answer_makes_pages_pointless_and_the_end_makes_everything_else(
    incident: Incident, kinds: set[Kind]
) -> None:
    assert {kind for kind in Kind if pointless(kind, START, incident)} == kinds


def test_a_reminder_to_the_owner_is_pointless_once_they_have_acknowledged_again() -> None:
    asked = START + 48 * MINUTE
    assert pointless(Kind.REMINDER, START + MINUTE, TAKEN)  # owed in the moment of the answer: it asked for one
    assert not pointless(Kind.REMINDER, asked, TAKEN)
    renewed = replace(TAKEN, clocks=Clocks(remind_due_at=asked + 48 * MINUTE))
    assert pointless(Kind.REMINDER, asked, renewed)
    assert not pointless(Kind.UPDATE, asked, renewed)


@pytest.mark.parametrize(
    ("pages", "worth"),
    [
        ([], False),
        ([SENT], True),
        ([SENDING], True),
        ([PENDING], False),
        ([(Status.DEAD, 3)], False),
        ([(Status.CANCELLED, 0)], False),
        ([(Status.CANCELLED, 1)], True),  # its answer was lost, and it may have arrived
        ([(Status.DEAD, 3), SENT], True),
    ],
)
def test_news_goes_where_a_page_has_gone_or_may_have(pages: list[tuple[Status, int]], worth: bool) -> None:
    for kind in Kind:
        assert worth_owing(owed(kind), pages, ()) == (worth or kind is Kind.PAGE)


@pytest.mark.parametrize("reason", Reason)
def test_an_owner_hears_what_concerns_them_though_their_page_was_never_sent(reason: Reason) -> None:
    kind = Kind.REMINDER if reason is Reason.EXPIRING else Kind.UPDATE
    concerns = {Reason.ALERTS_JOINED, Reason.REOPENED, Reason.PRIORITY_RAISED, Reason.EXPIRING}
    assert worth_owing(owed(kind, reason), [(Status.CANCELLED, 0)], ()) == (reason in concerns)


def test_an_end_that_waits_is_not_owed_twice() -> None:
    assert not worth_owing(owed(Kind.RESOLVED), [SENT], [Kind.UPDATE, Kind.RESOLVED])
    assert worth_owing(owed(Kind.RESOLVED), [SENT], [Kind.UPDATE])
    assert worth_owing(owed(Kind.UPDATE), [SENT], [Kind.UPDATE, Kind.RESOLVED])


def test_only_updates_and_reminders_are_counted_within_a_round() -> None:
    target = Target("email", "a", "l")
    counted = {kind for kind in Kind if serial(Notification(kind, target, 1, serial=7)) == 7}
    assert counted == {Kind.UPDATE, Kind.REMINDER}


def test_all_but_a_p1_and_a_drill_waits_for_the_end_of_the_window() -> None:
    hold, now = timedelta(seconds=10), START + timedelta(seconds=3)
    assert due_at(OPEN, hold, now) == START + hold
    assert due_at(OPEN, hold, START) == START
    assert due_at(OPEN, timedelta(0), now) == now
    assert due_at(replace(OPEN, priority=Priority.P1), hold, now) == now
    assert due_at(replace(OPEN, drill=True), hold, now) == now


def test_a_round_is_lost_when_every_page_of_it_is_dead() -> None:
    assert nobody_told([Status.DEAD, Status.DEAD])
    for other in set(Status) - {Status.DEAD}:
        assert not nobody_told([Status.DEAD, other])
