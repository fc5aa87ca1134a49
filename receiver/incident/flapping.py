"""Reopens an incident that fires again soon after it was over, and calls one that does so too often flapping. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.alerts import ALERTS, without
from receiver.incident.model import Decision, EntryKind, Incident
from receiver.incident.policy import Policy

HOUR = timedelta(hours=1)
TOO_OFTEN = 3  # reopenings within an hour


def reopens(incident: Incident, policy: Policy, now: datetime) -> bool:
    """Say whether news of this trouble belongs to an incident that was over, rather than to a new one."""
    over = incident.resolved_at
    return over is not None and now - over <= timedelta(seconds=policy.flap_window)


def still_owned(incident: Incident, now: datetime) -> bool:
    """Say whether an acknowledgement outlives the end of the alerts: they ended by themselves, and it has not run out.

    Whoever resolved it by hand has said that they are done with it.
    """
    until = incident.clocks.acknowledged_until
    return bool(incident.acknowledged_by) and incident.resolved_by == ALERTS and (until is None or until > now)


def reopen(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Open it again: what fires counts, and how often that has happened within the last hour."""
    incident = so_far.incident
    again = (*(at for at in incident.reopened if now - at < HOUR), now)
    flaps = len(again) >= TOO_OFTEN
    so_far = so_far.note(now, EntryKind.REOPENED, count=len(again))
    if flaps and not incident.flapping:
        so_far = so_far.note(now, EntryKind.FLAPPING, seconds=policy.flap_quiet)
    listed = without(incident, [name for name, alert in incident.alerts.items() if not alert.firing])
    so_far = replace(so_far, incident=listed)
    so_far = so_far.change(asked=None, before_answer=None, attached_at=now if incident.attached_to else None)
    return so_far.change(reopened=again, flapping=flaps, resolved_at=None, resolved_by="", undo=None, reported_at=None)


def quiet(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Nothing fires in an incident that flaps: its clocks stand still until it has been quiet for long enough."""
    if so_far.incident.clocks.quiet_until is not None:
        return so_far
    return so_far.set_clocks(quiet_until=now + timedelta(seconds=policy.flap_quiet))
