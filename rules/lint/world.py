"""All that a rule is judged by beside itself: what is exported and recorded, and what the installation is like."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from operator import add, mul, sub, truediv
from pathlib import Path

import promql_parser as promql
import yaml
from promql_parser import BinaryExpr, Expr, MatchOp, VectorSelector, parse_duration

from rules import expected_rules, site
from rules.lint.baselines import shown
from rules.lint.expression import bare, name_of, operator, selectors
from rules.lint.labels import ANYTHING, Labels, labels
from rules.lint.series import Series, known
from rules.lint.source import Rule
from rules.site import ROOT, Site

_RETENTION = re.compile(r"--storage\.tsdb\.retention\.time=(\d+[a-z]+)")
_DEFAULT_RETENTION = "15d"  # prometheus.io/docs/prometheus/latest/storage
_RECEIVER = "receiver/**/*.py"
# Where a letter precedes, a match would have begun before: without that, every word without a colon is read many times.
RECORDED = re.compile(r"(?<![A-Za-z_])[A-Za-z_]\w*(?::\w+)+")
_ARITHMETIC = {"+": add, "-": sub, "*": mul, "/": truediv}
_DEEP = 8  # chains of recorded series are not longer than this


@dataclass(frozen=True, slots=True)
class Installation:
    """What prometheus.yml says, in seconds; and who reads recorded series beside the rules."""

    site: Site
    jobs: frozenset[str]
    scrape_interval: float
    retention: float
    readers: frozenset[str]
    runbooks: frozenset[str]
    shown: Mapping[str, frozenset[str]]  # alert -> the situations in which a test shows it; see baselines.py


@dataclass(frozen=True)
class World:
    """Everything that is exported, recorded and installed."""

    series: Mapping[str, Series]
    rules: tuple[Rule, ...]
    here: Installation
    _found: dict[tuple[str, str, int], Labels] = field(default_factory=dict)

    @cached_property
    def read(self) -> frozenset[str]:
        """Give the names that some rule, dashboard or page of docs/ reads."""
        named = {name_of(selector) for rule in self.rules for selector, _ in selectors(rule.tree)}
        return self.here.readers | named

    def recorded(self, selector: VectorSelector) -> list[Rule]:
        """Give the rules that record what is selected; those whose own labels the matchers exclude are left out."""
        name = name_of(selector)
        return [
            rule for rule in self.rules if rule.kind == "record" and rule.name == name and not _excluded(rule, selector)
        ]

    def labels(self, node: Expr, depth: int = 0) -> Labels:
        """Give the labels of a result."""
        return labels(node, lambda selector: self._of_selector(selector, depth))

    def _of_selector(self, selector: VectorSelector, depth: int) -> Labels:
        key = (name_of(selector), str(selector.matchers), depth)
        if key not in self._found:
            self._found[key] = self._looked_up(selector, depth)
        same = frozenset(m.name for m in selector.matchers.matchers if m.op == MatchOp.Equal and m.value)
        looked_up = self._found[key]
        return Labels(looked_up.certain | same, looked_up.possible, looked_up.fixed | same)

    def _looked_up(self, selector: VectorSelector, depth: int) -> Labels:
        series = self.series.get(name_of(selector))
        if series:
            return Labels(series.certain, series.possible)
        rules = self.recorded(selector)
        if not rules or depth > _DEEP:
            return ANYTHING
        every = [self.of_rule(rule, depth + 1) for rule in rules]
        result = every[0]
        for other in every[1:]:
            result = result.either(other)
        return result

    def of_rule(self, rule: Rule, depth: int = 0) -> Labels:
        """Give the labels of what a rule records or alerts with."""
        result = self.labels(rule.tree, depth)
        for name, text in rule.labels.items():
            one = frozenset([name])
            result = result.plus(one, fixed="{{" not in text) if text else result.without(one)
        return result

    def constants(self, node: Expr, depth: int = 0) -> frozenset[float] | None:
        """Give the numbers that an expression may be, when that is known."""
        node = bare(node)
        if isinstance(node, promql.NumberLiteral):
            return frozenset([node.val])
        if operator(node) == "vector":
            return self.constants(node.args[0], depth)  # type: ignore[attr-defined]  # a Call
        if isinstance(node, promql.UnaryExpr):
            inner = self.constants(node.expr, depth)
            return None if inner is None else frozenset(-n for n in inner)
        if isinstance(node, BinaryExpr) and str(node.op) in _ARITHMETIC:
            return self._calculated(node, depth)
        if isinstance(node, VectorSelector) and depth < _DEEP:
            every = [self.constants(rule.tree, depth + 1) for rule in self.recorded(node)]
            if every and None not in every:
                return frozenset(number for one in every if one is not None for number in one)
        return None

    def _calculated(self, node: BinaryExpr, depth: int) -> frozenset[float] | None:
        left, right = self.constants(node.lhs, depth), self.constants(node.rhs, depth)
        if left is None or right is None or (str(node.op) == "/" and 0 in right):
            return None
        return frozenset(_ARITHMETIC[str(node.op)](a, b) for a, b in product(left, right))


def _excluded(rule: Rule, selector: VectorSelector) -> bool:
    for matcher in selector.matchers.matchers:
        value = rule.labels.get(matcher.name)
        if value is not None and "{{" not in value and not matches(matcher, value):
            return True
    return False


def matches(matcher: promql.Matcher, value: str) -> bool:
    """Say whether a matcher takes this value; a pattern that Python does not read takes all."""
    if matcher.op in (MatchOp.Equal, MatchOp.NotEqual):
        return bool((matcher.value == value) == (matcher.op == MatchOp.Equal))
    try:
        return bool(bool(re.fullmatch(matcher.value, value)) == (matcher.op == MatchOp.Re))
    except re.error:
        return True


def installation(root: Path = ROOT) -> Installation:
    """Read prometheus.yml and the names that dashboards, runbooks and the receiver read; ValueError says what fails."""
    path = root / "deploy/config/prometheus.yml"
    try:
        text = path.read_text("utf-8")
        config = yaml.safe_load(text)
        told = _RETENTION.search(text)
        here, ours = site.read(root / site.TABLE), site.read()
        return Installation(
            here,
            # A job that this site does not have stays known: its rules are left as they are and stay silent.
            frozenset(job["job_name"] for job in config["scrape_configs"])
            | frozenset(expected_rules.read(root).without),
            parse_duration(config["global"]["scrape_interval"]).total_seconds(),
            parse_duration(told[1] if told else _DEFAULT_RETENTION).total_seconds(),
            frozenset(
                name
                for folder, pattern in ((root, "grafana/dashboards/*.json"), (root, "docs/**/*.md"), (ROOT, _RECEIVER))
                for file in folder.glob(pattern)
                for name in _recorded(file.read_text("utf-8"), here, ours)
            ),
            frozenset(page.name for page in root.glob("docs/runbooks/*.md")),
            shown(root / "rules/tests") | _generated(root),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _recorded(text: str, here: Site, ours: Site) -> list[str]:
    """Give the recorded series that a text of ours names, by the names of this site."""
    return RECORDED.findall(text if here == ours else here.adapted(text, ours))


def _generated(root: Path) -> dict[str, frozenset[str]]:
    """Give what our tests show of burn rates: the generator writes the same alerts for every site."""
    ours = {} if root == ROOT else shown(ROOT / "rules/tests")
    return {name: told for name, told in ours.items() if name.startswith("SLO")}


def world(rules: tuple[Rule, ...], root: Path = ROOT) -> World:
    """Put it together; ValueError names a file of the product that cannot be read."""
    return World(known(root), rules, installation(root))
