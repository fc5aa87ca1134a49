"""`python -m rules.check FILE ...`: lint these files and run the promtool tests that concern them, in a few seconds.

Of each test file that speaks of the files' alerts or series, only these cases run, over only the rules that they read.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from rules.lint.__main__ import main as lint
from rules.lint.expression import name_of, selectors
from rules.lint.source import Rule, read
from rules.site import ROOT

Content = dict[str, Any]


class Loader(yaml.CSafeLoader):
    """YAML as promtool reads it: `0x15` is a series of zeros, not a hexadecimal number."""


_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d*)$")
Loader.yaml_implicit_resolvers = {
    first: [(tag, _INTEGER if tag.endswith(":int") else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def concerned(test: Content, names: set[str]) -> Content | None:
    """Return a test file with only the cases about these alerts and series; None if there are none."""
    kept = []
    for one in test["tests"]:
        asked = [case for case in one.get("alert_rule_test", []) if case["alertname"] in names]
        read_ = [case for case in one.get("promql_expr_test", []) if names & _read_by(case["expr"])]
        if asked or read_:
            kept.append(one | {"alert_rule_test": asked, "promql_expr_test": read_})
    return test | {"tests": kept} if kept else None


def _read_by(expression: str) -> set[str]:
    return {name_of(selector) for selector, _ in selectors(promql_parser.parse(expression))}


def needed(test: Content, rules: Iterable[Rule]) -> set[str]:
    """Return the names of the rules that these cases read, directly or indirectly."""
    sources = {rule.name: set[str]() for rule in rules}
    for rule in rules:
        sources[rule.name] |= {name_of(selector) for selector, _ in selectors(rule.tree)}
    names_read: set[str] = set()
    waiting = {case["alertname"] for one in test["tests"] for case in one["alert_rule_test"]}
    waiting |= {name for one in test["tests"] for case in one["promql_expr_test"] for name in _read_by(case["expr"])}
    while waiting:
        names_read |= waiting
        waiting = {source for name in waiting & set(sources) for source in sources[name]} - names_read
    return names_read


def _failure(promtool: Path, folder: Path, rules: list[Rule], name: str, test: Content) -> str:
    """Run the cases of one file; return promtool's output, or an empty string if they pass."""
    wanted = needed(test, rules)
    with tempfile.TemporaryDirectory() as place:
        for pattern in test["rule_files"]:
            for path in sorted((folder / "tests").glob(pattern)):
                content = yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506  # one of the two safe ones
                groups = [
                    group | {"rules": [r for r in group["rules"] if r.get("alert", r.get("record")) in wanted]}
                    for group in content["groups"]
                ]
                (Path(place) / path.name).write_text(yaml.safe_dump({"groups": groups}), "utf-8")
        there = [path.name for path in sorted(Path(place).glob("*.yml"))]
        (Path(place) / "test.yml").write_text(yaml.safe_dump(test | {"rule_files": there}), "utf-8")
        command = [str(promtool), "test", "rules", "test.yml"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    return f"{folder / 'tests' / name}: {(done.stdout + done.stderr).strip()}\n" if done.returncode else ""


def _tests(folder: Path) -> dict[str, Content]:
    """Read every test file; ValueError names one that cannot be read."""
    contents = {}
    for path in sorted((folder / "tests").glob("*.yml")):
        try:
            contents[path.name] = yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506  # a safe one
            if not {"rule_files", "tests"} <= set(contents[path.name] or ()):
                raise ValueError(f"{path}: a test file has `rule_files` and `tests`")
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {getattr(error, 'problem', None) or error}") from error
    return contents


def _chosen(rules: list[Rule], only: list[str]) -> list[Rule]:
    unknown = set(only) - {rule.name for rule in rules}
    if unknown:
        raise ValueError(f"no rule in these files is called {', '.join(sorted(unknown))}")
    return [rule for rule in rules if rule.name in only] if only else rules


def _run(promtool: Path, folder: Path, chosen: list[Rule]) -> int:
    rules = [rule for path in sorted(folder.glob("*.yml")) for rule in read(path).rules]
    names = {rule.name for rule in chosen}
    cut = {name: mine for name, test in _tests(folder).items() if (mine := concerned(test, names))}
    groups = [one for test in cut.values() for one in test["tests"]]
    tested = {case["alertname"] for one in groups for case in one["alert_rule_test"]}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = [text for text in pool.map(partial(_failure, promtool, folder, rules), cut, cut.values()) if text]
    said += [
        f"{rule.file}:{rule.line}: {rule.name}: no test fires it or keeps it from firing (see docs/rules.md)\n"
        for rule in chosen
        if rule.alerts and rule.name not in tested
    ]
    sys.stdout.writelines(said)
    cases = sum(len(one["alert_rule_test"]) + len(one["promql_expr_test"]) for one in groups)
    sys.stdout.write("" if said else f"{cases} cases of {len(cut)} test files pass\n")
    return 1 if said else 0


def main(arguments: list[str]) -> int:
    """Return 0 if lint and tests pass, 1 after printing what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m rules.check", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--only", action="append", metavar="NAME", help="run the tests of this alert or series alone")
    parser.add_argument("--promtool", type=Path, default=ROOT / ".stack/bin/promtool")
    options = parser.parse_args(arguments)
    promtool = options.promtool.absolute()
    if lint([*map(str, options.files), "--promtool", str(promtool)]):
        return 1
    try:
        chosen = _chosen([rule for path in options.files for rule in read(path).rules], options.only or [])
        return _run(promtool, options.files[0].parent, chosen)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
