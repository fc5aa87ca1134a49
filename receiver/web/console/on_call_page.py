"""What the page On call shows: who holds each role now and next, the week, when nobody does, and the hand-over."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.evidence import handover
from receiver.messages.i18n import Reader
from receiver.oncall.schedule import Shift
from receiver.policy.coverage import Uncovered, gaps, role_shifts, roles
from receiver.policy.routing import Routing
from receiver.store.base import Store
from receiver.web.console.layout import Viewing

WEEK = timedelta(days=7)
_AHEAD = timedelta(days=28)  # in which a next shift is looked for
_GAPS_SHOWN = 20
_COLOURS = 6
_LISTED = 40  # shifts of a role


class Segment(msgspec.Struct, frozen=True):
    """A part of the week strip, in percent of its width; nobody is a gap."""

    left: float
    width: float
    who: str
    colour: int
    start: datetime
    end: datetime
    mine: bool


class Row(msgspec.Struct, frozen=True):
    """One role; ``key`` is what it is called in receiver.yml."""

    key: str
    role: str
    now: str
    until: datetime | None
    next: str
    next_at: datetime | None
    segments: tuple[Segment, ...]


class Day(msgspec.Struct, frozen=True):
    """A day's place in the strip."""

    left: float
    width: float
    name: str
    number: str


class Hole(msgspec.Struct, frozen=True):
    """A time in which nobody who can be reached holds a role; without ``end``, for as long as is looked ahead."""

    role: str
    start: datetime
    end: datetime | None
    no_contact: bool
    now: bool


class Mine(msgspec.Struct, frozen=True):
    """A shift of who looks."""

    role: str
    start: datetime
    end: datetime | None
    now: bool


def values(look: Viewing) -> dict[str, object]:
    """Give what the template needs."""
    routing, reader, now = look.routing, look.reader, look.now
    midnight = datetime.fromisoformat(reader.local(now, "%Y-%m-%dT00:00:00%z")).astimezone(now.tzinfo)
    ahead = {role: role_shifts(routing, role, now, now + _AHEAD) for role in roles(routing)}
    return {
        "rows": tuple(_row(role, shifts, look, midnight) for role, shifts in ahead.items()),
        "days": _days(midnight, reader),
        "now_at": round(100 * ((now - midnight) / WEEK), 3),
        "holes": _holes(routing, reader, now),
        "mine": _mine(ahead, look),
    }


async def handed_over(store: Store, wanted: str, look: Viewing) -> dict[str, object]:
    """Give what the hand-over of a role shows: the one that is ``wanted``, else one that the viewer holds now."""
    routing, reader, now = look.routing, look.reader, look.now
    known = roles(routing)
    held = (role for role in known if look.viewer.person in routing.holders(role, now))
    role = wanted if wanted in known else next(held, known[0])
    summary = await handover.summed_up(store, handover.current_shift(routing, role, now))
    return {
        "role": role,
        "roles": [(one, reader.name("role", one)) for one in known],
        "heading": handover.title(summary, reader),
        "sections": handover.numbered(summary, reader, now),
    }


def _row(role: str, ahead: tuple[Shift, ...], look: Viewing, start: datetime) -> Row:
    current, following = ahead[0], ahead[1] if len(ahead) > 1 else None
    ends = following is not None
    return Row(
        key=role,
        role=look.reader.name("role", role),
        now=_names(current.people, look),
        until=current.end if ends else None,
        next=_names(following.people, look) if following else "",
        next_at=following.start if following else None,
        segments=_segments(role_shifts(look.routing, role, start, start + WEEK), start, look),
    )


def _segments(shifts: Iterable[Shift], start: datetime, look: Viewing) -> tuple[Segment, ...]:
    people = list(look.routing.people)
    return tuple(
        Segment(
            left=round(100 * ((shift.start - start) / WEEK), 3),
            width=round(100 * ((shift.end - shift.start) / WEEK), 3),
            who=_names(shift.people, look),
            colour=people.index(shift.people[0]) % _COLOURS if shift.people else -1,
            start=shift.start,
            end=shift.end,
            mine=look.viewer.person in shift.people,
        )
        for shift in list(shifts)[:_LISTED]
    )


def _days(start: datetime, reader: Reader) -> tuple[Day, ...]:
    names = reader.say("console_weekdays").split()
    days = [start + timedelta(days=number) for number in range(7)]
    return tuple(
        Day(
            round(100 * number / 7, 3),
            round(100 / 7, 3),
            names[int(reader.local(day, "%u")) - 1],
            reader.local(day, "%d"),
        )
        for number, day in enumerate(days)
    )


def _holes(routing: Routing, reader: Reader, now: datetime) -> tuple[Hole, ...]:
    found = gaps(routing, now, now + _AHEAD)[:_GAPS_SHOWN]
    return tuple(
        Hole(
            reader.name("role", gap.role),
            gap.start,
            gap.end if gap.end < now + _AHEAD else None,
            gap.reason is Uncovered.NO_CONTACT,
            gap.start <= now,
        )
        for gap in found
    )


def _mine(ahead: dict[str, tuple[Shift, ...]], look: Viewing) -> tuple[Mine, ...]:
    """Give the shifts of who looks that go on now, and else the next one."""
    person, now = look.viewer.person, look.now
    own = [
        Mine(look.reader.name("role", role), one.start, one.end if one.end < now + _AHEAD else None, one.start <= now)
        for role, shifts in ahead.items()
        for one in shifts
        if person and person in one.people
    ]
    current = tuple(one for one in own if one.now)
    return current or tuple(sorted(own, key=lambda one: one.start)[:1])


def _names(people: Iterable[str], look: Viewing) -> str:
    return ", ".join(look.reader.who(key) for key in people)
