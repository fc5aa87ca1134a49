"""Stops an incident's clocks while it is silenced or under maintenance, and starts them again. Pure.

Alertmanager filters silenced alerts before it decides what to send, so a silence made in mid-incident makes it go
mute and never send the resolve (github.com/prometheus/alertmanager/issues/226): what is silenced is learnt from its
API, and an escalation that went on would page a CTO about an alert that the engineer has silenced.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.escalation import gap
from receiver.incident.model import Incident, Kind, Pause
from receiver.incident.paging import Outcome, noted, start, tell
from receiver.incident.policy import Policy
from receiver.incident.state import State


def pause(incident: Incident, why: Pause, now: datetime) -> Outcome:
    """Stop the clocks, and tell those who were told."""
    current = incident.paused
    if current is not None:
        same = replace(why, since=current.since)
        return (incident, ()) if same == current else (replace(incident, paused=same), ())
    incident = noted(replace(incident, paused=replace(why, since=now)), now, "paused", f"paused by {why.spoken}")
    return tell(incident, Kind.UPDATE, f"Paused by {why.spoken}")


def resume(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    """Start the clocks where they stood; the next step comes no sooner than a dwell, for the news must be read."""
    paused = incident.paused
    if paused is None:
        return incident, ()
    away = now - (paused.since or now)
    incident = replace(incident, paused=None, paused_for=incident.paused_for + away.total_seconds())
    incident = noted(incident, now, "resumed", f"the {paused.kind} {paused.name} is over and it still fires")
    if incident.rounds == 0 and incident.state is State.TRIGGERED:
        return start(incident, incident.priority, policy, now)  # nobody has heard of it yet: the row begins now
    if incident.next_due_at is not None:
        more = incident.next_step < len(incident.steps)
        wait = gap(incident.steps, incident.next_step, policy.dwell) if more else timedelta(seconds=policy.dwell)
        incident = replace(incident, next_due_at=max(incident.next_due_at + away, now + wait))
    incident = replace(
        incident,
        clock_started_at=_later(incident.clock_started_at, away),
        warn_due_at=_later(incident.warn_due_at, away),
        answer_due_at=_later(incident.answer_due_at, away),
        remind_due_at=_later(incident.remind_due_at, away),
        acknowledged_until=_later(incident.acknowledged_until, away),
    )
    return tell(incident, Kind.UPDATE, f"No longer paused: the {paused.kind} {paused.name} is over and it still fires")


def _later(when: datetime | None, by: timedelta) -> datetime | None:
    return when + by if when is not None else None
