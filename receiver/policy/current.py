"""The policy that everything holds: the newest routing, exchanged whole at a reload, and since when we have run."""

from datetime import datetime

import msgspec

from receiver.incident.model import Incident, Pause, Plan, Priority, Target
from receiver.oncall.schedule import Span
from receiver.policy.routing import Routing


class Live:
    """Answers by the ``routing`` of the moment; see receiver.incident.policy.Policy."""

    def __init__(self, routing: Routing, running_since: datetime) -> None:
        self.routing, self._running_since = routing, running_since

    def exchange(self, routing: Routing) -> None:
        """Answer by another routing from now on; what calendars say is carried over until they are read again."""
        old = self.routing.schedules
        schedules = {
            name: msgspec.structs.replace(schedule, calendar=old[name].calendar) if name in old else schedule
            for name, schedule in routing.schedules.items()
        }
        self.routing = msgspec.structs.replace(routing, schedules=schedules)

    def calendar(self, name: str, spans: tuple[Span, ...]) -> None:
        """Take in what the calendar of a schedule says now."""
        schedules = self.routing.schedules
        filled = msgspec.structs.replace(schedules[name], calendar=spans)
        self.routing = msgspec.structs.replace(self.routing, schedules={**schedules, name: filled})

    def restarted(self, now: datetime) -> None:
        """We have been away (started, suspended, or the clock was set): what is older may have waited for us."""
        self._running_since = now

    @property
    def running_since(self) -> datetime:
        return self._running_since

    @property
    def dwell(self) -> float:
        return self.routing.dwell

    @property
    def flap_window(self) -> float:
        return self.routing.flap_window

    @property
    def flap_quiet(self) -> float:
        return self.routing.flap_quiet

    def priority(self, labels: dict[str, str]) -> tuple[Priority, str]:
        return self.routing.priority(labels)

    def team(self, labels: dict[str, str]) -> tuple[str, str]:
        return self.routing.team(labels)

    def plan(self, priority: Priority, team: str) -> Plan:
        return self.routing.plan(priority, team)

    def targets(self, roles: tuple[str, ...], incident: Incident, now: datetime) -> tuple[Target, ...]:
        return self.routing.targets(roles, incident, now)

    def fallback(self, target: Target, incident: Incident, now: datetime) -> tuple[Target, ...]:
        return self.routing.fallback(target, incident, now)

    def maintenance(self, labels: dict[str, str], now: datetime) -> Pause | None:
        return self.routing.maintenance(labels, now)

    def opens(self, hours: str, at: datetime) -> datetime:
        return self.routing.opens(hours, at)
