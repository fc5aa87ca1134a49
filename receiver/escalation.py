"""Priorities and the escalation matrix: who is told after how long, and when the next step comes. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec


class Priority(StrEnum):
    """What people answer to; P1 is the most urgent."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"

    def more_urgent_than(self, other: "Priority") -> bool:
        """P1 is more urgent than P2; nothing is more urgent than itself."""
        return self.value < other.value


class Step(msgspec.Struct, frozen=True):
    """One cell of the matrix: ``roles`` are told once an incident stood unacknowledged for ``after`` seconds."""

    after: float
    roles: tuple[str, ...]


def next_due(steps: tuple[Step, ...], index: int, started: datetime, fired: datetime, dwell: float) -> datetime:
    """When step ``index`` is due, if the step before it was taken at ``fired``.

    On time that is the table's own time. Late (this receiver was down) it is never closer to the step before than
    ``dwell`` seconds, or than the table itself puts them if that is less: the tech lead gets the same chance to
    answer before the manager hears, and nobody gets a burst.
    """
    due = started + timedelta(seconds=steps[index].after)
    if index == 0:
        return due
    gap = min(dwell, steps[index].after - steps[index - 1].after)
    return max(due, fired + timedelta(seconds=gap))
