"""On call: what waits for whom, whether we answer in time, and whether news gets through at all."""

from grafana.dashboards.alerting import FIRING_COLUMNS, firing
from grafana.tables import Numbers
from grafana.panel import Bars, Board, Column, Limit, Line, Query, Section, Series, Stat, States, Table, Word

RECEIVER = 'job="receiver"'
PRIORITIES = ("P1", "P2", "P3", "P4")
ROLES = (Word("1", "somebody", "green"), Word("0", "nobody", "red"))


def board(numbers: Numbers) -> Board:
    """Write the dashboard."""
    return Board(
        uid="heypeter-oncall",
        title="HeyPeter Academy: on call",
        about="What waits for whom, and does it get through? For those on call and those who plan it.",
        span="now-24h",
        refresh="30s",
        variables=("team",),
        sections=(now(numbers), answering(numbers), sending(numbers), listening(numbers)),
    )


def now(numbers: Numbers) -> Section:
    """Give what is open, how long it waits, and who is on call."""
    times = ", ".join(f"{name} {limit_text(numbers, name)}" for name in PRIORITIES)
    return Section(
        1,
        "Now",
        (
            Line(
                5,
                (
                    *(
                        Stat(
                            id=number,
                            title=f"Open {priority}",
                            about=f"Incidents of priority {priority} that are not resolved, with and without an owner.",
                            unit="none",
                            queries=(
                                Query(
                                    f'receiver_incidents{{{RECEIVER}, priority="{priority}", state="triggered"}}',
                                    "waiting",
                                ),
                                Query(
                                    f'receiver_incidents{{{RECEIVER}, priority="{priority}", state="acknowledged"}}',
                                    "owned",
                                ),
                            ),
                            limits=(
                                Limit(
                                    1,
                                    "above",
                                    "red" if priority == "P1" else "orange" if priority == "P2" else "yellow",
                                ),
                            ),
                            width=4,
                            empty="none",
                            course=False,
                        )
                        for number, priority in enumerate(PRIORITIES, 2)
                    ),
                    Bars(
                        id=6,
                        title="How long has the oldest waited?",
                        about=f"Since it opened, without an answer. Response times: {times}. IncidentUnacknowledged tells of P1 and P2.",
                        unit="s",
                        queries=(
                            Query(
                                f"max by (priority) (receiver_incident_unacknowledged_age_seconds{{{RECEIVER}}})",
                                "{{priority}}",
                            ),
                        ),
                        limits=(numbers.limit("IncidentUnacknowledged"),),
                        explains=("IncidentUnacknowledged",),
                        width=8,
                        empty="Nothing waits",
                    ),
                ),
            ),
            Line(
                8,
                (
                    Table(
                        id=7,
                        title="What fires",
                        about="Firing alerts, the most urgent first. An alert's name leads to its runbook.",
                        unit="s",
                        queries=(Query(firing('team=~"$team"'), "{{alertname}}"),),
                        columns=FIRING_COLUMNS,
                        sort="Priority",
                        descending=False,
                        width=12,
                        empty="No alert fires",
                    ),
                    Table(
                        id=8,
                        title="Who is on call?",
                        about="Who would be paged now, by role.",
                        unit="none",
                        queries=(
                            Query(f"max by (role, person) (receiver_oncall_info{{{RECEIVER}}})", "{{role}} {{person}}"),
                        ),
                        columns=(Column("role", "Role"), Column("person", "Person")),
                        sort="Role",
                        descending=False,
                        width=6,
                        empty="Nobody is on call",
                    ),
                    States(
                        id=9,
                        title="Was somebody on call?",
                        about="By role; OnCallGap tells when nobody who can be reached holds one.",
                        unit="none",
                        queries=(Query(f"min by (role) (receiver_oncall_covered{{{RECEIVER}}})", "{{role}}"),),
                        words=ROLES,
                        explains=("OnCallGap",),
                        width=6,
                        empty="not known",
                    ),
                ),
            ),
        ),
    )


def limit_text(numbers: Numbers, priority: str) -> str:
    """Say a response time in minutes or hours."""
    seconds = numbers.response_times[priority]
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"  # noqa: PLR2004  # an hour


def mean(family: str, priority: str) -> str:
    """Give the average of a histogram over the dashboard's time range; no value where nothing was observed."""
    total, count = (
        f'sum(increase({family}_{part}{{{RECEIVER}, priority="{priority}", team=~"$team"}}[$__range]))'
        for part in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"


def happened(family: str, by: str) -> str:
    """Give how often something happened within the time range, its first time since the receiver's start included.

    A counter with an open label appears with its first event: increase() alone would not see that one.
    """
    series = f'{family}{{{RECEIVER}, team=~"$team"}}'
    grown = f"increase({series}[$__range])"
    first = f"(min_over_time({series}[$__range]) unless {series} offset $__range)"
    return f"sum by ({by}) ({grown} + {first} or {grown} or {first})"


def answering(numbers: Numbers) -> Section:
    """Give how quickly incidents were answered and resolved."""
    return Section(
        20,
        "Do we answer in time?",
        (
            Line(
                5,
                tuple(
                    Stat(
                        id=number,
                        title=f"MTTA of {priority}",
                        about=f"Mean time from an incident's opening to its acknowledgement; it should be below {limit_text(numbers, priority)}.",
                        unit="s",
                        queries=(Query(mean("receiver_time_to_acknowledge_seconds", priority), "MTTA"),),
                        limits=(numbers.response_time(priority),),
                        width=6,
                        empty="none was acknowledged",
                        course=False,
                    )
                    for number, priority in enumerate(PRIORITIES, 21)
                ),
            ),
            Line(
                8,
                (
                    Bars(
                        id=25,
                        title="MTTR: mean time to resolve",
                        about="From an incident's opening to its end, by priority, over the time range.",
                        unit="s",
                        queries=tuple(Query(mean("receiver_time_to_resolve_seconds", one), one) for one in PRIORITIES),
                        width=6,
                        empty="No incident was resolved",
                    ),
                    Bars(
                        id=26,
                        title="Answers that came too late",
                        about="Incidents that nobody acknowledged within the response time, by priority, over the time range.",
                        unit="short",
                        decimals=0,
                        queries=(Query(happened("receiver_response_time_breaches_total", "priority"), "{{priority}}"),),
                        limits=(Limit(1, "above", "orange"),),
                        width=6,
                        empty="None",
                    ),
                    Bars(
                        id=27,
                        title="Which alerts open the most incidents?",
                        about="The ten noisiest of the time range: raise their thresholds, mend their cause, or delete them.",
                        unit="short",
                        decimals=0,
                        queries=(
                            Query(
                                f"topk(10, {happened('receiver_incidents_opened_total', 'alertname')})", "{{alertname}}"
                            ),
                        ),
                        width=12,
                        empty="No incident was opened",
                    ),
                ),
            ),
        ),
    )


def sending(numbers: Numbers) -> Section:
    """Give the way out: attempts, failures, what is owed."""
    failed = f'sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}, outcome!="sent"}}[10m]))'
    every = f"sum by (channel) (rate(receiver_deliveries_total{{{RECEIVER}}}[10m]))"
    return Section(
        40,
        "Does it get through?",
        (
            Line(
                8,
                (
                    Series(
                        id=41,
                        title="Deliveries by channel",
                        about="Attempts within ten minutes, by channel and outcome.",
                        unit="short",
                        queries=(
                            Query(
                                f"sum by (channel, outcome) (increase(receiver_deliveries_total{{{RECEIVER}}}[10m]))",
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
                        queries=(Query(f"{failed} / ({every} > 0)", "{{channel}}"),),
                        limits=(numbers.limit("ReceiverDeliveryFailing"),),
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
                            Query(
                                f"max by (channel) (receiver_outbox_oldest_age_seconds{{{RECEIVER}}})", "{{channel}}"
                            ),
                        ),
                        limits=(numbers.limit("ReceiverBacklog"),),
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
                        limits=(numbers.limit("ReceiverNotificationsDead"),),
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
                                f"histogram_quantile(0.95, sum by (channel, le) (rate(receiver_page_lag_seconds_bucket{{{RECEIVER}}}[1h])))",
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
                                f"histogram_quantile(0.95, sum by (le) (rate(receiver_step_lateness_seconds_bucket{{{RECEIVER}}}[1h])))",
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
                        queries=(
                            Query(f"max by (channel) (receiver_channel_circuit_open{{{RECEIVER}}})", "{{channel}}"),
                        ),
                        words=(Word("0", "sends", "green"), Word("1", "rests", "orange")),
                        width=8,
                        empty="The receiver is not measured",
                    ),
                ),
            ),
        ),
    )


def listening(numbers: Numbers) -> Section:
    """Give the way in: is the receiver there, and does it hear Alertmanager."""
    return Section(
        60,
        "Do alerts arrive?",
        (
            Line(
                7,
                (
                    Series(
                        id=61,
                        title="Watchdog age",
                        about="How long ago the receiver last heard the alert that always fires. Dashed: ReceiverWatchdogLate.",
                        unit="s",
                        queries=(
                            Query(
                                f"time() - max by (instance) (receiver_watchdog_last_seen_timestamp_seconds{{{RECEIVER}}})",
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("ReceiverWatchdogLate"),),
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
                                f'sum by (instance) (increase(receiver_webhook_requests_total{{{RECEIVER}, code=~"401|403"}}[10m]))',
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("ReceiverRefusesRequests"),),
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
                                f"time() - max by (source) (receiver_reconcile_last_success_timestamp_seconds{{{RECEIVER}}})",
                                "{{source}}",
                            ),
                        ),
                        limits=(numbers.limit("ReceiverReconcileStale"),),
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
                                f"time() - max by (schedule) (receiver_calendar_last_success_timestamp_seconds{{{RECEIVER}}})",
                                "{{schedule}}",
                            ),
                        ),
                        limits=(numbers.limit("ReceiverCalendarStale"),),
                        explains=("ReceiverCalendarStale",),
                        width=6,
                        empty="No schedule is read from a calendar",
                    ),
                    States(
                        id=67,
                        title="Did it take its configuration?",
                        about="While it is refused, changes of people and channels have no effect: ReceiverConfigReloadFailed.",
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
