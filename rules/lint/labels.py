"""Which labels the result of an expression has, as far as the expression and the catalogue tell."""

from collections.abc import Callable
from dataclasses import dataclass

import promql_parser as promql
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, Call, Expr, LabelModifierType, MatchOp

from rules.lint.expression import CHOOSING, SETS, bare, children, operator, scalar

Find = Callable[[promql.VectorSelector], "Labels"]
Names = frozenset[str]
_NONE: Names = frozenset()
# The label's value, its name, and the text: label_replace(v, dst, replacement, src, regex), label_join(v, dst, …).
_TARGET, _REPLACEMENT = 1, 2


@dataclass(frozen=True, slots=True)
class Labels:
    """What is on every series, what may be on some (None: nobody knows), and what has one value on all."""

    certain: Names = _NONE
    possible: Names | None = _NONE
    fixed: Names = _NONE

    def only(self, names: Names) -> "Labels":
        """Keep these alone, as `by` and `on` do."""
        possible = names if self.possible is None else self.possible & names
        return Labels(self.certain & names, possible, self.fixed & names)

    def without(self, names: Names) -> "Labels":
        """Take these off."""
        return Labels(
            self.certain - names, None if self.possible is None else self.possible - names, self.fixed - names
        )

    def plus(self, names: Names, *, fixed: bool = False, certain: bool = True) -> "Labels":
        """Add these."""
        possible = None if self.possible is None else self.possible | names
        sure = names if certain else _NONE
        return Labels(self.certain | sure, possible, self.fixed | names if fixed else self.fixed - names)

    def either(self, other: "Labels") -> "Labels":
        """Give what is known of a series that is one or the other."""
        known = self.possible is not None and other.possible is not None
        possible = (self.possible or _NONE) | (other.possible or _NONE) if known else None
        return Labels(self.certain & other.certain, possible)

    def lack(self, name: str) -> bool:
        """Say whether certainly no series has this label."""
        return self.possible is not None and name not in self.possible


ANYTHING = Labels(possible=None)


def labels(node: Expr, find: Find) -> Labels:
    """Give the labels of a result; `find` tells those of a selector."""
    node = bare(node)
    if isinstance(node, promql.VectorSelector):
        return find(node)
    if isinstance(node, AggregateExpr):
        return _of_aggregation(node, find)
    if isinstance(node, BinaryExpr):
        return _of_binary(node, find)
    if isinstance(node, Call):
        return _of_call(node, find)
    inner = children(node)
    return labels(inner[0], find) if inner else Labels()


def _of_aggregation(node: AggregateExpr, find: Find) -> Labels:
    inner = labels(node.expr, find)
    if str(node.op) in CHOOSING:
        return inner
    if node.modifier is None:
        kept = Labels()
    elif node.modifier.type == AggModifierType.By:
        kept = inner.only(frozenset(node.modifier.labels))
    else:
        kept = inner.without(frozenset(node.modifier.labels))
    new = node.param.val if isinstance(node.param, promql.StringLiteral) else None  # count_values
    return kept.plus(frozenset([new])) if new else kept


def _of_binary(node: BinaryExpr, find: Find) -> Labels:
    if scalar(node.lhs) or scalar(node.rhs):
        return labels(node.rhs if scalar(node.lhs) else node.lhs, find)
    left, right = labels(node.lhs, find), labels(node.rhs, find)
    if str(node.op) in SETS:
        return left.either(right) if str(node.op) == "or" else left
    modifier = node.modifier
    extra = frozenset((modifier and modifier.group_labels) or ())
    card = str(modifier.card) if modifier else ""
    if card.endswith("ManyToOne"):
        return left.without(extra).plus(extra, certain=extra <= right.certain)
    if card.endswith("OneToMany"):
        return right.without(extra).plus(extra, certain=extra <= left.certain)
    if modifier is None or modifier.matching is None:
        return left
    named = frozenset(modifier.matching.labels)
    return left.only(named) if modifier.matching.type == LabelModifierType.Include else left.without(named)


def _of_call(node: Call, find: Find) -> Labels:
    kind, inner = operator(node), [part for part in children(node) if not isinstance(part, promql.StringLiteral)]
    if kind.startswith("absent"):
        return _of_absent(bare(inner[0]))
    vectors = [part for part in inner if not scalar(part)]
    if not vectors or kind in {"scalar", "vector", "time"}:
        return Labels()
    result = labels(vectors[0], find)
    if kind == "histogram_quantile":
        return result.without(frozenset(["le"]))
    if kind in {"label_replace", "label_join"}:
        return _replaced(node, result)
    return result


def _of_absent(asked: Expr) -> Labels:
    """Only the matchers with `=` come back from what is not there."""
    if isinstance(asked, promql.MatrixSelector):
        asked = asked.vector_selector
    if not isinstance(asked, promql.VectorSelector):
        return Labels()
    names = frozenset(m.name for m in asked.matchers.matchers if m.op == MatchOp.Equal and m.name != "__name__")
    return Labels(names, names, names)


def _replaced(node: Call, before: Labels) -> Labels:
    target, value = node.args[_TARGET].val, node.args[_REPLACEMENT].val
    if operator(node) == "label_join":
        return before.plus(frozenset([target]))
    always = all(part.val == "" for part in node.args[_REPLACEMENT + 1 :])  # an empty label matches an empty pattern
    if always and not value:
        return before.without(frozenset([target]))
    return before.plus(frozenset([target]), fixed=always and "$" not in value, certain=always)
