"""Holds the routing that answers now: exchanged whole at a reload, filled in by calendars and by what people set."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.oncall.cover import Cover, covered
from receiver.oncall.schedule import Schedule, Span
from receiver.policy.maintenance import Window
from receiver.policy.routing import Routing


class Current:
    """``routing`` is frozen: read it once for each event, so that the whole event is decided by one configuration.

    ``plain`` is the same without what people have set for a while: covers, who is awake, maintenance made here.
    """

    def __init__(self, routing: Routing, running_since: datetime) -> None:
        self.plain = self.routing = replace(routing, running_since=running_since)
        self._covers: tuple[Cover, ...] = ()
        self._awake: Mapping[str, datetime] = {}
        self._windows: tuple[Window, ...] = ()

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """The schedules of the file and of calendars, without covers."""
        return self.plain.schedules

    def exchange(self, routing: Routing) -> None:
        """Answer by another configuration from now on; a calendar's shifts are kept until it is read again."""
        old = self.plain
        schedules = {
            name: replace(schedule, calendar=old.schedules[name].calendar) if name in old.schedules else schedule
            for name, schedule in routing.schedules.items()
        }
        self._use(replace(routing, schedules=schedules, running_since=old.running_since))

    def set_calendar(self, name: str, shifts: tuple[Span, ...]) -> None:
        """Replace the shifts that the calendar of a schedule gives."""
        schedules = self.plain.schedules
        filled = replace(schedules[name], calendar=shifts)
        self._use(replace(self.plain, schedules={**schedules, name: filled}))

    def set_duty(self, covers: tuple[Cover, ...], awake: Mapping[str, datetime], windows: tuple[Window, ...]) -> None:
        """Take what people have set for a while, on top of the file."""
        if (covers, awake, windows) != (self._covers, self._awake, self._windows):
            self._covers, self._awake, self._windows = covers, dict(awake), windows
            self._use(self.plain)

    def clock_set(self, by: timedelta) -> None:
        """Go on with a clock that was set: no time has passed."""
        self._use(replace(self.plain, running_since=self.plain.running_since + by))

    def restarted(self, now: datetime) -> None:
        """Count as running since ``now``: we were suspended or the clock was set, so older pages may have waited."""
        self._use(replace(self.plain, running_since=now))

    def _use(self, plain: Routing) -> None:
        self.plain = plain
        self.routing = with_duty(plain, self._covers, self._awake, self._windows)


def with_duty(
    plain: Routing, covers: tuple[Cover, ...], awake: Mapping[str, datetime], windows: tuple[Window, ...]
) -> Routing:
    """Give a routing with what people have set for a while; somebody who has left stands in for nobody."""
    covers = tuple(cover for cover in covers if cover.person in plain.people)
    if not (covers or awake or windows):
        return plain
    return replace(
        plain,
        schedules={name: covered(schedule, covers) for name, schedule in plain.schedules.items()},
        covers=covers,
        people_awake=dict(awake),
        windows=(*plain.windows, *windows),
    )
