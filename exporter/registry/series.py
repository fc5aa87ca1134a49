"""Holds the series of one family as plain numbers: caps how many there are, and exposes a new one as 0 first.

Own cells instead of prometheus_client's children: incrementing a counter takes 50 ns instead of 400, it needs a third
of the memory, and its state can be saved. The exposition is byte for byte that of prometheus_client.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any

from exporter.catalogue.label_values import OTHER
from exporter.catalogue.model import Family

Labels = tuple[str, ...]


class Counter:
    """One counter: exact, because it stays an integer while only integers are added."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Gauge:
    """One gauge, and the Unix time of its value."""

    __slots__ = ("at", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.at = 0.0

    def set(self, value: float, at: float, now: float) -> None:
        """Set the gauge; a value older than the present one is ignored.

        A present one that lies in the future of ``now`` is replaced: it was set while our clock was ahead.
        """
        if at >= self.at or self.at > now:
            self.value, self.at = value, at


class Histogram:
    """One histogram. ``bounds`` and ``sum`` are in the unit of the values, which is the family's times its divisor.

    ``counts`` are by bucket, not cumulative; the last one is +Inf. ``exemplars`` (trace id, value, Unix time) are by
    bucket, and None until there is one.
    """

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts: list[float] = [0] * (len(bounds) + 1)
        self.sum: float = 0
        self.exemplars: dict[int, tuple[str, float, float]] | None = None

    def observe(self, value: float, weight: int = 1) -> None:
        """Observe a value ``weight`` times."""
        self.counts[bisect_left(self.bounds, value)] += weight
        self.sum += value * weight

    def add_exemplar(self, trace: str, value: float, at: float) -> None:
        """Attach a trace to the bucket of a value; it replaces the one before."""
        if self.exemplars is None:
            self.exemplars = {}
        self.exemplars[bisect_left(self.bounds, value)] = (trace, value, at)


Cell = Counter | Gauge | Histogram


class Series:
    """The label sets of a family. They are only ever added, so rendered text can be cached."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.cells: dict[Labels, Any] = {}
        # New label sets, still exposed as 0: when they were created, and when first scraped (0: not yet).
        self.held: dict[Labels, tuple[float, float]] = {}
        self._bounds = tuple(bound * family.divisor for bound in family.buckets)
        self._open = [bool(label.list_) for label in family.labels]
        for labels in family.initial:
            self.cell(labels)

    def cell(self, labels: Labels, now: float = 0) -> Any:  # noqa: ANN401  # the cell of the family's type
        """Return the cell of a label set, creating it if there is room; else that of `other`.

        One created by an event, at ``now``, is exposed as 0 first; see ``release``.
        """
        cell = self.cells.get(labels)
        if cell is None:
            labels = self._admitted(labels)
            cell = self.cells.get(labels)
        if cell is None:
            cell = self.cells[labels] = self._new()
            if now and self.family.type != "gauge":
                self.held[labels] = (now, 0.0)
        return cell

    def _admitted(self, labels: Labels) -> Labels:
        """At the cap, turn open labels into `other`; if that label set is new as well, all labels."""
        if len(self.cells) < self.family.limit:
            return labels
        folded = tuple(OTHER if is_open else value for value, is_open in zip(labels, self._open, strict=True))
        return folded if folded in self.cells else (OTHER,) * len(labels)

    def _new(self) -> Cell:
        if self.family.type == "counter":
            return Counter()
        return Gauge() if self.family.type == "gauge" else Histogram(self._bounds)

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Add to a counter."""
        self.cell(labels).value += amount

    def set(self, labels: Labels, value: float, at: float) -> None:
        """Set a gauge; a value older than the present one is ignored."""
        self.cell(labels).set(value, at, at)

    def observe(self, labels: Labels, value: float, weight: int = 1) -> None:
        """Observe a value ``weight`` times."""
        self.cell(labels).observe(value, weight)

    def merge(self, labels: Labels, value: float, at: float) -> None:
        """Set a gauge to what another exporter has for it, if that is newer; of two at the same time, the larger."""
        if not self._is_possible(labels):
            return
        cell = self.cell(labels)
        if (at, value) > (cell.at, cell.value):
            cell.value, cell.at = value, at

    def release(self, now: float, hold: float) -> Collection[Labels]:
        """Return the label sets still exposed as 0; call it once a scrape.

        Prometheus does not see a first increment: a series that appears at 7 gives increase() = 0 (prometheus#3886).
        So a new one is exposed as 0 for ``hold`` seconds from its first scrape on; by time and not by number of
        scrapes, because there may be two Prometheus servers.
        """
        if not self.held:
            return ()
        for labels, (created, scraped) in list(self.held.items()):
            if abs(now - (scraped or now)) >= hold:  # our clock may have been ahead
                del self.held[labels]
            elif not scraped:
                self.held[labels] = (created, now)
        return self.held

    def resume(self, now: float, hold: float) -> None:
        """After a restart, expose at once what may have been exposed before: a counter must never go back.

        A series younger than ``hold`` cannot have been, and stays 0 for the rest of it.
        """
        self.held = {labels: times for labels, times in self.held.items() if abs(now - times[0]) < hold}

    def dump(self) -> dict[str, Any]:
        """Return everything as plain data for the snapshot."""
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
        """Restore what was saved; False, and nothing restored, if type, labels or buckets changed."""
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
        self.held = {tuple(labels): tuple(times) for labels, times in saved["held"] if tuple(labels) in self.cells}
        return True

    def _is_possible(self, labels: Labels) -> bool:
        """Drop values that are no longer configured; keep discovered ones and classes of a status."""
        for label, value in zip(self.family.labels, labels, strict=True):
            is_class = label.domain == "status" and value.endswith("xx")
            if value not in label.values and value != OTHER and not label.discover and not is_class:
                return False
        return True
