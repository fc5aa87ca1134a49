"""Counters and histograms that go on where they were: how a run of increments becomes samples."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from deploy.simulation.blocks import series

Samples = tuple[str, Sequence[float]]  # the identity of a series, and a value for each moment


class Counters:
    """Remembers what each counter has reached, so that the next stretch of time continues it."""

    def __init__(self) -> None:
        self._reached: dict[str, float] = {}

    def counter(self, name: str, labels: Mapping[str, str], increments: Iterable[float], whole: float = 1.0) -> Samples:
        """Give a counter's samples; ``whole`` 1 counts events, 0.01 cents and 0 anything."""
        identity = series(name, labels)
        values = list(accumulate(increments, initial=self._reached.get(identity, 0.0)))[1:]
        self._reached[identity] = values[-1]
        if whole == 1.0:
            return identity, [float(int(value)) for value in values]
        return identity, values

    def histogram(
        self,
        name: str,
        labels: Mapping[str, str],
        bounds: Sequence[float],
        increments: Sequence[float],
        below: Callable[[float, int], float],
        mean: Callable[[int], float],
    ) -> Iterator[Samples]:
        """Give a histogram's samples.

        ``below`` says what share of the events of a moment (by its number) a bound holds, and ``mean`` their mean.
        """
        for bound in (*bounds, math.inf):
            le = "+Inf" if bound == math.inf else f"{bound:g}" if bound % 1 else f"{bound:.1f}"
            share = [count * below(bound, n) for n, count in enumerate(increments)]
            yield self.counter(f"{name}_bucket", {**labels, "le": le}, share)
        yield self.counter(f"{name}_count", labels, increments)
        yield self.counter(f"{name}_sum", labels, [count * mean(n) for n, count in enumerate(increments)], 0)


def lognormal(median: float, sigma: float) -> tuple[Callable[[float, float], float], Callable[[float], float]]:
    """Give the share below a bound and the mean of durations, both of a factor by which all are slower."""
    known: dict[tuple[float, float], float] = {}

    def below(bound: float, factor: float) -> float:
        if bound == math.inf:
            return 1.0
        key = (bound, factor)
        if key not in known:
            known[key] = 0.5 * (1 + math.erf(math.log(bound / median / factor) / sigma / math.sqrt(2)))
        return known[key]

    return below, lambda factor: median * factor * math.exp(sigma * sigma / 2)
