"""The one function that changes an incident: event in, new incident and owed notifications out. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.episode import end_all, merge
from receiver.escalation import Priority, next_due
from receiver.incident import (
    TRANSITIONS,
    Acknowledge,
    AlertsReceived,
    Entry,
    Event,
    Incident,
    Kind,
    Notification,
    Policy,
    Resolve,
    Signal,
    State,
    StepDue,
    Target,
    Undelivered,
)

Outcome = tuple[Incident, tuple[Notification, ...]]

_LATE = timedelta(seconds=60)  # a step that comes later than this says so in the timeline


def transition(incident: Incident, event: Event, policy: Policy, now: datetime) -> Outcome:  # noqa: PLR0911  # one return a branch
    """Apply one event; the incident comes back unchanged (the same value) when nothing new was said."""
    before = incident
    if isinstance(event, AlertsReceived):
        incident = merge(incident, event.group, now)
        if incident == before and incident.state is not State.NEW:
            return before, ()
    signal = _signal(incident, event, policy)
    state = TRANSITIONS[incident.state, signal]
    changed = replace(incident, state=state)
    if incident.state is State.NEW:
        return _open(changed, policy, now) if state is State.TRIGGERED else (before, ())
    if signal in {Signal.FIRE, Signal.RAISE}:
        return _reconsider(changed, incident.state, policy, now)
    if isinstance(event, Acknowledge | Resolve):
        return _answer(changed, incident.state, event, now)
    if signal is Signal.CLEAR and incident.state is not State.RESOLVED:
        return _close(changed, "alerts", "every alert has resolved", now)
    if state is State.TRIGGERED and isinstance(event, StepDue | Undelivered):
        return _time(changed, event, policy, now)
    return before, ()


def _signal(incident: Incident, event: Event, policy: Policy) -> Signal:
    match event:
        case AlertsReceived():
            # With alerts left out of the message "all resolved" proves nothing about those that were left out.
            if not incident.firing and not incident.truncated:
                return Signal.CLEAR
            urgent = incident.firing and _priority(incident, policy)[0] is Priority.P1
            return Signal.RAISE if urgent and incident.priority is not Priority.P1 else Signal.FIRE
        case StepDue():
            return Signal.STEP_DUE
        case Undelivered():
            return Signal.UNDELIVERED
        case Acknowledge():
            return Signal.ACKNOWLEDGE
        case Resolve():
            return Signal.RESOLVE


def _open(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    if not incident.firing:  # a truncated message in which nothing fires opens nothing
        return replace(incident, state=State.NEW), ()
    priority, remark = _priority(incident, policy)
    team, team_remark = policy.team(incident.firing[0].labels)
    title = _title(incident)
    remarks = tuple(Entry(now, "remark", text) for text in (remark, team_remark) if text)
    opened = Entry(now, "opened", f"{priority} opened for {team}: {title}")
    incident = replace(
        incident,
        title=title,
        team=team,
        opened_at=now,
        fresh=(opened, *incident.fresh, *remarks),
    )
    return _start(incident, priority, policy, now)


def _start(incident: Incident, priority: Priority, policy: Policy, now: datetime) -> Outcome:
    """Put the incident at the first step of its row, and take that step if the table says at once."""
    steps = policy.steps(priority)
    incident = replace(
        incident,
        priority=priority,
        steps=steps,
        response_time=policy.response_time(priority),
        clock_started_at=now,
        next_step=0,
        next_due_at=next_due(steps, 0, now, now, policy.dwell),
        acknowledged_at=None,
        acknowledged_by="",
    )
    return _step(incident, policy, now) if incident.next_due_at == now else (incident, ())


def _reconsider(incident: Incident, was: State, policy: Policy, now: datetime) -> Outcome:
    """Alerts joined, left or changed: the priority rises at once and never falls by itself."""
    if not incident.firing or was is State.RESOLVED:
        return incident, ()
    priority, _ = _priority(incident, policy)
    if priority.more_urgent_than(incident.priority):
        raised = Entry(now, "priority_raised", f"{incident.priority} rises to {priority}")
        incident = replace(incident, fresh=(*incident.fresh, raised))
        if priority is Priority.P1:
            return _start(incident, priority, policy, now)
        return _replan(incident, priority, policy, now)
    if incident.priority.more_urgent_than(priority):
        text = f"what fires now is {priority}; the incident stays {incident.priority} until it is resolved"
        if not any(e.text == text for e in incident.fresh):
            incident = replace(incident, fresh=(*incident.fresh, Entry(now, "remark", text)))
    return incident, ()


def _replan(incident: Incident, priority: Priority, policy: Policy, now: datetime) -> Outcome:
    """Move to a more urgent row: the clock keeps its start, and a role whose time has passed is told now, once."""
    started = incident.clock_started_at or now
    steps = policy.steps(priority)
    passed = sum(1 for step in steps if started + timedelta(seconds=step.after) <= now)
    told = {target.role for target in incident.told}
    owed = tuple(dict.fromkeys(role for step in steps[:passed] for role in step.roles if role not in told))
    incident = replace(
        incident,
        priority=priority,
        steps=steps,
        response_time=policy.response_time(priority),
        next_step=passed,
        next_due_at=next_due(steps, passed, started, now, policy.dwell) if passed < len(steps) else None,
    )
    if incident.state is not State.TRIGGERED:
        return replace(incident, next_due_at=None), ()
    return _page(incident, owed, policy, now) if owed else (incident, ())


def _time(incident: Incident, event: StepDue | Undelivered, policy: Policy, now: datetime) -> Outcome:
    if isinstance(event, Undelivered):
        if event.round != incident.rounds:
            return incident, ()  # a later round has been sent since; it has its own fate
        dead = Entry(now, "undelivered", "nobody of the last step could be told")
        incident = replace(incident, fresh=(*incident.fresh, dead))
        return _step(incident, policy, now) if incident.next_step < len(incident.steps) else (incident, ())
    if incident.next_due_at is None or incident.next_due_at > now:
        return incident, ()
    return _step(incident, policy, now)


def _step(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    """Take the next step; one that reaches nobody is passed over at once."""
    while incident.next_step < len(incident.steps):
        step, due = incident.steps[incident.next_step], incident.next_due_at
        following = incident.next_step + 1
        started = incident.clock_started_at or now
        more = following < len(incident.steps)
        incident = replace(
            incident,
            next_step=following,
            next_due_at=next_due(incident.steps, following, started, now, policy.dwell) if more else None,
        )
        if due is not None and now - due > _LATE:
            late = Entry(now, "late", f"this step was due at {due:%H:%M:%S} UTC and comes {_span(now - due)} late")
            incident = replace(incident, fresh=(*incident.fresh, late))
        incident, owed = _page(incident, step.roles, policy, now)
        if owed:
            return incident, owed
    return incident, ()


def _page(incident: Incident, roles: tuple[str, ...], policy: Policy, now: datetime) -> Outcome:
    targets = policy.targets(roles, incident.team, incident.priority)
    people = ", ".join(dict.fromkeys(f"{t.person} ({t.role})" for t in targets if t.person))
    if not people:
        nobody = Entry(now, "remark", f"nobody to page: no person holds {', '.join(roles)}")
        return replace(incident, fresh=(*incident.fresh, nobody)), ()
    incident = replace(
        incident,
        rounds=incident.rounds + 1,
        told=tuple(dict.fromkeys((*incident.told, *targets))),
        fresh=(*incident.fresh, Entry(now, "paged", f"paging {people}")),
    )
    return incident, tuple(Notification(Kind.PAGE, target, incident.rounds, roles) for target in targets)


def _answer(incident: Incident, was: State, event: Acknowledge | Resolve, now: datetime) -> Outcome:
    if was is State.RESOLVED:
        verb = "acknowledged" if isinstance(event, Acknowledge) else "resolved"
        text = f"{verb} by {event.origin}, but it was resolved already"
        return replace(incident, fresh=(Entry(now, "remark", text, event.actor),)), ()
    if isinstance(event, Resolve):
        incident = replace(incident, ended=end_all(incident))
        return _close(incident, event.actor, f"resolved by {event.origin}", now)
    if was is State.ACKNOWLEDGED:
        if event.actor == incident.acknowledged_by:
            return incident, ()
        return replace(incident, fresh=(Entry(now, "joined", f"joined by {event.origin}", event.actor),)), ()
    entry = Entry(now, "acknowledged", f"acknowledged by {event.origin}", event.actor)
    incident = replace(incident, acknowledged_at=now, acknowledged_by=event.actor, next_due_at=None, fresh=(entry,))
    return incident, _tell_all(incident, Kind.ACKNOWLEDGED)


def _close(incident: Incident, actor: str, text: str, now: datetime) -> Outcome:
    incident = replace(
        incident,
        state=State.RESOLVED,
        resolved_at=now,
        resolved_by=actor,
        next_due_at=None,
        fresh=(*incident.fresh, Entry(now, "resolved", text, actor)),
    )
    return incident, _tell_all(incident, Kind.RESOLVED)


def _tell_all(incident: Incident, kind: Kind) -> tuple[Notification, ...]:
    """Those who were told of the trouble are told of its end, once a lane, where they were told."""
    lanes: dict[str, Target] = {}
    for target in incident.told:
        lanes.setdefault(target.lane, target)
    return tuple(Notification(kind, target, incident.rounds) for target in lanes.values())


def _priority(incident: Incident, policy: Policy) -> tuple[Priority, str]:
    """The most urgent of what fires; Priority sorts as text, P1 first."""
    return min((policy.priority(alert.labels) for alert in incident.firing), key=lambda found: found[0].value)


def _title(incident: Incident) -> str:
    alert = incident.firing[0]
    name, summary = alert.labels.get("alertname", ""), alert.annotations.get("summary", "")
    return f"{name}: {summary}" if name and summary else name or summary or "Alert without a name"


def _span(delta: timedelta) -> str:
    minutes, seconds = divmod(int(delta.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m" if minutes else f"{seconds}s"
