"""Numbers of the rules for dashboards: targets, thresholds and objectives."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import promql_parser
import yaml

from grafana.panel import Answer, Burn, Count, Limit, Number, Rule, Target
from rules import benchmark_rules, slo_rules

COLOURS = {"P1": "red", "P2": "orange", "P3": "yellow", "P4": "yellow", "P5": "yellow"}
_NAMED = re.compile(r"(?<!\{)\{([\w ]+)\}(?!\})")
_SETS = ("and", "or", "unless")
_BAD: dict[str, Literal["above", "below"]] = {">": "above", ">=": "above", "<": "below", "<=": "below"}


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers in rules/ and in the receiver's example configuration."""

    benchmarks: dict[str, benchmark_rules.Benchmark]
    slo: slo_rules.Table
    alerts: dict[str, dict[str, Any]]
    response_times: dict[str, float]

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read them from the project folder; ValueError or OSError names the file and its fault."""
        tables = root / "rules/tables"
        benchmarks = msgspec.convert(_yaml(tables / "benchmarks.yml"), benchmark_rules.Table).benchmarks
        times = _yaml(root / "deploy/config/receiver.yml")["response_times"]
        return cls(
            benchmarks={one.key: one for one in benchmarks},
            slo=msgspec.convert(_yaml(tables / "slo.yml"), slo_rules.Table),
            alerts={
                rule["alert"]: rule
                for path in sorted((root / "rules").glob("*.yml"))
                for group in _yaml(path)["groups"]
                for rule in group["rules"]
                if "alert" in rule
            },
            response_times={name: promql_parser.parse_duration(text).total_seconds() for name, text in times.items()},
        )

    def limit(self, number: Number) -> Limit:
        """Resolve a number.

        Raises:
            ValueError: unknown benchmark, alert or priority, or the alert has no such threshold.

        """
        match number:
            case Limit():
                return number
            case Target(key):
                one = self.benchmarks[_known(key, self.benchmarks)]
                return Limit(one.target, "above" if one.better == "below" else "below", COLOURS[one.priority])
            case Answer(priority):
                return Limit(self.response_times[_known(priority, self.response_times)], "above", COLOURS["P1"])
            case Burn(alert):
                burns = {burn.alert: burn for burn in self.slo.alerts}
                burn = burns[_known(alert, burns)]
                return Limit(burn.factor, "above", COLOURS[burn.priority])
            case Rule(alert, position):
                return self._compared(self.alerts[_known(alert, self.alerts)], position)
            case Count():
                return Limit(len(self.benchmarks), "below", COLOURS["P3"])

    def say(self, text: str) -> str:
        """Insert the numbers that a description names; see Panel."""
        return _NAMED.sub(lambda match: self._spoken(match[1]), text)

    def _spoken(self, name: str) -> str:
        if name == "count":
            return str(len(self.benchmarks))
        if name.startswith("title "):
            return self.benchmarks[_known(name.removeprefix("title "), self.benchmarks)].title
        if name in self.benchmarks:
            one = self.benchmarks[name]
            return f"{one.better} {benchmark_rules.spoken(one.target, one.unit)}"
        if name in self.response_times:
            return duration(self.response_times[name])
        limit = self.limit(Rule(name)).value
        return f"{limit:.0%}" if limit < 1 else duration(limit)

    def _compared(self, rule: dict[str, Any], position: int) -> Limit:
        limits = _compared(promql_parser.parse(str(rule["expr"])))
        if position >= len(limits):
            raise ValueError(f"{rule['alert']} has {len(limits)} thresholds, but a panel asks for one more")
        bad, value = limits[position]
        return Limit(value, bad, COLOURS[rule["labels"]["priority"]])


def duration(seconds: float) -> str:
    """Format a duration in the largest unit that fits."""
    for length, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:g} {name}"
    return f"{seconds:g} seconds"


def _known(name: str, names: Collection[str]) -> str:
    if name not in names:
        raise ValueError(f"{name}: unknown name in a panel: the rules do not have it")
    return name


def _yaml(path: Path) -> Any:  # noqa: ANN401  # a file of any shape
    try:
        return yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error


def _compared(node: promql_parser.Expr) -> list[tuple[Literal["above", "below"], float]]:
    """Return the comparisons with a number that are nested only in and, or and unless."""
    if isinstance(node, promql_parser.ParenExpr):
        return _compared(node.expr)
    if not isinstance(node, promql_parser.BinaryExpr):
        return []
    if str(node.op) in _SETS:
        return _compared(node.lhs) + _compared(node.rhs)
    value = _number(node.rhs)
    return [(_BAD[str(node.op)], value)] if str(node.op) in _BAD and value is not None else []


def _number(node: promql_parser.Expr) -> float | None:
    if isinstance(node, promql_parser.NumberLiteral):
        return float(node.val)
    if isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "*":
        left, right = _number(node.lhs), _number(node.rhs)
        return left * right if left is not None and right is not None else None
    return None
