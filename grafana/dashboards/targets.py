"""What Prometheus scrapes, on the technical dashboard: who answers, and whether what rules need is there."""

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

# Those that ExpectedMetricMissing asks for, with the job that has them.
_EXPECTED = {
    "http_requests_total": "heypeter-app",
    "http_request_duration_seconds_bucket": "heypeter-app",
    "db_query_duration_seconds_bucket": "heypeter-app",
    "payment_attempts_total": "heypeter-app",
    "backup_last_success_timestamp_seconds": "heypeter-app",
    "pg_up": "postgres",
    "redis_up": "redis",
    "nginx_up": "nginx",
    "node_memory_MemAvailable_bytes": "node",
    "node_filesystem_avail_bytes": "node",
    "receiver_outbox_oldest_age_seconds": "receiver",
}

# What is scraped: who answers, how long it takes, and whether what rules need is there.
TARGETS = Section(
    200,
    "Monitoring: targets",
    (
        Line(
            10,
            (
                States(
                    id=201,
                    title="Which targets answer?",
                    about="A target that does not makes every alert about it blind: TargetDown, or the alert "
                    "of its own job.",
                    unit="none",
                    queries=(Query("max by (job, instance) (up{})", "{{job}} {{instance}}"),),
                    words=ANSWERS,
                    explains=("TargetDown",),
                    width=12,
                    empty="Nothing is scraped",
                ),
                States(
                    id=202,
                    title="Which jobs have no target?",
                    about="Jobs that rules ask for: JobMissing tells of one that was lost from the configuration.",
                    unit="none",
                    queries=tuple(
                        Query(f'count(up{{job="{job}"}}) > bool 0 or vector(0)', job)
                        for job in (
                            *("node", "heypeter-app", "postgres", "redis", "nginx"),
                            *("blackbox-http", "prometheus", "alertmanager", "receiver"),
                        )
                    ),
                    words=(Word("1", "has targets", "green"), Word("0", "has none", "red")),
                    explains=("JobMissing",),
                    width=12,
                    empty="not known",
                ),
            ),
        ),
        Line(
            8,
            (
                States(
                    id=203,
                    title="Which metrics of the rules are missing?",
                    about="Of each job that answers: without the metric its alerts cannot fire, and "
                    "ExpectedMetricMissing tells.",
                    unit="none",
                    queries=tuple(
                        Query(f'count({metric}{{job="{job}"}}) > bool 0 or vector(0)', metric)
                        for metric, job in _EXPECTED.items()
                    ),
                    words=(Word("1", "there", "green"), Word("0", "missing", "red")),
                    explains=("ExpectedMetricMissing",),
                    width=12,
                    empty="not known",
                ),
                Series(
                    id=204,
                    title="Time to scrape a target",
                    about="Dashed: ScrapeNearTimeout.",
                    unit="s",
                    queries=(Query("max by (job, instance) (scrape_duration_seconds{})", "{{job}} {{instance}}"),),
                    limits=(Rule("ScrapeNearTimeout"),),
                    explains=("ScrapeNearTimeout",),
                    width=6,
                    empty="Nothing is scraped",
                ),
                Series(
                    id=205,
                    title="Series of a target",
                    about="Dashed: TargetCardinalityHigh.",
                    unit="short",
                    queries=(
                        Query(
                            "max by (job, instance) (scrape_samples_post_metric_relabeling{})",
                            "{{job}} {{instance}}",
                        ),
                    ),
                    limits=(Rule("TargetCardinalityHigh"),),
                    explains=("TargetCardinalityHigh",),
                    width=6,
                    empty="Nothing is scraped",
                ),
            ),
        ),
    ),
)
