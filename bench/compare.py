"""Compares the figures of benchmarks in this tree with those of another revision: `make bench-compare BASE=rev`.

Each benchmark runs in turn in both trees, at least ten times in each, so that both meet the same load of the machine;
which of the two comes first alternates. The other revision is checked out in a git worktree, and its own benchmark
files are run. A figure is a number that a benchmark prints; it is recognised by the rest of its line. A pair of runs
gives a ratio, this tree's figure divided by the base's; the interval is the 95 % bootstrap interval of their median.
"""

import argparse
import contextlib
import itertools
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.load import ROOT

FAST = ("exporter_ingest", "exporter_durable", "exporter_scrape", "envelope_scan", "webhook_latency", "receiver_storm")
RESAMPLES, SEED = 2_000, 1
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?")


class Figure(NamedTuple):
    """Where a number stands: the line's text, which of several such lines it is, and which number of the line."""

    line: str
    repeat: int
    place: int


class Comparison(NamedTuple):
    """A figure of both trees over all pairs of runs; ``ratio`` is None if the base has a zero.

    ``line`` is what the benchmark printed, with ~ for what varies; ``name`` is the part of it around the figure.
    """

    line: str
    name: str
    base: Sequence[float]
    new: Sequence[float]
    ratio: tuple[float, float, float] | None


def figures(output: str) -> dict[Figure, float]:
    """Give the numbers of what a benchmark printed."""
    seen: Counter[str] = Counter()
    numbers: dict[Figure, float] = {}
    for raw in output.splitlines():
        line = " ".join(raw.split())
        text = _NUMBER.sub("#", line)
        for place, number in enumerate(_NUMBER.findall(line)):
            numbers[Figure(text, seen[text], place)] = float(number.replace(",", ""))
        seen[text] += 1
    return numbers


def compared(base: Sequence[Mapping[Figure, float]], new: Sequence[Mapping[Figure, float]]) -> list[Comparison]:
    """Compare the figures that every run has; one that never changes belongs to the text of its line."""
    runs = [*base, *new]
    common = [figure for figure in runs[0] if all(figure in run for run in runs)]
    fixed = {f: runs[0][f] for f in common if len({run[f] for run in runs}) == 1}
    listed = []
    for figure in common:
        if figure not in fixed:
            ours, theirs = [run[figure] for run in new], [run[figure] for run in base]
            ratio = interval([a / b for a, b in zip(ours, theirs, strict=True)]) if all(theirs) else None
            listed.append(Comparison(_text(figure, fixed), _name(figure), theirs, ours, ratio))
    return listed


def _text(figure: Figure, fixed: Mapping[Figure, float]) -> str:
    """Write the line with its fixed numbers, and ~ for the others."""
    parts = figure.line.split("#")
    numbers = (fixed.get(figure._replace(place=place)) for place in range(len(parts) - 1))
    shown = ["~" if number is None else f"{number:,g}" for number in numbers]
    return "".join(f"{part}{number}" for part, number in zip(parts, [*shown, ""], strict=True))


def _name(figure: Figure) -> str:
    """Write the words next to the figure: two before it, and its unit."""
    before, after = figure.line.split("#")[figure.place : figure.place + 2]
    unit = after if after[:1] != " " else " " + after.split(" ")[1]
    return f"{' '.join(before.split()[-2:])} ~{unit.split(',')[0]}".strip(" ,;:()")


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Give the median and the 95 % bootstrap interval around it; the same values give the same interval."""
    chance = random.Random(SEED)  # noqa: S311  # a resample, no secret
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return statistics.median(values), medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


@contextlib.contextmanager
def checked_out(revision: str, patch: Path | None) -> Iterator[Path]:
    """Check a revision out beside this tree, with this tree's fetched programs and, if given, a patch on top."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "base"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), revision], cwd=ROOT, check=True)
        try:
            if (ROOT / ".stack").exists():
                (tree / ".stack").symlink_to((ROOT / ".stack").resolve())
            if patch:
                subprocess.run(["git", "apply", str(patch.resolve())], cwd=tree, check=True)
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def run(tree: Path, benchmark: str, words: Sequence[str] = ()) -> dict[Figure, float]:
    """Run a tree's own benchmark; SystemExit if it fails or prints no figure."""
    # Before they were a package, benchmarks were scripts.
    module = ["-m", f"bench.{benchmark}"] if (tree / "bench/__init__.py").exists() else [f"bench/{benchmark}.py"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *module, *words]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if not (numbers := figures(done.stdout)) or "Traceback" in done.stderr:
        raise SystemExit(f"{benchmark} fails in {tree}:\n{done.stderr[-2000:]}")
    return numbers


def pairs(base: Path, new: Path, benchmark: str, count: int, words: Sequence[str] = ()) -> list[Comparison]:
    """Run a benchmark alternately in both trees."""
    numbers: dict[Path, list[dict[Figure, float]]] = {base: [], new: []}
    for pair in range(count):
        print(f"{benchmark}: pair {pair + 1} of {count}", file=sys.stderr, flush=True)
        for tree in (base, new) if pair % 2 == 0 else (new, base):
            numbers[tree].append(run(tree, benchmark, words))
    return compared(numbers[base], numbers[new])


def show(benchmark: str, listed: Sequence[Comparison]) -> None:
    """Print a line of the benchmark and its figures; * marks a ratio whose interval does not contain 1."""
    print(f"== {benchmark}: median [least, most] of the base -> of this tree; median ratio [95 % interval]")
    for line, group in itertools.groupby(listed, key=lambda one: one.line):
        print(line)
        for one in group:
            print(f"    {one.name:<28} {_spread(one.base)} -> {_spread(one.new)}   {_ratio(one.ratio)}", flush=True)


def _spread(values: Sequence[float]) -> str:
    median, least, most = (
        f"{n:,.0f}" if n >= 1_000 else f"{n:.4g}" for n in (statistics.median(values), min(values), max(values))
    )
    return f"{median} [{least}, {most}]"


def _ratio(ratio: tuple[float, float, float] | None) -> str:
    if ratio is None:
        return "no ratio: the base has a zero"
    median, low, high = ratio
    return f"ratio {median:.3f} [{low:.3f}, {high:.3f}]" + ("" if low <= 1 <= high else " *")


def main() -> int:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("base", help="the revision to compare with")
    known.add_argument("benchmarks", nargs="*", default=FAST, help=f"by default {' '.join(FAST)}")
    known.add_argument("--pairs", type=int, default=10, help="runs in each tree (10)")
    known.add_argument("--patch", type=Path, help="a diff to apply to the base, where its benchmarks do not run")
    options = known.parse_args()
    with checked_out(options.base, options.patch) as base:
        for benchmark in options.benchmarks:
            show(benchmark, pairs(base, ROOT, benchmark, options.pairs))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
