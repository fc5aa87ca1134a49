"""Counts events: looks each up in the catalogue, folds its labels into their domains, and moves the series."""

import itertools
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter.catalogue import OTHER, Catalogue, Family, Label
from exporter.event import Event
from exporter.template import Templates

Fold = Callable[[Any], str]


class Recorder:
    """The families of a catalogue in a registry. Not thread-safe: the event loop is the one that counts."""

    def __init__(self, catalogue: Catalogue, registry: CollectorRegistry) -> None:
        self.overflow = Counter(
            "exporter_label_overflow",
            "Label values outside their domain, counted as `other`.",
            ["label"],
            registry=registry,
        )
        self.accepted = Counter("exporter_events_accepted", "Events counted.", ["type"], registry=registry)
        self._instruments: dict[str, list[_Instrument]] = {name: [] for name in catalogue.events}
        self.instruments = [_Instrument(family, registry, self.overflow) for family in catalogue.families]
        for instrument in self.instruments:
            self._instruments[instrument.family.event].append(instrument)
            for label in instrument.family.labels:
                self.overflow.labels(label.name)
        self._accepted = {name: self.accepted.labels(name) for name in catalogue.events}

    def record(self, event: Event) -> None:
        """Count one decoded event in every family that it feeds; it cannot fail."""
        for instrument in self._instruments[event.type]:
            instrument.record(event.values)
        self._accepted[event.type].inc()


class _Instrument:
    """One family and its children, found by a tuple of label values (a quarter of the cost of `labels`)."""

    def __init__(self, family: Family, registry: CollectorRegistry, overflow: Counter) -> None:
        self.family = family
        names = [label.name for label in family.labels]
        name = family.name.removesuffix("_total")
        self._metric: Counter | Gauge | Histogram
        if family.type == "counter":
            self._metric = Counter(name, family.help, names, registry=registry)
        elif family.type == "gauge":
            self._metric = Gauge(name, family.help, names, registry=registry)
        else:
            self._metric = Histogram(name, family.help, names, buckets=family.buckets, registry=registry)
        self._folds = [(label.field, _fold(label), overflow.labels(label.name)) for label in family.labels]
        self._children: dict[tuple[str, ...], Any] = {}
        if family.init or not names:
            for values in itertools.product(*((*label.values, OTHER) for label in family.labels)):
                self._child(values)

    def record(self, values: dict[str, Any]) -> None:
        family = self.family
        if any(values.get(field) != wanted for field, wanted in family.when):
            return
        value = values.get(family.value) if family.value else 1
        if value is None:
            return  # an optional measurement that was not made
        labels = []
        for field, fold, overflow in self._folds:
            given = values.get(field, "")
            folded = fold(given)
            if folded == OTHER and given not in {"", OTHER}:
                overflow.inc()
            labels.append(folded)
        child = self._child(tuple(labels))
        if family.type == "counter":
            child.inc(value)
        elif family.type == "gauge":
            child.set(value)
        else:
            child.observe(value)

    def _child(self, labels: tuple[str, ...]) -> Any:  # noqa: ANN401  # whatever kind of child
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels) if labels else self._metric
        return child

    @property
    def series(self) -> int:
        """Label sets that there are."""
        return len(self._children)


def _fold(label: Label) -> Fold:
    values = frozenset(label.values)
    if label.domain == "status":
        return lambda status: str(status) if str(status) in values else f"{str(status)[0]}xx"
    if label.domain in {"route", "endpoint", "page"}:
        match = Templates(label.values).match
        return lambda path: match(path) or OTHER
    if label.domain == "method":
        return lambda method: method.upper() if method.upper() in values else OTHER
    return lambda value: value if value in values else OTHER
