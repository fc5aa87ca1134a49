"""An expression as the checks look at it: its parts with what they stand in, and the few facts that many checks ask."""

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, MatchOp, VectorSelector

COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}
SETS = {"and", "or", "unless"}
RATES = {"rate", "irate", "increase"}
# Aggregations that choose series, and leave those as they are.
CHOOSING = {"topk", "bottomk", "limitk", "limit_ratio"}
Path = tuple[Expr, ...]


def children(node: Expr) -> list[Expr]:
    """Give the expressions that a node is made of, numbers and texts included."""
    if isinstance(node, BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, AggregateExpr):
        return [node.expr, *([node.param] if isinstance(node.param, Expr) else [])]
    if isinstance(node, Call):
        return [part for part in node.args if isinstance(part, Expr)]
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return [node.expr]
    return []


def walk(node: Expr, above: Path = ()) -> Iterator[tuple[Expr, Path]]:
    """Give every part with all that it stands in, the outermost first."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def bare(node: Expr) -> Expr:
    """Take the brackets off."""
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    return node


def operator(node: Expr) -> str:
    """Give the operator of a binary expression, or the name of an aggregation or function; empty for all else."""
    if isinstance(node, BinaryExpr | AggregateExpr):
        return str(node.op)
    return node.func.name if isinstance(node, Call) else ""


def name_of(selector: VectorSelector) -> str:
    """Give the name of the metric, also where it stands in braces; empty where there is none."""
    if selector.name:
        return selector.name
    named = (m.value for m in selector.matchers.matchers if m.name == "__name__" and m.op == MatchOp.Equal)
    return next(named, "")


def selectors(node: Expr) -> list[tuple[VectorSelector, Path]]:
    """Give every selector with what it stands in."""
    return [(part, above) for part, above in walk(node) if isinstance(part, VectorSelector)]


def binaries(node: Expr, *operators: str) -> list[BinaryExpr]:
    """Give every binary expression with one of these operators."""
    return [part for part, _ in walk(node) if isinstance(part, BinaryExpr) and str(part.op) in operators]


def calls(node: Expr, *names: str) -> list[tuple[Call, Path]]:
    """Give every call of one of these functions with what it stands in."""
    return [(part, above) for part, above in walk(node) if isinstance(part, Call) and part.func.name in names]


def within(above: Path, *names: str) -> bool:
    """Say whether one of these functions or aggregations stands around it."""
    return any(operator(part) in names for part in above if not isinstance(part, BinaryExpr))


def aggregated(above: Path) -> bool:
    """Say whether an aggregation that joins series stands around it."""
    return any(isinstance(part, AggregateExpr) and str(part.op) not in CHOOSING for part in above)


def scalar(node: Expr) -> bool:
    """Say whether it is a number without labels."""
    node = bare(node)
    if isinstance(node, BinaryExpr):
        return scalar(node.lhs) and scalar(node.rhs)
    if isinstance(node, promql.UnaryExpr):
        return scalar(node.expr)
    return isinstance(node, promql.NumberLiteral) or operator(node) in {"time", "scalar", "pi"}


def filters(node: Expr) -> bool:
    """Say whether an expression has no result while all is well: it compares, or asks for what is absent."""
    node = bare(node)
    kind = operator(node)
    if isinstance(node, BinaryExpr):
        if kind in COMPARISONS:
            return not (node.modifier and node.modifier.return_bool)
        both = (filters(node.lhs), filters(node.rhs))
        return all(both) if kind == "or" else any(both) if kind in SETS else False
    if isinstance(node, AggregateExpr | promql.UnaryExpr):
        return filters(node.expr)
    return kind.startswith("absent") or (isinstance(node, Call) and any(filters(part) for part in children(node)))


def valued(node: Expr) -> list[Expr]:
    """Give the parts that an alert's `$value` may come from."""
    node = bare(node)
    kind = operator(node)
    if isinstance(node, BinaryExpr) and kind in COMPARISONS:
        return valued(node.rhs if scalar(node.lhs) else node.lhs)
    if isinstance(node, BinaryExpr) and kind in SETS:
        return valued(node.lhs) + (valued(node.rhs) if kind == "or" else [])
    return [node]
