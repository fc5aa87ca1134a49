r"""Fills a Prometheus data folder with the simulated history of a school.

    python -m deploy.simulation.history data/history [--days 125] [--until 2026-11-25T00:00:00Z] [--seed 1]

The last 24 hours hold every family that our exporter, the receiver and the exporters of hosts and stores show, every
30 seconds; the 30 days before, those that the rules or the dashboards of a week read, with one label set each; what is
older, the benchmarks and the firing alerts only. What the rules record of it is recorded, and ALERTS are there as if
they had been evaluated.
The same seed and end give the same samples. Then, with the time of the end as now:

    prometheus --config.file=data/history/prometheus.yml --storage.tsdb.path=data/history \
        --storage.tsdb.retention.time=10y --web.listen-address=127.0.0.1:9090

history.json says when the past ends. The prometheus.yml that is written there loads all rules and has no target; with
`--no-rules` it loads none, and nothing is added to the past. No label `env` is on the series, as in a real Prometheus,
where it is an external label: `--label env=production` writes it into every series.
"""

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from deploy.simulation import rule_results as rules
from deploy.simulation.application import Application, up
from deploy.simulation.blocks import LENGTHS, BlockError, Blocks, series
from deploy.simulation.counters import Counters
from deploy.simulation.machines import TARGETS, Machines
from deploy.simulation.monitoring import OPENS, Watchers
from deploy.simulation.time_axis import DAY, Axis, incidents

CLOSE, MONTH, FAR = 30, 120, 900  # seconds between samples: of the last day, the month before, and all that is older
WEEKLONG = LENGTHS[4]
RULED_DAYS = 30
# They show a week; oncall shows 24 hours, and is also looked at during an outage in the middle of the last day.
LONG_DASHBOARDS = ("benchmarks", "executive", "oncall")
COUNTED = ("_total", "_bucket", "_count", "_sum", "_accepted", "_handled", "_deadlocks", "_kill")
# What each benchmark is about, and what of it goes with how busy the school is and with the passing of 100 days.
BASELINES = {
    "page_load": (2.0, 0.12, -0.2), "api_response": (0.371, 0.02, 0.05), "database_query": (0.049, 0.002, 0.004),
    "time_to_interactive": (3.22, 0.2, -0.15), "first_contentful_paint": (1.15, 0.06, -0.05), "cpu": (0.21, 0.15, 0.03),
    "memory": (0.61, 0.05, 0.02), "disk_io": (0.128, 0.11, 0.01), "network_latency": (0.0246, 0.003, 0.0),
    "uptime": (0.9996, 0.0, 0.0002), "registrations": (915, 0, 60), "bookings": (1_419, 0, 90),
    "payment_success": (0.97, 0.0, 0.004), "retention": (0.837, 0.0, 0.006), "support_response": (3_600, -1_500, -300),
}  # fmt: skip
MORE_IS_BETTER = frozenset({"uptime", "registrations", "bookings", "payment_success", "retention"})


NEXT = """
 Start Prometheus on it
   .stack/bin/prometheus --config.file={folder}/prometheus.yml --storage.tsdb.path={folder} \\
     --storage.tsdb.retention.time=10y --web.listen-address=127.0.0.1:9090

 and review it in another terminal
   .venv/bin/python -m receiver review --prometheus.url http://127.0.0.1:9090 --period monthly \\
     --until {until} --output data/reviews
"""


def fill(folder: Path, end: int, days: int, seed: int, labels: dict[str, str]) -> int:
    """Write all of it; give the number of samples. BlockError says what promtool or Prometheus refused."""
    past_incidents = incidents(seed, end - max(days, RULED_DAYS + 1) * DAY, end)
    last = Axis(seed, end - DAY, CLOSE, DAY // CLOSE + 1, past_incidents)
    month_start = end - min(days, RULED_DAYS) * DAY
    month = Axis(seed, month_start, MONTH, max(0, last.start - month_start) // MONTH, past_incidents)
    samples = 0
    counters = Counters()
    with Blocks(folder, WEEKLONG, labels) as into:
        _raw(into, counters, month, _names_in_rules() | names_in_long_dashboards())
        _raw(into, counters, last, None)
        _old(into, seed, end - days * DAY, month.start, past_incidents)
    samples += into.samples
    stretches = [rules.Stretch(last.start, end, CLOSE)]
    if month.count:
        stretches.insert(0, rules.Stretch(month.start, last.start - 1, 2 * MONTH))
    levels, alerts = rules.read()
    for level in levels:
        with Blocks(folder, WEEKLONG, labels) as into:
            rules.record(folder, level, stretches, into)
        samples += into.samples
    with Blocks(folder, WEEKLONG, labels) as into:
        rules.fire(folder, alerts, stretches, 2 * CLOSE, into)
    return samples + into.samples


def _raw(into: Blocks, counters: Counters, axis: Axis, wanted: set[str] | None) -> None:
    """Write what is scraped; of the month before the last day only what rules and dashboards of days want."""
    if not axis.count:
        return
    machines, watchers = Machines(counters).shown(axis), Watchers(counters).shown(axis)
    for identity, values in chain(Application(counters).shown(axis, wanted), machines, watchers, up(axis, TARGETS)):
        name = identity.partition("{")[0]
        if wanted is None or (name in wanted and name.endswith(COUNTED)):
            into.add(identity, axis.times, values)
        elif name in wanted:
            into.add(identity, axis.times[::2], values[::2])  # a gauge is looked back at for five minutes


def _old(into: Blocks, seed: int, start: int, end: int, past_incidents: Sequence[object]) -> None:
    """Write the benchmarks, the probes and the alerts of the time before the month."""
    axis = Axis(seed, start - start % FAR, FAR, max(0, end - start) // FAR, past_incidents)  # type: ignore[arg-type]
    if not axis.count:
        return
    levels, _ = rules.read()
    for rule in (rule for level in levels for rule in level if rule.name == "heypeter:benchmark:target"):
        key = rule.labels["benchmark"]
        base, swing, drift = BASELINES[key]
        gone = [(at - end) / (100 * DAY) for at in axis.times]
        values = [
            (base + drift * far + swing * (busy - 1)) * (1 + 0.02 * chance * (base > 1))
            for far, busy, chance in zip(gone, axis.activity, axis.noise(key), strict=True)
        ]
        into.add(series("heypeter:benchmark:value", rule.labels), axis.times, values)
        target = float(re.findall(r"[\d.]+", rule.expr)[0])
        into.add(series("heypeter:benchmark:target", rule.labels), axis.times, [target] * axis.count)
        met = [float((value > target) == (key in MORE_IS_BETTER)) for value in values]
        into.add(series("heypeter:benchmark:met", rule.labels), axis.times, met)
    for identity, times in _old_alerts(axis):
        into.add(identity, times, [1.0] * len(times))


def _old_alerts(axis: Axis) -> Iterator[tuple[str, list[int]]]:
    severities = {"P1": "critical", "P2": "warning"}
    end = axis.times[-1]
    for kind, priority, team, alert, _ in (opened for opened in OPENS if opened[1] in severities):
        labels = {"alertname": alert, "alertstate": "firing", "severity": severities[priority], "team": team}
        times = [
            at
            for incident in axis.incidents
            if incident.kind == kind and incident.end < end
            for at in range(int(incident.start + 360) // 60 * 60, int(incident.end), 60)
            if at >= axis.start
        ]
        if times:
            yield series("ALERTS", {**labels, "priority": priority}), times


def _names_in_rules() -> set[str]:
    text = "\n".join(path.read_text("utf-8") for path in sorted((rules.ROOT / "rules").glob("*.yml")))
    return set(re.findall(r"[a-zA-Z_:][\w:]*", text))


def names_in_long_dashboards() -> set[str]:
    """Give the names in the queries of the dashboards that are looked at beyond the last day."""
    folder = rules.ROOT / "grafana/dashboards"
    boards = [json.loads((folder / f"{name}.json").read_text("utf-8")) for name in LONG_DASHBOARDS]
    panels = [panel for board in boards for panel in board["panels"]]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets") or ()]
    return set(re.findall(r"[a-zA-Z_:][\w:]*", " ".join(expressions)))


def _timestamp(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def main(arguments: list[str] | None = None) -> int:
    """Give the exit status: 0 when the folder is filled, 1 with a message when it is not."""
    parser = argparse.ArgumentParser(
        description="Fill a Prometheus data folder with the simulated history of a school."
    )
    parser.add_argument("folder", type=Path, help="emptied first if an earlier run filled it")
    parser.add_argument("--days", type=int, default=125, help="length in days (125: enough to compare two quarters)")
    parser.add_argument("--until", type=_timestamp, help="end time, e.g. 2026-11-25T00:00:00Z; default: now")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives another history")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a label for every series, e.g. env=production",
    )
    parser.add_argument("--no-rules", action="store_true", help="write a prometheus.yml that loads no rules")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.resolve()
    config = folder / "prometheus.yml"
    if folder.exists() and any(folder.iterdir()) and not config.exists():
        print(
            f"history: {folder} is not empty and was not made by this program; choose an empty folder", file=sys.stderr
        )
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = "[]" if options.no_rules else f'["{rules.ROOT / "rules/*.yml"}"]'
    config.write_text(f"global: {{scrape_interval: 15s, evaluation_interval: 15s}}\nrule_files: {files}\n", "utf-8")
    began = time.monotonic()
    try:
        labels = dict(pair.split("=", 1) for pair in options.label)
        end = (options.until or int(time.time())) // MONTH * MONTH
        samples = fill(folder, end, max(1, options.days), options.seed, labels)
    except BlockError as error:
        print(f"history: {error}", file=sys.stderr)
        return 1
    (folder / "history.json").write_text(
        json.dumps({"until": end, "days": options.days, "seed": options.seed}), "utf-8"
    )
    print(f"{samples:,} samples of {options.days} days until {end} in {folder} after {time.monotonic() - began:.0f} s")
    ended = datetime.fromtimestamp(end, UTC)
    print(NEXT.format(folder=options.folder, until=f"{ended:%Y-%m-%dT%H:%M}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
