"""Requests dashboard: errors, duration and traffic by route, probes from outside, and error budgets."""

from grafana.dashboards.duration import quantile
from grafana.panel import Board, Burn, Query, Rule, Section, Series, States, Target, Word, lines
from rules.writing import SITE

_BUCKETS = 'http_request_duration_seconds_bucket{job=~"$job"}'

ERROR_RATE = Series(
    id=2,
    title="Error rate",
    about="Share of requests that end in a 5xx error, without health checks. Dashed: HighErrorRate.",
    unit="percentunit",
    queries=(Query('job:http_requests_errors:ratio_rate5m{job=~"$job"}', "{{job}}"),),
    limits=(Rule("HighErrorRate"),),
    explains=("HighErrorRate",),
    empty="No requests",
)

RESPONSE_TIME = Series(
    id=3,
    title="Response time",
    about="All requests. Dots are exemplars that link to their traces. Dashed: benchmark and "
    "SlowResponseTime, which uses five minutes.",
    unit="s",
    queries=(
        Query(quantile(0.95, _BUCKETS, "$__rate_interval"), "95th percentile", exemplars=True),
        Query(quantile(0.5, _BUCKETS, "$__rate_interval"), "median"),
        Query('max(job:http_request_duration_seconds:p95_5m{job=~"$job"})', "95th, 5 minutes"),
    ),
    limits=(Target("api_response"), Rule("SlowResponseTime")),
    explains=("SlowResponseTime",),
    empty="No requests",
)

REQUESTS_BY_STATUS = Series(
    id=4,
    title="Requests by status",
    about="Requests per second, including health checks. ApplicationDown fires if there are none.",
    unit="reqps",
    queries=(
        Query(
            'sum by (status) (rate(http_requests_total{job=~"$job"}[$__rate_interval]))',
            "{{status}}",
        ),
    ),
    explains=("ApplicationDown",),
    stacked=True,
    empty="No requests",
)

ROUTES_WITH_THE_MOST_ERRORS = Series(
    id=5,
    title="Error rate by route",
    about="Share of 5xx errors, top ten routes.",
    unit="percentunit",
    queries=(
        Query(
            'topk(10, job_route:http_requests_errors:ratio_rate5m{job=~"$job"})',
            "{{method}} {{route}}",
        ),
    ),
    limits=(Rule("HighErrorRate"),),
    empty="No requests",
)

SLOWEST_ROUTES = Series(
    id=6,
    title="Slowest routes",
    about="95th percentile, top ten routes. Dashed: benchmark and SlowResponseTime.",
    unit="s",
    queries=(
        Query(
            'topk(10, job_route:http_request_duration_seconds:p95_5m{job=~"$job"})',
            "{{method}} {{route}}",
        ),
    ),
    limits=(Target("api_response"), Rule("SlowResponseTime")),
    empty="No requests",
)

BUSIEST_ROUTES = Series(
    id=7,
    title="Busiest routes",
    about="Requests per second, top ten routes.",
    unit="reqps",
    queries=(
        Query(
            'topk(10, sum by (method, route) (rate(http_requests_total{job=~"$job"}[$__rate_interval])))',
            "{{method}} {{route}}",
        ),
    ),
    empty="No requests",
)

SITE_REACHABLE_FROM_OUTSIDE = States(
    id=8,
    title="Site reachable from outside",
    about="Probes of the blackbox exporter. SiteUnreachable fires if all probes of a minute fail.",
    unit="none",
    queries=(Query('probe_success{job="blackbox-http"}', "{{instance}}"),),
    words=(Word("1", "up"), Word("0", "down", "red")),
    explains=("SiteUnreachable",),
    empty="No probes",
)

PROBE_DURATION_BY_PHASE = Series(
    id=9,
    title="Probe duration by phase",
    about="DNS, connection, TLS, server processing and transfer, stacked.",
    unit="s",
    queries=(Query('max by (phase) (probe_http_duration_seconds{job="blackbox-http"})', "{{phase}}"),),
    stacked=True,
    empty="No probes",
)

ERROR_BUDGET_LEFT = Series(
    id=25,
    title="Error budget left",
    about="Over the last 30 days. Below 0, the objective is missed.",
    unit="percentunit",
    queries=(Query("slo:error_budget_remaining:ratio{}", "{{slo}}"),),
    smallest=None,
    largest=1,
    empty="No events",
)


BURN_RATES = tuple(
    Series(
        id=number,
        title=f"Burn rate over {window}",
        about=f"1 means that the error budget lasts exactly 30 days; 2, half as long. Dashed: {alert}.",
        unit="none",
        decimals=2,
        queries=(
            Query(f"slo:sli_error:ratio_rate{window}{{}} / on (slo, team) (1 - slo:objective:ratio{{}})", "{{slo}}"),
        ),
        limits=(Burn(alert),),
        explains=(alert,),
        empty="No events",
    )
    for number, window, alert in (
        (21, "1h", "SLOBurnRateFast"),
        (22, "6h", "SLOBurnRateHigh"),
        (23, "1d", "SLOBurnRateElevated"),
        (24, "3d", "SLOBurnRateSlow"),
    )
)

REQUESTS = Section(
    1,
    "Errors and duration",
    (
        *lines(9, ERROR_RATE, RESPONSE_TIME),
        *lines(10, ROUTES_WITH_THE_MOST_ERRORS, SLOWEST_ROUTES),
        *lines(9, REQUESTS_BY_STATUS, SITE_REACHABLE_FROM_OUTSIDE),
    ),
)

BUDGETS = Section(20, "Error budgets", (*lines(8, ERROR_BUDGET_LEFT, across=1), *lines(8, *BURN_RATES)))

DETAILS = Section(10, "Busiest routes, probes", lines(10, BUSIEST_ROUTES, PROBE_DURATION_BY_PHASE), folded=True)

BOARD = Board(
    uid=f"{SITE.prefix}-requests",
    title=f"{SITE.name}: requests",
    about="Which requests fail or are slow, and how much of the error budgets is left? For the engineer on call.",
    span="now-6h",
    refresh="30s",
    variables=("job",),
    sections=(REQUESTS, BUDGETS, DETAILS),
)
