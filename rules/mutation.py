"""What may be wrong in a rule: each number, comparison, `for` and window of it, changed one at a time.

A test set that does not notice a change does not hold the thing that was changed. Pure: rules in, changed rules out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from promql_parser import parse_duration

Rule = dict[str, Any]
_TOKEN = re.compile(
    r"""(?P<labels>\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<window>\[[^\]]*\]|\boffset\s+\d\w*)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<comparison>==|!=|>=|<=|>|<)
    |(?P<number>\d+(?:\.\d+)?)""",
    re.VERBOSE,
)
_DURATION = re.compile(r"\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*")
# The other direction; an equality, its contrary.
_TURNED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "!=", "!=": "=="}


@dataclass(frozen=True)
class Mutant:
    """One rule with one thing changed; `what` says what, for people and for the list of survivors."""

    file: str
    group: str
    position: int
    name: str
    what: str
    rule: Rule


def name_of(rule: Rule) -> str:
    """Give the name of an alert, or of a recorded series with the labels that the rule adds: several may share one."""
    labels = ", ".join(f'{key}="{value}"' for key, value in rule.get("labels", {}).items())
    return str(rule["alert"]) if "alert" in rule else f"{rule['record']}{{{labels}}}" if labels else rule["record"]


def mutants(file: str, content: dict[str, Any]) -> Iterator[Mutant]:
    """Give every mutant of every rule of one file."""
    for group in content["groups"]:
        for position, rule in enumerate(group["rules"]):
            for what, changed in changes(rule):
                yield Mutant(file, group["name"], position, name_of(rule), what, changed)


def changes(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """Give each change of one rule with what it is, as `> 0.05 becomes > 0.1`."""
    if "for" in rule:
        for new in _durations(rule["for"]):
            yield f"for: {rule['for']} becomes {new}", rule | {"for": new}
    expression = str(rule["expr"])
    seen: dict[str, int] = {}
    for token in _TOKEN.finditer(expression):
        for new in _instead(token):
            before, after = expression[: token.start()], expression[token.end() :]
            what = f"{token[0]} becomes {new}"
            seen[what] = seen.get(what, 0) + 1
            # A second of the same kind is told apart by its place.
            place = f" (no. {seen[what]})" if seen[what] > 1 else ""
            yield what + place, rule | {"expr": before + new + after}


def _instead(token: re.Match[str]) -> list[str]:
    if token.lastgroup == "comparison":
        return [_TURNED[token[0]]]
    if token.lastgroup == "number":
        value = float(token[0])
        return [f"{value * 2:g}", f"{value / 2:g}"] if value else ["1"]
    if token.lastgroup == "window":
        first = _DURATION.search(token[0])
        return [token[0].replace(first[0], new, 1) for new in _durations(first[0])] if first else []
    return []


def _durations(text: str) -> list[str]:
    seconds = parse_duration(text).total_seconds()
    return [f"{int(seconds * 2)}s", f"{int(seconds * 1000 / 2)}ms"] if seconds else ["10m"]
