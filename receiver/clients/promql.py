"""Reads from an alert's PromQL what it compares, with which limit, and under which further conditions. Pure.

Of an `or` the first arm is taken, of a chain of `and` and `unless` the first comparison: by the rules' own habit that
is the number that the alert is about, and the others are its floors.
"""

import math
import operator
import re
from collections.abc import Callable

import msgspec
from promql_parser import (
    BinaryExpr,
    BinModifier,
    Call,
    Expr,
    LabelModifierType,
    MatchOp,
    NumberLiteral,
    ParenExpr,
    UnaryExpr,
    VectorSelector,
    parse,
)

# promql_parser overflows its stack at some thousand brackets, and is slow long before.
_LONGEST = 3_000  # characters
_DEEPEST = 100  # brackets
_LOGIC = frozenset({"or", "and", "unless"})
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "^": math.pow,
}
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class ExpressionError(Exception):
    """The expression cannot be read; the text says why."""


class Comparison(msgspec.Struct, frozen=True):
    """The first comparison of an alert.

    ``limit`` is a number. Where it is compared with other series, ``left`` is the ratio of both sides and the limit 1,
    or None if the operator is `==` or `!=`. ``guarded`` is the left side where the further conditions hold; without
    conditions it is ``left``. ``arms`` counts the alternatives of an `or`.
    """

    left: str
    operator: str
    limit: float | None
    guarded: str
    arms: int = 1

    @property
    def tunable(self) -> bool:
        """Say whether the threshold can be changed; `== 0` and `> 0` ask whether something is, not how much."""
        return self.operator not in {"==", "!="} and bool(self.limit)

    @property
    def above(self) -> bool:
        """Say whether it fires above its limit, and not below."""
        return self.operator.startswith(">")

    def holds(self, value: float, limit: float) -> bool:
        """Compare as Prometheus does."""
        if self.operator == "==":
            return value == limit
        if self.operator == "!=":
            return value != limit
        if self.above:
            return value > limit or (value == limit and self.operator == ">=")
        return value < limit or (value == limit and self.operator == "<=")


def compared(expression: str) -> Comparison | None:
    """Give the first comparison; None if there is none, as in `vector(1)` or `absent(up)`.

    Raises:
        ExpressionError: it is not PromQL, or newer than the parser knows, or too long.
    """
    node, conditions, arms = _bare(_read(expression)), list[BinaryExpr](), 1
    while isinstance(node, BinaryExpr) and str(node.op) in _LOGIC:
        if str(node.op) == "or":
            arms += 1
        else:
            conditions.append(node)
        node = _bare(node.lhs)
    if not isinstance(node, BinaryExpr) or str(node.op) not in _MIRRORED:
        return None
    left, operator_, limit = _sides(node)
    guarded = left
    for condition in reversed(conditions):
        guarded = f"({guarded}) {condition.op}{_clause(condition.modifier)} ({condition.rhs.prettify()})"
    return Comparison(left, operator_, limit, guarded, arms)


def selected_label(expression: str, metric: str, label: str) -> str | None:
    """Give the value of ``label`` where the expression is a selector of ``metric`` with that label; None otherwise."""
    node = _bare(_read(expression))
    if not isinstance(node, VectorSelector) or node.name != metric:
        return None
    return next((m.value for m in node.matchers.matchers if m.name == label and m.op == MatchOp.Equal), None)


def is_constant(expression: str) -> bool:
    """Say whether an alert always fires, as `vector(1)` does; False where the expression cannot be read."""
    try:
        node = _bare(_read(expression))
    except ExpressionError:
        return False
    return isinstance(node, Call) and node.func.name == "vector" and number(node.args[0]) is not None


def number(node: Expr) -> float | None:
    """Work out a constant, such as `14 * 86400`; None if it depends on series or has no finite value."""
    node = _bare(node)
    if isinstance(node, NumberLiteral):
        return node.val if math.isfinite(node.val) else None
    if isinstance(node, UnaryExpr):
        value = number(node.expr)
        return None if value is None else -value
    if not isinstance(node, BinaryExpr) or str(node.op) not in _ARITHMETIC:
        return None
    left, right = number(node.lhs), number(node.rhs)
    if left is None or right is None:
        return None
    try:
        result = _ARITHMETIC[str(node.op)](left, right)
    except (ArithmeticError, ValueError):
        return None
    return result if math.isfinite(result) else None


def _read(expression: str) -> Expr:
    if len(expression) > _LONGEST or _depth(expression) > _DEEPEST:
        raise ExpressionError(f"longer than {_LONGEST} characters or nested deeper than {_DEEPEST}")
    try:
        return parse(expression)
    except ValueError as error:
        raise ExpressionError(str(error)) from error


def _depth(expression: str) -> int:
    """Give how deep brackets may be nested; those in strings count too, which makes it too high at most."""
    depth = deepest = 0
    for character in expression:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _bare(node: Expr) -> Expr:
    """Take the parentheses off."""
    while isinstance(node, ParenExpr):
        node = node.expr
    return node


def _sides(node: BinaryExpr) -> tuple[str, str, float | None]:
    """Give the left side, the operator and the limit; a number on the left changes sides."""
    operator_, left, right = str(node.op), node.lhs.prettify(), node.rhs.prettify()
    limit = number(node.rhs)
    if limit is not None:
        return left, operator_, limit
    limit = number(node.lhs)
    if limit is not None:
        return right, _MIRRORED[operator_], limit
    if operator_ in {"==", "!="}:
        return left, operator_, None
    return f"({left}) /{_clause(node.modifier)} ({right})", operator_, 1.0


def _clause(modifier: BinModifier | None) -> str:
    """Write `on (job) group_left (team)` and its like, with a space before; empty if series match on all labels."""
    if modifier is None:
        return ""
    if (modifier.fill_values.lhs, modifier.fill_values.rhs) != (None, None):
        raise ExpressionError("fill modifiers are not supported")
    text = ""
    if modifier.matching is not None:
        word = "on" if modifier.matching.type == LabelModifierType.Include else "ignoring"
        text = f" {word} ({_labels(modifier.matching.labels)})"
    side = {"ManyToOne": "group_left", "OneToMany": "group_right"}.get(str(modifier.card).rpartition(".")[2])
    return f"{text} {side} ({_labels(modifier.group_labels or [])})" if side else text


def _labels(names: list[str]) -> str:
    return ", ".join(name if _PLAIN_LABEL.fullmatch(name) else msgspec.json.encode(name).decode() for name in names)
