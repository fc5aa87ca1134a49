"""Payments and support, on the dashboard of operations."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.school import APP, CURRENCIES, counted, revenue
from grafana.panel import (
    Bars,
    Line,
    Query,
    Rule,
    Section,
    Series,
    Stat,
    Target,
)

_ATTEMPTS, _FAILURES = (f"sum(increase(payment_{name}_total{{{APP}}}[5m]))" for name in ("attempts", "failures"))

_OLDEST = f"max by (ticket_priority) (time() - (support_oldest_unanswered_ticket_timestamp_seconds{{{APP}}} > 0))"

_ANSWERED = f"support_first_response_duration_seconds_bucket{{{APP}}}"

# Attempts, _FAILURES and revenue.
PAYMENTS = Section(
    40,
    "Payments",
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
                    width=4,
                    empty="none",
                ),
                Series(
                    id=42,
                    title="Does anybody pay?",
                    about="Payments begun within an hour, and a week before: PaymentsStopped compares the two.",
                    unit="short",
                    queries=(
                        Query(f"sum(increase(payment_attempts_total{{{APP}}}[1h])) or vector(0)", "Begun"),
                        Query(
                            f"sum(increase(payment_attempts_total{{{APP}}}[1h] offset 1w))", "a week before", faint=True
                        ),
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
                    limits=(Rule("PaymentFailureRate"),),
                    explains=("PaymentFailureRate",),
                    width=7,
                    empty="No payment was begun",
                ),
                Series(
                    id=44,
                    title="Share that fails within five minutes",
                    about="What PaymentOutage looks at; dashed: its limit.",
                    unit="percentunit",
                    queries=(Query(f"clamp_max(({_FAILURES} or vector(0)) / ({_ATTEMPTS} > 0), 1)", "5 minutes"),),
                    limits=(Rule("PaymentOutage"),),
                    explains=("PaymentOutage",),
                    largest=1,
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
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("payment_failures_total", "reason", "1d"), "{{reason}}"),),
                    width=8,
                    empty="No payment failed",
                ),
                Bars(
                    id=46,
                    title="Payments by provider",
                    about="Payments begun within the last 24 hours.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("payment_attempts_total", "provider", "1d"), "{{provider}}"),),
                    width=8,
                    empty="No payment was begun",
                ),
                Series(
                    id=47,
                    title="How long does a payment take?",
                    interval="15m",
                    about="95th percentile by provider.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"payment_duration_seconds_bucket{{{APP}}}", "$__rate_interval", "provider"),
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

# The tickets.
SUPPORT = Section(
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
                        Query(f"sum(increase(support_tickets_resolved_total{{{APP}}}[1h])) or vector(0)", "Resolved"),
                    ),
                    width=6,
                    empty="No ticket was opened",
                ),
                Series(
                    id=63,
                    title="How long does the oldest question wait?",
                    about="Age of the oldest ticket without an answer. Dashed: the benchmark, {support_response}.",
                    unit="s",
                    queries=(Query(_OLDEST, "{{ticket_priority}}"),),
                    limits=(Target("support_response"),),
                    width=6,
                    empty="Every ticket has an answer",
                ),
                Series(
                    id=64,
                    title="Time to the first answer",
                    about="Of the tickets answered within the day before each moment.",
                    unit="s",
                    queries=(
                        Query(quantile(0.95, _ANSWERED, "1d"), "95th percentile"),
                        Query(quantile(0.5, _ANSWERED, "1d"), "median"),
                    ),
                    limits=(Target("support_response"),),
                    width=6,
                    empty="No ticket was answered",
                ),
            ),
        ),
    ),
)
