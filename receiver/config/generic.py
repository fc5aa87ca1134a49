"""The JSON webhooks of other tools: how their bodies become alerts, field by field, by JMESPath expressions."""

from typing import Annotated, Any

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from process.settings import Strict
from receiver.config.heartbeats import LabelName

_LONGEST = 500  # characters of an expression
# Nodes of its syntax tree. A node may double what it is given (`[@, @][]`), so this bounds how large a body can become.
_MOST_NODES = 40
_KNOWN = frozenset(Functions().FUNCTION_TABLE)
_REASON_SHOWN = 200  # characters of the library's error

WebhookName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$")]


class ExpressionError(Exception):
    """The expression cannot be applied to this body; the text says why."""


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

    def find(self, body: object) -> object:
        """Apply it to a decoded body; ExpressionError if it cannot be applied."""
        try:
            return self._compiled.search(body)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            reason = " ".join(str(error).split())[:_REASON_SHOWN]
            raise ExpressionError(f"{self.text!r} cannot be applied: {reason}") from error


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
