"""Production overview: status, firing alerts and open incidents, and how the application does."""

from grafana.dashboards.alerting import FIRING_COLUMNS, firing, health
from grafana.dashboards.duration import quantile
from grafana.dashboards.states import HEALTH
from grafana.panel import (
    Board,
    Column,
    Count,
    Limit,
    Line,
    Query,
    Rule,
    Section,
    Series,
    Stat,
    Table,
    Target,
)
from grafana.tables import COLOURS

_MORE = (("Requests", "heypeter-requests"),)
_OPEN = 'sum by (state) (receiver_incidents{job="receiver"})'
_BUCKETS = 'http_request_duration_seconds_bucket{job=~"$job"}'

NOW = Section(
    1,
    "Now",
    (
        Line(
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
                    id=3,
                    title="Firing alerts by priority",
                    about="P1 and P2 page someone. Without the Watchdog, which always fires.",
                    unit="none",
                    queries=tuple(
                        Query(
                            f'count(ALERTS{{alertstate="firing", priority="{p}", team=~"$team"}}) or vector(0)',
                            p,
                            priority=p,
                        )
                        for p in COLOURS
                    ),
                    alarms=tuple(COLOURS.values()),
                    width=8,
                    empty="none",
                ),
                Stat(
                    id=4,
                    title="Open incidents",
                    about="Triggered: nobody has acknowledged yet. Acknowledged: someone is working on it.",
                    unit="none",
                    queries=(Query(_OPEN, "{{state}}"),),
                    limits=(Limit(1, "above", "orange"),),
                    width=6,
                    empty="none",
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
                    leads_to=(("Benchmarks", "heypeter-benchmarks"),),
                ),
            ),
        ),
        Line(
            6,
            (
                Table(
                    id=6,
                    title="Firing alerts",
                    about="Most urgent first. Click an alert to open its runbook.",
                    unit="s",
                    queries=(Query(firing('team=~"$team"'), "{{alertname}}"),),
                    columns=FIRING_COLUMNS,
                    sort="Priority",
                    descending=False,
                    width=16,
                    empty="No firing alerts",
                ),
                Table(
                    id=7,
                    title="Open incidents",
                    about="By priority and state. Details are on the on-call dashboard.",
                    unit="none",
                    queries=(Query('receiver_incidents{job="receiver"} > 0', "{{priority}} {{state}}"),),
                    columns=(
                        Column("priority", "Priority", width=90),
                        Column("state", "State"),
                        Column("Value", "Incidents"),
                    ),
                    sort="Priority",
                    descending=False,
                    width=8,
                    empty="No open incidents",
                    leads_to=(("On call", "heypeter-oncall"),),
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
                    leads_to=_MORE,
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
                    leads_to=_MORE,
                ),
                Series(
                    id=43,
                    title="Error rate",
                    about="Share of requests that end in a 5xx error. Dashed: HighErrorRate.",
                    unit="percentunit",
                    queries=(Query('job:http_requests_errors:ratio_rate5m{job=~"$job"}', "{{job}}"),),
                    limits=(Rule("HighErrorRate"),),
                    width=8,
                    empty="No requests",
                    leads_to=_MORE,
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
                    leads_to=(("Database", "heypeter-database"),),
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
                    leads_to=(("Hosts", "heypeter-hosts"),),
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid="heypeter-overview",
    title="HeyPeter Academy: production overview",
    about="Is anything wrong, and who is dealing with it? For everyone who keeps the school running.",
    span="now-6h",
    refresh="30s",
    variables=("job", "team"),
    sections=(NOW, APPLICATION),
)
