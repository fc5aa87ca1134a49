"""Operations: classes, payments, support and who is there now, for those who run the school's day."""

from grafana.dashboards.commerce import PAYMENTS, SUPPORT
from grafana.dashboards.school import APP, counted, seats
from grafana.panel import (
    Bars,
    Board,
    Line,
    Query,
    Rule,
    Section,
    Series,
    Stat,
    Target,
)

_MORE = (("Technical", "/d/heypeter-technical"),)

# Who is there now.
ACTIVITY = Section(
    1,
    "Who is there?",
    (
        Line(
            8,
            (
                Stat(
                    id=2,
                    title="Browser sessions now",
                    about="Sessions that were seen within the last five minutes.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(f"sum(rum_active_sessions{{{APP}}})", "sessions"),),
                    width=4,
                    empty="none",
                ),
                Series(
                    id=3,
                    title="Active users",
                    about="Different users seen within five minutes and within an hour.",
                    unit="short",
                    queries=(
                        Query(f'max(active_users{{{APP}, window="5m"}})', "within 5 minutes"),
                        Query(f'max(active_users{{{APP}, window="1h"}})', "within an hour"),
                    ),
                    width=7,
                    empty="Nobody was seen",
                ),
                Series(
                    id=4,
                    title="Pages viewed",
                    about="Page loads a minute by device.",
                    unit="short",
                    queries=(
                        Query(
                            f"60 * sum by (device) (rate(rum_page_views_total{{{APP}}}[$__rate_interval]))",
                            "{{device}}",
                        ),
                    ),
                    stacked=True,
                    width=6,
                    empty="No page was viewed",
                ),
                Series(
                    id=5,
                    title="Registrations in an hour",
                    about="New users within the hour before each moment. Dashed: LowUserRegistrations.",
                    unit="short",
                    queries=(
                        Query("heypeter:user_registrations:increase1h{}", "New users"),
                        Query("heypeter:user_registrations:increase1h{} offset 1w", "a week before", faint=True),
                    ),
                    limits=(Rule("LowUserRegistrations"),),
                    explains=("LowUserRegistrations",),
                    width=7,
                    empty="not measured",
                ),
            ),
        ),
    ),
)

# The schedule, and what is booked and cancelled.
CLASSES = Section(
    20,
    "Classes",
    (
        Line(
            8,
            (
                Stat(
                    id=21,
                    title="Class schedule",
                    about="Seats in the classes to come: offered, and taken.",
                    unit="locale",
                    decimals=0,
                    queries=(
                        Query(f"sum(class_seats_capacity{{{APP}}})", "offered"),
                        Query(f"sum(class_seats_booked{{{APP}}})", "taken"),
                    ),
                    width=4,
                    empty="No class is planned",
                ),
                Bars(
                    id=22,
                    title="Seats taken by kind of class",
                    about="Share of the seats in the classes to come.",
                    unit="percentunit",
                    decimals=0,
                    queries=(Query(seats(" by (class_type)"), "{{class_type}}"),),
                    largest=1,
                    width=6,
                    empty="No class is planned",
                ),
                Series(
                    id=23,
                    title="Booked and cancelled in an hour",
                    about="Classes booked and cancelled within the hour before each moment.",
                    unit="short",
                    queries=(
                        Query("heypeter:class_bookings:increase1h{}", "Booked"),
                        Query("heypeter:class_cancellations:increase1h{}", "Cancelled"),
                    ),
                    width=7,
                    empty="not measured",
                ),
                Series(
                    id=24,
                    title="Share of cancellations",
                    about="Cancellations of an hour as a share of its bookings. Dashed: HighClassCancellationRate.",
                    unit="percentunit",
                    queries=(Query("heypeter:class_cancellations:ratio1h{}", "Cancelled"),),
                    limits=(Rule("HighClassCancellationRate"),),
                    explains=("HighClassCancellationRate",),
                    width=7,
                    empty="not measured",
                ),
            ),
        ),
        Line(
            7,
            (
                Bars(
                    id=25,
                    title="Why were classes cancelled?",
                    about="Cancellations of the last 24 hours by reason.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("class_cancellations_total", "reason", "1d"), "{{reason}}"),),
                    width=8,
                    empty="No class was cancelled",
                ),
                Bars(
                    id=26,
                    title="Who cancelled them?",
                    about="Cancellations of the last 24 hours by who cancelled.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("class_cancellations_total", "by", "1d"), "{{by}}"),),
                    width=8,
                    empty="No class was cancelled",
                ),
                Bars(
                    id=27,
                    title="What is booked?",
                    about="Bookings of the last 24 hours by kind of class.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("class_bookings_total", "class_type", "1d"), "{{class_type}}"),),
                    width=8,
                    empty="No class was booked",
                ),
            ),
        ),
    ),
)

# How the platform feels to those who use it.
SYSTEM = Section(
    80,
    "How does the platform do?",
    (
        Line(
            7,
            (
                Series(
                    id=81,
                    title="Time to load a page",
                    about="Three quarters of the visits are faster. Dashed: the benchmark, {page_load}.",
                    unit="s",
                    queries=(Query('heypeter:benchmark:value{benchmark="page_load"}', "75th percentile"),),
                    limits=(Target("page_load"),),
                    width=8,
                    empty="No page was loaded",
                    leads_to=_MORE,
                ),
                Series(
                    id=82,
                    title="Time to answer a request",
                    about="95 of 100 requests are faster. Dashed: the benchmark ({api_response}) and SlowResponseTime.",
                    unit="s",
                    queries=(Query("max(job:http_request_duration_seconds:p95_5m{})", "95th percentile"),),
                    limits=(Target("api_response"), Rule("SlowResponseTime")),
                    width=8,
                    empty="No request was counted",
                    leads_to=_MORE,
                ),
                Series(
                    id=83,
                    title="Share of requests that fail",
                    about="Ended in a 5xx. Dashed: HighErrorRate.",
                    unit="percentunit",
                    queries=(Query("max(job:http_requests_errors:ratio_rate5m{})", "5xx"),),
                    limits=(Rule("HighErrorRate"),),
                    width=8,
                    empty="No request was counted",
                    leads_to=_MORE,
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid="heypeter-operations",
    title="HeyPeter Academy: operations",
    about="Do students come, book, pay and get help? For those who run the school's day.",
    span="now-24h",
    refresh="1m",
    variables=(),
    sections=(ACTIVITY, CLASSES, PAYMENTS, SUPPORT, SYSTEM),
)
