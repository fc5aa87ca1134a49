"""Says who is on call at any instant: rotations in layers, overrides, swaps, imported calendars, vacations. Pure.

A rotation of days hands over at a wall-clock time of its zone: 09:00 stays 09:00 when the clocks change. Each day
has exactly one hand-over instant (a time that does not exist is read with the offset before the change, one that
exists twice is the first), so there is never a gap and never are there two owners. A rotation of hours counts real
hours, or those of the wall clock. ``turns`` counts.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from zoneinfo import ZoneInfo

import msgspec

from receiver.oncall.hours import Hours
from receiver.oncall.turns import WEEK, Clock, Unit, WeekWindow

People = tuple[str, ...]
_DAY = timedelta(days=1)


class Layer(msgspec.Struct, frozen=True, dict=True):
    """One rotation: ``shifts`` follow each other, ``length`` long, from the first hand-over on ``start``."""

    zone: str
    start: date
    handover: int  # minute of the day
    length: timedelta  # whole days are days of the calendar, anything else is real time; see also ``unit``
    shifts: tuple[People, ...]  # () is a turn of nobody
    restrictions: tuple[Hours | WeekWindow, ...] = ()  # the layer applies only within these; empty: always
    end: datetime | None = None
    served: frozenset[int] = frozenset()  # days of the week whose shifts count as turns, Monday is 0; empty: all
    unit: Unit | None = None  # what ``length`` counts; of months and shifts it is their number, in days
    begin: datetime | None = None  # the first instant at which it applies; the first hand-over, if None
    part: timedelta | None = None  # only so much of each turn, from its beginning
    level: int | None = None  # equal levels are on call together, higher ones win; the place in the list, if None
    name: str = ""

    @cached_property
    def clock(self) -> Clock:
        """Give what counts its turns."""
        unit = self.unit or (Unit.DAYS if self.length % _DAY == timedelta(0) else Unit.HOURS)
        windows = tuple(window for window in self.restrictions if isinstance(window, WeekWindow))
        return Clock(self.zone, self.start, self.handover, unit, self.length, self.served, windows)

    def boundary(self, day: date) -> datetime:
        """Give the instant of a day's hand-over."""
        return self.clock.boundary(day)

    @property
    def applies_from(self) -> datetime:
        """Give the first instant at which it applies."""
        return self.begin or self.boundary(self.start)

    def turn(self, at: datetime) -> int | None:
        """Count the turns that were over before ``at``; None when the layer does not apply then."""
        if at < self.applies_from or (self.end is not None and at >= self.end):
            return None
        if self.restrictions and not any(hours.contains(at) for hours in self.restrictions):
            return None
        clock = self.clock
        turn = clock.turn(at)
        return turn if self.part is None or at < _part_ends(clock, turn, self.part) else None

    def changes(self, start: datetime, end: datetime) -> list[datetime]:
        """List the instants in a range at which this layer's shift may change."""
        clock = self.clock
        instants = [self.applies_from, *([self.end] if self.end else []), *clock.changes(start, end)]
        if self.part is not None:
            turns = range(clock.turn(start), clock.turn(end) + 1)
            instants += [_part_ends(clock, turn, self.part) for turn in turns]
        for hours in self.restrictions:
            instants += hours.edges(start, end)
        return instants


def _part_ends(clock: Clock, turn: int, part: timedelta) -> datetime:
    """Give the end of the first part of a turn: by the wall clock, unless its turns are of hours that have passed."""
    begins = clock.begins(turn)
    if clock.unit is Unit.HOURS:
        return begins + part
    zone = ZoneInfo(clock.zone)
    return (begins.astimezone(zone).replace(tzinfo=None, fold=0) + part).replace(tzinfo=zone).astimezone(UTC)


def served_days(handover: int, restrictions: Iterable[Hours]) -> frozenset[int]:
    """Give the days of the week, Monday is 0, whose shift (one day from ``handover`` on) lies within restrictions."""
    windows = [
        (day * 1440 + hours.start, day * 1440 + hours.end + (1440 if hours.end <= hours.start else 0))
        for hours in restrictions
        for day in hours.days
    ]
    return frozenset(
        day
        for day in range(7)
        for start, end in windows
        for shifted in (-WEEK, 0, WEEK)
        if start + shifted < day * 1440 + handover + 1440 and day * 1440 + handover < end + shifted
    )


class Span(msgspec.Struct, frozen=True):
    """Somebody from one instant to another: an override, or an entry of a calendar.

    Of an override, no people are nobody, and ``layers`` names those within which it stands for the layer's own shift.
    Of entries of a calendar, only those of the highest level count.
    """

    start: datetime
    end: datetime
    people: People
    layers: frozenset[str] = frozenset()
    level: int = 0

    def covers(self, at: datetime) -> bool:
        """Say whether an instant lies within."""
        return self.start <= at < self.end


class Swap(msgspec.Struct, frozen=True):
    """Two people take each other's shifts between two instants."""

    start: datetime
    end: datetime
    one: str
    other: str


class Amendment(msgspec.Struct, frozen=True):
    """Changes who is on call for a time, whoever that is: some leave, some are replaced, some are there as well."""

    start: datetime
    end: datetime
    remove: People = ()
    replace: dict[str, str] = {}  # msgspec copies a mutable default
    add: People = ()

    def amended(self, people: People, at: datetime) -> People:
        """Give who is on call instead."""
        if not self.start <= at < self.end:
            return people
        kept = (self.replace.get(key, key) for key in people if key not in self.remove)
        return tuple(dict.fromkeys((*kept, *self.add)))


class StandIn(msgspec.Struct, frozen=True):
    """Who takes somebody's place while they are away, instead of the next in turn."""

    start: datetime
    end: datetime
    person: str


class Schedule(msgspec.Struct, frozen=True, dict=True):
    """Who is on call. Overrides win over calendars, those over layers, a higher layer over a lower one."""

    name: str
    zone: str
    layers: tuple[Layer, ...] = ()
    overrides: tuple[Span, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    swaps: tuple[Swap, ...] = ()
    calendar: tuple[Span, ...] = ()  # as ``side_by_side`` gives them
    away: dict[str, tuple[tuple[datetime, datetime], ...]] = {}  # vacations; msgspec copies a mutable default
    stand_ins: dict[str, tuple[StandIn, ...]] = {}

    @cached_property
    def levels(self) -> tuple[tuple[Layer, ...], ...]:
        """Give the layers that are on call together, those that win first."""
        levels: dict[int, list[Layer]] = {}
        for place, layer in enumerate(self.layers):
            levels.setdefault(place if layer.level is None else layer.level, []).append(layer)
        return tuple(tuple(levels[level]) for level in sorted(levels, reverse=True))


class Shift(msgspec.Struct, frozen=True):
    """The same people without a break; nobody if ``people`` is empty."""

    start: datetime
    end: datetime
    people: People


def on_call(schedule: Schedule, at: datetime) -> People:
    """Give the keys of those who are on call at an instant, in the order of the file; () is nobody."""
    people = _before_amendments(schedule, at)
    for amendment in schedule.amendments:
        people = amendment.amended(people, at)
    return present(schedule, people, at) if schedule.amendments else people


def _before_amendments(schedule: Schedule, at: datetime) -> People:
    for override in reversed(schedule.overrides):
        if not override.layers and override.covers(at):
            return present(schedule, override.people, at)
    people = present(schedule, _swapped(schedule, _imported(schedule.calendar, at), at), at)
    return people or _of_layers(schedule, at)


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
    start = max([since, *(layer.applies_from for layer in layers)])
    # Long enough for each to have had a turn twice, and for what repeats with the weeks.
    longest = max((len(layer.shifts) * layer.clock.nominal for layer in layers), default=_DAY)
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
        highest = max((span.level for span in active), default=0)
        people = tuple(dict.fromkeys(key for span in active if span.level == highest for key in span.people))
        if merged and merged[-1].end == begin and merged[-1].people == people:
            merged[-1] = Span(merged[-1].start, finish, people)
        elif people:
            merged.append(Span(begin, finish, people))
    return tuple(merged)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Join what the same people have without a break, in the order of time: few spans are then active at once."""
    joined: list[Span] = []
    latest: dict[tuple[People, int], int] = {}
    for span in sorted(spans, key=lambda span: (span.start, span.end, span.people)):
        same = (span.people, span.level)
        before = latest.get(same)
        if before is not None and span.start <= joined[before].end:
            longer = max(joined[before].end, span.end)
            joined[before] = Span(joined[before].start, longer, span.people, level=span.level)
            continue
        latest[same] = len(joined)
        joined.append(span)
    return joined


def _imported(calendar: tuple[Span, ...], at: datetime) -> People:
    before = bisect_right(calendar, at, key=attrgetter("start"))
    return calendar[before - 1].people if before and calendar[before - 1].covers(at) else ()


def _of_layers(schedule: Schedule, at: datetime) -> People:
    """Those of the highest level that has somebody, together."""
    for layers in schedule.levels:
        people = [key for layer in layers for key in _of_layer(schedule, layer, at)]
        if people:
            return tuple(dict.fromkeys(people))
    return ()


def _of_layer(schedule: Schedule, layer: Layer, at: datetime) -> People:
    """The layer's shift; who is away is stood in for by those whose turn is next. Nobody's turn remains nobody's."""
    turn = layer.turn(at)
    if turn is None:
        return ()
    own = _overridden(schedule, layer, at)
    if own is not None:
        return present(schedule, own, at)
    for later in range(len(layer.shifts)):
        shift = layer.shifts[(turn + later) % len(layer.shifts)]
        people = present(schedule, _swapped(schedule, shift, at), at)
        if people or not (later or shift):
            return people
    return ()


def _overridden(schedule: Schedule, layer: Layer, at: datetime) -> People | None:
    """Who stands for the layer's own shift by an override that names it."""
    if not layer.name:
        return None
    named = (span for span in reversed(schedule.overrides) if layer.name in span.layers and span.covers(at))
    return next((span.people for span in named), None)


def _swapped(schedule: Schedule, people: People, at: datetime) -> People:
    for swap in schedule.swaps:
        if swap.start <= at < swap.end:
            exchange = {swap.one: swap.other, swap.other: swap.one}
            people = tuple(dict.fromkeys(exchange.get(key, key) for key in people))
    return people


def present(schedule: Schedule, people: People, at: datetime) -> People:
    """Leave out those who are away, or put in who stands in for them; two who stand in for each other are both away."""
    if not schedule.away:
        return people
    return tuple(dict.fromkeys(key for one in people for key in _present(schedule, one, at, frozenset())))


def _present(schedule: Schedule, key: str, at: datetime, asked: frozenset[str]) -> People:
    if key in asked:
        return ()
    if not any(start <= at < end for start, end in schedule.away.get(key, ())):
        return (key,)
    stand_in = next((one.person for one in schedule.stand_ins.get(key, ()) if one.start <= at < one.end), None)
    return _present(schedule, stand_in, at, asked | {key}) if stand_in else ()


def _changes(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    instants = [edge for layer in schedule.layers for edge in layer.changes(start, end)]
    for span in (*schedule.overrides, *schedule.calendar):
        instants += [span.start, span.end]
    for amendment in schedule.amendments:
        instants += [amendment.start, amendment.end]
    for swap in schedule.swaps:
        instants += [swap.start, swap.end]
    return instants + [edge for times in schedule.away.values() for pair in times for edge in pair]
