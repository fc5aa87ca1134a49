"""Says what an event means for the state that an incident is in, once its content has been looked at. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from receiver.incident.acts import longest_snooze
from receiver.incident.event import (
    Acknowledge,
    Answer,
    Attach,
    Detach,
    EndSilence,
    EscalateNow,
    ExtendSilence,
    HandOver,
    Note,
    Raise,
    Resolve,
    Silence,
    Snooze,
    TakenAwake,
    TakeOver,
    Unacknowledge,
    UndoResolve,
)
from receiver.incident.family import attachable
from receiver.incident.model import Incident, Origin, State
from receiver.incident.policy import Policy
from receiver.incident.undo import can_undo, has_ended


class Signal(StrEnum):
    """What an event means for the state, once its content has been looked at."""

    FIRE = "fire"  # alerts are firing
    RAISE = "raise"  # alerts are firing, and they have become a P1, or have been a drill until now
    CLEAR = "clear"  # no alert is firing any more
    HOLD = "hold"  # no alert is firing any more, and that is not believed yet
    ENDED = "ended"  # what a person has resolved while it fired says more of its end
    REOPEN = "reopen"  # it fires again, soon after it was over
    RETURN = "return"  # the same, and whoever has acknowledged it still has it
    TIME = "time"  # a clock of the incident has run to its time
    EXPIRE = "expire"  # the acknowledgement has run out
    DELIVERED = "delivered"  # a page has arrived
    UNREACHED = "unreached"  # one way to a person does not work
    UNDELIVERED = "undelivered"  # nobody of the last step could be reached
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    UNCONFIRMED = "unconfirmed"  # a resolve, while more fires than the person has seen
    OUTDATED = "outdated"  # an answer to how it stood before it fired again
    UNDO = "undo"  # a resolve by hand is taken back, and nobody had it
    UNDO_OWNED = "undo_owned"  # the same, and somebody had it
    UNDO_ENDED = "undo_ended"  # the same, and its alerts have ended meanwhile
    UNDO_LATE = "undo_late"  # there is nothing that could be taken back any more
    UNACKNOWLEDGE = "unacknowledge"  # who has it gives it back
    SNOOZE = "snooze"
    TAKE_OVER = "take_over"  # it changes hands
    ASK = "ask"  # somebody is asked to take it over
    MOVE = "move"  # it is handed over to another team
    ESCALATE = "escalate"  # the next step is taken by hand
    NOTE = "note"
    SILENCE = "silence"  # a person has made, extended or ended a silence
    SILENCE_OVER = "silence_over"
    ATTACH = "attach"
    DETACH = "detach"
    PAGE_BY_HAND = "page_by_hand"  # a person opens an incident
    LATE = "late"  # an act on what is over
    REPEATED = "repeated"  # an act that has been done already
    OUT_OF_BOUNDS = "out_of_bounds"  # a snooze that is too long
    NOBODY = "nobody"  # nobody can be paged so
    NOT_ATTACHABLE = "not_attachable"
    UNANSWERED = "unanswered"  # who was asked to take it over has not answered
    STILL_NEEDED = "still_needed"  # what was raised by hand has been open for another day
    HELP = "help"  # what became of a page that was owed after the acknowledgement
    ADOPT = "adopt"  # another incident is attached to it
    OUTRANK = "outrank"  # the same, and that is a P1
    PARENT_ENDED = "parent_ended"  # the incident that it is attached to is over
    TAKE_AWAKE = "take_awake"  # somebody is awake, and takes quietly what would page them
    STAY_AWAKE = "stay_awake"  # and is so for longer
    PARENT_MOVED = "parent_moved"  # and is attached to another by now
    STILL_FIRING = "still_firing"  # what a person has resolved goes on firing
    UNPROVED = "unproved"  # what is held back has been so for too long
    PAUSE = "pause"  # somebody has silenced it, or maintenance has begun
    RESUME = "resume"


_OPEN = {State.TRIGGERED, State.ACKNOWLEDGED}


def answer_signal(incident: Incident, what: Answer, policy: Policy, now: datetime) -> Signal:
    """A person answers to what they have seen, which may have changed before the answer came."""
    if what.seen not in {None, incident.opening}:
        return Signal.OUTDATED
    return _ANSWERS[type(what)](incident, what, policy, now)


def awake_signal(incident: Incident, what: TakenAwake) -> Signal:
    """What somebody has taken while they were awake is theirs for as long as they are."""
    theirs = incident.taken_awake and incident.acknowledged_by == what.person
    return Signal.STAY_AWAKE if theirs and incident.state is State.ACKNOWLEDGED else Signal.TAKE_AWAKE


def _raise_signal(incident: Incident, what: Raise, policy: Policy, now: datetime) -> Signal:
    person, team = what.person, what.team
    known = not person or policy.ways(person, incident, now)
    return Signal.PAGE_BY_HAND if known and (not team or policy.has_team(team)) else Signal.NOBODY


def _acknowledge_signal(incident: Incident, what: Acknowledge, _policy: Policy, _now: datetime) -> Signal:
    """Who was asked to take it over does so by acknowledging."""
    asked = incident.asked is not None and incident.asked.person == what.actor
    if (
        what.origin is Origin.PAGERDUTY
        and incident.snoozed_until is not None
        and incident.acknowledged_by == what.actor
    ):
        return Signal.REPEATED  # the echo of the acknowledgement that a snooze is over there
    changes = incident.state is State.ACKNOWLEDGED and asked and what.actor != incident.acknowledged_by
    return Signal.TAKE_OVER if changes else Signal.ACKNOWLEDGE


def _take_over_signal(incident: Incident, what: TakeOver, _policy: Policy, _now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    changes = incident.state is State.ACKNOWLEDGED and what.actor != incident.acknowledged_by
    return Signal.TAKE_OVER if changes else Signal.ACKNOWLEDGE


def _unacknowledge_signal(incident: Incident, _what: Unacknowledge, _policy: Policy, _now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    return Signal.UNACKNOWLEDGE if incident.state is State.ACKNOWLEDGED else Signal.REPEATED


def _snooze_signal(incident: Incident, what: Snooze, _policy: Policy, now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    if not timedelta(0) < what.until - now <= longest_snooze(incident.priority):
        return Signal.OUT_OF_BOUNDS
    again = (incident.acknowledged_by, incident.snoozed_until) == (what.actor, what.until)
    return Signal.REPEATED if again else Signal.SNOOZE


def _hand_over_signal(incident: Incident, what: HandOver, policy: Policy, now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    if bool(what.person) == bool(what.team):
        return Signal.NOBODY
    if what.team:
        again = what.team in {incident.moved_to, incident.team if not incident.moved_to else ""}
        return Signal.REPEATED if again else Signal.MOVE if policy.has_team(what.team) else Signal.NOBODY
    asked = incident.asked.person if incident.asked is not None else ""
    if what.person in {asked, incident.acknowledged_by}:
        return Signal.REPEATED
    return Signal.ASK if policy.ways(what.person, incident, now) else Signal.NOBODY


def _escalate_signal(incident: Incident, what: EscalateNow, _policy: Policy, _now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    if what.step not in {None, incident.next_step}:
        return Signal.REPEATED
    return Signal.ESCALATE if incident.plan.steps else Signal.NOBODY


def _attach_signal(incident: Incident, what: Attach, _policy: Policy, _now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    if incident.attached_to == what.to:
        return Signal.REPEATED
    return Signal.ATTACH if attachable(incident, what) else Signal.NOT_ATTACHABLE


def _detach_signal(incident: Incident, _what: Detach, _policy: Policy, _now: datetime) -> Signal:
    if incident.state not in _OPEN:
        return Signal.LATE
    return Signal.DETACH if incident.attached_to else Signal.REPEATED


def _silence_signal(
    _incident: Incident, _what: Silence | ExtendSilence | EndSilence, _policy: Policy, _now: datetime
) -> Signal:
    return Signal.SILENCE


def _note_signal(_incident: Incident, _what: Note, _policy: Policy, _now: datetime) -> Signal:
    return Signal.NOTE


def _resolve_signal(incident: Incident, what: Resolve, _policy: Policy, _now: datetime) -> Signal:
    if incident.state is not State.RESOLVED and _fires_more(incident, what):
        return Signal.UNCONFIRMED
    return Signal.RESOLVE


def _fires_more(incident: Incident, seen: Resolve) -> bool:
    """Say whether more fires than whoever resolves it has seen: as many alerts need not be the same ones."""
    if seen.firing is None or not incident.firing_count:
        return False
    return incident.firing_count > seen.firing or (seen.begun is not None and incident.begun > seen.begun)


def _undo_signal(incident: Incident, what: UndoResolve, _policy: Policy, now: datetime) -> Signal:
    if incident.state is not State.RESOLVED:
        return Signal.UNDO
    if not can_undo(incident, now, what.resolved_at):
        return Signal.UNDO_LATE
    if has_ended(incident):
        return Signal.UNDO_ENDED
    return Signal.UNDO_OWNED if incident.acknowledged_at is not None else Signal.UNDO


_ANSWERS: dict[type, Callable[[Incident, Any, Policy, datetime], Signal]] = {
    Acknowledge: _acknowledge_signal,
    Resolve: _resolve_signal,
    UndoResolve: _undo_signal,
    Unacknowledge: _unacknowledge_signal,
    Snooze: _snooze_signal,
    TakeOver: _take_over_signal,
    HandOver: _hand_over_signal,
    EscalateNow: _escalate_signal,
    Note: _note_signal,
    Silence: _silence_signal,
    ExtendSilence: _silence_signal,
    EndSilence: _silence_signal,
    Attach: _attach_signal,
    Detach: _detach_signal,
    Raise: _raise_signal,
}
