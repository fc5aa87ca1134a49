"""The one function that changes an incident: event in, new incident and owed notifications out. Pure."""

from datetime import datetime

from msgspec.structs import replace

from receiver.incident.alerts import ALERTS, end_all, merge
from receiver.incident.escalation import Priority
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Delivered,
    Event,
    Paused,
    Resolve,
    Resumed,
    TimeDue,
    Undelivered,
    Unreached,
)
from receiver.incident.flapping import loud, quiet, reopen, reopens
from receiver.incident.model import Alert, Entry, Incident, Kind, Pause
from receiver.incident.paging import Outcome, delivery, noted, replan, start, tell
from receiver.incident.pause import pause, resume
from receiver.incident.policy import Policy
from receiver.incident.state import TRANSITIONS, Signal, State
from receiver.incident.timers import acknowledged, expire, stopped, tick, time_signal

Timed = TimeDue | Delivered | Unreached | Undelivered | Paused | Resumed

_SIGNALS: dict[type, Signal] = {
    Delivered: Signal.DELIVERED,
    Unreached: Signal.UNREACHED,
    Undelivered: Signal.UNDELIVERED,
    Acknowledge: Signal.ACKNOWLEDGE,
    Resolve: Signal.RESOLVE,
    Paused: Signal.PAUSE,
    Resumed: Signal.RESUME,
}
DRILL = "drill"  # the label of an alert that is an exercise


def transition(incident: Incident, event: Event, policy: Policy, now: datetime) -> Outcome:
    """Apply one event; the incident comes back unchanged (the same value) when nothing new was said."""
    before = incident
    if isinstance(event, AlertsReceived):
        incident = merge(incident, event, now)
        if not _says_something(before, incident, event):
            return before, ()
    signal = _signal(incident, event, policy, now)
    state = TRANSITIONS[incident.state, signal]
    changed = replace(incident, state=state)
    if incident.state is State.NEW:
        return _open(changed, event, policy, now) if state is State.TRIGGERED else (before, ())
    if isinstance(event, AlertsReceived):
        return _news(changed, before, signal, policy, now)
    if isinstance(event, Acknowledge | Resolve):
        return _answer(changed, incident.state, event, now)
    return (
        (before, ())
        if state is State.RESOLVED and signal is not Signal.CLEAR
        else _apply(changed, event, signal, policy, now)
    )


def _apply(incident: Incident, event: Timed, signal: Signal, policy: Policy, now: datetime) -> Outcome:
    """What the clocks, the channels and the silences say of an incident that is open."""
    match event:
        case TimeDue():
            return _time(incident, signal, policy, now)
        case Paused():
            return pause(incident, event.pause, now)
        case Resumed():
            return resume(incident, policy, now)
        case Delivered() | Unreached() | Undelivered() if incident.state is State.TRIGGERED:
            return delivery(incident, event, policy, now)
    return incident, ()


def _says_something(before: Incident, after: Incident, event: AlertsReceived) -> bool:
    if before.state is State.NEW or after != before:
        return True
    return before.held and not event.blind  # what was held back may be believed now


def _signal(incident: Incident, event: Event, policy: Policy, now: datetime) -> Signal:
    if isinstance(event, AlertsReceived):
        return _alerts_signal(incident, event, policy, now)
    return time_signal(incident, now) if isinstance(event, TimeDue) else _SIGNALS[type(event)]


def _alerts_signal(incident: Incident, event: AlertsReceived, policy: Policy, now: datetime) -> Signal:
    if incident.state is State.RESOLVED:
        return Signal.REOPEN if incident.firing and reopens(incident, policy, now) else Signal.CLEAR
    # With alerts left out of the message "all resolved" proves nothing about those that were left out.
    if not incident.firing and not incident.truncated:
        return Signal.HOLD if event.blind or incident.flapping else Signal.CLEAR
    if incident.state is State.NEW:
        return Signal.FIRE  # what it is worth is asked once, when it opens
    urgent = incident.firing and _priority(incident, policy)[0] is Priority.P1
    return Signal.RAISE if urgent and incident.priority is not Priority.P1 else Signal.FIRE


def _open(incident: Incident, event: Event, policy: Policy, now: datetime) -> Outcome:
    if not incident.firing:  # a truncated message in which nothing fires opens nothing
        return replace(incident, state=State.NEW), ()
    first = incident.firing[0]
    priority, remark = _priority(incident, policy)
    team, team_remark = policy.team(first.labels)
    title = _title(first)
    remarks = tuple(Entry(now, "remark", text) for text in (remark, team_remark) if text)
    opened = Entry(now, "opened", f"{priority} opened for {team}: {title}")
    window = policy.maintenance(first.labels, now)
    if isinstance(event, AlertsReceived) and event.recorded:
        window = Pause("outage", "of this receiver: it fired and was over meanwhile")
    incident = replace(
        incident,
        title=title,
        team=team,
        labels=first.labels,
        drill=first.labels.get(DRILL) == "true",
        opened_at=now,
        paused=replace(window, since=now) if window else None,
        fresh=(opened, *incident.fresh, *remarks),
    )
    if window:
        incident = noted(incident, now, "paused", f"{window.spoken}: recorded, and nobody is told")
    return start(incident, priority, policy, now)


def _news(incident: Incident, before: Incident, signal: Signal, policy: Policy, now: datetime) -> Outcome:
    """Alerts joined, left or changed."""
    match signal:
        case Signal.REOPEN:
            return reopen(incident, _priority(incident, policy)[0], policy, now)
        case Signal.HOLD:
            return _hold(incident, policy, now), ()
        case Signal.CLEAR if before.state is not State.RESOLVED:
            return _close(incident, ALERTS, "every alert has resolved", now)
        case Signal.CLEAR:
            return before, ()  # it is over, and what comes now is either old or an incident of its own
    incident, resumed = _heard_again(incident, before, policy, now)
    incident, owed = _reconsider(incident, before, policy, now)
    if owed or resumed:
        return incident, (*resumed, *owed)
    return _grown(incident, before)


def _heard_again(incident: Incident, before: Incident, policy: Policy, now: datetime) -> Outcome:
    """It fires, so nothing is held or quiet; and Alertmanager says nothing of what is silenced."""
    if incident.firing:
        incident = loud(replace(incident, held=False), now)
    joined = _joined(incident, before)
    if incident.paused is None or not joined:
        return incident, ()
    if incident.paused.kind == "maintenance" and all(policy.maintenance(alert.labels, now) for alert in joined):
        return incident, ()
    return resume(incident, policy, now)


def _hold(incident: Incident, policy: Policy, now: datetime) -> Incident:
    if incident.flapping:
        return quiet(incident, policy, now)
    if incident.held:
        return incident
    text = "Alertmanager says that it is over, while its own Watchdog is overdue: not believed until that is back"
    return noted(replace(incident, held=True), now, "held", text)


def _reconsider(incident: Incident, before: Incident, policy: Policy, now: datetime) -> Outcome:
    """The priority rises at once and never falls by itself."""
    if not incident.firing:
        return incident, ()
    priority, _ = _priority(incident, policy)
    if priority.more_urgent_than(incident.priority):
        incident = noted(incident, now, "priority_raised", f"{incident.priority} rises to {priority}")
        if priority is Priority.P1:
            return start(incident, priority, policy, now)
        text, owner = f"{before.priority} rises to {priority}", incident.acknowledged_by
        incident, owed = replan(incident, priority, policy, now)
        return tell(incident, Kind.UPDATE, text, person=owner) if owner else (incident, owed)
    if incident.priority.more_urgent_than(priority):
        text = f"what fires now is {priority}; the incident stays {incident.priority} until it is resolved"
        incident = noted(incident, now, "remark", text)
    return incident, ()


def _grown(incident: Incident, before: Incident) -> Outcome:
    """Whoever has taken it hears once that more has begun to fire; that is news, and no page."""
    joined = _joined(incident, before)
    if incident.state is not State.ACKNOWLEDGED or incident.grown or not joined:
        return incident, ()
    what = f"{len(joined)} more alerts fire" if len(joined) > 1 else f"{_title(joined[0])} fires, too"
    owner = incident.acknowledged_by
    return tell(replace(incident, grown=True), Kind.UPDATE, f"{what}: {len(incident.firing)} in all", person=owner)


def _time(incident: Incident, signal: Signal, policy: Policy, now: datetime) -> Outcome:
    match signal:
        case Signal.CLEAR:
            return _close(incident, ALERTS, "it has been quiet for long enough", now)
        case Signal.RESUME:
            return resume(incident, policy, now)
        case Signal.EXPIRE:
            return expire(incident, policy, now)
    return tick(incident, policy, now)


def _answer(incident: Incident, was: State, event: Acknowledge | Resolve, now: datetime) -> Outcome:
    if was is State.RESOLVED:
        verb = "acknowledged" if isinstance(event, Acknowledge) else "resolved"
        return noted(incident, now, "remark", f"{verb} by {event.origin}, but it was resolved already", event.actor), ()
    if isinstance(event, Resolve):
        incident = replace(incident, ended=end_all(incident))
        return _close(incident, event.actor, f"resolved by {event.origin}", now)
    if was is State.ACKNOWLEDGED:
        return _answered_again(incident, event, now)
    incident = replace(acknowledged(incident, now), acknowledged_at=now, acknowledged_by=event.actor)
    incident = noted(incident, now, "acknowledged", f"acknowledged by {event.origin}", event.actor)
    return tell(incident, Kind.ACKNOWLEDGED, "")


def _answered_again(incident: Incident, event: Acknowledge, now: datetime) -> Outcome:
    """The owner says that they are still at it, once the reminder has asked; anybody else joins."""
    if event.actor != incident.acknowledged_by:
        return noted(incident, now, "joined", f"joined by {event.origin}", event.actor), ()
    if incident.acknowledged_until is None or incident.remind_due_at is not None:
        return incident, ()  # a double click is no news
    return noted(acknowledged(incident, now), now, "renewed", f"still at it, by {event.origin}", event.actor), ()


def _close(incident: Incident, actor: str, text: str, now: datetime) -> Outcome:
    incident = replace(stopped(incident), state=State.RESOLVED, resolved_at=now, resolved_by=actor)
    return tell(noted(incident, now, "resolved", text, actor), Kind.RESOLVED, "")


def _joined(incident: Incident, before: Incident) -> list[Alert]:
    return [
        alert
        for alert in incident.firing
        if (known := before.alerts.get(alert.fingerprint)) is None
        or not known.firing
        or known.starts_at < alert.starts_at
    ]


def _priority(incident: Incident, policy: Policy) -> tuple[Priority, str]:
    """The most urgent of what fires; Priority sorts as text, P1 first."""
    return min((policy.priority(alert.labels) for alert in incident.firing), key=lambda found: found[0].value)


def _title(alert: Alert) -> str:
    name, summary = alert.labels.get("alertname", ""), alert.annotations.get("summary", "")
    return f"{name}: {summary}" if name and summary else name or summary or "Alert without a name"
