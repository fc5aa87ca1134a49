"""Which rules read the series that a rule records, by name and by the labels that the rule sets."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import promql_parser
from promql_parser import MatchOp, VectorSelector

from rules.mutation import Place, Rule


@dataclass(frozen=True)
class Selector:
    """A name and label patterns: pairs of a label and a fully anchored pattern."""

    name: str
    asked: tuple[tuple[str, str], ...]

    def meets(self, rule: Rule) -> bool:
        """Whether it can select the series of a rule; labels that the rule does not set can have any value.

        An alert records as well: ALERTS, with its name as a label.
        """
        if self.name == "ALERTS" and "alert" in rule:
            labels = {"alertname": rule["alert"]}
        elif rule.get("record") == self.name:
            labels = rule.get("labels", {})
        else:
            return False
        return all(re.fullmatch(pattern, str(labels[label])) for label, pattern in self.asked if label in labels)


@cache
def selectors(expression: str) -> frozenset[Selector]:
    """Return what an expression selects. ValueError: it cannot be parsed."""
    read: set[Selector] = set()

    def visit(node: object) -> None:
        if isinstance(node, VectorSelector):
            asked = tuple((m.name, p) for m in node.matchers.matchers if (p := _pattern(m)) is not None)
            read.add(Selector(node.name or "", asked))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return frozenset(read)


def _pattern(matcher: Any) -> str | None:  # noqa: ANN401  # the parser's own type has no stub
    """Return the pattern of a positive matcher; negative matchers are ignored."""
    if matcher.op == MatchOp.Equal:
        return re.escape(str(matcher.value))
    return str(matcher.value) if matcher.op == MatchOp.Re else None


class Rules:
    """All rules of some files, in evaluation order."""

    def __init__(self, contents: dict[str, Any]) -> None:
        """Take name -> content of the files."""
        self.at: dict[Place, Rule] = {
            Place(file, group["name"], position): rule
            for file, content in contents.items()
            for group in content["groups"]
            for position, rule in enumerate(group["rules"])
        }
        self._sources = {place: self.read_by(str(rule["expr"])) for place, rule in self.at.items()}

    def read_by(self, expression: str) -> set[Place]:
        """Return the rules that record what an expression selects."""
        asked = selectors(expression)
        return {place for place, rule in self.at.items() if any(one.meets(rule) for one in asked)}

    def upstream(self, places: Iterable[Place]) -> set[Place]:
        """Return these rules and all rules that they read, directly or indirectly."""
        sources: set[Place] = set()
        waiting = set(places)
        while waiting:
            sources |= waiting
            waiting = {source for place in waiting for source in self._sources[place]} - sources
        return sources

    def downstream(self, place: Place) -> set[Place]:
        """Return a rule and all rules that read it, directly or indirectly."""
        readers = {place}
        while more := {reader for reader, sources in self._sources.items() if sources & readers} - readers:
            readers |= more
        return readers
