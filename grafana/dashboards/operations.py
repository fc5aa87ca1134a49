"""Operations dashboard: activity, classes, payments and support, for the people who run the school day to day."""

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
from rules.writing import SITE

_MORE = (("Requests", f"{SITE.prefix}-requests"),)

ACTIVITY = Section(
    1,
    "Activity",
    (
        Line(
            8,
            (
                Stat(
                    id=2,
                    title="Active browser sessions",
                    about="Seen within the last five minutes.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(f"sum(rum_active_sessions{{{APP}}})", "sessions"),),
                    width=4,
                    empty="none",
                ),
                Series(
                    id=3,
                    title="Active users",
                    about="Users seen within the last five minutes and the last hour.",
                    unit="short",
                    queries=(
                        Query(f'max(active_users{{{APP}, window="5m"}})', "last 5 minutes"),
                        Query(f'max(active_users{{{APP}, window="1h"}})', "last hour"),
                    ),
                    width=7,
                    empty="No active users",
                ),
                Series(
                    id=4,
                    title="Page views",
                    about="Per minute, by device.",
                    unit="short",
                    queries=(
                        Query(
                            f"60 * sum by (device) (rate(rum_page_views_total{{{APP}}}[$__rate_interval]))",
                            "{{device}}",
                        ),
                    ),
                    stacked=True,
                    width=6,
                    empty="No page views",
                ),
                Series(
                    id=5,
                    title="Hourly registrations",
                    about="New users within the last hour. Dashed: LowUserRegistrations.",
                    unit="short",
                    queries=(
                        Query("round(heypeter:user_registrations:increase1h{})", "New users"),
                        Query(
                            "round(heypeter:user_registrations:increase1h{} offset 1w)", "one week earlier", faint=True
                        ),
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

CLASSES = Section(
    20,
    "Classes",
    (
        Line(
            8,
            (
                Stat(
                    id=21,
                    title="Upcoming seats",
                    about="Seats in upcoming classes, offered and booked.",
                    unit="locale",
                    decimals=0,
                    queries=(
                        Query(f"sum(max by (class_type) (class_seats_capacity{{{APP}}}))", "offered"),
                        Query(f"sum(max by (class_type) (class_seats_booked{{{APP}}}))", "booked"),
                    ),
                    width=4,
                    empty="No upcoming classes",
                ),
                Bars(
                    id=22,
                    title="Seats booked by class type",
                    about="Share of seats booked in upcoming classes.",
                    unit="percentunit",
                    decimals=0,
                    queries=(Query(seats(" by (class_type)"), "{{class_type}}"),),
                    largest=1,
                    width=6,
                    empty="No upcoming classes",
                ),
                Series(
                    id=23,
                    title="Hourly bookings and cancellations",
                    about="Classes booked and cancelled within the last hour.",
                    unit="short",
                    queries=(
                        Query("round(heypeter:class_bookings:increase1h{})", "Booked"),
                        Query("round(heypeter:class_cancellations:increase1h{})", "Cancelled"),
                    ),
                    width=7,
                    empty="not measured",
                ),
                Series(
                    id=24,
                    title="Cancellation rate",
                    about="Cancellations of the last hour divided by its bookings. Dashed: HighClassCancellationRate.",
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
                    title="Cancellations by reason",
                    about="Last 24 hours.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("class_cancellations_total", "reason", "1d"), "{{reason}}"),),
                    width=8,
                    empty="No cancellations",
                ),
                Bars(
                    id=26,
                    title="Who cancelled",
                    about="Last 24 hours.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("class_cancellations_total", "by", "1d"), "{{by}}"),),
                    width=8,
                    empty="No cancellations",
                ),
                Bars(
                    id=27,
                    title="Bookings by class type",
                    about="Last 24 hours.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("class_bookings_total", "class_type", "1d"), "{{class_type}}"),),
                    width=8,
                    empty="No bookings",
                ),
            ),
        ),
    ),
)

SYSTEM = Section(
    80,
    "Platform",
    (
        Line(
            7,
            (
                Series(
                    id=81,
                    title="Page load time",
                    about="75th percentile. Dashed: benchmark ({page_load}).",
                    unit="s",
                    queries=(Query('heypeter:benchmark:value{benchmark="page_load"}', "75th percentile"),),
                    limits=(Target("page_load"),),
                    width=8,
                    empty="No page loads",
                    leads_to=_MORE,
                ),
                Series(
                    id=82,
                    title="Response time",
                    about="95th percentile. Dashed: benchmark ({api_response}) and SlowResponseTime.",
                    unit="s",
                    queries=(Query("max(job:http_request_duration_seconds:p95_5m{})", "95th percentile"),),
                    limits=(Target("api_response"), Rule("SlowResponseTime")),
                    width=8,
                    empty="No requests",
                    leads_to=_MORE,
                ),
                Series(
                    id=83,
                    title="Error rate",
                    about="Share of requests that end in a 5xx error. Dashed: HighErrorRate.",
                    unit="percentunit",
                    queries=(Query("max(job:http_requests_errors:ratio_rate5m{})", "5xx"),),
                    limits=(Rule("HighErrorRate"),),
                    width=8,
                    empty="No requests",
                    leads_to=_MORE,
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid=f"{SITE.prefix}-operations",
    title=f"{SITE.name}: operations",
    about="Activity, classes, payments and support. For the people who run the school day to day.",
    span="now-24h",
    refresh="1m",
    variables=(),
    sections=(ACTIVITY, CLASSES, PAYMENTS, SUPPORT, SYSTEM),
)
