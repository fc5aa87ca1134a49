"""Reopens an incident that fires again soon after it was over, and calls one that does so too often flapping. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.escalation import Priority
from receiver.incident.model import Incident
from receiver.incident.paging import Outcome, noted, start
from receiver.incident.policy import Policy

HOUR = timedelta(hours=1)
TOO_OFTEN = 3  # reopenings within an hour


def reopens(incident: Incident, policy: Policy, now: datetime) -> bool:
    """Say whether news of this trouble belongs to an incident that was over, rather than to a new one."""
    over = incident.resolved_at
    return over is not None and now - over <= timedelta(seconds=policy.flap_window)


def reopen(incident: Incident, priority: Priority, policy: Policy, now: datetime) -> Outcome:
    """Open it again at the step that was answered, else at the first one: never at the CTO because time has passed."""
    answered = incident.acknowledged_at is not None and priority is incident.priority
    step = max(incident.next_step - 1, 0) if answered else 0
    again = (*(at for at in incident.reopened if now - at < HOUR), now)
    flaps = len(again) >= TOO_OFTEN
    text = f"it fires again: reopened, {len(again)} time{'s' if len(again) > 1 else ''} within the hour"
    incident = noted(incident, now, "reopened", text)
    if flaps and not incident.flapping:
        quiet = f"{policy.flap_quiet / 60:g} minutes"
        text = f"it is flapping: from now on it stays open until it has been quiet for {quiet}"
        incident = noted(incident, now, "flapping", text)
    incident = replace(
        incident,
        alerts={fingerprint: alert for fingerprint, alert in incident.alerts.items() if alert.firing},
        reopened=again,
        flapping=flaps,
        resolved_at=None,
        resolved_by="",
    )
    return start(incident, priority, policy, now, step=step)


def quiet(incident: Incident, policy: Policy, now: datetime) -> Incident:
    """Nothing fires in an incident that flaps: its clocks stand still until it has been quiet for long enough."""
    if incident.quiet_until is not None:
        return incident
    return replace(incident, quiet_until=now + timedelta(seconds=policy.flap_quiet))


def loud(incident: Incident, now: datetime) -> Incident:
    """It fires again before it was quiet for long enough: the clocks go on, and nothing counts as late for it."""
    if incident.quiet_until is None:
        return incident
    return replace(
        incident,
        quiet_until=None,
        next_due_at=max(incident.next_due_at, now) if incident.next_due_at else None,
        warn_due_at=max(incident.warn_due_at, now) if incident.warn_due_at else None,
        answer_due_at=max(incident.answer_due_at, now) if incident.answer_due_at else None,
    )
