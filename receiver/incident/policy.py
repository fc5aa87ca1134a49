"""What the pure core asks of the configuration, at the moment that it needs to know."""

from datetime import datetime
from typing import Protocol

import msgspec

from receiver.incident.model import Alert, Fact, Incident, Pause, Plan, Priority, Target


class Ruling(msgspec.Struct, frozen=True):
    """Priority and team of an alert, and what was missing or unknown in the labels that say so.

    It does not depend on the time. Alerts whose labels differ in nothing that is asked share one, as a rule.
    """

    priority: Priority
    team: str
    about_priority: Fact | None = None
    about_team: Fact | None = None


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

    def ruling(self, labels: dict[str, str]) -> Ruling:
        """Give the priority of an alert and the team that owns it."""

    def rulings(self, incident: Incident) -> tuple[tuple[Alert, Ruling], ...]:
        """Give the ruling of each alert that fires, oldest first."""

    def plan(self, priority: Priority, team: str) -> Plan:
        """Give the column of the matrix and its delays; the incident keeps them until its priority rises."""

    def targets(self, roles: tuple[str, ...], incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Say where a page for these roles goes now."""

    def ways(self, person: str, incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Say how one person is paged now; nothing for somebody who is not known."""

    def has_team(self, team: str) -> bool:
        """Say whether there is such a team."""

    def awake(self, people: tuple[str, ...], incident: Incident, now: datetime) -> tuple[str, datetime] | None:
        """Give the first of these people who is awake and takes such incidents quietly, and until when."""

    def fallback(self, target: Target, incident: Incident, now: datetime) -> tuple[Target, ...]:
        """Say where else somebody can be reached when this way does not work."""

    def maintenance(self, labels: dict[str, str], now: datetime) -> Pause | None:
        """Give the maintenance window that an alert stands in."""

    def maintenance_since(self, labels: dict[str, str], now: datetime) -> datetime | None:
        """Say since when an alert has stood in maintenance; None if it does not."""

    def opens(self, hours: str, at: datetime) -> datetime:
        """Give the first moment, not before ``at``, within the named hours; "" is always."""

    def after(self, hours: str, start: datetime, seconds: float) -> datetime:
        """Give the moment at which this much time of the named hours has passed since ``start``; "" counts it all."""

    def between(self, hours: str, start: datetime, end: datetime) -> float:
        """Give how many seconds of a range of time lie within the named hours; "" counts them all."""
