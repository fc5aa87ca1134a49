"""What the pure core asks of the configuration, at the moment that it needs to know."""

from datetime import datetime
from typing import Protocol

import msgspec

from receiver.incident.escalation import Priority, Step
from receiver.incident.model import Incident, Pause, Target


class Plan(msgspec.Struct, frozen=True):
    """The row of the matrix and the clocks of one priority; seconds, 0 for never."""

    steps: tuple[Step, ...]
    response_time: float
    warn_after: float = 0.0  # when those who were told hear that the response time is running out
    repeat_every: float = 0.0  # how often the last step is taken again
    acknowledge_for: float = 0.0  # how long an acknowledgement holds


class Policy(Protocol):
    """The frozen answers of one configuration."""

    @property
    def dwell(self) -> float:
        """Seconds that two steps keep apart when they are caught up."""

    @property
    def running_since(self) -> datetime:
        """When this process began to send; what is older may have waited for it."""

    @property
    def flap_window(self) -> float:
        """Seconds after a resolve in which the same trouble reopens the same incident."""

    @property
    def flap_quiet(self) -> float:
        """Seconds without a firing alert after which a flapping incident is believed to be over."""

    def priority(self, labels: dict[str, str]) -> tuple[Priority, str]:
        """Give the priority of an alert and a remark, empty if all is well."""

    def team(self, labels: dict[str, str]) -> tuple[str, str]:
        """Give the team that owns an alert, and a remark."""

    def plan(self, priority: Priority, team: str) -> Plan:
        """Give the row of the matrix and its clocks; the incident keeps them until it is over."""

    def targets(self, roles: tuple[str, ...], incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Say where a page for these roles goes now."""

    def fallback(self, target: Target, incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Say where else somebody can be reached when this way does not work."""

    def maintenance(self, labels: dict[str, str], now: datetime) -> Pause | None:
        """Give the maintenance window that an alert stands in."""

    def opens(self, hours: str, at: datetime) -> datetime:
        """Give the first moment, not before ``at``, within the named hours; "" is always."""
