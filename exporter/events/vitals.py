"""Holds web vitals until they have settled: browsers report the same vital again as it grows. Pure.

A histogram cannot take an observation back, so the last value of an id is observed once it has been quiet for a
while (github.com/GoogleChrome/web-vitals: "the same metric may be reported more than once").
"""

from typing import NamedTuple

from exporter.events.decode import Event

CAPACITY = 50_000  # ids held at once; one more settles the oldest


class Held(NamedTuple):
    """A vital, where it came from, and for how many its page stands."""

    event: Event
    source: str
    weight: int


class Settling:
    """Vitals by id, in the order of their last report."""

    def __init__(self, quiet: float) -> None:
        self._quiet = quiet
        self._held: dict[str, tuple[float, Held]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, held: Held, now: float) -> list[Held]:
        """Take a report; gives what must be counted now: one without an id, and the oldest when all places are full."""
        if not held.event.id:
            return [held]
        key = f"{held.event.data.vital}/{held.event.id}"
        self._held.pop(key, None)
        self._held[key] = (now, held)
        if len(self._held) <= CAPACITY:
            return []
        oldest = next(iter(self._held))
        return [self._held.pop(oldest)[1]]

    def settled(self, now: float) -> list[Held]:
        """Let go of what has been quiet for long enough."""
        keys = []
        for key, (seen, _) in self._held.items():
            if now - seen < self._quiet:
                break
            keys.append(key)
        return [self._held.pop(key)[1] for key in keys]

    def dump(self) -> list[tuple[float, Held]]:
        """Give what is held, oldest first, for the snapshot."""
        return list(self._held.values())
