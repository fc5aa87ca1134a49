"""Lists what every alert does over a simulated history: how often it fires, how long, and how much of it in health.

    python -m deploy.simulation.firings data/history [--check]

`make history` fills the folder. A firing belongs to an incident if it begins between the incident's start and CARRY
after its end: burn rates and shares of a day or a month look back. With --check, an alert that fires without an
incident is an error, and so is one that never fires in the incidents that are its own.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.simulation.monitoring import OPENS
from deploy.simulation.rule_results import Asked, Rule, Stretch, firing, read
from deploy.simulation.time_axis import DAY, Incident, incidents

STEP = 240  # seconds; 30 days stay below the 11,000 points of a query
CARRY = 8 * 3600
ALWAYS = "Watchdog"
# The kinds of incidents that an alert is made for.
OWN = {alert: kind for kind, priority, _, alert, _ in OPENS if priority in {"P1", "P2"}}
# What the forms of LowUserRegistrations would have done: the document's expression, its text, and what is shipped.
FORMS = {
    "document's expression: below 0.5 per second": 'sum(rate(user_registrations_total{job="heypeter-app"}[1h])) < 0.5',
    "document's text: below 30 an hour": "heypeter:user_registrations:increase1h < 30",
}


@dataclass(frozen=True, slots=True)
class Firings:
    """One alert over a stretch of time; seconds."""

    alert: str
    count: int
    seconds: int
    in_health: int
    incidents: int = 0  # of its own kind
    fired_in: int = 0  # of these, in how many it fired


def firings(alert: str, times: Sequence[tuple[int, int]], past: Sequence[Incident]) -> Firings:
    """Count the firings, given as begin and end, and those that no incident explains."""
    alone = [(begin, end) for begin, end in times if not any(one.start <= begin <= one.end + CARRY for one in past)]
    own = [one for one in past if one.kind == OWN.get(alert)]
    hit = [one for one in own if any(begin <= one.end + CARRY and end >= one.start for begin, end in times)]
    return Firings(alert, len(times), sum(end - begin for begin, end in times), len(alone), len(own), len(hit))


def joined(times: Sequence[int], step: int) -> list[tuple[int, int]]:
    """Join samples that are a step apart to stretches of begin and end."""
    spans: list[tuple[int, int]] = []
    for at in sorted(times):
        if spans and at <= spans[-1][1]:
            spans[-1] = (spans[-1][0], at + step)
        else:
            spans.append((at, at + step))
    return spans


def listed(folder: Path) -> list[Firings]:
    """Return the firings of every alert in the last 30 days of a history, and those of the other forms."""
    history = json.loads((folder / "history.json").read_text("utf-8"))
    end, days = history["until"], min(history["days"], 30)
    past = incidents(history["seed"], end - max(history["days"], 31) * DAY, end)
    stretch = Stretch(end - days * DAY, end, STEP)
    past = [one for one in past if one.start >= stretch.start]
    _, alerts = read()
    with Asked(folder) as prometheus:
        seen: dict[str, list[int]] = {rule.name: [] for rule in alerts}
        for result in prometheus.over('ALERTS{alertstate="firing"}', stretch):
            seen.setdefault(result["metric"]["alertname"], []).extend(int(at) for at, _ in result["values"])
        firings_of_alerts = [firings(name, joined(times, STEP), past) for name, times in sorted(seen.items())]
        for form, expr in FORMS.items():
            rule = Rule(form, expr, {}, wait=7200)
            times = [pair for result in prometheus.over(expr, stretch) for pair in firing(result, stretch, rule)]
            firings_of_alerts.append(firings(f"LowUserRegistrations, {form}", times, past))
    return firings_of_alerts


def table(alerts: Sequence[Firings]) -> str:
    """Return the Markdown table."""
    lines = [
        "| Alert | Firings | Hours | Without an incident | In its own incidents |",
        "| --- | --- | --- | --- | --- |",
    ]
    quiet = [one.alert for one in alerts if not one.count]
    for one in alerts:
        if one.count:
            own = f"{one.fired_in} of {one.incidents}" if one.incidents else ""
            lines.append(f"| {one.alert} | {one.count} | {one.seconds / 3600:.1f} | {one.in_health} | {own} |")
    return "\n".join([*lines, "", f"Did not fire ({len(quiet)}): {', '.join(quiet)}.", ""])


def faults(alerts: Sequence[Firings]) -> list[str]:
    """Return what is wrong with the shipped alerts: firing in health, or never in the incidents that are their own."""
    shipped = [one for one in alerts if "," not in one.alert and one.alert != ALWAYS]
    healthy = [
        f"{one.alert}: {one.in_health} firings without an incident (expected 0)" for one in shipped if one.in_health
    ]
    missed = [
        f"{one.alert}: fired in none of its {one.incidents} incidents"
        for one in shipped
        if one.incidents and not one.fired_in
    ]
    return healthy + missed


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 with --check if an alert fires without an incident."""
    parser = argparse.ArgumentParser(prog="python -m deploy.simulation.firings", description=__doc__)
    parser.add_argument("folder", type=Path, help="a history made by deploy.simulation.history")
    parser.add_argument("--check", action="store_true", help="exit 1 if an alert fires without an incident")
    options = parser.parse_args(arguments)
    alerts = listed(options.folder.resolve())
    sys.stdout.write(table(alerts))
    wrong = faults(alerts) if options.check else []
    sys.stderr.writelines(f"{fault}\n" for fault in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
