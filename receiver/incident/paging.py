"""Walks the matrix: starts a row, takes its steps, repeats the last one, and finds another way to a person. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import asdict, replace

from receiver.incident.escalation import Priority, Step, gap, next_due
from receiver.incident.event import Delivered, Undelivered, Unreached
from receiver.incident.model import Entry, Incident, Kind, Notification, Target
from receiver.incident.policy import Policy
from receiver.incident.state import State

Outcome = tuple[Incident, tuple[Notification, ...]]

_LATE = timedelta(seconds=60)  # a step that comes later than this says so in the timeline


def noted(incident: Incident, now: datetime, kind: str, text: str, actor: str = "") -> Incident:
    """Add a line to what this transition writes into the timeline."""
    return replace(incident, fresh=(*incident.fresh, Entry(now, kind, text, actor)))


def start(incident: Incident, priority: Priority, policy: Policy, now: datetime, *, step: int = 0) -> Outcome:
    """Put the incident at a step of its row, its clocks at zero, and take that step if the table says at once."""
    plan = policy.plan(priority, incident.team)
    step = min(step, max(len(plan.steps) - 1, 0))
    started = now - timedelta(seconds=plan.steps[step].after if step else 0.0)
    incident = replace(
        incident,
        priority=priority,
        **asdict(plan),
        clock_started_at=started,
        next_step=step,
        next_due_at=_opens(plan.steps[step], started, policy) if plan.steps else None,
        warn_due_at=now + timedelta(seconds=plan.warn_after) if plan.warn_after else None,
        answer_due_at=now + timedelta(seconds=plan.response_time),
        acknowledged_at=None,
        acknowledged_by="",
        acknowledged_until=None,
        remind_due_at=None,
        breached_at=None,
        grown=False,
    )
    waits = incident.paused is not None or incident.next_due_at is None or incident.next_due_at > now
    return (incident, ()) if waits else take_step(incident, policy, now)


def replan(incident: Incident, priority: Priority, policy: Policy, now: datetime) -> Outcome:
    """Move to a more urgent row: the clock keeps its start, and a role whose time has passed is told now, once."""
    started = incident.clock_started_at or now
    plan = policy.plan(priority, incident.team)
    passed = sum(1 for step in plan.steps if started + timedelta(seconds=step.after) <= now)
    told = {target.role for target in incident.told}
    owed = tuple(dict.fromkeys(role for step in plan.steps[:passed] for role in step.roles if role not in told))
    incident = replace(incident, priority=priority, **asdict(plan), next_step=passed, next_due_at=None)
    if incident.state is not State.TRIGGERED:
        return incident, ()
    unanswered = incident.answer_due_at is not None
    incident = replace(
        incident,
        next_due_at=_following(incident, now, policy),
        answer_due_at=started + timedelta(seconds=plan.response_time) if unanswered else None,
        warn_due_at=started + timedelta(seconds=plan.warn_after) if unanswered and plan.warn_after else None,
    )
    if not owed or incident.paused is not None:
        return incident, ()
    return page(incident, owed, policy, now)


def take_step(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    """Take the step that is due, or the last one again; one that reaches nobody is passed over at once."""
    while incident.next_step < len(incident.steps):
        step, due = incident.steps[incident.next_step], incident.next_due_at
        incident = replace(incident, next_step=incident.next_step + 1)
        incident = replace(incident, next_due_at=_following(incident, now, policy))
        if due is not None and now - due > _LATE:
            text = f"this step was due at {due:%H:%M:%S} UTC and comes {_span(now - due)} late"
            incident = noted(incident, now, "late", text)
        incident, owed = page(incident, step.roles, policy, now)
        if owed:
            return incident, owed
    return incident, ()


def repeat(incident: Incident, policy: Policy, now: datetime) -> Outcome:
    """Take the last step again: nobody has answered, and there is nobody else to tell."""
    incident = replace(incident, next_due_at=_following(incident, now, policy))
    incident = noted(incident, now, "repeat", "still no answer: the last step is taken again")
    return page(incident, incident.steps[-1].roles, policy, now)


def page(incident: Incident, roles: tuple[str, ...], policy: Policy, now: datetime) -> Outcome:
    """Owe a page to everybody who holds one of the roles now, and to where the team follows."""
    targets = policy.targets(roles, incident, now)
    people = ", ".join(dict.fromkeys(f"{t.person} ({t.role})" for t in targets if t.person))
    if not people:
        return noted(incident, now, "nobody", f"nobody to page: no person holds {', '.join(roles)} now"), ()
    incident = replace(
        incident,
        rounds=incident.rounds + 1,
        round_lanes=tuple(target.lane for target in targets),
        paged_at=now,
        delivered_at=None,
        reached=(),
        told=tuple(dict.fromkeys((*incident.told, *targets))),
    )
    owed = tuple(Notification(Kind.PAGE, target, incident.rounds, roles) for target in targets)
    return noted(incident, now, "paged", f"paging {people}"), owed


def delivery(incident: Incident, event: Delivered | Unreached | Undelivered, policy: Policy, now: datetime) -> Outcome:
    """Take in what became of a page of the newest round; what became of an older one changes nothing any more."""
    if event.round != incident.rounds:
        return incident, ()
    match event:
        case Delivered():
            return _delivered(incident, event.person, policy, now), ()
        case Unreached():
            return _elsewhere(incident, event, policy, now)
        case Undelivered():
            incident = noted(incident, now, "undelivered", "nobody of the last step could be told")
            if incident.next_step < len(incident.steps) and incident.paused is None:
                return take_step(incident, policy, now)
            return incident, ()


def tell(incident: Incident, kind: Kind, text: str, *, person: str = "") -> Outcome:
    """Owe news to those who were told, once a lane, where they were told; to one person's lanes if they are named."""
    lanes: dict[str, Target] = {}
    for target in incident.told:
        lanes.setdefault(target.lane, target)
    owed = [t for t in lanes.values() if t.person == person] if person else []
    incident = replace(incident, serial=incident.serial + 1)
    chosen = owed or list(lanes.values())  # an owner whom we never paged answers for all who were
    return incident, tuple(
        Notification(kind, target, incident.rounds, text=text, serial=incident.serial) for target in chosen
    )


def _delivered(incident: Incident, person: str, policy: Policy, now: datetime) -> Incident:
    """The next step keeps its distance from the moment at which this one was really heard."""
    if not person or person in incident.reached:
        return incident
    incident = replace(incident, reached=(*incident.reached, person))
    if incident.delivered_at is not None:
        return incident
    incident = replace(incident, delivered_at=now)
    if incident.next_due_at is None or incident.next_step >= len(incident.steps):
        return incident
    earliest = now + gap(incident.steps, incident.next_step, policy.dwell)
    return replace(incident, next_due_at=max(incident.next_due_at, earliest))


def _elsewhere(incident: Incident, event: Unreached, policy: Policy, now: datetime) -> Outcome:
    """Find another way to somebody whom nothing has reached; a place of a team matters only if nobody was reached."""
    if event.target.person in incident.reached or (not event.target.person and incident.reached):
        return incident, ()
    known = set(incident.round_lanes)
    ways = tuple(t for t in policy.fallback(event.target, incident, now) if t.lane not in known)
    if not ways:
        return incident, ()
    whom = event.target.person or event.target.address
    how = ", ".join(dict.fromkeys(way.channel for way in ways))
    incident = replace(
        incident,
        round_lanes=(*incident.round_lanes, *(way.lane for way in ways)),
        told=tuple(dict.fromkeys((*incident.told, *ways))),
    )
    text = f"{whom} is not reached by {event.target.channel} ({event.why}): trying {how}"
    roles = (event.target.role,) if event.target.role else ()
    owed = tuple(Notification(Kind.PAGE, way, incident.rounds, roles) for way in ways)
    return noted(incident, now, "fallback", text), owed


def _following(incident: Incident, fired: datetime, policy: Policy) -> datetime | None:
    """When ``next_step`` is due after a step taken now; past the last one, when that is repeated."""
    if incident.next_step < len(incident.steps):
        return _due(incident, incident.next_step, incident.clock_started_at or fired, fired, policy)
    return fired + timedelta(seconds=incident.repeat_every) if incident.repeat_every else None


def _due(incident: Incident, index: int, started: datetime, fired: datetime, policy: Policy) -> datetime:
    due = next_due(incident.steps, index, started, fired, policy.dwell)
    hours = incident.steps[index].hours
    return policy.opens(hours, due) if hours else due


def _opens(step: Step, started: datetime, policy: Policy) -> datetime:
    due = started + timedelta(seconds=step.after)
    return policy.opens(step.hours, due) if step.hours else due


def _span(delta: timedelta) -> str:
    minutes, seconds = divmod(int(delta.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m" if minutes else f"{seconds}s"
