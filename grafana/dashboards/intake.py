"""Exporter section of the technical dashboard."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.school import APP
from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
    Word,
)

_REJECTED = f'sum by (instance) (rate(exporter_events_rejected_total{{{APP}, source="events"}}[10m]))'
_ACCEPTED = f'sum by (instance) (rate(exporter_events_accepted_total{{{APP}, source="events"}}[10m]))'

EXPORTER = Section(
    220,
    "Monitoring: the exporter",
    (
        Line(
            7,
            (
                States(
                    id=221,
                    title="Exporter status",
                    about="ExporterDown fires if it is down: errors, latency, payments and logins are then not "
                    "measured.",
                    unit="none",
                    queries=(Query(f"max by (instance) (up{{{APP}}})", "{{instance}}"),),
                    words=ANSWERS,
                    explains=("ExporterDown",),
                    width=6,
                    empty="No data from the exporter",
                ),
                Series(
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
                    width=6,
                    empty="No events",
                ),
                Series(
                    id=223,
                    title="Event rejection rate",
                    about="Share of the application's events. Rejected events are not counted. Dashed: "
                    "ExporterRejectsEvents.",
                    unit="percentunit",
                    queries=(
                        Query(
                            f"({_REJECTED} or 0 * {_ACCEPTED}) / ({_ACCEPTED} + ({_REJECTED} or 0 * {_ACCEPTED}) > 0)",
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("ExporterRejectsEvents"),),
                    explains=("ExporterRejectsEvents",),
                    width=6,
                    empty="No events",
                ),
                Series(
                    id=224,
                    title="Exporter storage errors",
                    about="Per ten minutes, by operation. A restart would lose counts. ExporterStorageErrors fires "
                    "on each.",
                    unit="short",
                    queries=(
                        Query(
                            f"sum by (operation) (increase(exporter_storage_errors_total{{{APP}}}[10m]))",
                            "{{operation}}",
                        ),
                    ),
                    limits=(Rule("ExporterStorageErrors"),),
                    explains=("ExporterStorageErrors",),
                    width=6,
                    empty="No data from the exporter",
                ),
            ),
        ),
        Line(
            7,
            (
                States(
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
                    words=(Word("1", "OK", "green"), Word("0", "failed", "red")),
                    explains=("ExporterScrapeError",),
                    width=12,
                    empty="No data from any exporter",
                ),
                Series(
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
                    width=6,
                    empty="No scrapes",
                ),
                Series(
                    id=227,
                    title="Unknown label values",
                    about="Per hour, by label, counted as `other`. Add new routes or plans to exporter.yml.",
                    unit="short",
                    queries=(
                        Query(f"sum by (label) (increase(exporter_label_overflow_total{{{APP}}}[1h]))", "{{label}}"),
                    ),
                    width=6,
                    empty="No unknown values",
                ),
            ),
        ),
    ),
)
