"""Prometheus and Alertmanager, on the technical dashboard: do rules run, and do alerts get on."""

from grafana.dashboards.states import ANSWERS, TAKEN
from grafana.panel import (
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
)

_PROM = 'job="prometheus"'
_AM = 'job="alertmanager"'
_NO_PROMETHEUS = "Prometheus is not measured"
_NO_ALERTMANAGER = "Alertmanager is not measured"
_STORAGE = {
    "compactions_failed": "Failed compactions",
    "reloads_failures": "Failed reloads",
    "wal_corruptions": "Corruptions of the log",
}

_SENT, _FAILED = (
    f"sum by (alertmanager) (rate(prometheus_notifications_{name}_total{{{_PROM}}}[5m]))" for name in ("sent", "errors")
)

# Prometheus: configuration, rules, storage, and what it hands over.
PROMETHEUS = Section(
    240,
    "Monitoring: Prometheus",
    (
        Line(
            7,
            (
                States(
                    id=241,
                    title="Did Prometheus take its configuration?",
                    about="While it is refused, changes of rules and targets have no effect: "
                    "PrometheusConfigReloadFailed.",
                    unit="none",
                    queries=(
                        Query(
                            f"max by (instance) (prometheus_config_last_reload_successful{{{_PROM}}})",
                            "{{instance}}",
                        ),
                    ),
                    words=TAKEN,
                    explains=("PrometheusConfigReloadFailed",),
                    width=6,
                    empty=_NO_PROMETHEUS,
                ),
                Series(
                    id=242,
                    title="Rules that fail",
                    about="Within five minutes: alerts of such a group cannot fire. "
                    "PrometheusRuleEvaluationFailures tells.",
                    unit="short",
                    queries=(
                        Query(
                            f"sum by (instance) (increase(prometheus_rule_evaluation_failures_total{{{_PROM}}}[5m]))",
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("PrometheusRuleEvaluationFailures"),),
                    explains=("PrometheusRuleEvaluationFailures",),
                    width=6,
                    empty=_NO_PROMETHEUS,
                ),
                Series(
                    id=243,
                    title="Evaluations that were missed",
                    about="Within five minutes, because the ones before took too long: "
                    "PrometheusMissedRuleEvaluations.",
                    unit="short",
                    queries=(
                        Query(
                            "sum by (instance) "
                            f"(increase(prometheus_rule_group_iterations_missed_total{{{_PROM}}}[5m]))",
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("PrometheusMissedRuleEvaluations"),),
                    explains=("PrometheusMissedRuleEvaluations",),
                    width=6,
                    empty=_NO_PROMETHEUS,
                ),
                Series(
                    id=244,
                    title="Slowest groups of rules",
                    about="Time of the last evaluation; a group has as long as its interval.",
                    unit="s",
                    queries=(
                        Query(
                            "topk(5, max by (group) (label_replace("
                            f"prometheus_rule_group_last_duration_seconds{{{_PROM}}}, "
                            '"group", "$1", "rule_group", ".*;(.*)")))',
                            "{{group}}",
                        ),
                    ),
                    width=6,
                    empty=_NO_PROMETHEUS,
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=245,
                    title="Samples stored",
                    about="A second: at 0, PrometheusNotIngesting tells.",
                    unit="cps",
                    queries=(
                        Query(
                            f"sum by (instance) (rate(prometheus_tsdb_head_samples_appended_total{{{_PROM}}}[5m]))",
                            "{{instance}}",
                        ),
                    ),
                    explains=("PrometheusNotIngesting",),
                    width=6,
                    empty=_NO_PROMETHEUS,
                ),
                Series(
                    id=246,
                    title="Troubles of its storage",
                    about="Within three hours: failed compactions and reloads, and corruptions. "
                    "PrometheusStorageTrouble tells of each.",
                    unit="short",
                    queries=tuple(
                        Query(f"sum(increase(prometheus_tsdb_{name}_total{{{_PROM}}}[3h]))", text)
                        for name, text in _STORAGE.items()
                    ),
                    limits=(Rule("PrometheusStorageTrouble"),),
                    explains=("PrometheusStorageTrouble",),
                    width=6,
                    empty=_NO_PROMETHEUS,
                ),
                Series(
                    id=247,
                    title="Alertmanagers known",
                    about="Below 1 it has nobody to send alerts to: PrometheusNotConnectedToAlertmanager.",
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
                    width=4,
                    empty=_NO_PROMETHEUS,
                ),
                Series(
                    id=248,
                    title="Alerts not handed over",
                    about="Share of those sent, by Alertmanager. Dashed: PrometheusErrorSendingAlerts.",
                    unit="percentunit",
                    queries=(Query(f"{_FAILED} / ({_SENT} > 0)", "{{alertmanager}}"),),
                    limits=(Rule("PrometheusErrorSendingAlerts"),),
                    explains=("PrometheusErrorSendingAlerts",),
                    width=4,
                    empty="Nothing was sent",
                ),
                Series(
                    id=249,
                    title="Alerts dropped",
                    about="Within ten minutes: PrometheusNotificationsDropped tells of each.",
                    unit="short",
                    queries=(
                        Query(
                            f"sum by (instance) (increase(prometheus_notifications_dropped_total{{{_PROM}}}[10m]))",
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("PrometheusNotificationsDropped"),),
                    explains=("PrometheusNotificationsDropped",),
                    width=4,
                    empty=_NO_PROMETHEUS,
                ),
            ),
        ),
    ),
)

_DELIVERED, _UNDELIVERED = (
    f"sum by (integration) (rate(alertmanager_notifications_{name}total{{{_AM}}}[5m]))" for name in ("", "failed_")
)

_MEMBERS = f"max by (instance) (alertmanager_cluster_members{{{_AM}}})"

# Alertmanager: configuration, deliveries and its cluster.
ALERTMANAGER = Section(
    260,
    "Monitoring: Alertmanager",
    (
        Line(
            7,
            (
                States(
                    id=261,
                    title="Does Alertmanager answer?",
                    about="If the only one does not, nothing is sent, and the Watchdog's silence pages: "
                    "AlertmanagerDown.",
                    unit="none",
                    queries=(Query(f"max by (instance) (up{{{_AM}}})", "{{instance}}"),),
                    words=ANSWERS,
                    explains=("AlertmanagerDown",),
                    width=6,
                    empty=_NO_ALERTMANAGER,
                ),
                States(
                    id=262,
                    title="Did it take its configuration?",
                    about="While it is refused, changes of routes have no effect: AlertmanagerConfigReloadFailed.",
                    unit="none",
                    queries=(
                        Query(
                            f"max by (instance) (alertmanager_config_last_reload_successful{{{_AM}}})",
                            "{{instance}}",
                        ),
                    ),
                    words=TAKEN,
                    explains=("AlertmanagerConfigReloadFailed",),
                    width=6,
                    empty=_NO_ALERTMANAGER,
                ),
                Series(
                    id=263,
                    title="Notifications that fail",
                    about="Share of those sent, by way. Dashed: AlertmanagerNotificationsFailing.",
                    unit="percentunit",
                    queries=(Query(f"{_UNDELIVERED} / ({_DELIVERED} > 0)", "{{integration}}"),),
                    limits=(Rule("AlertmanagerNotificationsFailing"),),
                    explains=("AlertmanagerNotificationsFailing",),
                    width=4,
                    empty="Nothing was sent",
                ),
                Series(
                    id=264,
                    title="Members of its cluster",
                    about="That each one sees: one that sees fewer sends twice. AlertmanagerClusterSplit.",
                    unit="none",
                    decimals=0,
                    queries=(Query(_MEMBERS, "{{instance}}"),),
                    explains=("AlertmanagerClusterSplit",),
                    width=4,
                    empty="It runs without a cluster",
                ),
                Series(
                    id=265,
                    title="Different configurations",
                    about="More than one at a time is one too many: AlertmanagerConfigInconsistent.",
                    unit="none",
                    decimals=0,
                    queries=(
                        Query(f'count(count_values("hash", alertmanager_config_hash{{{_AM}}}))', "Configurations"),
                    ),
                    explains=("AlertmanagerConfigInconsistent",),
                    width=4,
                    empty=_NO_ALERTMANAGER,
                ),
            ),
        ),
    ),
)
