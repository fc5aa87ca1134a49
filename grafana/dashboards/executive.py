"""Executive: how the school does, for readers who have never seen a query."""

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

# What an objective of rules/tables/slo.yml means to a student.
_PROMISES = {
    "http-availability": "Pages answer without an error",
    "http-latency": "Pages answer quickly",
    "payment-success": "Payments go through",
    "site-uptime": "The site can be reached",
}


_WINDOWS = {"1d": "within a day", "7d": "within a week", "30d": "within a month"}

_SATISFIED = "heypeter:student_satisfaction:avg7d{}"

# The state of the platform and how much trouble the month may still bring.
PLATFORM = Section(
    1,
    "Does the platform work?",
    (
        Line(
            5,
            (
                Stat(
                    id=2,
                    title="System health",
                    about="Outage: something that students need does not work. Impaired: it works badly.",
                    unit="none",
                    queries=(Query(health(), "System health"),),
                    words=HEALTH,
                    width=6,
                    empty="not known",
                    leads_to=(("Overview", "/d/heypeter-overview"),),
                ),
                Stat(
                    id=3,
                    title="Goals met",
                    about="Of the {count} goals for speed, reliability and business that the school has set itself.",
                    unit="suffix: of {count}",
                    queries=(Query("sum(heypeter:benchmark:met{})", "met"),),
                    limits=(Count(),),
                    width=6,
                    empty="not measured",
                    leads_to=(("Each of them", "/d/heypeter-overview"),),
                ),
                Stat(
                    id=4,
                    title="Reachable within 30 days",
                    about="Share of the time in which the site answered from outside. The goal is {uptime}.",
                    unit="percentunit",
                    decimals=2,
                    queries=(Query('heypeter:benchmark:value{benchmark="uptime"}', "Reachable"),),
                    limits=(Target("uptime"),),
                    width=6,
                    empty="not measured",
                ),
                Stat(
                    id=5,
                    title="Incidents that are open",
                    about="Troubles that somebody works on, or should.",
                    unit="none",
                    queries=(Query('sum(receiver_incidents{job="receiver"})', "open"),),
                    limits=(Limit(1, "above", "orange"),),
                    width=6,
                    empty="none",
                    leads_to=(("On call", "/d/heypeter-oncall"),),
                ),
            ),
        ),
        Line(
            6,
            (
                States(
                    id=6,
                    title="When did it work?",
                    about="Green: all well. Orange: something worked badly. Red: something that students need "
                    "did not work.",
                    unit="none",
                    queries=(Query(health(), "System health"),),
                    words=HEALTH,
                    width=12,
                    empty="not known",
                ),
                Bars(
                    id=7,
                    title="How much trouble may this month still bring?",
                    about="Each promise may be broken a little within 30 days. "
                    "This is how much of that little is left: "
                    "at 0 the promise of the month is broken.",
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
                    leads_to=(("Technical", "/d/heypeter-technical"),),
                ),
            ),
        ),
    ),
)

# How many students there are, and how content.
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
                    about="Different people who used the school; counted without keeping who they are.",
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
                    about="Average of the stars that students gave their classes within seven days, of five.",
                    unit="none",
                    decimals=2,
                    queries=(Query(_SATISFIED, "stars"),),
                    width=6,
                    empty="No class was rated",
                ),
                Stat(
                    id=23,
                    title="Seats taken",
                    about="Class utilisation: the share of the seats in the classes to come that are booked.",
                    unit="percentunit",
                    decimals=0,
                    queries=(Query(seats(""), "Seats taken"),),
                    width=6,
                    empty="No class is planned",
                ),
            ),
        ),
        Line(
            8,
            (
                Series(
                    id=24,
                    title="How many use the school?",
                    about="Active users of the last day and of the last seven days.",
                    unit="short",
                    queries=tuple(
                        Query(f'max(active_users{{job="heypeter-app", window="{window}"}})', _WINDOWS[window])
                        for window in ("1d", "7d")
                    ),
                    width=8,
                    empty="Nobody was seen",
                ),
                Series(
                    id=25,
                    title="How content are they?",
                    about="Average stars of the last seven days, of five.",
                    unit="none",
                    queries=(Query(_SATISFIED, "Stars"),),
                    smallest=1,
                    largest=5,
                    width=8,
                    empty="No class was rated",
                ),
                Bars(
                    id=26,
                    title="Seats taken by kind of class",
                    about="The share of the seats in the classes to come that are booked.",
                    unit="percentunit",
                    decimals=0,
                    queries=(Query(seats(" by (class_type)"), "{{class_type}}"),),
                    largest=1,
                    width=8,
                    empty="No class is planned",
                ),
            ),
        ),
    ),
)

# Revenue and the goals of the business.
BUSINESS = Section(
    40,
    "Business",
    (
        Line(
            8,
            (
                Stat(
                    id=41,
                    title="Revenue in 24 hours",
                    about="Money received, by currency; refunds are not taken off.",
                    unit="currencyEUR",
                    units=tuple(unit for unit, _ in CURRENCIES.values()),
                    queries=tuple(Query(revenue(currency), name) for currency, (_, name) in CURRENCIES.items()),
                    width=8,
                    empty="none",
                ),
                Series(
                    id=42,
                    title="How does revenue in euros develop?",
                    about="Money received within the 24 hours before each moment, and a week earlier.",
                    unit="currencyEUR",
                    queries=(
                        Query(revenue("EUR"), "24 hours"),
                        Query(revenue("EUR", "offset 1w"), "a week before", faint=True),
                    ),
                    width=8,
                    empty="No payment was made",
                ),
                Series(
                    id=43,
                    title="Registrations and bookings",
                    about="Within the 24 hours before each moment. "
                    "Dashed: the goals, {bookings} classes and {registrations} users.",
                    limits=(Target("bookings"), Target("registrations")),
                    unit="short",
                    queries=(
                        Query("heypeter:class_bookings:increase1d{}", "Classes booked"),
                        Query("heypeter:user_registrations:increase1d{}", "New users"),
                    ),
                    width=8,
                    empty="not measured",
                    leads_to=(("Operations", "/d/heypeter-operations"),),
                ),
            ),
        ),
        Line(4, goals.five(goals.BUSINESS, shift=20, explaining=False)),
    ),
)

BOARD = Board(
    uid="heypeter-executive",
    title="HeyPeter Academy: executive",
    about="How does the school do? For its management; no technical knowledge is needed.",
    span="now-7d",
    refresh="5m",
    variables=(),
    sections=(PLATFORM, STUDENTS, BUSINESS),
)
