"""`python -m rules.check FILE ...`: the lint and the promtool tests that concern these files, in a few seconds.

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
from rules.lint.world import ROOT

Content = dict[str, Any]
_TESTS = ROOT / "rules/tests"


class _Loader(yaml.CSafeLoader):
    """YAML as promtool reads it: `0x15` is sixteen zeros there, and no number in hexadecimal."""


_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d*)$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, _INTEGER if tag.endswith(":int") else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def concerned(test: Content, names: set[str]) -> Content | None:
    """Give a test file with only the cases about these alerts and series; None when it has none."""
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
    """Give the names of the rules that these cases read, straight or through others."""
    sources = {rule.name: set[str]() for rule in rules}
    for rule in rules:
        sources[rule.name] |= {name_of(selector) for selector, _ in selectors(rule.tree)}
    found: set[str] = set()
    waiting = {case["alertname"] for one in test["tests"] for case in one["alert_rule_test"]}
    waiting |= {name for one in test["tests"] for case in one["promql_expr_test"] for name in _read_by(case["expr"])}
    while waiting:
        found |= waiting
        waiting = {source for name in waiting & set(sources) for source in sources[name]} - found
    return found


def _passes(promtool: Path, rules: list[Rule], name: str, test: Content) -> str:
    """Run the cases of one file; give what promtool says, or nothing when they pass."""
    wanted = needed(test, rules)
    with tempfile.TemporaryDirectory() as folder:
        for pattern in test["rule_files"]:
            for path in sorted(_TESTS.glob(pattern)):
                content = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506  # one of the two safe ones
                groups = [
                    group | {"rules": [r for r in group["rules"] if r.get("alert", r.get("record")) in wanted]}
                    for group in content["groups"]
                ]
                (Path(folder) / path.name).write_text(yaml.safe_dump({"groups": groups}), "utf-8")
        there = [path.name for path in sorted(Path(folder).glob("*.yml"))]
        (Path(folder) / "test.yml").write_text(yaml.safe_dump(test | {"rule_files": there}), "utf-8")
        command = [str(promtool), "test", "rules", "test.yml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    return f"rules/tests/{name}: {done.stdout}{done.stderr}" if done.returncode else ""


def main(arguments: list[str]) -> int:
    """0 when the lint and the tests pass; 1 with what they say otherwise."""
    parser = argparse.ArgumentParser(prog="python -m rules.check", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--only", action="append", metavar="NAME", help="run the tests of this alert or series alone")
    parser.add_argument("--promtool", type=Path, default=ROOT / ".stack/bin/promtool")
    options = parser.parse_args(arguments)
    promtool = options.promtool.absolute()
    if lint([*map(str, options.files), "--promtool", str(promtool)]):
        return 1
    rules = [rule for path in sorted((ROOT / "rules").glob("*.yml")) for rule in read(path).rules]
    names = {rule.name for path in options.files for rule in read(path).rules}
    unknown = set(options.only or ()) - names
    if unknown:
        sys.stderr.write(f"no rule of these files is called {', '.join(sorted(unknown))}\n")
        return 1
    tests = {path.name: yaml.load(path.read_text("utf-8"), _Loader) for path in sorted(_TESTS.glob("*.yml"))}  # noqa: S506
    cut = {name: mine for name, test in tests.items() if (mine := concerned(test, set(options.only or names)))}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = [text for text in pool.map(partial(_passes, promtool, rules), cut, cut.values()) if text]
    cases = sum(len(one["alert_rule_test"]) + len(one["promql_expr_test"]) for t in cut.values() for one in t["tests"])
    sys.stdout.writelines(said)
    sys.stdout.write(f"{cases} cases of {len(cut)} test files {'fail' if said else 'pass'}\n")
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
