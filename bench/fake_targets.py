"""Scrape targets like those of a school, 20,000 series in all, with counters that grow over time."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from bench.load import ROOT
from exporter.catalogue.model import Family
from exporter.config import load as load_config

SETS = {"counter": 150, "gauge": 40, "histogram": 40}  # label sets of one family, at most
DATABASES = ("postgres", "heypeter", "reporting")
STATES = ("active", "idle", "idle in transaction", "disabled", "fastpath function call")
FLAT = {
    "redis": [
        "redis_up 1",
        "redis_exporter_last_scrape_error 0",
        "redis_memory_used_bytes 2e8",
        "redis_memory_max_bytes 1e9",
    ],
    "nginx": ["nginx_up 1", "nginx_connections_active 12"],
    "blackbox-http": ["probe_success 1", "probe_ssl_earliest_cert_expiry 4e9"],
    "receiver": [
        *("receiver_outbox_oldest_age_seconds 0", "receiver_config_last_reload_successful 1"),
        *(f'receiver_oncall_covered{{role="{role}"}} 1' for role in ("on-call-engineer", "tech-lead", "cto")),
        *(f'receiver_incident_unacknowledged_age_seconds{{priority="P{n}"}} 0' for n in (1, 2, 3, 4)),
        *(f'receiver_incident_unacknowledged_overdue_seconds{{priority="P{n}"}} 0' for n in (1, 2, 3, 4)),
    ],
    "alertmanager": ["alertmanager_config_last_reload_successful 1", "alertmanager_config_hash 1e14"],
}
GROWING = {
    "redis": ["redis_keyspace_hits_total", "redis_keyspace_misses_total", "redis_rejected_connections_total"],
    "nginx": ["nginx_connections_accepted", "nginx_connections_handled", "nginx_http_requests_total"],
    "receiver": [
        f'receiver_deliveries_total{{channel="{channel}",outcome="{outcome}"}}'
        for channel in ("slack", "email", "pagerduty")
        for outcome in ("sent", "retried", "dead")
    ],
    "alertmanager": [
        f'alertmanager_notifications{which}_total{{integration="{integration}"}}'
        for which in ("", "_failed")
        for integration in ("webhook", "email")
    ],
}


@dataclass(frozen=True)
class Series:
    """One line of /metrics: its value is ``base`` and grows by ``rate`` a second."""

    name: str
    base: float
    rate: float

    def line(self, elapsed: float) -> str:
        """Write it with its value after so many seconds."""
        return f"{self.name} {self.base + self.rate * elapsed:.6g}"


def application() -> list[Series]:
    """Give the exporter's families with the shipped lists, each with as many label sets as a large school has."""
    catalogue = load_config(ROOT / "deploy/config/exporter.yml")[2]
    return [series for family in catalogue.families for series in _family(family)]


def _family(family: Family) -> Iterator[Series]:
    product = itertools.product(*(label.values for label in family.labels))
    names = [label.name for label in family.labels]
    for number, values in enumerate(itertools.islice(product, SETS[family.type])):
        labels = ",".join(f'{name}="{value}"' for name, value in zip(names, values, strict=True))
        rate = 0.2 + number % 7 / 10
        if family.type == "histogram":
            yield from _histogram(family, labels, rate)
        elif family.type == "counter":
            # Failures are rare, so that no alert fires.
            rare = "failure" in labels or 'status="5' in labels or "failures" in family.name
            yield Series(f"{family.name}{{{labels}}}", 0, rate / 1000 if rare else rate)
        else:
            yield Series(f"{family.name}{{{labels}}}", 1, 0)


def _histogram(family: Family, labels: str, rate: float) -> Iterator[Series]:
    comma = "," if labels else ""
    for number, bound in enumerate([*family.buckets, math.inf], 1):
        share = 1 - 0.3**number if bound < math.inf else 1
        le = "+Inf" if bound == math.inf else f"{bound:g}"
        yield Series(f'{family.name}_bucket{{{labels}{comma}le="{le}"}}', 0, rate * share)
    yield Series(f"{family.name}_count{{{labels}}}", 0, rate)
    yield Series(f"{family.name}_sum{{{labels}}}", 0, rate / 10)


def servers() -> dict[str, list[Series]]:
    """Give the series of the data stores, the web server and the monitoring itself, by job."""
    series_of = {job: [_flat(line) for line in lines] for job, lines in FLAT.items()}
    for job, names in GROWING.items():
        series_of[job] += [
            Series(name, 0, 0 if "fail" in name or "reject" in name or "dead" in name else 5) for name in names
        ]
    series_of["postgres"] = [
        *(_flat(line) for line in ("pg_up 1", "pg_exporter_last_scrape_error 0", "pg_replication_is_replica 0")),
        *(
            Series(f"pg_settings_{name}", 100, 0)
            for name in ("max_connections", "shared_buffers_bytes", "work_mem_bytes")
        ),
        Series("pg_settings_superuser_reserved_connections", 3, 0),
    ]
    for database, state, user in itertools.product(DATABASES, STATES, ("app", "jobs", "admin")):
        labels = f'datname="{database}",state="{state}",usename="{user}"'
        series_of["postgres"].append(Series(f"pg_stat_activity_count{{{labels}}}", 1, 0))
        series_of["postgres"].append(Series(f"pg_stat_activity_max_tx_duration{{{labels}}}", 0, 0))
    for database in DATABASES:
        series_of["postgres"].append(Series(f'pg_stat_database_deadlocks{{datname="{database}"}}', 0, 0))
    for phase in ("resolve", "connect", "tls", "processing", "transfer"):
        series_of["blackbox-http"].append(Series(f'probe_http_duration_seconds{{phase="{phase}"}}', 0.01, 0))
    return series_of


def _flat(line: str) -> Series:
    name, _, value = line.rpartition(" ")
    return Series(name, float(value), 0)


def host(text: str) -> list[Series]:
    """Give a host's series from the output of the real node exporter; counters keep growing."""
    kinds: dict[str, str] = {}
    listed = []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            counts = kinds.get(name.partition("{")[0]) == "counter"
            listed.append(Series(name, float(value), float(value) / 1e6 if counts else 0))
    return listed
