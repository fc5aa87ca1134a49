"""A resolve by hand can be taken back for a minute, and answers to what is not so any more change nothing."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from receiver.incident.event import Acknowledge, Paused, Resolve, StillFiring, TimeDue, UndoResolve
from receiver.incident.model import EntryKind, Ignored, Incident, Kind, Origin, Pause, PauseKind, Reason, State
from receiver.incident.timers import clock_set
from receiver.incident.undo import UNDO_FOR
from tests.receiver.example_site import MINUTE, Case, an_alert, people, received, the_routing

ACK, RESOLVE, UNDO = Acknowledge("linh", Origin.LINK), Resolve("linh", Origin.LINK), UndoResolve("marek", Origin.API)
SECOND = timedelta(seconds=1)


def without_traces(incident: Incident) -> Incident:
    """Leave out what only counts messages."""
    return replace(incident, delivery=replace(incident.delivery, serial=0))


@pytest.mark.parametrize("how", ["triggered", "acknowledged", "silenced", "held"])
def test_after_an_undo_it_is_as_it_was_before_the_resolve(how: str) -> None:
    case = Case()
    case.when(received(an_alert(), an_alert("b")))
    if how == "acknowledged":
        case.when(ACK)
    if how == "silenced":
        case.when(Paused(Pause(PauseKind.SILENCE, "s", until=case.clock.now + 30 * MINUTE)))
    if how == "held":
        case.when(replace(received(an_alert(firing=False), an_alert("b", firing=False)), blind=True))
    before = case.incident
    case.when(RESOLVE)
    assert case.state() is State.RESOLVED
    case.clock.forward(seconds=59)
    told = case.when(UNDO)
    assert without_traces(case.incident) == without_traces(before)
    assert {(one.kind, one.reason) for one in told} == {(Kind.UPDATE, Reason.RESOLVE_UNDONE)}
    (entry,) = case.noted(EntryKind.RESOLVE_UNDONE)
    assert (entry.actor, entry.data.origin) == ("marek", Origin.API)


def test_an_episode_that_was_resolved_before_and_undone_may_end_and_page_again() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(RESOLVE)
    case.when(UNDO)
    assert case.incident.ended == {}
    case.when(RESOLVE)
    assert case.when(received(an_alert())) == []  # this time it stands
    assert case.state() is State.RESOLVED


def test_what_fell_due_before_the_undo_happens_then() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.clock.forward(minutes=14, seconds=30)
    case.when(RESOLVE)
    case.clock.forward(seconds=45)
    case.when(UNDO)
    assert case.incident.wake_at is not None
    assert case.incident.wake_at <= case.clock.now
    assert people(case.when(TimeDue())) == ["marek"]


@pytest.mark.parametrize(("late", "state"), [(UNDO_FOR, State.TRIGGERED), (UNDO_FOR + SECOND, State.RESOLVED)])
def test_after_a_minute_the_resolve_stands(late: timedelta, state: State) -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(RESOLVE)
    case.clock.now += late
    assert bool(case.when(UNDO)) is (state is State.TRIGGERED)
    assert case.state() is state
    assert case.ignored is (Ignored.TOO_LATE if state is State.RESOLVED else None)


@pytest.mark.parametrize("by", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_clock_that_is_set_makes_the_minute_neither_longer_nor_shorter(by: timedelta) -> None:
    case = Case()
    case.when(received(an_alert()))
    before = case.incident.clocks.next_due_at
    case.when(RESOLVE)
    case.clock.now += by + 30 * SECOND
    unmoved = case.incident
    case.when(UNDO)
    assert case.incident == unmoved  # before anybody has looked at the clock
    case.incident = clock_set(case.incident, by, case.clock.now).incident
    late = Case()
    late.incident, late.clock.now = case.incident, case.clock.now + 31 * SECOND
    late.when(UNDO)
    assert late.state() is State.RESOLVED
    case.when(UNDO)
    assert case.state() is State.TRIGGERED
    assert before is not None
    assert case.incident.clocks.next_due_at == before + by


def test_what_ended_by_itself_or_is_open_has_nothing_to_undo() -> None:
    case = Case()
    case.when(received(an_alert()))
    assert (case.when(UNDO), case.ignored) == ([], Ignored.OPEN)
    case.when(received(an_alert(firing=False)))
    assert (case.when(UNDO), case.ignored) == ([], Ignored.TOO_LATE)


def test_what_has_ended_since_the_resolve_stays_resolved() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(RESOLVE)
    case.when(received(an_alert(firing=False)))
    assert (case.when(UNDO), case.ignored) == ([], Ignored.ENDED)


def test_an_undo_is_of_one_resolve_and_of_one_episode() -> None:
    case = Case()
    case.when(received(an_alert()))
    seen = case.incident.opening
    case.when(RESOLVE)
    first = UndoResolve("linh", Origin.LINK, seen, case.incident.resolved_at)
    case.clock.now += SECOND
    case.when(first)
    assert case.state() is State.TRIGGERED
    assert (case.when(first), case.ignored) == ([], Ignored.OPEN)  # pressed twice
    case.when(replace(RESOLVE, actor="marek"))
    assert (case.when(first), case.ignored) == ([], Ignored.TOO_LATE)  # that is another one's resolve
    case.clock.now += SECOND
    case.when(received(an_alert(starts_at=case.clock.now)))
    assert case.state() is State.TRIGGERED  # a new episode has begun
    case.when(replace(RESOLVE, actor="marek"))
    assert (case.when(first), case.ignored) == ([], Ignored.FIRED_AGAIN)


def test_a_new_episode_forgets_the_undo() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(RESOLVE)
    case.clock.now += SECOND
    case.when(received(an_alert(starts_at=case.clock.now)))
    assert case.incident.undo is None
    assert (case.when(UNDO), case.ignored) == ([], Ignored.OPEN)


def test_an_answer_to_an_earlier_episode_changes_nothing() -> None:
    case = Case()
    case.when(received(an_alert()))
    old = case.incident.opening
    case.clock.now += MINUTE
    case.when(received(an_alert(firing=False)))
    case.clock.now += MINUTE
    case.when(received(an_alert(starts_at=case.clock.now)))
    for answer in (replace(ACK, seen=old), replace(RESOLVE, seen=old)):
        assert (case.when(answer), case.ignored) == ([], Ignored.FIRED_AGAIN)
    case.when(replace(ACK, seen=case.incident.opening))
    assert case.state() is State.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("firing", "begun", "state"),
    [
        (2, 2, State.RESOLVED),
        (3, 2, State.RESOLVED),
        (2, None, State.RESOLVED),
        (1, 2, State.TRIGGERED),
        (0, 0, State.TRIGGERED),
        (2, 1, State.TRIGGERED),  # as many as were seen, and one of them is another
    ],
)
def test_a_resolve_is_confirmed_for_what_the_person_has_seen(firing: int, begun: int | None, state: State) -> None:
    case = Case()
    case.when(received(an_alert(), an_alert("b")))
    case.when(replace(RESOLVE, firing=firing, begun=begun))
    assert case.state() is state
    assert case.ignored is (Ignored.UNCONFIRMED if state is State.TRIGGERED else None)


def test_as_many_alerts_need_not_be_the_same_ones() -> None:
    case = Case()
    case.when(received(an_alert(), an_alert("b")))
    seen = replace(RESOLVE, firing=2, begun=case.incident.begun)
    case.clock.now += MINUTE
    case.when(received(an_alert(firing=False), an_alert("c", starts_at=case.clock.now)))
    case.when(seen)
    assert (case.state(), case.ignored) == (State.TRIGGERED, Ignored.UNCONFIRMED)
    case.when(received(an_alert("b", firing=False), an_alert("c", firing=False, starts_at=case.clock.now)))
    assert case.state() is State.RESOLVED


def test_the_end_of_an_owners_second_episode_is_told_though_nobody_was_paged_in_it() -> None:
    case = Case(replace(the_routing(), flap_window=600.0))
    case.when(received(an_alert()))
    case.when(ACK)
    ends = []
    for minute in (1, 3):
        case.clock.now += MINUTE
        if minute > 1:
            case.when(received(an_alert(starts_at=case.clock.now)))
            assert case.state() is State.ACKNOWLEDGED
        start = case.clock.now if minute > 1 else case.incident.firing[0].starts_at
        case.clock.now += MINUTE
        ends.append(case.when(received(an_alert(firing=False, starts_at=start, ends_at=case.clock.now))))
    identities = [{(n.target.lane, n.kind, n.round, n.serial) for n in end if n.kind is Kind.RESOLVED} for end in ends]
    assert identities[0]
    assert identities[1]
    assert not identities[0] & identities[1]


def test_that_it_fires_on_after_a_resolve_by_hand_is_said_once() -> None:
    case = Case()
    case.when(received(an_alert()))
    case.when(RESOLVE)
    for _ in range(2):
        assert case.when(StillFiring(1)) == []
    (entry,) = case.noted(EntryKind.STILL_FIRING)
    assert entry.data.count == 1
    assert case.state() is State.RESOLVED
