"""Checks of quantiles: of whole histograms, and compared where they are exact."""

from collections.abc import Iterator
from math import inf

from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, MatchOp, VectorSelector

from rules.lint.expression import COMPARISONS, aggregated, bare, binaries, calls, children, name_of, operator, selectors
from rules.lint.fault import Fault
from rules.lint.series import Series
from rules.lint.source import Rule
from rules.lint.world import World

_DEEP = 8


def quantile_without_le(rule: Rule, world: World) -> Iterator[Fault]:
    """histogram_quantile() of series without `le`: the result is empty."""
    for call, _ in calls(rule.tree, "histogram_quantile"):
        if world.labels(call.args[1]).lack("le"):
            yield Fault(
                "histogram_quantile() of series without le", "write sum by (job, le) (rate(…))", "histogram_quantile"
            )


def unaggregated_quantile(rule: Rule, world: World) -> Iterator[Fault]:
    """A quantile of each single series: a slow route is hidden, or pages because of three requests."""
    for call, _ in calls(rule.tree, "histogram_quantile"):
        bare_series = [name_of(selector) for selector, above in selectors(call.args[1]) if not aggregated(above)]
        known_series = [world.series[name] for name in bare_series if name in world.series]
        own = sorted({label for series in known_series for label in series.own})
        if own:
            text = f"a quantile of each {', '.join(own)} by itself"
            yield Fault(text, "write histogram_quantile(…, sum by (job, le) (rate(…)))", "histogram_quantile")


def threshold_between_buckets(rule: Rule, world: World) -> Iterator[Fault]:
    """A quantile limit or an `le` that is not a bucket boundary: between boundaries, a quantile is a guess."""
    for node in binaries(rule.tree, *COMPARISONS):
        for side, limit in ((node.lhs, node.rhs), (node.rhs, node.lhs)):
            numbers = None if selectors(limit) else world.constants(limit)
            for series in _histograms(side, world, 0) if numbers else ():
                yield from _unless_boundary(min(numbers or ()), series)
    for selector, _ in selectors(rule.tree):
        histogram = world.series.get(name_of(selector))
        for matcher in selector.matchers.matchers if histogram else ():
            if histogram and matcher.name == "le" and matcher.op == MatchOp.Equal:
                yield from _unless_boundary(float(matcher.value), histogram)


def _unless_boundary(number: float, series: Series) -> Iterator[Fault]:
    if not series.buckets or number in {*series.buckets, inf}:
        return
    below = max((bound for bound in series.buckets if bound < number), default=0)
    above = min((bound for bound in series.buckets if bound > number), default=inf)
    family = series.name.removesuffix("_bucket")
    text = f"{number:g} is no bucket boundary of {family}: there are {below:g} and {above:g}"
    fix = f"compare with one of them, or add {number:g} to its buckets (exporter/catalogue/*.yml)"
    yield Fault(text, fix, f"{number:g}")


def _histograms(node: Expr, world: World, depth: int) -> list[Series]:
    """Give the histograms that the value of an expression is a quantile of."""
    node = bare(node)
    if operator(node) == "histogram_quantile":
        names = [name_of(selector) for selector, _ in selectors(node)]
        return [world.series[name] for name in names if name in world.series]
    if isinstance(node, VectorSelector):
        rules = world.recorded(node) if depth < _DEEP else []
        return [series for rule in rules for series in _histograms(rule.tree, world, depth + 1)]
    if isinstance(node, BinaryExpr):
        sides = {"or": [node.lhs, node.rhs]}.get(str(node.op), [node.lhs] if str(node.op) in {"and", "unless"} else [])
        sides = sides or ([node.lhs] if str(node.op) in COMPARISONS else [])
        return [series for side in sides for series in _histograms(side, world, depth)]
    if isinstance(node, AggregateExpr | Call) and operator(node) in {
        "max",
        "min",
        "avg",
        "max_over_time",
        "min_over_time",
    }:
        return _histograms(children(node)[0], world, depth)
    return []
