"""Targets section of the monitoring dashboard."""

from dataclasses import replace

from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
    Word,
    lines,
)
from rules import expected_rules

# The jobs and metrics that JobMissing and ExpectedMetricMissing check: rules/tables/expected.yml.
_EXPECTED = expected_rules.read()


def jobs(table: expected_rules.Table) -> tuple[Query, ...]:
    """Ask for each job that is expected whether it has targets."""
    return tuple(Query(f'count(up{{job="{job}"}}) > bool 0 or vector(0)', job) for job in table.here)


def metrics(table: expected_rules.Table) -> tuple[Query, ...]:
    """Ask for each metric that is expected whether it is there."""
    return tuple(
        Query(f'count({metric}{{job="{job}"}}) > bool 0 or vector(0)', metric)
        for job, names in table.here.items()
        for metric in names
    )


TARGET_STATUS = States(
    id=201,
    title="Target status",
    about="Alerts about a target that is down cannot fire. TargetDown, or the alert of its job, fires.",
    unit="none",
    queries=(Query("max by (job, instance) (up{})", "{{job}} {{instance}}"),),
    words=ANSWERS,
    explains=("TargetDown",),
    empty="No targets",
)

JOBS = States(
    id=202,
    title="Expected jobs",
    about="Jobs that rules need. JobMissing fires if one has no targets.",
    unit="none",
    queries=jobs(_EXPECTED),
    words=(Word("1", "has targets"), Word("0", "missing", "red")),
    explains=("JobMissing",),
    empty="unknown",
)

METRICS_THAT_ALERTS_NEED = States(
    id=203,
    title="Metrics that alerts need",
    about="ExpectedMetricMissing fires if a job is up but does not expose the metric, because its alerts cannot fire.",
    unit="none",
    queries=metrics(_EXPECTED),
    words=(Word("1", "present"), Word("0", "missing", "red")),
    explains=("ExpectedMetricMissing",),
    empty="unknown",
)

SCRAPE_DURATION = Series(
    id=204,
    title="Scrape duration",
    about="Dashed: ScrapeNearTimeout.",
    unit="s",
    queries=(Query("max by (job, instance) (scrape_duration_seconds{})", "{{job}} {{instance}}"),),
    limits=(Rule("ScrapeNearTimeout"),),
    explains=("ScrapeNearTimeout",),
    empty="No targets",
)

SERIES_PER_TARGET = Series(
    id=205,
    title="Series per target",
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
    empty="No targets",
)


TARGETS = Section(
    200,
    "Targets",
    (
        Line(10, (replace(TARGET_STATUS, width=16), replace(JOBS, width=8))),
        *lines(9, METRICS_THAT_ALERTS_NEED, across=1),
        *lines(9, SCRAPE_DURATION, SERIES_PER_TARGET, across=1),
    ),
)
