"""Stops an incident's clocks while it is silenced or under maintenance, and starts them again. Pure.

Alertmanager filters silenced alerts before it decides what to send, so a silence made in mid-incident makes it go
mute and never send the resolve (github.com/prometheus/alertmanager/issues/226): what is silenced is learnt from its
API, and an escalation that went on would page a CTO about an alert that the engineer has silenced.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.escalation import gap, start, tell
from receiver.incident.event import Event, Paused
from receiver.incident.group import maintenance, priority
from receiver.incident.model import Data, Decision, EntryKind, Kind, Pause, PauseKind, Reason, State
from receiver.incident.policy import Policy


def pause(so_far: Decision, event: Paused, _policy: Policy, now: datetime) -> Decision:
    """Stop the clocks, and tell those who were told."""
    current, why = so_far.incident.paused, event.pause
    if current is not None:
        if current.kind is PauseKind.MAINTENANCE and _ends_later(current, why):
            return so_far
        return so_far.change(paused=replace(why, since=current.since))
    so_far = so_far.change(paused=replace(why, since=now)).note(now, EntryKind.PAUSED, pause=why)
    return tell(so_far, Kind.UPDATE, Reason.PAUSED, Data(pause=why))


def _ends_later(one: Pause, other: Pause) -> bool:
    return one.until is not None and other.until is not None and one.until >= other.until


def resume(so_far: Decision, _event: Event, policy: Policy, now: datetime) -> Decision:
    """Start the clocks where they stood; the next step comes no sooner than a dwell, for the news must be read.

    They stand still on if a maintenance window covers everything that fires: another one, or one beside a silence.
    """
    incident = so_far.incident
    paused, clocks = incident.paused, incident.clocks
    if paused is None:
        return so_far
    window = maintenance(incident, policy, now)
    if window is not None:
        return so_far.change(paused=replace(window, since=paused.since))
    away = now - (paused.since or now)
    over = Pause(paused.kind, paused.name)
    so_far = so_far.change(paused=None).note(now, EntryKind.RESUMED, pause=over)
    if incident.delivery.rounds == 0 and incident.state is State.TRIGGERED:
        # Nobody has heard of it yet: the plan begins now, as urgent as what fires by now.
        most = priority(incident, policy) if incident.firing else incident.priority
        urgency = most if most.more_urgent_than(incident.priority) else incident.priority
        return start(so_far, urgency, policy, now, Reason.OPENED)
    so_far = so_far.change(clocks=clocks.shifted(away))
    if clocks.next_due_at is not None:
        more = incident.next_step < len(incident.plan.steps)
        wait = gap(incident.plan, incident.next_step, policy.dwell) if more else timedelta(seconds=policy.dwell)
        so_far = so_far.set_clocks(next_due_at=max(clocks.next_due_at + away, now + wait))
    return tell(so_far, Kind.UPDATE, Reason.RESUMED, Data(pause=over))
