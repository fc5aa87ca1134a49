"""Alerts that compare with the past, and rules that read what another group recorded a moment ago."""

import re
from collections.abc import Iterator
from datetime import timedelta

import promql_parser as promql
from promql_parser import Call, Expr, parse_duration

from rules.lint.baselines import MARKERS
from rules.lint.expression import COMPARISONS, binaries, name_of, operator, selectors, walk
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

_LONG = timedelta(hours=1)
_LINES = {"predict_linear", "double_exponential_smoothing", "holt_winters"}
_LAG = re.compile(r"^\s*# lag: (\S+)")
_PINT = re.compile(r"^\s*# pint disable rule/dependency$")
_DEEP = 8  # chains of recorded series are not longer than this


def untested_baseline(rule: Rule, world: World) -> Iterator[Fault]:
    """An alert that compares with the past without tests of a short and a long outage, gaps and a new Prometheus."""
    if not rule.alerts:
        return
    baseline = _baseline(rule.tree, world, 0)
    missing = [marker for marker in MARKERS if marker not in world.here.shown.get(rule.name, frozenset())]
    if baseline and missing:
        text = f"it compares with the past ({baseline}), and no test named {', '.join(missing)} has a case of it"
        yield Fault(text, "add the tests to rules/tests; docs/rules.md says how they are recognised", "expr")


def _baseline(node: Expr, world: World, depth: int) -> str:
    """Return the part of an expression that looks back for an hour or more or from an offset; empty if none does."""
    for part, _ in walk(node):
        function = _looks_back(part)
        if function:
            return function
    metric = _beside_itself(node, world)
    if metric:
        return f"{metric} over two windows"
    if depth < _DEEP:
        for selector, _ in selectors(node):
            for source in world.recorded(selector):
                function = _baseline(source.tree, world, depth + 1)
                if function:
                    return f"{source.name}: {function}" if depth == 0 else function
    return ""


def _beside_itself(node: Expr, world: World) -> str:
    """Return a metric that is compared with itself over a longer window, which an outage fills in time."""
    for pair in binaries(node, *COMPARISONS, "/", "-"):
        left, right = _windows(pair.lhs, world, 0), _windows(pair.rhs, world, 0)
        for metric in left.keys() & right.keys():
            if left[metric] != right[metric] and max(left[metric] | right[metric]) >= _LONG:
                return metric
    return ""


def _windows(node: Expr, world: World, depth: int) -> dict[str, set[timedelta]]:
    """Return the windows over which each metric is read, also in what a recorded series reads."""
    found: dict[str, set[timedelta]] = {}
    for part, _ in walk(node):
        if isinstance(part, promql.MatrixSelector):
            found.setdefault(name_of(part.vector_selector), set()).add(part.range)
    for selector, _ in selectors(node) if depth < _DEEP else ():
        for source in world.recorded(selector):
            for metric, windows in _windows(source.tree, world, depth + 1).items():
                found.setdefault(metric, set()).update(windows)
    return found


def _looks_back(part: Expr) -> str:
    if isinstance(part, promql.VectorSelector | promql.SubqueryExpr) and part.offset:
        return "offset"
    if not isinstance(part, Call):
        return ""
    name = operator(part)
    long = any(
        isinstance(argument, promql.MatrixSelector | promql.SubqueryExpr) and (argument.range or _LONG) >= _LONG
        for argument in part.args
    )
    return name if name in _LINES or (name.endswith("_over_time") and long) else ""


def unstated_lag(rule: Rule, world: World) -> Iterator[Fault]:
    """A recorded series that reads a series of another group without stating the lag that it accepts."""
    # pint's rule/dependency leaves alerts out as well: what they wait for is longer than the lag.
    if rule.alerts:
        return
    sources = {
        source.name: source.interval
        for selector, _ in selectors(rule.tree)
        for source in world.recorded(selector)
        if (source.file, source.group) != (rule.file, rule.group)
    }
    accepted = [parse_duration(stated[1]).total_seconds() for line in rule.text if (stated := _LAG.match(line))]
    lag = max(sources.values(), default=0.0)
    if sources and (not accepted or accepted[0] < lag or not any(_PINT.match(line) for line in rule.text)):
        text = f"it reads {', '.join(sorted(sources))} of another group, which is up to {lag:g}s old"
        yield Fault(
            text, f"add the comments `# pint disable rule/dependency` and `# lag: {lag:g}s` to the rule", "expr"
        )
