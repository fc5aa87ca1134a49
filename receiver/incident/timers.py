"""Says what happens when one of an incident's clocks runs to its time. Pure.

The clocks: the next step of the matrix, the warning before the response time is over, its breach, the reminder
before an acknowledgement runs out, its end, the end of a pause, and the quiet after which flapping is believed over.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.model import Incident, Kind
from receiver.incident.paging import Outcome, noted, repeat, take_step, tell
from receiver.incident.policy import Policy
from receiver.incident.state import Signal, State

_REMIND_AT = 0.8  # of the time for which an acknowledgement holds


def time_signal(incident: Incident, now: datetime) -> Signal:
    """Say what the time means for the state."""
    if incident.state is State.RESOLVED:
        return Signal.TIME
    if incident.quiet_until is not None:
        return Signal.CLEAR if incident.quiet_until <= now else Signal.TIME
    if incident.paused is not None:
        over = incident.paused.until is not None and incident.paused.until <= now
        return Signal.RESUME if over else Signal.TIME
    over = incident.acknowledged_until is not None and incident.acknowledged_until <= now
    return Signal.EXPIRE if incident.state is State.ACKNOWLEDGED and over else Signal.TIME


def acknowledged(incident: Incident, now: datetime) -> Incident:
    """Start the clocks of an acknowledgement, and stop those that waited for it."""
    until = now + timedelta(seconds=incident.acknowledge_for) if incident.acknowledge_for else None
    remind = now + timedelta(seconds=incident.acknowledge_for * _REMIND_AT) if until else None
    return replace(
        incident,
        acknowledged_until=until,
        remind_due_at=remind,
        next_due_at=None,
        warn_due_at=None,
        answer_due_at=None,
        grown=False,
    )


def stopped(incident: Incident) -> Incident:
    """Stop every clock."""
    return replace(
        incident,
        next_due_at=None,
        warn_due_at=None,
        answer_due_at=None,
        remind_due_at=None,
        acknowledged_until=None,
        quiet_until=None,
        paused=None,
        held=False,
    )


def tick(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    """Do what is due; nothing runs in an incident that is paused, or quiet while it flaps."""
    if incident.paused is not None or incident.quiet_until is not None:
        return incident, ()
    if incident.state is State.ACKNOWLEDGED:
        return _remind(incident, now) if _is_due(incident.remind_due_at, now) else (incident, ())
    if incident.state is not State.TRIGGERED:
        return incident, ()
    incident, told = _response(incident, now)
    incident, paged = _step(incident, policy, now)
    lanes = {notification.target.lane for notification in paged}  # a page says that the time has passed, too
    return incident, (*(news for news in told if news.target.lane not in lanes), *paged)


def expire(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    """The acknowledgement has run out: the step that was answered is taken again, and the matrix goes on from it."""
    who = incident.acknowledged_by
    text = f"{who}'s acknowledgement has run out without news: the incident is open again"
    step = max(incident.next_step - 1, 0)
    after = incident.steps[step].after if incident.steps else 0.0
    incident = replace(
        noted(incident, now, "expired", text),
        clock_started_at=now - timedelta(seconds=after),
        next_step=step,
        next_due_at=now,
        acknowledged_at=None,
        acknowledged_by="",
        acknowledged_until=None,
        remind_due_at=None,
    )
    return take_step(incident, policy, now)


def _response(incident: Incident, now: datetime) -> Outcome:
    """The time within which somebody should answer: a warning before it is over, and the breach."""
    if _is_due(incident.answer_due_at, now):
        text = f"Nobody has answered within the {_words(incident.response_time)} of a {incident.priority}"
        incident = replace(incident, answer_due_at=None, warn_due_at=None, breached_at=now)
        return tell(noted(incident, now, "breached", text[0].lower() + text[1:]), Kind.REMINDER, text)
    if _is_due(incident.warn_due_at, now):
        due, incident = incident.answer_due_at or now, replace(incident, warn_due_at=None)
        text = f"Still no answer: the response time is over at {due:%H:%M} UTC"
        return tell(noted(incident, now, "warned", text[0].lower() + text[1:]), Kind.REMINDER, text)
    return incident, ()


def _step(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    if not _is_due(incident.next_due_at, now):
        return incident, ()
    if incident.next_step >= len(incident.steps):
        return repeat(incident, policy, now)
    # After an outage of ours the page before may wait in the same queue: nobody is told over the head of somebody
    # who has not been told yet. In normal running a step never waits for a provider that is down.
    unheard = incident.rounds > 0 and incident.delivered_at is None and incident.paged_at is not None
    hold = policy.running_since + timedelta(seconds=policy.dwell)
    if unheard and incident.paged_at and incident.paged_at < policy.running_since and now < hold:
        text = "the page before this step has not been delivered yet: the step waits for it"
        return noted(replace(incident, next_due_at=hold), now, "remark", text), ()
    return take_step(incident, policy, now)


def _remind(incident: Incident, now: datetime) -> Outcome:
    until = incident.acknowledged_until or now
    text = f"The acknowledgement runs out at {until:%H:%M} UTC: acknowledge again if you are at it"
    incident = noted(replace(incident, remind_due_at=None), now, "reminded", text[0].lower() + text[1:])
    return tell(incident, Kind.REMINDER, text, person=incident.acknowledged_by)


def _is_due(when: datetime | None, now: datetime) -> bool:
    return when is not None and when <= now


def _words(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:g} seconds"
    if minutes < 120 and minutes % 60:  # noqa: PLR2004  # 90 minutes, but 2 hours
        return f"{minutes:g} minutes"
    return f"{minutes / 60:g} hour{'' if minutes == 60 else 's'}"  # noqa: PLR2004  # one hour
