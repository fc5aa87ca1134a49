"""Run many mutants next to their originals, under unique names, so that one promtool run tests all of them.

A mutant of an alert is one more alert with another name, and each case of a test that asks for the alert is written a
second time for it. A mutant of a recorded series takes copies of everything that reads the series along. What is loaded
and evaluated once serves all of them: hundreds of mutants cost little more than the test by itself.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from promql_parser import parse_duration

from rules.mutation import TOKEN, Mutant, Place, Rule
from rules.reading import Rules

Case = dict[str, Any]
_ASIDE = "__mutant_"
_NUMBER = re.compile(rf"{_ASIDE}(\d+)\b")
_ALERT = re.compile(r'(?<=\balertname=")\w+(?=")')
_REPORTED = re.compile(r"^\s*(?:alertname|expr|rule): .*$", re.MULTILINE)


@dataclass(frozen=True)
class Test:
    """One test of a promtool file, with its rule files and the file's global settings."""

    file: str
    rule_files: tuple[str, ...]
    head: dict[str, Any]
    content: dict[str, Any]

    @property
    def alerts(self) -> list[Case]:
        """Return its alert cases."""
        return self.content.get("alert_rule_test") or []

    @property
    def expressions(self) -> list[Case]:
        """Return its expression cases."""
        return self.content.get("promql_expr_test") or []


@dataclass
class Batch:
    """One test with its rules and the mutants next to them: the input of promtool."""

    test: Test
    contents: Mapping[str, Any]
    rules: Rules
    needed: set[Place]
    copies: dict[Place, list[Rule]] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    asked: list[Case] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)

    def add(self, number: int, mutant: Mutant) -> bool:
        """Add a mutant next to its original; False if no case of this test can detect it."""
        if mutant.place not in self.needed:
            return False
        moved = self.rules.downstream(mutant.place) & self.needed
        names = {self.rules.at[place]["record"] for place in moved if "record" in self.rules.at[place]}
        alerts = {self.rules.at[place]["alert"] for place in moved if "alert" in self.rules.at[place]}
        cases = [case | {"alertname": _aside(case["alertname"], number)} for case in self._about(alerts)]
        asked = [_expression(case, names | alerts, number) for case in self._reading(moved)]
        if not cases and not asked:
            return False
        # Rules that share a name with a copy are read together with it, so they are copied, too.
        moved |= {place for place in self.needed if self.rules.at[place].get("record") in names}
        for place in moved:
            rule = mutant.rule if place == mutant.place else self.rules.at[place]
            self.copies.setdefault(place, []).append(_renamed(rule, names, number))
        self.cases += cases
        self.asked += asked
        self.numbers.add(number)
        return True

    def files(self, folder: str) -> dict[str, Any]:
        """Return path -> content: the rule files, and the test at `<folder>/test.yml`."""
        contents: dict[str, Any] = {}
        for place in self.rules.at:
            if place in self.needed:
                groups = contents.setdefault(f"{folder}/{place.file}", {"groups": []})["groups"]
                if not groups or groups[-1]["name"] != place.group:
                    groups.append({"name": place.group, "rules": []})
                groups[-1]["rules"] += [self.rules.at[place], *self.copies.get(place, [])]
        content = self.test.content | {
            "alert_rule_test": self.test.alerts + self.cases,
            "promql_expr_test": self.test.expressions + self.asked,
        }
        order = [group["name"] for content in contents.values() for group in content["groups"]]
        names = [name.rpartition("/")[2] for name in contents]
        test = self.test.head | {"rule_files": names, "group_eval_order": order, "tests": [content]}
        return contents | {f"{folder}/test.yml": test}

    def _about(self, alerts: set[str]) -> list[Case]:
        return [case for case in self.test.alerts if case["alertname"] in alerts]

    def _reading(self, moved: set[Place]) -> list[Case]:
        return [case for case in self.test.expressions if self.rules.read_by(case["expr"]) & moved]

    @property
    def cost(self) -> int:
        """Estimate the cost of the test, in rule evaluations."""
        ends = [_seconds(str(case["eval_time"])) for case in self.test.alerts + self.test.expressions]
        return len(self.needed) * int(max(ends, default=0) / _seconds(self.test.head.get("evaluation_interval", "1m")))


def tests(file: str, content: Mapping[str, Any]) -> list[Test]:
    """Split a promtool file into its tests."""
    head = {key: value for key, value in content.items() if key not in {"tests", "rule_files", "group_eval_order"}}
    names = tuple(name.rpartition("/")[2] for name in content["rule_files"])
    return [Test(file, names, head, one) for one in content["tests"]]


def batch(test: Test, contents: Mapping[str, Any]) -> Batch:
    """Return a test with the rules it needs, without mutants."""
    rules = Rules({name: contents[name] for name in test.rule_files})
    names = {case["alertname"] for case in test.alerts}
    asked = {place for place, rule in rules.at.items() if rule.get("alert") in names}
    asked |= {place for case in test.expressions for place in rules.read_by(case["expr"])}
    return Batch(test, contents, rules, rules.upstream(asked))


def noticed(said: str) -> tuple[set[int], set[int], list[str]]:
    """Parse promtool's report: mutants that failed a case, mutants that failed to evaluate, and other failures."""
    failed, broken, others = set[int](), set[int](), []
    for line in _REPORTED.findall(said):
        numbers = {int(number) for number in _NUMBER.findall(line)}
        (broken if line.lstrip().startswith("rule:") else failed).update(numbers)
        if not numbers:
            others.append(line.strip())
    return failed, broken, others


def _seconds(duration: str) -> float:
    # The parser does not accept 0, and a test may evaluate at time 0.
    return parse_duration(duration).total_seconds() if re.search("[1-9]", duration) else 0


def _aside(name: str, number: int) -> str:
    return f"{name}{_ASIDE}{number}"


def _moved(expression: str, names: Iterable[str], number: int) -> str:
    """Return the expression with copies instead of originals: series by name, alerts by ALERTS{alertname="…"}."""

    def new(token: re.Match[str]) -> str:
        if token.lastgroup == "labels":
            return _ALERT.sub(lambda name: _aside(name[0], number) if name[0] in names else name[0], token[0])
        return _aside(token[0], number) if token.lastgroup == "name" and token[0] in names else token[0]

    return TOKEN.sub(new, expression)


def _renamed(rule: Rule, names: set[str], number: int) -> Rule:
    key = "alert" if "alert" in rule else "record"
    return rule | {key: _aside(rule[key], number), "expr": _moved(str(rule["expr"]), names, number)}


def _expression(case: Case, names: set[str], number: int) -> Case:
    samples = [one | {"labels": _moved(one["labels"], names, number)} for one in case.get("exp_samples") or []]
    return case | {"expr": _moved(case["expr"], names, number), "exp_samples": samples}
