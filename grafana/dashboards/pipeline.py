"""Prometheus and Alertmanager sections of the monitoring dashboard."""

from grafana.dashboards.states import ANSWERS, TAKEN
from grafana.panel import (
    Query,
    Rule,
    Section,
    Series,
    States,
    lines,
)

_PROM = 'job="prometheus"'

_AM = 'job="alertmanager"'

_NO_PROMETHEUS = "No data from Prometheus"

_NO_ALERTMANAGER = "No data from Alertmanager"

_STORAGE = {
    "compactions_failed": "Failed compactions",
    "reloads_failures": "Failed reloads",
    "wal_corruptions": "Corruptions of the log",
}

_SENT, _FAILED = (
    f"sum by (alertmanager) (rate(prometheus_notifications_{name}_total{{{_PROM}}}[5m]))" for name in ("sent", "errors")
)

_DELIVERED, _UNDELIVERED = (
    f"sum by (integration) (rate(alertmanager_notifications_{name}total{{{_AM}}}[5m]))" for name in ("", "failed_")
)

_MEMBERS = f"max by (instance) (alertmanager_cluster_members{{{_AM}}})"

PROMETHEUS_CONFIG_RELOAD = States(
    id=241,
    title="Prometheus config reload",
    about="If the reload failed, changes to rules and targets have no effect: PrometheusConfigReloadFailed.",
    unit="none",
    queries=(
        Query(
            f"max by (instance) (prometheus_config_last_reload_successful{{{_PROM}}})",
            "{{instance}}",
        ),
    ),
    words=TAKEN,
    explains=("PrometheusConfigReloadFailed",),
    empty=_NO_PROMETHEUS,
)

RULE_EVALUATION_FAILURES = Series(
    id=242,
    title="Rule evaluation failures",
    about="Per five minutes. Alerts of a failing group may not fire: PrometheusRuleEvaluationFailures.",
    unit="short",
    queries=(
        Query(
            f"round(sum by (instance) (increase(prometheus_rule_evaluation_failures_total{{{_PROM}}}[5m])))",
            "{{instance}}",
        ),
    ),
    limits=(Rule("PrometheusRuleEvaluationFailures"),),
    explains=("PrometheusRuleEvaluationFailures",),
    empty=_NO_PROMETHEUS,
)

MISSED_RULE_EVALUATIONS = Series(
    id=243,
    title="Missed rule evaluations",
    about="Per five minutes, because earlier evaluations took too long: PrometheusMissedRuleEvaluations.",
    unit="short",
    queries=(
        Query(
            f"round(sum by (instance) (increase(prometheus_rule_group_iterations_missed_total{{{_PROM}}}[5m])))",
            "{{instance}}",
        ),
    ),
    limits=(Rule("PrometheusMissedRuleEvaluations"),),
    explains=("PrometheusMissedRuleEvaluations",),
    empty=_NO_PROMETHEUS,
)

SLOWEST_RULE_GROUPS = Series(
    id=244,
    title="Slowest rule groups",
    about="Duration of the last evaluation. It must be shorter than the group's interval.",
    unit="s",
    queries=(
        Query(
            "topk(5, max by (group) (label_replace("
            f"prometheus_rule_group_last_duration_seconds{{{_PROM}}}, "
            '"group", "$1", "rule_group", ".*;(.*)")))',
            "{{group}}",
        ),
    ),
    empty=_NO_PROMETHEUS,
)

SAMPLES_STORED = Series(
    id=245,
    title="Samples stored",
    about="Per second. PrometheusNotIngesting fires at 0.",
    unit="cps",
    queries=(
        Query(
            f"sum by (instance) (rate(prometheus_tsdb_head_samples_appended_total{{{_PROM}}}[5m]))",
            "{{instance}}",
        ),
    ),
    explains=("PrometheusNotIngesting",),
    empty=_NO_PROMETHEUS,
)

PROMETHEUS_STORAGE_ERRORS = Series(
    id=246,
    title="Prometheus storage errors",
    about="Failed compactions, failed reloads and corruptions within three hours. "
    "PrometheusStorageTrouble fires on each.",
    unit="short",
    queries=tuple(
        Query(f"round(sum(increase(prometheus_tsdb_{name}_total{{{_PROM}}}[3h])))", text)
        for name, text in _STORAGE.items()
    ),
    limits=(Rule("PrometheusStorageTrouble"),),
    explains=("PrometheusStorageTrouble",),
    empty=_NO_PROMETHEUS,
)

KNOWN_ALERTMANAGERS = Series(
    id=247,
    title="Connected Alertmanagers",
    about="PrometheusNotConnectedToAlertmanager fires below 1.",
    unit="none",
    decimals=0,
    queries=(
        Query(
            f"max by (instance) (prometheus_notifications_alertmanagers_discovered{{{_PROM}}})",
            "{{instance}}",
        ),
    ),
    limits=(Rule("PrometheusNotConnectedToAlertmanager"),),
    explains=("PrometheusNotConnectedToAlertmanager",),
    empty=_NO_PROMETHEUS,
)

ALERT_SEND_FAILURE_RATE = Series(
    id=248,
    title="Alert send failure rate",
    about="By Alertmanager. Dashed: PrometheusErrorSendingAlerts.",
    unit="percentunit",
    queries=(Query(f"{_FAILED} / ({_SENT} > 0)", "{{alertmanager}}"),),
    limits=(Rule("PrometheusErrorSendingAlerts"),),
    explains=("PrometheusErrorSendingAlerts",),
    empty="Nothing sent",
)

DROPPED_ALERTS = Series(
    id=249,
    title="Dropped alerts",
    about="Per ten minutes. PrometheusNotificationsDropped fires on each.",
    unit="short",
    queries=(
        Query(
            f"round(sum by (instance) (increase(prometheus_notifications_dropped_total{{{_PROM}}}[10m])))",
            "{{instance}}",
        ),
    ),
    limits=(Rule("PrometheusNotificationsDropped"),),
    explains=("PrometheusNotificationsDropped",),
    empty=_NO_PROMETHEUS,
)

ALERTMANAGER_STATUS = States(
    id=261,
    title="Alertmanager status",
    about="AlertmanagerDown fires if one is down. If it is the only one, no notification is sent "
    "and the missing Watchdog raises the alarm.",
    unit="none",
    queries=(Query(f"max by (instance) (up{{{_AM}}})", "{{instance}}"),),
    words=ANSWERS,
    explains=("AlertmanagerDown",),
    empty=_NO_ALERTMANAGER,
)

ALERTMANAGER_CONFIG_RELOAD = States(
    id=262,
    title="Alertmanager config reload",
    about="If the reload failed, changes to routes have no effect: AlertmanagerConfigReloadFailed.",
    unit="none",
    queries=(
        Query(
            f"max by (instance) (alertmanager_config_last_reload_successful{{{_AM}}})",
            "{{instance}}",
        ),
    ),
    words=TAKEN,
    explains=("AlertmanagerConfigReloadFailed",),
    empty=_NO_ALERTMANAGER,
)

NOTIFICATION_FAILURE_RATE = Series(
    id=263,
    title="Notification failure rate",
    about="By integration. Dashed: AlertmanagerNotificationsFailing.",
    unit="percentunit",
    queries=(Query(f"{_UNDELIVERED} / ({_DELIVERED} > 0)", "{{integration}}"),),
    limits=(Rule("AlertmanagerNotificationsFailing"),),
    explains=("AlertmanagerNotificationsFailing",),
    empty="Nothing sent",
)

CLUSTER_MEMBERS = Series(
    id=264,
    title="Cluster members",
    about="As seen by each Alertmanager. If one sees fewer, notifications are sent twice: AlertmanagerClusterSplit.",
    unit="none",
    decimals=0,
    queries=(Query(_MEMBERS, "{{instance}}"),),
    explains=("AlertmanagerClusterSplit",),
    empty="Not clustered",
)

DISTINCT_CONFIGURATIONS = Series(
    id=265,
    title="Distinct configurations",
    about="AlertmanagerConfigInconsistent fires above 1.",
    unit="none",
    decimals=0,
    queries=(Query(f'count(count_values("hash", alertmanager_config_hash{{{_AM}}}))', "Configurations"),),
    explains=("AlertmanagerConfigInconsistent",),
    empty=_NO_ALERTMANAGER,
)


PROMETHEUS = Section(
    240,
    "Prometheus",
    (
        *lines(7, PROMETHEUS_CONFIG_RELOAD, SAMPLES_STORED),
        *lines(7, RULE_EVALUATION_FAILURES, MISSED_RULE_EVALUATIONS),
        *lines(7, PROMETHEUS_STORAGE_ERRORS, DROPPED_ALERTS),
        *lines(7, KNOWN_ALERTMANAGERS, ALERT_SEND_FAILURE_RATE),
    ),
)

ALERTMANAGER = Section(
    260,
    "Alertmanager",
    (
        *lines(7, ALERTMANAGER_STATUS, ALERTMANAGER_CONFIG_RELOAD),
        *lines(7, NOTIFICATION_FAILURE_RATE, CLUSTER_MEMBERS, DISTINCT_CONFIGURATIONS, across=3),
    ),
)

DETAILS = Section(239, "Slowest rule groups", lines(8, SLOWEST_RULE_GROUPS, across=1), folded=True)
