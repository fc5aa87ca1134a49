"""Notes figures for bench/RESULTS.md, which `python -m bench.results` writes from what all benchmarks noted.

Without BENCH_FIGURES in the environment nothing is noted: a benchmark by itself only prints.
"""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path


def note(name: str, value: float, unit: str, *, at_most: float | None = None, at_least: float | None = None) -> None:
    """Note one figure, and the goal that it should meet."""
    _write({"name": name, "value": value, "unit": unit, "at_most": at_most, "at_least": at_least})


def note_pairs(
    what: str,
    unit: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    peer: str,
    *,
    less_is_better: bool = False,
    at_least: float | None = None,
) -> float:
    """Note figures of pairs of runs that took turns; gives the median ratio, above 1 where ours is better."""
    ratios = [b / a if less_is_better else a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    row = {"what": what, "unit": unit, "peer": peer, "ratio": ratio, "least": min(ratios), "most": max(ratios)}
    medians = {"ours": statistics.median(ours), "theirs": statistics.median(theirs), "pairs": len(ratios)}
    _write({**row, **medians, "at_least": at_least})
    return ratio


def _write(line: dict[str, object]) -> None:
    path = os.environ.get("BENCH_FIGURES")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
