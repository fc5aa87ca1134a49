"""Production overview: is anything wrong, who hears of it, and which of the fifteen benchmarks are missed."""

from grafana.dashboards.alerting import FIRING_COLUMNS, HEALTH_WORDS, firing, health
from grafana.tables import Numbers
from grafana.panel import Board, Column, Limit, Line, Query, Section, Series, Stat, Table

# key of rules/tables/benchmarks.yml -> the panel's id and its title
APPLICATION = {
    "page_load": (21, "Page load time"),
    "api_response": (22, "API response time"),
    "database_query": (23, "Database query time"),
    "time_to_interactive": (24, "Time to interactive"),
    "first_contentful_paint": (25, "First contentful paint"),
}
INFRASTRUCTURE = {
    "cpu": (26, "CPU usage"),
    "memory": (27, "Memory usage"),
    "disk_io": (28, "Disk I/O"),
    "network_latency": (29, "Network latency"),
    "uptime": (30, "Uptime, 30 days"),
}
BUSINESS = {
    "registrations": (31, "Registrations in a day"),
    "bookings": (32, "Bookings in a day"),
    "payment_success": (33, "Payment success"),
    "retention": (34, "Retention, monthly"),
    "support_response": (35, "Oldest unanswered ticket"),
}
UNITS = {"seconds": "s", "ratio": "percentunit", "count": "short"}


def board(numbers: Numbers) -> Board:
    """Write the dashboard."""
    return Board(
        uid="heypeter-overview",
        title="HeyPeter Academy: production overview",
        about="Is anything wrong, and who hears of it? For everybody who keeps the school running.",
        span="now-6h",
        refresh="30s",
        variables=("job", "team"),
        sections=(now(numbers), benchmarks(numbers), application(numbers)),
    )


def benchmark(numbers: Numbers, key: str, place: tuple[int, str], width: int, *, explaining: bool = True) -> Stat:
    """Give the panel of one benchmark: its value, green while it is met. One dashboard alone explains its alert."""
    one, (number, title) = numbers.benchmarks[key], place
    decimals = {"uptime": 2, "count": 0}
    return Stat(
        id=number,
        title=title,
        about=f"{one.title}. The benchmark is {numbers.meant(key)}; {one.alert} tells when it is missed for {one.for_}.",
        unit=UNITS[one.unit],
        decimals=decimals.get(key, decimals.get(one.unit, 1)),
        queries=(Query(f'heypeter:benchmark:value{{benchmark="{key}"}}', title),),
        width=width,
        empty="not measured",
        limits=(numbers.target(key),),
        explains=(one.alert,) if explaining else (),
    )


def now(numbers: Numbers) -> Section:
    """Give the state of this moment."""
    open_incidents = 'sum by (state) (receiver_incidents{job="receiver"})'
    return Section(
        1,
        "Now",
        (
            Line(
                4,
                (
                    Stat(
                        id=2,
                        title="Is production well?",
                        about="An outage is a firing alert of priority P1; impaired is one of P2.",
                        unit="none",
                        queries=(Query(health(), "health"),),
                        words=HEALTH_WORDS,
                        width=6,
                        empty="not known",
                    ),
                    Stat(
                        id=3,
                        title="Alerts that fire",
                        about="By priority; P1 and P2 page. The Watchdog, which always fires, is left out.",
                        unit="none",
                        queries=tuple(
                            Query(
                                f'count(ALERTS{{alertstate="firing", priority="{p}", team=~"$team"}}) or vector(0)', p
                            )
                            for p in ("P1", "P2", "P3", "P4")
                        ),
                        limits=(Limit(1, "above", "orange"),),
                        width=8,
                        empty="none",
                        course=False,
                    ),
                    Stat(
                        id=4,
                        title="Incidents that are open",
                        about="Triggered: nobody has answered yet. Acknowledged: somebody is at it.",
                        unit="none",
                        queries=(Query(open_incidents, "{{state}}"),),
                        limits=(Limit(1, "above", "orange"),),
                        width=6,
                        empty="none",
                        course=False,
                    ),
                    Stat(
                        id=5,
                        title="Benchmarks met",
                        about="Of the fifteen below; one that is not measured counts as missed.",
                        unit="none",
                        queries=(Query("sum(heypeter:benchmark:met{})", "met"),),
                        limits=(Limit(len(numbers.benchmarks), "below", "yellow"),),
                        width=4,
                        empty="not measured",
                    ),
                ),
            ),
            Line(
                7,
                (
                    Table(
                        id=6,
                        title="What fires",
                        about="Firing alerts, the most urgent first. An alert's name leads to its runbook.",
                        unit="s",
                        queries=(Query(firing('team=~"$team"'), "{{alertname}}"),),
                        columns=FIRING_COLUMNS,
                        sort="Priority",
                        descending=False,
                        width=16,
                        empty="No alert fires",
                    ),
                    Table(
                        id=7,
                        title="Open incidents",
                        about="How many there are of each priority, and who has them; the on-call dashboard says more.",
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
                        empty="No incident is open",
                        leads_to=(("On call", "/d/heypeter-oncall"),),
                    ),
                ),
            ),
        ),
    )


def benchmarks(numbers: Numbers) -> Section:
    """Give the fifteen, in the document's three groups of five."""
    widths = (5, 5, 5, 5, 4)
    return Section(
        20,
        "The fifteen benchmarks",
        tuple(
            Line(
                4,
                tuple(
                    benchmark(numbers, key, place, width)
                    for (key, place), width in zip(group.items(), widths, strict=True)
                ),
            )
            for group in (APPLICATION, INFRASTRUCTURE, BUSINESS)
        ),
    )


def application(numbers: Numbers) -> Section:
    """Give the document's five panels, corrected."""
    more = (("Technical", "/d/heypeter-technical"),)
    buckets = 'sum by (le) (rate(http_request_duration_seconds_bucket{job=~"$job"}[$__rate_interval]))'
    return Section(
        40,
        "The application",
        (
            Line(
                9,
                (
                    Series(
                        id=41,
                        title="Request rate",
                        about="Requests a second by method and route, all instances together.",
                        unit="reqps",
                        queries=(
                            Query(
                                'sum by (method, route) (rate(http_requests_total{job=~"$job"}[$__rate_interval]))',
                                "{{method}} {{route}}",
                            ),
                        ),
                        width=8,
                        empty="No request was counted",
                        leads_to=more,
                    ),
                    Series(
                        id=42,
                        title="Response time",
                        about=f"Of all requests. Dashed: the benchmark ({numbers.meant('api_response')}) and SlowResponseTime.",
                        unit="s",
                        queries=(
                            Query(f"histogram_quantile(0.95, {buckets})", "95th percentile", exemplars=True),
                            Query(f"histogram_quantile(0.5, {buckets})", "median"),
                        ),
                        limits=(numbers.target("api_response"), numbers.limit("SlowResponseTime")),
                        width=8,
                        empty="No request was counted",
                        leads_to=more,
                    ),
                    Series(
                        id=43,
                        title="Error rate",
                        about="Share of the requests that end in a 5xx. Dashed: HighErrorRate.",
                        unit="percentunit",
                        queries=(Query('job:http_requests_errors:ratio_rate5m{job=~"$job"}', "{{job}}"),),
                        limits=(numbers.limit("HighErrorRate"),),
                        width=8,
                        empty="No request was counted",
                        leads_to=more,
                    ),
                ),
            ),
            Line(
                9,
                (
                    Series(
                        id=44,
                        title="Database connections",
                        about="By state, all databases together; the limit is what PostgreSQL leaves to users.",
                        unit="short",
                        queries=(
                            Query('sum by (state) (pg_stat_activity_count{job="postgres"})', "{{state}}"),
                            Query("sum(instance:pg_connections_limit:max{})", "limit"),
                        ),
                        width=12,
                        empty="The database is not measured",
                        leads_to=more,
                    ),
                    Series(
                        id=45,
                        title="Memory usage",
                        about="Used memory of each host. Dashed: the benchmark and HighMemoryUsage.",
                        unit="percentunit",
                        queries=(Query("instance:node_memory_utilisation:ratio{}", "{{instance}}"),),
                        limits=(numbers.target("memory"), numbers.limit("HighMemoryUsage")),
                        largest=1,
                        width=12,
                        empty="No host is measured",
                        leads_to=more,
                    ),
                ),
            ),
        ),
    )
