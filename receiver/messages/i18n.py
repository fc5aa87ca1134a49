"""Phrases in a reader's language, and times and durations as that reader writes them."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import yaml

from receiver.incident.model import SOMEBODY

ENGLISH = "en"
Say = Callable[..., str]
_LONGEST_NAME = 200
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 10 ms, and not 180, for which the first page waits
_MOST_LINES, _DEEPEST = 30, 12  # lines, and spaces before one, of a text with line breaks
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def languages() -> tuple[str, ...]:
    """List the languages that have a file in locales/; English first."""
    names = sorted(path.name.removesuffix(".yml") for path in files("receiver.messages").joinpath("locales").iterdir())
    return (ENGLISH, *(name for name in names if name != ENGLISH))


@cache
def phrases(language: str) -> dict[str, str]:
    """Read the phrases of one language; English for a language that has no file."""
    name = language if language in languages() else ENGLISH
    text = files("receiver.messages").joinpath("locales", f"{name}.yml").read_text("utf-8")
    return {key: str(value) for key, value in yaml.load(text, _LOADER).items()}  # noqa: S506  # a safe one


def preferred(accept_language: str) -> str:
    """Choose a language for a reader whom we do not know, by the first of the Accept-Language header that we have."""
    for tag in accept_language[:200].lower().split(","):
        language = re.split(r"[;-]", tag.strip())[0]
        if language in languages():
            return language
    return ENGLISH


def duration(length: float | timedelta, units: Callable[[str, int], str] = lambda unit, n: f"{n}{unit}") -> str:
    """Write seconds in their two largest units: 45s, 16m, 2h 5m, 3d 4h; negative lengths are 0s."""
    left = max(0, round(length.total_seconds() if isinstance(length, timedelta) else length))
    for at, (unit, size) in enumerate(_UNITS):
        if left >= size and unit != "s":
            smaller, fraction = _UNITS[at + 1]
            parts = ((unit, left // size), (smaller, left % size // fraction if unit != "m" else 0))
            return " ".join(units(name, number) for name, number in parts if number)
    return units("s", left)


class Reader:
    """One reader's language and time zone; ``name_of`` gives the display name of a person."""

    def __init__(
        self, language: str = ENGLISH, zone: str = "UTC", name_of: Callable[[str], str] = lambda person: person
    ) -> None:
        self._phrases, self._zone = phrases(language), ZoneInfo(zone)
        self.language, self.zone, self._name_of = language, zone, name_of

    def say(self, key: str, **values: object) -> str:
        """Fill in a phrase; with ``count=1`` its ``_one`` form, if there is one. KeyError: a test would have failed."""
        if values.get("count") == 1 and f"{key}_one" in self._phrases:
            key = f"{key}_one"
        return self._phrases[key].format_map(values)

    def name(self, what: str, value: str) -> str:
        """Name a role, a channel or another value with its phrase; one that has none, as it is written."""
        return self._phrases.get(f"{what}_{value}") or value.replace("-", " ")

    def roles(self, roles: Iterable[str]) -> str:
        """Name several roles: tech lead and CTO."""
        return self.say("and").join(self.name("role", role) for role in roles) or self.say("the_team")

    def who(self, person: str) -> str:
        """Name a person, on one line."""
        return self.say("somebody") if person in {"", SOMEBODY} else one_line(self._name_of(person), _LONGEST_NAME)

    def duration(self, length: float | timedelta) -> str:
        """Write a duration: 45s, 16m, 2h 5m, 3d 4h."""
        return duration(length, lambda unit, number: self.say(f"unit_{unit}", number=number))

    def time(self, when: datetime, now: datetime) -> str:
        """Write a time of day in the reader's zone, with UTC beside it if that differs; with the date if not today."""
        shown = f"{self.local(when, '%H:%M')} ({when:%H:%M} UTC)" if self.zone != "UTC" else f"{when:%H:%M} UTC"
        if self.local(when, "%Y-%m-%d") == self.local(now, "%Y-%m-%d"):
            return shown
        return self.say("on_date", time=shown, date=self.local(when, "%Y-%m-%d"))

    def moment(self, when: datetime) -> str:
        """Write date and time in the reader's zone, with UTC beside it if that differs."""
        if self.zone == "UTC":
            return f"{when:%Y-%m-%d %H:%M} UTC"
        return f"{self.local(when, '%Y-%m-%d %H:%M')} ({when:%H:%M} UTC)"

    def local(self, when: datetime, form: str) -> str:
        """Write a time in the reader's zone by a strftime format, for lists whose heading names the zone."""
        return when.astimezone(self._zone).strftime(form)


def one_line(text: str, limit: int) -> str:
    """One line of visible characters, of bounded length: it may end in a subject or on a terminal.

    Characters that turn the direction of writing or show nothing at all are not printable and go: with them an alert
    could say one thing and show another (trojansource.codes). The joiner of emoji and Indic scripts stays.
    """
    text = text[: 4 * limit]
    if not text.isprintable():  # nearly all are
        text = "".join(c if c == "\u200d" or c.isprintable() else " " for c in text)
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def several_lines(text: str, limit: int) -> str:
    """Visible characters with the line breaks and the indentation that they were written with, in bounded length."""
    broken = (one_line(line, limit) and _indented(line, limit) for line in text[: 4 * limit].splitlines()[:_MOST_LINES])
    kept = re.sub(r"\n{3,}", "\n\n", "\n".join(broken)).strip("\n")
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


def _indented(line: str, limit: int) -> str:
    spaces = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip(" "))
    return " " * min(spaces, _DEEPEST) + one_line(line, limit)
