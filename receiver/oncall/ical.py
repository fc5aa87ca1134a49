"""Reads who is on call out of an iCalendar text, and writes shifts as one. Pure.

RFC 5545. ``expand`` is expensive and must not run in the event loop: a rule of one line can keep it busy for hours, so
it runs in a process of its own (receiver.clients.calendar). What it gives is small and says nothing of our people: see
``receiver.oncall.calendar_entries``.

Entries are read one by one: one that cannot be read is left out by name, and the rest serves. Repetitions, exceptions
and moved entries are expanded by recurring-ical-events.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime, time
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import msgspec
import recurring_ical_events  # type: ignore[import-untyped]  # it has no types

from receiver.oncall.calendar_entries import Calendar, CalendarError, Entry, Occurrence, Reason, Remark, TooSlow
from receiver.oncall.directory import Directory
from receiver.oncall.schedule import Shift

MOST_ENTRIES = 20_000
MOST_OCCURRENCES = 50_000  # of all entries together, in the period that is asked for
MOST_OF_ONE = 10_000  # hourly for more than a year
_MOST_LINES = 2_000  # of one entry that we read: exceptions and attendees
_LONGEST_LINE = 20_000
_NAME = 100  # characters of an entry's title that are kept
_LAST_YEAR = 9998  # in 9999, one hour of another time zone leaves what a datetime can hold

_BOM = b"\xef\xbb\xbf"
# In bytes: some writers fold within a character (RFC 5545, 3.1).
_FOLD = re.compile(rb"(?:\r\n|\n|\r)[ \t]")
_BREAK = re.compile(rb"\r\n|\n|\r")
_MAILTO = re.compile(r"^\s*mailto:", re.IGNORECASE)
_INTERVAL = re.compile(r"0*[1-9][0-9]{0,4}")
_READ = frozenset(
    {
        *("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"),
        *("UID", "SEQUENCE", "STATUS", "SUMMARY", "ATTENDEE"),
    }
)
_ONCE = frozenset({"UID", "SEQUENCE", "STATUS", "SUMMARY"})  # of several, the first counts
_DATES = ("DTSTART", "DTEND", "RDATE", "EXDATE", "RECURRENCE-ID")
_TOO_OFTEN = {"SECONDLY", "MINUTELY"}
_FREQUENCIES = {"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


Limited = Callable[[], AbstractContextManager[object]]


def expand(text: bytes, zone: str, start: datetime, end: datetime, limited: Limited = nullcontext) -> Calendar:
    """Give what takes place from ``start`` to ``end``; floating times and whole days are those of ``zone``.

    Each entry is read within ``limited()``, which may raise TooSlow. CalendarError if the text is not a calendar, is
    cut off, or has entries of which none can be read.
    """
    try:
        lines = [_decoded(line) for line in _BREAK.split(_FOLD.sub(b"", text.removeprefix(_BOM)))]
        blocks = list(islice(_blocks(lines), MOST_ENTRIES + 1))
    except RecursionError as error:
        raise CalendarError("not a valid iCalendar: nested too deeply") from error
    if len(blocks) > MOST_ENTRIES:
        raise CalendarError(f"more than {MOST_ENTRIES} entries")
    return _Expansion(zone, start, end, limited).run(blocks)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:  # the likeliest of the others
        return line.decode("cp1252", "replace")


def export(name: str, shifts: Iterable[Shift], directory: Directory, now: datetime, product: str) -> bytes:
    """Write shifts as a calendar to subscribe to; an entry keeps its UID as long as its beginning stays."""
    calendar, host = icalendar.Calendar(), re.sub("[^a-z0-9]+", "-", product.casefold()).strip("-") or "oncall"
    calendar.add("prodid", f"-//{product}//on call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"On call: {name}")
    for shift in shifts:
        if not shift.people:
            continue
        event = icalendar.Event()
        event.add("uid", f"{name}-{shift.start:%Y%m%dT%H%M%SZ}@{host}")
        event.add("dtstamp", now)
        event.add("dtstart", shift.start)
        event.add("dtend", shift.end)
        event.add("summary", ", ".join(directory.name(key) for key in shift.people))
        calendar.add_component(event)
    return bytes(calendar.to_ical())


class _Block(msgspec.Struct):
    """The lines of one VEVENT or VTIMEZONE, or one line of the calendar itself."""

    kind: str
    lines: list[str]
    whole: bool = True
    said: frozenset[str] = frozenset()  # those of _ONCE that it has
    inner: int = 0  # how deep inside of other components its next line is


def _blocks(lines: list[str]) -> Iterator[_Block]:
    """Cut the text into what is read by itself; CalendarError if it is no calendar, or ends before its end."""
    calendars, is_open = 0, False
    block: _Block | None = None
    for line in lines:
        word, _, name = line.partition(":")
        word, name = word.strip().upper(), name.strip().upper()
        is_frame = name == "VCALENDAR" and word in {"BEGIN", "END"}
        begins = word == "BEGIN" and (block is None or name == "VEVENT")
        if block is not None and (is_frame or begins):  # the one before has no end
            block.whole = False
            yield block
            block = None
        if is_frame:
            is_open = word == "BEGIN"
            calendars += is_open
        elif begins:
            block = _Block(name, [])
        elif block is not None and _ends(block, word, name, line):
            yield block
            block = None
        elif block is None and word.startswith("X-WR-TIMEZONE"):
            yield _Block("X-WR-TIMEZONE", [line.partition(":")[2].strip()])
    if is_open or not calendars:
        raise CalendarError("not a valid iCalendar: it has no END:VCALENDAR" if is_open else "not a valid iCalendar")


def _ends(block: _Block, word: str, name: str, line: str) -> bool:
    """Take one line into a block; True when it was the block's last."""
    if word == "END" and not block.inner:
        block.whole = name == block.kind
        return True
    block.inner += (word == "BEGIN") - (word == "END")
    if block.kind == "VTIMEZONE":  # it needs what is inside of it
        block.lines.append(line[:_LONGEST_LINE])
    elif not block.inner and word != "END":
        named = re.split("[;:]", line, maxsplit=1)[0].strip().upper()
        if named in _READ and named not in block.said:
            block.lines.append(line)
        block.said |= {named} & _ONCE
    return False


class _UnusableError(Exception):
    """An entry that is left out."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _Expansion:
    """One run over the blocks of a text."""

    def __init__(self, zone: str, start: datetime, end: datetime, limited: Limited) -> None:
        self._zone, self._start, self._end, self._limited = zone, start, end, limited
        self._default_zone = ""
        self._entries: dict[Entry, int] = {}
        self._occurrences: list[Occurrence] = []
        self._remarks: list[Remark] = []

    def run(self, blocks: list[_Block]) -> Calendar:
        # Zones first: an entry may come before the zone that it names.
        for block in blocks:
            if block.kind == "VTIMEZONE":
                self._learn_zone(block)
            elif block.kind == "X-WR-TIMEZONE":
                self._set_default_zone(block.lines[0])
        series: dict[str, list[Any]] = {}
        events = [block for block in blocks if block.kind == "VEVENT"]
        readable = 0
        for number, block in enumerate(events):
            event = self._tried(_title(block), self._parsed, block)
            if event is not None:
                readable += 1
                series.setdefault(str(event.get("UID", "")) or f"\0{number}", []).append(event)
        expanded = sum(self._expand_series(one) for group in series.values() for one in _separated(group))
        if events and not (readable and expanded):
            reasons = ", ".join(sorted({remark.reason.value for remark in self._remarks}))
            raise CalendarError(f"none of its {len(events)} entries can be read ({reasons})")
        occurrences = tuple(dict.fromkeys(self._occurrences))
        return Calendar(tuple(self._entries), occurrences, tuple(dict.fromkeys(self._remarks)))

    def _tried(self, title: str, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  # what work gives
        """Do something with one entry within the limits; None, and a remark, if that fails."""
        try:
            with self._limited():
                return work(*arguments)
        except _UnusableError as error:
            reason = error.reason
        except TooSlow:
            reason = Reason.TOO_SLOW
        except _UNREADABLE:
            reason = Reason.INVALID
        self._remarks.append(Remark(title, reason))
        return None

    def _learn_zone(self, block: _Block) -> None:
        """Parsing a VTIMEZONE makes icalendar know its TZID."""
        named = (line.partition(":")[2] for line in block.lines if line.upper().startswith("TZID"))
        text = "\r\n".join(["BEGIN:VCALENDAR", "BEGIN:VTIMEZONE", *block.lines, "END:VTIMEZONE", "END:VCALENDAR", ""])
        self._tried(_printable(next(named, "")) or "VTIMEZONE", icalendar.Calendar.from_ical, text)

    def _set_default_zone(self, name: str) -> None:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            self._remarks.append(Remark(_printable(name), Reason.UNKNOWN_ZONE))
        else:
            self._default_zone = name

    def _parsed(self, block: _Block) -> Any:  # noqa: ANN401  # a component of the library
        if not block.whole or len(block.lines) > _MOST_LINES:
            raise _UnusableError(Reason.INVALID)
        if any(len(line) > _LONGEST_LINE for line in block.lines):
            raise _UnusableError(Reason.INVALID)
        for line in block.lines:
            if line.upper().startswith(("RRULE", "EXRULE")):
                _check_rule(line.partition(":")[2])
        event: Any = icalendar.Event.from_ical("\r\n".join(["BEGIN:VEVENT", *block.lines, "END:VEVENT", ""]))
        if event.errors:
            raise _UnusableError(Reason.INVALID)
        begins, ends = _instant(event.start, self._zone), _instant(event.end, self._zone)
        if ends <= begins or max(event.start.year, event.end.year, ends.year) > _LAST_YEAR:
            raise _UnusableError(Reason.INVALID)
        if any(_is_without_zone(value) for name in _DATES for value in _values(event, name)):
            self._remarks.append(Remark(_title(block), Reason.UNKNOWN_ZONE))
        return event

    def _expand_series(self, events: list[Any]) -> bool:
        """Take in the entries of one UID: a series and its exceptions. What spoils the whole may be an exception."""
        title = _printable(str(events[0].get("SUMMARY", "")))
        expanded = self._tried(title, self._expanded, events)
        if expanded is None and len(events) > 1:
            expanded = self._tried(title, self._expanded, [e for e in events if "RECURRENCE-ID" not in e])
        for event, begins, ends in expanded or ():
            if len(self._occurrences) >= MOST_OCCURRENCES:
                self._remarks.append(Remark(title, Reason.TOO_MANY))
                break
            number = self._entries.setdefault(_entry(event), len(self._entries))
            self._occurrences.append(Occurrence(begins, ends, number))
        return expanded is not None

    def _expanded(self, events: list[Any]) -> list[tuple[Any, datetime, datetime]]:
        calendar = icalendar.Calendar()
        if self._default_zone:
            calendar.add("X-WR-TIMEZONE", self._default_zone)
        for event in events:
            calendar.add_component(event)
        occurrences = recurring_ical_events.of(calendar).between(self._start, self._end)
        if len(occurrences) > MOST_OF_ONE:
            self._remarks.append(Remark(_printable(str(events[0].get("SUMMARY", ""))), Reason.TOO_MANY))
        return [
            (one, _instant(one.start, self._zone), _instant(one.end, self._zone))
            for one in occurrences[:MOST_OF_ONE]
            if str(one.get("STATUS", "")).upper() != "CANCELLED"
        ]


def _separated(events: list[Any]) -> list[list[Any]]:
    """Give the series of one UID, each with the exceptions.

    There should be one (RFC 5545, 3.8.4.7), but some tools use one UID for several shifts. Of versions, the one with
    the highest SEQUENCE counts.
    """
    exceptions = [event for event in events if "RECURRENCE-ID" in event]
    whole = [event for event in events if "RECURRENCE-ID" not in event]
    if len(whole) < 2:  # noqa: PLR2004  # as it should be
        return [events]
    newest = max(event.get("SEQUENCE", 0) for event in whole)
    by_start = {str(event.start): event for event in reversed(whole) if event.get("SEQUENCE", 0) == newest}
    return [[event, *exceptions] for event in reversed(by_start.values())]


def _check_rule(rule: str) -> None:
    """Refuse what repeats more often than hourly, and what never ends to be computed."""
    parts = [part.partition("=") for part in rule.upper().strip().split(";") if part]
    values = {name.strip(): value.strip() for name, _, value in parts}
    if values.get("FREQ") in _TOO_OFTEN or any("," in values.get(name, "") for name in ("BYMINUTE", "BYSECOND")):
        raise _UnusableError(Reason.TOO_OFTEN)
    interval = values.get("INTERVAL", "1")
    if values.get("FREQ") not in _FREQUENCIES or not _INTERVAL.fullmatch(interval):
        raise _UnusableError(Reason.INVALID)


def _title(block: _Block) -> str:
    return _printable(next((line.partition(":")[2] for line in block.lines if line.upper().startswith("SUMMARY")), ""))


def _printable(text: str) -> str:
    """Cut a text of somebody else's to what may stand in one line of a log."""
    return "".join(c if c.isprintable() else " " for c in text[:_NAME]).strip() or "(no title)"


def _values(event: Any, name: str) -> list[Any]:  # noqa: ANN401  # a component of the library
    values = event.get(name, [])
    return values if isinstance(values, list) else [values]


def _is_without_zone(value: Any) -> bool:  # noqa: ANN401  # a value of the library
    """Say whether a time names a TZID that nobody knows: icalendar then leaves it floating."""
    if "TZID" not in getattr(value, "params", {}):
        return False
    listed = [one.dt for one in value.dts] if hasattr(value, "dts") else [value.dt]
    return any(isinstance(dt, datetime) and dt.tzinfo is None for dt in listed)


def _entry(event: Any) -> Entry:  # noqa: ANN401  # a component of the library
    attendees: list[tuple[str, ...]] = []
    declined: list[tuple[str, ...]] = []
    for one in _values(event, "ATTENDEE"):
        params = getattr(one, "params", {})
        if str(params.get("CUTYPE", "")).upper() in {"ROOM", "RESOURCE"}:
            continue
        texts = (_MAILTO.sub("", str(one)), _MAILTO.sub("", str(params.get("EMAIL", ""))), str(params.get("CN", "")))
        stands_for = tuple(dict.fromkeys(text.strip()[:_NAME] for text in texts if text.strip()))
        (declined if str(params.get("PARTSTAT", "")).upper() == "DECLINED" else attendees).append(stands_for)
    title = str(event.get("SUMMARY", ""))
    return Entry(_printable(title), tuple(attendees), tuple(declined))


def _instant(when: date, zone: str) -> datetime:
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
