"""Maintenance windows, once or every week: what fires in them is recorded and tells nobody. Pure."""

from datetime import datetime, timedelta

import msgspec

from receiver.incident.model import Pause, PauseKind
from receiver.oncall.hours import Hours
from receiver.policy.matcher import Matchers, match_all

_JUST_BEFORE = timedelta(microseconds=1)
_MOST_LINKS = 16  # windows that follow one another; at the end of these it is asked again


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

    def since(self, now: datetime) -> datetime | None:
        """Give the begin of the window if ``now`` lies in it."""
        if self.hours is not None:
            return self.hours.opened(now)
        return self.start if self.until(now) is not None else None


def begun(windows: tuple[Window, ...], labels: dict[str, str], now: datetime) -> datetime | None:
    """Say since when an alert has stood in maintenance, in windows that follow one another without a break."""
    ours = tuple(window for window in windows if match_all(window.matchers, labels))
    earliest, at = None, now
    for _ in range(_MOST_LINKS):
        since = min((since for window in ours if (since := window.since(at)) is not None), default=None)
        if since is None:
            break
        earliest, at = since, since - _JUST_BEFORE
    return earliest


def current(windows: tuple[Window, ...], labels: dict[str, str], now: datetime) -> Pause | None:
    """Give the window that an alert stands in, until the end of the last one that follows without a break."""
    if not windows:
        return None
    ours = tuple(window for window in windows if match_all(window.matchers, labels))
    longest = _longest(ours, now)
    if longest is None:
        return None
    until, window = longest
    for _ in range(_MOST_LINKS):
        following = _longest(ours, until)
        if following is None:
            break
        until = following[0]
    return Pause(PauseKind.MAINTENANCE, window.name, until=until)


def _longest(windows: tuple[Window, ...], now: datetime) -> tuple[datetime, Window] | None:
    ends = [(until, window) for window in windows if (until := window.until(now)) is not None]
    return max(ends, key=lambda pair: pair[0], default=None)
