"""Holds the series of one family as plain numbers: caps how many there are, and shows a new one as 0 first.

Own cells instead of prometheus_client's children: a counter is moved in 50 ns instead of 400, takes a third of the
memory, and its state can be saved whole. What is shown is byte for byte what prometheus_client would show.
"""

from bisect import bisect_left
from collections.abc import Collection
from typing import Any

from exporter.catalogue.model import OTHER, Family

Labels = tuple[str, ...]


class Counter:
    """One counter: an integer as long as only integers are added, so that it is exact."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Gauge:
    """One gauge, and the Unix time of what it shows."""

    __slots__ = ("at", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.at = 0.0


class Histogram:
    """One histogram: counts by bucket, not cumulated; the last is +Inf. ``exemplars`` by bucket, made when needed."""

    __slots__ = ("counts", "exemplars", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts: list[float] = [0] * (buckets + 1)
        self.sum: float = 0
        self.exemplars: dict[int, tuple[str, float, float]] | None = None


Cell = Counter | Gauge | Histogram


class Series:
    """The label sets of a family. They are only ever added, so that texts made of them can be kept."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.cells: dict[Labels, Any] = {}
        self.held: dict[Labels, tuple[float, float]] = {}  # new label sets: when made, when first scraped (0: not yet)
        self._open = [bool(label.list_) for label in family.labels]
        for labels in family.initial:
            self.cell(labels)

    def cell(self, labels: Labels, now: float = 0) -> Any:  # noqa: ANN401  # the cell of the family's type
        """Give the cell of a label set, making it if there is room; else that of `other`.

        One that is made by an event, at ``now``, is shown as 0 first; see ``release``.
        """
        found = self.cells.get(labels)
        if found is None:
            labels = self._admitted(labels)
            found = self.cells.get(labels)
        if found is None:
            found = self.cells[labels] = self._new()
            if now and self.family.type != "gauge":
                self.held[labels] = (now, 0.0)
        return found

    def _admitted(self, labels: Labels) -> Labels:
        """At the cap, fold what comes from open lists; if that is no old acquaintance either, everything."""
        if len(self.cells) < self.family.limit:
            return labels
        folded = tuple(OTHER if is_open else value for value, is_open in zip(labels, self._open, strict=True))
        return folded if folded in self.cells else (OTHER,) * len(labels)

    def _new(self) -> Cell:
        if self.family.type == "counter":
            return Counter()
        return Gauge() if self.family.type == "gauge" else Histogram(len(self.family.buckets))

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Add to a counter."""
        self.cell(labels).value += amount

    def set(self, labels: Labels, value: float, at: float) -> None:
        """Set a gauge; what is older than what it shows is ignored."""
        cell = self.cell(labels)
        if at >= cell.at:
            cell.value, cell.at = value, at

    def observe(self, labels: Labels, value: float, weight: int = 1) -> None:
        """Observe a value; a sampled one stands for ``weight``."""
        cell = self.cell(labels)
        cell.counts[bisect_left(self.family.buckets, value)] += weight
        cell.sum += value * weight

    def release(self, now: float, hold: float) -> Collection[Labels]:
        """Give the label sets that are still shown as 0, a scrape being under way.

        Prometheus knows no first increment: a series that appears at 7 gives increase() = 0 (prometheus#3886). So a
        new one is shown as 0 from the first scrape on for ``hold`` seconds, by time and not by scrapes, for there may
        be two Prometheus.
        """
        if not self.held:
            return ()
        for labels, (made, seen) in list(self.held.items()):
            if now - (seen or now) >= hold:
                del self.held[labels]
            elif not seen:
                self.held[labels] = (made, now)
        return self.held

    def resume(self, now: float, hold: float) -> None:
        """After a restart, show at once what may have been shown before: a counter must never go back.

        What is younger than the hold cannot have been, and stays 0 for the rest of it.
        """
        self.held = {labels: state for labels, state in self.held.items() if now - state[0] < hold}

    def dump(self) -> dict[str, Any]:
        """Give everything as plain data for the snapshot."""
        kind = self.family.type
        cells: list[Any] = []
        for labels, cell in self.cells.items():
            if kind == "histogram":
                cells.append((labels, cell.counts, cell.sum))
            else:
                cells.append((labels, cell.value, cell.at if kind == "gauge" else 0))
        names = [label.name for label in self.family.labels]
        held = list(self.held.items())
        return {"type": kind, "labels": names, "buckets": self.family.buckets, "cells": cells, "held": held}

    def load(self, saved: dict[str, Any]) -> bool:
        """Take over what was saved; False, and nothing taken, if the family has another shape now."""
        shape = (self.family.type, [label.name for label in self.family.labels], list(self.family.buckets))
        if (saved["type"], saved["labels"], list(saved["buckets"])) != shape:
            return False
        for saved_labels, value, extra in saved["cells"]:
            labels = tuple(saved_labels)
            if not self._is_possible(labels):
                continue
            cell = self.cell(labels)
            if self.family.type == "histogram":
                cell.counts, cell.sum = list(value), extra
            elif self.family.type == "gauge":
                cell.value, cell.at = value, extra
            else:
                cell.value = value
        self.held = {tuple(labels): tuple(state) for labels, state in saved["held"] if tuple(labels) in self.cells}
        return True

    def _is_possible(self, labels: Labels) -> bool:
        """Values that are no longer configured are let go; discovered ones and classes of a status stay."""
        for label, value in zip(self.family.labels, labels, strict=True):
            is_class = label.domain == "status" and value.endswith("xx")
            if value not in label.values and value != OTHER and not label.discover and not is_class:
                return False
        return True
