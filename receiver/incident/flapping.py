"""Reopens an incident that fires again soon after it was over, and calls one that does so too often flapping. Pure."""

from datetime import datetime, timedelta

from receiver.incident.escalation import start
from receiver.incident.model import Decision, EntryKind, Incident, Priority, Reason
from receiver.incident.policy import Policy

HOUR = timedelta(hours=1)
TOO_OFTEN = 3  # reopenings within an hour


def reopens(incident: Incident, policy: Policy, now: datetime) -> bool:
    """Say whether news of this trouble belongs to an incident that was over, rather than to a new one."""
    over = incident.resolved_at
    return over is not None and now - over <= timedelta(seconds=policy.flap_window)


def reopen(so_far: Decision, priority: Priority, policy: Policy, now: datetime) -> Decision:
    """Open it again at the step that was answered, else at the first one: never at the CTO because time has passed."""
    incident = so_far.incident
    answered = incident.acknowledged_at is not None and priority is incident.priority
    step = max(incident.next_step - 1, 0) if answered else 0
    again = (*(at for at in incident.reopened if now - at < HOUR), now)
    flaps = len(again) >= TOO_OFTEN
    so_far = so_far.note(now, EntryKind.REOPENED, count=len(again))
    if flaps and not incident.flapping:
        so_far = so_far.note(now, EntryKind.FLAPPING, seconds=policy.flap_quiet)
    so_far = so_far.change(
        alerts={fingerprint: alert for fingerprint, alert in incident.alerts.items() if alert.firing},
        reopened=again,
        flapping=flaps,
        resolved_at=None,
        resolved_by="",
    )
    return start(so_far, priority, policy, now, Reason.REOPENED, step=step)


def quiet(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Nothing fires in an incident that flaps: its clocks stand still until it has been quiet for long enough."""
    if so_far.incident.clocks.quiet_until is not None:
        return so_far
    return so_far.set_clocks(quiet_until=now + timedelta(seconds=policy.flap_quiet))
