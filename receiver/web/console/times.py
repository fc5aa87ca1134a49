"""Writes moments as ``<time>`` elements: in the reader's zone here, and counted down or up by the page's script."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from receiver.messages.i18n import Reader

_LONGEST = 40  # characters of a moment
_WEEK = 7  # days
_ATTRIBUTES = {"at": "", "age": " data-age", "due": " data-due"}


def read_moment(text: str, zone: str) -> datetime | None:
    """Read what a field for a time holds, in this zone unless it names another; in UTC, and None if it is no moment."""
    try:
        at = datetime.fromisoformat(text[:_LONGEST])
        return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 or 9999, in another zone
        return None


class Times:
    """The moments of one page for one reader; templates call it ``times``."""

    def __init__(self, reader: Reader, now: datetime) -> None:
        self._reader, self._now = reader, now

    def at(self, when: datetime | None) -> Markup:
        """Write a time of day, with the date if it is not today."""
        return self._element(when, "at")

    def exact(self, when: datetime) -> Markup:
        """Write it with seconds, for a timeline."""
        return self._written(when, "at", self.clock(when, "%H:%M:%S"))

    def age(self, when: datetime | None) -> Markup:
        """Write how long ago it was; the script keeps that true."""
        if when is None:
            return Markup("")
        return self._written(when, "age", self._reader.duration(self._now - when))

    def due(self, when: datetime | None) -> Markup:
        """Write when it will be; the script makes a countdown of it, which would be wrong where nothing moves."""
        return (
            Markup("")
            if when is None
            else self._written(when, "due", self._reader.say("console_at", time=self.clock(when)))
        )

    def clock(self, when: datetime, form: str = "%H:%M") -> str:
        """Write a time of day as text: with the weekday if that is enough to know the day, else with the date."""
        reader, day = self._reader, date.fromisoformat(self._reader.local(when, "%Y-%m-%d"))
        away = (day - date.fromisoformat(reader.local(self._now, "%Y-%m-%d"))).days
        if away == 0:
            return reader.local(when, form)
        if abs(away) < _WEEK:
            return f"{reader.say('console_weekdays').split()[day.weekday()]} {reader.local(when, form)}"
        return reader.local(when, f"%Y-%m-%d {form}")

    def _element(self, when: datetime | None, how: str) -> Markup:
        return Markup("") if when is None else self._written(when, how, self.clock(when))

    def _written(self, when: datetime, how: str, text: str) -> Markup:
        iso = when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        # Markup.format would cost a list of 200 a fifth of its time.
        title = escape(self._reader.moment(when))
        return Markup(f'<time datetime="{iso}" title="{title}"{_ATTRIBUTES[how]}>{escape(text)}</time>')  # noqa: S704  # escaped
