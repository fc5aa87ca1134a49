"""Says who holds each role of the matrix and whether they can be reached, now and in the days to come. Pure."""

from datetime import datetime
from itertools import pairwise

import msgspec

from receiver.oncall.schedule import shifts
from receiver.policy.routing import Routing


class Gap(msgspec.Struct, frozen=True):
    """A time in which a role has nobody who can be reached, and why."""

    role: str
    start: datetime
    end: datetime
    why: str


def roles(routing: Routing) -> tuple[str, ...]:
    """List the roles that any matrix names."""
    plans = [*routing.plans.values(), *(plan for table in routing.team_plans.values() for plan in table.values())]
    return tuple(dict.fromkeys(role for plan in plans for step in plan.steps for role in step.roles))


def holders(routing: Routing, role: str, at: datetime) -> tuple[str, ...]:
    """Give the keys of those who hold a role and have a way to be reached."""
    return tuple(key for key in routing.holders(role, at) if routing.people[key].contacts)


def gaps(routing: Routing, start: datetime, end: datetime) -> tuple[Gap, ...]:
    """List when a role has nobody; one line a gap, in the order of roles and time."""
    found: list[Gap] = []
    for role in roles(routing):
        edges = sorted({start, *(edge for edge in _edges(routing, role, start, end) if start < edge < end), end})
        for begin, finish in pairwise(edges):
            if holders(routing, role, begin):
                continue
            why = "nobody is on call" if not routing.holders(role, begin) else "whoever is on call has no contact"
            if found and found[-1].role == role and found[-1].end == begin and found[-1].why == why:
                found[-1] = Gap(role, found[-1].start, finish, why)
            else:
                found.append(Gap(role, begin, finish, why))
    return tuple(found)


def _edges(routing: Routing, role: str, start: datetime, end: datetime) -> list[datetime]:
    """The moments at which the holders of a role may change."""
    edges: list[datetime] = []
    for name in routing.roles.get(role, ()):
        if name in routing.schedules:
            edges += [shift.start for shift in shifts(routing.schedules[name], start, end)]
        elif name in routing.people:
            edges += [edge for pair in routing.people[name].vacation for edge in pair]
    return edges
