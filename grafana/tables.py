"""The numbers of the rules, for dashboards: targets, thresholds and objectives, so that none is typed twice."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import promql_parser
import yaml

from grafana.panel import Limit
from rules import benchmark_rules, slo_rules

COLOURS = {"P1": "red", "P2": "orange", "P3": "yellow", "P4": "yellow"}
_SETS = ("and", "or", "unless")
_BAD: dict[str, Literal["above", "below"]] = {">": "above", ">=": "above", "<": "below", "<=": "below"}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was read of rules/ and of the receiver's example configuration."""

    benchmarks: dict[str, benchmark_rules.Benchmark]
    slo: slo_rules.Table
    alerts: dict[str, dict[str, Any]]
    response_times: dict[str, float]

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read them below the project's folder; ValueError or OSError says what is wrong with which file."""
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

    def target(self, key: str) -> Limit:
        """Give the target of a benchmark."""
        one = self.benchmarks[key]
        return Limit(one.target, "above" if one.better == "below" else "below", COLOURS[one.priority])

    def meant(self, key: str) -> str:
        """Say the target of a benchmark as people do, as ``below 500ms``."""
        one = self.benchmarks[key]
        return f"{one.better} {benchmark_rules.spoken(one.target, one.unit)}"

    def limit(self, alert: str, position: int = 0) -> Limit:
        """Give the number that a rule compares with; ``position`` chooses among several.

        Raises:
            ValueError: there is no such alert, or it compares with no such number.

        """
        rule = self.alerts.get(alert)
        if rule is None:
            raise ValueError(f"{alert}: no rule has this name; correct the panel that asks for its limit")
        found = tuple(_compared(promql_parser.parse(str(rule["expr"]))))
        if position >= len(found):
            raise ValueError(f"{alert}: its rule compares with {len(found)} numbers, and a panel asks for one more")
        bad, value = found[position]
        return Limit(value, bad, COLOURS[rule["labels"]["priority"]])

    def response_time(self, priority: str) -> Limit:
        """Give the time within which somebody should answer."""
        return Limit(self.response_times[priority], "above", COLOURS["P1"])

    def burn(self) -> tuple[Limit, ...]:
        """Give how many times too fast a budget may be spent before each of the alerts."""
        return tuple(Limit(one.factor, "above", COLOURS[one.priority]) for one in self.slo.alerts)


def _yaml(path: Path) -> Any:  # noqa: ANN401  # a file of any shape
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error


def _compared(node: promql_parser.Expr) -> list[tuple[Literal["above", "below"], float]]:
    """Find what decides: comparisons with a number that no operator but and, or, unless stands above."""
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
