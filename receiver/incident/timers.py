"""Says what happens when one of an incident's clocks runs to its time. Pure.

The clocks: the next step of the matrix, the warning before the response time is over, its breach, the reminder
before an acknowledgement runs out, its end, the end of a pause, and the quiet after which flapping is believed over.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.escalation import NOTHING, page_person, repeat, take_step, tell, tell_people, without_owner
from receiver.incident.event import TimeDue
from receiver.incident.model import Clocks, Data, Decision, EntryKind, Incident, Kind, Pause, Plan, Reason, State, Undo
from receiver.incident.pause import stands_still
from receiver.incident.policy import Policy
from receiver.incident.timetable import within

NEEDED_AGAIN = timedelta(days=1)
DRILL_LASTS = timedelta(hours=1)  # that a person has sent to themselves
_REMIND_AT = 0.8  # of the time for which an acknowledgement holds


def acknowledged(clocks: Clocks, plan: Plan, now: datetime) -> Clocks:
    """Start the clocks of an acknowledgement, and stop those that waited for it."""
    until = now + timedelta(seconds=plan.acknowledge_for) if plan.acknowledge_for else None
    remind = now + timedelta(seconds=plan.acknowledge_for * _REMIND_AT) if until else None
    return replace(clocks.stopped(), quiet_until=clocks.quiet_until, acknowledged_until=until, remind_due_at=remind)


def tick(so_far: Decision, _event: TimeDue, policy: Policy, now: datetime) -> Decision:
    """Nobody has answered: say so when the time for it passes, and take the step that is due."""
    if stands_still(so_far.incident):
        return so_far
    told = _response(so_far, now)
    paged = _step(replace(told, notifications=()), policy, now)
    lanes = {notification.target.lane for notification in paged.notifications}
    news = (news for news in told.notifications if news.target.lane not in lanes)  # a page says it, too
    return replace(paged, notifications=(*news, *paged.notifications))


def remind(so_far: Decision, _event: TimeDue, _policy: Policy, now: datetime) -> Decision:
    """Ask the owner, before the acknowledgement runs out, whether they are still at it."""
    if stands_still(so_far.incident) or not _is_due(so_far.incident.clocks.remind_due_at, now):
        return so_far
    until = so_far.incident.clocks.acknowledged_until or now
    so_far = so_far.set_clocks(remind_due_at=None).note(now, EntryKind.REMINDED, due=until)
    return tell(so_far, Kind.REMINDER, Reason.EXPIRING, Data(due=until), person=so_far.incident.acknowledged_by)


def expire(so_far: Decision, _event: TimeDue, policy: Policy, now: datetime) -> Decision:
    """The acknowledgement has run out: the owner's own step is taken again, and the matrix goes on from it.

    After a snooze its owner is paged first, and the step is taken a dwell later.
    """
    incident = so_far.incident
    if incident.snoozed_until is None:
        so_far = at_owners_step(so_far.note(now, EntryKind.EXPIRED, incident.acknowledged_by), policy, now)
        return take_due(so_far, policy, now, Reason.EXPIRED)
    owner, owed = Data(person=incident.acknowledged_by), len(so_far.notifications)
    so_far = at_owners_step(so_far.note(now, EntryKind.SNOOZE_OVER, owner.person), policy, now)
    so_far = page_person(so_far, owner.person, policy, now, Reason.SNOOZE_OVER, owner)
    if len(so_far.notifications) == owed:
        return take_due(so_far, policy, now, Reason.SNOOZE_OVER)
    later = now + timedelta(seconds=policy.dwell)
    steps, step = so_far.incident.plan.steps, so_far.incident.next_step
    return so_far.set_clocks(next_due_at=within(steps[step], later, policy) if steps else None)


def at_owners_step(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Nobody has it any more: go back to the step that its owner had answered, which is due now."""
    incident = so_far.incident
    step, steps = _owners_step(incident), incident.plan.steps
    after = steps[step].after if steps else 0.0
    due = within(steps[step], now, policy) if steps else now
    clocks = Clocks(
        started_at=due - timedelta(seconds=after),
        next_due_at=due if steps else None,
        quiet_until=incident.clocks.quiet_until,
    )
    return without_owner(so_far.change(next_step=step, clocks=clocks))


def take_due(
    so_far: Decision, policy: Policy, now: datetime, reason: Reason, data: Data = NOTHING, *, without: str = ""
) -> Decision:
    """Take the next step if it is due and nothing stands still."""
    due = so_far.incident.clocks.next_due_at
    if due is None or due > now or stands_still(so_far.incident) or so_far.incident.held_at is not None:
        return so_far
    return take_step(so_far, policy, now, reason, data, without=without)


def unanswered(so_far: Decision, _event: TimeDue, policy: Policy, now: datetime) -> Decision:
    """Who was asked to take it over has not answered: both hear of it, and whoever had it has it."""
    asked, owner = so_far.incident.asked, so_far.incident.acknowledged_by
    if asked is None:
        return so_far
    so_far = so_far.change(asked=None).note(now, EntryKind.UNANSWERED, person=asked.person)
    people = tuple(dict.fromkeys(person for person in (asked.person, asked.by, owner) if person))
    return tell_people(so_far, Reason.UNANSWERED, Data(person=asked.person), people, policy, now)


def still_needed(so_far: Decision, _event: TimeDue, policy: Policy, now: datetime) -> Decision:
    """No alert ends what a person has raised: ask each day whether it is still needed."""
    incident = so_far.incident
    so_far = so_far.change(needed_at=now + NEEDED_AGAIN).note(now, EntryKind.STILL_NEEDED)
    people = tuple(dict.fromkeys(person for person in (incident.acknowledged_by or incident.raised_by,) if person))
    return tell_people(so_far, Reason.STILL_NEEDED, NOTHING, people, policy, now)


def _owners_step(incident: Incident) -> int:
    """Give the last step taken for a role that the owner was told in; the first one if they were never told."""
    roles = {target.role for target in incident.delivery.told if target.person == incident.acknowledged_by}
    taken = enumerate(incident.plan.steps[: incident.next_step])
    return max((index for index, step in taken if roles & set(step.roles)), default=0)


def clock_set(incident: Incident, by: timedelta, now: datetime) -> Decision:
    """Move what the incident waits for along with a clock that was set by ``by``: no time has passed.

    What it remembers stays as it was written, and the end of a pause is a time of the calendar. One that is over waits
    for nothing, but its resolve may be undone.
    """
    so_far = Decision(incident)
    if incident.state is State.RESOLVED:
        return so_far.change(undo=_moved_undo(incident, incident.undo, by)) if incident.undo is not None else so_far
    so_far = so_far.change(clock_moved=incident.clock_moved + by.total_seconds())
    if incident.wake_at is None and not stands_still(incident) and incident.held_at is None:
        return so_far
    asked = incident.asked
    so_far = so_far.change(
        clocks=_moved_clocks(incident, incident.clocks, by),
        paused=_moved_pause(incident.paused, by),
        held_at=_moved(incident.held_at, by),
        attached_at=_moved(incident.attached_at, by),
        before_answer=_moved_clocks(incident, incident.before_answer, by) if incident.before_answer else None,
        asked=replace(asked, until=asked.until + by) if asked is not None else None,
        needed_at=_moved(incident.needed_at, by),
    )
    so_far = so_far.set_delivery(
        paged_at=_moved(incident.delivery.paged_at, by), delivered_at=_moved(incident.delivery.delivered_at, by)
    )
    kind = EntryKind.CLOCK_FORWARD if by > timedelta(0) else EntryKind.CLOCK_BACK
    return so_far.note(now, kind, seconds=abs(by.total_seconds()))


def _moved(when: datetime | None, by: timedelta) -> datetime | None:
    return when + by if when is not None else None


def _moved_clocks(incident: Incident, clocks: Clocks, by: timedelta) -> Clocks:
    """Move them, but for the end of a snooze, which is a time of the calendar."""
    due, quiet = _moved(clocks.next_due_at, by), _moved(clocks.quiet_until, by)
    moved = replace(clocks.shifted(by), next_due_at=due, quiet_until=quiet)
    if incident.snoozed_until is None:
        return moved
    return replace(moved, acknowledged_until=clocks.acknowledged_until)


def _moved_pause(paused: Pause | None, by: timedelta) -> Pause | None:
    return replace(paused, since=_moved(paused.since, by)) if paused is not None else None


def _moved_undo(incident: Incident, undo: Undo | None, by: timedelta) -> Undo | None:
    if undo is None:
        return None
    return replace(
        undo,
        until=undo.until + by,
        clocks=_moved_clocks(incident, undo.clocks, by),
        paused=_moved_pause(undo.paused, by),
        held_at=_moved(undo.held_at, by),
    )


def _response(so_far: Decision, now: datetime) -> Decision:
    """The time within which somebody should answer: a warning before it is over, and the breach."""
    incident, clocks = so_far.incident, so_far.incident.clocks
    if _is_due(clocks.answer_due_at, now):
        passed = Data(seconds=incident.plan.response_time, priority=incident.priority)
        so_far = so_far.set_clocks(answer_due_at=None, warn_due_at=None).change(breached_at=now)
        so_far = so_far.note(now, EntryKind.BREACHED, seconds=passed.seconds, priority=passed.priority)
        return tell(so_far, Kind.REMINDER, Reason.BREACHED, passed)
    if _is_due(clocks.warn_due_at, now):
        due = clocks.answer_due_at or now
        so_far = so_far.set_clocks(warn_due_at=None).note(now, EntryKind.WARNED, due=due)
        return tell(so_far, Kind.REMINDER, Reason.WARNED, Data(due=due))
    return so_far


def _step(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    incident, delivery = so_far.incident, so_far.incident.delivery
    if not _is_due(incident.clocks.next_due_at, now):
        return so_far
    if incident.next_step >= len(incident.plan.steps):
        return repeat(so_far, policy, now)
    # After an outage of ours the page before may wait in the same queue: nobody is told over the head of somebody
    # who has not been told yet. In normal running a step never waits for a provider that is down.
    paged = delivery.paged_at if delivery.delivered_at is None else None
    hold = policy.running_since + timedelta(seconds=policy.dwell)
    if paged is not None and paged < policy.running_since and now < hold:
        due = within(incident.plan.steps[incident.next_step], hold, policy)
        return so_far.set_clocks(next_due_at=due).note(now, EntryKind.STEP_DELAYED)
    return take_step(so_far, policy, now)


def _is_due(when: datetime | None, now: datetime) -> bool:
    return when is not None and when <= now
