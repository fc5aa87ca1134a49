"""Checks of legends: a reader can tell each line from the others."""

import re
from collections.abc import Iterator

from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, Call, Expr

from grafana.lint.board import Document
from grafana.lint.query import Query
from grafana.lint.scene import Complaint, Scene
from rules.lint.expression import CHOOSING, COMPARISONS, SETS, bare, children, operator, scalar
from rules.lint.labels import Labels

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_EVERYWHERE = {"job", "env"}
_TOLD_BY = {"slo": "team", "benchmark": "unit"}  # what names the one has one value of the other: rules/tables


def _drawn(document: Document, scene: Scene) -> Iterator[Query]:
    """Give the queries whose results have legends: not the rows of a table."""
    for query in scene.queries(document):
        if query.panel is not None and query.panel.type != "table" and query.tree is not None:
            yield query


def legend_without_label(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A legend that is the same for all series of a query that can return several."""
    for query in _drawn(document, scene):
        labels = scene.world.labels(query.tree)  # type: ignore[arg-type]  # those that are drawn have a tree
        open_ = _open(labels)
        several = labels.possible is None or bool(open_)
        if several and not _LABEL.search(query.legend) and query.legend != "__auto":
            names = sorted(open_)
            fix = (
                f"name one of {', '.join(names)} in it as {{{{{names[0]}}}}}, or aggregate" if names else "aggregate it"
            )
            yield Complaint(query, f'all its series are called "{query.legend}"', fix)


def legend_lacks_label(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A label that the query groups by and the legend leaves out: two lines get the same name."""
    for query in _drawn(document, scene):
        labels = scene.world.labels(query.tree)  # type: ignore[arg-type]  # those that are drawn have a tree
        split = _split(query.tree) - labels.fixed - _EVERYWHERE  # type: ignore[arg-type]  # as above
        lost = sorted(split - set(_LABEL.findall(query.legend)))
        if lost and query.legend != "__auto" and _LABEL.search(query.legend):
            fix = f"add {{{{{lost[0]}}}}} to the legend, or take {lost[0]} out of `by`"
            yield Complaint(
                query, f'it splits by {", ".join(lost)}, and the legend "{query.legend}" does not say so', fix
            )


def unknown_legend_label(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A legend with a label that the series do not have: it shows an empty string."""
    for query in _drawn(document, scene):
        labels = scene.world.labels(query.tree)  # type: ignore[arg-type]  # those that are drawn have a tree
        for label in _LABEL.findall(query.legend):
            if labels.lack(label):
                there = ", ".join(sorted(labels.possible or ())) or "no label"
                yield Complaint(query, f"its series have no label {label}", f"there is {there}: correct the legend")


def repeated_legend(document: Document, _: Scene) -> Iterator[Complaint]:
    """Two queries of one panel with the same legend."""
    for panel in document.board.asking():
        seen: dict[str, str] = {}
        for target in panel.targets if panel.type != "table" else ():
            first = seen.setdefault(target.legend, target.ref)
            if first != target.ref and target.legend != "__auto":
                fix = "give each query a legend of its own"
                yield Complaint(panel, f'its queries {first} and {target.ref} are both called "{target.legend}"', fix)


def _open(labels: Labels) -> frozenset[str]:
    """Give the labels in which the series may differ."""
    told = {_TOLD_BY[name] for name in labels.fixed if name in _TOLD_BY}
    return (labels.possible or frozenset()) - labels.fixed - _EVERYWHERE - told


def _split(node: Expr) -> frozenset[str]:
    """Give the labels of the outermost `by` that decides how many series there are."""
    node = bare(node)
    if isinstance(node, AggregateExpr) and operator(node) not in CHOOSING:
        by = node.modifier is not None and node.modifier.type == AggModifierType.By
        return frozenset(node.modifier.labels) if by and node.modifier else frozenset()
    if isinstance(node, BinaryExpr):
        side = node.rhs if scalar(node.lhs) else node.lhs
        kind = operator(node)
        if kind in SETS | COMPARISONS or scalar(node.lhs) or scalar(node.rhs):
            return _split(side)
        return _split(node.lhs) & _split(node.rhs)
    if isinstance(node, Call) and operator(node).startswith("label_"):
        return frozenset()  # it makes the labels that the legend has
    inner = [part for part in children(node) if not scalar(part)]
    return _split(inner[0]) - ({"le"} if operator(node) == "histogram_quantile" else set()) if inner else frozenset()
