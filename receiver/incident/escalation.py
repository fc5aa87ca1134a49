"""Walks the matrix: starts a plan, takes its steps, repeats the last one, and finds another way to a person. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.event import Delivered, Undelivered, Unreached
from receiver.incident.group import maintenance, named
from receiver.incident.model import (
    Data,
    Decision,
    EntryKind,
    Holder,
    Incident,
    Kind,
    Notification,
    Plan,
    Priority,
    Reason,
    State,
    Step,
    Target,
)
from receiver.incident.policy import Policy
from receiver.incident.timetable import begin, repeated, response, upcoming, within

NOTHING = Data()
_LATE = timedelta(seconds=60)  # a step that comes later than this says so in the timeline
# By which a moment that was read may lie before the last change: both receivers waited for the database.
OVERTAKEN = timedelta(minutes=1)


def start(  # the clocks may have begun before
    so_far: Decision,
    priority: Priority,
    policy: Policy,
    now: datetime,
    reason: Reason,
    since: datetime | None = None,
) -> Decision:
    """Put the incident at the first step of its plan, its clocks at zero, and take it if the table says at once.

    With ``since`` the clocks have run since then.
    """
    so_far = _named(so_far, policy, now)
    incident = so_far.incident
    plan, clocks = begin(policy.plan(priority, incident.team), since or now, policy)
    clocks, paused, due = replace(clocks, quiet_until=incident.clocks.quiet_until), incident.paused, clocks.next_due_at
    so_far = without_owner(so_far).change(
        priority=priority,
        plan=plan,
        next_step=0,
        clocks=clocks,
        breached_at=None,
        paused=replace(paused, since=now) if paused else None,  # they have not stood still before
        attached_at=now if incident.attached_to else None,
        asked=None,
    )
    waits = paused is not None or bool(incident.attached_to) or due is None or due > now
    return so_far if waits else take_step(so_far, policy, now, reason)


def _named(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Call it after what fires now, whose team's matrix is walked; what a person has raised keeps its name."""
    return so_far.change(**named(so_far.incident, policy, now)) if policy.rulings(so_far.incident) else so_far


def without_owner(so_far: Decision) -> Decision:
    """Nobody has it any more."""
    return so_far.change(
        acknowledged_at=None,
        acknowledged_by="",
        snoozed_until=None,
        before_answer=None,
        taken_awake=False,
        delivery=replace(so_far.incident.delivery, grown=False),
    )


def replan(so_far: Decision, priority: Priority, policy: Policy, now: datetime) -> Decision:
    """Move to a more urgent plan: the clock keeps its start, and a role whose time has passed is told now, once."""
    so_far = _named(so_far, policy, now)
    incident = so_far.incident
    started = incident.clocks.started_at or now
    plan, passed = _passed(policy.plan(priority, incident.team), started, policy, now)
    told = {target.role for target in incident.delivery.told}
    owed = tuple(dict.fromkeys(role for step in plan.steps[:passed] for role in step.roles if role not in told))
    so_far = so_far.change(priority=priority, plan=plan, next_step=passed).set_clocks(next_due_at=None)
    if incident.state is not State.TRIGGERED:
        return so_far
    so_far = _schedule(so_far, now, policy)
    if incident.clocks.answer_due_at is not None:
        warn, answer = response(plan, started, policy)
        so_far = so_far.set_clocks(warn_due_at=warn, answer_due_at=answer)
    if not owed or incident.paused is not None or incident.attached_to:
        return so_far
    return page(so_far, owed, policy, now, Reason.PRIORITY_RAISED)


def take_step(  # and what its pages say
    so_far: Decision,
    policy: Policy,
    now: datetime,
    reason: Reason = Reason.ESCALATED,
    data: Data = NOTHING,
    *,
    without: str = "",
) -> Decision:
    """Take the step that is due; one that reaches nobody is passed over at once."""
    owed = len(so_far.notifications)
    while so_far.incident.next_step < len(so_far.incident.plan.steps):
        step, due = so_far.incident.plan.steps[so_far.incident.next_step], so_far.incident.clocks.next_due_at
        so_far, roles = _together(so_far, step, policy, now)
        if due is not None and now - due > _LATE:
            so_far = so_far.note(now, EntryKind.LATE, due=due, seconds=(now - due).total_seconds())
        so_far = page(so_far, roles, policy, now, reason, data, without=without)
        if len(so_far.notifications) > owed:
            break
    return so_far


def _together(so_far: Decision, step: Step, policy: Policy, now: datetime) -> tuple[Decision, tuple[str, ...]]:
    """Count a step as taken, and the rows of its time whose hours are open, too: whoever is in both is paged once."""
    so_far, roles = _schedule(so_far.change(next_step=so_far.incident.next_step + 1), now, policy), step.roles
    while so_far.incident.next_step < len(so_far.incident.plan.steps):
        beside, due = so_far.incident.plan.steps[so_far.incident.next_step], so_far.incident.clocks.next_due_at
        if beside.after != step.after or due is None or due > now:
            break
        roles = (*roles, *beside.roles)
        so_far = _schedule(so_far.change(next_step=so_far.incident.next_step + 1), now, policy)
    return so_far, tuple(dict.fromkeys(roles))


def schedule(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Set when the next step is due if the one before it was taken now."""
    return _schedule(so_far, now, policy)


def repeat(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """Take the last step again: nobody has answered, and there is nobody else to tell."""
    so_far = _schedule(so_far, now, policy).note(now, EntryKind.REPEAT)
    return page(so_far, so_far.incident.plan.steps[-1].roles, policy, now, Reason.REPEATED)


def page(  # and what it says
    so_far: Decision,
    roles: tuple[str, ...],
    policy: Policy,
    now: datetime,
    reason: Reason,
    data: Data = NOTHING,
    *,
    without: str = "",
) -> Decision:
    """Owe a page to everybody who holds one of the roles now, and to where the team follows.

    The first page of an incident needs no other reason than that it was opened, however late it comes. Who is named by
    ``without`` is left out if anybody else is paged.
    """
    targets = policy.targets(roles, so_far.incident, now)
    if without and any(t.person not in {"", without} for t in targets):
        targets = tuple(t for t in targets if not t.person or t.person != without)
    people = tuple(dict.fromkeys(Holder(t.person, t.role) for t in targets if t.person))
    if not people:
        return so_far.note(now, EntryKind.NOBODY, roles=roles)
    begins = not so_far.incident.delivery.rounds and reason is not Reason.RAISED
    so_far = so_far.note(now, EntryKind.PAGED, people=people)
    return _round(so_far, targets, roles, Reason.OPENED if begins else reason, data, now)


def page_person(
    so_far: Decision, person: str, policy: Policy, now: datetime, reason: Reason, data: Data = NOTHING
) -> Decision:
    """Owe a page to one person by name, if there is a way to them."""
    targets = policy.ways(person, so_far.incident, now)
    return _round(so_far, targets, (), reason, data, now) if targets else so_far


def _round(  # of pages
    so_far: Decision,
    targets: tuple[Target, ...],
    roles: tuple[str, ...],
    reason: Reason,
    data: Data,
    now: datetime,
) -> Decision:
    delivery, now = so_far.incident.delivery, _after_the_answer(so_far.incident, now)
    so_far = so_far.set_delivery(
        rounds=delivery.rounds + 1,
        round_lanes=tuple(target.lane for target in targets),
        round_reason=reason,
        paged_at=now,
        delivered_at=None,
        reached=(),
        told=tuple(dict.fromkeys((*delivery.told, *targets))),
    )
    owed = (Notification(Kind.PAGE, each, delivery.rounds + 1, roles, reason, data, now) for each in targets)
    return so_far.owe(*owed)


def _after_the_answer(incident: Incident, now: datetime) -> datetime:
    """Give the moment of a page that is asked for though somebody has answered: that answer is not one to it.

    The ``now`` of the answer may be the later one: another receiver may have read it, and was faster.
    """
    answered = incident.acknowledged_at if incident.state is State.ACKNOWLEDGED else None
    overtaken = answered is not None and now <= answered < now + OVERTAKEN
    return answered + timedelta(microseconds=1) if answered is not None and overtaken else now


def tell_places(so_far: Decision, data: Data, policy: Policy, now: datetime) -> Decision:
    """Owe a page to the places that joining alerts bring in: their team hears of it though another has taken it."""
    incident, delivery = so_far.incident, so_far.incident.delivery
    if incident.paused is not None or not delivery.rounds:
        return so_far  # its places are told with the people
    now = _after_the_answer(incident, now)
    known = {(target.channel, target.address) for target in delivery.told}
    new = tuple(t for t in policy.targets((), incident, now) if (t.channel, t.address) not in known)
    so_far = so_far.set_delivery(
        round_lanes=(*delivery.round_lanes, *(target.lane for target in new)), told=(*delivery.told, *new)
    )
    owed = (Notification(Kind.PAGE, t, delivery.rounds, reason=Reason.OPENED, data=data, at=now) for t in new)
    return so_far.owe(*owed)


def tell(
    so_far: Decision, kind: Kind, reason: Reason | None = None, data: Data = NOTHING, *, person: str = ""
) -> Decision:
    """Owe news to those who were told, once a lane, where they were told; to one person's lanes if they are named."""
    delivery = so_far.incident.delivery
    lanes: dict[str, Target] = {}
    for target in delivery.told:
        lanes.setdefault(target.lane, target)
    owed = [t for t in lanes.values() if t.person == person] if person else []
    chosen = owed or list(lanes.values())  # an owner whom we never paged answers for all who were
    serial = delivery.serial + 1
    news = (Notification(kind, target, delivery.rounds, reason=reason, data=data, serial=serial) for target in chosen)
    return so_far.set_delivery(serial=serial).owe(*news)


def tell_people(  # and what they are told
    so_far: Decision, reason: Reason, data: Data, people: tuple[str, ...], policy: Policy, now: datetime
) -> Decision:
    """Owe news to some people, by their own ways if they were never told, and to the places that were told."""
    incident, delivery = so_far.incident, so_far.incident.delivery
    lanes = {target.lane: target for target in delivery.told if not target.person}
    for person in people:
        heard = tuple(target for target in delivery.told if target.person == person)
        lanes |= {target.lane: target for target in heard or policy.ways(person, incident, now)}
    serial = delivery.serial + 1
    news = (Notification(Kind.UPDATE, t, delivery.rounds, (), reason, data, serial=serial) for t in lanes.values())
    return so_far.set_delivery(serial=serial).owe(*news)


def without_news_of(paged: Decision, news: tuple[Notification, ...]) -> Decision:
    """Whoever is paged needs no news of the same."""
    lanes = {notification.target.lane for notification in paged.notifications}
    return replace(paged, notifications=(*(n for n in news if n.target.lane not in lanes), *paged.notifications))


def delivered(so_far: Decision, event: Delivered, policy: Policy, now: datetime) -> Decision:
    """The next step keeps its distance from the moment at which this one was really heard."""
    incident = so_far.incident
    delivery, clocks = incident.delivery, incident.clocks
    if event.round != delivery.rounds or not event.person or event.person in delivery.reached:
        return so_far  # what became of an older round changes nothing any more
    so_far = so_far.set_delivery(reached=(*delivery.reached, event.person))
    if delivery.delivered_at is not None:
        return so_far
    so_far = so_far.set_delivery(delivered_at=now)
    if clocks.next_due_at is None or incident.next_step >= len(incident.plan.steps):
        return so_far
    earliest = now + gap(incident.plan, incident.next_step, policy.dwell)
    earliest = within(incident.plan.steps[incident.next_step], earliest, policy)
    return so_far.set_clocks(next_due_at=max(clocks.next_due_at, earliest))


def unreached(so_far: Decision, event: Unreached, policy: Policy, now: datetime) -> Decision:
    """Find another way to somebody whom nothing has reached; a place of a team matters only if nobody was reached."""
    delivery, person = so_far.incident.delivery, event.target.person
    over = event.round != delivery.rounds
    if over or person in delivery.reached or (not person and delivery.reached):
        return so_far
    known = set(delivery.round_lanes)
    ways = tuple(t for t in policy.fallback(event.target, so_far.incident, now) if t.lane not in known)
    if not ways:
        return so_far
    so_far = so_far.set_delivery(
        round_lanes=(*delivery.round_lanes, *(way.lane for way in ways)),
        told=tuple(dict.fromkeys((*delivery.told, *ways))),
    )
    roles = (event.target.role,) if event.target.role else ()
    reason, at = delivery.round_reason, delivery.paged_at
    owed = (Notification(Kind.PAGE, way, delivery.rounds, roles, reason, at=at) for way in ways)
    so_far = so_far.note(
        now,
        EntryKind.FALLBACK,
        person=person,
        address=event.target.address,
        channel=event.target.channel,
        failure=event.failure,
        channels=tuple(dict.fromkeys(way.channel for way in ways)),
    )
    return so_far.owe(*owed)


def undelivered(so_far: Decision, event: Undelivered, policy: Policy, now: datetime) -> Decision:
    """Nobody of the newest round was told: the next step does not wait for its time."""
    incident = so_far.incident
    if event.round != incident.delivery.rounds:
        return so_far
    so_far = so_far.note(now, EntryKind.UNDELIVERED)
    still = incident.paused is not None or incident.attached_to or maintenance(incident, policy, now) is not None
    if incident.next_step < len(incident.plan.steps) and not still:
        return take_step(so_far, policy, now, Reason.UNREACHED)
    return so_far


def gap(plan: Plan, index: int, dwell: float) -> timedelta:
    """Give the least time between step ``index`` and the one before it.

    ``dwell``, or what the table itself puts between them if that is less: late or not, the tech lead gets the same
    chance to answer before the manager hears, and nobody gets a burst.
    """
    distance = plan.steps[index].after - plan.steps[index - 1].after if index else 0.0
    return timedelta(seconds=min(dwell, max(distance, 0.0)))


def _schedule(so_far: Decision, fired: datetime, policy: Policy) -> Decision:
    """Set when the next step is due after one that was taken now; past the last one, when that is repeated."""
    plan, index = so_far.incident.plan, so_far.incident.next_step
    plan, due = upcoming(plan, index, so_far.incident.clocks.started_at or fired, policy)
    if due is None:
        return so_far.set_clocks(next_due_at=repeated(plan, fired, policy))
    if index:
        due = within(plan.steps[index], max(due, fired + gap(plan, index, policy.dwell)), policy)
    return so_far.change(plan=plan).set_clocks(next_due_at=due)


def _passed(plan: Plan, started: datetime, policy: Policy, now: datetime) -> tuple[Plan, int]:
    """Count the steps whose time has passed, and put them first."""
    passed = 0
    plan, due = upcoming(plan, passed, started, policy)
    while due is not None and due <= now:
        passed += 1
        plan, due = upcoming(plan, passed, started, policy)
    return plan, passed
