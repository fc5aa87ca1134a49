"""Who is on call for each role and can be reached, now and in the days to come. Pure."""

from datetime import datetime
from enum import StrEnum
from itertools import pairwise

import msgspec

from receiver.incident.model import Step
from receiver.oncall.hours import Hours
from receiver.oncall.schedule import Shift, shifts
from receiver.policy.routing import Routing


class Uncovered(StrEnum):
    """Why nobody can be reached; the messages have a phrase for each."""

    NOBODY = "nobody"
    NO_CONTACT = "no_contact"


class Gap(msgspec.Struct, frozen=True):
    """A period in which nobody who can be reached is on call for a role that is paged then, and why."""

    role: str
    start: datetime
    end: datetime
    reason: Uncovered


def roles(routing: Routing) -> tuple[str, ...]:
    """List the roles that any matrix names."""
    return tuple(dict.fromkeys(role for step in _steps(routing) for role in step.roles))


def holders(routing: Routing, role: str, at: datetime) -> tuple[str, ...]:
    """Give the keys of those who are on call for a role and have a contact."""
    return tuple(key for key in routing.holders(role, at) if routing.people[key].contacts)


def is_covered(routing: Routing, role: str, at: datetime) -> bool:
    """Say whether somebody can be reached, or no row of a matrix pages the role at that hour."""
    return bool(holders(routing, role, at)) or not _is_paged(_hours(routing, role), at)


def gaps(routing: Routing, start: datetime, end: datetime) -> tuple[Gap, ...]:
    """List the gaps of every role, in the order of roles and time."""
    merged: list[Gap] = []
    for role in roles(routing):
        hours = _hours(routing, role)
        edges = [*_edges(routing, role, start, end), *(edge for one in hours or () for edge in one.edges(start, end))]
        edges = sorted({start, *(edge for edge in edges if start < edge < end), end})
        for begin, finish in pairwise(edges):
            if holders(routing, role, begin) or not _is_paged(hours, begin):
                continue
            reason = Uncovered.NO_CONTACT if routing.holders(role, begin) else Uncovered.NOBODY
            if merged and merged[-1].role == role and merged[-1].end == begin and merged[-1].reason is reason:
                merged[-1] = Gap(role, merged[-1].start, finish, reason)
            else:
                merged.append(Gap(role, begin, finish, reason))
    return tuple(merged)


def role_shifts(routing: Routing, role: str, start: datetime, end: datetime) -> tuple[Shift, ...]:
    """Give who holds a role from ``start`` to ``end``, whoever and whatever holds it; () is a gap."""
    edges = sorted({start, *(edge for edge in _edges(routing, role, start, end) if start < edge < end), end})
    merged: list[Shift] = []
    for begin, finish in pairwise(edges):
        people = holders(routing, role, begin)
        if merged and merged[-1].people == people:
            merged[-1] = Shift(merged[-1].start, finish, people)
        else:
            merged.append(Shift(begin, finish, people))
    return tuple(merged)


def _steps(routing: Routing) -> list[Step]:
    plans = [*routing.plans.values(), *(plan for table in routing.team_plans.values() for plan in table.values())]
    return [step for plan in plans for step in plan.steps]


def _hours(routing: Routing, role: str) -> tuple[Hours, ...] | None:
    """Give the hours in which a role may be paged; None for always."""
    names = {step.hours for step in _steps(routing) if role in step.roles}
    return tuple(routing.hours[name] for name in names) if names <= routing.hours.keys() else None


def _is_paged(hours: tuple[Hours, ...] | None, at: datetime) -> bool:
    return hours is None or any(one.contains(at) for one in hours)


def _edges(routing: Routing, role: str, start: datetime, end: datetime) -> list[datetime]:
    """When the people on call for a role may change."""
    edges: list[datetime] = []
    for name in routing.roles.get(role, ()):
        if name in routing.schedules:
            edges += [shift.start for shift in shifts(routing.schedules[name], start, end)]
        elif name in routing.people:
            edges += [edge for cover in routing.covers for edge in (cover.start, cover.end)]
            edges += [edge for pair in routing.people[name].vacation for edge in pair]
    return edges
