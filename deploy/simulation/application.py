"""What the exporter would have shown of the simulated school: every family of its catalogue."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

import yaml

from deploy.simulation.blocks import series
from deploy.simulation.counters import Counters, Samples, lognormal
from deploy.simulation.gauges import gauges
from deploy.simulation.time_axis import DAY, Axis

ROOT = Path(__file__).resolve().parents[2]
TARGET = {"job": "heypeter-app", "instance": "localhost:3001"}
# How many of each event a day brings; what is not listed, a handful.
A_DAY = {
    "http_request": 420_000, "api_call": 150_000, "db_query": 900_000, "cache_request": 700_000, "page_load": 30_000,
    "web_vital": 90_000, "click": 120_000, "form_submit": 6_000, "javascript_error": 240, "unhandled_rejection": 90,
    "resource_error": 60, "csp_violation": 30, "session_start": 9_000, "client_report": 60, "rate_limited": 300,
    "user_registered": 900, "class_booked": 1_400, "class_cancelled": 110, "class_rated": 600,
    "payment_attempted": 2_600, "payment_failed": 78, "payment_completed": 2_500, "payment_refunded": 20,
    "ticket_opened": 110, "ticket_first_response": 108, "ticket_resolved": 105, "login": 7_000, "login_failed": 260,
    "account_locked": 3, "role_granted": 0, "audit_entry": 9_000, "suspicious_activity": 0,
    "security_scan_finished": 12, "subject_request_closed": 1, "consent_decided": 2_500,
}  # fmt: skip
# Median and width of what histograms measure: p95 is the median times e^(1.64 sigma), p75 times e^(0.67 sigma).
SIZES = {
    "http_request_duration_seconds": (0.085, 0.85), "api_call_duration_seconds": (0.12, 0.85),
    "db_query_duration_seconds": (0.011, 0.9), "rum_page_load_duration_seconds": (1.45, 0.5),
    "rum_route_change_duration_seconds": (0.3, 0.6), "rum_dom_content_loaded_duration_seconds": (0.3, 0.5),
    "rum_load_complete_duration_seconds": (0.26, 0.4), "rum_render_duration_seconds": (0.8, 0.5),
    "rum_time_to_interactive_seconds": (2.3, 0.5), "rum_largest_contentful_paint_seconds": (1.5, 0.45),
    "rum_interaction_to_next_paint_seconds": (0.09, 0.7), "rum_cumulative_layout_shift_score": (0.03, 1.0),
    "rum_first_contentful_paint_seconds": (0.8, 0.5), "rum_time_to_first_byte_seconds": (0.24, 0.7),
    "rum_session_duration_seconds": (500, 1.0), "payment_duration_seconds": (1.1, 0.5),
    "payment_amount_eur": (45, 0.7), "support_first_response_duration_seconds": (2_100, 0.8),
    "support_resolution_duration_seconds": (25_000, 1.0), "student_satisfaction_rating": (3.9, 0.18),
    "exporter_batch_size_bytes": (2_000, 0.9), "exporter_event_age_seconds": (0.6, 1.0),
    "exporter_client_clock_skew_seconds": (0.9, 0.8),
}  # fmt: skip
STATUSES = {
    "200": 0.925,
    "201": 0.03,
    "304": 0.025,
    "404": 0.009,
    "401": 0.006,
    "403": 0.003,
    "500": 0.0003,
    "503": 0.0001,
}
FAILING = ("POST", "/api/bookings")  # the route that an incident of the kind errors breaks
ROUTES = (
    ("GET", "/"),
    FAILING,
    *(("GET", route) for route in ("/courses", "/courses/[id]", "/api/classes", "/api/users/[id]")),
    *(("POST", route) for route in ("/api/payments", "/api/auth/[...path]")),
)
# currency -> which share of the payments is made in it, and a usual amount
PRICES = {"EUR": (0.5, 45.0), "VND": (0.34, 1_190_000.0), "USD": (0.1, 49.0), "GBP": (0.06, 39.0)}
DRAGGED = ("http_request_duration", "api_call", "db_query_duration", "rum_page_load", "payment_duration")
STARTED = "process_start_time_seconds"  # not of the catalogue: prometheus_client counts it
SELF_COUNTERS = {
    "exporter_events_accepted_total": ({"source": "events", "type": "http_request"}, 2_000_000),
    "exporter_events_rejected_total": ({"source": "events", "reason": "schema"}, 40),
    "exporter_events_duplicate_total": ({"source": "events"}, 120),
    "exporter_bot_events_total": ({}, 500),
    "exporter_batches_total": ({"source": "events", "outcome": "ok"}, 90_000),
    "exporter_label_overflow_total": ({"label": "route"}, 20),
    "rum_beacons_lost_total": ({}, 90),
    "sentry_tunnel_items_total": ({"item": "event", "outcome": "forwarded"}, 300),
    "sentry_client_discarded_events_total": ({"reason": "sample_rate"}, 1_000),
}


def catalogue() -> dict[str, Any]:
    """Read the shipped catalogue files as one."""
    files = [ROOT / f"exporter/catalogue/{name}.yml" for name in ("application", "school", "own")]
    parts = [yaml.safe_load(path.read_text("utf-8")) for path in files]
    named = {key: {k: v for part in parts for k, v in part.get(key, {}).items()} for key in ("domains", "buckets")}
    return {**named, "families": [family for part in parts for family in part["families"]]}


class Application:
    """The families of the catalogue over a stretch of time; ``thin`` shows one label set of each."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._catalogue = catalogue()
        self._lists = yaml.safe_load((ROOT / "deploy/local/exporter.yml").read_text("utf-8"))["lists"]

    def shown(self, axis: Axis, wanted: set[str] | None = None) -> Iterator[Samples]:
        """Give every family, or only those whose names are ``wanted``, with one label set each."""
        families = self._catalogue["families"]
        for family in families:
            name = family["name"]
            names = {name, f"{name}_bucket", f"{name}_count", f"{name}_sum"}
            if wanted is not None and not names & wanted:
                continue
            yield from self._family(family, axis, thin=wanted is not None)
        if wanted is None or STARTED in wanted:
            yield series(STARTED, TARGET), [float(axis.start - DAY)] * axis.count

    def _family(self, family: Mapping[str, Any], axis: Axis, *, thin: bool) -> Iterator[Samples]:
        name = family["name"]
        if family["type"] == "gauge":
            yield from gauges(name, TARGET, axis, self._lists)
        elif name == "http_requests_total":
            yield from self._requests(axis, thin=thin)
        elif family["type"] == "counter":
            yield from self._counter(family, axis, thin=thin)
        else:
            yield from self._histogram(family, axis, thin=thin)

    def _happened(self, family: Mapping[str, Any], axis: Axis) -> list[float]:
        """Say how many of a family's events each moment brings."""
        event = family["event"]
        counts = axis.events(event, A_DAY.get(event, 5))
        if event == "payment_failed":
            counts = [n * (1 + 19 * bad) for n, bad in zip(counts, axis.during("payments"), strict=True)]
        share, price = PRICES.get(family.get("when", {}).get("currency", ""), (1.0, 1.0))
        amount = price if family["type"] == "counter" and family.get("value") else 1.0
        return [n * share * amount for n in counts]

    def _requests(self, axis: Axis, *, thin: bool) -> Iterator[Samples]:
        asked = axis.events("http_request", A_DAY["http_request"])
        bad = axis.during("errors")
        routes = ROUTES[:1] if thin else ROUTES
        for (method, route), weight in zip(routes, _weights(len(routes)), strict=True):
            broken = 1.0 if thin else 1 / weight if (method, route) == FAILING else 0.0
            for status, share in STATUSES.items():
                worse = 220.0 * broken if status[0] == "5" else 0.0
                parts = [n * weight * share * (1 + worse * ill) for n, ill in zip(asked, bad, strict=True)]
                labels = {**TARGET, "method": method, "route": route, "status": status}
                yield self._counters.counter("http_requests_total", labels, parts)
        health = {**TARGET, "method": "GET", "route": "/api/health", "status": "200"}
        yield self._counters.counter("http_requests_total", health, axis.events("health", 5_760, 0))

    def _counter(self, family: Mapping[str, Any], axis: Axis, *, thin: bool) -> Iterator[Samples]:
        name = family["name"]
        if family["event"] == "self":
            labels, per_day = SELF_COUNTERS.get(name, ({}, 0))
            if not labels and family.get("labels"):
                labels = next(self._label_sets(family, thin=True))
            yield self._counters.counter(name, {**TARGET, **labels}, axis.events(name, per_day))
            return
        happened = self._happened(family, axis)
        chosen = list(self._label_sets(family, thin=thin))
        for labels, weight in zip(chosen, _weights(len(chosen)), strict=True):
            share = _share(name, labels)
            parts = [n * weight * share for n in happened]
            yield self._counters.counter(name, {**TARGET, **labels}, parts)

    def _histogram(self, family: Mapping[str, Any], axis: Axis, *, thin: bool) -> Iterator[Samples]:
        name = family["name"]
        bounds = self._catalogue["buckets"][family["buckets"]]
        median, sigma = SIZES.get(name, (bounds[len(bounds) // 3], 0.7))
        below, mean = lognormal(median, sigma)
        drag = axis.during("slow") if name.startswith(DRAGGED) else [0.0] * axis.count
        most = 2.6 if name.startswith("rum") else 13.0
        factors = [
            round(0.93 + 0.06 * busy + 0.03 * chance, 2) * (1 + (most - 1) * bad)
            for busy, chance, bad in zip(axis.activity, axis.noise(name), drag, strict=True)
        ]
        if name == "student_satisfaction_rating":  # better and worse weeks, and none that anybody would miss
            factors = [1 + 0.025 * math.sin(2 * math.pi * at / (11 * DAY)) for at in axis.times]
        happened = axis.events(name, 3_000) if family["event"] == "self" else self._happened(family, axis)
        chosen = list(islice(self._label_sets(family, thin=thin), 5))
        if name == "http_request_duration_seconds" and not thin:
            chosen = [{"method": method, "route": route} for method, route in ROUTES]
        for labels, weight in zip(chosen, _weights(len(chosen)), strict=True):
            yield from self._counters.histogram(
                name,
                {**TARGET, **labels},
                bounds,
                [n * weight for n in happened],
                lambda bound, n: below(bound, factors[n]),
                lambda n: mean(factors[n]),
            )

    def _label_sets(self, family: Mapping[str, Any], *, thin: bool) -> Iterator[dict[str, str]]:
        names = family.get("labels", {})
        values = []
        for domain in names.values():
            known = domain["domain"] if isinstance(domain, dict) else domain
            rule = self._catalogue["domains"][known]
            allowed = self._lists.get(rule.get("from", ""), rule.get("values", ["events"]))
            if known in {"outcome", "result"}:
                allowed = ["success", "failure"] if known == "outcome" else ["hit", "miss"]
            values.append(allowed[: 2 if len(names) > 2 else 6])  # noqa: PLR2004  # three labels make many sets
        sets = (dict(zip(names, combination, strict=True)) for combination in product(*values))
        return islice(sets, 1 if thin else 16)


def _weights(count: int) -> list[float]:
    """Give falling shares whose sum is 1."""
    raw = [1 / (n + 1) for n in range(count)]
    return [share / sum(raw) for share in raw]


def _share(name: str, labels: Mapping[str, str]) -> float:
    """Failures are rarer than successes, and most lookups hit."""
    if labels.get("outcome") == "failure" or labels.get("result") == "miss" or labels.get("rating") == "poor":
        return 0.06
    return 0.3 if name == "rum_web_vitals_total" and labels.get("rating") == "needs-improvement" else 1.0


def up(axis: Axis, targets: Mapping[str, tuple[str, str]]) -> Iterator[Samples]:
    """Give what Prometheus itself notes of each target, (job, instance) by name; the one called ``host`` falls."""
    ill = axis.during("host")
    for name, (job, instance) in targets.items():
        labels = {"job": job, "instance": instance}
        yield series("up", labels), [1.0 - bad if name == "host" else 1.0 for bad in ill]
        yield series("scrape_duration_seconds", labels), axis.wave(f"scrape {job}", 0.012, 0.004, 0.002)
        size = {"heypeter-app": 2_400.0, "node": 900.0}.get(job, 300.0)
        for kind in ("scraped", "post_metric_relabeling"):
            yield series(f"scrape_samples_{kind}", labels), [size] * axis.count
        yield series("scrape_series_added", labels), [0.0] * axis.count
