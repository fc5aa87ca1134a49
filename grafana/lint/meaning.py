"""What an expression measures, whichever way it is written: two that measure the same have the same meaning.

Recorded series stand for what they record. Jobs, instances, environments and what is left out (`!=`, `!~`) do not
matter, nor does the window of a rate; aggregations by max, min, sum and avg do not, nor rounding, nor guards (`> 0`,
`or vector(0)`).
"""

from collections.abc import Iterator

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Expr,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
    display_duration,
)

from rules.lint.expression import COMPARISONS, SETS, bare, children, name_of, operator, scalar
from rules.lint.world import World

_PLACES = {"job", "instance", "env", "team", "__name__"}
_THROUGH = {
    "sum",
    "max",
    "min",
    "avg",
    "topk",
    "bottomk",
    "clamp_min",
    "clamp_max",
    "label_replace",
    "round",
    "sort",
    "sort_desc",
}
_RATES = {"rate", "irate"}
_DEEP = 8


def meaning(node: Expr, world: World, depth: int = 0) -> str:
    """Write it down in a form of its own."""
    node = bare(node)
    if isinstance(node, BinaryExpr):
        return _of_binary(node, world, depth)
    if isinstance(node, VectorSelector):
        return _of_selector(node, world, depth)
    if isinstance(node, NumberLiteral):
        return f"{node.val:g}"
    inner = [meaning(part, world, depth) for part in children(node)]
    if isinstance(node, MatrixSelector | SubqueryExpr):
        return f"{inner[0]}[{display_duration(node.range) if node.range else ''}]"
    return _applied(node, inner)


def _applied(node: Expr, inner: list[str]) -> str:
    """Write a function, an aggregation or a sign with what it is applied to."""
    kind = operator(node)
    if isinstance(node, UnaryExpr):
        return f"-{inner[0]}"
    if kind in _RATES:
        return f"rate({inner[0].rpartition('[')[0]})"
    return inner[0] if inner and (kind == "vector" or kind in _THROUGH) else f"{kind}({', '.join(inner)})"


def _of_selector(node: VectorSelector, world: World, depth: int) -> str:
    recorded = world.recorded(node)
    every = {meaning(rule.tree, world, depth + 1) for rule in recorded} if depth < _DEEP else set()
    if len(every) == 1:
        return every.pop()
    kept = sorted(
        f"{one.name}{'=' if one.op == MatchOp.Equal else '=~'}{one.value}"
        for one in node.matchers.matchers
        if one.name not in _PLACES and one.op in (MatchOp.Equal, MatchOp.Re) and one.value != ".+"
    )
    return f"{name_of(node)}{{{','.join(kept)}}}"


def _of_binary(node: BinaryExpr, world: World, depth: int) -> str:
    kind = operator(node)
    if kind in SETS or (kind in COMPARISONS and not (node.modifier and node.modifier.return_bool)):
        return meaning(node.rhs if scalar(node.lhs) else node.lhs, world, depth)
    number = constant(node)
    if number is not None:
        return f"{number:g}"
    return f"({meaning(node.lhs, world, depth)} {kind} {meaning(node.rhs, world, depth)})"


def constant(node: Expr) -> float | None:
    """Give the number that an expression of numbers alone is."""
    node = bare(node)
    if isinstance(node, NumberLiteral):
        return float(node.val)
    if isinstance(node, UnaryExpr):
        inner = constant(node.expr)
        return None if inner is None else -inner
    if isinstance(node, BinaryExpr):
        left, right = constant(node.lhs), constant(node.rhs)
        if left is not None and right is not None and operator(node) in ("*", "+", "-"):
            return {"*": left * right, "+": left + right, "-": left - right}[operator(node)]
    return None


def compared(node: Expr, world: World) -> Iterator[tuple[str, float]]:
    """Give what an alert compares with which numbers: not within the parts of an operation, which are guards."""
    node = bare(node)
    kind = operator(node)
    if isinstance(node, AggregateExpr):
        yield from compared(node.expr, world)
    elif kind in SETS and isinstance(node, BinaryExpr):
        yield from compared(node.lhs, world)
        yield from compared(node.rhs, world)
    elif isinstance(node, BinaryExpr) and kind in COMPARISONS:
        value = constant(node.rhs)
        if value is not None:
            yield meaning(node.lhs, world), value
