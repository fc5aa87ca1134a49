"""The fifteen benchmarks in three groups of five: as graphs with the goal, and as tiles."""

from dataclasses import dataclass

from grafana.panel import Query, Rule, Series, Stat, Target, Word

_WIDTHS = (5, 4, 5, 4, 6)  # of 24


@dataclass(frozen=True, slots=True)
class Goal:
    """A benchmark of rules/tables/benchmarks.yml, the title of its panel, and the alerts with a worse threshold."""

    key: str
    alert: str
    id: int
    title: str
    unit: str
    decimals: int
    worse: tuple[Rule, ...] = ()
    close: bool = False  # to its goal: an axis from 0 would show a straight line


APPLICATION = (
    Goal("page_load", "PageLoadSlow", 21, "Page load time", "s", 2),
    Goal("api_response", "ApiLatencyAboveBenchmark", 22, "API response time", "s", 0, (Rule("SlowResponseTime"),)),
    Goal("database_query", "DatabaseQueryLatencyAboveBenchmark", 23, "Database query time", "s", 0),
    Goal("time_to_interactive", "TimeToInteractiveSlow", 24, "Time to interactive", "s", 2),
    Goal("first_contentful_paint", "FirstContentfulPaintSlow", 25, "First contentful paint", "s", 2),
)
INFRASTRUCTURE = (
    Goal("cpu", "CpuAboveBenchmark", 26, "CPU usage", "percentunit", 0),
    Goal("memory", "MemoryAboveBenchmark", 27, "Memory usage", "percentunit", 0, (Rule("HighMemoryUsage"),)),
    Goal("disk_io", "DiskIoAboveBenchmark", 28, "Disk I/O", "percentunit", 0),
    Goal("network_latency", "NetworkLatencyAboveBenchmark", 29, "Network latency", "s", 0),
    Goal("uptime", "UptimeBelowBenchmark", 30, "Uptime, 30 days", "percentunit", 3, close=True),
)
BUSINESS = (
    Goal("registrations", "RegistrationsBelowBenchmark", 31, "Daily registrations", "locale", 0),
    Goal("bookings", "BookingsBelowBenchmark", 32, "Daily bookings", "locale", 0),
    Goal("payment_success", "PaymentSuccessBelowBenchmark", 33, "Payment success rate", "percentunit", 1, close=True),
    Goal("retention", "RetentionBelowBenchmark", 34, "Monthly retention", "percentunit", 0, close=True),
    Goal("support_response", "SupportResponseAboveBenchmark", 35, "Unanswered tickets: oldest", "s", 1),
)


TITLES = tuple(Word(goal.key, goal.title) for goal in (*APPLICATION, *INFRASTRUCTURE, *BUSINESS))


def graphs(goals: tuple[Goal, ...]) -> tuple[Series, ...]:
    """Return a graph of each benchmark with its goal as a line; the alerts of the benchmarks lead to these."""
    return tuple(
        Series(
            id=goal.id,
            title=goal.title,
            about=f"{_about(goal)} {goal.alert} fires if it is missed.",
            unit="short" if goal.unit == "locale" else goal.unit,
            queries=(_query(goal),),
            limits=(Target(goal.key), *goal.worse),
            smallest=None if goal.close else 0,
            decimals=goal.decimals or 1 if goal.close else None,
            explains=(goal.alert,),
            empty="not measured",
        )
        for goal in goals
    )


def tiles(goals: tuple[Goal, ...], shift: int) -> tuple[Stat, ...]:
    """Return a tile of each benchmark of one group, side by side."""
    return tuple(
        Stat(
            id=goal.id + shift,
            title=goal.title,
            about=_about(goal),
            unit=goal.unit,
            decimals=goal.decimals,
            queries=(_query(goal),),
            width=width,
            empty="not measured",
            goal=f"goal {{{goal.key}}}",
            limits=(Target(goal.key), *goal.worse),
        )
        for goal, width in zip(goals, _WIDTHS, strict=True)
    )


def _about(goal: Goal) -> str:
    return f"{{title {goal.key}}}. Benchmark: {{{goal.key}}}."


def _query(goal: Goal) -> Query:
    value = f'heypeter:benchmark:value{{benchmark="{goal.key}"}}'
    return Query(f"round({value})" if goal.unit == "locale" else value, goal.title)
