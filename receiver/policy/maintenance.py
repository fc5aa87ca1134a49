"""Maintenance windows, once or every week: what fires in them is recorded and tells nobody. Pure."""

from datetime import datetime

import msgspec

from receiver.incident.model import Pause, PauseKind
from receiver.oncall.hours import Hours
from receiver.policy.matcher import Matchers, match_all


class Window(msgspec.Struct, frozen=True):
    """From ``start`` to ``end``, or in the ``hours`` of every week; of the alerts that match."""

    name: str
    matchers: Matchers
    start: datetime | None = None
    end: datetime | None = None
    hours: Hours | None = None

    def until(self, now: datetime) -> datetime | None:
        """Give the end of the window if ``now`` lies in it."""
        if self.hours is not None:
            return self.hours.closes(now) if self.hours.contains(now) else None
        inside = self.start is not None and self.end is not None and self.start <= now < self.end
        return self.end if inside else None


def current(windows: tuple[Window, ...], labels: dict[str, str], now: datetime) -> Pause | None:
    """Give the window that lasts longest of those that an alert stands in."""
    ends = [(until, w) for w in windows if match_all(w.matchers, labels) and (until := w.until(now)) is not None]
    if not ends:
        return None
    until, window = max(ends, key=lambda pair: pair[0])
    return Pause(PauseKind.MAINTENANCE, window.name, until=until)
