"""All that a dashboard is judged by beside itself: other dashboards, rules, their tables, and what is exported."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import yaml
from promql_parser import Expr, parse

from grafana.lint.board import Document, Panel, Variable
from grafana.lint.meaning import compared, meaning
from grafana.lint.query import Query, queries
from rules import benchmark_rules, slo_rules, thresholds
from rules.lint.source import Rule, SourceError, read
from rules.lint.world import World, world
from rules.site import ROOT

T = TypeVar("T", bound=msgspec.Struct)
Place = Panel | Query | Variable | None


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong with a dashboard: where, what, and what to do."""

    at: Place
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number that something is compared with, and by whom."""

    value: float
    by: str


@dataclass(frozen=True)
class Scene:
    """What is known while one dashboard is judged.

    `drawn` are the numbers that a panel of this meaning must draw, those of the tables; `compared` those that it may
    draw as well, for an alert compares with them.
    """

    boards: tuple[Document, ...]
    world: World
    drawn: dict[str, list[Number]]
    compared: dict[str, list[Number]]
    factors: frozenset[float]
    root: Path = ROOT
    _queries: dict[str, list[Query]] = field(default_factory=dict)

    def queries(self, document: Document) -> list[Query]:
        """Give the queries of a dashboard, parsed once."""
        if document.path not in self._queries:
            self._queries[document.path] = list(queries(document.board))
        return self._queries[document.path]

    def meaning(self, node: Expr) -> str:
        """Say what a query measures, whichever way it is written."""
        return meaning(node, self.world)

    def board(self, uid: str) -> Document | None:
        """Find a dashboard by its uid."""
        return next((one for one in self.boards if one.board.uid == uid), None)


def scene(boards: tuple[Document, ...], root: Path = ROOT) -> Scene:
    """Put it together; ValueError names a file of the product that cannot be read."""
    around = world(tuple(_rules(root)), root)
    drawn: dict[str, list[Number]] = {}
    for name, expr, value in _tables(root):
        drawn.setdefault(meaning(parse(expr), around), []).append(Number(value, name))
    numbers_of_metric: dict[str, list[Number]] = {}
    for rule in around.rules:
        for measured, value in compared(rule.tree, around) if rule.alerts else ():
            numbers_of_metric.setdefault(measured, []).append(Number(value, rule.name))
    burns = _table(root, "slo.yml", slo_rules.Table)
    factors = frozenset(one.factor for one in burns.alerts) | frozenset(one.objective for one in burns.objectives)
    times = yaml.safe_load((root / "deploy/config/receiver.yml").read_text("utf-8"))["response_times"].values()
    answers = frozenset(_seconds(str(text)) for text in times)
    return Scene(boards, around, drawn, numbers_of_metric, factors | answers | {float(len(_benchmarks(root)))}, root)


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def _rules(root: Path) -> Iterator[Rule]:
    for path in sorted((root / "rules").glob("*.yml")):
        try:
            yield from read(path).rules
        except SourceError as error:
            raise ValueError(f"{path}:{error.line}: {error}; {error.fix}") from error


def _benchmarks(root: Path) -> list[benchmark_rules.Benchmark]:
    return _table(root, "benchmarks.yml", benchmark_rules.Table).benchmarks


def _tables(root: Path) -> Iterator[tuple[str, str, float]]:
    """Give where a number stands, what it is compared with, and the number."""
    for one in _benchmarks(root):
        yield f"benchmark {one.key}", one.value, one.target
    for alert in _table(root, "thresholds.yml", thresholds.Table).thresholds:
        # The first is the threshold; what follows are floors, below which there is too little to judge by.
        series, value = next(iter(alert.limits.items()))
        yield alert.alert, series, value


def _table(root: Path, name: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(yaml.safe_load((root / "rules/tables" / name).read_text("utf-8")), kind)
    except (msgspec.ValidationError, yaml.YAMLError, OSError) as error:
        raise ValueError(f"rules/tables/{name}: {error}") from error
