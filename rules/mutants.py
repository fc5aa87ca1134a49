"""Runs the tests of the rules over every mutant of every rule, and tells which ones no test notices.

`python -m rules.mutants [FILE …]`. For each mutant only the tests that can notice it run, over only the rules that they
need: seconds instead of minutes each. A mutant that may live is listed in rules/tables/survivors.yml with the reason.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import track

from rules.mutation import Mutant, Rule, mutants

Content = dict[str, Any]
_SERIES = re.compile(r"(?<![\w:])[A-Za-z_][\w:]*")


@dataclass(frozen=True)
class Bench:
    """The rules and their tests as read, and the promtool that judges."""

    rules: dict[str, Content]
    tests: dict[str, Content]
    promtool: Path

    def survives(self, mutant: Mutant) -> bool:
        """Say whether all tests still pass with the mutant in the place of its rule."""
        rules = {
            name: _with(content, mutant) if name == mutant.file else content for name, content in self.rules.items()
        }
        original = self.rules[mutant.file]
        rule = next(g for g in original["groups"] if g["name"] == mutant.group)["rules"][mutant.position]
        return all(self._passes(rules, test) for test in self.concerned(mutant.file, rule))

    def concerned(self, file: str, rule: Rule) -> list[Content]:
        """Give the test files that load this rule's file, cut down to the cases that the rule can change."""
        if "alert" in rule:
            alerts, series = {str(rule["alert"])}, set[str]()
        else:
            alerts, series = self._readers(str(rule["record"]))
        found = (_cut(test, alerts, series) for test in self.tests.values() if f"../{file}" in test["rule_files"])
        return [test for test in found if test["tests"]]

    def _readers(self, record: str) -> tuple[set[str], set[str]]:
        """Give the alerts that read a recorded series, straight or through others, and all these series."""
        series, alerts = {record}, set[str]()
        for _ in range(5):  # longer chains than five do not exist
            for rule in _rules(self.rules.values()):
                if series & set(_SERIES.findall(str(rule["expr"]))):
                    (alerts if "alert" in rule else series).add(str(rule.get("alert") or rule["record"]))
        return alerts, series

    def _passes(self, rules: dict[str, Content], test: Content) -> bool:
        wanted = _needed(rules.values(), test)
        with tempfile.TemporaryDirectory() as folder:
            for name in test["rule_files"]:
                content = {"groups": [_only(group, wanted) for group in rules[Path(name).name]["groups"]]}
                (Path(folder) / Path(name).name).write_text(yaml.safe_dump(content), "utf-8")
            here = test | {"rule_files": [Path(name).name for name in test["rule_files"]]}
            (Path(folder) / "test.yml").write_text(yaml.safe_dump(here), "utf-8")
            command = [str(self.promtool), "test", "rules", "test.yml"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # ours
        if done.returncode and not re.search(r"\b(exp|got):", done.stdout + done.stderr):
            raise RuntimeError(f"promtool refuses what it should test: {done.stdout}{done.stderr}")
        return done.returncode == 0


def _rules(contents: Iterable[Content]) -> list[Rule]:
    return [rule for content in contents for group in content["groups"] for rule in group["rules"]]


def _with(content: Content, mutant: Mutant) -> Content:
    def changed(group: Content) -> Content:
        rules = [mutant.rule if n == mutant.position else rule for n, rule in enumerate(group["rules"])]
        return group | {"rules": rules} if group["name"] == mutant.group else group

    return {"groups": [changed(group) for group in content["groups"]]}


def _cut(test: Content, alerts: set[str], series: set[str]) -> Content:
    """Give a test file with only the cases about these alerts and series."""
    tests = []
    for one in test["tests"]:
        asked = [case for case in one.get("alert_rule_test", []) if case["alertname"] in alerts]
        read = [case for case in one.get("promql_expr_test", []) if series & set(_SERIES.findall(case["expr"]))]
        if asked or read:
            tests.append(one | {"alert_rule_test": asked, "promql_expr_test": read})
    return test | {"tests": tests}


def _needed(contents: Iterable[Content], test: Content) -> set[str]:
    """Give the names of the alerts and series that the cases of a test file need, straight or through others."""
    rules = _rules(contents)
    needed = {case["alertname"] for one in test["tests"] for case in one["alert_rule_test"]}
    needed |= {
        name for one in test["tests"] for case in one["promql_expr_test"] for name in _SERIES.findall(case["expr"])
    }
    for _ in range(5):
        for rule in rules:
            if (rule.get("alert") or rule["record"]) in needed:
                needed |= set(_SERIES.findall(str(rule["expr"])))
    return needed


def _only(group: Content, wanted: set[str]) -> Content:
    return group | {"rules": [rule for rule in group["rules"] if (rule.get("alert") or rule["record"]) in wanted]}


def read(folder: Path) -> dict[str, Content]:
    """Give the content of each YAML file of a folder by its name."""
    return {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yml"))}


def main(arguments: list[str]) -> int:
    """0 when every mutant is noticed or excused; 1 with the list of the others."""
    parser = argparse.ArgumentParser(prog="python -m rules.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="names of rule files, as critical.yml; all of them by default")
    parser.add_argument("--rules.dir", dest="folder", type=Path, default=Path("rules"))
    parser.add_argument("--promtool", type=Path, default=Path(".stack/bin/promtool"))
    options = parser.parse_args(arguments)
    try:
        rules, tests = read(options.folder), read(options.folder / "tests")
        excused = yaml.safe_load((options.folder / "tables/survivors.yml").read_text("utf-8")) or {}
        chosen = [_known(Path(name).name, rules) for name in options.files] or list(rules)
        made = [mutant for name in chosen for mutant in mutants(name, rules[name])]
        survivors = _survivors(Bench(rules, tests, options.promtool.absolute()), made)
    except (OSError, ValueError, RuntimeError, yaml.YAMLError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _told(made, survivors, excused, complete=not options.files)


def _known(name: str, rules: dict[str, Content]) -> str:
    if name not in rules:
        raise ValueError(f"there is no rule file {name}; there are {', '.join(rules)}")
    return name


def _survivors(bench: Bench, made: list[Mutant]) -> list[Mutant]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        alive = pool.map(bench.survives, made)
        bar = partial(track, description="mutants", console=Console(stderr=True), total=len(made))
        return [mutant for mutant, lives in zip(made, bar(alive), strict=True) if lives]


def _told(made: list[Mutant], survivors: list[Mutant], excused: dict[str, str], *, complete: bool) -> int:
    names = {f"{mutant.name}: {mutant.what}": mutant for mutant in survivors}
    unexcused = [name for name in names if name not in excused]
    stale = [name for name in excused if name not in names] if complete else []
    for name in unexcused:
        sys.stdout.write(f"rules/{names[name].file}: {name}: no test notices\n")
    for name in stale:
        sys.stdout.write(f"rules/tables/survivors.yml: {name}: a test notices it, or it is no more; remove the line\n")
    killed, kept = len(made) - len(names), len(names) - len(unexcused)
    sys.stdout.write(f"{len(made)} mutants: {killed} noticed, {kept} excused, {len(unexcused)} unnoticed\n")
    return 1 if unexcused or stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
