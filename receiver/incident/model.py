"""What an incident is, and what it owes to people. Pure values.

`transition.py` and what it calls make new ones of them; nothing else in this program changes an incident.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from receiver.incident.escalation import Priority, Step
from receiver.incident.state import State


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
    receiver: str = ""  # Alertmanager's name for the route that led here
    labels: dict[str, str] = {}  # what the group is grouped by; msgspec copies a mutable default


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


class Pause(msgspec.Struct, frozen=True):
    """Why an incident waits: an Alertmanager silence, or a maintenance window of ours."""

    kind: str  # silence, inhibition or maintenance
    name: str
    author: str = ""
    until: datetime | None = None
    since: datetime | None = None

    @property
    def spoken(self) -> str:
        """Say it in words, as a timeline does."""
        by = f" by {self.author}" if self.author else ""
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{self.kind} {self.name}{by}{until}"


class Incident(msgspec.Struct, frozen=True, omit_defaults=True):
    """One trouble that people answer to; ``steps`` is the row of the matrix as it was when it opened."""

    id: int
    key: str
    state: State = State.NEW
    priority: Priority = Priority.P4
    title: str = ""
    team: str = ""
    receiver: str = ""
    group_labels: dict[str, str] = {}  # msgspec copies a mutable default
    labels: dict[str, str] = {}  # of the alert that opened it: what routes are chosen by
    drill: bool = False
    alerts: dict[str, Alert] = {}
    ended: dict[str, datetime] = {}  # fingerprint -> newest start of an episode that is over
    truncated: int = 0
    opened_at: datetime | None = None
    # The plan, as it was when the incident opened or its priority rose; see receiver.incident.policy.Plan.
    steps: tuple[Step, ...] = ()
    response_time: float = 0.0
    warn_after: float = 0.0
    repeat_every: float = 0.0
    acknowledge_for: float = 0.0
    # Its clocks: each is None when it does not run.
    clock_started_at: datetime | None = None
    next_step: int = 0
    next_due_at: datetime | None = None  # the next step, or the next repeat of the last one
    warn_due_at: datetime | None = None
    answer_due_at: datetime | None = None
    remind_due_at: datetime | None = None  # the owner hears that the acknowledgement is about to run out
    acknowledged_until: datetime | None = None
    quiet_until: datetime | None = None  # it flaps, and is believed to be over if it stays quiet until then
    # What has been said, to whom, and whether it arrived.
    rounds: int = 0
    round_lanes: tuple[str, ...] = ()
    paged_at: datetime | None = None
    delivered_at: datetime | None = None  # when the first page of the newest round reached a person
    reached: tuple[str, ...] = ()  # the people whom it has reached
    serial: int = 0
    told: tuple[Target, ...] = ()
    grown: bool = False  # the owner has heard that alerts have joined
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    breached_at: datetime | None = None
    paused: Pause | None = None
    paused_for: float = 0.0  # seconds, of the pauses that are over
    held: bool = False  # Alertmanager says resolved, and its own Watchdog is overdue
    reopened: tuple[datetime, ...] = ()  # within the last hour
    flapping: bool = False
    resolved_at: datetime | None = None
    resolved_by: str = ""
    fresh: tuple[Entry, ...] = ()  # timeline lines of this very transition; the store moves them to their table

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire now, oldest first."""
        return tuple(sorted((a for a in self.alerts.values() if a.firing), key=lambda a: a.starts_at))

    @property
    def wake_at(self) -> datetime | None:
        """When its next clock runs to its time; None if it waits for nothing but news."""
        if self.state is State.RESOLVED:
            return None
        if self.quiet_until is not None:
            return self.quiet_until
        if self.paused is not None:
            return self.paused.until
        clocks: tuple[datetime | None, ...]
        if self.state is State.ACKNOWLEDGED:
            clocks = (self.remind_due_at, self.acknowledged_until)
        else:
            clocks = (self.next_due_at, self.warn_due_at, self.answer_due_at)
        return min((clock for clock in clocks if clock is not None), default=None)
