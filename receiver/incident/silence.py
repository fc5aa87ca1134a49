"""Says what a silence that a person makes in Alertmanager from an incident does to it, and what its end does. Pure."""

from datetime import datetime

from receiver.incident.escalation import tell_people
from receiver.incident.event import EndSilence, ExtendSilence, Paused, Silence, SilenceOver, Unmuted
from receiver.incident.model import Data, Decision, EntryKind, Pause, PauseKind, Reason, State
from receiver.incident.pause import pause, resume
from receiver.incident.policy import Policy

_NAME = 8  # characters of an id that people tell silences apart by; the reconciler names them alike


def silence(so_far: Decision, event: Silence | ExtendSilence | EndSilence, policy: Policy, now: datetime) -> Decision:
    """Write it down. If it covers all that fires, nothing more will be heard of it: the clocks stand still at once.

    They go on at once if some of what fires is not muted any more.
    """
    if isinstance(event, EndSilence):
        kind = EntryKind.SILENCE_ENDED
        so_far = so_far.note(now, kind, event.actor, origin=event.origin, silence=event.silence)
        return _unmuted(so_far, event, event.unmuted, policy, now)
    made = isinstance(event, Silence)
    so_far = so_far.note(
        now,
        EntryKind.SILENCED if made else EntryKind.SILENCE_EXTENDED,
        event.actor,
        origin=event.origin,
        silence=event.silence,
        named="" if isinstance(event, Silence) else event.before,
        due=event.until,
        text=event.matchers,
    )
    if not isinstance(event, Silence):
        return _unmuted(so_far, event, event.unmuted, policy, now)
    if so_far.incident.state is State.RESOLVED:
        return so_far
    firing = {alert.fingerprint for alert in so_far.incident.firing}
    if not firing or len(firing & event.muted) < so_far.incident.firing_count:
        return so_far
    why = Pause(PauseKind.SILENCE, event.silence[:_NAME], event.actor, event.until, comment=event.comment)
    return pause(so_far, Paused(why), policy, now)


def _unmuted(
    so_far: Decision, event: ExtendSilence | EndSilence, unmuted: Unmuted | None, policy: Policy, now: datetime
) -> Decision:
    """Start the clocks, unless a window covers what is no longer muted, or the pause has changed meanwhile."""
    incident = so_far.incident
    if unmuted is None or incident.paused != unmuted.paused or incident.state is State.RESOLVED:
        return so_far
    freed = (alert for alert in incident.firing if alert.fingerprint in unmuted.alerts)
    heard = any(policy.maintenance(alert.labels, now) is None for alert in freed)
    return resume(so_far, event, policy, now) if heard else so_far


def silence_over(so_far: Decision, event: SilenceOver, policy: Policy, now: datetime) -> Decision:
    """Tell who has the incident, and who made the silence, if what it covered fires on."""
    incident = so_far.incident
    count = sum(alert.fingerprint in event.matched for alert in incident.firing)
    if not count:
        return so_far
    so_far = so_far.note(
        now,
        EntryKind.SILENCE_OVER,
        silence=event.silence,
        person=event.made_by,
        text=event.matchers,
        count=count,
    )
    people = tuple(dict.fromkeys(one for one in (incident.acknowledged_by, event.made_by) if one))
    about = Data(person=event.made_by, text=event.matchers, count=count)
    return tell_people(so_far, Reason.SILENCE_OVER, about, people, policy, now)
