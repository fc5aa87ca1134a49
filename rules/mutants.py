"""Run the tests of the rules on every mutant of every rule, and report mutants that no test detects.

`python -m rules.mutants [--sample] [FILE …]`. A mutant that may live is listed in rules/tables/survivors.yml with the
reason.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress

from rules.batch import Batch, Test, batch, noticed, tests
from rules.mutation import Mutant, Place, mutants

Content = dict[str, Any]
# promtool takes a while to start, and short runs let both cores finish at the same time.
MOST_TESTS, MOST_WORK = 12, 6000
_SUCCESS = re.compile(r"(?m)^\s*SUCCESS\n")


class MutationError(Exception):
    """The tests of the rules cannot be used; the message says why."""


class _Loader(yaml.CSafeLoader):
    """YAML with decimal numbers only: in promtool, `0x80` is a series of zeros, not 128."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:int"]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))


def read(folder: Path) -> dict[str, Content]:
    """Return name -> content of the YAML files in a folder."""
    return {path.name: yaml.load(path.read_text("utf-8"), _Loader) for path in sorted(folder.glob("*.yml"))}  # noqa: S506  # a safe one


@dataclass(frozen=True)
class Bench:
    """The rules, their tests, and the promtool to run."""

    rules: Mapping[str, Content]
    cases: list[Test]
    promtool: Path

    @staticmethod
    def of(folder: Path, promtool: Path) -> "Bench":
        """Read the rules in a folder and the tests below it."""
        cases = [test for file, content in read(folder / "tests").items() for test in tests(file, content)]
        return Bench(read(folder), cases, promtool.absolute())

    def failures(self) -> list[str]:
        """Run every test on the rules as they are; return promtool's reports of those that fail.

        Each test runs over the rules that it reads, which takes a third of the time that it takes over all.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            reports = pool.map(self.run, self._work())
        return [_SUCCESS.sub("", said) for said in reports if said]

    def unnoticed(self, made: list[Mutant]) -> list[Mutant]:
        """Return the mutants that pass all tests. Cheap tests run first; a mutant is dropped once a test detects it.

        Raises:
            MutationError: a test fails without any mutant, or promtool does not run.

        """
        alive = dict(enumerate(made))
        work = self._work()
        shown = Console(stderr=True)
        with Progress(console=shown, disable=not shown.is_terminal) as progress:
            bar = progress.add_task("mutants", total=len(work))

            def judge(some: list[Batch]) -> None:
                for number in self._noticed(some, dict(alive)):
                    alive.pop(number, None)
                progress.advance(bar)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(judge, work))
        return [alive[number] for number in sorted(alive)]

    def _work(self) -> list[list[Batch]]:
        return list(_shared(sorted((batch(case, self.rules) for case in self.cases), key=lambda one: one.cost)))

    def _noticed(self, some: list[Batch], left: Mapping[int, Mutant]) -> set[int]:
        """Run promtool until all mutants can be evaluated; one that cannot be evaluated counts as detected."""
        fresh = [batch(one.test, self.rules) for one in some]
        for one in fresh:
            for number, mutant in left.items():
                one.add(number, mutant)
        asked = [one for one in fresh if one.numbers]
        said = self.run(asked) if asked else ""
        failed, broken, others = noticed(said)
        if others or (said and not failed and not broken):
            files = ", ".join(sorted({one.test.file for one in asked}))
            raise MutationError(f"a test of {files} fails without any mutant: {'; '.join(others) or said.strip()}")
        if not broken:
            return failed
        rest = {number: mutant for number, mutant in left.items() if number not in failed | broken}
        return failed | broken | self._noticed(asked, rest)

    def run(self, some: list[Batch]) -> str:
        """Return promtool's output for some tests; empty if all pass."""
        with tempfile.TemporaryDirectory() as place:
            for number, one in enumerate(some):
                (Path(place) / str(number)).mkdir()
                for name, content in one.files(str(number)).items():
                    # JSON is valid YAML and fast to write.
                    (Path(place) / name).write_text(json.dumps(content), "utf-8")
            # One runs on each core: with threads for all of them, each needs a seventh more.
            env = {**os.environ, "GOMAXPROCS": "1"}
            command = [str(self.promtool), "test", "rules", *(f"{number}/test.yml" for number in range(len(some)))]
            try:
                done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)  # noqa: S603  # ours
            except OSError as error:
                raise MutationError(f"{self.promtool} does not run ({error.strerror}): run `make stack`") from error
        return done.stdout + done.stderr if done.returncode else ""


def _shared(work: list[Batch]) -> Iterator[list[Batch]]:
    """Distribute the tests over processes."""
    some: list[Batch] = []
    for one in work:
        if some and (len(some) == MOST_TESTS or sum(other.cost for other in [*some, one]) > MOST_WORK):
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def main(arguments: list[str]) -> int:
    """Return 0 if every mutant is detected or listed in survivors.yml, 1 after printing the others or an error."""
    parser = argparse.ArgumentParser(prog="python -m rules.mutants", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="one mutant of each rule, the middle one, instead of all")
    parser.add_argument("files", nargs="*", help="names of rule files, e.g. critical.yml (default: all)")
    parser.add_argument("--rules.dir", dest="folder", type=Path, default=Path("rules"))
    parser.add_argument("--promtool", type=Path, default=Path(".stack/bin/promtool"))
    options = parser.parse_args(arguments)
    try:
        bench = Bench.of(options.folder, options.promtool)
        excused = yaml.safe_load((options.folder / "tables/survivors.yml").read_text("utf-8")) or {}
        chosen = [_known(Path(name).name, bench.rules) for name in options.files] or list(bench.rules)
        made = [mutant for name in chosen for mutant in mutants(name, bench.rules[name])]
        made = _sample(made) if options.sample else made
        alive = bench.unnoticed(made)
    except (OSError, ValueError, MutationError, yaml.YAMLError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _told(made, alive, excused, complete=not options.files and not options.sample)


def _sample(made: Iterable[Mutant]) -> list[Mutant]:
    mutants_of_rule: dict[Place, list[Mutant]] = {}
    for mutant in made:
        mutants_of_rule.setdefault(mutant.place, []).append(mutant)
    return [some[len(some) // 2] for some in mutants_of_rule.values()]


def _known(name: str, rules: Mapping[str, Content]) -> str:
    if name not in rules:
        raise ValueError(f"unknown rule file {name} (expected one of {', '.join(rules)})")
    return name


def _told(made: list[Mutant], alive: list[Mutant], excused: Mapping[str, str], *, complete: bool) -> int:
    titles = {mutant.title for mutant in made} if not complete else set(excused)
    names = {mutant.title: mutant for mutant in alive}
    unexcused = [name for name in names if name not in excused]
    stale = [name for name in excused if name in titles and name not in names]
    for name in unexcused:
        sys.stdout.write(f"rules/{names[name].place.file}: {name}: no test detects this\n")
    for name in stale:
        sys.stdout.write(
            f"rules/tables/survivors.yml: {name}: a test detects it, or it no longer exists; remove the line\n"
        )
    killed, kept = len(made) - len(names), len(names) - len(unexcused)
    text = f"{killed} detected by a test, {kept} listed in rules/tables/survivors.yml, {len(unexcused)} undetected"
    sys.stdout.write(f"{len(made)} mutants of {len({mutant.name for mutant in made})} rules: {text}\n")
    return 1 if unexcused or stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
