"""What the page of one incident shows, in the order in which somebody who was just woken asks for it."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from process.web import whole_number
from receiver.evidence.alert_query import is_drawable
from receiver.evidence.similar import Similar, ending_text
from receiver.incident.acts import longest_snooze
from receiver.incident.alerts import ALERTS
from receiver.incident.model import Alert, Data, Entry, EntryKind, Incident, Kind, State
from receiver.incident.undo import can_undo, has_ended, resolve_of
from receiver.messages.i18n import Reader, one_line, several_lines
from receiver.messages.render import annotated_url, in_order, safe_url, what_broke
from receiver.messages.timeline import LINE, folded, group_text, pause_text
from receiver.store.base import LINES_SHOWN, Store
from receiver.store.silences import MadeSilence
from receiver.web.console.layout import Viewing
from receiver.web.console.now_page import upcoming
from receiver.web.console.times import Times

_MORNING = "08:00"  # until when somebody snoozes who goes to bed
_MOST_SKIPPED = 100_000  # lines of a timeline
LISTED = 20  # alerts that the page shows
_LABELS, _LABEL = 40, 300  # labels of an alert, and characters of one

_PAGES = frozenset({EntryKind.TOLD, EntryKind.DEAD, EntryKind.FALLBACK})
_PEOPLE = frozenset(
    {
        *(EntryKind.ACKNOWLEDGED, EntryKind.JOINED, EntryKind.RENEWED, EntryKind.ACKNOWLEDGED_LATE),
        *(EntryKind.RESOLVED_LATE, EntryKind.RESOLVED_BY_HAND, EntryKind.RESOLVE_UNDONE, EntryKind.UNACKNOWLEDGED),
        *(EntryKind.SNOOZED, EntryKind.TAKEN_OVER, EntryKind.ASKED, EntryKind.MOVED, EntryKind.ESCALATED_NOW),
        *(EntryKind.SILENCED, EntryKind.SILENCE_EXTENDED, EntryKind.SILENCE_ENDED),
        *(EntryKind.NOTED, EntryKind.ATTACHED, EntryKind.DETACHED, EntryKind.RAISED, EntryKind.ACTED_LATE),
    }
)
_ALERTS = frozenset(
    {
        *(EntryKind.OPENED, EntryKind.ALERT_FIRING, EntryKind.ALERT_RESOLVED, EntryKind.ALERTS_FIRING),
        *(EntryKind.ALERTS_RESOLVED, EntryKind.RESOLVED, EntryKind.RESOLVED_QUIET, EntryKind.REOPENED),
        *(EntryKind.FLAPPING, EntryKind.STILL_FIRING, EntryKind.PAUSED, EntryKind.RESUMED),
        EntryKind.SILENCE_OVER,
    }
)


class Shown(msgspec.Struct, frozen=True):
    """One alert."""

    what: str
    description: str
    runbook: str
    since: datetime
    labels: tuple[tuple[str, str], ...]
    firing: bool


class Line(msgspec.Struct, frozen=True):
    """One line of the timeline; ``kind`` is what it can be filtered by: people, pages or alerts."""

    at: datetime
    text: str
    kind: str


class Way(msgspec.Struct, frozen=True):
    """One way by which somebody was paged, and what became of it."""

    channel: str
    at: datetime
    failure: str = ""


class Paged(msgspec.Struct, frozen=True):
    """A person or a place, and the ways by which they were paged."""

    whom: str
    ways: tuple[Way, ...]


class Before(msgspec.Struct, frozen=True):
    """An earlier incident like this one."""

    number: int
    title: str
    opened: datetime
    length: str
    ending: str


class Undo(msgspec.Struct, frozen=True):
    """The button that takes a resolve back."""

    resolve: int
    until: datetime
    seconds: int  # until then


def values(
    incident: Incident,
    timeline: Sequence[Entry],
    look: Viewing,
    silences: Iterable[MadeSilence],
    *,
    asking: bool = False,
) -> dict[str, object]:
    """Give what the template needs; ``asking`` puts the question whether to resolve what still fires.

    ``silences`` are those that were made from it, the newest first.
    """
    reader, now = look.reader, look.now
    lead = next(iter(incident.shown), None)
    next_at, next_whom = upcoming(incident, look.routing, reader)
    last = incident.next_step >= len(incident.plan.steps)
    return {
        "number": incident.id,
        "state": incident.state.value,
        "priority": incident.priority.value,
        "team": one_line(incident.team, LINE),
        "title": what_broke(incident, reader),
        "since": incident.opened_at or now,
        "firing": incident.firing_count,
        "begun": incident.begun,
        "standing": standing(incident, look),
        "next_at": next_at,
        "next_whom": next_whom,
        "last_step": incident.state is State.TRIGGERED and last and next_at is None,
        "breached": incident.breached_at is not None and incident.state is State.TRIGGERED,
        "drill": incident.drill,
        "paused": pause_text(incident.paused, reader, now) if incident.paused else "",
        "flapping": incident.flapping,
        "mine": incident.acknowledged_by != "" and incident.acknowledged_by == look.viewer.actor,
        "renewable": bool(incident.clocks.acknowledged_until and not incident.clocks.remind_due_at),
        "asking": asking and incident.state is not State.RESOLVED and bool(incident.firing),
        "undo": _undo(incident, now),
        "description": several_lines(lead.annotations.get("description", ""), LINE) if lead else "",
        "links": _links(lead, reader) if lead else (),
        "lead_urls": tuple(url for _, url in (_links(lead, reader) if lead else ())),
        "alerts": tuple(_alert(alert, reader) for alert in _in_view(incident)),
        "alert_count": len(incident.alerts) + incident.unlisted + incident.truncated,
        "drawable": is_drawable(incident),
        "silences": _silences(silences, now),
        "source": incident.source,
        "paged": paged(timeline, reader),
        **_acts(incident, look),
        "timeline": _lines(timeline, reader),
        "older": LINES_SHOWN if len(timeline) >= LINES_SHOWN else 0,
    }


async def older_lines(store: Store, incident: Incident, query: Mapping[str, str], look: Viewing) -> dict[str, object]:
    """Give what a page of older lines needs; ``skip`` says how many newer ones are left out."""
    skip = whole_number(query.get("skip", ""), _MOST_SKIPPED) or 0
    lines = await store.lines(incident.id, skip, LINES_SHOWN)
    ends = len(lines) < LINES_SHOWN or skip + LINES_SHOWN > _MOST_SKIPPED
    return {
        "number": incident.id,
        "title": what_broke(incident, look.reader),
        "timeline": _lines(lines, look.reader),
        "newer": max(0, skip - LINES_SHOWN),
        "older": 0 if ends else skip + LINES_SHOWN,
    }


def form_key() -> str:
    """Make what tells a form that is sent twice from two forms."""
    return secrets.token_urlsafe(12)


def whom(look: Viewing) -> tuple[tuple[str, str, bool], ...]:
    """List whom something can be handed to: what the form sends, the name, and whether it is a person."""
    people = sorted((look.reader.who(key), key) for key in look.routing.people if key != look.viewer.person)
    teams = [(f"team:{team}", one_line(team, LINE), False) for team in sorted(look.routing.teams)]
    return (*((f"person:{key}", name, True) for name, key in people), *teams)


def _snoozes(incident: Incident, look: Viewing) -> tuple[tuple[str, str], ...]:
    """List until when it can be snoozed: what the form sends, and what that is called."""
    reader, longest = look.reader, longest_snooze(incident.priority)
    spans = [timedelta(minutes=minutes) for minutes in (15, 30, 60, 120, 240, 480)]
    offered = [(str(int(span.total_seconds() // 60)), reader.duration(span)) for span in spans if span <= longest]
    morning = datetime.fromisoformat(reader.local(look.now, f"%Y-%m-%dT{_MORNING}:00%z"))
    morning += timedelta(days=1) if morning <= look.now else timedelta(0)
    if morning - look.now <= longest:
        until = Times(reader, look.now).clock(morning)
        offered.append((f"@{int(morning.timestamp())}", reader.say("console_until", time=until)))
    return tuple(offered)


def _acts(incident: Incident, look: Viewing) -> dict[str, object]:
    """Say what can be done beside acknowledging and resolving, and what the forms for it need."""
    steps, reader = incident.plan.steps, look.reader
    roles = steps[min(incident.next_step, len(steps) - 1)].roles if steps else ()
    people = dict.fromkeys(reader.who(person) for role in roles for person in look.routing.holders(role, look.now))
    return {
        "snoozes": _snoozes(incident, look),
        "whom": whom(look),
        "maintenances": tuple((str(m), reader.duration(60 * m)) for m in (30, 60, 120, 240, 480, 1440)),
        "step": incident.next_step,
        "escalates_to": (", ".join(people) or reader.roles(roles)) if steps else "",
        "attached_to": incident.attached_to,
        "asked": reader.say("console_asked", who=reader.who(incident.asked.person)) if incident.asked else "",
        "form_key": form_key(),
    }


def standing(incident: Incident, look: Viewing) -> str:
    """Say who has it, or how it ended."""
    if incident.state is State.TRIGGERED:
        return look.reader.say("console_nobody_has_it")
    return _ended(incident, look) if incident.state is State.RESOLVED else _owned(incident, look)


def _owned(incident: Incident, look: Viewing) -> str:
    reader, until = look.reader, incident.clocks.acknowledged_until
    time = Times(reader, look.now).clock(until) if until else ""
    if incident.snoozed_until is not None:
        return reader.say("console_snoozed", who=reader.who(incident.acknowledged_by), until=time)
    if incident.acknowledged_by and incident.acknowledged_by == look.viewer.actor:
        return reader.say("console_you_have_it_until", until=time) if until else reader.say("console_you_have_it")
    who = reader.who(incident.acknowledged_by)
    return (
        f"{reader.say('console_has_it_until', who=who)} {time}."
        if until
        else f"{reader.say('console_has_it', who=who)}."
    )


def _ended(incident: Incident, look: Viewing) -> str:
    reader, at = look.reader, Times(look.reader, look.now).clock(incident.resolved_at or look.now)
    if incident.resolved_by == ALERTS:
        return reader.say("console_resolved_by_alerts", at=at)
    values = {"who": reader.who(incident.resolved_by), "at": at}
    if incident.firing:
        return reader.say("answer_resolved_firing", **values, count=incident.firing_count)
    return reader.say("answer_resolved_by", **values)


def paged(timeline: Iterable[Entry], reader: Reader) -> tuple[Paged, ...]:
    """Say who was paged by which ways, and what became of each: the newest result of a way stands."""
    found: dict[str, dict[str, Way]] = {}
    for entry in timeline:
        data = entry.data
        if entry.kind not in {EntryKind.TOLD, EntryKind.DEAD} or data.notification is not Kind.PAGE:
            continue
        failure = reader.name("failure", data.failure.value) if data.failure else ""
        channel = reader.name("channel", data.channel)
        found.setdefault(_whom(data, reader), {})[channel] = Way(channel, entry.at, failure)
    return tuple(Paged(whom, tuple(ways.values())) for whom, ways in found.items())


def seen_before(found: Iterable[Similar], reader: Reader) -> tuple[Before, ...]:
    """List earlier incidents with how they ended."""
    return tuple(
        Before(
            past.id,
            one_line(past.title, LINE),
            past.opened_at,
            reader.duration(past.resolved_at - past.opened_at) if past.resolved_at else "",
            ending_text(one, reader),
        )
        for one in found
        if (past := one.incident).opened_at is not None
    )


def _whom(data: Data, reader: Reader) -> str:
    return reader.who(data.person) if data.person else one_line(data.address, LINE)


def _undo(incident: Incident, now: datetime) -> Undo | None:
    if incident.state is not State.RESOLVED or incident.undo is None or incident.resolved_at is None:
        return None
    if not can_undo(incident, now) or has_ended(incident):
        return None
    until = incident.undo.until
    return Undo(resolve_of(incident), until, max(1, int((until - now).total_seconds())))


def _silences(made: Iterable[MadeSilence], now: datetime) -> tuple[dict[str, object], ...]:
    """List the silences that have not ended, oldest first."""
    running = reversed([one for one in made if one.over_at is None and one.ends_at > now])
    return tuple(
        {"id": one.id, "by": one.made_by, "until": one.ends_at, "what": one_line(", ".join(one.matchers), LINE)}
        for one in running
    )


def _links(alert: Alert, reader: Reader) -> tuple[tuple[str, str], ...]:
    found = (
        (reader.say("runbook"), annotated_url(alert, "runbook")),
        (reader.say("dashboard"), annotated_url(alert, "dashboard")),
        (reader.say("query"), alert.generator_url if safe_url(alert.generator_url) else ""),
    )
    return tuple((text, url) for text, url in found if url)


def _in_view(incident: Incident) -> list[Alert]:
    """Give those that fire, and then the last that have resolved."""
    over = [alert for alert in reversed(incident.alerts.values()) if not alert.firing]
    return [*(incident.shown if incident.firing else ()), *over][:LISTED]


def _alert(alert: Alert, reader: Reader) -> Shown:
    labels, annotations = alert.labels, alert.annotations
    summary = annotations.get("summary") or annotations.get("message", "") or labels.get("alertname", "")
    shown = [(one_line(name, _LABEL), one_line(value, _LABEL)) for name, value in in_order(labels)[:_LABELS]]
    return Shown(
        what=one_line(summary, LINE) or reader.say("no_name"),
        description=several_lines(annotations.get("description", ""), LINE),
        runbook=annotated_url(alert, "runbook"),
        since=alert.starts_at,
        labels=tuple(shown),
        firing=alert.firing,
    )


def _lines(timeline: Sequence[Entry], reader: Reader) -> tuple[Line, ...]:
    """Write them, the newest first."""
    return tuple(_line(group, reader) for group in reversed(folded(timeline)))


def _line(group: Sequence[Entry], reader: Reader) -> Line:
    kind = group[0].kind
    name = "pages" if kind in _PAGES else "people" if kind in _PEOPLE else "alerts" if kind in _ALERTS else "other"
    return Line(group[0].at, group_text(group, reader), name)
