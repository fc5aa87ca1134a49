"""Payment and support sections of the operations dashboard."""

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

PAYMENTS = Section(
    40,
    "Payments",
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
                    width=6,
                    empty="none",
                ),
                Series(
                    id=42,
                    title="Payment attempts",
                    about="Within the last hour, and in the same hour a week before. PaymentsStopped compares the two.",
                    unit="short",
                    queries=(
                        Query(f"round(sum(increase(payment_attempts_total{{{APP}}}[1h]))) or vector(0)", "Attempts"),
                        Query(
                            f"round(sum(increase(payment_attempts_total{{{APP}}}[1h] offset 1w)))",
                            "one week earlier",
                            faint=True,
                        ),
                    ),
                    explains=("PaymentsStopped",),
                    width=6,
                    empty="No payment attempts",
                ),
                Series(
                    id=43,
                    title="Payment failure rate",
                    about="Over 30 minutes. Dashed: PaymentFailureRate.",
                    unit="percentunit",
                    queries=(Query("heypeter:payment_failures:ratio30m{}", "30 minutes"),),
                    limits=(Rule("PaymentFailureRate"),),
                    explains=("PaymentFailureRate",),
                    width=6,
                    empty="No payment attempts",
                ),
                Series(
                    id=44,
                    title="Payment failure rate, 5 minutes",
                    about="Dashed: PaymentOutage.",
                    unit="percentunit",
                    queries=(Query(f"clamp_max(({_FAILURES} or vector(0)) / ({_ATTEMPTS} > 0), 1)", "5 minutes"),),
                    limits=(Rule("PaymentOutage"),),
                    explains=("PaymentOutage",),
                    largest=1,
                    width=6,
                    empty="No payment attempts",
                ),
            ),
        ),
        Line(
            7,
            (
                Bars(
                    id=45,
                    title="Payment failures by reason",
                    about="Last 24 hours. Declined cards are not our fault.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("payment_failures_total", "reason", "1d"), "{{reason}}"),),
                    width=8,
                    empty="No failed payments",
                ),
                Bars(
                    id=46,
                    title="Payments by provider",
                    about="Payment attempts in the last 24 hours.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(counted("payment_attempts_total", "provider", "1d"), "{{provider}}"),),
                    width=8,
                    empty="No payment attempts",
                ),
                Series(
                    id=47,
                    title="Payment duration",
                    interval="15m",
                    about="95th percentile, by provider.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"payment_duration_seconds_bucket{{{APP}}}", "$__rate_interval", "provider"),
                            "{{provider}}",
                        ),
                    ),
                    width=8,
                    empty="No completed payments",
                ),
            ),
        ),
    ),
)

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
                    about="By priority.",
                    unit="short",
                    queries=(
                        Query(f"max by (ticket_priority) (support_tickets_open{{{APP}}})", "{{ticket_priority}}"),
                    ),
                    stacked=True,
                    width=6,
                    empty="No open tickets",
                ),
                Series(
                    id=62,
                    title="Tickets opened and resolved",
                    about="Per hour.",
                    unit="short",
                    queries=(
                        Query(
                            f"round(sum(increase(support_tickets_opened_total{{{APP}}}[1h]))) or vector(0)", "Opened"
                        ),
                        Query(
                            f"round(sum(increase(support_tickets_resolved_total{{{APP}}}[1h]))) or vector(0)",
                            "Resolved",
                        ),
                    ),
                    width=6,
                    empty="No new tickets",
                ),
                Series(
                    id=63,
                    title="Unanswered tickets: oldest",
                    about="Age of the oldest ticket without an answer. Dashed: benchmark ({support_response}).",
                    unit="s",
                    queries=(Query(_OLDEST, "{{ticket_priority}}"),),
                    limits=(Target("support_response"),),
                    width=6,
                    empty="No unanswered tickets",
                ),
                Series(
                    id=64,
                    title="Time to first answer",
                    about="Tickets answered within the last 24 hours.",
                    unit="s",
                    queries=(
                        Query(quantile(0.95, _ANSWERED, "1d"), "95th percentile"),
                        Query(quantile(0.5, _ANSWERED, "1d"), "median"),
                    ),
                    limits=(Target("support_response"),),
                    width=6,
                    empty="No tickets answered",
                ),
            ),
        ),
    ),
)
