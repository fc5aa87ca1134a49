"""Checks of thresholds: the lines are the numbers of the tables and of the alerts, and none is lost."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from promql_parser import Expr

from grafana.lint.board import Document, Panel
from grafana.lint.query import Query
from grafana.lint.scene import Complaint, Number, Scene

_STATES = {0.0, 1.0}
_REST = re.compile(r"\(1 - (?P<inner>.*)\)\Z")
_EXACT = 1e-9


def lost_threshold(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A panel without the threshold line for a benchmark or limit in rules/tables that applies to what it plots."""
    for panel, query in _measuring(document, scene):
        for number in _drawn(scene, query):
            if not _has(_steps(panel), number.value) and not _plots_target(panel, scene.world.here.site.prefix):
                have = ", ".join(f"{one:g}" for one in _steps(panel)) or "none"
                fix = f"add a threshold at {number.value:g}, the number of {number.by} in rules/tables"
                yield Complaint(query, f"it has no line at {number.value:g} ({number.by}); its lines: {have}", fix)


def invented_threshold(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A threshold line at a number that no table and no alert uses: it suggests a problem where there is none."""
    for panel in document.board.asking():
        if panel.field.defaults.thresholds.mode != "absolute":
            continue
        queries = [one for one in scene.queries(document) if one.panel is panel and one.tree is not None]
        known = {n.value for one in queries for n in _compared(scene, one)} | _STATES | scene.factors
        for step in _steps(panel):
            if not _has(known, step):
                near = min(known - _STATES - scene.factors, key=lambda one: abs(one - step), default=None)
                fix = f"write {near:g}" if near is not None else "take a number of rules/, or leave the line out"
                yield Complaint(panel, f"no table and no alert compares this with {step:g}", fix)


def undrawn_threshold(document: Document, _: Scene) -> Iterator[Complaint]:
    """A time series whose thresholds are not drawn: thresholdsStyle is off."""
    for panel in document.board.asking():
        style = panel.field.defaults.custom.thresholds_style.mode
        values = [step.value for step in panel.field.defaults.thresholds.steps if step.value is not None]
        styles = {style, *(str(one.get("mode", "")) for one in panel.overridden("custom.thresholdsStyle") if one)}
        if panel.type == "timeseries" and values and styles <= {"", "off"}:
            shown = ", ".join(f"{one:g}" for one in values)
            yield Complaint(
                panel, f"its thresholds ({shown}) are not drawn", "set custom.thresholdsStyle.mode to dashed"
            )


def _measuring(document: Document, scene: Scene) -> Iterator[tuple[Panel, Query]]:
    """Give the queries whose values are drawn against lines: not those of a table."""
    for query in scene.queries(document):
        if query.panel is not None and query.panel.type != "table" and query.tree is not None:
            yield query.panel, query


def _drawn(scene: Scene, query: Query) -> list[Number]:
    """Give what must be drawn; the number of a total says nothing of its parts."""
    parts = query.tree is not None and _split(scene, query.tree) and scene.meaning(query.tree).startswith("increase(")
    return [] if parts else _of(scene.drawn, scene, query)


def _split(scene: Scene, tree: Expr) -> bool:
    labels = scene.world.labels(tree)
    return bool((labels.possible or frozenset()) - labels.fixed - {"job", "env", "instance"})


def _compared(scene: Scene, query: Query) -> list[Number]:
    return [*_drawn(scene, query), *_of(scene.compared, scene, query)]


def _of(numbers: dict[str, list[Number]], scene: Scene, query: Query) -> list[Number]:
    if query.tree is None:
        return []
    measured = scene.meaning(query.tree)
    direct = numbers.get(measured, [])
    rest = _REST.match(measured)
    turned = numbers.get(rest["inner"] if rest else f"(1 - {measured})", [])
    return [*direct, *(Number(1 - one.value, one.by) for one in turned)]


def _steps(panel: Panel) -> list[float]:
    """Give the numbers of a panel's thresholds, those of its overrides as well."""
    own = [step.value for step in panel.field.defaults.thresholds.steps]
    return [float(value) for value in [*own, *_overridden(panel.overridden("thresholds"))] if value is not None]


def _overridden(thresholds: Iterable[Any]) -> Iterator[float | None]:
    for one in thresholds:
        yield from (step.get("value") for step in (one or {}).get("steps", []))


def _plots_target(panel: Panel, prefix: str) -> bool:
    return any(f"{prefix}:benchmark:target" in target.expr for target in panel.targets)


def _has(numbers: Iterable[float], value: float) -> bool:
    return any(abs(one - value) < _EXACT for one in numbers)
