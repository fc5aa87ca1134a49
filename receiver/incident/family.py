"""Lets one incident speak for others: attaches, detaches, and says what a change of one means for the other. Pure.

An incident that is attached stands still and pages nobody by time. One that becomes more urgent raises its parent, so
that no P1 is hidden. Attachments are one deep: what is attached to an incident that is attached moves along.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.alerts import ALERTS
from receiver.incident.escalation import replan, start, tell, tell_people
from receiver.incident.event import (
    Acknowledge,
    Adopted,
    Attach,
    Detach,
    Event,
    ParentEnded,
    ParentMoved,
    Resolve,
    Snooze,
    TakeOver,
    UndoResolve,
)
from receiver.incident.model import Data, Decision, EntryKind, Incident, Kind, Priority, Reason, State
from receiver.incident.pause import catch_up, detach
from receiver.incident.policy import Policy
from receiver.incident.timetable import begin, within

MOST_ATTACHED = 200  # to one incident: all of them change in one transaction
_SHARED = (Acknowledge, TakeOver, Snooze, Resolve, UndoResolve)  # of these, the parent's are the children's


def attachable(incident: Incident, event: Attach) -> bool:
    """Say whether the other incident can speak for this one."""
    parent = event.parent
    if parent is None or parent.id == incident.id or parent.attached_to or event.siblings >= MOST_ATTACHED:
        return False
    if parent.state not in {State.TRIGGERED, State.ACKNOWLEDGED}:
        return False
    return incident.drill or not parent.drill  # nobody hears of an exercise as of the real thing


def attach(so_far: Decision, event: Attach, _policy: Policy, now: datetime) -> Decision:
    """Its clocks stand still from now on; whoever was told hears which incident to look at."""
    since = so_far.incident.attached_at if so_far.incident.attached_to else None
    so_far = so_far.change(attached_to=event.to, attached_at=since or now, asked=None)
    so_far = so_far.note(now, EntryKind.ATTACHED, event.actor, origin=event.origin, incident=event.to)
    kind = Kind.ACKNOWLEDGED if so_far.incident.state is State.TRIGGERED else Kind.UPDATE
    return tell(so_far, kind, Reason.ATTACHED, Data(incident=event.to, person=event.actor))


def set_free(so_far: Decision, event: Detach, policy: Policy, now: datetime) -> Decision:
    """Its clocks go on where they stood, and page nobody before a dwell."""
    parent = so_far.incident.attached_to
    so_far = so_far.note(now, EntryKind.DETACHED, event.actor, origin=event.origin, incident=parent)
    return detach(so_far, policy, now)


def parent_ended(so_far: Decision, event: ParentEnded, policy: Policy, now: datetime) -> Decision:
    """It fires on though the other is over: its row begins anew after a dwell, or its owner hears of it."""
    if so_far.incident.attached_to != event.parent:
        return so_far
    if so_far.incident.state is State.RESOLVED:
        return so_far.change(attached_to=0, attached_at=None)
    so_far = detach(so_far.note(now, EntryKind.PARENT_ENDED, incident=event.parent), policy, now)
    incident, owner = so_far.incident, so_far.incident.acknowledged_by
    if incident.state is State.ACKNOWLEDGED:
        return tell_people(so_far, Reason.PARENT_ENDED, Data(incident=event.parent), (owner,), policy, now)
    so_far = catch_up(so_far, policy, now)
    plan, clocks = begin(policy.plan(incident.priority, incident.team), now, policy)
    if clocks.next_due_at is not None:
        later = within(plan.steps[0], now + timedelta(seconds=policy.dwell), policy)
        clocks = replace(clocks, next_due_at=max(clocks.next_due_at, later))
    return so_far.change(plan=plan, next_step=0, clocks=replace(clocks, quiet_until=incident.clocks.quiet_until))


def parent_moved(so_far: Decision, event: ParentMoved, _policy: Policy, now: datetime) -> Decision:
    """Another incident speaks for it from now on; nobody need be told, for the first one's people have done so."""
    so_far = so_far.change(attached_to=event.to)
    return so_far.note(now, EntryKind.ATTACHED, event.actor, origin=event.origin, incident=event.to)


def adopt(so_far: Decision, event: Adopted, policy: Policy, now: datetime) -> Decision:
    """Speak for another incident, and be as urgent as that."""
    if event.newly:
        so_far = so_far.note(now, EntryKind.ADOPTED, incident=event.child, title=event.title)
    return raise_to(so_far, event.priority, policy, now)


def raise_to(so_far: Decision, priority: Priority, policy: Policy, now: datetime) -> Decision:
    """Make it more urgent: a P1 begins anew, for whoever has taken it has not said that they can carry that."""
    was, owner = so_far.incident.priority, so_far.incident.acknowledged_by
    if not priority.more_urgent_than(was):
        return so_far
    so_far = so_far.note(now, EntryKind.PRIORITY_RAISED, before=was, priority=priority)
    if priority is Priority.P1:
        return start(so_far, priority, policy, now, Reason.PRIORITY_RAISED)
    so_far = replan(so_far, priority, policy, now)
    raised = Data(before=was, priority=priority)
    return tell(so_far, Kind.UPDATE, Reason.PRIORITY_RAISED, raised, person=owner) if owner else so_far


def send_away(so_far: Decision, _event: Adopted, _policy: Policy, _now: datetime) -> Decision:
    """What is over speaks for nobody: see ``follow_ups``."""
    return so_far


def follow_ups(before: Incident, after: Incident, event: object) -> list[tuple[int, Event]]:
    """Say which events a change means for other incidents, by their numbers; 0 is all that are attached to this one."""
    owed = list[tuple[int, Event]]()
    if isinstance(event, Adopted) and after.state is State.RESOLVED:
        return [(event.child, ParentEnded(after.id))]
    if isinstance(event, Attach) and after.attached_to != before.attached_to:
        return [
            (0, ParentMoved(event.to, event.actor, event.origin)),
            (event.to, Adopted(after.id, after.priority, after.title, newly=True)),
        ]
    if after.attached_to and _needs_its_parent(before, after):
        owed.append((after.attached_to, Adopted(after.id, after.priority)))
    if isinstance(event, _SHARED) and _is_taken(before, after):
        owed.append((0, _as_its_own(event, before)))
    elif after.state is State.RESOLVED and before.state is not State.RESOLVED and after.resolved_by == ALERTS:
        owed.append((0, ParentEnded(after.id)))
    return owed


def _needs_its_parent(before: Incident, after: Incident) -> bool:
    if after.state is State.RESOLVED:
        return False
    return after.priority.more_urgent_than(before.priority) or before.state is State.RESOLVED


def _is_taken(before: Incident, after: Incident) -> bool:
    one = (before.state, before.acknowledged_by, before.acknowledged_at, before.snoozed_until)
    return one != (after.state, after.acknowledged_by, after.acknowledged_at, after.snoozed_until)


def _as_its_own(event: Acknowledge | TakeOver | Snooze | Resolve | UndoResolve, before: Incident) -> Event:
    """Leave out what the person has seen, which was the parent's."""
    if isinstance(event, Resolve):
        return Resolve(event.actor, event.origin)
    if isinstance(event, UndoResolve):
        return UndoResolve(event.actor, event.origin, resolved_at=before.resolved_at)
    return replace(event, seen=None)
