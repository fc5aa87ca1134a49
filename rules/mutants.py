"""Runs the tests of the rules over every mutant of every rule, and tells which ones no test notices.

`python -m rules.mutants [FILE …]`. A mutant that may live is listed in rules/tables/survivors.yml with the reason.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress

from rules.batch import Batch, Test, batch, noticed, tests
from rules.mutation import Mutant, mutants

Content = dict[str, Any]


class MutationError(Exception):
    """The tests of the rules cannot judge; the text says why."""


class _Loader(yaml.CSafeLoader):
    """YAML where only decimal numbers are numbers: `0x80` is promtool's way to say 0, eighty times, and not 128."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:int"]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))


def read(folder: Path) -> dict[str, Content]:
    """Give the content of each YAML file of a folder by its name."""
    return {path.name: yaml.load(path.read_text("utf-8"), _Loader) for path in sorted(folder.glob("*.yml"))}  # noqa: S506  # a safe one


def unnoticed(made: list[Mutant], rules: Mapping[str, Content], cases: list[Test], promtool: Path) -> list[Mutant]:
    """Give the mutants that pass all tests: the cheap tests first, and each mutant only until one notices it.

    Raises:
        MutationError: a test fails without any mutant, or promtool does not run.

    """
    alive = dict(enumerate(made))
    work = sorted((batch(case, rules) for case in cases), key=lambda one: one.cost)
    with Progress(console=Console(stderr=True)) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = progress.add_task("mutants", total=len(work))

        def judge(one: Batch) -> None:
            left = {number: mutant for number, mutant in list(alive.items()) if one.add(number, mutant)}
            for number in _noticed(one, left, promtool) if left else ():
                alive.pop(number, None)
            progress.advance(bar)

        list(pool.map(judge, work))
    return [alive[number] for number in sorted(alive)]


def _noticed(one: Batch, left: dict[int, Mutant], promtool: Path) -> set[int]:
    """Run promtool until no mutant keeps it from evaluating the others: one that cannot be evaluated is noticed."""
    said = run({"here": one}, promtool)
    failed, broken, others = noticed(said)
    if others or (said and not failed and not broken):
        raise MutationError(f"rules/tests/{one.test.file}: fails without any mutant: {others or said}")
    if not broken:
        return failed
    again = batch(one.test, one.contents)
    rest = {number: mutant for number, mutant in left.items() if number not in failed | broken}
    more = _noticed(again, rest, promtool) if any([again.add(*pair) for pair in rest.items()]) else set()
    return failed | broken | more


def run(work: Mapping[str, Batch], promtool: Path) -> str:
    """Give what promtool says of some tests: nothing when all pass."""
    with tempfile.TemporaryDirectory() as place:
        for folder, one in work.items():
            (Path(place) / folder).mkdir()
            for name, content in one.files(folder).items():
                (Path(place) / name).write_text(json.dumps(content), "utf-8")  # JSON is YAML, and quickly written
        command = [str(promtool), "test", "rules", *(f"{folder}/test.yml" for folder in work)]
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)  # noqa: S603  # ours
        except OSError as error:
            raise MutationError(f"{promtool} does not run: {error}; run `make stack`") from error
    return done.stdout + done.stderr if done.returncode else ""
