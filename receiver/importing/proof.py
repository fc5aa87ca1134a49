"""Compares who is on call by the source and by ours, and whom an alert reaches when, with causes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from receiver.importing.draft import Rendered, Told
from receiver.oncall.schedule import People, Schedule, on_call, shifts

_NEAR = timedelta(hours=36)  # a shift around a change of the clocks
_JITTER = timedelta(seconds=1)  # sources end a period with 23:59:59


class Difference(msgspec.Struct, frozen=True):
    """A time at which both name others; ``cause`` is empty if it cannot be explained."""

    schedule: str
    start: datetime
    end: datetime
    source: frozenset[str]
    ours: frozenset[str]
    cause: str = ""


class Delay(msgspec.Struct, frozen=True):
    """So many seconds after an alert, both tell others."""

    team: str
    after: int
    source: frozenset[str]
    ours: frozenset[str]


def differences(
    schedules: Mapping[str, Schedule], rendered: Mapping[str, Sequence[Rendered]], start: datetime, end: datetime
) -> tuple[Difference, ...]:
    """Compare all schedules that the source renders, at every edge of both sides, so at every instant."""
    found: list[Difference] = []
    for name, theirs in rendered.items():
        if name in schedules:
            found += _of_schedule(schedules[name], theirs, start, end)
    return tuple(found)


def _of_schedule(
    schedule: Schedule, theirs: Sequence[Rendered], start: datetime, end: datetime
) -> Iterable[Difference]:
    ours = shifts(schedule, start, end)
    spans = [one for one in theirs if one.end > start and one.start < end]
    edges = {start, end, *(edge for one in spans for edge in (one.start, one.end)), *(shift.start for shift in ours)}
    pending: Difference | None = None
    place = 0
    active: list[Rendered] = []
    waiting = sorted(spans, key=lambda one: one.start, reverse=True)
    for begin, finish in pairwise(sorted(edge for edge in edges if start <= edge <= end)):
        while waiting and waiting[-1].start <= begin:
            active.append(waiting.pop())
        active = [one for one in active if one.end > begin]
        while ours[place].end <= begin:
            place += 1
        source, own = frozenset(one.person for one in active), frozenset(ours[place].people)
        if source == own or finish - begin <= _JITTER:
            continue
        if pending and pending.end == begin and (pending.source, pending.ours) == (source, own):
            pending = msgspec.structs.replace(pending, end=finish)
            continue
        if pending:
            yield _explained(pending, schedule)
        pending = Difference(schedule.name, begin, finish, source, own)
    if pending:
        yield _explained(pending, schedule)


def _explained(difference: Difference, schedule: Schedule) -> Difference:
    return msgspec.structs.replace(difference, cause=_cause(difference, schedule))


def _cause(difference: Difference, schedule: Schedule) -> str:
    strangers = {person for person in difference.source if person.startswith("<")}
    if strangers and difference.source - strangers <= difference.ours:
        return "not imported: " + ", ".join(sorted(strangers))
    for zone in sorted({schedule.zone, *(layer.zone for layer in schedule.layers)}):
        short = difference.end - difference.start <= timedelta(hours=2)
        if short and _changes(zone, difference.start - _NEAR, difference.end + _NEAR):
            return f"the clocks of {zone} change"
    return ""


def _changes(zone: str, start: datetime, end: datetime) -> bool:
    return start.astimezone(ZoneInfo(zone)).utcoffset() != end.astimezone(ZoneInfo(zone)).utcoffset()


def delays(
    told: Mapping[str, Sequence[Told]],
    paged: Mapping[str, Mapping[int, frozenset[str]]],
    schedules: Mapping[str, Schedule],
    start: datetime,
) -> tuple[Delay, ...]:
    """Compare the pages of each team with what the second model of the source says.

    ``paged`` gives the people by seconds after the alert, which came at ``start``. Who is on call for a schedule is
    ours on both sides: that is what `differences` compares.
    """
    found = []
    for team, theirs in told.items():
        expected = {one.after: _people(one.whom, schedules, start + timedelta(seconds=one.after)) for one in theirs}
        mine = paged.get(team, {})
        for after in sorted({*expected, *mine}):
            source, ours = expected.get(after, frozenset()), mine.get(after, frozenset())
            if source != ours:
                found.append(Delay(team, after, source, ours))
    return tuple(found)


def _people(whom: frozenset[str], schedules: Mapping[str, Schedule], at: datetime) -> frozenset[str]:
    people: list[People] = [on_call(schedules[key], at) if key in schedules else (key,) for key in whom]
    return frozenset(key for keys in people for key in keys)
