"""Check that every alert has a test in which it fires and one in which it does not; promtool does not check this.

`python -m rules.coverage`. Refused by name: an alert that no test makes fire or shows quiet, a test that speaks of an
alert that does not exist, a pattern of rule files that matches none.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# It always fires, so there cannot be a test in which it does not.
ALWAYS = "Watchdog"


@dataclass
class Coverage:
    """The coverage of the tests, and what is missing, naming file or alert."""

    alerts: set[str] = field(default_factory=set)
    firing: set[str] = field(default_factory=set)
    quiet: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def figure(self) -> str:
        """Return the coverage in one line."""
        silent = self.alerts - {ALWAYS}
        shown, asked = len(self.firing) + len(self.quiet), len(self.alerts) + len(silent)
        share = 100 * shown / asked if asked else 0
        # Rounded down, so that 100% means all.
        return (
            f"{len(self.firing)} of {len(self.alerts)} alerts have a test that fires, "
            f"{len(self.quiet)} of {len(silent)} one that does not: {int(share)}%"
        )


def coverage(rules: Path, tests: Path) -> Coverage:
    """Read all rule files and all test files.

    Raises:
        ValueError: a file is not YAML of the expected shape, or there is none.

    """
    result = Coverage()
    for path in _files(rules):
        result.alerts |= {rule["alert"] for rule in _rules(path) if "alert" in rule}
    for path in _files(tests):
        content = _read(path, "tests")
        result.faults += _unmatched(path, content.get("rule_files", []))
        for case in _cases(content):
            if case["alertname"] not in result.alerts:
                result.faults.append(f"{path}: unknown alert {case['alertname']}")
                continue
            (result.firing if case.get("exp_alerts") else result.quiet).add(case["alertname"])
    result.quiet.discard(ALWAYS)
    for name in sorted(result.alerts - result.firing):
        result.faults.append(f"{tests}: no test fires {name}; add one")
    for name in sorted(result.alerts - result.quiet - {ALWAYS}):
        result.faults.append(f"{tests}: no test in which {name} does not fire; add one below its threshold")
    return result


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.yml"))
    if not paths:
        raise ValueError(f"{folder} contains no *.yml")
    return paths


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise ValueError(f"{path}: missing list {key}")  # noqa: TRY004  # a file that is wrong, not a call
    return content


def _rules(path: Path) -> Iterator[dict[str, Any]]:
    for group in _read(path, "groups")["groups"]:
        yield from group.get("rules") or ()


def _cases(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for test in content["tests"]:
        yield from test.get("alert_rule_test") or ()


def _unmatched(path: Path, patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        if not list(path.parent.glob(pattern)):
            yield f"{path}: {pattern} matches no rule file"


def main(arguments: list[str]) -> int:
    """Print the coverage and return 0, or print what is missing and return 1."""
    parser = argparse.ArgumentParser(prog="python -m rules.coverage", description=__doc__)
    parser.add_argument("--rules.dir", dest="folder", type=Path, default=Path("rules"))
    options = parser.parse_args(arguments)
    try:
        result = coverage(options.folder, options.folder / "tests")
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for fault in result.faults:
        sys.stderr.write(f"{fault}\n")
    sys.stdout.write(f"{result.figure}\n")
    return 1 if result.faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
