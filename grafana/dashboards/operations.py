"""Operations: classes, payments, support and who is there now, for those who run the school's day."""

from grafana.dashboards.executive import seats
from grafana.dashboards.money import CURRENCIES, revenue
from grafana.tables import Numbers
from grafana.panel import Bars, Board, Line, Query, Section, Series, Stat

APP = 'job="heypeter-app"'


def board(numbers: Numbers) -> Board:
    """Write the dashboard."""
    return Board(
        uid="heypeter-operations",
        title="HeyPeter Academy: operations",
        about="Do students come, book, pay and get help? For those who run the school's day.",
        span="now-24h",
        refresh="1m",
        variables=(),
        sections=(activity(numbers), classes(numbers), payments(numbers), support(numbers), system(numbers)),
    )


def counted(family: str, by: str, window: str = "1h") -> str:
    """Give how often something happened within the window before each moment."""
    return f"sum by ({by}) (increase({family}{{{APP}}}[{window}]))"


def activity(numbers: Numbers) -> Section:
    """Give who is there now."""
    return Section(
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
                        unit="short",
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
                            Query("heypeter:user_registrations:increase1h{} offset 1w", "a week before"),
                        ),
                        limits=(numbers.limit("LowUserRegistrations"),),
                        explains=("LowUserRegistrations",),
                        width=7,
                        empty="not measured",
                    ),
                ),
            ),
        ),
    )


def classes(numbers: Numbers) -> Section:
    """Give the schedule, and what is booked and cancelled."""
    return Section(
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
                        unit="short",
                        decimals=0,
                        queries=(
                            Query(f"sum(class_seats_capacity{{{APP}}})", "offered"),
                            Query(f"sum(class_seats_booked{{{APP}}})", "taken"),
                        ),
                        width=4,
                        empty="No class is planned",
                        course=False,
                    ),
                    Bars(
                        id=22,
                        title="Seats taken by kind of class",
                        about="Share of the seats in the classes to come.",
                        unit="percentunit",
                        decimals=0,
                        queries=(Query(seats("by (class_type)"), "{{class_type}}"),),
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
                        limits=(numbers.limit("HighClassCancellationRate"),),
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
                        unit="short",
                        decimals=0,
                        queries=(Query(counted("class_cancellations_total", "reason", "1d"), "{{reason}}"),),
                        width=8,
                        empty="No class was cancelled",
                    ),
                    Bars(
                        id=26,
                        title="Who cancelled them?",
                        about="Cancellations of the last 24 hours by who cancelled.",
                        unit="short",
                        decimals=0,
                        queries=(Query(counted("class_cancellations_total", "by", "1d"), "{{by}}"),),
                        width=8,
                        empty="No class was cancelled",
                    ),
                    Bars(
                        id=27,
                        title="What is booked?",
                        about="Bookings of the last 24 hours by kind of class.",
                        unit="short",
                        decimals=0,
                        queries=(Query(counted("class_bookings_total", "class_type", "1d"), "{{class_type}}"),),
                        width=8,
                        empty="No class was booked",
                    ),
                ),
            ),
        ),
    )


def payments(numbers: Numbers) -> Section:
    """Give attempts, failures and revenue."""
    attempts, failures = (f"sum(increase(payment_{name}_total{{{APP}}}[5m]))" for name in ("attempts", "failures"))
    return Section(
        40,
        "Payments",
        (
            Line(
                8,
                (
                    Stat(
                        id=41,
                        title="Revenue of the last 24 hours",
                        about="Money received, by currency; refunds are not taken off.",
                        unit="currencyEUR",
                        units=tuple(unit for unit, _ in CURRENCIES.values()),
                        queries=tuple(Query(revenue(currency), name) for currency, (_, name) in CURRENCIES.items()),
                        width=4,
                        empty="none",
                        course=False,
                    ),
                    Series(
                        id=42,
                        title="Does anybody pay?",
                        about="Payments begun within an hour, and a week before: PaymentsStopped compares the two.",
                        unit="short",
                        queries=(
                            Query(f"sum(increase(payment_attempts_total{{{APP}}}[1h])) or vector(0)", "Begun"),
                            Query(f"sum(increase(payment_attempts_total{{{APP}}}[1h] offset 1w))", "a week before"),
                        ),
                        explains=("PaymentsStopped",),
                        width=6,
                        empty="No payment was begun",
                    ),
                    Series(
                        id=43,
                        title="Share of payments that fail",
                        about="Of half an hour. Dashed: PaymentFailureRate.",
                        unit="percentunit",
                        queries=(Query("heypeter:payment_failures:ratio30m{}", "30 minutes"),),
                        limits=(numbers.limit("PaymentFailureRate"),),
                        explains=("PaymentFailureRate",),
                        width=7,
                        empty="No payment was begun",
                    ),
                    Series(
                        id=44,
                        title="Share that fails within five minutes",
                        about="What PaymentOutage looks at; dashed: its limit.",
                        unit="percentunit",
                        queries=(Query(f"({failures} or vector(0)) / ({attempts} > 0)", "5 minutes"),),
                        limits=(numbers.limit("PaymentOutage"),),
                        explains=("PaymentOutage",),
                        width=7,
                        empty="No payment was begun",
                    ),
                ),
            ),
            Line(
                7,
                (
                    Bars(
                        id=45,
                        title="Why do payments fail?",
                        about="Failures of the last 24 hours by reason; a declined card is no fault of ours.",
                        unit="short",
                        decimals=0,
                        queries=(Query(counted("payment_failures_total", "reason", "1d"), "{{reason}}"),),
                        width=8,
                        empty="No payment failed",
                    ),
                    Bars(
                        id=46,
                        title="Payments by provider",
                        about="Payments begun within the last 24 hours.",
                        unit="short",
                        decimals=0,
                        queries=(Query(counted("payment_attempts_total", "provider", "1d"), "{{provider}}"),),
                        width=8,
                        empty="No payment was begun",
                    ),
                    Series(
                        id=47,
                        title="How long does a payment take?",
                        about="95th percentile of half an hour, by provider.",
                        unit="s",
                        queries=(
                            Query(
                                f"histogram_quantile(0.95, sum by (provider, le) (rate(payment_duration_seconds_bucket{{{APP}}}[30m])))",
                                "{{provider}}",
                            ),
                        ),
                        width=8,
                        empty="No payment was completed",
                    ),
                ),
            ),
        ),
    )


def support(numbers: Numbers) -> Section:
    """Give the tickets."""
    oldest = f"max by (ticket_priority) (time() - (support_oldest_unanswered_ticket_timestamp_seconds{{{APP}}} > 0))"
    answered = f"sum by (le) (rate(support_first_response_duration_seconds_bucket{{{APP}}}[1d]))"
    return Section(
        60,
        "Support",
        (
            Line(
                8,
                (
                    Series(
                        id=61,
                        title="Open tickets",
                        about="By their priority.",
                        unit="short",
                        queries=(
                            Query(f"sum by (ticket_priority) (support_tickets_open{{{APP}}})", "{{ticket_priority}}"),
                        ),
                        stacked=True,
                        width=6,
                        empty="No ticket is open",
                    ),
                    Series(
                        id=62,
                        title="Tickets opened and resolved",
                        about="Within the hour before each moment.",
                        unit="short",
                        queries=(
                            Query(f"sum(increase(support_tickets_opened_total{{{APP}}}[1h])) or vector(0)", "Opened"),
                            Query(
                                f"sum(increase(support_tickets_resolved_total{{{APP}}}[1h])) or vector(0)", "Resolved"
                            ),
                        ),
                        width=6,
                        empty="No ticket was opened",
                    ),
                    Series(
                        id=63,
                        title="How long does the oldest question wait?",
                        about=f"Age of the oldest ticket without an answer. Dashed: the benchmark, {numbers.meant('support_response')}.",
                        unit="s",
                        queries=(Query(oldest, "{{ticket_priority}}"),),
                        limits=(numbers.target("support_response"),),
                        width=6,
                        empty="Every ticket has an answer",
                    ),
                    Series(
                        id=64,
                        title="Time to the first answer",
                        about="Of the tickets answered within the day before each moment.",
                        unit="s",
                        queries=(
                            Query(f"histogram_quantile(0.95, {answered})", "95th percentile"),
                            Query(f"histogram_quantile(0.5, {answered})", "median"),
                        ),
                        limits=(numbers.target("support_response"),),
                        width=6,
                        empty="No ticket was answered",
                    ),
                ),
            ),
        ),
    )


def system(numbers: Numbers) -> Section:
    """Give how the platform feels to those who use it."""
    more = (("Technical", "/d/heypeter-technical"),)
    return Section(
        80,
        "How does the platform do?",
        (
            Line(
                7,
                (
                    Series(
                        id=81,
                        title="Time to load a page",
                        about=f"Three quarters of the visits are faster. Dashed: the benchmark, {numbers.meant('page_load')}.",
                        unit="s",
                        queries=(Query('heypeter:benchmark:value{benchmark="page_load"}', "75th percentile"),),
                        limits=(numbers.target("page_load"),),
                        width=8,
                        empty="No page was loaded",
                        leads_to=more,
                    ),
                    Series(
                        id=82,
                        title="Time to answer a request",
                        about=f"95 of 100 requests are faster. Dashed: the benchmark ({numbers.meant('api_response')}) and SlowResponseTime.",
                        unit="s",
                        queries=(Query("max(job:http_request_duration_seconds:p95_5m{})", "95th percentile"),),
                        limits=(numbers.target("api_response"), numbers.limit("SlowResponseTime")),
                        width=8,
                        empty="No request was counted",
                        leads_to=more,
                    ),
                    Series(
                        id=83,
                        title="Share of requests that fail",
                        about="Ended in a 5xx. Dashed: HighErrorRate.",
                        unit="percentunit",
                        queries=(Query("max(job:http_requests_errors:ratio_rate5m{})", "5xx"),),
                        limits=(numbers.limit("HighErrorRate"),),
                        width=8,
                        empty="No request was counted",
                        leads_to=more,
                    ),
                ),
            ),
        ),
    )
