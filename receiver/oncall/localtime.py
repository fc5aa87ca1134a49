"""Times as people write them in a file: a moment of a calendar and a time of the day, both without a zone. Pure."""

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


class Moment(str):
    """A date, or a date and a time, of a time zone that stands elsewhere; YAML may have read it as a date already."""

    __slots__ = ()

    @classmethod
    def from_yaml(cls, value: object) -> "Moment":
        """Take what YAML made of it; ValueError says how it is written."""
        text = value.isoformat() if isinstance(value, date) else value
        try:
            found = datetime.fromisoformat(str(text))
        except ValueError:
            found = None
        if not isinstance(text, str) or found is None:
            raise ValueError(f"{value!r} is no time; write 2026-12-24 or 2026-12-24T09:00")
        if found.tzinfo is not None:
            raise ValueError(f"{value!r} names a zone of its own; write it in the time_zone that is given beside it")
        return cls(text)

    def at(self, zone: str) -> datetime:
        """Give the instant; a time that exists twice is the first, one that does not is the moment of the jump."""
        return datetime.fromisoformat(self).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    @property
    def day(self) -> date:
        """Give the date."""
        return datetime.fromisoformat(self).date()


class ClockTime(int):
    """A time of the day in minutes; YAML reads an unquoted 10:00 as 600 (base sixty), which is the same."""

    @classmethod
    def from_yaml(cls, value: object) -> "ClockTime":
        """Take what YAML made of it; ValueError says how it is written."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:  # noqa: PLR2004  # a day
            return cls(value)
        found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f'{value!r} is no time of the day; write "09:00"')
        return cls(int(found[1]) * 60 + int(found[2]))
