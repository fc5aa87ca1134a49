"""What is read of a calendar, and who of our people that makes on call. Pure.

``receiver.oncall.ical`` reads the text, with libraries that serving need not load. ``spans`` finds the people, and
does so again when the configuration has changed.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum

import msgspec

from receiver.oncall.directory import Directory
from receiver.oncall.schedule import People, Span

_LEVEL = re.compile(r"\s*\[L(\d{1,3})\]")
# "A / B", "A, B", "A & B", "A and B"
_SEPARATORS = re.compile(r"[,;/&+|]|\s+(?:and|und)\s+", re.IGNORECASE)
_DASHES = re.compile(r"\s+[-\u2013\u2014]\s+")
_BRACKETS = re.compile(r"[(\[][^)\]]*[)\]]")


class CalendarError(ValueError):
    """The text is not a usable calendar; the message says why and repeats nothing of the text."""


class TooSlow(BaseException):
    """One entry takes too long; no ``except Exception`` of a library may swallow it."""


class Reason(StrEnum):
    """What is the matter with an entry; a label of a metric."""

    INVALID = "invalid"  # left out: cannot be read, or lasts no time
    TOO_OFTEN = "too_often"  # left out: repeats more often than hourly
    TOO_SLOW = "too_slow"  # left out: takes too long to expand
    TOO_MANY = "too_many"  # cut: it, or the calendar, has too many occurrences
    UNKNOWN_ZONE = "unknown_time_zone"  # read in the time zone of the schedule
    UNKNOWN_PERSON = "unknown_person"  # somebody it names is in no `people`, or is two of them


class Remark(msgspec.Struct, frozen=True):
    """One entry, by its title, and what is the matter with it."""

    entry: str
    reason: Reason


class Entry(msgspec.Struct, frozen=True):
    """Whom an entry names. Each of ``attendees`` and ``declined`` lists the texts that may stand for one attendee."""

    title: str
    attendees: tuple[tuple[str, ...], ...] = ()
    declined: tuple[tuple[str, ...], ...] = ()


class Occurrence(msgspec.Struct, frozen=True):
    """When an entry takes place: ``entry`` is its index in the calendar."""

    start: datetime
    end: datetime
    entry: int


class Calendar(msgspec.Struct, frozen=True):
    """A period of a calendar, with no word yet about who its people are."""

    entries: tuple[Entry, ...] = ()
    occurrences: tuple[Occurrence, ...] = ()
    remarks: tuple[Remark, ...] = ()


def spans(calendar: Calendar, directory: Directory) -> tuple[Span, ...]:
    """Give who is on call when; entries that name nobody, or two people alike, are left out.

    A title such as "[L2] Linh" gives the entry a level, as Grafana OnCall reads it.
    """
    people = [_people(entry, directory)[0] for entry in calendar.entries]
    levels = [int(level[1]) if (level := _LEVEL.match(entry.title)) else 0 for entry in calendar.entries]
    unsorted = [
        Span(o.start, o.end, people[o.entry], level=levels[o.entry]) for o in calendar.occurrences if people[o.entry]
    ]
    return tuple(sorted(unsorted, key=lambda span: (span.start, span.end, span.people)))


def remarks(calendar: Calendar, directory: Directory) -> tuple[Remark, ...]:
    """List what is the matter with entries, once each: what ``expand`` found, and who is unknown."""
    strangers = (Remark(e.title, Reason.UNKNOWN_PERSON) for e in calendar.entries if not _people(e, directory)[1])
    return tuple(dict.fromkeys((*calendar.remarks, *strangers)))


def _people(entry: Entry, directory: Directory) -> tuple[People, bool]:
    """Give the people of an entry, and whether everybody that it names is known."""
    declined = {key for texts in entry.declined if (key := _key(texts, directory))}
    keys = [key for texts in entry.attendees if (key := _key(texts, directory))]
    known = True
    if not keys:
        keys, known = _titled(entry.title, directory)
        known = known and bool(keys)
    return tuple(key for key in dict.fromkeys(keys) if key not in declined), known


def _key(texts: Iterable[str], directory: Directory) -> str | None:
    return next((key for text in texts if (key := directory.key(text))), None)


def _titled(title: str, directory: Directory) -> tuple[list[str], bool]:
    """Give whom a title such as "On call: Linh" or "Linh / Marek" names, and whether each part names somebody."""
    whole = directory.key(title.strip())
    if whole:
        return [whole], True
    parts = [part for part in _SEPARATORS.split(title) if part.strip()]
    keys = [_key(_readings(part), directory) for part in parts]
    return [key for key in keys if key], all(keys)


def _readings(part: str) -> Iterator[str]:
    """Give what a part of a title may mean, likeliest first: as it is, after its colon, without brackets or dashes."""
    for text in (part, part.rpartition(":")[2], _BRACKETS.sub("", part), _BRACKETS.sub("", part.rpartition(":")[2])):
        yield text.strip()
        yield from (piece.strip() for piece in _DASHES.split(text))
