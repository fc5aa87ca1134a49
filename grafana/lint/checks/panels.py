"""Checks of a panel: it says what it shows, in which unit, from where, and what it means when there is nothing."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator

from promql_parser import BinaryExpr

from grafana.lint.board import Document
from grafana.lint.checks.frame import SOURCE
from grafana.lint.dimension import CUSTOM, KNOWN, UNITS, kind
from grafana.lint.query import Query
from grafana.lint.scene import Complaint, Scene
from rules.lint.expression import walk

_EMPTY_WORDS = re.compile(r"no data|n/?a|-+|null", re.IGNORECASE)
_USED = re.compile(r"\b(usage|used|utili[sz]ation|in use|how full)\b", re.IGNORECASE)
_FREE = re.compile(r"(?i)avail|free|idle")
_DRAWS = (
    "stat",
    "gauge",
    "bargauge",
    "timeseries",
    "state-timeline",
    "status-history",
    "barchart",
    "heatmap",
    "piechart",
    "table",
)


def nameless_panel(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel without a title or a description, or a row without a title."""
    for panel in document.board.every():
        if not panel.title.strip():
            yield Complaint(panel, "it has no title", "say what it shows, as the question that it answers")
        if panel.type not in ("row", "text") and not panel.description.strip():
            yield Complaint(panel, "it has no description", "say where its numbers come from and what to do about them")


def panel_without_query(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel without a query, or with an empty one."""
    for panel in document.board.asking():
        if not panel.targets:
            yield Complaint(panel, "it has no query", "give it one, or remove it")
        for target in panel.targets:
            if not target.expr.strip():
                yield Complaint(panel, f"its query {target.ref} is empty", "write it, or remove it")


def repeated_ref_id(document: Document, _: Scene) -> Iterator[Complaint]:
    """Two queries of one panel with the same letter: Grafana shows only one of them."""
    for panel in document.board.asking():
        for ref, count in Counter(target.ref for target in panel.targets).items():
            if count > 1 or not ref:
                yield Complaint(
                    panel, f'{count} of its queries have the refId "{ref}"', "give each a letter of its own"
                )


def fixed_datasource(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel, query or annotation with a fixed data source instead of the selected one."""
    fix = f'write {{"type": "prometheus", "uid": "{SOURCE}"}}'
    for panel in document.board.asking():
        asked = [("it", panel.datasource), *((f"its query {one.ref}", one.datasource) for one in panel.targets)]
        for what, source in asked:
            if source is None or source.uid != SOURCE:
                yield Complaint(panel, f"{what} asks the data source {source.uid if source else 'of nobody'}", fix)
    for annotation in document.board.annotations.every:
        if not annotation.built_in and (annotation.datasource is None or annotation.datasource.uid != SOURCE):
            yield Complaint(None, f"{annotation} asks a data source of its own", fix)


def unknown_unit(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel without a unit, or with one that Grafana does not know and prints as text after the number."""
    for panel in document.board.asking():
        for unit in (panel.field.defaults.unit, *map(str, panel.overridden("unit"))):
            if not unit:
                yield Complaint(
                    panel, "it has no unit", 'give it one: "s", "percentunit", "reqps", "bytes", "short", …'
                )
            elif unit not in KNOWN and not unit.startswith(CUSTOM):
                like = difflib.get_close_matches(unit, KNOWN, 1, 0.5)
                yield Complaint(
                    panel, f"Grafana has no unit {unit}", f"write {like[0]}" if like else "write one of its ids"
                )


def wrong_unit(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A unit that does not match the query: seconds shown as milliseconds, a ratio shown as a plain number."""
    for query in scene.queries(document):
        if query.panel is None or query.tree is None:
            continue
        units = {query.panel.field.defaults.unit, *map(str, query.panel.overridden("unit"))}
        what = kind(query.tree, scene.world)
        fits = UNITS.get(what, ())
        counted = what in ("number", "state") and any(unit.startswith(("currency", *CUSTOM)) for unit in units)
        if fits and units.isdisjoint(fits) and not counted:
            shown = ", ".join(sorted(units))
            fix = f"write {' or '.join(fits[:4])}"
            yield Complaint(query, f"it gives {what}, and the unit is {shown}", fix)


def silent_emptiness(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel that shows "No data" or stays blank when empty: readers cannot tell whether that is good or broken."""
    for panel in document.board.asking():
        text = panel.field.defaults.no_value.strip()
        if not text or _EMPTY_WORDS.fullmatch(text):
            yield Complaint(
                panel,
                f'without data it says "{text or "No data"}"',
                "say in noValue what it means: nothing happened, or not measured",
            )


def accidental_colour(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel without a colour mode: the default depends on panel type and version, and lines may be invisible."""
    for panel in document.board.asking():
        mode = panel.field.defaults.color.mode
        if panel.type in _DRAWS and not mode:
            yield Complaint(panel, "its colour mode is left to Grafana", "set fieldConfig.defaults.color.mode")
        steps = panel.field.defaults.thresholds.steps
        calm = panel.type == "stat" and panel.options.color_mode == "background"  # its number stays readable
        if mode == "thresholds" and steps and steps[0].color == "transparent" and not calm:
            yield Complaint(
                panel, "its values are drawn in a transparent colour", "use palette-classic, or a base colour"
            )


def usage_shows_available(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A panel titled usage that plots what is free: 96 % on an idle host."""
    for query in scene.queries(document):
        if query.panel is None or query.tree is None or not _USED.search(query.panel.title):
            continue
        if _FREE.search(scene.meaning(query.tree)) and not _subtracts(query, scene):
            yield Complaint(
                query,
                "the title says what is used, and it plots what is left",
                "plot 1 - available / total, or change the title",
            )


def _subtracts(query: Query, scene: Scene) -> bool:
    if query.tree is None:
        return False
    own = any(isinstance(part, BinaryExpr) and str(part.op) == "-" for part, _ in walk(query.tree))
    return own or " - " in scene.meaning(query.tree)
