"""Every number on a tile or a bar, recomputed from the raw samples of the simulated past: in Python, not in PromQL.

The samples of counters are added up by their differences, so nothing is extrapolated. What a tile counts must be whole,
and right but for what happened at the edges of its window.
"""

import asyncio
import json
import re
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from grafana.lint.board import Panel
from grafana.lint.run import DASHBOARDS
from grafana.preview.past import PROMETHEUS, past
from grafana.queries.plan import Window, filled
from grafana.queries.run import load

pytestmark = [
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.slow,  # the past is simulated once for each version of the rules, which takes minutes
    pytest.mark.skipif(not PROMETHEUS.exists(), reason="no Prometheus: see `make stack`"),
]
DAY, LOOKBACK = 86_400.0, 300.0
OUTAGE = datetime.fromisoformat("2026-11-24T05:10:00Z").timestamp()
BOARDS = {document.board.uid: document for document in load(sorted(DASHBOARDS.glob("*.json")))}
_UNITS = {"h": 3600.0, "d": DAY}
_FROM = {uid: document.raw["time"]["from"].removeprefix("now-") for uid, document in BOARDS.items()}
SPANS = {uid: _UNITS[text[-1]] * int(text[:-1]) for uid, text in _FROM.items()}
APP, RECEIVER, SITE = {"job": "heypeter-app"}, {"job": "receiver"}, {"job": "blackbox-http"}
UNMEASURED = re.compile(r"/metrics|/api/(health|metrics|rum)(/.*)?")  # routes that no objective is about
_TABLE = yaml.safe_load(Path("rules/tables/benchmarks.yml").read_text("utf-8"))
BENCHMARKS = {one["key"]: one for one in _TABLE["benchmarks"]}
Labels = dict[str, str]
Samples = list[tuple[float, float]]
Numbers = dict[str, float]


def every(_: Labels) -> bool:
    return True


def measured(labels: Labels) -> bool:
    return not UNMEASURED.fullmatch(labels["route"])


@dataclass(frozen=True)
class Past:
    """The stored samples, seen from one moment; `span` is the time range of the dashboard."""

    url: str
    at: float
    span: float = 0.0

    def asked(self, expr: str) -> list[dict[str, object]]:
        words = urllib.parse.urlencode({"query": expr, "time": self.at}).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query", words, timeout=120) as answer:
            result: list[dict[str, object]] = json.load(answer)["data"]["result"]
        return result

    def raw(self, name: str, match: Labels, span: float = LOOKBACK) -> list[tuple[Labels, Samples]]:
        """Give the samples as they are stored."""
        matchers = ", ".join(f'{label}="{value}"' for label, value in match.items())
        answer = self.asked(f"{name}{{{matchers}}}[{span:.0f}s]")
        return [(one["metric"], [(t, float(v)) for t, v in one["values"]]) for one in answer]  # type: ignore[misc,attr-defined]  # JSON

    def last(self, name: str, match: Labels, by: str = "") -> dict[str, list[float]]:
        values: dict[str, list[float]] = defaultdict(list)
        for labels, samples in self.raw(name, match):
            values[labels.get(by, "")].append(samples[-1][1])
        return values

    def grown(
        self, name: str, match: Labels, span: float, by: str = "", keep: Callable[[Labels], bool] = every
    ) -> Numbers:
        """Give how much counters grew within the span, from the sample before it; by a label, or all together."""
        total: Numbers = defaultdict(float)
        for labels, samples in self.raw(name, match, span + LOOKBACK):
            if keep(labels):
                before = [one for one in samples if one[0] <= self.at - span]
                counted = before[-1:] + [one for one in samples if one[0] > self.at - span]
                total[labels.get(by, "")] += sum(b - a if b >= a else b for (_, a), (_, b) in pairwise(counted))
        return total

    def all_grown(self, name: str, match: Labels, span: float, keep: Callable[[Labels], bool] = every) -> float:
        return sum(self.grown(name, match, span, keep=keep).values())


def health(past: Past) -> float:
    for level, priority in ((2.0, "P1"), (1.0, "P2")):
        firing = past.raw("ALERTS", {"alertstate": "firing", "priority": priority})
        if any(labels.get("team") != "product" for labels, _ in firing):
            return level
    return 0.0


def without_outage(past: Past) -> float:
    """Give the share of minutes in which no P1 had fired within the lookback."""
    firing = past.raw("ALERTS", {"alertstate": "firing", "priority": "P1"}, past.span + LOOKBACK)
    seen = sorted(t for labels, samples in firing if labels.get("team") != "product" for t, _ in samples)
    minutes = range(int(past.at - past.span) // 60 * 60 + 60, int(past.at) + 1, 60)
    bad = sum(any(minute - LOOKBACK < t <= minute for t in seen) for minute in minutes)
    return 1 - bad / len(minutes)


def error_rate(past: Past) -> float:
    by_status = past.grown("http_requests_total", APP, LOOKBACK, "status", measured)
    return sum(n for status, n in by_status.items() if status.startswith("5")) / sum(by_status.values())


def open_incidents(past: Past, priority: str = "") -> dict[str, list[float]]:
    """Give when the open incidents were opened, by state: from their list, and not from their number."""
    found: dict[str, list[float]] = {"triggered": [], "acknowledged": []}
    for labels, samples in past.raw("receiver_open_incident_opened_timestamp_seconds", RECEIVER, 60):
        if not priority or labels["priority"] == priority:
            found[labels["state"]].append(samples[-1][1])
    return found


def benchmark(past: Past, key: str) -> float:
    """Give the value of a benchmark of business, from what it is about."""
    if key in ("registrations", "bookings"):
        family = {"registrations": "user_registrations_total", "bookings": "class_bookings_total"}[key]
        return past.all_grown(family, APP, DAY)
    if key == "payment_success":
        failed, tried = (past.all_grown(f"payment_{name}_total", APP, DAY) for name in ("failures", "attempts"))
        return 1 - failed / tried
    if key == "retention":
        return max(past.last("user_retention_ratio", APP | {"cohort": "d30"})[""])
    waiting = past.last("support_oldest_unanswered_ticket_timestamp_seconds", APP)[""]
    return past.at - min(at for at in waiting if at > 0)


def met(past: Past) -> float:
    values = past.last("heypeter:benchmark:value", {}, "benchmark")
    better = {"below": lambda a, b: a < b, "above": lambda a, b: a > b}
    return float(sum(better[one["better"]](values[key][0], one["target"]) for key, one in BENCHMARKS.items()))


def uptime(past: Past) -> float:
    return min(sum(v for _, v in samples) / len(samples) for _, samples in past.raw("probe_success", SITE, 30 * DAY))


def share(past: Past, by: str = "") -> Numbers:
    booked, offered = (past.last(f"class_seats_{name}", APP, by) for name in ("booked", "capacity"))
    return {name: sum(booked[name]) / sum(offered[name]) for name in booked}


def active(past: Past, window: str) -> float:
    return max(past.last("active_users", APP | {"window": window})[""])


def stars(past: Past) -> float:
    family = "student_satisfaction_rating"
    return past.all_grown(f"{family}_sum", APP, 7 * DAY) / past.all_grown(f"{family}_count", APP, 7 * DAY)


def revenue(past: Past) -> Numbers:
    names = {"eur": "Euros", "usd": "US dollars", "gbp": "Pounds", "vnd": "Dong"}
    return {name: past.all_grown(f"payment_revenue_{code}_total", APP, DAY) for code, name in names.items()}


def mean(past: Past, verb: str, priority: str) -> Numbers:
    match, family = RECEIVER | {"priority": priority}, f"receiver_time_to_{verb}_seconds"
    total, count = (past.all_grown(f"{family}_{part}", match, past.span) for part in ("sum", "count"))
    return {{"acknowledge": "MTTA", "resolve": priority}[verb]: total / count} if count else {}


def oldest(past: Past, priority: str) -> float:
    return past.at - min(open_incidents(past, priority)["triggered"], default=past.at)


def top(past: Past) -> Numbers:
    opened = past.grown("receiver_incidents_opened_total", RECEIVER, past.span, "alertname")
    return {name: number for name, number in opened.items() if number}


def ages(past: Past, name: str, by: str) -> Numbers:
    return {label: past.at - max(values) for label, values in past.last(name, APP, by).items()}


def unreachable(past: Past) -> float:
    """Give the share of failed probes; each is in so many windows of five minutes as are evaluated after it."""
    failed = probes = 0.0
    for _, samples in past.raw("probe_success", SITE, 30 * DAY):
        for t, up in samples:
            windows = 10 if t > past.at - DAY else 2
            probes += windows
            failed += windows * (1 - up)
    return failed / probes


def budgets(past: Past) -> Numbers:
    """Give what is left of the error budgets.

    The past has a sample every two minutes, and in its last day every 30 seconds: an average over samples, as
    Prometheus takes it, counts the last day four times as much or more.
    """

    def weighed(count: Callable[[Past, float], float]) -> float:
        month, day = count(past, 30 * DAY), count(past, DAY)
        return (month - day) / 240 + day / 30

    def counted(name: str, match: Labels, keep: Callable[[Labels], bool] = every) -> float:
        return weighed(lambda one, span: one.all_grown(name, APP | match, span, keep))

    def failed(labels: Labels) -> bool:
        return measured(labels) and labels["status"].startswith("5")

    requests, errors = (counted("http_requests_total", {}, keep) for keep in (measured, failed))
    timed = "http_request_duration_seconds"
    answers, fast = counted(f"{timed}_count", {}), counted(f"{timed}_bucket", {"le": "0.5"})
    tried, lost = (counted(f"payment_{name}_total", {}) for name in ("attempts", "failures"))
    return {
        "Pages without errors": 1 - errors / requests / 0.001,
        "Fast pages": 1 - (answers - fast) / answers / 0.05,
        "Successful payments": 1 - lost / tried / 0.05,
        "Site reachable": 1 - unreachable(past) / 0.001,
    }


def happened(name: str, by: str) -> Callable[[Past], Numbers]:
    return lambda past: dict(past.grown(name, APP, DAY, by))


def by_hand() -> dict[tuple[str, int], Callable[[Past], Numbers]]:
    """Give the computation of each tile and each group of bars."""
    overview, executive, operations, oncall, security = (
        f"heypeter-{name}" for name in ("overview", "executive", "operations", "oncall", "security")
    )
    states = {"triggered": "no owner", "acknowledged": "with owner"}
    known: dict[tuple[str, int], Callable[[Past], Numbers]] = {
        (overview, 2): lambda past: {"health": health(past)},
        (overview, 8): lambda past: {"5xx": error_rate(past)},
        (overview, 4): lambda past: {states[state]: float(len(every)) for state, every in open_incidents(past).items()},
        (overview, 9): lambda past: {
            "since the deployment": past.at - max(past.last("deployment_last_timestamp_seconds", APP)[""])
        },
        (overview, 5): lambda past: {"met": met(past)},
        (executive, 2): lambda past: {"System health": health(past)},
        (executive, 3): lambda past: {"met": met(past)},
        (executive, 4): lambda past: {"Uptime": uptime(past)},
        (executive, 8): lambda past: {"without an outage": without_outage(past)},
        (executive, 5): lambda past: {"open": float(sum(map(len, open_incidents(past).values())))},
        (executive, 7): budgets,
        (executive, 21): lambda past: {
            name: active(past, window)
            for window, name in {"1d": "last day", "7d": "last 7 days", "30d": "last 30 days"}.items()
        },
        (executive, 22): lambda past: {"stars": stars(past)},
        (executive, 23): lambda past: {"Seats booked": share(past)[""]},
        (executive, 26): lambda past: share(past, "class_type"),
        (executive, 41): revenue,
        (operations, 2): lambda past: {"sessions": sum(past.last("rum_active_sessions", APP)[""])},
        (operations, 21): lambda past: {
            name: sum(past.last(f"class_seats_{family}", APP)[""])
            for family, name in {"capacity": "offered", "booked": "booked"}.items()
        },
        (operations, 22): lambda past: share(past, "class_type"),
        (operations, 25): happened("class_cancellations_total", "reason"),
        (operations, 26): happened("class_cancellations_total", "by"),
        (operations, 27): happened("class_bookings_total", "class_type"),
        (operations, 41): revenue,
        (operations, 45): happened("payment_failures_total", "reason"),
        (operations, 46): happened("payment_attempts_total", "provider"),
        (oncall, 6): lambda past: {
            priority: max(0.0, oldest(past, priority) - response_time)
            for priority, response_time in (("P1", 900.0), ("P2", 1800.0), ("P3", 7200.0), ("P4", 86400.0))
        },
        (oncall, 25): lambda past: {
            name: n for priority in ("P1", "P2", "P3", "P4") for name, n in mean(past, "resolve", priority).items()
        },
        (oncall, 26): lambda past: dict(
            past.grown("receiver_response_time_breaches_total", RECEIVER, past.span, "priority")
        ),
        (oncall, 27): top,
        (security, 42): lambda past: ages(past, "security_scan_last_success_timestamp_seconds", "scanner"),
        (security, 43): lambda past: {
            name.removeprefix("https://"): min(ends) - past.at
            for name, ends in past.last("probe_ssl_earliest_cert_expiry", SITE, "instance").items()
        },
        (security, 44): lambda past: ages(past, "backup_last_success_timestamp_seconds", "database"),
        (security, 62): lambda past: ages(past, "compliance_last_audit_timestamp_seconds", "framework"),
        (security, 63): lambda past: ages(past, "compliance_oldest_open_subject_request_timestamp_seconds", "kind"),
    }
    for number, priority in ((2, "P1"), (3, "P2"), (4, "P3"), (5, "P4")):
        known[oncall, number] = lambda past, priority=priority: {  # type: ignore[misc]  # bound at once
            "no owner": float(len(open_incidents(past, priority)["triggered"])),
            "with owner": float(len(open_incidents(past, priority)["acknowledged"])),
        }
        known[oncall, number + 19] = lambda past, priority=priority: mean(past, "acknowledge", priority)  # type: ignore[misc]  # as above
    titles = ("registrations", "bookings", "payment_success", "retention", "support_response")
    for number, key in enumerate(titles, start=51):
        title = next(panel.title for panel in BOARDS[executive].board.shown() if panel.id == number)
        known[executive, number] = lambda past, key=key, title=title: {title: benchmark(past, key)}  # type: ignore[misc]  # as above
    return known


BY_HAND = by_hand()
TILES = {
    (uid, panel.id or 0): panel
    for uid, document in BOARDS.items()
    for panel in document.board.shown()
    if panel.type in ("stat", "bargauge")
}
# At its end (0), and during the outage where the day before it, with one label set of each family, is enough.
MOMENTS = [(*tile, 0.0) for tile in TILES]
MOMENTS += [(*tile, OUTAGE) for tile in TILES if tile[0] in ("heypeter-overview", "heypeter-oncall")]
# How far the two may be apart where neither is wrong: a share of few events, a rate of a recorded moment, an age.
CLOSE = {("heypeter-overview", 8): 1e-3, ("heypeter-executive", 8): 2e-3, ("heypeter-executive", 7): 0.02}
CLOSE |= {("heypeter-oncall", 6): 60.0}


@pytest.fixture(scope="module")
def url_and_end() -> Iterator[tuple[str, float]]:
    with asyncio.Runner() as runner:
        running = past(print)
        url, end = runner.run(running.__aenter__())
        yield url, end.timestamp()
        runner.run(running.__aexit__(None, None, None))


def shown(panel: Panel, uid: str, seen: Past) -> Numbers:
    """Give what the panel shows: its queries as Grafana asks them, by the names of their series."""
    window = Window(seen.at - seen.span, seen.at)
    numbers: Numbers = {}
    for target in panel.targets:
        for one in seen.asked(filled(target.expr, BOARDS[uid].board, window)):
            labels: Labels = one["metric"]  # type: ignore[assignment]  # JSON
            name = re.sub(r"\{\{(\w+)\}\}", lambda match, labels=labels: labels.get(match[1], ""), target.legend)  # type: ignore[misc]  # bound at once
            numbers[name] = float(one["value"][1])  # type: ignore[index]  # JSON
    return numbers


def test_every_tile_and_bar_is_recomputed() -> None:
    assert set(TILES) == set(BY_HAND)


@pytest.mark.parametrize(("uid", "number", "at"), MOMENTS, ids=[f"{uid[9:]}-{n}-{at:.0f}" for uid, n, at in MOMENTS])
def test_a_tile_shows_what_the_samples_say(uid: str, number: int, at: float, url_and_end: tuple[str, float]) -> None:
    url, end = url_and_end
    seen = Past(url, at or end, SPANS[uid])
    panel = TILES[uid, number]
    told, expected = shown(panel, uid, seen), BY_HAND[uid, number](seen)
    assert told.keys() == expected.keys()
    counts = panel.field.defaults.unit in ("locale", "none")
    for name, value in told.items():
        close = CLOSE.get((uid, number), max(1.0, 0.003 * expected[name]) if counts else 0.003 * abs(expected[name]))
        assert abs(value - expected[name]) <= close, (panel.title, name, value, expected[name])
    if panel.field.defaults.unit == "locale":
        assert all(value == round(value) for value in told.values()), told


def test_what_takes_longer_to_resolve_shows_a_longer_time(url_and_end: tuple[str, float]) -> None:
    """The times were equal for P1, P2 and P3, because the past had one length for all incidents."""
    seen = Past(*url_and_end, SPANS["heypeter-oncall"])
    times = BY_HAND["heypeter-oncall", 25](seen)
    assert len(times) >= 3
    assert len({round(value, -1) for value in times.values()}) == len(times)


def test_a_week_of_the_executive_dashboard_has_a_week_of_data(url_and_end: tuple[str, float]) -> None:
    """Active users were there for the last day only."""
    seen = Past(*url_and_end)
    for name in ("active_users", "class_seats_booked", "heypeter:payment_revenue:increase1d"):
        for _, samples in seen.raw(name, {}, 7 * DAY):
            times = [t for t, _ in samples]
            assert times[0] < seen.at - 6.9 * DAY, name
            assert max(b - a for a, b in pairwise(times)) <= 600, name
