"""Says who is on call at any instant: rotations in layers, overrides, swaps, imported calendars, vacations. Pure.

A rotation of days hands over at a wall-clock time of its zone: 09:00 stays 09:00 when the clocks change. Each day
has exactly one hand-over instant (a time that does not exist is read with the offset before the change, one that
exists twice is the first), so there is never a gap and never are there two owners. A rotation of hours counts real
hours.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from operator import attrgetter
from zoneinfo import ZoneInfo

import msgspec

from receiver.oncall.hours import Hours

People = tuple[str, ...]
_DAY = timedelta(days=1)


class Layer(msgspec.Struct, frozen=True):
    """One rotation: ``shifts`` follow each other, ``length`` long, from the first hand-over on ``start``."""

    zone: str
    start: date
    handover: int  # minute of the day
    length: timedelta  # whole days are days of the calendar, anything else is real time
    shifts: tuple[People, ...]
    restrictions: tuple[Hours, ...] = ()  # the layer applies only within these; empty: always
    end: datetime | None = None
    served: frozenset[int] = frozenset()  # days of the week whose shifts count as turns, Monday is 0; empty: all

    @property
    def by_days(self) -> bool:
        """Say whether it hands over by the calendar."""
        return self.length % _DAY == timedelta(0)

    def boundary(self, day: date) -> datetime:
        """Give the instant of a day's hand-over."""
        local = datetime.combine(day, time(self.handover // 60, self.handover % 60), ZoneInfo(self.zone))
        return local.astimezone(UTC)

    def turn(self, at: datetime) -> int | None:
        """Count the shifts that were over before ``at``; None when the layer does not apply then."""
        if at < self.boundary(self.start) or (self.end is not None and at >= self.end):
            return None
        if self.restrictions and not any(hours.contains(at) for hours in self.restrictions):
            return None
        if not self.by_days:
            return int((at - self.boundary(self.start)) / self.length)
        day = at.astimezone(ZoneInfo(self.zone)).date()
        while self.boundary(day) > at:
            day -= _DAY
        return self._days_until(day) // self.length.days

    def _days_until(self, day: date) -> int:
        """Count the days from the start on that are a turn, or a part of one."""
        days = (day - self.start).days
        if not self.served:
            return days
        weeks, rest = divmod(days, 7)
        first = self.start.weekday()
        return weeks * len(self.served) + sum((first + offset) % 7 in self.served for offset in range(rest))

    def changes(self, start: datetime, end: datetime) -> list[datetime]:
        """List the instants in a range at which this layer's shift may change."""
        instants = [self.boundary(self.start)] + ([self.end] if self.end else [])
        if self.by_days:
            instants += [self.boundary(day) for day in _days(start, end, self.zone)]
        else:
            turns = max(0, int((start - instants[0]) / self.length))
            while (at := instants[0] + turns * self.length) <= end:
                instants.append(at)
                turns += 1
        for hours in self.restrictions:
            instants += hours.edges(start, end)
        return instants


def served_days(handover: int, restrictions: Iterable[Hours]) -> frozenset[int]:
    """Give the days of the week, Monday is 0, whose shift (one day from ``handover`` on) lies within restrictions."""
    windows = [
        (day * 1440 + hours.start, day * 1440 + hours.end + (1440 if hours.end <= hours.start else 0))
        for hours in restrictions
        for day in hours.days
    ]
    week = 7 * 1440
    return frozenset(
        day
        for day in range(7)
        for start, end in windows
        for shifted in (-week, 0, week)
        if start + shifted < day * 1440 + handover + 1440 and day * 1440 + handover < end + shifted
    )


class Span(msgspec.Struct, frozen=True):
    """Somebody from one instant to another: an override, or an entry of a calendar."""

    start: datetime
    end: datetime
    people: People

    def covers(self, at: datetime) -> bool:
        """Say whether an instant lies within."""
        return self.start <= at < self.end


class Swap(msgspec.Struct, frozen=True):
    """Two people take each other's shifts between two instants."""

    start: datetime
    end: datetime
    one: str
    other: str


class Schedule(msgspec.Struct, frozen=True):
    """Who is on call. Overrides win over calendars, those over layers, a later layer over an earlier one."""

    name: str
    zone: str
    layers: tuple[Layer, ...] = ()
    overrides: tuple[Span, ...] = ()
    swaps: tuple[Swap, ...] = ()
    calendar: tuple[Span, ...] = ()  # as ``side_by_side`` gives them
    away: dict[str, tuple[tuple[datetime, datetime], ...]] = {}  # vacations; msgspec copies a mutable default


class Shift(msgspec.Struct, frozen=True):
    """The same people without a break; nobody if ``people`` is empty."""

    start: datetime
    end: datetime
    people: People


def on_call(schedule: Schedule, at: datetime) -> People:
    """Give the keys of those who are on call at an instant, in the order of the file; () is nobody."""
    for override in reversed(schedule.overrides):
        if override.covers(at):
            return _here(schedule, override.people, at)
    people = _here(schedule, _swapped(schedule, _imported(schedule.calendar, at), at), at)
    for layer in reversed(schedule.layers):
        if people:
            break
        people = _of_layer(schedule, layer, at)
    return people


def shifts(schedule: Schedule, start: datetime, end: datetime) -> tuple[Shift, ...]:
    """Give the shifts from ``start`` to ``end`` without gaps: neighbours differ, and () is a shift of nobody."""
    edges = sorted({start, *(edge for edge in _changes(schedule, start, end) if start < edge < end), end})
    merged: list[Shift] = []
    for begin, finish in pairwise(edges):
        people = on_call(schedule, begin)
        if merged and merged[-1].people == people:
            merged[-1] = Shift(merged[-1].start, finish, people)
        else:
            merged.append(Shift(begin, finish, people))
    return tuple(merged)


def never_on_call(schedule: Schedule, since: datetime) -> tuple[str, ...]:
    """Name those in layers that go on who would never be on call, however long one waits.

    A daily rotation of seven that applies on weekdays, for example, always gives the weekend to the same two.
    """
    layers = [layer for layer in schedule.layers if layer.end is None or layer.end > since]
    alone = Schedule(schedule.name, schedule.zone, tuple(layers))
    start = max([since, *(layer.boundary(layer.start) for layer in layers)])
    # Long enough for each to have had a turn twice, and for what repeats with the weeks.
    longest = max((len(layer.shifts) * layer.length for layer in layers), default=_DAY)
    end = start + max(2 * longest + 14 * _DAY, 400 * _DAY)
    on_call = {key for shift in shifts(alone, since, end) for key in shift.people}
    listed = dict.fromkeys(key for layer in layers for people in layer.shifts for key in people)
    return tuple(key for key in listed if key not in on_call)


def side_by_side(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Give the same people at the same times, in order and so that no two spans overlap.

    Who is on call can then be found at once, in a calendar of thousands of entries as well. Of people who overlap,
    those of the earlier span come first.
    """
    joined = _joined(spans)
    edges = sorted({edge for span in joined for edge in (span.start, span.end)})
    merged: list[Span] = []
    active: list[Span] = []
    coming = iter([*joined, None])
    upcoming = next(coming)
    for begin, finish in pairwise(edges):
        active = [span for span in active if span.end > begin]
        while upcoming is not None and upcoming.start <= begin:
            active.append(upcoming)
            upcoming = next(coming)
        people = tuple(dict.fromkeys(key for span in active for key in span.people))
        if merged and merged[-1].end == begin and merged[-1].people == people:
            merged[-1] = Span(merged[-1].start, finish, people)
        elif people:
            merged.append(Span(begin, finish, people))
    return tuple(merged)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Join what the same people have without a break, in the order of time: few spans are then active at once."""
    joined: list[Span] = []
    latest: dict[People, int] = {}
    for span in sorted(spans, key=lambda span: (span.start, span.end, span.people)):
        before = latest.get(span.people)
        if before is not None and span.start <= joined[before].end:
            joined[before] = Span(joined[before].start, max(joined[before].end, span.end), span.people)
            continue
        latest[span.people] = len(joined)
        joined.append(span)
    return joined


def _imported(calendar: tuple[Span, ...], at: datetime) -> People:
    before = bisect_right(calendar, at, key=attrgetter("start"))
    return calendar[before - 1].people if before and calendar[before - 1].covers(at) else ()


def _of_layer(schedule: Schedule, layer: Layer, at: datetime) -> People:
    """The layer's shift; who is away is stood in for by those whose turn is next."""
    turn = layer.turn(at)
    if turn is None:
        return ()
    for later in range(len(layer.shifts)):
        people = _here(schedule, _swapped(schedule, layer.shifts[(turn + later) % len(layer.shifts)], at), at)
        if people:
            return people
    return ()


def _swapped(schedule: Schedule, people: People, at: datetime) -> People:
    for swap in schedule.swaps:
        if swap.start <= at < swap.end:
            exchange = {swap.one: swap.other, swap.other: swap.one}
            people = tuple(dict.fromkeys(exchange.get(key, key) for key in people))
    return people


def _here(schedule: Schedule, people: People, at: datetime) -> People:
    if not schedule.away:
        return people
    return tuple(key for key in people if not any(start <= at < end for start, end in schedule.away.get(key, ())))


def _changes(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    instants = [edge for layer in schedule.layers for edge in layer.changes(start, end)]
    for span in (*schedule.overrides, *schedule.calendar):
        instants += [span.start, span.end]
    for swap in schedule.swaps:
        instants += [swap.start, swap.end]
    return instants + [edge for times in schedule.away.values() for pair in times for edge in pair]


def _days(start: datetime, end: datetime, zone: str) -> list[date]:
    first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (start, end))
    return [first + timedelta(days=offset) for offset in range(-1, (last - first).days + 2)]
