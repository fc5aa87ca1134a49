"""Fills a Prometheus data folder with a month of the simulated school in which every alert has an outage of its own.

    python -m deploy.simulation.outages data/review [--days 30] [--until 2026-11-25T00:00:00Z] [--seed 1]

It holds what the rules read, with one label set of each of the exporter's families, every two minutes. What the rules
record of it is recorded, and ALERTS are there as if they had been evaluated. `python -m deploy.simulation.firings`
lists what each alert did.
"""

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from deploy.simulation import rule_results as rules
from deploy.simulation.application import Application, up
from deploy.simulation.blocks import LENGTHS, BlockError, Blocks
from deploy.simulation.counters import Counters
from deploy.simulation.machines import TARGETS, Machines
from deploy.simulation.monitoring import Watchers
from deploy.simulation.outages.changes import Outage, Outages
from deploy.simulation.outages.table import OUTAGES
from deploy.simulation.time_axis import DAY, Axis, incidents

SCRAPED, EVALUATED = 120, 240  # seconds between samples, and between evaluations; 30 days stay below 11,000 of these
BLOCK = LENGTHS[4]


def fill(folder: Path, end: int, days: int, seed: int, outages: Sequence[Outage]) -> int:
    """Write all of it; return the number of samples. BlockError says what promtool or Prometheus refused."""
    start = end - days * DAY
    axis = Axis(seed, start, SCRAPED, days * DAY // SCRAPED, incidents(seed, start - DAY, end))
    counters, wanted = Counters(), _names_in_rules()
    machines, watchers = Machines(counters).shown(axis), Watchers(counters).shown(axis)
    shown = chain(Application(counters).shown(axis, wanted), machines, watchers, up(axis, TARGETS))
    with Blocks(folder, BLOCK, {}) as into:
        for identity, values in Outages(outages, end).over(axis, shown):
            if identity.partition("{")[0] in wanted:
                into.add(identity, axis.times, values)
    samples = into.samples
    levels, alerts = rules.read()
    stretches = [rules.Stretch(start, end - 1, EVALUATED)]
    for level in levels:
        with Blocks(folder, BLOCK, {}) as into:
            rules.record(folder, level, stretches, into)
        samples += into.samples
    with Blocks(folder, BLOCK, {}) as into:
        rules.fire(folder, alerts, stretches, EVALUATED // 4, into)
    about = {"until": end, "days": days, "seed": seed, "outages": bool(outages)}
    (folder / "history.json").write_text(json.dumps(about), "utf-8")
    return samples + into.samples


def _names_in_rules() -> set[str]:
    text = "\n".join(path.read_text("utf-8") for path in sorted((rules.ROOT / "rules").glob("*.yml")))
    return set(re.findall(r"[a-zA-Z_:][\w:]*", text))


def _timestamp(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 when the folder is filled, 1 with a message when it is not."""
    parser = argparse.ArgumentParser(prog="python -m deploy.simulation.outages", description=__doc__)
    parser.add_argument("folder", type=Path, help="emptied first if an earlier run filled it")
    parser.add_argument("--days", type=int, default=30, help="length in days; outages before it are left out")
    parser.add_argument("--until", type=_timestamp, help="end time, e.g. 2026-11-25T00:00:00Z; default: now")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other incidents beside the outages")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / "history.json").exists():
        sys.stderr.write(f"{folder} is not empty and was not made by this program (expected an empty folder)\n")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "history.json").write_text("{}", "utf-8")  # so that a run that was stopped can be repeated
    began, end = time.monotonic(), (options.until or int(time.time())) // EVALUATED * EVALUATED
    try:
        samples = fill(folder, end, max(1, options.days), options.seed, OUTAGES)
    except BlockError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"{samples:,} samples of {options.days} days in {folder} after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
