"""Exporter dashboard: what it takes in, refuses, stores and shows."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.school import APP
from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Board,
    Query,
    Rule,
    Section,
    Series,
    States,
    Word,
    lines,
)
from rules.writing import SITE

_REJECTED = f'sum by (instance) (rate(exporter_events_rejected_total{{{APP}, source="events"}}[10m]))'

_ACCEPTED = f'sum by (instance) (rate(exporter_events_accepted_total{{{APP}, source="events"}}[10m]))'

EXPORTER_STATUS = States(
    id=221,
    title="Exporter status",
    about="ExporterDown fires if none answers: errors, latency, payments and logins are then not measured. "
    "ExporterReplicaDown fires if one of several is down.",
    unit="none",
    queries=(Query(f"max by (instance) (up{{{APP}}})", "{{instance}}"),),
    words=ANSWERS,
    explains=("ExporterDown", "ExporterReplicaDown"),
    empty="No data from the exporter",
)

ACCEPTED_AND_REJECTED_EVENTS = Series(
    id=222,
    title="Accepted and rejected events",
    about="Per second, by source.",
    unit="ops",
    queries=(
        Query(
            f"sum by (source) (rate(exporter_events_accepted_total{{{APP}}}[$__rate_interval]))",
            "accepted, {{source}}",
        ),
        Query(
            f"sum by (source) (rate(exporter_events_rejected_total{{{APP}}}[$__rate_interval]))",
            "rejected, {{source}}",
        ),
    ),
    empty="No events",
)

EVENT_REJECTION_RATE = Series(
    id=223,
    title="Event rejection rate",
    about="Share of the application's events. Rejected events are not counted. Dashed: ExporterRejectsEvents.",
    unit="percentunit",
    queries=(
        Query(
            f"({_REJECTED} or 0 * {_ACCEPTED}) / ({_ACCEPTED} + ({_REJECTED} or 0 * {_ACCEPTED}) > 0)",
            "{{instance}}",
        ),
    ),
    limits=(Rule("ExporterRejectsEvents"),),
    explains=("ExporterRejectsEvents",),
    empty="No events",
)

EXPORTER_STORAGE_ERRORS = Series(
    id=224,
    title="Exporter storage errors",
    about="Per ten minutes, by operation, and what the last start found damaged. ExporterStorageErrors fires on each.",
    unit="short",
    queries=(
        Query(
            f"round(sum by (operation) (increase(exporter_storage_errors_total{{{APP}}}[10m])))",
            "{{operation}}",
        ),
        Query(f"max(exporter_recovery_faults{{{APP}}})", "found by the last start", faint=True),
    ),
    limits=(Rule("ExporterStorageErrors"),),
    explains=("ExporterStorageErrors",),
    empty="No data from the exporter",
)

COLLECTOR_STATUS = States(
    id=225,
    title="Collector status",
    about="ExporterScrapeError fires if a collector that alerts need fails.",
    unit="none",
    queries=(
        Query(
            f"min by (collector) (exporter_collector_success{{{APP}}})",
            "heypeter-app {{collector}}",
        ),
        Query('1 - max(pg_exporter_last_scrape_error{job="postgres"})', "postgres"),
        Query('1 - max(redis_exporter_last_scrape_error{job="redis"})', "redis"),
        Query(
            'min by (collector) (node_scrape_collector_success{job="node", '
            'collector=~"cpu|diskstats|filesystem|meminfo|timex|vmstat"})',
            "node {{collector}}",
        ),
    ),
    words=(Word("1", "OK"), Word("0", "failed", "red")),
    explains=("ExporterScrapeError",),
    empty="No data from any exporter",
)

TIME_TO_RENDER_METRICS = Series(
    id=226,
    title="Time to render /metrics",
    about="95th percentile. Prometheus times out after ten seconds.",
    unit="s",
    queries=(
        Query(
            quantile(0.95, f"exporter_render_duration_seconds_bucket{{{APP}}}", "$__rate_interval"),
            "95th percentile",
        ),
    ),
    empty="No scrapes",
)

UNKNOWN_LABEL_VALUES = Series(
    id=227,
    title="Unknown label values",
    about="Per hour, by label, counted as `other`. Add new routes or plans to exporter.yml.",
    unit="short",
    queries=(Query(f"round(sum by (label) (increase(exporter_label_overflow_total{{{APP}}}[1h])))", "{{label}}"),),
    empty="No unknown values",
)


PEERS_OUT_OF_REACH = Series(
    id=228,
    title="Peers out of reach",
    about="Other exporters that each cannot tell what it counts. Dashed: ExporterPeersUnreachable.",
    unit="short",
    queries=(Query(f'max by (instance) (exporter_peers{{{APP}, state="unreachable"}})', "{{instance}}"),),
    limits=(Rule("ExporterPeersUnreachable"),),
    explains=("ExporterPeersUnreachable",),
    empty="One exporter",
)

IDS_COUNTED_TWICE = Series(
    id=229,
    title="Ids counted twice",
    about="Per hour: batches and events that two exporters counted before one could tell the other.",
    unit="short",
    queries=(Query(f"round(max by (instance) (increase(exporter_counted_twice_total{{{APP}}}[1h])))", "{{instance}}"),),
    empty="One exporter",
)


REMEMBERED_IDS = Series(
    id=230,
    title="Remembered ids",
    about="Of batches and events, by which the exporter knows one that is sent again.",
    unit="short",
    queries=(Query(f"max by (instance) (exporter_dedup_entries{{{APP}}})", "{{instance}}"),),
    empty="No data from the exporter",
)

IDS_FORGOTTEN_EARLY = Series(
    id=231,
    title="Ids forgotten early",
    about="Times in a day that the oldest had to go for others. ExporterForgetsIds fires on those of servers.",
    unit="short",
    queries=(Query(f"round(sum by (ids) (increase(exporter_dedup_early_forgets_total{{{APP}}}[1d])))", "{{ids}}"),),
    limits=(Rule("ExporterForgetsIds"),),
    explains=("ExporterForgetsIds",),
    empty="No data from the exporter",
)


EXPORTER = Section(
    220,
    "Events in, metrics out",
    (
        *lines(8, EXPORTER_STATUS, EVENT_REJECTION_RATE),
        *lines(8, EXPORTER_STORAGE_ERRORS, ACCEPTED_AND_REJECTED_EVENTS),
        *lines(10, COLLECTOR_STATUS, across=1),
        *lines(8, REMEMBERED_IDS, IDS_FORGOTTEN_EARLY),
    ),
)

REPLICAS = Section(218, "Several exporters", lines(8, PEERS_OUT_OF_REACH, IDS_COUNTED_TWICE))

DETAILS = Section(219, "Rendering, unknown values", lines(8, TIME_TO_RENDER_METRICS, UNKNOWN_LABEL_VALUES), folded=True)

BOARD = Board(
    uid=f"{SITE.prefix}-exporter",
    title=f"{SITE.name}: exporter",
    about="Is every event taken in, kept and shown? For whoever runs the monitoring.",
    span="now-6h",
    refresh="30s",
    variables=(),
    sections=(EXPORTER, REPLICAS, DETAILS),
)
