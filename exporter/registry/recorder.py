"""Counts events: looks each up in the catalogue, folds its labels into their domains, and moves the series."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from exporter.catalogue.label_values import Fold
from exporter.catalogue.model import TIME, Catalogue, Family
from exporter.events.decode import Event, Schema, seconds
from exporter.registry.hyperloglog import Distinct
from exporter.registry.series import Counter, Gauge, Histogram, Series

_KNOWN = 4096  # combinations of field values whose cells are remembered, for each type of event


class _Observe(NamedTuple):
    cell: Histogram
    value: Callable[[Any], float | None]
    bounds: tuple[float, ...]


class _Above(NamedTuple):
    """A counter of events of which a number is larger than this."""

    cell: Counter
    value: Callable[[Any], float]
    least: float


class _Other(NamedTuple):
    """What is not on the quick path: amounts, gauges, conditions on numbers."""

    family: Family
    cell: Counter | Gauge | Histogram


class _Moves(NamedTuple):
    """What an event of certain field values moves."""

    counters: tuple[Counter, ...]
    observed: tuple[_Observe, ...]
    above: tuple[_Above, ...]
    others: tuple[_Other, ...]


class Recorder:
    """The series of a catalogue. Not thread-safe: the event loop is the one that counts."""

    def __init__(self, catalogue: Catalogue, schema: Schema, key: bytes) -> None:
        self.catalogue = catalogue
        self.series = {family.name: Series(family) for family in catalogue.families}
        self.found: dict[str, dict[str, None]] = {}
        self.distinct = {family.name: Distinct(key) for family in catalogue.families if family.distinct}
        self._plans = {kind: _Plan(name, self) for name, kind in schema.types.items()}

    def record(self, events: Sequence[Event], source: str, now: float, weight: int = 1) -> None:
        """Count decoded events in every family that they feed; it cannot fail.

        ``now`` is when they were received, in Unix seconds; each stands for ``weight`` events where its page was
        sampled.
        """
        plans = self._plans
        if weight == 1:
            self._record_each(events, now, many=source == "events")
        else:
            for event in events:
                plans[type(event)].record_weighed(event, now, weight)
        for kind, number in Tally(map(type, events)).items():
            plans[kind].accepted(source).value += number

    def _record_each(self, events: Sequence[Event], now: float, *, many: bool) -> None:  # noqa: C901  # one loop, for its speed
        """The path that has to be quick: no call but those that find the cells."""
        plans = self._plans
        for event in events:
            plan = plans[type(event)]
            if many and event.count != 1:
                plan.record_weighed(event, now, event.count)
                continue
            data = event.data
            key = plan.key(data)
            moves = plan.known.get(key)
            if moves is None:
                moves = plan.resolve(key, now)
            for cell in moves.counters:
                cell.value += 1
            for histogram, value, bounds in moves.observed:
                observed = value(data)
                if observed is not None:
                    histogram.counts[bisect_left(bounds, observed)] += 1
                    histogram.sum += observed
            for cell, number, least in moves.above:
                if number(data) > least:
                    cell.value += 1
            if moves.others or plan.distinct or (plan.traced and (event.trace_id or event.traceparent)):
                plan.rest(event, moves, now, 1)

    def refresh(self, now: float) -> None:
        """Bring the gauges of distinct counts up to date."""
        for name, distinct in self.distinct.items():
            for window, count in distinct.counts(now).items():
                self.series[name].set((window,), count, now)


class _Plan:
    """How events of one type are counted: the cells for each combination of their label fields, found once."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name = name
        self._families = [family for family in recorder.catalogue.families if family.event == name]
        self._recorder = recorder
        labels = [label.field for family in self._families for label in family.labels if not family.distinct]
        conditions = [field for family in self._families for field, _ in family.when]
        self._fields = tuple(dict.fromkeys([*labels, *conditions]))
        self.key = _getter(self._fields)
        self.known: dict[Any, _Moves] = {}
        self._accepted: dict[str, Counter] = {}
        self._folds = {
            (family.name, label.name): Fold(label, recorder.found.setdefault(label.list_, {}))
            for family in self._families
            for label in family.labels
            if not family.distinct
        }
        self.distinct = [(recorder.distinct[f.name], f.distinct) for f in self._families if f.distinct]
        self.traced = any(family.exemplars for family in self._families)

    def accepted(self, source: str) -> Counter:
        """Give the counter of accepted events of this type."""
        cell = self._accepted.get(source)
        if cell is None:
            series = self._recorder.series["exporter_events_accepted_total"]
            cell = self._accepted[source] = series.cell((source, self.name))
        return cell

    def record_weighed(self, event: Event, now: float, weight: int) -> None:
        """Count an event that stands for several: slower, and only for pages that are sampled."""
        key = self.key(event.data)
        moves = self.known.get(key) or self.resolve(key, now)
        for cell in moves.counters:
            cell.value += weight
        for cell, number, least in moves.above:
            if number(event.data) > least:
                cell.value += weight
        for histogram, value, bounds in moves.observed:
            observed = value(event.data)
            if observed is not None:
                histogram.counts[bisect_left(bounds, observed)] += weight
                histogram.sum += observed * weight
        self.rest(event, moves, now, weight)

    def resolve(self, key: Any, now: float) -> _Moves:  # noqa: ANN401  # a value or a tuple of values
        """Find the cells for a combination of values, and remember them if all values are within their domains."""
        values = dict(zip(self._fields, key if len(self._fields) > 1 else (key,), strict=bool(self._fields)))
        counters, observed, above, others, inside = [], [], [], [], True
        for family in self._families:
            if family.distinct or not all(_holds(values[field], wanted) for field, wanted in family.when):
                continue
            labels, known = self._labels(family, values)
            inside = inside and known
            cell = self._recorder.series[family.name].cell(labels, now)
            plain = family.divisor == 1 and family.value != TIME
            if plain and family.type == "counter" and not family.value:
                if family.above:
                    above.append(_Above(cell, attrgetter(family.above[0][0]), family.above[0][1]))
                else:
                    counters.append(cell)
            elif plain and family.type == "histogram":
                observed.append(_Observe(cell, attrgetter(family.value), family.buckets))
            else:
                others.append(_Other(family, cell))
        moves = _Moves(tuple(counters), tuple(observed), tuple(above), tuple(others))
        if inside:  # values outside their domain are never remembered: an attack must not cost memory
            if len(self.known) >= _KNOWN:
                self.known.clear()
            self.known[key] = moves
        return moves

    def _labels(self, family: Family, values: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
        labels, inside = [], True
        for label in family.labels:
            value, outside = self._folds[family.name, label.name](values[label.field])
            if outside:
                inside = False
                self._recorder.series["exporter_label_overflow_total"].add((label.name,))
            labels.append(value)
        return tuple(labels), inside

    def rest(self, event: Event, moves: _Moves, now: float, weight: int) -> None:
        """Do what is not on the quick path."""
        for other in moves.others:
            _move(other, event, now, weight)
        for distinct, field in self.distinct:
            identity = getattr(event.data, field)
            if identity:
                distinct.add(identity, now)
        trace = event.trace_id or event.traceparent[3:35]
        if self.traced and trace and len(trace) <= 100:  # noqa: PLR2004  # OpenMetrics: 128 with the label's name
            for histogram, value, bounds in moves.observed:
                observed = value(event.data)
                if observed is not None:
                    exemplars = histogram.exemplars = histogram.exemplars or {}
                    exemplars[bisect_left(bounds, observed)] = (trace, observed, now)


def _move(other: _Other, event: Event, now: float, weight: int) -> None:
    family, cell = other
    at = now if event.time is None else seconds(event.time)
    given = at if family.value == TIME else getattr(event.data, family.value) if family.value else 1
    if given is None:
        return
    value = seconds(given) if isinstance(given, datetime) else given
    if isinstance(cell, Counter):
        cell.value += value * weight
    elif isinstance(cell, Gauge):
        if at >= cell.at:
            cell.value, cell.at = float(value), at
    else:
        cell.counts[bisect_left(family.buckets, value / family.divisor)] += weight
        cell.sum += value * weight


def _holds(value: Any, wanted: str) -> bool:  # noqa: ANN401  # whatever the field holds
    given = "" if value is None else str(value)
    return given != wanted[1:] if wanted.startswith("!") else given == wanted


def _getter(fields: Iterable[str]) -> Callable[[Any], Any]:
    names = tuple(fields)
    return attrgetter(*names) if names else lambda _data: ()
