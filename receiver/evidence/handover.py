"""Sums a shift up for those who come on call: what is open, what ends soon, and what happened."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.incident.model import Incident, PauseKind, State
from receiver.messages.i18n import Reader, one_line
from receiver.messages.render import subject_tag, what_broke
from receiver.policy.coverage import role_shifts
from receiver.policy.routing import Routing
from receiver.store.base import IncidentHistory, Store

SOON = timedelta(hours=24)  # in which silences and snoozes end that are named
LISTED = 20  # incidents of a list
_LINE = 200  # characters
_LONGEST = timedelta(days=14)  # of a shift

Numbered = tuple[str, int]


class Change(msgspec.Struct, frozen=True):
    """One shift of a role ends at ``at``, and another begins; people by their keys."""

    role: str
    start: datetime
    at: datetime
    leaving: tuple[str, ...]
    coming: tuple[str, ...]


class Handover(msgspec.Struct, frozen=True):
    """What is handed over: open incidents, the most urgent first, and what the shift was like."""

    change: Change
    open: tuple[Incident, ...]
    ending: tuple[tuple[datetime, Incident], ...]  # silences and snoozes, by when they end
    over: tuple[Incident, ...]  # opened in the shift, and resolved by now
    opened: int
    pages: int
    breaches: int


def last_change(routing: Routing, role: str, since: datetime, now: datetime) -> Change | None:
    """Give the newest change of who holds a role after ``since``; None if there was none."""
    begin = max(since, now - _LONGEST)
    found = role_shifts(routing, role, begin, now + timedelta.resolution)  # a change at this very moment as well
    for before, after in zip(reversed(found[:-1]), reversed(found[1:]), strict=True):
        if before.people != after.people:
            return Change(role, before.start, after.start, before.people, after.people)
    return None


def current_shift(routing: Routing, role: str, now: datetime) -> Change:
    """Give the shift that is under way as if it ended now, with who comes next."""
    found = role_shifts(routing, role, now - _LONGEST, now + timedelta.resolution)
    ahead = role_shifts(routing, role, now, now + _LONGEST)
    coming = next((one.people for one in ahead if one.people != found[-1].people), ())
    return Change(role, found[-1].start, now, found[-1].people, coming)


def handover(change: Change, still_open: Iterable[Incident], shift: Iterable[IncidentHistory]) -> Handover:
    """Sum up; ``shift`` is what opened in it. Drills, and what the role has nothing to do with, are left out."""
    open_now = [one for one in still_open if _concerns(one, change.role)]
    histories = [one for one in shift if _concerns(one.incident, change.role)]
    ends = [(end, one) for one in open_now if (end := _end(one)) and end <= change.at + SOON]
    return Handover(
        change=change,
        open=tuple(sorted(open_now, key=lambda one: (one.priority, one.opened_at or change.at))),
        ending=tuple(sorted(ends, key=lambda pair: pair[0])),
        over=tuple(one.incident for one in histories if one.incident.state is State.RESOLVED),
        opened=len(histories),
        pages=sum(len(one.pages) for one in histories),
        breaches=sum(one.breached for one in histories),
    )


async def summed_up(store: Store, change: Change) -> Handover:
    """Read what happened in a shift; StoreError if it cannot be read."""
    shift = [one async for one in store.opened_between(change.start, change.at)]
    return handover(change, await store.still_open(), shift)


def _concerns(incident: Incident, role: str) -> bool:
    return not incident.drill and any(role in step.roles for step in incident.plan.steps)


def _end(incident: Incident) -> datetime | None:
    paused = incident.paused
    if paused is not None and paused.kind is PauseKind.SILENCE:
        return paused.until
    return incident.snoozed_until


def title(summary: Handover, reader: Reader) -> str:
    """Say who hands over to whom."""
    change = summary.change
    values = {"role": reader.name("role", change.role), "who": _people(change.coming, reader)}
    return one_line(reader.say("handover_title", **values), _LINE)


def sections(summary: Handover, reader: Reader, now: datetime) -> list[tuple[str, list[str]]]:
    """Write it as headings with lines, in the reader's language and zone; a list that is empty has no heading."""
    return [(heading, [line for line, _ in lines]) for heading, lines in numbered(summary, reader, now)]


def numbered(summary: Handover, reader: Reader, now: datetime) -> list[tuple[str, list[Numbered]]]:
    """Give each line with the number of the incident that it is about; 0 for none."""
    change, say = summary.change, reader.say
    counts = (("opened", summary.opened), ("pages", summary.pages), ("breaches", summary.breaches))
    numbers = ", ".join(say(f"handover_{name}", count=count) for name, count in counts)
    shift = say("handover_shift", who=_people(change.leaving, reader), start=reader.moment(change.start))
    found = [
        (say("handover_shift_title"), [(shift, 0), (numbers, 0)]),
        (say("handover_open", count=len(summary.open)), [(_line(one, reader, now), one.id) for one in summary.open]),
        (
            say("handover_ending"),
            [(f"{reader.time(end, now)}: {_name(one, reader)}", one.id) for end, one in summary.ending],
        ),
        (say("handover_over"), [(_line(one, reader, now), one.id) for one in summary.over]),
    ]
    return [(heading, _cut(lines, reader)) for heading, lines in found if lines]


def text(summary: Handover, reader: Reader, now: datetime) -> str:
    """Write it as plain text."""
    parts = [
        f"{heading}\n" + "\n".join(f"- {line}" for line in lines) for heading, lines in sections(summary, reader, now)
    ]
    return "\n\n".join(parts)


def _cut(lines: list[Numbered], reader: Reader) -> list[Numbered]:
    more = len(lines) - LISTED
    return lines if more <= 0 else [*lines[:LISTED], (reader.say("and_more", count=more), 0)]


def _people(keys: Iterable[str], reader: Reader) -> str:
    return reader.say("and").join(reader.who(key) for key in keys) or reader.say("gap_nobody")


def _name(incident: Incident, reader: Reader) -> str:
    tag = subject_tag(incident.priority.value, incident.state, reader)
    return one_line(f"{tag} #{incident.id} {what_broke(incident, reader)}", _LINE)


def _line(incident: Incident, reader: Reader, now: datetime) -> str:
    length = reader.duration(incident.open_for(incident.resolved_at or now))
    owner = f", {reader.who(incident.acknowledged_by)}" if incident.acknowledged_by else ""
    return f"{_name(incident, reader)}, {length}{owner}"
