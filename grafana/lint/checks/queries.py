"""Checks of PromQL: what rules/lint asks of rules, asked of dashboards; and the windows that Grafana chooses."""

from collections.abc import Callable, Iterator

from promql_parser import Expr, MatrixSelector, parse_duration

from grafana.lint.board import Document
from grafana.lint.dimension import UNITS, kind
from grafana.lint.query import RATE_WINDOW, SHOWN_WINDOWS, Query
from grafana.lint.scene import Complaint, Scene
from rules.lint.checks import counting, names, quantiles, selection
from rules.lint.expression import RATES, calls, name_of, operator, selectors
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

_LONG = parse_duration("1h")  # over this length or more it is a number by itself: registrations in a day
# The checks of rules that hold for a panel as well; they keep their names, their words and their tests.
SHARED: tuple[Callable[[Rule, World], Iterator[Fault]], ...] = (
    names.unknown_metric,
    names.unrecorded_series,
    names.unknown_label,
    selection.missing_job,
    selection.wrong_job,
    selection.integer_le,
    selection.range_beyond_retention,
    counting.counter_without_rate,
    counting.rate_of_gauge,
    counting.average_of_ratios,
    quantiles.quantile_without_le,
)


_OF_VALUES = (selection.missing_job, counting.counter_without_rate)  # label_values reads no value


def unreadable_query(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A query that is not valid PromQL."""
    for query in scene.queries(document):
        if query.error and query.text.strip():
            yield Complaint(
                query, f"it cannot be read: {query.error}", "correct it; promtool and Grafana refuse it too"
            )


def own_window(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A rate over a fixed window, too short when zoomed out. Windows of a rule, or of an hour or more, are allowed."""
    ruled = _windows(scene)
    for query, function, inner in _rates(document, scene):
        shown = inner.range in SHOWN_WINDOWS if function == "increase" else inner.range == RATE_WINDOW
        same = (function, name_of(inner.vector_selector), inner.range) in ruled
        if shown or same or inner.range >= _LONG:
            continue
        name = name_of(inner.vector_selector)
        fix = f"write {function}({name}[$__rate_interval]), or read a recorded series"
        yield Complaint(query, f"{function}() of {name} has a window that no rule has", fix)


def fractional_count(document: Document, scene: Scene) -> Iterator[Complaint]:
    """An event count with a fraction, such as 9.08 tickets: increase() extrapolates."""
    for query in scene.queries(document):
        if query.panel is None or query.tree is None or query.panel.field.defaults.unit not in UNITS["number"]:
            continue
        measured = scene.meaning(query.tree)
        counts = kind(query.tree, scene.world) in ("number", "") and "increase(" in measured and " / " not in measured
        if counts and not any(True for _ in calls(query.tree, "round")):
            yield Complaint(query, "it counts events by increase(), which gives fractions", "write round(…)")


def unaggregated_counter(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A rate that is not summed: it draws a line per instance and label instead of the expected total."""
    for query in scene.queries(document):
        for part, above in calls(query.tree, *RATES) if query.tree is not None else ():
            own = scene.world.labels(part)
            several = own.possible is None or own.possible - own.fixed - {"instance", "job", "env"}
            if several and not any(operator(one) in {"sum", "avg", "max", "min", "count"} for one in above):
                fix = f"write sum by (…) ({operator(part)}(…))"
                yield Complaint(query, f"{operator(part)}() stands there without an aggregation", fix)


def _rates(document: Document, scene: Scene) -> Iterator[tuple[Query, str, MatrixSelector]]:
    for query in scene.queries(document):
        for part, _ in calls(query.tree, *RATES) if query.tree is not None else ():
            if isinstance(part.args[0], MatrixSelector):
                yield query, operator(part), part.args[0]


def _windows(scene: Scene) -> set[tuple[str, str, object]]:
    return {
        (operator(part), name_of(part.args[0].vector_selector), part.args[0].range)
        for rule in scene.world.rules
        for part, _ in calls(rule.tree, *RATES)
        if isinstance(part.args[0], MatrixSelector)
    }


def shared(check: Callable[[Rule, World], Iterator[Fault]], document: Document, scene: Scene) -> Iterator[Complaint]:
    """Ask a check of rules about every query, as if it were a rule that records."""
    for query in scene.queries(document):
        if query.tree is None or (query.labels_only and check in _OF_VALUES):
            continue
        for fault in check(_as_rule(query), scene.world):
            if check is not counting.counter_without_rate or fault.near not in _differences(query.tree):
                yield Complaint(query, fault.text, fault.fix)


def _differences(node: Expr) -> set[str]:
    """Give the counters that are subtracted from what they were: as an increase does, and exactly."""
    read = [(name_of(part), part.offset) for part, _ in selectors(node)]
    return {name for name, offset in read if offset} & {name for name, offset in read if not offset}


def _as_rule(query: Query) -> Rule:
    if query.tree is None:
        raise ValueError(f"{query} cannot be read: ask nothing of it")
    return Rule(
        file="",
        group="",
        keys=frozenset(),
        first=False,
        interval=60.0,
        kind="record",
        name=query.place,
        expr=query.text,
        tree=query.tree,
        wait=0.0,
        labels={},
        annotations={},
        line=1,
        text=(),
    )
