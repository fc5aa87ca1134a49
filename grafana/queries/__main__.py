"""`python -m grafana.queries --prometheus.url U [FILE ...]`: asks all that dashboards ask, and judges the answers."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from promql_parser import parse_duration

from grafana.lint.run import DASHBOARDS
from grafana.queries import quiet
from grafana.queries.plan import Window, requests
from grafana.queries.prometheus import Answer, UnreachableError
from grafana.queries.run import load, run
from grafana.queries.verdict import repeated


def main(arguments: list[str]) -> int:
    """0 when every query gives data and every legend is one series; 1 with a message for each that does not."""
    parser = argparse.ArgumentParser(prog="python -m grafana.queries", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="dashboards; all of ours by default")
    parser.add_argument("--prometheus.url", dest="url", required=True, help="http://localhost:9090")
    parser.add_argument("--range", default="1h", help="how much time the dashboards show, as 6h or 24h (1h)")
    parser.add_argument("--at", type=float, help="until when, in Unix seconds; now otherwise")
    parser.add_argument("--format", choices=("text", "github"), default="text")
    options = parser.parse_args(arguments)
    try:
        length = parse_duration(options.range).total_seconds()
        end = options.at or time.time()  # noqa: TID251  # a command line's own now
        documents = load(options.files or sorted(DASHBOARDS.glob("*.json")))
        window = Window(end - length, end)
        entries = quiet.read()
        if options.files:  # the others' entries are no concern of theirs
            entries = quiet.concerning(entries, {(d.board.uid, r.key) for d in documents for r in requests(d, window)})
        outcome = asyncio.run(run(options.url, documents, window, entries))
    except (ValueError, UnreachableError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.format == "text":
        sys.stdout.writelines(f"{line}\n" for line in table(outcome.answers))
    sys.stdout.writelines(one.github if options.format == "github" else one.plain for one in outcome.findings)
    return 1 if outcome.findings else 0


def table(answers: Sequence[Answer]) -> Iterator[str]:
    """Write a line for each query, and one for all."""
    yield f"{'DASHBOARD':<22}{'QUERY':<62}{'SERIES':>7}{'SHARED':>8}{'MS':>7}"
    for answer in answers:
        uid, place = answer.request.document.board.uid, str(answer.request)
        shown = place if len(place) < 60 else f"{place[:48]}…{place[-10:]}"  # noqa: PLR2004  # the width of the column
        shared = len(repeated([answer]))
        yield f"{uid:<22}{shown:<62}{len(answer.series):>7}{shared:>8}{answer.seconds * 1000:>7.0f}"
    empty = sum(not answer.series for answer in answers)
    failed = sum(bool(answer.error) for answer in answers)
    yield f"{len(answers)} queries, {failed} failed, {empty} without data"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
