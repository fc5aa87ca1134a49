"""The words of messages in a reader's language, and times as the reader's clock shows them."""

from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import yaml

ENGLISH = "en"


def languages() -> tuple[str, ...]:
    """List the languages that there are words for; English first."""
    found = sorted(path.name.removesuffix(".yml") for path in files("receiver.messages").joinpath("locales").iterdir())
    return (ENGLISH, *(name for name in found if name != ENGLISH))


@cache
def words(language: str) -> dict[str, str]:
    """Read one language; one that is not there is English."""
    name = language if language in languages() else ENGLISH
    text = files("receiver.messages").joinpath("locales", f"{name}.yml").read_text("utf-8")
    return {key: str(value) for key, value in yaml.safe_load(text).items()}


class Voice:
    """Says things to one reader."""

    def __init__(self, language: str = ENGLISH, zone: str = "UTC") -> None:
        self._words, self._zone = words(language), ZoneInfo(zone)
        self.language, self._is_utc = language, zone == "UTC"

    def say(self, key: str, **values: object) -> str:
        """Fill the words of a key; KeyError is a mistake of ours that a test finds."""
        return self._words[key].format_map(values)

    def clock(self, when: datetime, now: datetime) -> str:
        """Write a time of the day: the reader's own first, and the date if it is another day."""
        utc = f"{when:%H:%M} UTC"
        local = when.astimezone(self._zone)
        shown = utc if self._is_utc else f"{local:%H:%M} ({utc})"
        if local.date() == now.astimezone(self._zone).date():
            return shown
        return self.say("on_date", time=shown, date=f"{local:%Y-%m-%d}")

    def date(self, when: datetime) -> str:
        """Write a moment whole."""
        utc = f"{when:%Y-%m-%d %H:%M} UTC"
        return utc if self._is_utc else f"{when.astimezone(self._zone):%Y-%m-%d %H:%M} ({when:%H:%M} UTC)"


def span(delta: timedelta) -> str:
    """Write a length of time as people say it: 45s, 16m, 2h 5m, 3d 4h."""
    seconds = max(0, int(delta.total_seconds()))
    for size, letter, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{letter}" + (f" {rest}{below}" if rest else "")
    return f"{seconds // 60}m" if seconds >= 60 else f"{seconds}s"  # noqa: PLR2004  # a minute


def one_line(text: str, limit: int) -> str:
    """One line of visible characters, of bounded length: it may end in a subject or on a terminal.

    Characters that turn the direction of writing or show nothing at all are not printable and go: with them an alert
    could say one thing and show another (trojansource.codes). The joiner of emoji and Indic scripts stays.
    """
    kept = (c if c == "\u200d" or c.isprintable() else " " for c in text[: 4 * limit])
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
