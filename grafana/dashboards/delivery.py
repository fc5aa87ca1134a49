"""Receiver sections of the on-call dashboard: delivery of notifications, and incoming alerts."""

from grafana.dashboards.duration import quantile
from grafana.panel import Line, Query, Rule, Section, Series, States, Word

RECEIVER = 'job="receiver"'

_FAILED = f'sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}, outcome!="sent"}}[10m]))'

_EVERY = f"sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}}}[10m]))"

SENDING = Section(
    40,
    "Delivery",
    (
        Line(
            8,
            (
                Series(
                    id=41,
                    title="Deliveries by channel",
                    interval="5m",
                    about="Attempts by channel and outcome, per interval of the graph.",
                    unit="short",
                    queries=(
                        Query(
                            "sum by (channel, outcome) "
                            f"(increase(receiver_deliveries_total{{{RECEIVER}}}[$__rate_interval]))",
                            "{{channel}} {{outcome}}",
                        ),
                    ),
                    width=6,
                    empty="Nothing sent",
                ),
                Series(
                    id=42,
                    title="Delivery failure rate",
                    about="By channel. Dashed: ReceiverDeliveryFailing.",
                    unit="percentunit",
                    queries=(Query(f"{_FAILED} / ({_EVERY} > 0)", "{{channel}}"),),
                    limits=(Rule("ReceiverDeliveryFailing"),),
                    explains=("ReceiverDeliveryFailing",),
                    width=6,
                    empty="Nothing sent",
                ),
                Series(
                    id=43,
                    title="Outbox age",
                    about="Age of the oldest unsent notification, by channel. Dashed: ReceiverBacklog.",
                    unit="s",
                    queries=(
                        Query(f"max by (channel) (receiver_outbox_oldest_age_seconds{{{RECEIVER}}})", "{{channel}}"),
                    ),
                    limits=(Rule("ReceiverBacklog"),),
                    explains=("ReceiverBacklog",),
                    width=6,
                    empty="No data from the receiver",
                ),
                Series(
                    id=44,
                    title="Notifications given up",
                    about="Within 15 minutes, by channel. ReceiverNotificationsDead fires on each.",
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
                    empty="No data from the receiver",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=45,
                    title="Page delay",
                    about="95th percentile of the time until the first attempt to send, over an hour, by channel.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"receiver_page_lag_seconds_bucket{{{RECEIVER}}}", "1h", "channel"),
                            "{{channel}}",
                        ),
                    ),
                    width=8,
                    empty="Nothing sent",
                ),
                Series(
                    id=46,
                    title="Escalation delay",
                    about="95th percentile of how late escalation steps are taken, over an hour.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(0.95, f"receiver_step_lateness_seconds_bucket{{{RECEIVER}}}", "1h"),
                            "95th percentile",
                        ),
                    ),
                    width=8,
                    empty="No steps due",
                ),
                States(
                    id=47,
                    title="Channels paused",
                    about="A channel that fails several times in a row is paused for a while.",
                    unit="none",
                    queries=(Query(f"max by (channel) (receiver_channel_circuit_open{{{RECEIVER}}})", "{{channel}}"),),
                    words=(Word("0", "active", "green"), Word("1", "paused", "orange")),
                    width=8,
                    empty="No data from the receiver",
                ),
            ),
        ),
    ),
)

LISTENING = Section(
    60,
    "Incoming alerts",
    (
        Line(
            7,
            (
                Series(
                    id=61,
                    title="Watchdog age",
                    about="Time since the receiver last received the Watchdog, the alert that always fires. Dashed: "
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
                    empty="Watchdog never received",
                ),
                States(
                    id=62,
                    title="Receiver status",
                    about="ReceiverDown fires if it is down, and is also e-mailed by Alertmanager.",
                    unit="none",
                    queries=(Query(f"max by (instance) (up{{{RECEIVER}}})", "{{instance}}"),),
                    words=(Word("1", "up", "green"), Word("0", "down", "red")),
                    explains=("ReceiverDown",),
                    width=8,
                    empty="No data from the receiver",
                ),
                Series(
                    id=63,
                    title="Webhook requests",
                    about="Per second, by status code. After a 503, Alertmanager sends again.",
                    unit="reqps",
                    queries=(
                        Query(
                            f"sum by (code) (rate(receiver_webhook_requests_total{{{RECEIVER}}}[$__rate_interval]))",
                            "{{code}}",
                        ),
                    ),
                    width=8,
                    empty="No data from the receiver",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=64,
                    title="Refused webhooks",
                    about="Per ten minutes. Dashed: ReceiverRefusesRequests.",
                    unit="short",
                    queries=(
                        Query(
                            "sum by (instance) "
                            f'(increase(receiver_webhook_requests_total{{{RECEIVER}, code=~"4.."}}[10m]))',
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("ReceiverRefusesRequests"),),
                    explains=("ReceiverRefusesRequests",),
                    width=6,
                    empty="No data from the receiver",
                ),
                Series(
                    id=65,
                    title="Last reconciliation",
                    about="Time since the receiver last compared its incidents with each source. Dashed: "
                    "ReceiverReconcileStale.",
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
                    empty="Reconciliation is not configured",
                ),
                Series(
                    id=66,
                    title="Calendar age",
                    about="Time since each on-call calendar was last read. Dashed: ReceiverCalendarStale.",
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
                    empty="No calendars configured",
                ),
                States(
                    id=67,
                    title="Receiver config reload",
                    about="If the reload failed, changes to people and channels have no effect: "
                    "ReceiverConfigReloadFailed.",
                    unit="none",
                    queries=(
                        Query(
                            f"max by (instance) (receiver_config_last_reload_successful{{{RECEIVER}}})",
                            "{{instance}}",
                        ),
                    ),
                    words=(Word("1", "OK", "green"), Word("0", "failed", "red")),
                    explains=("ReceiverConfigReloadFailed",),
                    width=6,
                    empty="No data from the receiver",
                ),
            ),
        ),
        Line(
            6,
            (
                States(
                    id=68,
                    title="Loops of the receiver",
                    about="Those that pages do not depend on. ReceiverHousekeepingFailing fires if one fails for 15 "
                    "minutes.",
                    unit="none",
                    queries=(Query(f"max by (loop) (receiver_housekeeping_failing{{{RECEIVER}}})", "{{loop}}"),),
                    words=(Word("0", "OK", "green"), Word("1", "failing", "red")),
                    explains=("ReceiverHousekeepingFailing",),
                    width=12,
                    empty="No data from the receiver",
                ),
                States(
                    id=69,
                    title="Database of the receiver",
                    about="Why it cannot be written. ReceiverStoreOutage is also e-mailed by Alertmanager.",
                    unit="none",
                    queries=(Query(f"max by (reason) (receiver_store_outage{{{RECEIVER}}})", "{{reason}}"),),
                    words=(Word("0", "no", "green"), Word("1", "yes", "red")),
                    explains=("ReceiverStoreOutage",),
                    width=12,
                    empty="No data from the receiver",
                ),
            ),
        ),
    ),
)
