"""One incident speaks for others: what the other's acts, alerts and end mean for those that are attached to it."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from receiver.incident.event import (
    Acknowledge,
    Attach,
    Detach,
    EscalateNow,
    Event,
    HandOver,
    Paused,
    Resolve,
    Resumed,
    Snooze,
    TimeDue,
    Unacknowledge,
    UndoResolve,
)
from receiver.incident.family import MOST_ATTACHED
from receiver.incident.machine import transition
from receiver.incident.model import (
    Decision,
    EntryKind,
    Ignored,
    Incident,
    Kind,
    Notification,
    Origin,
    Pause,
    PauseKind,
    Priority,
    Reason,
    State,
)
from tests.receiver.example_site import MINUTE, START, Case, an_alert, people, received
from tests.receiver.incident.test_walk import World, a_site

API = Origin.API
ACK, RESOLVE, DETACH = Acknowledge("linh", API), Resolve("linh", API), Detach("linh", API)
HOUR, DWELL = 60 * MINUTE, 5 * MINUTE
CHILD, PARENT, OTHER = 1, 2, 3


class Family(World):
    """Keeps what was owed, by incident."""

    def __init__(self) -> None:
        super().__init__(a_site(0.0, 0.0))
        self.owed: list[tuple[int, Notification]] = []

    def save(self, before: Incident, decision: Decision) -> None:
        self.owed += [(before.id, one) for one in decision.notifications]
        super().save(before, decision)

    def paged(self, number: int) -> list[str]:
        """Whom this incident has paged since the last time that somebody asked."""
        pages, self.owed = people([n for one, n in self.owed if one == number]), []
        return pages

    def state(self, number: int) -> State:
        return self.incidents[number].state

    def ignored(self, number: int, event: Event) -> Ignored | None:
        return transition(self.incidents[number], event, self.policy, self.clock.now).ignored


def a_family(child: str = "warning", parent: str = "warning") -> Family:
    """Two incidents, ten minutes old, and the second speaks for the first."""
    family = Family()
    family.fires(CHILD, child)
    family.fires(PARENT, parent)
    family.wait(10)
    family.tell(CHILD, Attach("linh", API, PARENT))
    family.owed = []
    return family


def test_what_is_attached_stands_still_and_the_other_goes_on() -> None:
    family = a_family()
    family.wait(120)
    assert family.paged(CHILD) == []
    assert family.incidents[PARENT].next_step == 3
    family.tell(CHILD, DETACH)
    family.wait(19)
    assert family.paged(CHILD) == []
    family.wait(2)  # twenty of the thirty minutes were left
    assert family.paged(CHILD) == ["marek"]


def test_what_is_detached_pages_nobody_before_a_dwell() -> None:
    family = a_family()
    family.wait(0)
    family.incidents[CHILD] = replace(
        family.incidents[CHILD],
        clocks=replace(family.incidents[CHILD].clocks, next_due_at=family.clock.now + timedelta(seconds=10)),
    )
    family.tell(CHILD, DETACH)
    assert family.incidents[CHILD].wake_at == family.clock.now + DWELL


@pytest.mark.parametrize("act", [ACK, Snooze("linh", API, START + 2 * HOUR), RESOLVE])
def test_acts_on_the_parent_are_acts_on_what_is_attached(act: Event) -> None:
    family = a_family()
    family.tell(PARENT, act)
    assert family.state(CHILD) is family.state(PARENT)
    assert family.incidents[CHILD].acknowledged_by == family.incidents[PARENT].acknowledged_by
    assert family.incidents[CHILD].snoozed_until == family.incidents[PARENT].snoozed_until


def test_an_undone_resolve_brings_all_of_them_back() -> None:
    family = a_family()
    family.tell(PARENT, RESOLVE)
    family.tell(PARENT, UndoResolve("linh", API))
    assert (family.state(CHILD), family.state(PARENT)) == (State.TRIGGERED, State.TRIGGERED)
    assert family.incidents[CHILD].attached_to == PARENT


def test_its_own_alerts_still_resolve_it_and_the_parent_stays() -> None:
    family = a_family()
    family.fires(CHILD, "warning", firing=False)
    assert (family.state(CHILD), family.state(PARENT)) == (State.RESOLVED, State.TRIGGERED)


def test_what_was_acknowledged_may_be_attached_to_what_nobody_has() -> None:
    family = Family()
    family.fires(CHILD, "warning")
    family.fires(PARENT, "warning")
    family.tell(CHILD, ACK)
    family.tell(CHILD, Attach("linh", API, PARENT))
    assert (family.state(CHILD), family.state(PARENT)) == (State.ACKNOWLEDGED, State.TRIGGERED)


def test_a_p1_raises_what_it_is_attached_to_though_somebody_has_that() -> None:
    family = Family()
    family.fires(CHILD, "critical")
    family.fires(PARENT, "warning")
    family.tell(PARENT, ACK)
    family.owed = []
    family.tell(CHILD, Attach("linh", API, PARENT))
    assert (family.state(PARENT), family.incidents[PARENT].priority) == (State.TRIGGERED, Priority.P1)
    assert family.paged(PARENT) == ["linh"]


def test_what_becomes_a_p1_while_it_is_attached_raises_the_parent() -> None:
    family = a_family()
    family.tell(PARENT, ACK)
    family.owed = []
    family.fires(CHILD, "critical")
    assert (family.state(PARENT), family.incidents[PARENT].priority) == (State.TRIGGERED, Priority.P1)
    assert family.paged(PARENT) == ["linh"]


def test_when_the_parent_is_over_what_fires_on_begins_anew_after_a_dwell() -> None:
    family = a_family()
    family.wait(60)
    family.owed = []
    family.fires(PARENT, "warning", firing=False)
    child = family.incidents[CHILD]
    assert (child.state, child.attached_to, child.next_step) == (State.TRIGGERED, 0, 0)
    assert child.wake_at == family.clock.now + DWELL
    family.wait(6)
    assert family.paged(CHILD) == ["linh"]


def test_when_the_parent_is_over_the_owner_of_what_fires_on_hears_of_it() -> None:
    family = a_family()
    family.tell(PARENT, ACK)
    family.owed = []
    family.fires(PARENT, "warning", firing=False)
    assert family.incidents[CHILD].acknowledged_by == "linh"
    told = {n.target.person for number, n in family.owed if number == CHILD and n.reason is Reason.PARENT_ENDED}
    assert "linh" in told


def test_what_fires_again_after_the_parent_was_resolved_speaks_for_itself() -> None:
    family = a_family()
    family.tell(PARENT, RESOLVE)
    family.owed = []
    family.clock.forward(minutes=5)
    family.fires(CHILD, "warning")
    child = family.incidents[CHILD]
    assert (child.state, child.attached_to) == (State.TRIGGERED, 0)
    family.wait(6)
    assert family.paged(CHILD) == ["linh"]


def test_a_silence_that_ends_meanwhile_changes_nothing_and_counts_once() -> None:
    family = Family()
    family.fires(CHILD, "warning")
    family.fires(PARENT, "warning")
    family.wait(10)
    family.tell(CHILD, Paused(Pause(PauseKind.SILENCE, "s")))
    family.wait(10)
    family.tell(CHILD, Attach("linh", API, PARENT))
    family.wait(10)
    family.tell(CHILD, Resumed())
    family.owed = []
    family.wait(10)
    assert family.paged(CHILD) == []
    family.tell(CHILD, DETACH)
    assert family.incidents[CHILD].wake_at == family.clock.now + 20 * MINUTE


def test_a_silence_that_outlasts_the_attachment_goes_on() -> None:
    family = a_family()
    family.wait(10)
    family.tell(CHILD, Paused(Pause(PauseKind.SILENCE, "s")))
    family.wait(10)
    family.tell(CHILD, DETACH)
    assert family.incidents[CHILD].paused is not None
    family.wait(10)
    family.tell(CHILD, Resumed())
    assert family.incidents[CHILD].wake_at == family.clock.now + 20 * MINUTE


def test_given_back_while_it_is_attached_it_pages_when_it_is_detached() -> None:
    family = a_family()
    family.tell(CHILD, ACK)
    family.wait(10)
    family.owed = []
    family.tell(CHILD, Unacknowledge("linh", API))
    assert family.state(CHILD) is State.TRIGGERED
    family.wait(60)
    assert family.paged(CHILD) == []
    family.tell(CHILD, DETACH)
    family.wait(5)
    assert family.paged(CHILD) == ["linh"]


def test_pages_by_hand_are_sent_though_it_is_attached() -> None:
    family = a_family()
    family.tell(CHILD, EscalateNow("linh", API))
    family.tell(CHILD, HandOver("linh", API, person="peter"))
    assert family.paged(CHILD) == ["marek", "peter"]


def test_attachments_are_one_deep_and_children_follow() -> None:
    family = a_family()
    family.fires(OTHER, "warning")
    assert family.ignored(PARENT, Attach("linh", API, CHILD, parent=family.incidents[CHILD])) is Ignored.NOT_ATTACHABLE
    assert family.ignored(OTHER, Attach("linh", API, CHILD, parent=family.incidents[CHILD])) is Ignored.NOT_ATTACHABLE
    family.tell(PARENT, Attach("linh", API, OTHER))
    assert [family.incidents[n].attached_to for n in (CHILD, PARENT)] == [OTHER, OTHER]


@pytest.mark.parametrize("what", ["itself", "nothing", "over", "too many", "drill"])
def test_what_cannot_speak_for_another(what: str) -> None:
    family = Family()
    family.fires(CHILD, "warning")
    family.fires(PARENT, "warning")
    parent: Incident | None = family.incidents[PARENT]
    if what == "itself":
        parent = family.incidents[CHILD]
    elif what == "nothing":
        parent = None
    elif what == "over":
        family.tell(PARENT, RESOLVE)
        parent = family.incidents[PARENT]
    elif what == "drill":
        parent = replace(family.incidents[PARENT], drill=True)
    event = Attach("linh", API, PARENT, parent=parent, siblings=MOST_ATTACHED if what == "too many" else 0)
    assert family.ignored(CHILD, event) is Ignored.NOT_ATTACHABLE


def test_attaching_twice_is_once() -> None:
    family = a_family()
    event = Attach("marek", API, PARENT, parent=family.incidents[PARENT])
    assert family.ignored(CHILD, event) is Ignored.REPEATED


def test_who_was_told_hears_where_it_goes_on_and_pagerduty_stops_ringing() -> None:
    case = Case()
    case.when(received(an_alert()))
    parent = replace(case.incident, id=7)
    owed = case.when(Attach("linh", API, 7, parent=parent))
    assert {(n.kind, n.reason) for n in owed} == {(Kind.ACKNOWLEDGED, Reason.ATTACHED)}
    assert [(e.actor, e.data.incident) for e in case.noted(EntryKind.ATTACHED)] == [("linh", 7)]
    assert case.when(TimeDue()) == []
