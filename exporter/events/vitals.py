"""Rates web vitals, and keeps each until its value is final: browsers report one again as it grows. Pure.

A histogram cannot take an observation back, so the last value of an id is observed once no report has come for a
while (github.com/GoogleChrome/web-vitals: "the same metric may be reported more than once").
"""

from typing import NamedTuple

from exporter.events.decode import Event

CAPACITY = 50_000  # vitals pending at once; one more makes the oldest final
# web.dev/articles/vitals: good up to the first bound, poor above the second; CLS has no unit, the others are in ms.
_BOUNDS = {
    "LCP": (2500, 4000),
    "INP": (200, 500),
    "CLS": (0.1, 0.25),
    "FCP": (1800, 3000),
    "TTFB": (800, 1800),
    "FID": (100, 300),
}
VITALS = tuple(_BOUNDS)


def rating(vital: str, value: float) -> str:
    """Rate a value of a vital, CLS as its score and the others in milliseconds, as Google does."""
    good, poor = _BOUNDS[vital]
    return "good" if value <= good else "needs-improvement" if value <= poor else "poor"


def key_of(event: Event) -> str:
    """Return what tells one vital of one page view from all others."""
    return f"{event.data.vital}/{event.id}"


class PendingVital(NamedTuple):
    """A report of a vital, the endpoint it was posted to, and how many page views it stands for."""

    event: Event
    source: str
    weight: int


class PendingVitals:
    """Vitals by id, ordered by their last report; final after ``timeout`` seconds without another one."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pending: dict[str, tuple[float, PendingVital]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def report(self, vital: PendingVital, now: float) -> list[PendingVital]:
        """Take a report; returns what must be counted now: one without an id, or the oldest if there is no room."""
        if not vital.event.id:
            return [vital]
        key = key_of(vital.event)
        self._pending.pop(key, None)
        self._pending[key] = (now, vital)
        if len(self._pending) <= CAPACITY:
            return []
        oldest = next(iter(self._pending))
        return [self._pending.pop(oldest)[1]]

    def final(self, now: float) -> list[PendingVital]:
        """Remove and return the vitals that are final."""
        keys = []
        for key, (reported, _) in self._pending.items():
            if abs(now - reported) < self._timeout:  # later than now if our clock was ahead
                break
            keys.append(key)
        return [self._pending.pop(key)[1] for key in keys]

    def drop_before(self, key: str, reported: float) -> None:
        """Forget a vital that was last reported before: another exporter has a later report, and counts it."""
        known = self._pending.get(key)
        if known is not None and known[0] < reported:
            del self._pending[key]

    def dump(self) -> list[tuple[float, PendingVital]]:
        """Return what is pending, oldest first, for the snapshot."""
        return list(self._pending.values())
