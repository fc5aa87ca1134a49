"""Says what people may do beside acknowledging and resolving: give back, snooze, take or hand over, escalate. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.escalation import (
    OVERTAKEN,
    page,
    page_person,
    schedule,
    start,
    take_step,
    tell,
    tell_people,
    undelivered,
    unreached,
    without_news_of,
)
from receiver.incident.event import (
    Acknowledge,
    Delivered,
    EscalateNow,
    HandOver,
    Note,
    Raise,
    Sent,
    Snooze,
    TakenAwake,
    TakeOver,
    Unacknowledge,
    Unreached,
)
from receiver.incident.model import Asked, Data, Decision, EntryKind, Incident, Kind, Origin, Priority, Reason, State
from receiver.incident.pause import catch_up
from receiver.incident.policy import Policy
from receiver.incident.timers import DRILL_LASTS, NEEDED_AGAIN, acknowledged, at_owners_step, take_due
from receiver.incident.timetable import begin, within

GIVE_BACK_FOR = timedelta(seconds=60)  # after an acknowledgement: it was a slip, and nobody is paged anew
ANSWER_WITHIN = timedelta(minutes=5)  # who is asked to take over
KEEP_WITHIN = timedelta(minutes=10)  # after somebody was awake: what they took and do not keep is paged
LONGEST_SNOOZE = timedelta(hours=24)
LONGEST_P1_SNOOZE = timedelta(hours=4)
_TITLE = 200  # characters of the text by which an incident is raised


def longest_snooze(priority: Priority) -> timedelta:
    """Say how long an incident of this priority may be snoozed."""
    return LONGEST_P1_SNOOZE if priority is Priority.P1 else LONGEST_SNOOZE


def acknowledge(so_far: Decision, event: Acknowledge | TakeOver | Snooze, _policy: Policy, now: datetime) -> Decision:
    """Somebody has it; how the clocks stood is kept for a moment, in case that was a slip."""
    before = so_far.incident.clocks
    so_far = _owned(so_far, event.actor, now).change(before_answer=before)
    so_far = so_far.note(now, EntryKind.ACKNOWLEDGED, event.actor, origin=event.origin)
    return so_far if isinstance(event, Snooze) else tell(so_far, Kind.ACKNOWLEDGED)


def acknowledge_again(so_far: Decision, event: Acknowledge | TakeOver, _policy: Policy, now: datetime) -> Decision:
    """The owner says that they are still at it, once the reminder has asked or in a snooze; anybody else joins."""
    incident = so_far.incident
    if event.actor != incident.acknowledged_by:
        return so_far.note(now, EntryKind.JOINED, event.actor, origin=event.origin)
    asked_for = incident.clocks.acknowledged_until is not None and incident.clocks.remind_due_at is None
    if not asked_for and incident.snoozed_until is None and not incident.taken_awake:
        return so_far  # a double click is no news
    clocks = acknowledged(incident.clocks, incident.plan, now)
    so_far = so_far.change(clocks=clocks, snoozed_until=None, taken_awake=False).set_delivery(grown=False)
    return so_far.note(now, EntryKind.RENEWED, event.actor, origin=event.origin)


def take_awake(so_far: Decision, event: TakenAwake, policy: Policy, now: datetime) -> Decision:
    """Whoever is awake has it, for as long as they are, and a little longer to say whether they keep it."""
    so_far = _owned(so_far, event.person, now).note(now, EntryKind.ACKNOWLEDGED, event.person, origin=Origin.AWAKE)
    return stay_awake(so_far.change(taken_awake=True), event, policy, now)


def stay_awake(so_far: Decision, event: TakenAwake, _policy: Policy, _now: datetime) -> Decision:
    """They are awake for longer, or not any more: then they are asked whether they keep it."""
    return so_far.set_clocks(acknowledged_until=event.until + KEEP_WITHIN, remind_due_at=event.until)


def take_over(so_far: Decision, event: Acknowledge | TakeOver, policy: Policy, now: datetime) -> Decision:
    """It changes hands, and who had it hears of that; the clock of the acknowledgement begins anew."""
    old = so_far.incident.acknowledged_by
    so_far = _owned(so_far, event.actor, now)
    so_far = so_far.note(now, EntryKind.TAKEN_OVER, event.actor, origin=event.origin, person=old)
    return tell_people(so_far, Reason.TAKEN_OVER, Data(person=event.actor), (old,), policy, now)


def snooze(so_far: Decision, event: Snooze, policy: Policy, now: datetime) -> Decision:
    """Nobody has answered yet: take it, with an end, and without a reminder before that."""
    return _snoozed(acknowledge(so_far, event, policy, now), event, Kind.ACKNOWLEDGED, now)


def snooze_owned(so_far: Decision, event: Snooze, policy: Policy, now: datetime) -> Decision:
    """The owner wants to hear no more for a while; from anybody else it is a take-over, too."""
    old = so_far.incident.acknowledged_by
    if old == event.actor:
        return _snoozed(so_far, event, Kind.UPDATE, now)
    so_far = _snoozed(_owned(so_far, event.actor, now), event, None, now)
    return tell_people(so_far, Reason.TAKEN_OVER, Data(person=event.actor), (old,), policy, now)


def _owned(so_far: Decision, actor: str, now: datetime) -> Decision:
    """Answer every page that was owed until now, also one of another receiver that was faster with a later ``now``."""
    incident, paged = so_far.incident, so_far.incident.delivery.paged_at
    overtaken = paged is not None and now < paged < now + OVERTAKEN
    so_far = so_far.change(
        clocks=acknowledged(incident.clocks, incident.plan, now),
        acknowledged_at=paged if overtaken else now,
        acknowledged_by=actor,
        snoozed_until=None,
        asked=None,
        before_answer=None,
        taken_awake=False,
    )
    return so_far.set_delivery(grown=False)


def _snoozed(so_far: Decision, event: Snooze, kind: Kind | None, now: datetime) -> Decision:
    so_far = so_far.change(snoozed_until=event.until, taken_awake=False)
    so_far = so_far.set_clocks(acknowledged_until=event.until, remind_due_at=None)
    so_far = so_far.note(now, EntryKind.SNOOZED, event.actor, origin=event.origin, due=event.until)
    data = Data(person=event.actor, due=event.until)
    return tell(so_far, kind, Reason.SNOOZED, data) if kind is not None else so_far


def unacknowledge(so_far: Decision, event: Unacknowledge, policy: Policy, now: datetime) -> Decision:
    """Back to the step that was answered, whose people are paged, but for who gives it back if there is anybody else.

    Soon after the acknowledgement it was a slip: the clocks go on as they stood, and nobody is paged.
    """
    incident = so_far.incident
    before, at, data = incident.before_answer, incident.acknowledged_at or now, Data(person=event.actor)
    so_far = so_far.note(now, EntryKind.UNACKNOWLEDGED, event.actor, origin=event.origin).change(asked=None)
    so_far = tell(so_far, Kind.UPDATE, Reason.GIVEN_BACK, data)
    if before is not None and now - at <= GIVE_BACK_FOR:
        before = replace(before, quiet_until=incident.clocks.quiet_until)
        so_far = so_far.change(clocks=before, acknowledged_at=None, acknowledged_by="", snoozed_until=None)
        return so_far.change(before_answer=None).set_delivery(grown=False)
    so_far = at_owners_step(catch_up(so_far, policy, now), policy, now)
    paged = take_due(replace(so_far, notifications=()), policy, now, Reason.GIVEN_BACK, data, without=event.actor)
    return without_news_of(paged, so_far.notifications)


def ask(so_far: Decision, event: HandOver, policy: Policy, now: datetime) -> Decision:
    """Page somebody to take it over; until they acknowledge, everything goes on as it was."""
    asked = Asked(event.person, event.actor, now + ANSWER_WITHIN)
    so_far = so_far.change(asked=asked)
    so_far = so_far.note(now, EntryKind.ASKED, event.actor, origin=event.origin, person=event.person, due=asked.until)
    return page_person(so_far, event.person, policy, now, Reason.ASKED, Data(person=event.actor))


def move(so_far: Decision, event: HandOver, policy: Policy, now: datetime) -> Decision:
    """Give it to another team: its row of the matrix begins, and whoever was told so far hears of that."""
    teams = so_far.incident.team, event.team
    so_far = so_far.note(now, EntryKind.MOVED, event.actor, origin=event.origin, teams=teams)
    so_far = tell(so_far, Kind.UPDATE, Reason.MOVED, Data(person=event.actor, team=event.team, teams=teams))
    news, so_far = so_far.notifications, replace(so_far, notifications=())
    so_far = so_far.change(team=event.team, moved_to=event.team)
    return without_news_of(start(so_far, so_far.incident.priority, policy, now, Reason.MOVED), news)


def escalate(so_far: Decision, event: EscalateNow, policy: Policy, now: datetime) -> Decision:
    """Page the people of the next step at once, or those of the last one again; an owner keeps the incident."""
    so_far = catch_up(so_far, policy, now).change(before_answer=None)
    so_far = so_far.note(now, EntryKind.ESCALATED_NOW, event.actor, origin=event.origin)
    steps, why = so_far.incident.plan.steps, Data(person=event.actor)
    if so_far.incident.next_step < len(steps):
        so_far = take_step(so_far, policy, now, Reason.ESCALATED_NOW, why)
    else:
        so_far = page(schedule(so_far, policy, now), steps[-1].roles, policy, now, Reason.ESCALATED_NOW, why)
    return _without_steps(so_far)


def note(so_far: Decision, event: Note, _policy: Policy, now: datetime) -> Decision:
    """Write it down; nobody is told of what is over."""
    so_far = so_far.note(now, EntryKind.NOTED, event.actor, origin=event.origin, text=event.text)
    if not event.tell or so_far.incident.state is State.RESOLVED:
        return so_far
    return tell(so_far, Kind.UPDATE, Reason.NOTED, Data(person=event.actor, text=event.text))


def open_by_hand(so_far: Decision, event: Raise, policy: Policy, now: datetime) -> Decision:
    """Open an incident that no alert has made. Who is asked by name is paged first, the team's row if they are silent.

    Nothing but a person ends it, so its people are asked each day whether it is still needed.
    """
    team = event.team or policy.ruling({}).team
    so_far = so_far.change(
        title=" ".join(event.text.split())[:_TITLE],
        team=team,
        moved_to=event.team,
        priority=event.priority,
        opened_at=now,
        real=not event.drill,
        drill=event.drill,
        raised_by=event.actor,
        needed_at=now + (DRILL_LASTS if event.drill else NEEDED_AGAIN),
    )
    so_far = so_far.note(
        now,
        EntryKind.RAISED,
        event.actor,
        origin=event.origin,
        priority=event.priority,
        team=team,
        person=event.person,
        text=event.text,
    )
    why = Data(person=event.actor, text=event.text)
    if not event.person:
        return start(so_far, event.priority, policy, now, Reason.RAISED)
    if event.drill:
        return page_person(so_far, event.person, policy, now, Reason.RAISED, why)
    plan, clocks = begin(policy.plan(event.priority, team), now, policy)
    if clocks.next_due_at is not None:
        later = within(plan.steps[0], max(clocks.next_due_at, now + ANSWER_WITHIN), policy)
        clocks = replace(clocks, next_due_at=later)
    asked = Asked(event.person, event.actor, now + ANSWER_WITHIN)
    return page_person(
        so_far.change(plan=plan, clocks=clocks, asked=asked), event.person, policy, now, Reason.RAISED, why
    )


def acted_late(so_far: Decision, event: object, _policy: Policy, now: datetime) -> Decision:
    """It was over before; the timeline says what somebody wanted to do."""
    actor, origin = getattr(event, "actor", ""), getattr(event, "origin", None)
    return so_far.note(now, EntryKind.ACTED_LATE, actor, origin=origin, act=act_of(event))


def act_of(event: object) -> str:
    """Name an act in the API, the audit log and the words: hand_over, escalate_now."""
    name = type(event).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


def help_sent(so_far: Decision, event: Sent, policy: Policy, now: datetime) -> Decision:
    """What became of a page that was asked for after somebody had taken it: the next step, or another way."""
    if isinstance(event, Delivered):
        return so_far.set_delivery(reached=tuple(dict.fromkeys((*so_far.incident.delivery.reached, event.person))))
    if isinstance(event, Unreached):
        return unreached(so_far, event, policy, now)
    return _without_steps(undelivered(so_far, event, policy, now))


def pages_for_help(incident: Incident, event: Sent) -> bool:
    """Say whether an event is about a page that was owed after the acknowledgement."""
    paged, taken = incident.delivery.paged_at, incident.acknowledged_at
    return event.round == incident.delivery.rounds and paged is not None and taken is not None and paged > taken


def _without_steps(so_far: Decision) -> Decision:
    """While somebody has it, no step is due by itself."""
    return so_far.set_clocks(next_due_at=None) if so_far.incident.state is State.ACKNOWLEDGED else so_far
