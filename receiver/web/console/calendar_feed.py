"""Gives everybody their own shifts as a calendar to subscribe to, at an address that nobody can guess."""

import base64
import hmac
from datetime import datetime, timedelta

import icalendar

from process.settings import Secret
from receiver.messages.compose import reader_of
from receiver.oncall.schedule import Shift
from receiver.policy.coverage import role_shifts, roles
from receiver.policy.routing import Routing

BEFORE, AHEAD = timedelta(days=30), timedelta(days=180)
_USE = b"calendar-feed:"
_LONGEST = 200  # characters of a person's key


class CalendarFeeds:
    """The key of the messages' links signs the addresses: a new key ends them all."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def name(self, person: str) -> str:
        """Name the file of a person's calendar."""
        return f"{base64.urlsafe_b64encode(person.encode()).rstrip(b'=').decode()}.{self._mac(person)}.ics"

    def person(self, name: str) -> str | None:
        """Say whose calendar a name is; None if it is nobody's."""
        encoded, _, mac = name.removesuffix(".ics").partition(".")
        if len(encoded) > _LONGEST or not encoded.isascii():
            return None
        try:
            person = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
        except ValueError:
            return None
        return person if hmac.compare_digest(mac.encode(), self._mac(person).encode()) else None

    def _mac(self, person: str) -> str:
        digest = hmac.digest(self._key.reveal().encode(), _USE + person.encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()


def write(routing: Routing, person: str, now: datetime, host: str) -> bytes:
    """Write the shifts of one person; they do not make the person's day look busy."""
    reader = reader_of(routing, person)
    calendar = icalendar.Calendar()
    calendar.add("prodid", f"-//{host}//on call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"{reader.say('console_page_on_call')}: {reader.who(person)}")
    calendar.add("refresh-interval;value=duration", "PT1H")
    for role in roles(routing):
        for shift in role_shifts(routing, role, now - BEFORE, now + AHEAD):
            if person in shift.people:
                calendar.add_component(_event(shift, role, reader.name("role", role), now, host))
    return bytes(calendar.to_ical())


def _event(shift: Shift, role: str, name: str, now: datetime, host: str) -> icalendar.Event:
    event = icalendar.Event()
    event.add("uid", f"{role}-{shift.start:%Y%m%dT%H%M%SZ}@{host}")
    event.add("dtstamp", now)
    event.add("dtstart", shift.start)
    event.add("dtend", shift.end)
    event.add("summary", name)
    event.add("transp", "TRANSPARENT")
    return event
