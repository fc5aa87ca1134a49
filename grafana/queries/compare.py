"""`python -m grafana.queries.compare --prometheus.url U --other.url V`: compares the answers of two stores.

All that the dashboards ask is asked of both, for a store of long-term metrics that Prometheus writes to. Labels that
only the other has, such as external labels, are left out with --ignore. VictoriaMetrics calculates rate() in another
way than Prometheus: of queries with it and its kind only the series are compared, unless --strict is given.
https://docs.victoriametrics.com/victoriametrics/metricsql/#metricsql-features
"""

import argparse
import asyncio
import math
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from promql_parser import parse_duration

from grafana.lint.run import DASHBOARDS
from grafana.queries.plan import Request, Window, requests
from grafana.queries.prometheus import Answer, Points, UnreachableError
from grafana.queries.run import asked, load

Identity = frozenset[tuple[str, str]]
COUNTING = re.compile(r"\b(i?rate|increase|i?delta|changes|resets|deriv|predict_linear)\(")
SAME = 1e-9  # of a value: the order in which numbers are added up may differ
AGO = 1e-5  # seconds: VictoriaMetrics keeps fifteen digits, which of a time are microseconds
LOOKBACK = 300  # Prometheus shows a series that ended without a stale marker this long; others may not


@dataclass(frozen=True, slots=True)
class Difference:
    """A query with what differs; `lost` are series that the other does not have, `more` those that only it has."""

    request: Request
    lost: list[Identity]
    more: list[Identity]
    points: int = 0
    error: str = ""

    def __str__(self) -> str:
        """Say it in a line."""
        where = f"{self.request.document.board.uid} {self.request}"
        named = [f"{name} {_text(one[0])}" for name, one in (("lost", self.lost), ("more", self.more)) if one]
        points = [f"{self.points} points differ"] if self.points else []
        return f"{where}: {self.error or ', '.join([*named, *points])}"


def _text(identity: Identity) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(identity)) + "}"


def counting(request: Request) -> bool:
    """Say whether a query reads how much a counter grew, which the two may count differently."""
    return COUNTING.search(request.expr) is not None


def difference(ours: Answer, theirs: Answer, ignored: Sequence[str], *, strict: bool = False) -> Difference | None:
    """Compare the answers of Prometheus and of the other; None when they are the same."""
    if ours.error or theirs.error:
        return Difference(ours.request, [], [], error=ours.error or theirs.error)
    mine, other = _by_labels(ours, ignored), _by_labels(theirs, ignored)
    exact = strict or not counting(ours.request)
    # A counter of one sample has grown for VictoriaMetrics, which takes it to have begun at 0.
    lost, more = sorted(mine.keys() - other.keys(), key=_text), sorted(other.keys() - mine.keys(), key=_text)
    close = AGO if "time()" in ours.request.expr else 0.0
    points = sum(_differing(mine[one], other[one], close) for one in mine.keys() & other.keys()) if exact else 0
    if lost or points or (more and exact):
        return Difference(ours.request, lost, more if exact else [], points)
    return None


def _by_labels(answer: Answer, ignored: Sequence[str]) -> dict[Identity, Points]:
    # Functions as round() keep the name in MetricsQL; no legend shows it.
    dropped = {"__name__", *ignored}
    points = answer.points or ((),) * len(answer.series)
    named = ({name: value for name, value in labels.items() if name not in dropped} for labels in answer.series)
    return {frozenset(labels.items()): one for labels, one in zip(named, points, strict=True)}


def _differing(ours: Points, theirs: Points, close: float) -> int:
    """Count the points of which the two say something else."""
    mine, other = dict(ours), dict(theirs)
    both = mine.keys() & other.keys()
    wrong = sum(not math.isclose(float(mine[at]), float(other[at]), rel_tol=SAME, abs_tol=close) for at in both)
    return wrong + sum(not _after_the_end(at, both) for at in mine.keys() ^ other.keys())


def _after_the_end(at: float, both: Iterable[float]) -> bool:
    return any(at - LOOKBACK <= one < at for one in both)


def main(arguments: list[str]) -> int:
    """0 when all answers are the same; 1 with a line for each query of which they are not."""
    parser = argparse.ArgumentParser(prog="python -m grafana.queries.compare", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="dashboards; all of ours by default")
    parser.add_argument("--prometheus.url", dest="url", required=True, help="http://localhost:9090")
    parser.add_argument("--other.url", dest="other", required=True, help="http://localhost:8428")
    parser.add_argument("--ignore", default="cluster,env", help="labels that only the other has (cluster,env)")
    parser.add_argument("--range", default="6h", help="how much time the dashboards show (6h)")
    parser.add_argument("--at", type=float, help="until when, in Unix seconds; a minute ago otherwise")
    parser.add_argument("--strict", action="store_true", help="compare the values of rate() and increase(), too")
    options = parser.parse_args(arguments)
    ignored = options.ignore.split(",")
    try:
        end = options.at or time.time() - 60  # noqa: TID251  # a command line's own now
        window = Window(end - parse_duration(options.range).total_seconds(), end)
        documents = load(options.files or sorted(DASHBOARDS.glob("*.json")))
        wanted = [one for each in documents for one in requests(each, window) if one.label not in ignored]
        ours, theirs = (asyncio.run(asked(url, wanted, window)) for url in (options.url, options.other))
    except (ValueError, UnreachableError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    found = [difference(*pair, ignored, strict=options.strict) for pair in zip(ours, theirs, strict=True)]
    sys.stdout.writelines(f"{one}\n" for one in found if one)
    loose = 0 if options.strict else sum(map(counting, wanted))
    wrong = sum(one is not None for one in found)
    sys.stdout.write(f"{len(wanted)} queries, {wrong} with other answers; of {loose} only the series were compared\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
