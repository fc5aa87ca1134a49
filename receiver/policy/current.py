"""Holds the routing that answers now: exchanged whole at a reload, and filled in by calendars."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.oncall.schedule import Span
from receiver.policy.routing import Routing


class Current:
    """``routing`` is frozen: read it once for each event, so that the whole event is decided by one configuration."""

    def __init__(self, routing: Routing, running_since: datetime) -> None:
        self.routing = replace(routing, running_since=running_since)

    def exchange(self, routing: Routing) -> None:
        """Answer by another configuration from now on; a calendar's shifts are kept until it is read again."""
        old = self.routing
        schedules = {
            name: replace(schedule, calendar=old.schedules[name].calendar) if name in old.schedules else schedule
            for name, schedule in routing.schedules.items()
        }
        self.routing = replace(routing, schedules=schedules, running_since=old.running_since)

    def set_calendar(self, name: str, shifts: tuple[Span, ...]) -> None:
        """Replace the shifts that the calendar of a schedule gives."""
        schedules = self.routing.schedules
        filled = replace(schedules[name], calendar=shifts)
        self.routing = replace(self.routing, schedules={**schedules, name: filled})

    def clock_set(self, by: timedelta) -> None:
        """Go on with a clock that was set: no time has passed."""
        self.routing = replace(self.routing, running_since=self.routing.running_since + by)

    def restarted(self, now: datetime) -> None:
        """Count as running since ``now``: we were suspended or the clock was set, so older pages may have waited."""
        self.routing = replace(self.routing, running_since=now)
