"""What Prometheus, Alertmanager and the receiver would have shown of themselves."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.simulation.blocks import series
from deploy.simulation.counters import Counters, Samples, lognormal
from deploy.simulation.time_axis import Axis, Incident

PROMETHEUS = {"job": "prometheus", "instance": "localhost:9090"}
ALERTMANAGER = {"job": "alertmanager", "instance": "localhost:9093"}
RECEIVER = {"job": "receiver", "instance": "localhost:9095"}
CHANNELS = ("pagerduty", "slack", "email")
ROLES = {"on_call_engineer": "Linh", "tech_lead": "Marek", "engineering_manager": "Aisha", "cto": "Peter"}
# An incident's kind; priority, team and alert of what the receiver opens for it; minutes until it is acknowledged.
OPENS = (
    ("slow", "P2", "backend", "SlowResponseTime", 11),
    ("slow", "P3", "frontend", "PageLoadSlow", 45),
    ("errors", "P1", "backend", "HighErrorRate", 4),
    ("errors", "P4", "backend", "SLOBurnRateSlow", 180),
    ("payments", "P1", "payments", "PaymentFailureRate", 6),
    ("cache", "P2", "backend", "CacheHitRateLow", 18),
    ("host", "P2", "infrastructure", "TargetDown", 21),
    ("connections", "P2", "database", "HighDatabaseConnections", 9),
    ("site", "P1", "infrastructure", "SiteUnreachable", 3),
)
_RESPONSE_TIMES = {"P1": 900.0, "P2": 1800.0, "P3": 7200.0, "P4": 86400.0}  # seconds, as in deploy/config/receiver.yml
# How many times longer than its cause an incident lasts: burn rates and page loads look back.
LASTS = {"SLOBurnRateSlow": 20.0, "PageLoadSlow": 3.0}
TITLES = {
    "SlowResponseTime": "Slow responses: heypeter-app",
    "PageLoadSlow": "Pages load slowly",
    "HighErrorRate": "High error rate: heypeter-app",
    "SLOBurnRateSlow": "Error budget of http-availability is being used up",
    "PaymentFailureRate": "Payments fail",
    "CacheHitRateLow": "Low cache hit rate: localhost:9121",
    "TargetDown": "Target down: host",
    "HighDatabaseConnections": "Many database connections: localhost:9187",
    "SiteUnreachable": "Site unreachable",
}
FOUND_AFTER = 5 * 60  # seconds from a failure to its incident
LAG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120)
LONG = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200)


ANSWER = {"P1": 900.0, "P2": 1800.0, "P3": 7200.0, "P4": 86400.0}  # response times, seconds


@dataclass(frozen=True)
class Opened:
    """An incident that the receiver opened; times in Unix seconds, 0 where nobody acknowledged it."""

    priority: str
    team: str
    alert: str
    owner: str
    opened: float
    acknowledged: float
    resolved: float


class Watchers:
    """The monitoring itself over a stretch of time."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def shown(self, axis: Axis) -> Iterator[Samples]:
        """Give all three."""
        yield from self._prometheus(axis)
        yield from self._alertmanager(axis)
        yield from self._receiver(axis)
        yield from self._incidents(axis)

    def _grow(self, name: str, labels: Mapping[str, str], each: list[float]) -> Samples:
        return self._counters.counter(name, labels, each)

    def _prometheus(self, axis: Axis) -> Iterator[Samples]:
        steady = {"config_last_reload_successful": 1.0, "notifications_alertmanagers_discovered": 1.0}
        for name, value in {**steady, "tsdb_head_series": 5_800.0, "notifications_queue_length": 0.0}.items():
            yield series(f"prometheus_{name}", PROMETHEUS), [value] * axis.count
        none = [0.0] * axis.count
        for name in ("compactions_failed", "reloads_failures", "wal_corruptions"):
            yield self._grow(f"prometheus_tsdb_{name}_total", PROMETHEUS, none)
        yield self._grow("prometheus_notifications_dropped_total", PROMETHEUS, none)
        other = {**PROMETHEUS, "alertmanager": "http://localhost:9093/api/v2/alerts"}
        yield self._grow("prometheus_notifications_errors_total", other, none)
        yield self._grow("prometheus_notifications_sent_total", other, axis.events("sent", 4_000, 0))
        yield self._grow("prometheus_tsdb_head_samples_appended_total", PROMETHEUS, axis.events("appended", 3.3e7, 0))
        for group in ("critical_alerts", "warning_alerts", "business_alerts", "benchmarks", "slo"):
            labels = {**PROMETHEUS, "rule_group": f"rules/{group}.yml;{group}"}
            yield self._grow("prometheus_rule_evaluation_failures_total", labels, none)
            yield self._grow("prometheus_rule_group_iterations_missed_total", labels, none)
            took = axis.wave(group, 0.004, 0.001, 0.0006)
            yield series("prometheus_rule_group_last_duration_seconds", labels), took
        for bound, seconds in (("0.5", 0.0004), ("0.9", 0.0012), ("0.99", 0.004)):
            labels = {**PROMETHEUS, "quantile": bound}
            yield (
                series("prometheus_rule_evaluation_duration_seconds", labels),
                axis.wave(bound, seconds, 0, seconds / 9),
            )

    def _alertmanager(self, axis: Axis) -> Iterator[Samples]:
        steady = {"cluster_members": 1.0, "config_hash": 123_456_789.0, "config_last_reload_successful": 1.0}
        for name, value in steady.items():
            yield series(f"alertmanager_{name}", ALERTMANAGER), [value] * axis.count
        open_now = _during(axis, [(one.opened, one.resolved) for one in opened(axis.incidents)])
        for state, part in (("active", 1.0), ("suppressed", 0.3)):
            yield (
                series("alertmanager_alerts", {**ALERTMANAGER, "state": state}),
                [round(part * (1 + n)) for n in open_now],
            )
        for way in ("webhook", "email"):
            labels = {**ALERTMANAGER, "integration": way}
            rate = 300 if way == "webhook" else 0
            yield self._grow("alertmanager_notifications_total", labels, axis.events(way, rate, 0))
            yield self._grow("alertmanager_notifications_failed_total", labels, [0.0] * axis.count)

    def _receiver(self, axis: Axis) -> Iterator[Samples]:
        for loop in ("retention", "coverage"):
            yield series("receiver_housekeeping_failing", {**RECEIVER, "loop": loop}), [0.0] * axis.count
        for reason in ("full", "locked", "read_only", "io_error", "corrupt", "replaced"):
            yield series("receiver_store_outage", {**RECEIVER, "reason": reason}), [0.0] * axis.count
        yield series("receiver_incidents_stuck", RECEIVER), [0.0] * axis.count
        yield series("receiver_config_last_reload_successful", RECEIVER), [1.0] * axis.count
        for role, person in ROLES.items():
            yield series("receiver_oncall_covered", {**RECEIVER, "role": role}), [1.0] * axis.count
            yield series("receiver_oncall_next_gap_seconds", {**RECEIVER, "role": role}), [30 * 86_400.0] * axis.count
            yield series("receiver_oncall_info", {**RECEIVER, "role": role, "person": person}), [1.0] * axis.count
        seen = [float(at - (at - axis.start) % 60 - 4) for at in axis.times]
        yield series("receiver_watchdog_last_seen_timestamp_seconds", {**RECEIVER, "source": "alertmanager"}), seen
        yield series("receiver_reconcile_last_success_timestamp_seconds", {**RECEIVER, "source": "alertmanager"}), seen
        yield series("receiver_resolved_still_firing", {**RECEIVER, "source": "alertmanager"}), [0.0] * axis.count
        calendar = {**RECEIVER, "schedule": "engineers"}
        yield series("receiver_calendar_last_success_timestamp_seconds", calendar), seen
        for code, rate in (("200", 1_700), ("400", 0), ("401", 0), ("413", 0), ("415", 0), ("503", 0)):
            labels = {**RECEIVER, "source": "alertmanager", "code": code}
            yield self._grow("receiver_webhook_requests_total", labels, axis.events(code, rate, 0))
        paged = _counts(axis, [one.opened for one in opened(axis.incidents)])
        for channel in CHANNELS:
            yield from self._channel({**RECEIVER, "channel": channel}, paged, axis)
        for kind in ("missed", "vanished", "silenced", "unsilenced", "completed", "confirmed"):
            yield self._grow(
                "receiver_reconcile_drift_total",
                {**RECEIVER, "source": "alertmanager", "kind": kind},
                [0.0] * axis.count,
            )

    def _channel(self, labels: dict[str, str], opened: list[float], axis: Axis) -> Iterator[Samples]:
        for outcome, part in (("sent", 3.0), ("retried", 0.0), ("dead", 0.0)):
            each = [count * part for count in opened]
            yield self._grow("receiver_deliveries_total", {**labels, "outcome": outcome}, each)
        yield self._grow("receiver_notifications_dead_total", labels, [0.0] * axis.count)
        for name in ("outbox_oldest_age_seconds", "channel_circuit_open"):
            yield series(f"receiver_{name}", labels), [0.0] * axis.count
        for reason in ("timeout", "rate_limited"):
            yield self._grow("receiver_delivery_failures_total", {**labels, "reason": reason}, [0.0] * axis.count)
        sent = [3.0 * count for count in opened]
        yield from self._times("receiver_page_lag_seconds", labels, LAG, sent, (0.05, 0.7))

    def _incidents(self, axis: Axis) -> Iterator[Samples]:
        every = opened(axis.incidents)
        for _, priority, team, alert, _ in OPENS:
            labels = {**RECEIVER, "priority": priority, "team": team, "alertname": alert}
            counts = _counts(axis, [one.opened for one in every if one.alert == alert])
            yield self._grow("receiver_incidents_opened_total", labels, counts)
        for priority in ("P1", "P2", "P3", "P4"):
            mine = [one for one in every if one.priority == priority]
            waiting = _during(axis, [(one.opened, one.acknowledged or one.resolved) for one in mine])
            taken = _during(axis, [(one.acknowledged, one.resolved) for one in mine if one.acknowledged])
            for state, counts in (("triggered", waiting), ("acknowledged", taken)):
                yield series("receiver_incidents", {**RECEIVER, "priority": priority, "state": state}), counts
            ages, age = [], 0.0
            for count in waiting:
                age = age + axis.step if count else 0.0
                ages.append(age)
            yield series("receiver_incident_unacknowledged_age_seconds", {**RECEIVER, "priority": priority}), ages
            late = [max(0.0, age - _RESPONSE_TIMES[priority]) for age in ages]
            yield series("receiver_incident_unacknowledged_overdue_seconds", {**RECEIVER, "priority": priority}), late
        for one in every:
            yield from _listed(axis, one)
        yield from self._answers(axis, every)

    def _answers(self, axis: Axis, every: Sequence[Opened]) -> Iterator[Samples]:
        for priority, team in dict.fromkeys((priority, team) for _, priority, team, _, _ in OPENS):
            labels = {**RECEIVER, "priority": priority, "team": team}
            mine = [one for one in every if (one.priority, one.team) == (priority, team)]
            answers = [(one.acknowledged, one.acknowledged - one.opened) for one in mine if one.acknowledged]
            ends = [(one.resolved, one.resolved - one.opened) for one in mine]
            for name, observed in (("acknowledge", answers), ("resolve", ends)):
                yield from self._observed(f"receiver_time_to_{name}_seconds", labels, axis, observed)
            late = [one.opened + ANSWER[priority] for one in mine if _late(one)]
            yield self._grow("receiver_response_time_breaches_total", labels, _counts(axis, late))
        bounds = (0.1, 0.5, 1, 2, 5, 15, 60, 300, 900)
        due = _counts(axis, [one.opened for one in every])
        yield from self._times("receiver_step_lateness_seconds", RECEIVER, bounds, due, (0.4, 0.6))

    def _observed(
        self, name: str, labels: Mapping[str, str], axis: Axis, observed: Sequence[tuple[float, float]]
    ) -> Iterator[Samples]:
        """Give a histogram of durations, each with the time at which it was observed."""
        at: dict[int, list[float]] = {}
        for when, duration in observed:
            at.setdefault(_moment(axis, when), []).append(duration)
        yield from self._counters.histogram(
            name,
            labels,
            LONG,
            _counts(axis, [when for when, _ in observed]),
            lambda bound, n: sum(one <= bound for one in at.get(n, ())) / max(1, len(at.get(n, ()))),
            lambda n: sum(at.get(n, ())) / max(1, len(at.get(n, ()))),
        )

    def _times(
        self,
        name: str,
        labels: Mapping[str, str],
        bounds: Sequence[float],
        each: list[float],
        shape: tuple[float, float],
    ) -> Iterator[Samples]:
        below, mean = lognormal(*shape)
        yield from self._counters.histogram(
            name, labels, bounds, each, lambda bound, _: below(bound, 1.0), lambda _: mean(1.0)
        )


def opened(incidents: Sequence[Incident]) -> list[Opened]:
    """Give what the receiver opens for these incidents, with who takes it and when."""
    every = []
    for incident in incidents:
        for kind, priority, team, alert, minutes in OPENS:
            if kind == incident.kind:
                chance = random.Random(f"{alert} {incident.start}")  # noqa: S311  # a simulation
                at = incident.start + FOUND_AFTER
                end = at + (incident.end - incident.start) * LASTS.get(alert, 1.0)
                taken = at + minutes * 60 * chance.uniform(0.6, 1.4)
                owner = chance.choice([*ROLES.values()][:2])
                every.append(Opened(priority, team, alert, owner, at, taken if taken < end else 0.0, end))
    return every


def _late(one: Opened) -> bool:
    return (one.acknowledged or one.resolved) - one.opened > ANSWER[one.priority]


def _listed(axis: Axis, one: Opened) -> Iterator[Samples]:
    """Give an open incident as a dashboard lists it: first without an owner, then with one."""
    labels = {**RECEIVER, "incident": f"{one.opened:.0f}"[-6:], "priority": one.priority, "team": one.team}
    labels |= {"alertname": one.alert, "title": TITLES[one.alert]}
    spans = [("triggered", "", one.opened, one.acknowledged or one.resolved)]
    if one.acknowledged:
        spans.append(("acknowledged", one.owner, one.acknowledged, one.resolved))
    for state, owner, begin, end in spans:
        there = _during(axis, [(begin, end)])
        if any(there):
            identity = series(
                "receiver_open_incident_opened_timestamp_seconds", labels | {"state": state, "owner": owner}
            )
            yield identity, [one.opened if now else math.nan for now in there]


def _none(axis: Axis) -> list[float]:
    return [0.0] * axis.count


def _moment(axis: Axis, at: float) -> int:
    return int((at - axis.start) // axis.step)


def _counts(axis: Axis, times: Sequence[float]) -> list[float]:
    """Give how many of these times each moment brings."""
    counts = _none(axis)
    for at in times:
        if 0 <= _moment(axis, at) < axis.count:
            counts[_moment(axis, at)] += 1.0
    return counts


def _during(axis: Axis, spans: Sequence[tuple[float, float]]) -> list[float]:
    """Give how many of these spans each moment is in."""
    counts = _none(axis)
    for begin, end in spans:
        for n in range(max(0, _moment(axis, begin)), min(axis.count, _moment(axis, end))):
            counts[n] += 1.0
    return counts
