"""Production overview: what is broken and who is on it, first; then how the application does."""

from grafana.dashboards.alerting import firing_alerts, health, open_incidents
from grafana.dashboards.duration import quantile
from grafana.dashboards.goals import TITLES
from grafana.dashboards.states import HEALTH, QUIET
from grafana.panel import Board, Column, Count, Line, Query, Rule, Section, Series, Stat, Table, Target
from rules.writing import SITE

_REQUESTS = (("Requests", f"{SITE.prefix}-requests"),)
_BUCKETS = 'http_request_duration_seconds_bucket{job=~"$job"}'
_ERRORS = 'http_requests_errors:ratio_rate5m{job=~"$job"}'
_MISSED = (
    "abs(heypeter:benchmark:value{} / on (benchmark, unit) heypeter:benchmark:target{} - 1) "
    "and on (benchmark) heypeter:benchmark:met{} == 0"
)

_STATUS = Line(
    4,
    (
        Stat(
            id=2,
            title="Production status",
            about="Outage: a P1 alert is firing. Degraded: a P2 alert is firing.",
            unit="none",
            queries=(Query(health(), "health"),),
            words=HEALTH,
            width=6,
            empty="unknown",
        ),
        Stat(
            id=8,
            title="Error rate",
            about="Share of requests that end in a 5xx error, over five minutes. HighErrorRate fires above "
            "{HighErrorRate}.",
            unit="percentunit",
            decimals=2,
            queries=(Query(f"max(job:{_ERRORS})", "5xx"),),
            limits=(Rule("HighErrorRate"),),
            width=5,
            empty="No requests",
            leads_to=_REQUESTS,
        ),
        Stat(
            id=4,
            title="Open incidents",
            about="An incident has an owner as soon as someone acknowledges it.",
            unit="none",
            queries=tuple(
                Query(f'sum(max by (priority) (receiver_incidents{{job="receiver", state="{state}"}}))', text)
                for state, text in (("triggered", "no owner"), ("acknowledged", "with owner"))
            ),
            alarms=("orange", QUIET),
            width=5,
            empty="unknown",
            leads_to=(("On call", f"{SITE.prefix}-oncall"),),
        ),
        Stat(
            id=9,
            title="Last deployment",
            about="How long ago. An error rate that rises right after a deployment is usually its fault.",
            unit="s",
            decimals=0,
            queries=(
                Query('time() - max(deployment_last_timestamp_seconds{job="heypeter-app"})', "since the deployment"),
            ),
            width=4,
            empty="never",
        ),
        Stat(
            id=5,
            title="Benchmarks met",
            about="A benchmark without data counts as missed.",
            unit="suffix: of {count}",
            queries=(Query("sum(heypeter:benchmark:met{})", "met"),),
            limits=(Count(),),
            width=4,
            empty="not measured",
            leads_to=(("Benchmarks", f"{SITE.prefix}-benchmarks"),),
        ),
    ),
)

NOW = Section(
    1,
    "Now",
    (
        _STATUS,
        Line(
            8,
            (
                open_incidents(7, width=15),
                Table(
                    id=10,
                    title="Failing routes",
                    about="Routes of which more than 1% of the requests end in a 5xx error, the worst first. Red: "
                    "above the limit of HighErrorRate.",
                    unit="percentunit",
                    queries=(Query(f"topk(10, job_route:{_ERRORS} > 0.01)", "{{method}} {{route}}"),),
                    columns=(
                        Column("method", "Method", width=80),
                        Column("route", "Route"),
                        Column("Value", "Errors", unit="percentunit", limits=(Rule("HighErrorRate"),), width=90),
                    ),
                    sort="Errors",
                    width=9,
                    empty="No failing routes",
                    leads_to=_REQUESTS,
                ),
            ),
        ),
        Line(
            8,
            (
                firing_alerts(6, width=15),
                Series(
                    id=43,
                    title="Error rate",
                    about="Share of requests that end in a 5xx error. Dashed: HighErrorRate. Blue marks: deployments.",
                    unit="percentunit",
                    queries=(Query(f"job:{_ERRORS}", "{{job}}"),),
                    limits=(Rule("HighErrorRate"),),
                    width=9,
                    empty="No requests",
                    leads_to=_REQUESTS,
                ),
            ),
        ),
    ),
)

APPLICATION = Section(
    40,
    "Application",
    (
        Line(
            9,
            (
                Series(
                    id=41,
                    title="Request rate",
                    about="Requests per second by method and route, all instances.",
                    unit="reqps",
                    queries=(
                        Query(
                            'sum by (method, route) (rate(http_requests_total{job=~"$job"}[$__rate_interval]))',
                            "{{method}} {{route}}",
                        ),
                    ),
                    width=8,
                    empty="No requests",
                    leads_to=_REQUESTS,
                ),
                Series(
                    id=42,
                    title="Response time",
                    about="All requests. Dashed: benchmark ({api_response}) and SlowResponseTime.",
                    unit="s",
                    queries=(
                        Query(quantile(0.95, _BUCKETS, "$__rate_interval"), "95th percentile", exemplars=True),
                        Query(quantile(0.5, _BUCKETS, "$__rate_interval"), "median"),
                    ),
                    limits=(Target("api_response"), Rule("SlowResponseTime")),
                    width=8,
                    empty="No requests",
                    leads_to=_REQUESTS,
                ),
                Table(
                    id=11,
                    title="Missed benchmarks",
                    about="Those that are missed now, and by which share of the goal.",
                    unit="percentunit",
                    queries=(Query(_MISSED, "{{benchmark}}"),),
                    columns=(
                        Column("benchmark", "Benchmark", words=TITLES),
                        Column("Value", "Missed by", unit="percentunit", width=110),
                    ),
                    sort="Missed by",
                    width=8,
                    empty="All benchmarks are met",
                    leads_to=(("Benchmarks", f"{SITE.prefix}-benchmarks"),),
                ),
            ),
        ),
        Line(
            9,
            (
                Series(
                    id=44,
                    title="Database connections",
                    about="By state, all databases. The limit excludes connections reserved for superusers.",
                    unit="short",
                    queries=(
                        Query('sum by (state) (pg_stat_activity_count{job="postgres"})', "{{state}}"),
                        Query("sum(instance:pg_connections_limit:max{})", "limit", faint=True),
                    ),
                    width=12,
                    empty="No data from PostgreSQL",
                    leads_to=(("Database", f"{SITE.prefix}-database"),),
                ),
                Series(
                    id=45,
                    title="Memory usage",
                    about="By host. Dashed: benchmark and HighMemoryUsage.",
                    unit="percentunit",
                    queries=(Query("instance:node_memory_utilisation:ratio{}", "{{instance}}"),),
                    limits=(Target("memory"), Rule("HighMemoryUsage")),
                    largest=1,
                    width=12,
                    empty="No data from any host",
                    leads_to=(("Hosts", f"{SITE.prefix}-hosts"),),
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid=f"{SITE.prefix}-overview",
    title=f"{SITE.name}: production overview",
    about="Is anything wrong, and who is dealing with it? For everyone who keeps it running.",
    span="now-6h",
    refresh="30s",
    variables=("job", "team"),
    sections=(NOW, APPLICATION),
)
