"""Counts the turns of a rotation: by days or months of the calendar, hours, or windows of the week. Pure.

A turn that is counted by the wall clock has one first instant: a time that does not exist is read with the offset
before the change, one that exists twice is the first (RFC 5545, 3.3.5).
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

DAY = timedelta(days=1)
WEEK = 7 * 1440  # minutes


class Unit(StrEnum):
    """What the turns of a rotation are counted in."""

    DAYS = "days"
    HOURS = "hours"  # that have passed
    WALL_HOURS = "wall_hours"  # as a clock on the wall shows them
    MONTHS = "months"
    SHIFTS = "shifts"  # windows of the week


class WeekWindow(msgspec.Struct, frozen=True):
    """From one minute of the week (0 is Monday 00:00) to another in a zone; into the next week if end <= start."""

    start: int
    end: int
    zone: str

    def contains(self, at: datetime) -> bool:
        """Say whether a moment lies within."""
        monday = _monday(at, self.zone)
        weeks = (monday - 7 * DAY, monday, monday + 7 * DAY)  # the next: a change of clocks may move its opening
        return any(start <= at < end for start, end in map(self.on, weeks))

    def on(self, monday: date) -> tuple[datetime, datetime]:
        """Give the window that begins in the week of a Monday."""
        end = self.end + (WEEK if self.end <= self.start else 0)
        return wall(monday, self.start, self.zone), wall(monday, end, self.zone)

    def edges(self, start: datetime, end: datetime) -> list[datetime]:
        """List the beginnings and ends of windows in a range of time."""
        first, last = _monday(start, self.zone) - 7 * DAY, _monday(end, self.zone) + 7 * DAY
        weeks = (first + n * 7 * DAY for n in range((last - first).days // 7 + 1))
        return [edge for monday in weeks for edge in self.on(monday)]


class Clock(msgspec.Struct, frozen=True):
    """The turns of a rotation: ``length`` units each, the first from minute ``handover`` of ``start`` on."""

    zone: str
    start: date
    handover: int
    unit: Unit
    length: timedelta  # of MONTHS and SHIFTS: their number, in days
    served: frozenset[int] = frozenset()  # of DAYS: the days of the week that count, Monday is 0; empty: all
    windows: tuple[WeekWindow, ...] = ()  # of SHIFTS: those that count

    def boundary(self, day: date) -> datetime:
        """Give the instant of a day's hand-over."""
        return wall(day, self.handover, self.zone)

    @property
    def first(self) -> datetime:
        """Give the instant at which the first turn begins."""
        return self.boundary(self.start)

    @property
    def nominal(self) -> timedelta:
        """Give about how long a turn is."""
        if self.unit is Unit.MONTHS:
            return self.length * 31
        return self.length * 7 if self.unit is Unit.SHIFTS else self.length

    def turn(self, at: datetime) -> int:
        """Count the turns that were over before ``at``; negative before the first."""
        if self.unit is Unit.HOURS:
            return (at - self.first) // self.length
        if self.unit is Unit.DAYS:
            return self._days_until(self._day(at)) // self.length.days
        if self.unit is Unit.SHIFTS:
            return self._windows_until(at) // self.length.days
        turn = self._guess(at)
        while self.begins(turn + 1) <= at:
            turn += 1
        while self.begins(turn) > at:
            turn -= 1
        return turn

    def begins(self, turn: int) -> datetime:
        """Give the instant at which a turn begins; of SHIFTS and served days, see ``turn`` instead."""
        if self.unit is Unit.HOURS:
            return self.first + turn * self.length
        if self.unit is Unit.DAYS:
            return self.boundary(self.start + turn * self.length)
        if self.unit is Unit.MONTHS:
            return self.boundary(_months_later(self.start, turn * self.length.days))
        return wall(self.start, self.handover + turn * int(self.length / timedelta(minutes=1)), self.zone)

    def changes(self, start: datetime, end: datetime) -> list[datetime]:
        """List the instants in a range at which a turn may begin."""
        if self.unit is Unit.SHIFTS:
            return [edge for window in self.windows for edge in window.edges(start, end)]
        if self.unit is Unit.DAYS:
            return [self.boundary(day) for day in days(start, end, self.zone)]
        return [self.begins(turn) for turn in range(self.turn(start), self.turn(end) + 2)]

    def _day(self, at: datetime) -> date:
        day = at.astimezone(ZoneInfo(self.zone)).date()
        while self.boundary(day) > at:
            day -= DAY
        return day

    def _days_until(self, day: date) -> int:
        """Count the days from the start on that are a turn, or a part of one."""
        passed = (day - self.start).days
        if not self.served:
            return passed
        weeks, rest = divmod(passed, 7)
        first = self.start.weekday()
        return weeks * len(self.served) + sum((first + offset) % 7 in self.served for offset in range(rest))

    def _windows_until(self, at: datetime) -> int:
        """Count the windows that have opened from the start on, without the one that opened last."""
        ordered = sorted(self.windows, key=lambda window: window.start)
        monday = self.start - timedelta(days=self.start.weekday())
        before = bisect_left([window.start for window in ordered], self.start.weekday() * 1440 + self.handover)
        now = _monday(at, ordered[0].zone)
        opened = [window.on(now)[0] <= at for window in ordered]
        weeks = (now - monday).days // 7
        return weeks * len(ordered) + sum(opened) - 1 - before

    def _guess(self, at: datetime) -> int:
        local = at.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        if self.unit is Unit.MONTHS:
            return ((local.year - self.start.year) * 12 + local.month - self.start.month) // self.length.days - 1
        return (local - datetime.combine(self.start, time()) - timedelta(minutes=self.handover)) // self.length


def wall(day: date, minute: int, zone: str) -> datetime:
    """Give the instant of so many minutes after a day's midnight by the clock on the wall."""
    day, minute = day + timedelta(days=minute // 1440), minute % 1440
    return datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(zone)).astimezone(UTC)


def days(start: datetime, end: datetime, zone: str) -> Sequence[date]:
    """List the days that a range of time touches in a zone, and one before and after."""
    first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (start, end))
    return [first + timedelta(days=offset) for offset in range(-1, (last - first).days + 2)]


def _monday(at: datetime, zone: str) -> date:
    day = at.astimezone(ZoneInfo(zone)).date()
    return day - timedelta(days=day.weekday())


def _months_later(day: date, months: int) -> date:
    """Count on from the first of the month, as Go's AddDate does: a month after the 31st of January is in March."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1) + timedelta(days=day.day - 1)
