"""Reads who is on call out of an iCalendar text, and writes shifts as one. Pure.

RFC 5545. An entry names people by its attendees' mail addresses, else by its summary: keys, names or addresses,
separated by commas. Repetitions, exceptions and moved entries are expanded by recurring-ical-events.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events  # type: ignore[import-untyped]  # it has no types

from receiver.oncall.directory import Directory
from receiver.oncall.schedule import People, Shift, Span


class CalendarError(ValueError):
    """The text is not a usable calendar; the message says why."""


def spans(text: bytes, directory: Directory, zone: str, start: datetime, end: datetime) -> tuple[Span, ...]:
    """Give who is on call from ``start`` to ``end``; entries that name nobody, or two people alike, are left out.

    Floating times and whole days are those of ``zone``. CalendarError if the text is invalid.
    """
    try:
        calendar = icalendar.Calendar.from_ical(text)
        events = recurring_ical_events.of(calendar).between(start, end)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise CalendarError(f"not a valid iCalendar: {str(error)[:200]}") from error
    shifts = []
    for event in events:
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        keys = _people(event, directory)
        begins, ends = _instant(event.start, zone), _instant(event.end, zone)
        if keys and begins < ends:
            shifts.append(Span(begins, ends, keys))
    return tuple(sorted(shifts, key=lambda span: (span.start, span.end, span.people)))


def unknown(text: bytes, directory: Directory, start: datetime, end: datetime) -> tuple[str, ...]:
    """List the summaries of entries that `spans` leaves out, for `check` and the log."""
    events = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(start, end)
    return tuple(dict.fromkeys(str(e.get("SUMMARY", ""))[:100] for e in events if not _people(e, directory)))


def export(name: str, shifts: Iterable[Shift], directory: Directory, now: datetime) -> bytes:
    """Write shifts as a calendar to subscribe to; an entry keeps its UID as long as its beginning stays."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//HeyPeter Monitoring//on call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"On call: {name}")
    for shift in shifts:
        if not shift.people:
            continue
        event = icalendar.Event()
        event.add("uid", f"{name}-{shift.start:%Y%m%dT%H%M%SZ}@heypeter-monitoring")
        event.add("dtstamp", now)
        event.add("dtstart", shift.start)
        event.add("dtend", shift.end)
        event.add("summary", ", ".join(directory.name(key) for key in shift.people))
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def _people(event: Any, directory: Directory) -> People:  # noqa: ANN401  # a component of the library
    attendees = event.get("ATTENDEE", [])
    listed = attendees if isinstance(attendees, list) else [attendees]
    addresses = (str(one).removeprefix("mailto:").removeprefix("MAILTO:") for one in listed)
    keys = [key for address in addresses if (key := directory.key(address))]
    if not keys:
        keys = [key for part in str(event.get("SUMMARY", "")).split(",") if (key := directory.key(part.strip()))]
    return tuple(dict.fromkeys(keys))


def _instant(when: date, zone: str) -> datetime:
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
