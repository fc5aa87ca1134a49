"""A rule file as the lint reads it: each rule with its line, its parsed expression, and what its comments allow."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from promql_parser import Expr, parse, parse_duration

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RULE_FILE = "a rule file begins with `groups:`; docs/rules.md shows one"
REFUSED = "correct it: Prometheus refuses the whole file as it is"
_ALLOWED = re.compile(r"#\s*lint:\s*allow\s+(?P<check>[\w-]+)\s*(?::\s*(?P<reason>.*\S))?")


class SourceError(Exception):
    """A file cannot be read as rules; the text says why, `fix` what to do, `line` where."""

    def __init__(self, text: str, line: int = 1, fix: str = RULE_FILE) -> None:
        super().__init__(text)
        self.line, self.fix = line, fix


@dataclass(frozen=True, slots=True)
class Allowance:
    """`# lint: allow <check>: <reason>`, above a rule or within it."""

    check: str
    reason: str
    line: int
    owner: int  # the first line of the rule that it stands for


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; durations in seconds."""

    file: str
    group: str
    keys: frozenset[str]  # of the group
    first: bool  # in its group
    interval: float
    kind: Literal["alert", "record"]
    name: str
    expr: str
    tree: Expr
    wait: float
    labels: dict[str, str]
    annotations: dict[str, str]
    line: int
    text: tuple[str, ...]

    @property
    def alerts(self) -> bool:
        """Say whether it is an alert."""
        return self.kind == "alert"

    def line_of(self, near: str) -> int:
        """Find the line of the rule that has this word; its first line when none has."""
        word = re.compile(rf"(?<![\w:]){re.escape(near)}(?!\w|:\w)")
        offsets = (n for n, line in enumerate(self.text) if near and word.search(line.partition(" # ")[0]))
        return self.line + next(offsets, 0)


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its rules, and what its comments allow."""

    path: str
    rules: tuple[Rule, ...]
    allowances: tuple[Allowance, ...]


def read(path: Path) -> Source:
    """Read a file that promtool takes; SourceError otherwise, or when an expression is beyond promql-parser."""
    try:
        text = path.read_text("utf-8")
        node, content = yaml.compose(text, _LOADER), yaml.load(text, _LOADER)  # noqa: S506  # one of the two safe ones
    except UnicodeDecodeError as error:
        raise SourceError("this is not UTF-8 text") from error
    except OSError as error:
        raise SourceError(f"this cannot be read: {error.strerror}", fix="correct the name or its rights") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else 1
        raise SourceError(f"this is no YAML: {getattr(error, 'problem', error)}", line, REFUSED) from error
    if not isinstance(content, dict) or not content.get("groups"):
        raise SourceError("there is no rule in it")
    lines = text.splitlines()
    groups = _items(node, "groups")
    places = [_items(group, "rules") for group in groups]
    starts = sorted(rule.start_mark.line for rules in places for rule in rules)
    rules = [
        _rule(str(path), group, position, _lines(lines, place.start_mark.line, starts))
        for group, nodes in zip(content["groups"], places, strict=True)
        for position, place in enumerate(nodes)
    ]
    return Source(str(path), tuple(rules), _allowances(lines, starts))


def _items(node: Any, key: str) -> list[Any]:  # noqa: ANN401  # PyYAML's nodes have no types
    return next((value.value for name, value in node.value if name.value == key and isinstance(value.value, list)), [])


def _lines(lines: list[str], start: int, starts: list[int]) -> tuple[int, tuple[str, ...]]:
    end = next((other for other in starts if other > start), len(lines))
    return start + 1, tuple(lines[start:end])


def _rule(path: str, group: dict[str, Any], position: int, place: tuple[int, tuple[str, ...]]) -> Rule:
    rule, (line, text) = group["rules"][position], place
    kind: Literal["alert", "record"] = "alert" if "alert" in rule else "record"
    expr = str(rule["expr"])
    try:
        tree = parse(expr)
    except ValueError as error:
        raise SourceError(f"{rule[kind]}: promql-parser cannot read the expression: {error}", line, REFUSED) from error
    return Rule(
        file=path,
        group=str(group["name"]),
        keys=frozenset(group),
        first=position == 0,
        interval=_seconds(group.get("interval", "1m")),
        kind=kind,
        name=str(rule[kind]),
        expr=expr,
        tree=tree,
        wait=_seconds(rule.get("for", "0s")),
        labels={key: str(value) for key, value in (rule.get("labels") or {}).items()},
        annotations={key: str(value) for key, value in (rule.get("annotations") or {}).items()},
        line=line,
        text=text,
    )


def _seconds(text: object) -> float:
    return 0.0 if str(text) in {"0", "0s"} else parse_duration(str(text)).total_seconds()


def _allowances(lines: list[str], starts: list[int]) -> tuple[Allowance, ...]:
    allowances = []
    for number, line in enumerate(lines):
        match = _ALLOWED.search(line)
        if match is None:
            continue
        below = next((n for n in range(number, len(lines)) if lines[n].strip() and lines[n].strip()[0] != "#"), number)
        above = [start for start in starts if start <= number]
        owner = below if below in starts else above[-1] if above else -1
        allowances.append(Allowance(match["check"], match["reason"] or "", number + 1, owner + 1))
    return tuple(allowances)
