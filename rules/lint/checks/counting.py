"""Checks of counters and shares: rates before sums, sums before shares, and no division by nothing."""

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, LabelModifierType

from rules.lint.expression import (
    COMPARISONS,
    RATES,
    SETS,
    Path,
    aggregated,
    bare,
    binaries,
    calls,
    children,
    name_of,
    operator,
    scalar,
    selectors,
    walk,
    within,
)
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

# What may be asked of a counter: how it grows, and whether it is there.
_OF_COUNTERS = {*RATES, "absent", "absent_over_time", "resets", "changes", "timestamp", "count_over_time"}
_ONLY_THERE = {"count", "group"}
_NEVER_ZERO = {"node_memory_MemTotal_bytes", "pg_settings_max_connections"}
_POSITIVE_IF_INNER = {"sum", "min", "max", "avg", "sum_over_time", "min_over_time", "max_over_time", "avg_over_time"}
_ARITHMETIC = {"+", "-", "*", "/", "%", "^"}
_DEEP = 8


def counter_without_rate(rule: Rule, world: World) -> Iterator[Fault]:
    """A counter without rate() or increase(): it holds the total since a restart, not what happens now."""
    for selector, above in selectors(rule.tree):
        series = world.series.get(name_of(selector))
        if series and series.counts and not within(above, *_OF_COUNTERS, *_ONLY_THERE):
            fix = f"write rate({series.name}{{…}}[5m]) or increase(…)"
            yield Fault(f"{series.name} is a counter, and is read without rate()", fix, series.name)


def rate_of_gauge(rule: Rule, world: World) -> Iterator[Fault]:
    """rate() or increase() of a gauge: each decrease counts as a restart."""
    for selector, above in selectors(rule.tree):
        series = world.series.get(name_of(selector))
        if series and series.type == "gauge" and within(above, *RATES):
            yield Fault(
                f"{series.name} is a gauge, and rate() is for counters", "write deriv() or delta()", series.name
            )


def unaggregated_rate(rule: Rule, world: World) -> Iterator[Fault]:
    """An alert on the rate of each series of a counter: it misses many small problems, and repeats a large one."""
    for call, above in calls(rule.tree, *RATES) if rule.alerts else ():
        inside = any(isinstance(part, BinaryExpr) and str(part.op) == "/" for part in above)
        split = _split(call, above, world)
        if split and not inside and not within(above, "histogram_quantile"):
            text = f"{operator(call)}() of each {', '.join(split)} by itself"
            yield Fault(text, f"write sum by (job) ({operator(call)}(…))", operator(call))


def unaggregated_ratio(rule: Rule, world: World) -> Iterator[Fault]:
    """A ratio of rates that are not summed: only series with equal labels match, and each is compared by itself."""
    for division in binaries(rule.tree, "/"):
        split = _divided(division, world)
        if split:
            text = f"a share of rates of each {', '.join(split)} by itself"
            yield Fault(text, "sum both sides: sum by (job) (rate(…)) / sum by (job) (rate(…))", "/")


def _divided(division: BinaryExpr, world: World) -> list[str]:
    split_labels = {
        label
        for call, above in calls(division, *RATES)
        if not aggregated(above)
        for label in _split(call, above, world)
    }
    return sorted(split_labels)


def _split(call: Call, above: Path, world: World) -> list[str]:
    """Give the labels that a rate is split by where it is judged."""
    if aggregated(above):
        return []
    own = {label for selector, _ in selectors(call) for label in _own(name_of(selector), world)}
    return sorted(own & (world.labels(call).certain - world.labels(call).fixed))


def _own(name: str, world: World) -> frozenset[str]:
    series = world.series.get(name)
    return series.own if series else frozenset()


def mismatched_labels(rule: Rule, world: World) -> Iterator[Fault]:
    """Two sides whose labels can never match: the result is empty, and the rule never fires."""
    for node in binaries(rule.tree, *_ARITHMETIC, *COMPARISONS, *SETS - {"or"}):
        if scalar(node.lhs) or scalar(node.rhs) or (str(node.op) == "/" and _divided(node, world)):
            continue
        lone = _unmatched(node, world)
        if lone:
            text = f"{node.op}: only one side has {', '.join(sorted(lone))}"
            yield Fault(text, "say by which labels they meet: on (…), or sum both sides by the same", str(node.op))


def _unmatched(node: BinaryExpr, world: World) -> frozenset[str]:
    left, right = world.labels(node.lhs), world.labels(node.rhs)
    lone = (left.certain - (right.possible if right.possible is not None else left.certain)) | (
        right.certain - (left.possible if left.possible is not None else right.certain)
    )
    matching = node.modifier.matching if node.modifier else None
    if matching is None:
        return lone
    named = frozenset(matching.labels)
    return lone & named if matching.type == LabelModifierType.Include else lone - named


def zero_divisor(rule: Rule, world: World) -> Iterator[Fault]:
    """A divisor that may be 0: the result is NaN or infinite, and infinite exceeds every threshold."""
    for division in binaries(rule.tree, "/"):
        if not _positive(division.rhs, world, 0):
            text = f"the divisor may be 0: {_short(division.rhs)}"
            yield Fault(text, "write (… > 0) for no result, or clamp_min(…, 1) for a small one", "/")


def _positive(node: Expr, world: World, depth: int) -> bool:
    """Say whether an expression is certainly more than 0 wherever it has a result."""
    node = bare(node)
    numbers = world.constants(node)
    if numbers is not None:
        return min(numbers) > 0
    if isinstance(node, BinaryExpr):
        return _positive_pair(node, world, depth)
    if operator(node) == "clamp_min":
        low = world.constants(children(node)[1])
        return low is not None and min(low) > 0
    if operator(node) in _POSITIVE_IF_INNER:
        return _positive(children(node)[0], world, depth)
    if isinstance(node, promql.MatrixSelector):
        node = node.vector_selector
    if isinstance(node, promql.VectorSelector):
        rules = world.recorded(node) if depth < _DEEP else []
        return name_of(node) in _NEVER_ZERO or (bool(rules) and all(_positive(r.tree, world, depth + 1) for r in rules))
    return False


def _positive_pair(node: BinaryExpr, world: World, depth: int) -> bool:
    kind, floor = str(node.op), world.constants(node.rhs)
    if kind == ">" and floor is not None and not (node.modifier and node.modifier.return_bool):
        return min(floor) >= 0
    if kind in {"+", "*", "/"}:
        return _positive(node.lhs, world, depth) and _positive(node.rhs, world, depth)
    return kind in {"and", "unless"} and _positive(node.lhs, world, depth)


def average_of_ratios(rule: Rule, _: World) -> Iterator[Fault]:
    """A sum or average of ratios: a route with one request weighs as much as one with a million."""
    for node, _above in walk(rule.tree):
        joins = isinstance(node, AggregateExpr) and operator(node) in {"avg", "sum"}
        if joins and any(_shares(part, above) for part, above in walk(children(node)[0])):
            yield Fault(f"{operator(node)} of a share", "divide the sums: sum(…) / sum(…)", operator(node))


def _shares(node: Expr, above: Path) -> bool:
    """Say whether it divides by what varies; a share that is compared with `bool` is only counted."""
    counted = any(isinstance(part, BinaryExpr) and part.modifier and part.modifier.return_bool for part in above)
    return isinstance(node, BinaryExpr) and str(node.op) == "/" and not scalar(node.rhs) and not counted


def _short(node: Expr) -> str:
    text = " ".join(str(node).replace("{}", "").split())
    longest = 60
    return text if len(text) <= longest else f"{text[:longest]}…"
