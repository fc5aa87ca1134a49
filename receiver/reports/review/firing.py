"""Works out when an alert fired: from the samples of ALERTS, and as it would have with another threshold. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

Sample = tuple[float, float]  # Unix seconds, value
_LATE = 0.5  # of an interval: evaluations are punctual, and samples of a merged history nearly so


class Firing(msgspec.Struct, frozen=True):
    """One time in which one series of an alert fired; Unix seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start


def episodes(times: Iterable[float], interval: float, wait: float) -> list[Firing]:
    """Divide the moments at which ALERTS said firing.

    An alert that stops is false at one evaluation at least, true again at the next, and then waits for its ``wait``
    (`for`): a gap that is shorter was a restart of Prometheus, or an evaluation that was missed.
    """
    longest = wait + interval * (1 + _LATE)
    firings: list[Firing] = []
    for at in times:
        if firings and at - firings[-1].end <= longest:
            firings[-1] = Firing(firings[-1].start, at)
        else:
            firings.append(Firing(at, at))
    return [Firing(one.start, one.end + interval) for one in firings]


def simulated(
    samples: Sequence[Sample], holds: Callable[[float], bool], step: float, wait: float, keep: float = 0.0
) -> list[Firing]:
    """Evaluate as Prometheus does with ``wait`` (`for`) and ``keep`` (`keep_firing_for`), once a ``step``.

    A moment without a sample is one at which the condition does not hold.
    """
    firings: list[Firing] = []
    since = last = -math.inf
    fires = False
    for at, value in samples:
        if math.isnan(value) or not holds(value):
            continue
        within = step * (1 + _LATE)
        if at - last > within and not (fires and at - last <= keep + within):
            since, fires = at, False
        last = at
        if at - since >= wait:
            if fires:
                firings[-1] = Firing(firings[-1].start, at + step)
            else:
                firings.append(Firing(at, at + step))
            fires = True
    return [Firing(one.start, one.end + keep) for one in firings]


def together(firings: Iterable[Firing]) -> float:
    """Give the seconds in which at least one of them fired."""
    total, reached = 0.0, -math.inf
    for one in sorted(firings, key=lambda firing: (firing.start, firing.end)):
        total += max(0.0, one.end - max(one.start, reached))
        reached = max(reached, one.end)
    return total
