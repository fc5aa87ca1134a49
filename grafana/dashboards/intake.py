"""Our exporter, on the technical dashboard: is it there, and does it take what it is sent."""

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

# Our exporter: is it there, and does it take what it is sent.
EXPORTER = Section(
    220,
    "Monitoring: the exporter",
    (
        Line(
            7,
            (
                States(
                    id=221,
                    title="Does the exporter answer?",
                    about="Without it errors, latency, payments and logins are not seen: ExporterDown.",
                    unit="none",
                    queries=(Query(f"max by (instance) (up{{{APP}}})", "{{instance}}"),),
                    words=ANSWERS,
                    explains=("ExporterDown",),
                    width=6,
                    empty="The exporter is not measured",
                ),
                Series(
                    id=222,
                    title="Events that it takes and refuses",
                    about="A second, by who sends them.",
                    unit="ops",
                    queries=(
                        Query(
                            f"sum by (source) (rate(exporter_events_accepted_total{{{APP}}}[$__rate_interval]))",
                            "taken from {{source}}",
                        ),
                        Query(
                            f"sum by (source) (rate(exporter_events_rejected_total{{{APP}}}[$__rate_interval]))",
                            "refused from {{source}}",
                        ),
                    ),
                    width=6,
                    empty="No event came",
                ),
                Series(
                    id=223,
                    title="Share of the application's events refused",
                    about="What is refused is counted nowhere. Dashed: ExporterRejectsEvents.",
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
                    empty="No event came",
                ),
                Series(
                    id=224,
                    title="Failures of its storage",
                    about="Within ten minutes, by operation: a restart would lose counts. "
                    "ExporterStorageErrors tells of each.",
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
                    empty="The exporter is not measured",
                ),
            ),
        ),
        Line(
            7,
            (
                States(
                    id=225,
                    title="Do the exporters collect everything?",
                    about="ExporterScrapeError tells when a part that alerts need could not be collected.",
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
                    words=(Word("1", "collected", "green"), Word("0", "failed", "red")),
                    explains=("ExporterScrapeError",),
                    width=12,
                    empty="No exporter is measured",
                ),
                Series(
                    id=226,
                    title="Time to write /metrics",
                    about="95th percentile; Prometheus waits ten seconds.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"exporter_render_duration_seconds_bucket{{{APP}}}", "$__rate_interval"),
                            "95th percentile",
                        ),
                    ),
                    width=6,
                    empty="Nobody asked for /metrics",
                ),
                Series(
                    id=227,
                    title="Values outside their lists",
                    about="Within an hour, counted as `other`, by label: a new route or plan belongs into "
                    "exporter.yml.",
                    unit="short",
                    queries=(
                        Query(f"sum by (label) (increase(exporter_label_overflow_total{{{APP}}}[1h]))", "{{label}}"),
                    ),
                    width=6,
                    empty="Every value is known",
                ),
            ),
        ),
    ),
)
