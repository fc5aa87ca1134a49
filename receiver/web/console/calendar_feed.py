"""Gives everybody their own shifts as a calendar to subscribe to, at an address that nobody can guess."""

import base64
import hmac
from datetime import datetime, timedelta

from process.settings import Secret
from receiver.messages.compose import reader_of
from receiver.messages.i18n import one_line
from receiver.oncall.schedule import Shift
from receiver.policy.coverage import role_shifts, roles
from receiver.policy.routing import Routing

BEFORE, AHEAD = timedelta(days=30), timedelta(days=180)
_USE = b"calendar-feed:"
_LONGEST = 200  # characters of a person's key, and of a name
_LINE, _PIECE = 75, 18  # bytes of a line, and characters of a piece of one that is longer


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
    """Write the shifts of one person (RFC 5545); they do not make the person's day look busy.

    By hand, for a library that reads every calendar takes longer to load than the rest of a start.
    """
    reader = reader_of(routing, person)
    name = f"{reader.say('console_page_on_call')}: {reader.who(person)}"
    lines = ["BEGIN:VCALENDAR", f"PRODID:-//{_text(host)}//on call//EN", "VERSION:2.0", f"X-WR-CALNAME:{_text(name)}"]
    lines.append("REFRESH-INTERVAL;VALUE=DURATION:PT1H")
    for role in roles(routing):
        for shift in role_shifts(routing, role, now - BEFORE, now + AHEAD):
            if person in shift.people:
                lines += _event(shift, role, reader.name("role", role), now, host)
    return "".join(f"{_folded(line)}\r\n" for line in [*lines, "END:VCALENDAR"]).encode()


def _event(shift: Shift, role: str, name: str, now: datetime, host: str) -> list[str]:
    stamp = "%Y%m%dT%H%M%SZ"
    return [
        "BEGIN:VEVENT",
        f"UID:{_text(role)}-{shift.start:{stamp}}@{_text(host)}",
        f"DTSTAMP:{now:{stamp}}",
        f"DTSTART:{shift.start:{stamp}}",
        f"DTEND:{shift.end:{stamp}}",
        f"SUMMARY:{_text(name)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _text(text: str) -> str:
    """Escape what has a meaning in a value."""
    line = one_line(text, _LONGEST)
    return line.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")


def _folded(line: str) -> str:
    """Break a line that is longer than a reader need take; 18 characters are 72 bytes at most."""
    pieces = [line[at : at + _PIECE] for at in range(0, len(line), _PIECE)]
    return "\r\n ".join(pieces) if len(line.encode()) > _LINE else line
