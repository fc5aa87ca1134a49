"""A dashboard -> the requests that Grafana would send for it over some time. Pure."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from grafana.lint.board import Board, Document, Panel, Target, Variable
from grafana.lint.query import VARIABLE, selector_of

# Lengths of a step, and up to which one each is taken: packages/grafana-data/src/datetime/rangeutil.ts, roundInterval.
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_UP_TO = (1.5, 3.5, 7.5, 12.5, 17.5, 25, 45, 90, 210, 450, 750, 1050, 1500, 2700, 5400, 9000, 16200, 32400, 86400)
_LEAST_SCRAPES = 4


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown, its width on the screen, and how often Prometheus scrapes; all times in seconds."""

    start: float
    end: float
    pixels: int = 1600
    scrape: float = 15

    @property
    def step(self) -> float:
        """The distance of two points: a round length, not less than the scrape interval."""
        wanted = (self.end - self.start) / self.pixels
        return max(self.scrape, float(_STEPS[bisect_right(_UP_TO, wanted)]))

    @property
    def rate_interval(self) -> float:
        """What $__rate_interval is: no less than four scrapes, and one more than the step."""
        return max(self.step + self.scrape, _LEAST_SCRAPES * self.scrape)


Kind = Literal["range", "instant", "values"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request: an expression over the window or at its end, or the values of a label of a selector.

    `key` names it within its dashboard: `7 A`, `annotation Incidents`, `variable job`.
    """

    document: Document
    key: str
    kind: Kind
    expr: str
    panel: Panel | None = None
    legend: str = ""
    label: str = ""
    optional: bool = False

    def __str__(self) -> str:
        """Name it as a reader finds it."""
        return f"{self.panel} query {self.key.partition(' ')[2]}" if self.panel else self.key


def requests(document: Document, window: Window) -> Iterator[Request]:
    """Give all of them: of the panels, the annotations and the variables, with All chosen everywhere."""
    board = document.board
    for panel in board.asking():
        for target in panel.targets:
            if not target.hide:
                kind: Kind = "instant" if target.instant else "range"
                expr = filled(target.expr, board, window)
                yield Request(document, _key(panel, target), kind, expr, panel, target.legend)
    for annotation in board.annotations.every:
        if not annotation.built_in:
            yield Request(document, str(annotation).replace('"', ""), "range", filled(annotation.text(), board, window))
    for variable in board.templating.every:
        asked = selector_of(variable) if variable.type == "query" else None
        if asked:
            selector, label = asked
            expr, kind = filled(selector, board, window), "values" if label else "instant"
            optional = variable.all_value == ".*"  # the label may be missing everywhere
            yield Request(document, f"variable {variable.name}", kind, expr, label=label, optional=optional)


def _key(panel: Panel, target: Target) -> str:
    return f"{panel.id} {target.ref}"


def filled(text: str, board: Board, window: Window) -> str:
    """Put into a query what Grafana would."""
    length = window.end - window.start
    known = {
        "__rate_interval": duration(window.rate_interval),
        "__interval": duration(window.step),
        "__interval_ms": str(int(window.step * 1000)),
        "__range": duration(length),
        "__range_s": str(int(length)),
        "__range_ms": str(int(length * 1000)),
    } | {variable.name: _chosen(variable) for variable in board.templating.every}

    def put(match: re.Match[str]) -> str:
        return known.get(match["plain"] or match["braced"] or match["old"], match[0])

    return VARIABLE.sub(put, text)


def _chosen(variable: Variable) -> str:
    if variable.include_all or variable.multi:
        return variable.all_value or ".+"
    return variable.text() if variable.type == "constant" else str(variable.current.get("value") or variable.text())


def duration(seconds: float) -> str:
    """Write a length as Prometheus reads it."""
    return f"{int(seconds)}s" if float(seconds).is_integer() else f"{int(seconds * 1000)}ms"
