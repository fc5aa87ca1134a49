"""Receiver dashboard: incoming alerts, and delivery of notifications."""

from grafana.dashboards.duration import quantile
from grafana.panel import (
    Board,
    Query,
    Rule,
    Section,
    Series,
    States,
    Word,
    lines,
)
from rules.writing import SITE

RECEIVER = 'job="receiver"'

_FAILED = f'sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}, outcome!="sent"}}[10m]))'

_EVERY = f"sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}}}[10m]))"

DELIVERIES_BY_CHANNEL = Series(
    id=41,
    title="Deliveries by channel",
    interval="5m",
    about="Attempts by channel and outcome, per interval of the graph.",
    unit="short",
    queries=(
        Query(
            f"round(sum by (channel, outcome) (increase(receiver_deliveries_total{{{RECEIVER}}}[$__rate_interval])))",
            "{{channel}} {{outcome}}",
        ),
    ),
    empty="Nothing sent",
)

DELIVERY_FAILURE_RATE = Series(
    id=42,
    title="Delivery failure rate",
    about="By channel. Dashed: ReceiverDeliveryFailing.",
    unit="percentunit",
    queries=(Query(f"{_FAILED} / ({_EVERY} > 0)", "{{channel}}"),),
    limits=(Rule("ReceiverDeliveryFailing"),),
    explains=("ReceiverDeliveryFailing",),
    empty="Nothing sent",
)

OUTBOX_AGE = Series(
    id=43,
    title="Outbox age",
    about="Age of the oldest unsent notification, by channel. Dashed: ReceiverBacklog.",
    unit="s",
    queries=(Query(f"max by (channel) (receiver_outbox_oldest_age_seconds{{{RECEIVER}}})", "{{channel}}"),),
    limits=(Rule("ReceiverBacklog"),),
    explains=("ReceiverBacklog",),
    empty="No data from the receiver",
)

NOTIFICATIONS_GIVEN_UP = Series(
    id=44,
    title="Undeliverable notifications",
    about="Within 15 minutes, by channel. ReceiverNotificationsDead fires on each.",
    unit="short",
    queries=(
        Query(
            f"round(sum by (channel) (increase(receiver_notifications_dead_total{{{RECEIVER}}}[15m])))",
            "{{channel}}",
        ),
    ),
    limits=(Rule("ReceiverNotificationsDead"),),
    explains=("ReceiverNotificationsDead",),
    empty="No data from the receiver",
)

PAGE_DELAY = Series(
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
    empty="Nothing sent",
)

ESCALATION_DELAY = Series(
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
    empty="No steps due",
)

CHANNELS_PAUSED = States(
    id=47,
    title="Paused channels",
    about="A channel that fails several times in a row is paused for a while.",
    unit="none",
    queries=(Query(f"max by (channel) (receiver_channel_circuit_open{{{RECEIVER}}})", "{{channel}}"),),
    words=(Word("0", "active"), Word("1", "paused", "orange")),
    empty="No data from the receiver",
)

WATCHDOG_AGE = Series(
    id=61,
    title="Watchdog age",
    about="Time since the receiver last received the Watchdog, the alert that always fires. Dashed: "
    "ReceiverWatchdogLate.",
    unit="s",
    queries=(
        Query(
            f"time() - max by (job) (receiver_watchdog_last_seen_timestamp_seconds{{{RECEIVER}}})",
            "{{job}}",
        ),
    ),
    limits=(Rule("ReceiverWatchdogLate"),),
    explains=("ReceiverWatchdogLate", "Watchdog"),
    empty="Watchdog never received",
)

RECEIVER_STATUS = States(
    id=62,
    title="Receiver status",
    about="ReceiverDown fires if none answers, and is also e-mailed by Alertmanager; "
    "ReceiverReplicaDown if one of several is down.",
    unit="none",
    queries=(Query(f"max by (instance) (up{{{RECEIVER}}})", "{{instance}}"),),
    words=(Word("1", "up"), Word("0", "down", "red")),
    explains=("ReceiverDown", "ReceiverReplicaDown"),
    empty="No data from the receiver",
)

WEBHOOK_REQUESTS = Series(
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
    empty="No data from the receiver",
)

REFUSED_WEBHOOKS = Series(
    id=64,
    title="Rejected webhooks",
    about="Per ten minutes. Dashed: ReceiverRefusesRequests.",
    unit="short",
    queries=(
        Query(
            f'round(sum by (job) (increase(receiver_webhook_requests_total{{{RECEIVER}, code=~"4.."}}[10m])))',
            "{{job}}",
        ),
    ),
    limits=(Rule("ReceiverRefusesRequests"),),
    explains=("ReceiverRefusesRequests",),
    empty="No data from the receiver",
)

LAST_RECONCILIATION = Series(
    id=65,
    title="Last reconciliation",
    about="Time since the receiver last compared its incidents with each source. Dashed: ReceiverReconcileStale.",
    unit="s",
    queries=(
        Query(
            f"time() - max by (source) (receiver_reconcile_last_success_timestamp_seconds{{{RECEIVER}}})",
            "{{source}}",
        ),
    ),
    limits=(Rule("ReceiverReconcileStale"),),
    explains=("ReceiverReconcileStale",),
    empty="Reconciliation is not configured",
)

RESOLVED_STILL_FIRING = Series(
    id=70,
    title="Resolved, still firing",
    about="Incidents that a person resolved at least 15 minutes ago, still firing: ReceiverResolvedStillFiring.",
    unit="none",
    queries=(Query(f"max by (source) (receiver_resolved_still_firing{{{RECEIVER}}})", "{{source}}"),),
    limits=(Rule("ReceiverResolvedStillFiring"),),
    explains=("ReceiverResolvedStillFiring",),
    empty="Reconciliation is not configured",
)

INCIDENTS_STUCK = Series(
    id=71,
    title="Incidents that do not escalate",
    about="Incidents that the receiver cannot work on because of an error of its own: ReceiverIncidentsStuck.",
    unit="none",
    queries=(Query(f"max by (instance) (receiver_incidents_stuck{{{RECEIVER}}})", "{{instance}}"),),
    limits=(Rule("ReceiverIncidentsStuck"),),
    explains=("ReceiverIncidentsStuck",),
    empty="No data from the receiver",
)

CALENDAR_AGE = Series(
    id=66,
    title="Calendar age",
    about="Time since each on-call calendar was last read. Dashed: ReceiverCalendarStale.",
    unit="s",
    queries=(
        Query(
            f"time() - min by (schedule) (receiver_calendar_last_success_timestamp_seconds{{{RECEIVER}}})",
            "{{schedule}}",
        ),
    ),
    limits=(Rule("ReceiverCalendarStale"),),
    explains=("ReceiverCalendarStale",),
    empty="No calendars configured",
)

RECEIVER_CONFIG_RELOAD = States(
    id=67,
    title="Receiver config reload",
    about="If the reload failed, changes to people and channels have no effect: ReceiverConfigReloadFailed.",
    unit="none",
    queries=(
        Query(
            f"max by (instance) (receiver_config_last_reload_successful{{{RECEIVER}}})",
            "{{instance}}",
        ),
    ),
    words=(Word("1", "OK"), Word("0", "failed", "red")),
    explains=("ReceiverConfigReloadFailed",),
    empty="No data from the receiver",
)

BACKGROUND_WORK = States(
    id=68,
    title="Receiver background jobs",
    about="Those that pages do not depend on. ReceiverHousekeepingFailing fires if one fails for 15 minutes.",
    unit="none",
    queries=(Query(f"max by (loop) (receiver_housekeeping_failing{{{RECEIVER}}})", "{{loop}}"),),
    words=(Word("0", "OK"), Word("1", "failing", "red")),
    explains=("ReceiverHousekeepingFailing",),
    empty="No data from the receiver",
)

DATABASE = States(
    id=69,
    title="Receiver database",
    about="Why it cannot be written. ReceiverStoreOutage is also e-mailed by Alertmanager.",
    unit="none",
    queries=(Query(f"max by (reason) (receiver_store_outage{{{RECEIVER}}})", "{{reason}}"),),
    words=(Word("0", "OK"), Word("1", "cannot be written", "red")),
    explains=("ReceiverStoreOutage",),
    empty="No data from the receiver",
)


SENDING = Section(
    40,
    "Delivery",
    (*lines(8, DELIVERY_FAILURE_RATE, NOTIFICATIONS_GIVEN_UP), *lines(8, OUTBOX_AGE, CHANNELS_PAUSED)),
)

LISTENING = Section(
    60,
    "Incoming alerts",
    (
        *lines(7, RECEIVER_STATUS, WATCHDOG_AGE),
        *lines(8, REFUSED_WEBHOOKS, LAST_RECONCILIATION),
        *lines(8, CALENDAR_AGE, RECEIVER_CONFIG_RELOAD),
        *lines(8, BACKGROUND_WORK, DATABASE),
        *lines(8, RESOLVED_STILL_FIRING, INCIDENTS_STUCK),
    ),
)

DETAILS = Section(
    39,
    "Attempts, delays, webhook requests",
    (*lines(9, DELIVERIES_BY_CHANNEL, WEBHOOK_REQUESTS), *lines(8, PAGE_DELAY, ESCALATION_DELAY)),
    folded=True,
)

BOARD = Board(
    uid=f"{SITE.prefix}-receiver",
    title=f"{SITE.name}: receiver",
    about="Do alerts come in, and do notifications go out? For whoever runs the on-call rotation.",
    span="now-24h",
    refresh="30s",
    variables=(),
    sections=(LISTENING, SENDING, DETAILS),
)
