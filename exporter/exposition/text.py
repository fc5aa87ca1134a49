"""Renders one family in the Prometheus or the OpenMetrics format, byte for byte as prometheus_client does.

prometheus_client formats label by label and line by line, 7 to 11 µs a line. Here everything but the numbers is
formatted once per label set and cached; what is left is one `%` over the numbers of some hundred lines.
"""

import re
from collections.abc import Collection, Iterator
from itertools import accumulate, islice
from typing import Any

from prometheus_client.utils import floatToGoString

from exporter.registry.series import Histogram, Labels, Series

_CHUNK = 2000  # lines rendered at a time: about 0.5 ms
_SMALL = tuple(f"{number}.0" for number in range(1000))
# What is not valid in the formats or not UTF-8: control characters, and halves of surrogate pairs.
_UNSOUND = re.compile("[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_GO = 1_000_000  # from here on Go formats with an exponent


def number(value: float) -> str:
    """Format a number as Go does."""
    if type(value) is int:
        if 0 <= value < 1000:  # noqa: PLR2004  # the table's length
            return _SMALL[value]
        return f"{value}.0" if value < _GO else _go(value)
    return repr(value) if 0 <= value < _GO else _go(value)


def is_sound(text: str) -> bool:
    """Whether a text may stand in an exposition; line breaks, quotes and backslashes may, as they are escaped."""
    return _UNSOUND.search(text) is None


def _go(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


class Text:
    """The text of one family; what never changes is cached."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._names = [label.name for label in series.family.labels]
        lines = len(series.family.buckets) + 3 if series.family.type == "histogram" else 1
        self._per_chunk = max(1, _CHUNK // lines)
        self._chunks: list[tuple[str, list[tuple[Labels, Any]]]] = []
        self._sound = all(map(is_sound, (series.family.name, series.family.help, *self._names)))
        self._checked = 0  # label sets

    def is_sound(self) -> bool:
        """Whether every name, value of a label and help text can be read by a parser; each is checked once."""
        cells = self._series.cells
        if self._sound and self._checked != len(cells):
            self._sound = all(is_sound(value) for labels in islice(cells, self._checked, None) for value in labels)
            self._checked = len(cells)
        return self._sound

    def header(self, *, open_metrics: bool) -> str:
        """Render HELP and TYPE."""
        family = self._series.family
        name = family.name.removesuffix("_total") if open_metrics else family.name
        text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        if open_metrics:
            text = text.replace('"', r"\"")
        return f"# HELP {name} {text}\n# TYPE {name} {family.type}\n"

    def chunks(self, now: float, held: Collection[Labels], *, open_metrics: bool) -> Iterator[str]:
        """Render the samples, some hundred lines at a time, so the caller can yield to the event loop in between."""
        if self._series.family.type == "gauge":
            yield self._gauges(now)
            return
        for template, cells in self._prepared():
            if self._series.family.type == "counter":
                yield template % tuple(self._counters(cells, held))
            else:
                yield template % tuple(self._histograms(cells, held, open_metrics=open_metrics))

    def _prepared(self) -> list[tuple[str, list[tuple[Labels, Any]]]]:
        """Update the templates: full chunks never change, because label sets are only ever added."""
        known = sum(len(cells) for _, cells in self._chunks)
        if known != len(self._series.cells):
            if self._chunks and len(self._chunks[-1][1]) < self._per_chunk:
                known -= len(self._chunks.pop()[1])
            new = list(self._series.cells.items())[known:]
            for start in range(0, len(new), self._per_chunk):
                cells = new[start : start + self._per_chunk]
                self._chunks.append(("".join(self._template(labels) for labels, _ in cells), cells))
        return self._chunks

    def _template(self, labels: Labels) -> str:
        family = self._series.family
        pairs = self._pairs(labels)
        if family.type == "counter":
            return f"{family.name}{_braces(pairs)} %s\n"
        bounds = [_go(bound) for bound in family.buckets] + ["+Inf"]
        lines = [f"{family.name}_bucket{_braces([*pairs, ('le', bound)])} %s\n" for bound in bounds]
        return f"{''.join(lines)}{family.name}_count{_braces(pairs)} %s\n{family.name}_sum{_braces(pairs)} %s\n"

    def _pairs(self, labels: Labels) -> list[tuple[str, str]]:
        return list(zip(self._names, labels, strict=True))

    def _counters(self, cells: list[tuple[Labels, Any]], held: Collection[Labels]) -> Iterator[str]:
        divisor = self._series.family.divisor
        if divisor == 1 and not held:
            return (number(cell.value) for _, cell in cells)
        return (number(0 if labels in held else cell.value / divisor) for labels, cell in cells)

    def _histograms(
        self, cells: list[tuple[Labels, Any]], held: Collection[Labels], *, open_metrics: bool
    ) -> Iterator[str]:
        divisor = self._series.family.divisor
        for labels, cell in cells:
            if labels in held:
                yield from ["0.0"] * (len(cell.counts) + 2)
                continue
            counts = [number(count) for count in accumulate(cell.counts)]
            total = counts[-1]
            if open_metrics and cell.exemplars:
                _add_exemplars(counts, cell, divisor)
            yield from counts
            yield total
            yield number(float(cell.sum / divisor))

    def _gauges(self, now: float) -> str:
        family = self._series.family
        return "".join(
            f"{family.name}{_braces(self._pairs(labels)).replace('%%', '%')} {number(cell.value)}\n"
            for labels, cell in self._series.cells.items()
            if cell.at and (not family.max_age or now - cell.at <= family.max_age)
        )


def _add_exemplars(counts: list[str], cell: Histogram, divisor: int) -> None:
    for bucket, (trace, value, at) in (cell.exemplars or {}).items():
        counts[bucket] += f' # {{trace_id="{_escaped(trace)}"}} {number(value / divisor)} {at}'


def _braces(pairs: list[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(pairs))
    return f"{{{inside}}}".replace("%", "%%") if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
