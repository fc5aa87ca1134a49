"""Fits rule files and their tests to a site: only the rules whose series somebody exports or records there stay."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from promql_parser import MatchOp

from rules.check import Content, Loader
from rules.lint.expression import name_of, selectors
from rules.lint.source import Rule

_NAME = re.compile(r"[{ ]")
LEFT_OUT = "leave_out names it"


@dataclass(frozen=True)
class There:
    """What a site has: series that programs export, and jobs.

    ``unsure`` are rules that say to the lint that they read what some programs do not export; ``read`` are series that
    dashboards and the site's own rules read.
    """

    series: frozenset[str]
    jobs: frozenset[str]
    leave_out: frozenset[str]
    unsure: frozenset[str]
    read: frozenset[str]


def fitted(rules: Iterable[Rule], there: There, recorded: frozenset[str]) -> dict[str, str]:
    """Say which rules are left out, and why; ``recorded`` are series that other rules of the site record."""
    kept, left_out = list(rules), dict[str, str]()
    while True:
        names = there.series | recorded | {rule.name for rule in kept if not rule.alerts}
        read = there.read | {name for rule in kept for name in names_read(rule)}
        reasons = {rule.name: why for rule in kept if (why := _missing(rule, there, names, read))}
        if not reasons:
            return left_out
        left_out |= reasons
        kept = [rule for rule in kept if rule.name not in reasons]


def _missing(rule: Rule, there: There, names: frozenset[str], read: frozenset[str]) -> str:
    if rule.name in there.leave_out:
        return LEFT_OUT
    if not rule.alerts and rule.name not in read:
        return "nothing reads it"
    return missing(rule.tree, there.jobs, names | (names_read(rule) if rule.name in there.unsure else set()))


def names_read(rule: Rule) -> set[str]:
    """Give the series that a rule reads."""
    return {name_of(selector) for selector, _ in selectors(rule.tree)}


def missing(tree: promql_parser.Expr, jobs: frozenset[str], names: frozenset[str]) -> str:
    """Say what an expression reads that the site does not have; empty if nothing."""
    for selector, _ in selectors(tree):
        if name_of(selector) not in names:
            return f"nobody exports or records {name_of(selector)}"
        for matcher in selector.matchers.matchers:
            if matcher.name == "job" and matcher.op == MatchOp.Equal and matcher.value not in jobs:
                return f"there is no job {matcher.value}"
    return ""


def without(text: str, rules: Iterable[Rule], names: Iterable[str]) -> str:
    """Return a rule file without some of its rules, their comments, and groups that are empty then; "" if all are."""
    gone = set(names)
    lines = text.splitlines(keepends=True)
    drop: set[int] = set()
    for rule in rules:
        if rule.name in gone:
            first, last = rule.line - 1, rule.line - 1 + len(_own(rule.text))
            while lines[first - 1].lstrip().startswith("#"):
                first -= 1
            drop |= set(range(first, last))
    kept = "".join(line for number, line in enumerate(lines) if number not in drop)
    parts = re.split(r"(?m)^(?=  - name: )", kept)
    groups = [part for part in parts[1:] if re.search(r"(?m)^ +- (?:alert|record): ", part)]
    return re.sub(r"\n{3,}", "\n\n", "".join([parts[0], *groups])).rstrip("\n") + "\n" if groups else ""


def _own(text: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out the comments below a rule: they belong to the next rule or group."""
    last = len(text)
    while last > 1 and (not text[last - 1].strip() or text[last - 1].lstrip().startswith(("#", "- name: "))):
        last -= 1
    start = next((n for n, line in enumerate(text) if line.startswith("  - name: ")), last)
    while start > 1 and (not text[start - 1].strip() or text[start - 1].lstrip().startswith("#")):
        start -= 1
    return text[: min(last, start)]


@dataclass(frozen=True)
class Kept:
    """What there is to test: rule files with their groups, alerts, series, and our names of jobs that have others."""

    groups: Mapping[str, set[str]]
    alerts: frozenset[str]
    series: frozenset[str]
    jobs: Mapping[str, str]


def tests(test: Content, kept: Kept) -> Content:
    """Return a test file with the cases about what was kept; without any case, ``tests`` is empty."""
    there = [name for name in test["rule_files"] if Path(name).name in kept.groups]
    groups = {group for name in there for group in kept.groups[Path(name).name]}
    order = [group for group in test.get("group_eval_order", []) if group in groups]
    cases = [one for one in (_cases(one, kept) for one in test["tests"]) if one["alert_rule_test"] or _asks(one)]
    return test | {"tests": cases if there else [], "rule_files": there, "group_eval_order": order}


def _cases(test: Content, kept: Kept) -> Content:
    asked = [_named(case, kept.jobs) for case in test.get("alert_rule_test", []) if case["alertname"] in kept.alerts]
    read = [case for case in test.get("promql_expr_test", []) if _reads(case["expr"], kept)]
    given = [one for one in test.get("input_series") or () if _NAME.split(one["series"], maxsplit=1)[0] in kept.series]
    return test | {"input_series": given, "alert_rule_test": asked, "promql_expr_test": read}


def _asks(test: Content) -> bool:
    return bool(test["promql_expr_test"])


def _reads(expression: str, kept: Kept) -> bool:
    for selector, _ in selectors(promql_parser.parse(expression)):
        named = {one.value for one in selector.matchers.matchers if one.name == "alertname"}
        if name_of(selector) not in kept.series or not named <= kept.alerts:
            return False
    return True


def _named(case: Content, jobs: Mapping[str, str]) -> Content:
    """Say the site's names of jobs in what an alert is expected to say."""

    def said(alert: Content) -> Content:
        ours = [old for old, new in jobs.items() if new == alert.get("exp_labels", {}).get("job")]
        texts = alert.get("exp_annotations", {})
        for old in ours:
            texts = {key: re.sub(rf"\b{old}\b(?! exporter)", jobs[old], text) for key, text in texts.items()}
        return alert | {"exp_annotations": texts} if ours else alert

    return case | {"exp_alerts": [said(alert) for alert in case["exp_alerts"]]} if case.get("exp_alerts") else case


def loaded(text: str) -> Any:  # noqa: ANN401  # YAML
    """Read a test file as promtool does."""
    return yaml.load(text, Loader)  # noqa: S506  # a safe one


def dumped(test: Content) -> str:
    """Write a test file."""
    return yaml.safe_dump(test, sort_keys=False, width=1_000_000, allow_unicode=True)
