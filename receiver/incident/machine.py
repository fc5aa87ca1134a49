"""The state machine: what each event means in each state, and the one function that changes an incident. Pure.

An event becomes a signal, the signal and the state find a row of ``TRANSITIONS``, and the row's handler decides. A pair
that has no row changes nothing; ``IGNORED`` names why.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import chain, product
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from receiver.incident.acts import (
    acknowledge,
    acknowledge_again,
    acted_late,
    ask,
    escalate,
    help_sent,
    move,
    note,
    open_by_hand,
    pages_for_help,
    snooze,
    snooze_owned,
    stay_awake,
    take_awake,
    take_over,
    unacknowledge,
)
from receiver.incident.alerts import ALERTS, end_all, is_drill, joined, merge
from receiver.incident.escalation import delivered, start, tell, tell_places, undelivered, unreached, without_news_of
from receiver.incident.event import (
    Acknowledge,
    Adopted,
    AlertsReceived,
    Answer,
    Delivered,
    Event,
    ParentEnded,
    ParentMoved,
    Paused,
    Resolve,
    Resumed,
    Sent,
    SilenceOver,
    StillFiring,
    TakenAwake,
    TimeDue,
    Undelivered,
    Unproved,
    Unreached,
)
from receiver.incident.family import (
    adopt,
    attach,
    follow_ups,
    parent_ended,
    parent_moved,
    raise_to,
    send_away,
    set_free,
)
from receiver.incident.flapping import quiet, reopen, reopens, still_owned
from receiver.incident.group import (
    all_drills,
    facts,
    maintenance,
    maintenance_since,
    named,
    priority,
    rises_to,
    teams,
    title,
    was_drill,
)
from receiver.incident.meaning import Signal, answer_signal, awake_signal
from receiver.incident.model import (
    Alert,
    Data,
    Decision,
    Entry,
    EntryKind,
    Ignored,
    Incident,
    Kind,
    Pause,
    PauseKind,
    Priority,
    Reason,
    Ripple,
    State,
)
from receiver.incident.pause import end_quiet, go_on, pause, release, resume
from receiver.incident.policy import Policy
from receiver.incident.silence import silence, silence_over
from receiver.incident.timers import expire, remind, still_needed, tick, unanswered
from receiver.incident.undo import remembered, undo


class News(msgspec.Struct, frozen=True):
    """What Alertmanager has said, once it is merged: ``joined`` has begun to fire with it.

    Of these, ``others`` did not fire in the incident before; the rest has begun anew.
    """

    received: AlertsReceived
    joined: tuple[Alert, ...]
    others: tuple[Alert, ...] = ()


def transition(incident: Incident, event: Event, policy: Policy, now: datetime) -> Decision:
    """Apply one event; the incident comes back unchanged (the same value) when nothing new was said."""
    so_far, what = Decision(incident), _or_pause(incident, event, policy, now)  # type: Decision, Event | News
    if isinstance(event, AlertsReceived):
        so_far = merge(incident, event, now)
        if not _says_something(incident, so_far.incident, event):
            return Decision(incident)
        began, firing = joined(incident, so_far.incident), {alert.fingerprint for alert in incident.firing}
        what = News(event, began, tuple(alert for alert in began if alert.fingerprint not in firing))
        so_far = so_far.change(begun=incident.begun + len(what.joined))
    pair = incident.state, signal(so_far.incident, what, policy, now)
    row = TRANSITIONS.get(pair)
    if row is None:
        return Decision(incident, ignored=IGNORED[pair])
    decision = row.handle(so_far.change(state=row.becomes), what, policy, now)
    owed = [*_taken_awake(incident, decision, policy, now), *follow_ups(incident, decision.incident, event)]
    ripples = (Ripple(number, partial(transition, event=one, policy=policy, now=now)) for number, one in owed)
    return replace(decision, ripples=tuple(ripples)) if owed else decision


def _taken_awake(before: Incident, decision: Decision, policy: Policy, now: datetime) -> list[tuple[int, Event]]:
    """Who is paged first of all and is awake takes it: the pages are cancelled before they are sent."""
    incident = decision.incident
    begins = incident.delivery.rounds > before.delivery.rounds == 0 and not incident.raised_by
    if not begins or incident.state is not State.TRIGGERED:
        return []
    people = tuple(dict.fromkeys(n.target.person for n in decision.notifications if n.target.person))
    awake = policy.awake(people, incident, now)
    return [(incident.id, TakenAwake(*awake))] if awake is not None else []


def _or_pause(incident: Incident, event: Event, policy: Policy, now: datetime) -> Event:
    """Maintenance may have begun since anything was last heard: then a clock that ran to its time finds it paused."""
    runs = incident.paused is None and incident.clocks.quiet_until is None
    if not isinstance(event, TimeDue) or not runs or incident.state not in {State.TRIGGERED, State.ACKNOWLEDGED}:
        return event
    window = maintenance(incident, policy, now)
    return Paused(window, maintenance_since(incident, policy, now)) if window is not None else event


def signal(incident: Incident, what: Event | News, policy: Policy, now: datetime) -> Signal:
    """Say what an event means for an incident; Alertmanager's comes as News, and the incident has it merged already."""
    if isinstance(what, News):
        return _news_signal(incident, what, policy, now)
    if isinstance(what, Answer):
        return answer_signal(incident, what, policy, now)
    if isinstance(what, Sent):
        helps = incident.state is State.ACKNOWLEDGED and pages_for_help(incident, what)
        return Signal.HELP if helps else _SIGNALS[type(what)]
    return _of_others(incident, what, now)


def _of_others(incident: Incident, what: Event, now: datetime) -> Signal:
    """Of clocks, of other incidents, and of what stands still."""
    if isinstance(what, TimeDue):
        return _time_signal(incident, now)
    if isinstance(what, Adopted):
        urgent = what.priority is Priority.P1 and incident.priority is not Priority.P1
        return Signal.OUTRANK if urgent else Signal.ADOPT
    return awake_signal(incident, what) if isinstance(what, TakenAwake) else _SIGNALS[type(what)]


_SIGNALS: dict[type, Signal] = {
    Delivered: Signal.DELIVERED,
    Unreached: Signal.UNREACHED,
    Undelivered: Signal.UNDELIVERED,
    StillFiring: Signal.STILL_FIRING,
    Unproved: Signal.UNPROVED,
    ParentEnded: Signal.PARENT_ENDED,
    ParentMoved: Signal.PARENT_MOVED,
    Paused: Signal.PAUSE,
    Resumed: Signal.RESUME,
    SilenceOver: Signal.SILENCE_OVER,
}


def _news_signal(incident: Incident, what: News, policy: Policy, now: datetime) -> Signal:
    if incident.state is State.RESOLVED:  # what a person has resolved may fire on: only what begins reopens it
        if not what.joined:
            return Signal.ENDED
        if not reopens(incident, policy, now):
            return Signal.CLEAR
        return Signal.RETURN if still_owned(incident, now) and not _begins_anew(incident, policy) else Signal.REOPEN
    if incident.state is State.NEW:  # what it is worth is asked once, when it opens
        return Signal.FIRE if incident.firing else Signal.CLEAR
    # With alerts left out of the message "all resolved" proves nothing about those that were left out.
    if not incident.firing and not incident.truncated:
        return Signal.HOLD if what.received.blind or incident.flapping else Signal.CLEAR
    raises = incident.firing and (_begins_anew(incident, policy) or _breaks_snooze(incident, what, policy))
    return Signal.RAISE if raises else Signal.FIRE


def _breaks_snooze(incident: Incident, what: News, policy: Policy) -> bool:
    """Another P1 has begun: the owner has said that the others can wait, and not that this one can."""
    others = (alert for alert in what.others if incident.drill or not is_drill(alert))
    return incident.snoozed_until is not None and any(
        policy.ruling(alert.labels).priority is Priority.P1 for alert in others
    )


def _begins_anew(incident: Incident, policy: Policy) -> bool:
    """It has become a P1, or a real alert has joined a drill: nobody has said that they can carry that."""
    if incident.drill and not all_drills(incident):
        return True
    return incident.priority is not Priority.P1 and rises_to(incident, policy) is Priority.P1


def _time_signal(incident: Incident, now: datetime) -> Signal:
    clocks, paused = incident.clocks, incident.paused
    if incident.asked is not None and incident.asked.until <= now:
        return Signal.UNANSWERED
    if incident.needed_at is not None and incident.needed_at <= now:
        return Signal.CLEAR if incident.drill else Signal.STILL_NEEDED
    if clocks.quiet_until is not None:
        return Signal.CLEAR if clocks.quiet_until <= now else Signal.TIME
    if paused is not None:
        return Signal.RESUME if paused.until is not None and paused.until <= now else Signal.TIME
    over = clocks.acknowledged_until is not None and clocks.acknowledged_until <= now and not incident.attached_to
    return Signal.EXPIRE if over and incident.state is State.ACKNOWLEDGED else Signal.TIME


def _says_something(before: Incident, after: Incident, event: AlertsReceived) -> bool:
    if before.state is State.NEW or after != before:
        return True
    return before.held and not event.blind  # what was held back may be believed now


def _open(so_far: Decision, what: News, policy: Policy, now: datetime) -> Decision:
    urgency = priority(so_far.incident, policy)
    window = Pause(PauseKind.OUTAGE) if what.received.recorded else maintenance(so_far.incident, policy, now)
    so_far = _remark(so_far, (), policy, now)
    so_far = so_far.change(opened_at=now, paused=replace(window, since=now) if window else None)
    if window:
        so_far = so_far.note(now, EntryKind.RECORDED, pause=window)
    so_far = start(so_far, urgency, policy, now, Reason.OPENED)
    named = Data(priority=urgency, team=so_far.incident.team, title=so_far.incident.title)
    return replace(so_far, entries=(Entry(now, EntryKind.OPENED, named), *so_far.entries))


def _remark(so_far: Decision, before: tuple[Alert, ...], policy: Policy, now: datetime) -> Decision:
    """Write what is new about the labels of what fires: missing or unknown ones, and several teams in one group."""
    rulings = [ruling for _, ruling in policy.rulings(so_far.incident)]
    earlier = [policy.ruling(alert.labels) for alert in before]
    known, mixed = facts(earlier), teams(rulings)
    new = tuple(Entry(now, fact.kind, fact.data) for fact in facts(rulings) if fact not in known)
    so_far = replace(so_far, entries=(*so_far.entries, *new)) if new else so_far
    if len(mixed) > 1 and set(mixed) - set(teams(earlier)):
        so_far = so_far.note(now, EntryKind.TEAMS_MIXED, teams=mixed)
    return so_far


def _news(so_far: Decision, what: News, policy: Policy, now: datetime) -> Decision:
    """Alerts joined, left or changed; whoever has taken it hears once that more has begun to fire."""
    if what.joined:
        new = {alert.fingerprint for alert in what.joined}
        before = tuple(alert for alert in so_far.incident.firing if alert.fingerprint not in new)
        so_far = _remark(so_far, before, policy, now)
    was_drill = so_far.incident.drill
    so_far = so_far.change(drill=all_drills(so_far.incident))
    so_far = _reconsider(_heard_again(so_far, what, policy, now), policy, now, real=was_drill)
    if so_far.incident.state is State.TRIGGERED and so_far.incident.snoozed_until is not None:
        return start(so_far, so_far.incident.priority, policy, now, Reason.ALERTS_JOINED)
    return _tell_owner(tell_places(so_far, _more(so_far, what), policy, now), what) if what.joined else so_far


def _more(so_far: Decision, what: News) -> Data:
    return Data(count=len(what.joined), title=title(what.joined[0]), total=len(so_far.incident.firing))


def _tell_owner(so_far: Decision, what: News) -> Decision:
    incident = so_far.incident
    heard = incident.delivery.grown or any(n.target.person for n in so_far.notifications)
    if incident.state is not State.ACKNOWLEDGED or heard:
        return so_far
    so_far, more = so_far.set_delivery(grown=True), _more(so_far, what)
    return tell(so_far, Kind.UPDATE, Reason.ALERTS_JOINED, more, person=incident.acknowledged_by)


def _heard_again(so_far: Decision, what: News, policy: Policy, now: datetime) -> Decision:
    """It fires, so nothing is held or quiet; and Alertmanager says nothing of what is silenced.

    Whether maintenance covers everything is asked at each news, for alerts join and leave. While Alertmanager mutes
    the others, one that joins may stand in a window of its own.
    """
    incident = so_far.incident
    if not incident.firing:
        return so_far
    so_far = end_quiet(release(so_far, now), policy, now)
    window, paused = maintenance(incident, policy, now), incident.paused
    if paused is None:
        return pause(so_far, Paused(window), policy, now) if window is not None else so_far
    if window is not None and paused.kind is PauseKind.MAINTENANCE:
        return so_far.change(paused=replace(window, since=paused.since))
    ends = paused.kind is PauseKind.MAINTENANCE
    if ends or any(policy.maintenance(alert.labels, now) is None for alert in what.joined):
        return _begin_with(resume(so_far, what.received, policy, now), what, policy, now)
    return so_far


def _begin_with(so_far: Decision, what: News, policy: Policy, now: datetime) -> Decision:
    """What has joined and ended the pause is news to the on-call engineer, whoever would have been next."""
    incident = so_far.incident
    real = [alert for alert in what.others if incident.drill or not is_drill(alert)]
    urgent = any(policy.ruling(alert.labels).priority is incident.priority for alert in real)
    rises = rises_to(incident, policy).more_urgent_than(incident.priority)
    if incident.paused is not None or incident.state is not State.TRIGGERED or not urgent or rises:
        return so_far
    if any(notification.kind is Kind.PAGE for notification in so_far.notifications):
        return so_far  # nobody had heard of it: it has just begun
    paged = start(replace(so_far, notifications=()), incident.priority, policy, now, Reason.ALERTS_JOINED)
    return without_news_of(paged, so_far.notifications)


def _reconsider(so_far: Decision, policy: Policy, now: datetime, *, real: bool) -> Decision:
    """The priority rises at once and never falls by itself; ``real``: it was a drill, and may be none any more."""
    incident = so_far.incident
    if not incident.firing:
        return so_far
    was, priority = incident.priority, rises_to(incident, policy)
    if real and not incident.drill:
        return start(so_far, priority, policy, now, Reason.NO_DRILL)
    if was.more_urgent_than(priority):
        return so_far.note(now, EntryKind.PRIORITY_KEPT, named=priority.value, priority=was)
    return raise_to(so_far, priority, policy, now)


def _hold(so_far: Decision, what: News, policy: Policy, now: datetime) -> Decision:
    """What may only mean that Prometheus is dead is not over, nor is it quiet: its clocks stand still."""
    if not what.received.blind:
        return quiet(so_far.change(held=False, held_at=None), policy, now)
    if so_far.incident.held or so_far.incident.clocks.quiet_until is not None:
        return so_far
    return so_far.change(held=True, held_at=now).note(now, EntryKind.HELD)


def _reopen(so_far: Decision, _what: News, policy: Policy, now: datetime) -> Decision:
    """Nobody has it: it starts at the on-call engineer, whom it was escalated to before.

    While nobody has been paged, the time for which it fired before counts: else it could fire for ever unheard.
    """
    was, since = so_far.incident, None
    if not was.delivery.rounds and was.clocks.started_at is not None and was.resolved_at is not None:
        since = was.clocks.started_at + (now - was.resolved_at)
    so_far = _remark(_stand_still(reopen(so_far, policy, now), policy, now), (), policy, now)
    return start(so_far, priority(so_far.incident, policy), policy, now, Reason.REOPENED, since)


def _return(so_far: Decision, what: News, policy: Policy, now: datetime) -> Decision:
    """The owner keeps it and hears of it once, as news and no page; the acknowledgement runs on to its time-out."""
    so_far = so_far.change(**named(so_far.incident, policy, now))
    so_far = _remark(_stand_still(reopen(so_far, policy, now), policy, now), (), policy, now)
    so_far = _reconsider(so_far, policy, now, real=False)
    if so_far.incident.paused is not None:
        return so_far
    more, owner = _more(so_far, what), so_far.incident.acknowledged_by
    so_far = tell_places(so_far, more, policy, now)
    if any(n.kind is Kind.UPDATE for n in so_far.notifications):
        return so_far  # that it is more urgent than it was says so, too
    return tell(so_far, Kind.UPDATE, Reason.REOPENED, replace(more, person=owner), person=owner)


def _stand_still(so_far: Decision, policy: Policy, now: datetime) -> Decision:
    """What fires again within maintenance is recorded, and nobody is told."""
    window = maintenance(so_far.incident, policy, now)
    if window is None:
        return so_far
    return so_far.change(paused=replace(window, since=now)).note(now, EntryKind.RECORDED, pause=window)


def _clear(so_far: Decision, what: News | TimeDue, _policy: Policy, now: datetime) -> Decision:
    ends = isinstance(what, News) or bool(so_far.incident.raised_by)  # a test that somebody has sent to themselves
    kind = EntryKind.RESOLVED if ends else EntryKind.RESOLVED_QUIET
    return _close(so_far.note(now, kind, ALERTS), ALERTS, now)


def _resolve(so_far: Decision, event: Resolve, _policy: Policy, now: datetime) -> Decision:
    firing, origin, before = so_far.incident.firing_count, event.origin, remembered(so_far.incident, now)
    so_far = end_all(so_far, now).note(now, EntryKind.RESOLVED_BY_HAND, event.actor, origin=origin, count=firing)
    return _close(so_far, event.actor, now).change(undo=before)


def _too_late(so_far: Decision, event: Acknowledge | Resolve, _policy: Policy, now: datetime) -> Decision:
    """The answer lost the race against the resolve, which stands; the timeline says who gave it."""
    kind = EntryKind.ACKNOWLEDGED_LATE if isinstance(event, Acknowledge) else EntryKind.RESOLVED_LATE
    return so_far.note(now, kind, event.actor, origin=event.origin)


def _ended(so_far: Decision, _what: News, _policy: Policy, _now: datetime) -> Decision:
    """Nobody is told: it is over. What still fires is shown, so the ends are taken in."""
    return so_far


def _still_firing(so_far: Decision, event: StillFiring, _policy: Policy, now: datetime) -> Decision:
    """Say so once: nobody is paged about what a person has resolved."""
    if so_far.incident.reported_at is not None:
        return so_far
    return so_far.change(reported_at=now).note(now, EntryKind.STILL_FIRING, count=event.count)


def _close(so_far: Decision, actor: str, now: datetime) -> Decision:
    incident, clocks = so_far.incident, so_far.incident.clocks
    stopped = replace(  # an acknowledgement may outlive it
        clocks.stopped(), acknowledged_until=clocks.acknowledged_until, remind_due_at=clocks.remind_due_at
    )
    so_far = so_far.change(clocks=stopped, paused=None, held=False, held_at=None, drill=was_drill(incident))
    return tell(so_far.change(resolved_at=now, resolved_by=actor), Kind.RESOLVED)


# The event is the one that gives the signal (News for what Alertmanager says).
Handler = Callable[[Decision, Any, Policy, datetime], Decision]


class Row(NamedTuple):
    """The state that the incident gets, and what else happens: the handler finds it in its new state."""

    becomes: State
    handle: Handler


_N, _T, _A, _R = State.NEW, State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED

TRANSITIONS: dict[tuple[State, Signal], Row] = {
    (_N, Signal.FIRE): Row(_T, _open),
    (_N, Signal.PAGE_BY_HAND): Row(_T, open_by_hand),
    (_T, Signal.FIRE): Row(_T, _news),
    (_T, Signal.RAISE): Row(_T, _news),
    (_T, Signal.CLEAR): Row(_R, _clear),
    (_T, Signal.HOLD): Row(_T, _hold),
    (_T, Signal.UNPROVED): Row(_T, go_on),
    (_T, Signal.TIME): Row(_T, tick),
    (_T, Signal.DELIVERED): Row(_T, delivered),
    (_T, Signal.UNREACHED): Row(_T, unreached),
    (_T, Signal.UNDELIVERED): Row(_T, undelivered),
    (_T, Signal.ACKNOWLEDGE): Row(_A, acknowledge),
    (_T, Signal.SNOOZE): Row(_A, snooze),
    (_T, Signal.TAKE_AWAKE): Row(_A, take_awake),
    (_T, Signal.RESOLVE): Row(_R, _resolve),
    (_T, Signal.PAUSE): Row(_T, pause),
    (_T, Signal.RESUME): Row(_T, resume),
    (_T, Signal.ASK): Row(_T, ask),
    (_T, Signal.UNANSWERED): Row(_T, unanswered),
    (_T, Signal.MOVE): Row(_T, move),
    (_T, Signal.ESCALATE): Row(_T, escalate),
    (_T, Signal.NOTE): Row(_T, note),
    (_T, Signal.SILENCE): Row(_T, silence),
    (_T, Signal.SILENCE_OVER): Row(_T, silence_over),
    (_T, Signal.ATTACH): Row(_T, attach),
    (_T, Signal.DETACH): Row(_T, set_free),
    (_T, Signal.ADOPT): Row(_T, adopt),
    (_T, Signal.OUTRANK): Row(_T, adopt),
    (_T, Signal.PARENT_ENDED): Row(_T, parent_ended),
    (_T, Signal.PARENT_MOVED): Row(_T, parent_moved),
    (_T, Signal.STILL_NEEDED): Row(_T, still_needed),
    (_A, Signal.FIRE): Row(_A, _news),
    (_A, Signal.RAISE): Row(_T, _news),  # whoever took a P2 has not said that they can carry a P1
    (_A, Signal.CLEAR): Row(_R, _clear),
    (_A, Signal.HOLD): Row(_A, _hold),
    (_A, Signal.UNPROVED): Row(_A, go_on),
    (_A, Signal.TIME): Row(_A, remind),
    (_A, Signal.EXPIRE): Row(_T, expire),  # nobody has said for too long that they are still at it
    (_A, Signal.ACKNOWLEDGE): Row(_A, acknowledge_again),
    (_A, Signal.TAKE_OVER): Row(_A, take_over),
    (_A, Signal.SNOOZE): Row(_A, snooze_owned),
    (_A, Signal.STAY_AWAKE): Row(_A, stay_awake),
    (_A, Signal.UNACKNOWLEDGE): Row(_T, unacknowledge),
    (_A, Signal.RESOLVE): Row(_R, _resolve),
    (_A, Signal.PAUSE): Row(_A, pause),
    (_A, Signal.RESUME): Row(_A, resume),
    (_A, Signal.ASK): Row(_A, ask),
    (_A, Signal.UNANSWERED): Row(_A, unanswered),
    (_A, Signal.MOVE): Row(_T, move),
    (_A, Signal.ESCALATE): Row(_A, escalate),  # the owner gets help, and keeps it
    (_A, Signal.HELP): Row(_A, help_sent),
    (_A, Signal.NOTE): Row(_A, note),
    (_A, Signal.SILENCE): Row(_A, silence),
    (_A, Signal.SILENCE_OVER): Row(_A, silence_over),
    (_A, Signal.ATTACH): Row(_A, attach),
    (_A, Signal.DETACH): Row(_A, set_free),
    (_A, Signal.ADOPT): Row(_A, adopt),
    (_A, Signal.OUTRANK): Row(_T, adopt),
    (_A, Signal.PARENT_ENDED): Row(_A, parent_ended),
    (_A, Signal.PARENT_MOVED): Row(_A, parent_moved),
    (_A, Signal.STILL_NEEDED): Row(_A, still_needed),
    (_R, Signal.ENDED): Row(_R, _ended),
    (_R, Signal.REOPEN): Row(_T, _reopen),
    (_R, Signal.RETURN): Row(_A, _return),
    (_R, Signal.ACKNOWLEDGE): Row(_R, _too_late),
    (_R, Signal.RESOLVE): Row(_R, _too_late),
    (_R, Signal.UNDO): Row(_T, undo),
    (_R, Signal.UNDO_OWNED): Row(_A, undo),
    (_R, Signal.STILL_FIRING): Row(_R, _still_firing),
    (_R, Signal.NOTE): Row(_R, note),
    (_R, Signal.SILENCE): Row(_R, silence),
    (_R, Signal.LATE): Row(_R, acted_late),
    (_R, Signal.ADOPT): Row(_R, send_away),
    (_R, Signal.OUTRANK): Row(_R, send_away),
    (_R, Signal.PARENT_ENDED): Row(_R, parent_ended),
    (_R, Signal.PARENT_MOVED): Row(_R, parent_moved),
}


_PAGES = (Signal.DELIVERED, Signal.UNREACHED, Signal.UNDELIVERED)
_TIMES = (Signal.TIME, Signal.UNPROVED, Signal.PAUSE, Signal.RESUME, Signal.SILENCE_OVER)
_ANSWERS = (Signal.ACKNOWLEDGE, Signal.RESOLVE, Signal.OUTDATED, Signal.UNDO, Signal.LATE, Signal.NOTE, Signal.SILENCE)
_OF_OTHERS = (Signal.ADOPT, Signal.OUTRANK, Signal.PARENT_ENDED, Signal.PARENT_MOVED)
_ACTS = (Signal.SNOOZE, Signal.ASK, Signal.MOVE, Signal.ESCALATE, Signal.ATTACH, Signal.DETACH, Signal.UNACKNOWLEDGE)
_REFUSED = (Signal.REPEATED, Signal.OUT_OF_BOUNDS, Signal.NOT_ATTACHABLE, Signal.UNCONFIRMED)
_AWAKE = (Signal.TAKE_AWAKE, Signal.STAY_AWAKE)
_TIMES_OF_ACTS = (Signal.UNANSWERED, Signal.STILL_NEEDED)

IGNORED: dict[tuple[State, Signal], Ignored] = {
    **dict.fromkeys(
        product([_N], [Signal.CLEAR, *_PAGES, *_TIMES, *_ANSWERS, *_OF_OTHERS, Signal.STILL_FIRING]),
        Ignored.NOT_OPENED,
    ),
    **dict.fromkeys(product([_A], _PAGES), Ignored.ANSWERED),
    **dict.fromkeys(product([_T, _A, _R], [Signal.OUTDATED]), Ignored.FIRED_AGAIN),
    **dict.fromkeys(product([_T, _A], [Signal.UNCONFIRMED]), Ignored.UNCONFIRMED),
    **dict.fromkeys(product([_T, _A], [Signal.UNDO, Signal.STILL_FIRING]), Ignored.OPEN),
    **dict.fromkeys(product([_T, _A], [Signal.REPEATED]), Ignored.REPEATED),
    (_A, Signal.TAKE_AWAKE): Ignored.ANSWERED,
    (_R, Signal.TAKE_AWAKE): Ignored.OVER,
    **dict.fromkeys(product([_T, _A], [Signal.OUT_OF_BOUNDS]), Ignored.OUT_OF_BOUNDS),
    **dict.fromkeys(product([_T, _A], [Signal.NOT_ATTACHABLE]), Ignored.NOT_ATTACHABLE),
    **dict.fromkeys(product([_N, _T, _A, _R], [Signal.NOBODY]), Ignored.NOBODY),
    **dict.fromkeys(product([_T, _A, _R], [Signal.PAGE_BY_HAND]), Ignored.REPEATED),
    (_R, Signal.UNDO_LATE): Ignored.TOO_LATE,
    (_R, Signal.UNDO_ENDED): Ignored.ENDED,
    **dict.fromkeys(product([_R], [Signal.CLEAR, *_PAGES, *_TIMES]), Ignored.OVER),
    **dict.fromkeys(
        chain(
            product([_N, _T, _A], [Signal.ENDED, Signal.UNDO_OWNED, Signal.UNDO_ENDED, Signal.UNDO_LATE]),
            product([_N], [Signal.RAISE, Signal.HOLD, Signal.REOPEN, Signal.RETURN, Signal.EXPIRE]),
            product([_N, _R], [*_ACTS, *_REFUSED, *_TIMES_OF_ACTS, Signal.TAKE_OVER, Signal.HELP]),
            product([_T], [Signal.REOPEN, Signal.RETURN, Signal.EXPIRE, Signal.LATE]),
            product([_T], [Signal.TAKE_OVER, Signal.UNACKNOWLEDGE, Signal.HELP, Signal.STAY_AWAKE]),
            product([_N], _AWAKE),
            [(_R, Signal.STAY_AWAKE)],
            product([_A], [Signal.REOPEN, Signal.RETURN, Signal.LATE]),
            product([_R], [Signal.FIRE, Signal.RAISE, Signal.HOLD, Signal.EXPIRE]),
        ),
        Ignored.NEVER_SENT,
    ),
}
