"""Makes a chart of what Prometheus gave: the lines, their names, and the times to mark. Pure."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec

from receiver.clients.prometheus import Labels, Sample, Series
from receiver.clients.promql import Comparison
from receiver.evidence.alert_query import SERIES, Absent, AbsentError, Span
from receiver.incident.model import Incident
from receiver.messages.i18n import Reader, one_line

NAME = 120  # characters of a line's name
EXPRESSION = 300
_MOST = 1e200  # a greater value is no number to draw: the difference of two would overflow
_LEAST = 1e-100
_GAP = 1.5  # steps without a sample end a piece of a line
_DEPLOYMENTS = 10


class Line(msgspec.Struct, frozen=True):
    """One series in pieces without a gap; ``fires`` if an alert of the incident has its labels."""

    name: str
    pieces: tuple[tuple[Sample, ...], ...]
    fires: bool = False

    @property
    def last(self) -> Sample:
        """The newest sample."""
        return self.pieces[-1][-1]


class Deployment(msgspec.Struct, frozen=True):
    """Something went live."""

    at: datetime
    name: str = ""


class Chart(msgspec.Struct, frozen=True):
    """What a picture shows; times in UTC."""

    title: str
    expression: str
    operator: str
    limit: float | None
    lines: tuple[Line, ...]
    start: datetime
    end: datetime
    opened_at: datetime | None = None
    resolved_at: datetime | None = None
    deployments: tuple[Deployment, ...] = ()

    @property
    def above(self) -> bool | None:
        """Say on which side of the limit it fires; None if on neither."""
        return {">": True, "<": False}.get(self.operator[:1])


def chart(
    incident: Incident, found: Comparison, series: Series, span: Span, deployments: tuple[Deployment, ...] = ()
) -> Chart:
    """Choose what is drawn; AbsentError if there is nothing."""
    kept = {labels: tuple(_finite(samples)) for labels, samples in series.items()}
    kept = {labels: samples for labels, samples in kept.items() if samples}
    if not kept:
        raise AbsentError(Absent.NO_DATA)
    fires = {labels for labels in kept if _fires(labels, incident)}
    sign = -1 if found.operator.startswith("<") else 1

    def weight(labels: Labels) -> tuple[bool, int, float]:
        """What fires goes first, then what is there all the time, then the most extreme."""
        return labels in fires, len(kept[labels]), sign * kept[labels][-1][1]

    chosen = sorted(kept, key=weight, reverse=True)[:SERIES]
    chosen.sort(key=lambda labels: (labels in fires, sign * kept[labels][-1][1]), reverse=True)
    names = _names(chosen)
    lines = [Line(names[labels], tuple(_pieces(kept[labels], span.step)), labels in fires) for labels in chosen]
    return Chart(
        title=one_line(incident.labels.get("alertname") or incident.title, NAME),
        expression=one_line(found.left, EXPRESSION),
        operator=found.operator,
        limit=_limit(found.limit),
        lines=tuple(lines),
        start=span.start,
        end=span.end,
        opened_at=incident.opened_at,
        resolved_at=incident.resolved_at,
        deployments=tuple(one for one in deployments if span.start <= one.at <= span.end)[-_DEPLOYMENTS:],
    )


def deployments(series: Series, start: datetime) -> tuple[Deployment, ...]:
    """Read deployments from series whose values are Unix times of the last one, oldest first.

    The first value of a series may be of a deployment before ``start``.
    """
    found = set[tuple[datetime, str]]()
    for labels, samples in series.items():
        name = one_line(", ".join(f"{key}={value}" for key, value in labels if key != "__name__"), NAME)
        for value in {value for _, value in _finite(samples)}:
            at = _moment(value)
            if at is not None and at >= start:
                found.add((at, name))
    return tuple(Deployment(at, name) for at, name in sorted(found))


def in_words(drawn: Chart, reader: Reader) -> str:
    """Say what the picture shows to those who cannot see it."""
    parts = [f"{drawn.title}: {drawn.expression}"]
    unnamed = reader.say("chart_value")
    parts += [f"{line.name or unnamed} {number(line.last[1], reader)}" for line in drawn.lines]
    if drawn.limit is not None:
        limit = f"{drawn.operator} {number(drawn.limit, reader)}"
        parts.append(reader.say("chart_threshold", limit=limit))
    return "; ".join(parts)


def number(value: float, reader: Reader) -> str:
    """Write a number in three digits, with k, M, G or T for the greater ones."""
    size = abs(value)
    for least, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= least:
            value, size = value / (1000.0 if letter == "k" else least), 0.0
            return _decimal(f"{float(f'{value:.3g}'):g}", reader) + letter
    tiny = 1e-4
    return _decimal(f"{value:.1e}" if 0 < size < tiny else f"{float(f'{value:.3g}'):g}", reader)


def _decimal(text: str, reader: Reader) -> str:
    return text.replace(".", reader.say("decimal_mark"))


def _moment(value: float) -> datetime | None:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    except (OverflowError, ValueError):
        return None


def _limit(limit: float | None) -> float | None:
    """Give the limit if it can be drawn."""
    return next((value for _, value in _finite([(0.0, limit)])), None) if limit is not None else None


def _finite(samples: list[Sample]) -> list[Sample]:
    """Leave out what cannot be drawn, and take for 0 what would be lost in a division."""
    kept = ((at, value) for at, value in samples if math.isfinite(value) and abs(value) < _MOST)
    return [(at, value if abs(value) > _LEAST else 0.0) for at, value in kept]


def _fires(labels: Labels, incident: Incident) -> bool:
    """Say whether a firing alert has all labels of the series; those of a rule are added, and none is taken away."""
    wanted = {(name, value) for name, value in labels if name != "__name__"}
    return any(wanted <= alert.labels.items() for alert in incident.firing)


def _names(chosen: list[Labels]) -> dict[Labels, str]:
    """Name each by the labels in which they differ, a single one by all it has."""
    shared = Counter(pair for labels in chosen for pair in labels)
    differing = len(chosen) if len(chosen) > 1 else math.inf
    named = {
        labels: ", ".join(f"{k}={v}" for k, v in labels if k != "__name__" and shared[k, v] < differing)
        for labels in chosen
    }
    return {labels: one_line(name, NAME) for labels, name in named.items()}


def _pieces(samples: tuple[Sample, ...], step: float) -> list[tuple[Sample, ...]]:
    pieces: list[list[Sample]] = []
    for sample in samples:
        if not pieces or sample[0] - pieces[-1][-1][0] > _GAP * step:
            pieces.append([])
        pieces[-1].append(sample)
    return [tuple(piece) for piece in pieces]
