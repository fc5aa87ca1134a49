"""Counts events: finds the series that an event feeds, maps its label values to their domains, updates the cells."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from exporter.catalogue.label_values import LabelValues
from exporter.catalogue.model import SELF, TIME, Catalogue, Family
from exporter.events.decode import Event, Schema, seconds
from exporter.registry.hyperloglog import DistinctCount
from exporter.registry.series import Counter, Gauge, Histogram, Series

_CACHE = 4096  # combinations of field values whose cells are cached, for each type of event
_MAX_CACHED = 200  # characters of a text that is cached with the label's value that it has
_TEXTS = {"text", "text?", "path", "path?"}  # the types of fields that hold whatever the sender likes


_ENVELOPE = attrgetter("id", "source", "time", "trace_id", "traceparent", "count")
_BARE = ("", "", None, "", "", 1)  # what most of a browser's events have


class _Observation(NamedTuple):
    """A histogram, and the field that it observes."""

    cell: Histogram
    value: Callable[[Any], float | None]


class _Above(NamedTuple):
    """A counter of the events with a field above a threshold."""

    cell: Counter
    value: Callable[[Any], float | None]
    threshold: float


class _Other(NamedTuple):
    """Counters of amounts, and gauges."""

    family: Family
    cell: Counter | Gauge
    is_time: bool  # its value is a time of the sender


class _Cells(NamedTuple):
    """What an event with certain field values updates."""

    counters: tuple[Counter, ...]
    observations: tuple[_Observation, ...]
    above: tuple[_Above, ...]
    others: tuple[_Other, ...]


class Recorder:
    """The series of a catalogue. Not thread-safe: used by the event loop only."""

    def __init__(self, catalogue: Catalogue, schema: Schema, key: bytes) -> None:
        self.catalogue = catalogue
        self.series = {family.name: Series(family) for family in catalogue.families}
        self.discovered: dict[str, dict[str, None]] = {}  # by list
        self.distinct = {family.name: DistinctCount(key) for family in catalogue.families if family.distinct}
        # The gauges that events set: the last one to be set counts, whichever exporter it was sent to.
        self.gauges = tuple(
            family.name
            for family in catalogue.families
            if family.type == "gauge" and family.event != SELF and not family.distinct
        )
        self._plans = {kind: _Plan(name, self) for name, kind in schema.types.items()}

    def record(  # noqa: C901  # one loop, for its speed
        self, events: Sequence[Event], source: str, now: float, weight: int = 1, skew: float = 0.0
    ) -> None:
        """Count decoded events in every family that they feed; it cannot fail.

        ``now`` is when they were received, in Unix seconds; each stands for ``weight`` events where its page was
        sampled. ``skew`` is what must be added to the sender's times, in seconds, to make them ours.
        """
        plans = self._plans
        many = source == "events" and weight == 1
        for event in events:
            plan, data, number = plans[type(event)], event.data, event.count if many else weight
            key = plan.key(data)
            cells = plan.cache.get(key)
            if cells is None:
                cells = plan.resolve(key, now)
            for counter in cells.counters:
                counter.value += number
            for histogram, field in cells.observations:
                value = field(data)
                if value is not None:  # as Histogram.observe, without the call
                    histogram.counts[bisect_left(histogram.bounds, value)] += number
                    histogram.sum += value * number
            for counter, field, threshold in cells.above:
                if (field(data) or 0) > threshold:
                    counter.value += number
            if cells.others or plan.distinct or (plan.traced and (event.trace_id or event.traceparent)):
                plan.record_more(event, cells, now, number, skew)
        kinds = list(map(type, events))
        for kind in set(kinds):
            plans[kind].accepted(source).value += kinds.count(kind)  # there are few: cheaper than a Counter

    def fold(self, events: Sequence[Event], id_of: Callable[[Event], str]) -> dict[str, int]:
        """Leave in events of browsers nothing but what will be counted, so that it can be kept as it is.

        Texts become the values of their labels, and an event's id what ``id_of`` says; what belongs to servers goes.
        Returns how many values were outside their domain, by label.
        """
        outside: dict[str, int] = {}
        plans = self._plans
        for event in events:
            plan, data = plans[type(event)], event.data
            key = plan.text_key(data)
            changes = plan.folded.get(key)
            if changes is None:
                changes, labels = plan.fold(key)
                for label in labels:
                    outside[label] = outside.get(label, 0) + 1
            for field, text in changes:
                _set(data, field, text)
            if _ENVELOPE(event) != _BARE:
                changed = {"id": id_of(event), "source": "", "time": None, "trace_id": event.trace, "traceparent": ""}
                for name, value in {**changed, "count": 1}.items():
                    _set(event, name, value)
        return outside

    def refresh(self, now: float) -> None:
        """Update the gauges of distinct counts."""
        for name, distinct in self.distinct.items():
            for window, count in distinct.counts(now).items():
                self.series[name].set((window,), count, now)


class _Plan:
    """How events of one type are counted: the cells for each combination of their label fields are found once."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name = name
        self._families = [family for family in recorder.catalogue.families if family.event == name]
        self._recorder = recorder
        fields = recorder.catalogue.events[name].fields
        self._times = {
            field for field, kind in fields.items() if isinstance(kind, str) and kind.startswith("timestamp")
        }
        labels = [label.field for family in self._families for label in family.labels if not family.distinct]
        conditions = [field for family in self._families for field, _ in family.when]
        self._fields = tuple(dict.fromkeys([*labels, *conditions]))
        self.key = _getter(self._fields)
        self.cache: dict[Any, _Cells] = {}
        self._accepted: dict[str, Counter] = {}
        self._label_values = {
            (family.name, label.name): LabelValues(label, recorder.discovered.setdefault(label.list_, {}))
            for family in self._families
            for label in family.labels
            if not family.distinct
        }
        self.distinct = [(recorder.distinct[f.name], f.distinct) for f in self._families if f.distinct]
        self.traced = any(family.exemplars for family in self._families)
        written = recorder.catalogue.events[name].fields
        self._texts = tuple(field for field, kind in written.items() if isinstance(kind, str) and kind in _TEXTS)
        self.text_key = _getter(self._texts)
        self.folded: dict[Any, tuple[tuple[str, str], ...]] = {}

    def fold(self, key: Any) -> tuple[tuple[tuple[str, str], ...], Sequence[str]]:  # noqa: ANN401  # as resolve
        """Return what texts must be replaced by, by field, and the labels whose value was outside its domain."""
        texts = dict(zip(self._texts, key if len(self._texts) > 1 else (key,), strict=bool(self._texts)))
        changes, outside = self._fold(texts)
        if not outside and all(len(text or "") <= _MAX_CACHED for text in texts.values()):
            if len(self.folded) >= _CACHE:
                self.folded.clear()
            self.folded[key] = changes
        return changes, outside

    def _fold(self, texts: dict[str, str | None]) -> tuple[tuple[tuple[str, str], ...], list[str]]:
        changes, outside = [], []
        for field, text in texts.items():
            if not text:
                continue
            label = self._label_of(field)
            value, was_outside = self._label_values[label](text) if label else ("", False)
            if value != text:
                changes.append((field, value))
            if was_outside and label:
                outside.append(label[1])
        return tuple(changes), outside

    def _label_of(self, field: str) -> tuple[str, str] | None:
        """Find family and name of the first label that a field feeds; all that it feeds have the same domain."""
        for family in self._families:
            for label in family.labels:
                if label.field == field and not family.distinct:
                    return family.name, label.name
        return None

    def accepted(self, source: str) -> Counter:
        """Return the counter of accepted events of this type."""
        cell = self._accepted.get(source)
        if cell is None:
            series = self._recorder.series["exporter_events_accepted_total"]
            cell = self._accepted[source] = series.cell((source, self.name))
        return cell

    def record_more(self, event: Event, cells: _Cells, now: float, weight: int, skew: float) -> None:
        """Record what few events have: amounts, gauges, identities and traces."""
        for other in cells.others:
            _update(other, event, now, weight, skew)
        for distinct, name in self.distinct:
            distinct.add(getattr(event.data, name), now)
        trace = event.trace if self.traced else ""
        if trace:
            for histogram, field in cells.observations:
                value = field(event.data)
                if value is not None:
                    histogram.add_exemplar(trace, value, now)

    def resolve(self, key: Any, now: float) -> _Cells:  # noqa: ANN401  # a value or a tuple of values
        """Find the cells for a combination of field values; cache them if all values are within their domains."""
        values = dict(zip(self._fields, key if len(self._fields) > 1 else (key,), strict=bool(self._fields)))
        counters, observations, above, others, inside = [], [], [], [], True
        for family in self._families:
            if family.distinct or not all(_matches(values[field], wanted) for field, wanted in family.when):
                continue
            labels, known = self._labels(family, values)
            inside = inside and known
            cell = self._recorder.series[family.name].cell(labels, now)
            if family.type == "histogram":
                observations.append(_Observation(cell, attrgetter(family.value)))
            elif family.type == "gauge" or family.value:
                others.append(_Other(family, cell, family.value in self._times))
            elif family.above:
                above.append(_Above(cell, attrgetter(family.above[0][0]), family.above[0][1]))
            else:
                counters.append(cell)
        cells = _Cells(tuple(counters), tuple(observations), tuple(above), tuple(others))
        if inside:  # values outside their domain are not cached: an attack must not cost memory
            if len(self.cache) >= _CACHE:
                self.cache.clear()
            self.cache[key] = cells
        return cells

    def _labels(self, family: Family, values: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
        labels, inside = [], True
        for label in family.labels:
            value, outside = self._label_values[family.name, label.name](values[label.field])
            if outside:
                inside = False
                self._recorder.series["exporter_label_overflow_total"].add((label.name,))
            labels.append(value)
        return tuple(labels), inside


def _update(other: _Other, event: Event, now: float, weight: int, skew: float) -> None:
    """Add an amount or set a gauge; no time of a sender lies in our future, or it would hide what comes after it."""
    family, cell, is_time = other
    at = now if event.time is None else min(seconds(event.time) + skew, now)
    value = at if family.value == TIME else getattr(event.data, family.value) if family.value else 1
    if is_time:  # that of the oldest that is open, for example: there may be none
        value = _our_time(value, now, skew) if value else 0
    if value is None:
        return
    if isinstance(cell, Counter):
        cell.value += value * weight
    else:
        cell.set(float(value), at, now)


def _our_time(value: datetime | float, now: float, skew: float) -> float:
    return min(seconds(value) + skew, now)


def _set(struct: msgspec.Struct, field: str, value: object) -> None:
    """Change a struct that is frozen for everybody else; it was decoded for us alone and has no hash yet."""
    msgspec.structs.force_setattr(struct, field, value)


def _matches(value: Any, wanted: str) -> bool:  # noqa: ANN401  # whatever the field holds
    text = "" if value is None else str(value)
    return text != wanted[1:] if wanted.startswith("!") else text == wanted


def _getter(fields: Iterable[str]) -> Callable[[Any], Any]:
    names = tuple(fields)
    return attrgetter(*names) if names else lambda _data: ()
