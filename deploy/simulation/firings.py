"""Lists what every alert does over a simulated history: how often it fires, how long, and how much of it in health.

    python -m deploy.simulation.firings data/review [--check]

`python -m deploy.simulation.outages data/review` fills the folder. A firing belongs to an outage or incident if the
table of deploy/simulation/outages names its alert there and it begins between the start and CARRY after the end: burn
rates and shares of a day or a month look back. With --check, an alert that fires without such an outage is an error,
and so is one that has no outage or does not fire in it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.simulation.outages.changes import Outage
from deploy.simulation.outages.table import EXCEPT, INCIDENTS, OUTAGES
from deploy.simulation.rule_results import Asked, Rule, Stretch, firing, read
from deploy.simulation.time_axis import DAY, Incident, incidents

STEP = 240  # seconds; 30 days stay below the 11,000 points of a query
CARRY = 8 * 3600
# The mean of 30 days falls below its limit when good days leave it, and in a young Prometheus after its first week.
LOOKS_BACK = {"UptimeBelowBenchmark": 30 * DAY}
MONTH = 30  # days; a history so long has all outages
# What the forms of LowUserRegistrations would have done: the document's expression, its text, and what is shipped.
FORMS = {
    "document's expression: below 0.5 per second": 'sum(rate(user_registrations_total{job="heypeter-app"}[1h])) < 0.5',
    "document's text: below 30 an hour": "heypeter:user_registrations:increase1h < 30",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A stretch of time in which alerts must fire and others may; Unix seconds."""

    name: str
    start: float
    end: float
    fires: tuple[str, ...]
    also: tuple[str, ...]
    each: bool  # it must fire in each of this name; else in one of them, for some are short

    def explains(self, alert: str, begin: float) -> bool:
        """Say whether a firing of an alert that it names belongs to it if it begins then."""
        return self.start <= begin <= self.end + LOOKS_BACK.get(alert, CARRY)


@dataclass(frozen=True, slots=True)
class Firings:
    """One alert over a stretch of time; seconds."""

    alert: str
    count: int
    seconds: int
    in_health: int
    own: tuple[str, ...] = ()  # names of the outages in which it must fire
    missed: tuple[str, ...] = ()  # of these, in which it did not
    shipped: bool = True


def causes(past: Sequence[Incident], outages: Sequence[Outage], end: float) -> list[Cause]:
    """Return the incidents of a history and the outages that were added to it."""
    of_incidents = [Cause(one.kind, one.start, one.end, *INCIDENTS[one.kind], each=False) for one in past]
    return of_incidents + [Cause(one.name, *one.span(end), one.fires, one.also, each=True) for one in outages]


def firings(alert: str, times: Sequence[tuple[int, int]], why: Sequence[Cause]) -> Firings:
    """Count the firings, given as begin and end, and those that no outage explains."""
    near = [one for one in why if alert in one.fires + one.also]
    alone = [begin for begin, _ in times if not any(one.explains(alert, begin) for one in near)]
    own = [one for one in why if alert in one.fires]
    hit = [one for one in own if any(begin <= one.end + CARRY and end >= one.start for begin, end in times)]
    missed = dict.fromkeys(
        one.name for one in own if one not in hit and (one.each or one.name not in {other.name for other in hit})
    )
    names = dict.fromkeys(one.name for one in own)
    return Firings(alert, len(times), sum(end - begin for begin, end in times), len(alone), (*names,), (*missed,))


def joined(times: Sequence[int], step: int) -> list[tuple[int, int]]:
    """Join samples that are a step apart to stretches of begin and end."""
    spans: list[tuple[int, int]] = []
    for at in sorted(times):
        if spans and at <= spans[-1][1]:
            spans[-1] = (spans[-1][0], at + step)
        else:
            spans.append((at, at + step))
    return spans


def listed(folder: Path, outages: Sequence[Outage] = OUTAGES) -> list[Firings]:
    """Return the firings of every alert in the last 30 days of a history, and those of the other forms."""
    history = json.loads((folder / "history.json").read_text("utf-8"))
    end, days = history["until"], min(history["days"], MONTH)
    past = incidents(history["seed"], end - max(history["days"], 31) * DAY, end)
    stretch = Stretch(end - days * DAY, end, STEP)
    why = causes(past, outages if history.get("outages") else (), end)
    why = [one for one in why if one.start >= stretch.start]
    _, alerts = read()
    with Asked(folder) as prometheus:
        seen: dict[str, list[int]] = {rule.name: [] for rule in alerts}
        for result in prometheus.over('ALERTS{alertstate="firing"}', stretch):
            seen.setdefault(result["metric"]["alertname"], []).extend(int(at) for at, _ in result["values"])
        firings_of_alerts = [firings(name, joined(times, STEP), why) for name, times in sorted(seen.items())]
        for form, expr in FORMS.items():
            rule = Rule(form, expr, {}, wait=7200)
            times = [pair for result in prometheus.over(expr, stretch) for pair in firing(result, stretch, rule)]
            whole = sum(end - begin for begin, end in times)
            name = f"LowUserRegistrations, {form}"
            firings_of_alerts.append(Firings(name, len(times), whole, 0, shipped=False))
    return firings_of_alerts


def table(alerts: Sequence[Firings]) -> str:
    """Return the Markdown table."""
    lines = ["| Alert | Firings | Hours | Without an outage | Its outages |", "| --- | --- | --- | --- | --- |"]
    quiet = [one.alert for one in alerts if not one.count]
    for one in alerts:
        if one.count:
            own = "; ".join(name + " (missed)" * (name in one.missed) for name in one.own)
            lines.append(f"| {one.alert} | {one.count} | {one.seconds / 3600:.1f} | {one.in_health} | {own} |")
    return "\n".join([*lines, "", f"Did not fire ({len(quiet)}): {', '.join(quiet) or 'none'}.", ""])


def without_outage(alerts: Sequence[str]) -> list[str]:
    """Return what is wrong with the table of outages, given the names of the shipped alerts."""
    own = {alert for outage in OUTAGES for alert in outage.fires} | {
        alert for fires, _ in INCIDENTS.values() for alert in fires
    }
    named = own | {alert for outage in OUTAGES for alert in outage.also} | set(EXCEPT)
    lacking = [
        f"{alert}: no outage of its own (expected in OUTAGES)" for alert in alerts if alert not in own | {*EXCEPT}
    ]
    unknown = [f"{alert}: no such alert (expected one of rules/*.yml)" for alert in sorted(named - {*alerts})]
    both = [f"{alert}: has an outage (expected none, EXCEPT names it)" for alert in EXCEPT if alert in own]
    return lacking + unknown + both


def faults(alerts: Sequence[Firings], *, whole: bool) -> list[str]:
    """Return what is wrong with the shipped alerts: firing in health, or not in the outages that are their own.

    A whole history has an outage of every alert.
    """
    shipped = [one for one in alerts if one.shipped and one.alert not in EXCEPT]
    healthy = [
        f"{one.alert}: {one.in_health} firings without an outage of its own (expected 0)"
        for one in shipped
        if one.in_health
    ]
    missed = [f"{one.alert}: did not fire in the outage '{name}'" for one in shipped for name in one.missed]
    untried = [f"{one.alert}: no outage of its own in this history" for one in shipped if whole and not one.own]
    return healthy + missed + untried


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 with --check if an alert fires in health, has no outage or does not fire in it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.simulation.firings", description=__doc__)
    parser.add_argument("folder", type=Path, help="a history made by deploy.simulation.outages")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 if an alert fires in health, has no outage or does not fire in it"
    )
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    alerts = listed(folder)
    sys.stdout.write(table(alerts))
    if not options.check:
        return 0
    whole = json.loads((folder / "history.json").read_text("utf-8"))["days"] >= MONTH
    wrong = without_outage([one.alert for one in alerts if one.shipped]) + faults(alerts, whole=whole)
    sys.stderr.writelines(f"{fault}\n" for fault in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
