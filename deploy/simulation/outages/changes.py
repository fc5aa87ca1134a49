"""What an outage does to series that were simulated without it."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from deploy.simulation.counters import Samples
from deploy.simulation.time_axis import DAY, ZONE, Axis

# What a gauge shows during an outage: its value without it, the time, and the outage's start, in Unix seconds.
Gauge = Callable[[float, int, float], float]
# What a counter adds in an interval: what it adds without the outage, and the interval's seconds.
Counter = Callable[[float, int], float]
# Prometheus writes these itself for a target that is down.
OF_THE_SCRAPE = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the series with this name and these labels (``a="b"``); of buckets, of those up to ``below``."""

    series: str
    labels: tuple[str, ...] = ()
    gauge: Gauge | None = None
    counter: Counter | None = None
    below: float = math.inf
    new: bool = False  # no such series without the outage; ``labels`` are all that it has

    def matches(self, identity: str) -> bool:
        """Say whether a series of this name is meant."""
        if self.new or not all(label in identity for label in self.labels):
            return False
        bound = re.search(r'[{,]le="([^"]+)"', identity)
        return self.below == math.inf or (bound is not None and float(bound[1]) <= self.below)


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that fails at an hour of the school's day, so many days before the end of the history."""

    name: str
    day: int
    hour: float
    minutes: int
    fires: tuple[str, ...]  # in each such outage
    changes: tuple[Change, ...]
    also: tuple[str, ...] = ()  # alerts that may fire with them
    down: tuple[str, ...] = ()  # jobs whose targets do not answer
    gone: tuple[str, ...] = ()  # jobs that Prometheus does not know any more

    def span(self, end: float) -> tuple[float, float]:
        """Return its start and end in Unix seconds."""
        midnight = (end + ZONE) // DAY * DAY - ZONE - self.day * DAY
        start = midnight + self.hour * 3600
        return start, start + self.minutes * 60


def held(value: float) -> Gauge:
    """Show one value."""
    return lambda _value, _at, _start: value


def ago(seconds: float) -> Gauge:
    """Show a time so long before the outage's start."""
    return lambda _value, _at, start: start - seconds


def shrinking(per_second: float, least: float) -> Gauge:
    """Show ever less, down to a least value."""
    return lambda value, at, start: max(least, value - per_second * (at - start))


def missing(_value: float, _at: int, _start: float) -> float:
    """Show nothing."""
    return math.nan


def plus(per_second: float) -> Counter:
    """Count more than without the outage."""
    return lambda each, seconds: each + per_second * seconds


def times(factor: float) -> Counter:
    """Count so many times what is counted without the outage; 0: nothing."""
    return lambda each, _seconds: each * factor


class Outages:
    """Outages on their way into a history; holds what each changed counter has reached."""

    def __init__(self, outages: Sequence[Outage], end: float) -> None:
        self._spans = [(one, *one.span(end)) for one in outages]
        self._reached: dict[str, tuple[float, float]] = {}  # without the outages, and with them
        self._changes: dict[str, list[tuple[Change, float, float]]] = {}
        for outage, start, stop in self._spans:
            for change in outage.changes:
                self._changes.setdefault(change.series, []).append((change, start, stop))

    def over(self, axis: Axis, samples: Iterable[Samples]) -> Iterator[Samples]:
        """Return the samples as the outages leave them, and those of series that only outages have."""
        seen = set[str]()
        for identity, values in samples:
            seen.add(identity)
            yield identity, self._changed(identity, values, axis)
        for outage, start, stop in self._spans:
            for change in outage.changes:
                identity = f"{change.series}{{{','.join(change.labels)}}}"
                if change.new and identity not in seen and start < axis.times[-1] and stop > axis.start:
                    yield identity, self._of_new(identity, change, start, stop, axis)

    def _changed(self, identity: str, values: Sequence[float], axis: Axis) -> Sequence[float]:
        name = identity.partition("{")[0]
        for change, start, stop in self._changes.get(name, ()):
            if change.gauge and change.matches(identity):
                values = _gauge(change.gauge, values, axis, start, stop)
        counting = [
            (change.counter, start, stop)
            for change, start, stop in self._changes.get(name, ())
            if change.counter and change.matches(identity)
        ]
        if counting:
            values = self._counted(identity, values, axis, counting)
        return self._unreached(identity, name, values, axis)

    def _unreached(self, identity: str, name: str, values: Sequence[float], axis: Axis) -> Sequence[float]:
        for outage, start, stop in self._spans:
            if any(f'job="{job}"' in identity for job in outage.gone):
                values = _gauge(missing, values, axis, start, stop)
            elif any(f'job="{job}"' in identity for job in outage.down) and name == "up":
                values = _gauge(held(0), values, axis, start, stop)
            elif any(f'job="{job}"' in identity for job in outage.down) and name not in OF_THE_SCRAPE:
                values = _gauge(missing, values, axis, start, stop)
        return values

    def _of_new(self, identity: str, change: Change, start: float, stop: float, axis: Axis) -> Sequence[float]:
        if change.counter:
            return self._counted(identity, [0.0] * axis.count, axis, [(change.counter, start, stop)])
        return _gauge(change.gauge or missing, [math.nan] * axis.count, axis, start, stop)

    def _counted(
        self, identity: str, values: Sequence[float], axis: Axis, counting: Sequence[tuple[Counter, float, float]]
    ) -> list[float]:
        before, shown = self._reached.get(identity, (0.0, 0.0))
        each = [later - earlier for earlier, later in pairwise([before, *values])]
        for counter, start, stop in counting:
            each = [
                counter(one, axis.step) if start <= at < stop else one for one, at in zip(each, axis.times, strict=True)
            ]
        changed = list[float]()
        for one in each:
            shown += one
            changed.append(shown)
        self._reached[identity] = (values[-1], shown)
        return changed


def _gauge(gauge: Gauge, values: Sequence[float], axis: Axis, start: float, stop: float) -> Sequence[float]:
    if stop <= axis.start or start > axis.times[-1]:
        return values
    return [
        gauge(value, at, start) if start <= at < stop else value for value, at in zip(values, axis.times, strict=True)
    ]
