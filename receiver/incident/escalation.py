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


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cell of the matrix: ``roles`` are told once an incident stood unacknowledged for ``after`` seconds.

    ``hours`` names the hours in which the step may be taken; outside them it waits for their beginning.
    """

    after: float
    roles: tuple[str, ...]
    hours: str = ""


def gap(steps: tuple[Step, ...], index: int, dwell: float) -> timedelta:
    """Give the least time between step ``index`` and the one before it.

    ``dwell``, or what the table itself puts between them if that is less: late or not, the tech lead gets the same
    chance to answer before the manager hears, and nobody gets a burst.
    """
    return timedelta(seconds=min(dwell, steps[index].after - steps[index - 1].after) if index else 0)


def next_due(steps: tuple[Step, ...], index: int, started: datetime, fired: datetime, dwell: float) -> datetime:
    """When step ``index`` is due if the one before it was taken at ``fired``; on time that is the table's own time."""
    due = started + timedelta(seconds=steps[index].after)
    return max(due, fired + gap(steps, index, dwell)) if index else due
