"""Technical dashboard, for the on-call engineer: requests, error budgets, data stores, hosts and monitoring."""

from grafana.dashboards.browsers import BROWSERS
from grafana.dashboards.cache import CACHE
from grafana.dashboards.database import DATABASE
from grafana.dashboards.duration import quantile
from grafana.dashboards.hosts import HOSTS
from grafana.dashboards.intake import EXPORTER
from grafana.dashboards.pipeline import ALERTMANAGER, PROMETHEUS
from grafana.dashboards.targets import TARGETS
from grafana.panel import (
    Board,
    Burn,
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
    Target,
    Word,
)

_BUCKETS = 'http_request_duration_seconds_bucket{job=~"$job"}'

REQUESTS = Section(
    1,
    "Requests: rate, errors, duration",
    (
        Line(
            8,
            (
                Series(
                    id=2,
                    title="Error rate",
                    about="Share of requests that end in a 5xx error, without health checks. Dashed: HighErrorRate.",
                    unit="percentunit",
                    queries=(Query('job:http_requests_errors:ratio_rate5m{job=~"$job"}', "{{job}}"),),
                    limits=(Rule("HighErrorRate"),),
                    explains=("HighErrorRate",),
                    width=8,
                    empty="No requests",
                ),
                Series(
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
                    width=8,
                    empty="No requests",
                ),
                Series(
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
                    width=8,
                    empty="No requests",
                ),
            ),
        ),
        Line(
            9,
            (
                Series(
                    id=5,
                    title="Routes with the most errors",
                    about="Share of 5xx errors, top ten routes.",
                    unit="percentunit",
                    queries=(
                        Query(
                            'topk(10, job_route:http_requests_errors:ratio_rate5m{job=~"$job"})',
                            "{{method}} {{route}}",
                        ),
                    ),
                    limits=(Rule("HighErrorRate"),),
                    width=8,
                    empty="No requests",
                ),
                Series(
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
                    width=8,
                    empty="No requests",
                ),
                Series(
                    id=7,
                    title="Busiest routes",
                    about="Requests per second, top ten routes.",
                    unit="reqps",
                    queries=(
                        Query(
                            "topk(10, sum by (method, route) "
                            '(rate(http_requests_total{job=~"$job"}[$__rate_interval])))',
                            "{{method}} {{route}}",
                        ),
                    ),
                    width=8,
                    empty="No requests",
                ),
            ),
        ),
        Line(
            8,
            (
                States(
                    id=8,
                    title="Site reachable from outside",
                    about="Probes of the blackbox exporter. SiteUnreachable fires if all probes of a minute fail.",
                    unit="none",
                    queries=(Query('probe_success{job="blackbox-http"}', "{{instance}}"),),
                    words=(Word("1", "up", "green"), Word("0", "down", "red")),
                    explains=("SiteUnreachable",),
                    width=12,
                    empty="No probes",
                ),
                Series(
                    id=9,
                    title="Probe duration by phase",
                    about="DNS, connection, TLS, server processing and transfer, stacked.",
                    unit="s",
                    queries=(Query('max by (phase) (probe_http_duration_seconds{job="blackbox-http"})', "{{phase}}"),),
                    stacked=True,
                    width=12,
                    empty="No probes",
                ),
            ),
        ),
    ),
)

_BURNS = (
    (21, "1h", "SLOBurnRateFast"),
    (22, "6h", "SLOBurnRateHigh"),
    (23, "1d", "SLOBurnRateElevated"),
    (24, "3d", "SLOBurnRateSlow"),
)

BUDGETS = Section(
    20,
    "Error budgets",
    (
        Line(
            8,
            tuple(
                Series(
                    id=number,
                    title=f"Burn rate over {window}",
                    about=f"1 means that the error budget lasts exactly 30 days; 2, half as long. Dashed: {alert}.",
                    unit="none",
                    decimals=2,
                    queries=(
                        Query(
                            f"slo:sli_error:ratio_rate{window}{{}} / on (slo, team) (1 - slo:objective:ratio{{}})",
                            "{{slo}}",
                        ),
                    ),
                    limits=(Burn(alert),),
                    explains=(alert,),
                    width=6,
                    empty="No events",
                )
                for number, window, alert in _BURNS
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=25,
                    title="Error budget left",
                    about="Over the last 30 days. Below 0, the objective is missed.",
                    unit="percentunit",
                    queries=(Query("slo:error_budget_remaining:ratio{}", "{{slo}}"),),
                    smallest=None,
                    largest=1,
                    width=24,
                    empty="No events",
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid="heypeter-technical",
    title="HeyPeter Academy: technical",
    about="What is slow, broken or full? For the engineer on call.",
    span="now-6h",
    refresh="30s",
    variables=("job", "host"),
    sections=(REQUESTS, BUDGETS, BROWSERS, DATABASE, CACHE, HOSTS, TARGETS, EXPORTER, PROMETHEUS, ALERTMANAGER),
)
