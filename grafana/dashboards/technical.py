"""Technical: requests and error budgets, then stores, hosts and the monitoring itself, for whoever is paged."""

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

# Rate, errors and duration, whole and by route.
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
                    about="Share of the requests that end in a 5xx, health checks left out. Dashed: HighErrorRate.",
                    unit="percentunit",
                    queries=(Query('job:http_requests_errors:ratio_rate5m{job=~"$job"}', "{{job}}"),),
                    limits=(Rule("HighErrorRate"),),
                    explains=("HighErrorRate",),
                    width=8,
                    empty="No request was counted",
                ),
                Series(
                    id=3,
                    title="Response time",
                    about="Of all requests; the dots are single requests and lead to their traces. "
                    "Dashed: the benchmark and SlowResponseTime, which looks at five minutes.",
                    unit="s",
                    queries=(
                        Query(quantile(0.95, _BUCKETS, "$__rate_interval"), "95th percentile", exemplars=True),
                        Query(quantile(0.5, _BUCKETS, "$__rate_interval"), "median"),
                        Query('max(job:http_request_duration_seconds:p95_5m{job=~"$job"})', "95th, 5 minutes"),
                    ),
                    limits=(Target("api_response"), Rule("SlowResponseTime")),
                    explains=("SlowResponseTime",),
                    width=8,
                    empty="No request was counted",
                ),
                Series(
                    id=4,
                    title="Requests by status",
                    about="Requests a second, health checks included: when nothing at all is counted, "
                    "ApplicationDown tells.",
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
                    empty="No request was counted",
                ),
            ),
        ),
        Line(
            9,
            (
                Series(
                    id=5,
                    title="Which routes fail?",
                    about="Share of 5xx of the ten routes with the largest.",
                    unit="percentunit",
                    queries=(
                        Query(
                            'topk(10, job_route:http_requests_errors:ratio_rate5m{job=~"$job"})',
                            "{{method}} {{route}}",
                        ),
                    ),
                    limits=(Rule("HighErrorRate"),),
                    width=8,
                    empty="No request was counted",
                ),
                Series(
                    id=6,
                    title="Which routes are slow?",
                    about="95th percentile of the ten slowest routes. Dashed: the benchmark and SlowResponseTime.",
                    unit="s",
                    queries=(
                        Query(
                            'topk(10, job_route:http_request_duration_seconds:p95_5m{job=~"$job"})',
                            "{{method}} {{route}}",
                        ),
                    ),
                    limits=(Target("api_response"), Rule("SlowResponseTime")),
                    width=8,
                    empty="No request was counted",
                ),
                Series(
                    id=7,
                    title="Which routes are called?",
                    about="Requests a second of the ten routes called most.",
                    unit="reqps",
                    queries=(
                        Query(
                            "topk(10, sum by (method, route) "
                            '(rate(http_requests_total{job=~"$job"}[$__rate_interval])))',
                            "{{method}} {{route}}",
                        ),
                    ),
                    width=8,
                    empty="No request was counted",
                ),
            ),
        ),
        Line(
            8,
            (
                States(
                    id=8,
                    title="Does the site answer from outside?",
                    about="Each probe of the blackbox exporter: SiteUnreachable tells when all of a minute fail.",
                    unit="none",
                    queries=(Query('probe_success{job="blackbox-http"}', "{{instance}}"),),
                    words=(Word("1", "answers", "green"), Word("0", "does not", "red")),
                    explains=("SiteUnreachable",),
                    width=12,
                    empty="The site is not probed",
                ),
                Series(
                    id=9,
                    title="Where does a probe's time go?",
                    about="DNS, connection, TLS, the server's work and the transfer, one on top of the other.",
                    unit="s",
                    queries=(Query('max by (phase) (probe_http_duration_seconds{job="blackbox-http"})', "{{phase}}"),),
                    stacked=True,
                    width=12,
                    empty="The site is not probed",
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

# How fast the error budgets are spent, in the windows that alerts look at.
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
                    about=f"How many times too fast each error budget is spent: at 1 it lasts 30 days. Dashed: "
                    f"{alert}.",
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
                    empty="No event was counted",
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
                    about="Of the last 30 days: below 0 the objective of the month is missed.",
                    unit="percentunit",
                    queries=(Query("slo:error_budget_remaining:ratio{}", "{{slo}}"),),
                    smallest=None,
                    largest=1,
                    width=24,
                    empty="No event was counted",
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid="heypeter-technical",
    title="HeyPeter Academy: technical",
    about="What is slow, broken or full? For whoever is paged.",
    span="now-6h",
    refresh="30s",
    variables=("job", "host"),
    sections=(REQUESTS, BUDGETS, BROWSERS, DATABASE, CACHE, HOSTS, TARGETS, EXPORTER, PROMETHEUS, ALERTMANAGER),
)
