"""Dates and times as they are written in a file, in a time zone that is named beside them. Pure."""

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from receiver.oncall.hours import DAYS

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_WEEK = re.compile(rf"({'|'.join(DAYS)}) ([01]\d|2[0-3]):([0-5]\d)")


class LocalDateTime(str):
    """A date, or a date and a time, in a time zone that is given beside it; YAML may have parsed it as a date.

    A UTC offset tells apart the two times of the hour that an autumn repeats.
    """

    __slots__ = ()

    @classmethod
    def from_yaml(cls, value: object) -> "LocalDateTime":
        """Convert what YAML parsed; ValueError names the expected form."""
        text = value.isoformat() if isinstance(value, date) else value
        try:
            local = datetime.fromisoformat(str(text))
        except ValueError:
            local = None
        # An instant near the first or the last year cannot be told in every zone.
        if not isinstance(text, str) or local is None or not date.min.year < local.year < date.max.year:
            raise ValueError(f"invalid time {value!r} (expected e.g. 2026-12-24 or 2026-12-24T09:00)")
        return cls(text)

    def at(self, zone: str) -> datetime:
        """Give the instant. Of a time that occurs twice, the first; a skipped one has the offset before the change."""
        local = datetime.fromisoformat(self)
        return (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)

    @property
    def day(self) -> date:
        """Give the date."""
        return datetime.fromisoformat(self).date()


class LocalTime(int):
    """A time of day in minutes; YAML parses an unquoted 10:00 as 600 (base sixty), which is the same."""

    @classmethod
    def from_yaml(cls, value: object) -> "LocalTime":
        """Convert what YAML parsed; ValueError names the expected form."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:  # noqa: PLR2004  # a day
            return cls(value)
        clock = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        if clock is None:
            raise ValueError(f'invalid time of day {value!r} (expected e.g. "09:00")')
        return cls(int(clock[1]) * 60 + int(clock[2]))


class WeekTime(int):
    """A time of the week in minutes since Monday 00:00."""

    @classmethod
    def from_yaml(cls, value: object) -> "WeekTime":
        """Convert what YAML parsed; ValueError names the expected form."""
        match = _WEEK.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f'invalid time of the week {value!r} (expected e.g. "fri 18:00")')
        return cls(DAYS.index(match[1]) * 1440 + int(match[2]) * 60 + int(match[3]))
