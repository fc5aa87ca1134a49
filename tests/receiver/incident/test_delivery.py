"""What is worth delivering: nobody is paged about what was answered, and news goes where the trouble went."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from receiver.incident.delivery import (
    End,
    Handling,
    Status,
    Window,
    correction,
    due_at,
    is_current,
    may_still_reach,
    nobody_told,
    pointless,
    worth_owing,
)
from receiver.incident.model import Clocks, Incident, Kind, Notification, Priority, Reason, State, Target
from tests.receiver.example_site import MINUTE, START

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
    concerns |= {Reason.TAKEN_OVER, Reason.UNANSWERED, Reason.PARENT_ENDED, Reason.STILL_NEEDED}
    assert worth_owing(owed(kind, reason), [(Status.CANCELLED, 0)], ()) == (reason in concerns)


def test_an_end_that_waits_is_not_owed_twice() -> None:
    assert not worth_owing(owed(Kind.RESOLVED), [SENT], [Kind.UPDATE, Kind.RESOLVED])
    assert worth_owing(owed(Kind.RESOLVED), [SENT], [Kind.UPDATE])
    assert worth_owing(owed(Kind.UPDATE), [SENT], [Kind.UPDATE, Kind.RESOLVED])


ALERT = replace(owed(Kind.UPDATE, Reason.RESOLVE_UNDONE), serial=4)
SLACK, PAGERDUTY = Handling(), Handling(keeps_incidents=True)


@pytest.mark.parametrize(
    ("end", "handling", "cancelled", "kinds"),
    [
        (None, SLACK, False, []),  # it has never heard of the trouble
        (End(Status.SENT, 1, 2), PAGERDUTY, False, []),  # that was the end of an earlier episode
        (End(Status.CANCELLED, 0, 3), SLACK, False, []),
        (End(Status.PENDING, 0, 3), SLACK, True, []),
        (End(Status.PENDING, 0, 3), PAGERDUTY, True, []),
        (End(Status.PENDING, 2, 3), SLACK, True, [Kind.UPDATE]),  # its answer was lost, and it may have arrived
        (End(Status.PENDING, 2, 3), PAGERDUTY, False, [Kind.PAGE]),
        (End(Status.SENDING, 1, 3), SLACK, False, [Kind.UPDATE]),
        (End(Status.SENT, 1, 3), SLACK, False, [Kind.UPDATE]),
        (End(Status.SENT, 1, 3), PAGERDUTY, False, [Kind.PAGE]),
        (End(Status.DEAD, 9, 3), PAGERDUTY, False, [Kind.PAGE]),
    ],
)
def test_an_undone_resolve_is_cancelled_or_corrected(
    end: End | None, handling: Handling, cancelled: bool, kinds: list[Kind]
) -> None:
    is_cancelled, corrections = correction(ALERT, OPEN, handling, end)
    assert (is_cancelled, [one.kind for one in corrections]) == (cancelled, kinds)
    taken = correction(ALERT, TAKEN, handling, end)[1]
    assert [one.kind for one in taken] == [*kinds, *([Kind.ACKNOWLEDGED] if kinds == [Kind.PAGE] else [])]


@pytest.mark.parametrize(
    ("generation", "ends", "state", "current"),
    [
        (0, 0, State.TRIGGERED, True),
        (0, 1, State.TRIGGERED, False),
        (1, 1, State.ACKNOWLEDGED, True),
        (2, 1, State.TRIGGERED, False),  # there has never been such a one
        (0, 1, State.RESOLVED, True),  # the end is its own
        (0, 2, State.RESOLVED, False),
    ],
)
def test_a_providers_incident_is_current_until_its_end_is_owed(
    generation: int, ends: int, state: State, current: bool
) -> None:
    assert is_current(generation, ends, state) is current


def times(seconds: list[float], handling: Handling) -> list[float]:
    """When what is owed to one address at these seconds is sent."""
    window, sent = None, list[float]()
    for at in seconds:
        due, window = due_at(OPEN, handling, window, START + timedelta(seconds=at))
        sent.append((due - START).total_seconds())
    return sent


TEN = Handling(timedelta(seconds=10))


def test_the_first_of_a_quiet_address_goes_at_once_and_what_follows_is_gathered() -> None:
    assert times([3], TEN) == [3]
    assert times([3, 4, 9, 12], TEN) == [3, 13, 13, 13]
    assert times([3, 14], TEN) == [3, 14]  # nothing followed within the window
    assert times([3, 4, 14, 22, 24], TEN) == [3, 13, 23, 23, 33]  # it goes on
    assert times([3, 4, 14, 33], TEN) == [3, 13, 23, 33]  # quiet for a whole window: at once again


def test_so_much_of_a_quiet_address_as_the_channel_wants_goes_at_once() -> None:
    assert times([0, 1, 2, 3, 4], Handling(timedelta(seconds=10), 3)) == [0, 1, 2, 10, 10]
    assert times([0, 1, 11, 12, 13, 14], Handling(timedelta(seconds=10), 3)) == [0, 1, 11, 12, 13, 21]


def test_a_p1_and_a_drill_wait_for_nobody_and_nothing_waits_where_nothing_is_gathered() -> None:
    window, now = Window(START + timedelta(seconds=10), 2), START + timedelta(seconds=3)
    assert due_at(replace(OPEN, priority=Priority.P1), TEN, window, now) == (now, window)
    assert due_at(replace(OPEN, drill=True), TEN, window, now) == (now, window)
    assert times([0, 1, 2], Handling()) == [0, 1, 2]


def test_a_window_that_a_clock_has_left_far_ahead_holds_nothing() -> None:
    ahead = Window(START + timedelta(hours=1), 5)
    assert due_at(OPEN, TEN, ahead, START)[0] == START


def test_a_round_is_lost_when_every_page_of_it_is_dead() -> None:
    assert nobody_told([Status.DEAD, Status.DEAD])
    for other in set(Status) - {Status.DEAD}:
        assert not nobody_told([Status.DEAD, other])


def test_another_way_is_not_looked_for_while_another_page_may_reach_the_person() -> None:
    linh, marek = Target("push", "linh", "push:linh", "linh"), Target("email", "m@example.com", "email:m", "marek")
    place = Target("slack", "#team", "slack:#team")
    assert may_still_reach(linh, [replace(linh, channel="sms")])
    assert not may_still_reach(linh, [marek, place])
    assert may_still_reach(place, [marek])
    assert not may_still_reach(place, [place])
