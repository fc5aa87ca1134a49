"""Says what a silence that a person makes in Alertmanager from an incident does to it, and what its end does. Pure."""

from datetime import datetime

from receiver.incident.escalation import tell_people
from receiver.incident.event import EndSilence, ExtendSilence, Paused, Silence, SilenceOver
from receiver.incident.model import Data, Decision, EntryKind, Pause, PauseKind, Reason, State
from receiver.incident.pause import pause
from receiver.incident.policy import Policy

_NAME = 8  # characters of an id that people tell silences apart by; the reconciler names them alike


def silence(so_far: Decision, event: Silence | ExtendSilence | EndSilence, policy: Policy, now: datetime) -> Decision:
    """Write it down. If it covers all that fires, nothing more will be heard of it: the clocks stand still at once."""
    if isinstance(event, EndSilence):
        kind = EntryKind.SILENCE_ENDED
        return so_far.note(now, kind, event.actor, origin=event.origin, silence=event.silence)
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
    if not isinstance(event, Silence) or so_far.incident.state is State.RESOLVED:
        return so_far
    firing = {alert.fingerprint for alert in so_far.incident.firing}
    if not firing or len(firing & event.muted) < so_far.incident.firing_count:
        return so_far
    why = Pause(PauseKind.SILENCE, event.silence[:_NAME], event.actor, event.until, comment=event.comment)
    return pause(so_far, Paused(why), policy, now)


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
