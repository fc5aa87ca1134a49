"""Finds what is wrong, thin or outdated in contacts, roles and schedules of receiver.yml. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from receiver.messages.i18n import Reader
from receiver.oncall.schedule import Schedule
from receiver.policy.coverage import gaps, roles
from receiver.policy.routing import Routing
from receiver.reports.review.model import Note


def notes(routing: Routing, now: datetime, until: datetime, calendars: Iterable[str] = ()) -> list[Note]:
    """Look from ``now`` ahead; schedules in ``calendars`` are imported, and their gaps are not in the file."""
    return [*_people(routing), *_roles(routing), *_gaps(routing, now, until, set(calendars)), *_over(routing, now)]


def _people(routing: Routing) -> Iterable[Note]:
    placed = {key for role in roles(routing) for key in _named(routing, role)}
    scheduled = {key for schedule in routing.schedules.values() for key in _within(schedule)}
    for key, person in routing.people.items():
        name = routing.directory.name(key)
        if not person.contacts:
            yield Note(name, "has no way to be reached", f"add one to people.{key}")
        if key not in placed and key not in scheduled:
            yield Note(name, "holds no role and is in no schedule", f"give one, or take people.{key} out")
        for start, end in person.vacation:
            if end <= start:
                yield Note(name, f"has a vacation that ends before it begins ({start:%Y-%m-%d})", "correct it")


def _roles(routing: Routing) -> Iterable[Note]:
    for role in roles(routing):
        people = {key for key in _named(routing, role) if key in routing.people}
        if len(people) == 1:
            name = routing.directory.name(next(iter(people)))
            yield Note(f"role {role}", f"has one person only, {name}", "add a second to roles or to its schedule")
        ways = {contact.channel for key in people for contact in routing.people[key].contacts}
        if people and len(ways) == 1:
            yield Note(f"role {role}", f"is reached by {next(iter(ways))} alone", "add a second way to its people")


def _gaps(routing: Routing, now: datetime, until: datetime, calendars: set[str]) -> Iterable[Note]:
    for gap in gaps(routing, now, until):
        if calendars & set(routing.roles.get(gap.role, ())):
            continue
        why = Reader().name("gap", gap.reason)
        times = f"from {gap.start:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC"
        yield Note(f"role {gap.role}", f"{why} {times}", "add a layer, a person or an override")


def _over(routing: Routing, now: datetime) -> Iterable[Note]:
    for name, schedule in routing.schedules.items():
        old = sum(span.end <= now for span in schedule.overrides) + sum(swap.end <= now for swap in schedule.swaps)
        if old:
            yield Note(f"schedule {name}", f"has {_many(old, 'override')} or swaps that are over", "take them out")
        if schedule.layers and all(layer.end is not None and layer.end <= now for layer in schedule.layers):
            yield Note(f"schedule {name}", "has no rotation that goes on", "add a layer")
    for window in routing.windows:
        if window.end is not None and window.end <= now:
            yield Note(f"maintenance {window.name}", f"is over since {window.end:%Y-%m-%d}", "take it out")


def _named(routing: Routing, role: str) -> set[str]:
    people: set[str] = set()
    for name in routing.roles.get(role, ()):
        people |= set(_within(routing.schedules[name])) if name in routing.schedules else {name}
    return people


def _within(schedule: Schedule) -> list[str]:
    shifts: Sequence[Sequence[str]] = [shift for layer in schedule.layers for shift in layer.shifts]
    return [key for people in (*shifts, *(span.people for span in schedule.calendar)) for key in people]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
