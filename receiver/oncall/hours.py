"""Hours of the week in a time zone: business hours, quiet hours, recurring maintenance. Pure.

Wall-clock times are those of the zone, so that 09:00 stays 09:00 when the clocks change. A time that does not exist
on a day (spring) is read with the offset before the change (RFC 5545, 3.3.5); one that exists twice (autumn) is the
first. A window that has no length then does not open on that day.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RANGE = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-4]):([0-5]\d)$")
_AHEAD = 15  # days that contain the next opening of any weekly window, also if the clocks skip one in spring


class HoursError(ValueError):
    """The text is not a range of hours; the message names the expected form."""


class Hours(msgspec.Struct, frozen=True):
    """From ``start`` to ``end`` (minutes of the day) on ``days`` (0 is Monday); past midnight if end <= start."""

    start: int
    end: int
    days: frozenset[int]
    zone: str

    def contains(self, at: datetime) -> bool:
        """Say whether a moment lies within."""
        return self._window(at) is not None

    def opens(self, at: datetime) -> datetime:
        """Give the first moment within, not before ``at``."""
        if self.contains(at):
            return at
        return min(start for start, end in self._windows(at, _AHEAD) if at <= start < end)

    def after(self, start: datetime, length: timedelta) -> datetime:
        """Give the moment at which ``length`` of these hours has passed since ``start``; it may be a closing time."""
        begin = self.opens(start)
        while (left := begin + length - self.closes(begin)) > timedelta(0):
            begin, length = self.opens(self.closes(begin)), left
        return begin + length

    def opened(self, at: datetime) -> datetime | None:
        """Give the begin of the window in which ``at`` lies; None if it lies in none."""
        window = self._window(at)
        return window[0] if window else None

    def closes(self, at: datetime) -> datetime:
        """Give the end of the window in which ``at`` lies; ``at`` itself if it lies in none."""
        window = self._window(at)
        return window[1] if window else at

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Give how much of a range of time lies within these hours."""
        total, begin = timedelta(0), self.opens(start)
        while begin < end:
            close = self.closes(begin)
            total, begin = total + min(close, end) - begin, self.opens(close)
        return total

    def edges(self, start: datetime, end: datetime) -> list[datetime]:
        """List the beginnings and ends of windows in a range of time."""
        zone = ZoneInfo(self.zone)
        first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
        days = (first + timedelta(days=offset) for offset in range(-1, (last - first).days + 2))
        return [edge for day in days if day.weekday() in self.days for edge in self._on(day)]

    def _window(self, at: datetime) -> tuple[datetime, datetime] | None:
        return next(((start, end) for start, end in self._windows(at, 0) if start <= at < end), None)

    def _windows(self, at: datetime, ahead: int) -> list[tuple[datetime, datetime]]:
        """The windows that begin from the day before ``at`` until so many days after it, in the order of time."""
        today = at.astimezone(ZoneInfo(self.zone)).date()
        days = (today + timedelta(days=offset) for offset in range(-1, ahead + 1))
        return [self._on(day) for day in days if day.weekday() in self.days]

    def _on(self, day: date) -> tuple[datetime, datetime]:
        after_midnight = self.end <= self.start
        return self._moment(day, self.start), self._moment(day + timedelta(days=after_midnight), self.end)

    def _moment(self, day: date, minute: int) -> datetime:
        day, minute = day + timedelta(days=minute // 1440), minute % 1440
        local = datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(self.zone))
        return local.astimezone(UTC)


def parse(hours: str, days: list[str], zone: str) -> Hours:
    """Read `09:00-18:00`, a list of days (empty: every day) and an IANA zone; HoursError names what is invalid."""
    match = _RANGE.match(hours)
    if match is None:
        raise HoursError(f"invalid hours {hours!r} (expected e.g. 09:00-18:00)")
    a, b, c, d = (int(part) for part in match.groups())
    unknown = [day for day in days if day not in DAYS]
    if unknown:
        raise HoursError(f"invalid day {unknown[0]!r} (expected mon, tue, wed, thu, fri, sat or sun)")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise HoursError(f"invalid time zone {zone!r} (expected e.g. Europe/Berlin)") from error
    return Hours(a * 60 + b, min(c * 60 + d, 1440), frozenset(map(DAYS.index, days or DAYS)), zone)
