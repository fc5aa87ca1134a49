"""Executive dashboard: how the school is doing, for readers without technical knowledge."""

from grafana.dashboards import goals
from grafana.dashboards.alerting import health
from grafana.dashboards.school import CURRENCIES, revenue, seats
from grafana.dashboards.states import HEALTH
from grafana.panel import (
    Bars,
    Board,
    Count,
    Limit,
    Line,
    Query,
    Section,
    Series,
    Stat,
    States,
    Target,
)
from rules.writing import SITE

# The objectives of rules/tables/slo.yml in words that management understands.
_PROMISES = {
    "http-availability": "Pages without errors",
    "http-latency": "Fast pages",
    "payment-success": "Successful payments",
    "site-uptime": "Site reachable",
}


_WINDOWS = {"1d": "last day", "7d": "last 7 days", "30d": "last 30 days"}

_SATISFIED = "heypeter:student_satisfaction:avg7d{}"

PLATFORM = Section(
    1,
    "Platform",
    (
        Line(
            5,
            (
                Stat(
                    id=2,
                    title="System health",
                    about="Outage: something that students need does not work. Degraded: it works, but badly.",
                    unit="none",
                    queries=(Query(health(), "System health"),),
                    words=HEALTH,
                    width=5,
                    empty="unknown",
                    leads_to=(("Overview", f"{SITE.prefix}-overview"),),
                ),
                Stat(
                    id=3,
                    title="Goals met",
                    about="Of the {count} goals that the school has set itself for speed, reliability and business.",
                    unit="suffix: of {count}",
                    queries=(Query("sum(heypeter:benchmark:met{})", "met"),),
                    limits=(Count(),),
                    width=5,
                    empty="not measured",
                    leads_to=(("Benchmarks", f"{SITE.prefix}-benchmarks"),),
                ),
                Stat(
                    id=4,
                    title="Site reachable, last 30 days",
                    about="Share of time in which the site could be reached from outside, whether or not everything on "
                    "it worked. Goal: {uptime}.",
                    unit="percentunit",
                    decimals=3,  # one failed probe in 30 days is 0.0006%
                    queries=(Query('heypeter:benchmark:value{benchmark="uptime"}', "Uptime"),),
                    limits=(Target("uptime"),),
                    width=5,
                    empty="not measured",
                ),
                Stat(
                    id=8,
                    title="Time without an outage",
                    about="Share of the time range in which everything that students need worked: what is not red in "
                    "system health over time.",
                    unit="percentunit",
                    decimals=2,
                    queries=(Query(f"avg_over_time(({health()} < bool 2)[$__range:1m])", "without an outage"),),
                    width=5,
                    empty="not measured",
                ),
                Stat(
                    id=5,
                    title="Open incidents",
                    about="Problems that someone is working on, or should be.",
                    unit="none",
                    queries=(Query('sum(max by (state, priority) (receiver_incidents{job="receiver"}))', "open"),),
                    limits=(Limit(1, "above", "orange"),),
                    width=4,
                    empty="none",
                    leads_to=(("On call", f"{SITE.prefix}-oncall"),),
                ),
            ),
        ),
        Line(
            6,
            (
                States(
                    id=6,
                    title="System health over time",
                    about="Grey: healthy. Orange: degraded. Red: outage.",
                    unit="none",
                    queries=(Query(health(), "System health"),),
                    words=HEALTH,
                    width=12,
                    empty="unknown",
                ),
                Bars(
                    id=7,
                    title="Error budget left this month",
                    about="Each objective allows for some failures within 30 days. This is how much of that "
                    "allowance is left; below 0 the objective is missed.",
                    unit="percentunit",
                    decimals=0,
                    queries=tuple(
                        Query(f'slo:error_budget_remaining:ratio{{slo="{objective}"}}', promise)
                        for objective, promise in _PROMISES.items()
                    ),
                    limits=(Limit(0, "below", "red"),),
                    largest=1,
                    width=12,
                    empty="not measured",
                    leads_to=(("Requests", f"{SITE.prefix}-requests"),),
                ),
            ),
        ),
    ),
)

STUDENTS = Section(
    20,
    "Students",
    (
        Line(
            5,
            (
                Stat(
                    id=21,
                    title="Active users",
                    about="People who used the school, counted anonymously.",
                    unit="locale",
                    decimals=0,
                    queries=tuple(
                        Query(f'max(active_users{{job="heypeter-app", window="{window}"}}) or vector(0)', text)
                        for window, text in _WINDOWS.items()
                    ),
                    width=12,
                    empty="none",
                ),
                Stat(
                    id=22,
                    title="Student satisfaction",
                    about="Average rating of classes by students over seven days, out of five stars.",
                    unit="none",
                    decimals=2,
                    queries=(Query(_SATISFIED, "stars"),),
                    width=6,
                    empty="No ratings",
                ),
                Stat(
                    id=23,
                    title="Seats booked",
                    about="Class utilisation: share of seats booked in upcoming classes.",
                    unit="percentunit",
                    decimals=0,
                    queries=(Query(seats(""), "Seats booked"),),
                    width=6,
                    empty="No upcoming classes",
                ),
            ),
        ),
        Line(
            8,
            (
                Series(
                    id=24,
                    title="Active users over time",
                    about="Within the last day and the last seven days.",
                    unit="short",
                    queries=tuple(
                        Query(f'max(active_users{{job="heypeter-app", window="{window}"}})', _WINDOWS[window])
                        for window in ("1d", "7d")
                    ),
                    width=8,
                    empty="No active users",
                ),
                Series(
                    id=25,
                    title="Student satisfaction over time",
                    about="Average rating over seven days, out of five stars.",
                    unit="none",
                    queries=(Query(_SATISFIED, "Stars"),),
                    smallest=1,
                    largest=5,
                    width=8,
                    empty="No ratings",
                ),
                Bars(
                    id=26,
                    title="Seats booked by class type",
                    about="Share of seats booked in upcoming classes.",
                    unit="percentunit",
                    decimals=0,
                    queries=(Query(seats(" by (class_type)"), "{{class_type}}"),),
                    largest=1,
                    width=8,
                    empty="No upcoming classes",
                ),
            ),
        ),
    ),
)

BUSINESS = Section(
    40,
    "Business",
    (
        Line(
            8,
            (
                Stat(
                    id=41,
                    title="Revenue, last 24 hours",
                    about="Payments received, by currency. Refunds are not subtracted.",
                    unit="currencyEUR",
                    units=tuple(unit for unit, _ in CURRENCIES.values()),
                    queries=tuple(Query(revenue(currency), name) for currency, (_, name) in CURRENCIES.items()),
                    width=8,
                    empty="none",
                ),
                Series(
                    id=42,
                    title="Revenue in euros over time",
                    about="Rolling 24 hours, and one week earlier.",
                    unit="currencyEUR",
                    queries=(
                        Query(revenue("EUR"), "24 hours"),
                        Query(revenue("EUR", "offset 1w"), "one week earlier", faint=True),
                    ),
                    width=8,
                    empty="No payments",
                ),
                Series(
                    id=43,
                    title="Registrations and bookings",
                    about="Rolling 24 hours. Dashed: goals ({bookings} bookings, {registrations} registrations).",
                    limits=(Target("bookings"), Target("registrations")),
                    unit="short",
                    queries=(
                        Query("round(heypeter:class_bookings:increase1d{})", "Classes booked"),
                        Query("round(heypeter:user_registrations:increase1d{})", "New users"),
                    ),
                    width=8,
                    empty="not measured",
                    leads_to=(("Operations", f"{SITE.prefix}-operations"),),
                ),
            ),
        ),
        Line(4, goals.tiles(goals.BUSINESS, shift=20)),
    ),
)

BOARD = Board(
    uid=f"{SITE.prefix}-executive",
    title=f"{SITE.name}: executive",
    about="How is the school doing? For management; no technical knowledge needed.",
    span="now-7d",
    refresh="5m",
    variables=(),
    sections=(PLATFORM, STUDENTS, BUSINESS),
)
