"""The ways out of the receiver and into it, on the on-call dashboard."""

from grafana.dashboards.duration import quantile
from grafana.panel import Line, Query, Rule, Section, Series, States, Word

RECEIVER = 'job="receiver"'

_FAILED = f'sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}, outcome!="sent"}}[10m]))'

_EVERY = f"sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}}}[10m]))"

# The way out: attempts, failures, what is owed.
SENDING = Section(
    40,
    "Does it get through?",
    (
        Line(
            8,
            (
                Series(
                    id=41,
                    title="Deliveries by channel",
                    interval="5m",
                    about="Attempts by channel and outcome, in the time between two points of the graph.",
                    unit="short",
                    queries=(
                        Query(
                            "sum by (channel, outcome) "
                            f"(increase(receiver_deliveries_total{{{RECEIVER}}}[$__rate_interval]))",
                            "{{channel}} {{outcome}}",
                        ),
                    ),
                    width=6,
                    empty="Nothing was sent",
                ),
                Series(
                    id=42,
                    title="Share of deliveries that fail",
                    about="By channel. Dashed: ReceiverDeliveryFailing.",
                    unit="percentunit",
                    queries=(Query(f"{_FAILED} / ({_EVERY} > 0)", "{{channel}}"),),
                    limits=(Rule("ReceiverDeliveryFailing"),),
                    explains=("ReceiverDeliveryFailing",),
                    width=6,
                    empty="Nothing was sent",
                ),
                Series(
                    id=43,
                    title="Outbox age",
                    about="How long the oldest notification waits to be sent, by channel. Dashed: ReceiverBacklog.",
                    unit="s",
                    queries=(
                        Query(f"max by (channel) (receiver_outbox_oldest_age_seconds{{{RECEIVER}}})", "{{channel}}"),
                    ),
                    limits=(Rule("ReceiverBacklog"),),
                    explains=("ReceiverBacklog",),
                    width=6,
                    empty="The receiver is not measured",
                ),
                Series(
                    id=44,
                    title="Notifications given up",
                    about="Within fifteen minutes, by channel: ReceiverNotificationsDead tells of each.",
                    unit="short",
                    queries=(
                        Query(
                            f"sum by (channel) (increase(receiver_notifications_dead_total{{{RECEIVER}}}[15m]))",
                            "{{channel}}",
                        ),
                    ),
                    limits=(Rule("ReceiverNotificationsDead"),),
                    explains=("ReceiverNotificationsDead",),
                    width=6,
                    empty="The receiver is not measured",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=45,
                    title="How late does a page leave?",
                    about="95th percentile from owed to its first attempt, over an hour, by channel.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"receiver_page_lag_seconds_bucket{{{RECEIVER}}}", "1h", "channel"),
                            "{{channel}}",
                        ),
                    ),
                    width=8,
                    empty="Nothing was sent",
                ),
                Series(
                    id=46,
                    title="How late is a step of the escalation?",
                    about="95th percentile from due to owed, over an hour.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"receiver_step_lateness_seconds_bucket{{{RECEIVER}}}", "1h"),
                            "95th percentile",
                        ),
                    ),
                    width=8,
                    empty="No step was due",
                ),
                States(
                    id=47,
                    title="Which channels rest?",
                    about="A channel that failed several times in a row rests for a while.",
                    unit="none",
                    queries=(Query(f"max by (channel) (receiver_channel_circuit_open{{{RECEIVER}}})", "{{channel}}"),),
                    words=(Word("0", "sends", "green"), Word("1", "rests", "orange")),
                    width=8,
                    empty="The receiver is not measured",
                ),
            ),
        ),
    ),
)

# The way in: is the receiver there, and does it hear Alertmanager.
LISTENING = Section(
    60,
    "Do alerts arrive?",
    (
        Line(
            7,
            (
                Series(
                    id=61,
                    title="Watchdog age",
                    about="How long ago the receiver last heard the alert that always fires. Dashed: "
                    "ReceiverWatchdogLate.",
                    unit="s",
                    queries=(
                        Query(
                            f"time() - max by (instance) (receiver_watchdog_last_seen_timestamp_seconds{{{RECEIVER}}})",
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("ReceiverWatchdogLate"),),
                    explains=("ReceiverWatchdogLate", "Watchdog"),
                    width=8,
                    empty="The Watchdog was never heard",
                ),
                States(
                    id=62,
                    title="Does the receiver answer?",
                    about="ReceiverDown tells when it does not, by Alertmanager's own mail.",
                    unit="none",
                    queries=(Query(f"max by (instance) (up{{{RECEIVER}}})", "{{instance}}"),),
                    words=(Word("1", "answers", "green"), Word("0", "does not", "red")),
                    explains=("ReceiverDown",),
                    width=8,
                    empty="The receiver is not measured",
                ),
                Series(
                    id=63,
                    title="Requests of Alertmanager",
                    about="A second, by the receiver's answer; 503 means that Alertmanager should send again.",
                    unit="reqps",
                    queries=(
                        Query(
                            f"sum by (code) (rate(receiver_webhook_requests_total{{{RECEIVER}}}[$__rate_interval]))",
                            "{{code}}",
                        ),
                    ),
                    width=8,
                    empty="The receiver is not measured",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=64,
                    title="Requests with a wrong token",
                    about="Within ten minutes. Dashed: ReceiverRefusesRequests.",
                    unit="short",
                    queries=(
                        Query(
                            "sum by (instance) "
                            f'(increase(receiver_webhook_requests_total{{{RECEIVER}, code=~"401|403"}}[10m]))',
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("ReceiverRefusesRequests"),),
                    explains=("ReceiverRefusesRequests",),
                    width=6,
                    empty="The receiver is not measured",
                ),
                Series(
                    id=65,
                    title="Age of the last comparison",
                    about="Of our incidents with Alertmanager's alerts. Dashed: ReceiverReconcileStale.",
                    unit="s",
                    queries=(
                        Query(
                            "time() - max by (source) "
                            f"(receiver_reconcile_last_success_timestamp_seconds{{{RECEIVER}}})",
                            "{{source}}",
                        ),
                    ),
                    limits=(Rule("ReceiverReconcileStale"),),
                    explains=("ReceiverReconcileStale",),
                    width=6,
                    empty="The receiver compares with no Alertmanager",
                ),
                Series(
                    id=66,
                    title="Age of the calendars",
                    about="Of the on-call schedules that are read from one. Dashed: ReceiverCalendarStale.",
                    unit="s",
                    queries=(
                        Query(
                            "time() - max by (schedule) "
                            f"(receiver_calendar_last_success_timestamp_seconds{{{RECEIVER}}})",
                            "{{schedule}}",
                        ),
                    ),
                    limits=(Rule("ReceiverCalendarStale"),),
                    explains=("ReceiverCalendarStale",),
                    width=6,
                    empty="No schedule is read from a calendar",
                ),
                States(
                    id=67,
                    title="Did it take its configuration?",
                    about="While it is refused, changes of people and channels have no effect: "
                    "ReceiverConfigReloadFailed.",
                    unit="none",
                    queries=(
                        Query(
                            f"max by (instance) (receiver_config_last_reload_successful{{{RECEIVER}}})",
                            "{{instance}}",
                        ),
                    ),
                    words=(Word("1", "taken", "green"), Word("0", "refused", "red")),
                    explains=("ReceiverConfigReloadFailed",),
                    width=6,
                    empty="The receiver is not measured",
                ),
            ),
        ),
    ),
)
