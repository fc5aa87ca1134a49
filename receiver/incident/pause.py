"""Stops an incident's clocks while it is silenced or under maintenance, and starts them again. Pure.

Alertmanager filters silenced alerts before it decides what to send, so a silence made in mid-incident makes it go
mute and never send the resolve (github.com/prometheus/alertmanager/issues/226): what is silenced is learnt from its
API, and an escalation that went on would page a CTO about an alert that the engineer has silenced.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.escalation import gap, start, tell
from receiver.incident.event import Event, Paused, Unproved
from receiver.incident.group import maintenance, priority
from receiver.incident.model import Clocks, Data, Decision, EntryKind, Incident, Kind, Pause, PauseKind, Reason, State
from receiver.incident.policy import Policy
from receiver.incident.timetable import shifted, upcoming, within


def pause(so_far: Decision, event: Paused, _policy: Policy, now: datetime) -> Decision:
    """Stop the clocks, and tell those who were told."""
    current, why = so_far.incident.paused, event.pause
    if current is not None:
        if current.kind is PauseKind.MAINTENANCE and _ends_later(current, why):
            return so_far
        return so_far.change(paused=replace(why, since=current.since))
    since = _begun(so_far.incident, event.since, now)
    so_far = so_far.change(paused=replace(why, since=since)).note(now, EntryKind.PAUSED, pause=why)
    return tell(so_far, Kind.UPDATE, Reason.PAUSED, Data(pause=why))


def _begun(incident: Incident, since: datetime | None, now: datetime) -> datetime:
    """Say from when on its clocks stand still: what has begun, or been said, since then began in the pause."""
    if since is None:
        return now
    clocks, delivery = incident.clocks, incident.delivery
    anew = (incident.opened_at, clocks.started_at, incident.acknowledged_at, delivery.paged_at, delivery.delivered_at)
    return min(now, max(since, *(at for at in anew if at is not None)))


def _ends_later(one: Pause, other: Pause) -> bool:
    return one.until is not None and other.until is not None and one.until >= other.until


def release(so_far: Decision, now: datetime) -> Decision:
    """It fires on, so its resolve was none: start the clocks that stood still since; a pause moves its own."""
    incident = so_far.incident
    since, until = incident.held_at, _until(incident, incident.paused.since if incident.paused else None, now)
    so_far = so_far.change(held=False, held_at=None)
    if since is None or until <= since:
        return so_far
    clocks = _on_the_calendar(incident, incident.clocks.shifted(until - since), until)
    due = clocks.next_due_at
    return so_far.change(clocks=replace(clocks, next_due_at=due + (until - since) if due is not None else None))


def go_on(so_far: Decision, _event: Unproved, _policy: Policy, now: datetime) -> Decision:
    """Nobody knows whether it is over, so people must look: its clocks go on, and a proof still ends it."""
    if so_far.incident.held_at is None:
        return so_far
    return release(so_far, now).change(held=True).note(now, EntryKind.UNPROVED)


def end_quiet(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """It fires again: the clocks that stood still in the quiet go on where they stood; a pause moves its own."""
    incident = so_far.incident
    quiet_until, paused = incident.clocks.quiet_until, incident.paused
    if quiet_until is None:
        return so_far
    so_far = so_far.set_clocks(quiet_until=None)
    since = _quiet_since(incident, policy) or now
    until = _until(incident, paused.since if paused else None, now)
    return _go_on(so_far, since, policy, until) if until > since else so_far


def _quiet_since(incident: Incident, policy: Policy) -> datetime | None:
    until = incident.clocks.quiet_until
    return until - timedelta(seconds=policy.flap_quiet) if until is not None else None


def resume(so_far: Decision, _event: Event, policy: Policy, now: datetime) -> Decision:
    """Start the clocks where they stood; the next step comes no sooner than a dwell, for the news must be read.

    They stand still on if a maintenance window covers everything that fires: another one, or one beside a silence.
    """
    incident = so_far.incident
    paused = incident.paused
    if paused is None:
        return so_far
    window = maintenance(incident, policy, now)
    if window is not None:
        return so_far.change(paused=replace(window, since=paused.since))
    over = Pause(paused.kind, paused.name)
    so_far = so_far.change(paused=None).note(now, EntryKind.RESUMED, pause=over)
    if incident.delivery.rounds == 0 and incident.state is State.TRIGGERED:
        # Nobody has heard of it yet: the plan begins now, as urgent as what fires by now.
        most = priority(incident, policy) if incident.firing else incident.priority
        urgency = most if most.more_urgent_than(incident.priority) else incident.priority
        return start(so_far, urgency, policy, now, Reason.OPENED)
    since, until = paused.since or now, _until(incident, None, now)
    so_far = _go_on(so_far, since, policy, until) if until > since else so_far
    return tell(so_far, Kind.UPDATE, Reason.RESUMED, Data(pause=over))


def detach(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """It speaks for itself again: start the clocks where they stood, and page nobody before a dwell."""
    incident = so_far.incident
    since, paused = incident.attached_at or now, incident.paused
    others = (paused.since if paused else None, incident.held_at, _quiet_since(incident, policy))
    until = min((*(at for at in others if at is not None), now))  # they move the clocks from there on
    so_far = so_far.change(attached_to=0, attached_at=None)
    so_far = _go_on(so_far, since, policy, max(since, until))
    due, earliest = so_far.incident.clocks.next_due_at, now + timedelta(seconds=policy.dwell)
    if due is None or due >= earliest or incident.state is not State.TRIGGERED:
        return so_far
    steps, index = incident.plan.steps, incident.next_step
    step = steps[min(index, len(steps) - 1)] if steps else None
    return so_far.set_clocks(next_due_at=within(step, earliest, policy) if step else earliest)


def catch_up(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Move the clocks on by what they have stood still until now: a person takes a step meanwhile."""
    incident = so_far.incident
    paused, held, attached = incident.paused, incident.held_at, incident.attached_at
    sinces = [at for at in (paused.since if paused else None, held, attached) if at is not None]
    if not sinces or min(sinces) >= now:
        return so_far
    so_far = _go_on(so_far, min(sinces), policy, now)
    return so_far.change(
        paused=replace(paused, since=now) if paused else None,
        held_at=now if held is not None else None,
        attached_at=now if attached is not None else None,
    )


def stands_still(incident: Incident) -> bool:
    """Say whether nothing of it is due: it is paused, quiet while it flaps, or attached."""
    return incident.paused is not None or bool(incident.attached_to) or incident.clocks.quiet_until is not None


def _until(incident: Incident, other: datetime | None, now: datetime) -> datetime:
    """Say until when what has ended moves the clocks: what else they stand still for moves them from its own begin."""
    return min(at for at in (other, incident.attached_at if incident.attached_to else None, now) if at is not None)


def _on_the_calendar(incident: Incident, clocks: Clocks, earliest: datetime) -> Clocks:
    """Leave the end of a snooze where it is, or give it at least until ``earliest``: it is a time of the calendar."""
    if incident.snoozed_until is None or clocks.acknowledged_until is None:
        return clocks
    return replace(clocks, acknowledged_until=max(incident.snoozed_until, earliest))


def _go_on(so_far: Decision, since: datetime, policy: Policy, now: datetime) -> Decision:
    """Move the clocks on by the pause; those that count in the hours of a step, by what of it lay in them."""
    incident, before = so_far.incident, so_far.incident.clocks
    moved = _on_the_calendar(incident, before.shifted(now - since), now + timedelta(seconds=policy.dwell))
    so_far = so_far.change(clocks=moved, before_answer=None)
    plan, index = incident.plan, incident.next_step
    if plan.steps and plan.steps[0].hours:
        first = plan.steps[0]
        so_far = so_far.set_clocks(
            warn_due_at=shifted(first, before.warn_due_at, since, now, policy) if before.warn_due_at else None,
            answer_due_at=shifted(first, before.answer_due_at, since, now, policy) if before.answer_due_at else None,
        )
    if before.next_due_at is None:
        return so_far
    if index >= len(plan.steps):
        due = max(before.next_due_at + (now - since), now + timedelta(seconds=policy.dwell))
        return so_far.set_clocks(next_due_at=within(plan.steps[-1], due, policy) if plan.steps else due)
    step, due = plan.steps[index], before.next_due_at + (now - since)
    if step.hours:
        started = shifted(step, before.started_at or now, since, now, policy)
        plan, counted = upcoming(plan, index, started, policy)
        due, so_far = counted or due, so_far.set_clocks(started_at=started).change(plan=plan)
    due = max(due, now + gap(plan, index, policy.dwell))
    return so_far.set_clocks(next_due_at=within(plan.steps[index], due, policy))
