"""The JSON webhooks of other tools: how their bodies become alerts, field by field, by JMESPath expressions."""

import math
from typing import Annotated, Any

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from process.settings import Strict
from receiver.config.heartbeats import LabelName

_LONGEST = 500  # characters of an expression
_MOST_NODES = 40  # of its syntax tree
_MOST_GROWTH = 32  # how often what it makes may hold its body: `[@, @][]` doubles what it is given
# Of nodes, by all expressions for one body: about 0.2 s, in which the receiver does nothing else.
_MOST_VISITS = 100_000
_PIECE = 32  # characters or elements of what a node gives that cost as much as a visit
_KNOWN = frozenset(Functions().FUNCTION_TABLE)
_REASON_SHOWN = 200  # characters of the library's error

WebhookName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", examples=["status-page"])]


class ExpressionError(Exception):
    """The expression cannot be applied to this body; the text says why."""


class Evaluation(TreeInterpreter):  # type: ignore[misc]  # the library has no types
    """Applies expressions to one body; ExpressionError where its many elements would hold up the process."""

    def __init__(self) -> None:
        super().__init__()
        self._left = _MOST_VISITS

    def visit(self, node: dict[str, Any], *args: object, **named: object) -> object:
        """Evaluate a node, and count what that costs."""
        made: object = super().visit(node, *args, **named)
        self._left -= 1 + (len(made) // _PIECE if isinstance(made, str | list) else 0)
        if self._left < 0:
            raise ExpressionError("takes too long for a body of this many elements")
        return made


class Expression:
    """A JMESPath expression (jmespath.org/specification.html) of bounded size."""

    EXPECTED = "expected a JMESPath expression, e.g. alert.id or 'P2' with its quotes"  # read by process.conversion

    def __init__(self, text: str) -> None:
        """Compile it; ValueError says what is wrong with it."""
        if len(text) > _LONGEST:
            raise ValueError(f"the expression has {len(text)} characters (at most {_LONGEST})")
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            reason = " ".join(str(error).split())[:_REASON_SHOWN]
            raise ValueError(f"invalid JMESPath expression {text!r}: {reason}") from error
        nodes = _nodes(self._compiled.parsed)
        if len(nodes) > _MOST_NODES:
            raise ValueError(f"the expression has {len(nodes)} parts (at most {_MOST_NODES}); simplify it")
        growth = _growth(self._compiled.parsed)
        if growth > _MOST_GROWTH:
            raise ValueError(f"the expression may repeat its body {growth} times (at most {_MOST_GROWTH}); simplify it")
        for node in nodes:
            if node["type"] == "function_expression" and node["value"] not in _KNOWN:
                raise ValueError(f"unknown JMESPath function {str(node['value'])!r} in {text!r}")
        self.text = text

    @classmethod
    def from_yaml(cls, value: object) -> "Expression":
        """Read it from YAML; ValueError says what is wrong."""
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"invalid expression {str(value)[:60]!r} ({cls.EXPECTED})")
        return cls(value)

    def find(self, body: object, evaluation: Evaluation) -> object:
        """Apply it to the decoded body of this evaluation; ExpressionError if it cannot be applied."""
        try:
            found: object = evaluation.visit(self._compiled.parsed, body)
        except ExpressionError as error:
            raise ExpressionError(f"{self.text!r} {error}") from error
        except (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            reason = " ".join(str(error).split())[:_REASON_SHOWN]
            raise ExpressionError(f"{self.text!r} cannot be applied: {reason}") from error
        return found


class GenericWebhook(Strict, frozen=True, kw_only=True):
    """How a body posted to /webhook/generic/<name> is read. ``key`` says which alert it is about."""

    key: Expression
    """Expression for what the alert is about: one key is one incident at a time"""
    status: Expression
    """Expression for firing or resolved"""
    title: Expression
    """Expression for the summary"""
    priority: Expression | None = None
    """Expression for P1 to P5; a constant has quotes of its own: "'P2'"."""
    description: Expression | None = None
    """Expression for the text"""
    link: Expression | None = None
    """Expression for the URL of the source"""
    labels: Annotated[dict[LabelName, Expression], msgspec.Meta(max_length=50)] = {}
    """Expressions for labels, by label"""


def _nodes(tree: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # the library's own tree
    """List the nodes of a syntax tree, without recursion."""
    found, left = list[dict[str, Any]](), [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            found.append(node)
            left += node.get("children", [])
    return found


_SUMS = {"multi_select_list", "multi_select_dict"}  # they hold what each of their children gives
_CHOICES = {"or_expression", "and_expression", "comparator", "not_expression"}  # of one of their children, or a flag


def _growth(node: dict[str, Any]) -> int:
    """Bound how often the result of a node can hold what the node is given."""
    if node["type"] == "literal":
        return 0
    children = [_growth(child) for child in node.get("children", []) if isinstance(child, dict)]
    if node["type"] in _SUMS or (node["type"] == "function_expression" and node["value"] != "map"):
        return max(1, sum(children))
    if node["type"] in _CHOICES:
        return max(children, default=1)
    return math.prod(children)  # the rest hand on from one child to the next
