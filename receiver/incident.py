"""What an incident is: its states, the one total table between them, its events and what it owes to people. Pure.

`transition.py` applies the table; nothing else in this program changes an incident.
"""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from receiver.escalation import Priority, Step


class State(StrEnum):
    """NEW has not been opened yet: it exists only inside the transaction that may open it."""

    NEW = "new"
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Signal(StrEnum):
    """What an event means for the state, once its content has been looked at."""

    FIRE = "fire"  # alerts are firing
    RAISE = "raise"  # alerts are firing, and they have become a P1
    CLEAR = "clear"  # no alert is firing any more
    STEP_DUE = "step_due"  # the matrix wants its next step
    UNDELIVERED = "undelivered"  # nobody of the last step could be reached
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


_N, _T, _A, _R = State.NEW, State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED

# Total on purpose: a pair that is missing is a bug that a test finds, not a KeyError at 3 a.m.
TRANSITIONS: dict[tuple[State, Signal], State] = {
    (_N, Signal.FIRE): _T,
    (_N, Signal.RAISE): _T,
    (_N, Signal.CLEAR): _N,  # the resolve of something that we never saw firing
    (_N, Signal.STEP_DUE): _N,
    (_N, Signal.UNDELIVERED): _N,
    (_N, Signal.ACKNOWLEDGE): _N,
    (_N, Signal.RESOLVE): _N,
    (_T, Signal.FIRE): _T,
    (_T, Signal.RAISE): _T,
    (_T, Signal.CLEAR): _R,
    (_T, Signal.STEP_DUE): _T,
    (_T, Signal.UNDELIVERED): _T,
    (_T, Signal.ACKNOWLEDGE): _A,
    (_T, Signal.RESOLVE): _R,
    (_A, Signal.FIRE): _A,
    (_A, Signal.RAISE): _T,  # whoever took a P2 has not said that they can carry a P1
    (_A, Signal.CLEAR): _R,
    (_A, Signal.STEP_DUE): _A,
    (_A, Signal.UNDELIVERED): _A,
    (_A, Signal.ACKNOWLEDGE): _A,
    (_A, Signal.RESOLVE): _R,
    (_R, Signal.FIRE): _R,  # what fires after the resolve opens an incident of its own
    (_R, Signal.RAISE): _R,
    (_R, Signal.CLEAR): _R,
    (_R, Signal.STEP_DUE): _R,
    (_R, Signal.UNDELIVERED): _R,
    (_R, Signal.ACKNOWLEDGE): _R,  # the acknowledgement lost the race; resolve wins
    (_R, Signal.RESOLVE): _R,
}


class Alert(msgspec.Struct, frozen=True):
    """One alert of a group; (fingerprint, starts_at) is its episode."""

    fingerprint: str
    firing: bool
    starts_at: datetime
    ends_at: datetime | None
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str = ""


class AlertGroup(msgspec.Struct, frozen=True):
    """What Alertmanager says of one group; ``truncated`` alerts of it are not listed."""

    key: str
    alerts: tuple[Alert, ...]
    truncated: int = 0


class Target(msgspec.Struct, frozen=True):
    """Where a notification goes; ``lane`` is what must stay in order and in one thread."""

    channel: str
    address: str
    lane: str
    person: str = ""
    role: str = ""


class Kind(StrEnum):
    """What a notification says."""

    PAGE = "page"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    UPDATE = "update"  # something that those who were told should know, and need not answer
    REMINDER = "reminder"  # an answer is late, or is about to be


class Notification(msgspec.Struct, frozen=True):
    """What is owed to one target; ``round`` counts the incident's pagings, ``roles`` says who is paged in it.

    ``text`` is the news of an update or a reminder; ``serial`` tells apart those of one round.
    """

    kind: Kind
    target: Target
    round: int
    roles: tuple[str, ...] = ()
    text: str = ""
    serial: int = 0


class Entry(msgspec.Struct, frozen=True):
    """One line of an incident's timeline."""

    at: datetime
    kind: str
    text: str
    actor: str = ""


class Incident(msgspec.Struct, frozen=True):
    """One trouble that people answer to; ``steps`` is the row of the matrix as it was when it opened."""

    id: int
    key: str
    state: State = State.NEW
    priority: Priority = Priority.P4
    title: str = ""
    team: str = ""
    alerts: dict[str, Alert] = {}  # msgspec copies a mutable default
    ended: dict[str, datetime] = {}  # fingerprint -> newest start of an episode that is over
    truncated: int = 0
    opened_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    response_time: float = 0.0
    clock_started_at: datetime | None = None
    next_step: int = 0
    next_due_at: datetime | None = None
    rounds: int = 0
    told: tuple[Target, ...] = ()
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    resolved_at: datetime | None = None
    resolved_by: str = ""
    fresh: tuple[Entry, ...] = ()  # timeline lines of this very transition; the store moves them to their table

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire now, oldest first."""
        return tuple(sorted((a for a in self.alerts.values() if a.firing), key=lambda a: a.starts_at))


class AlertsReceived(msgspec.Struct, frozen=True):
    """Alertmanager sent the group."""

    group: AlertGroup


class StepDue(msgspec.Struct, frozen=True):
    """The escalator found the incident's next step due."""


class Undelivered(msgspec.Struct, frozen=True):
    """Every notification of this round is dead: nobody was told."""

    round: int


class Acknowledge(msgspec.Struct, frozen=True):
    """A person takes the incident; ``origin`` says by what way."""

    actor: str
    origin: str


class Resolve(msgspec.Struct, frozen=True):
    """A person says that it is over; it holds for the episodes that fire now."""

    actor: str
    origin: str


Event = AlertsReceived | StepDue | Undelivered | Acknowledge | Resolve


class Policy(Protocol):
    """What the configuration answers: looked up at the moment that it is needed."""

    @property
    def dwell(self) -> float:
        """Seconds that two steps keep apart when they are caught up."""

    def priority(self, labels: dict[str, str]) -> tuple[Priority, str]:
        """Give the priority of an alert and a remark, empty if all is well."""

    def team(self, labels: dict[str, str]) -> tuple[str, str]:
        """Give the team that owns an alert, and a remark."""

    def steps(self, priority: Priority) -> tuple[Step, ...]:
        """Give the row of the matrix."""

    def response_time(self, priority: Priority) -> float:
        """Give the seconds within which somebody should answer."""

    def targets(self, roles: tuple[str, ...], team: str, priority: Priority) -> tuple[Target, ...]:
        """Say where a page for these roles goes now."""
