"""The monitoring itself, on the technical dashboard: targets, the exporter, Prometheus and Alertmanager."""

from grafana.tables import Numbers
from grafana.panel import Limit, Line, Query, Section, Series, States, Word

APP = 'job="heypeter-app"'
PROM = 'job="prometheus"'
AM = 'job="alertmanager"'
UP = (Word("1", "answers", "green"), Word("0", "does not", "red"))
TAKEN = (Word("1", "taken", "green"), Word("0", "refused", "red"))
NO_PROMETHEUS = "Prometheus is not measured"
NO_ALERTMANAGER = "Alertmanager is not measured"


def targets(numbers: Numbers) -> Section:
    """Give what is scraped: who answers, how long it takes, and whether what rules need is there."""
    return Section(
        200,
        "Monitoring: targets",
        (
            Line(
                10,
                (
                    States(
                        id=201,
                        title="Which targets answer?",
                        about="A target that does not makes every alert about it blind: TargetDown, or the alert of its own job.",
                        unit="none",
                        queries=(Query("max by (job, instance) (up{})", "{{job}} {{instance}}"),),
                        words=UP,
                        explains=("TargetDown",),
                        width=12,
                        empty="Nothing is scraped",
                    ),
                    States(
                        id=202,
                        title="Which jobs have no target?",
                        about="Jobs that rules ask for: JobMissing tells of one that was lost from the configuration.",
                        unit="none",
                        queries=tuple(
                            Query(f'count(up{{job="{job}"}}) > bool 0 or vector(0)', job)
                            for job in (
                                *("node", "heypeter-app", "postgres", "redis", "nginx"),
                                *("blackbox-http", "prometheus", "alertmanager", "receiver"),
                            )
                        ),
                        words=(Word("1", "has targets", "green"), Word("0", "has none", "red")),
                        explains=("JobMissing",),
                        width=12,
                        empty="not known",
                    ),
                ),
            ),
            Line(
                8,
                (
                    States(
                        id=203,
                        title="Which metrics of the rules are missing?",
                        about="Of each job that answers: without the metric its alerts cannot fire, and ExpectedMetricMissing tells.",
                        unit="none",
                        queries=tuple(
                            Query(f'count({metric}{{job="{job}"}}) > bool 0 or vector(0)', metric)
                            for metric, job in EXPECTED.items()
                        ),
                        words=(Word("1", "there", "green"), Word("0", "missing", "red")),
                        explains=("ExpectedMetricMissing",),
                        width=12,
                        empty="not known",
                    ),
                    Series(
                        id=204,
                        title="Time to scrape a target",
                        about="Dashed: ScrapeNearTimeout.",
                        unit="s",
                        queries=(Query("max by (job, instance) (scrape_duration_seconds{})", "{{job}} {{instance}}"),),
                        limits=(numbers.limit("ScrapeNearTimeout"),),
                        explains=("ScrapeNearTimeout",),
                        width=6,
                        empty="Nothing is scraped",
                    ),
                    Series(
                        id=205,
                        title="Series of a target",
                        about="Dashed: TargetCardinalityHigh.",
                        unit="short",
                        queries=(
                            Query(
                                "max by (job, instance) (scrape_samples_post_metric_relabeling{})",
                                "{{job}} {{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("TargetCardinalityHigh"),),
                        explains=("TargetCardinalityHigh",),
                        width=6,
                        empty="Nothing is scraped",
                    ),
                ),
            ),
        ),
    )


# Those that ExpectedMetricMissing asks for, with the job that has them.
EXPECTED = {
    "http_requests_total": "heypeter-app",
    "http_request_duration_seconds_bucket": "heypeter-app",
    "db_query_duration_seconds_bucket": "heypeter-app",
    "payment_attempts_total": "heypeter-app",
    "backup_last_success_timestamp_seconds": "heypeter-app",
    "pg_up": "postgres",
    "redis_up": "redis",
    "nginx_up": "nginx",
    "node_memory_MemAvailable_bytes": "node",
    "node_filesystem_avail_bytes": "node",
    "receiver_outbox_oldest_age_seconds": "receiver",
}


def exporter(numbers: Numbers) -> Section:
    """Give our exporter: is it there, and does it take what it is sent."""
    rejected = f'sum by (instance) (rate(exporter_events_rejected_total{{{APP}, source="events"}}[10m]))'
    accepted = f'sum by (instance) (rate(exporter_events_accepted_total{{{APP}, source="events"}}[10m]))'
    return Section(
        220,
        "Monitoring: the exporter",
        (
            Line(
                7,
                (
                    States(
                        id=221,
                        title="Does the exporter answer?",
                        about="Without it errors, latency, payments and logins are not seen: ExporterDown.",
                        unit="none",
                        queries=(Query(f"max by (instance) (up{{{APP}}})", "{{instance}}"),),
                        words=UP,
                        explains=("ExporterDown",),
                        width=6,
                        empty="The exporter is not measured",
                    ),
                    Series(
                        id=222,
                        title="Events that it takes and refuses",
                        about="A second, by who sends them.",
                        unit="ops",
                        queries=(
                            Query(
                                f"sum by (source) (rate(exporter_events_accepted_total{{{APP}}}[$__rate_interval]))",
                                "taken from {{source}}",
                            ),
                            Query(
                                f"sum by (source) (rate(exporter_events_rejected_total{{{APP}}}[$__rate_interval]))",
                                "refused from {{source}}",
                            ),
                        ),
                        width=6,
                        empty="No event came",
                    ),
                    Series(
                        id=223,
                        title="Share of the application's events refused",
                        about="What is refused is counted nowhere. Dashed: ExporterRejectsEvents.",
                        unit="percentunit",
                        queries=(
                            Query(
                                f"({rejected} or 0 * {accepted}) / ({accepted} + ({rejected} or 0 * {accepted}) > 0)",
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("ExporterRejectsEvents"),),
                        explains=("ExporterRejectsEvents",),
                        width=6,
                        empty="No event came",
                    ),
                    Series(
                        id=224,
                        title="Failures of its storage",
                        about="Within ten minutes, by operation: a restart would lose counts. ExporterStorageErrors tells of each.",
                        unit="short",
                        queries=(
                            Query(
                                f"sum by (operation) (increase(exporter_storage_errors_total{{{APP}}}[10m]))",
                                "{{operation}}",
                            ),
                        ),
                        limits=(numbers.limit("ExporterStorageErrors"),),
                        explains=("ExporterStorageErrors",),
                        width=6,
                        empty="The exporter is not measured",
                    ),
                ),
            ),
            Line(
                7,
                (
                    States(
                        id=225,
                        title="Do the exporters collect everything?",
                        about="ExporterScrapeError tells when a part that alerts need could not be collected.",
                        unit="none",
                        queries=(
                            Query(
                                f"min by (collector) (exporter_collector_success{{{APP}}})",
                                "heypeter-app {{collector}}",
                            ),
                            Query('1 - max(pg_exporter_last_scrape_error{job="postgres"})', "postgres"),
                            Query('1 - max(redis_exporter_last_scrape_error{job="redis"})', "redis"),
                            Query(
                                'min by (collector) (node_scrape_collector_success{job="node", collector=~"cpu|diskstats|filesystem|meminfo|timex|vmstat"})',
                                "node {{collector}}",
                            ),
                        ),
                        words=(Word("1", "collected", "green"), Word("0", "failed", "red")),
                        explains=("ExporterScrapeError",),
                        width=12,
                        empty="No exporter is measured",
                    ),
                    Series(
                        id=226,
                        title="Time to write /metrics",
                        about="95th percentile; Prometheus waits ten seconds.",
                        unit="s",
                        queries=(
                            Query(
                                f"histogram_quantile(0.95, sum by (le) (rate(exporter_render_duration_seconds_bucket{{{APP}}}[$__rate_interval])))",
                                "95th percentile",
                            ),
                        ),
                        width=6,
                        empty="Nobody asked for /metrics",
                    ),
                    Series(
                        id=227,
                        title="Values outside their lists",
                        about="Within an hour, counted as `other`, by label: a new route or plan belongs into exporter.yml.",
                        unit="short",
                        queries=(
                            Query(
                                f"sum by (label) (increase(exporter_label_overflow_total{{{APP}}}[1h]))", "{{label}}"
                            ),
                        ),
                        width=6,
                        empty="Every value is known",
                    ),
                ),
            ),
        ),
    )


def prometheus(numbers: Numbers) -> Section:
    """Give Prometheus: configuration, rules, storage, and what it hands over."""
    sent, failed = (
        f"sum by (alertmanager) (rate(prometheus_notifications_{name}_total{{{PROM}}}[5m]))"
        for name in ("sent", "errors")
    )
    return Section(
        240,
        "Monitoring: Prometheus",
        (
            Line(
                7,
                (
                    States(
                        id=241,
                        title="Did Prometheus take its configuration?",
                        about="While it is refused, changes of rules and targets have no effect: PrometheusConfigReloadFailed.",
                        unit="none",
                        queries=(
                            Query(
                                f"max by (instance) (prometheus_config_last_reload_successful{{{PROM}}})",
                                "{{instance}}",
                            ),
                        ),
                        words=TAKEN,
                        explains=("PrometheusConfigReloadFailed",),
                        width=6,
                        empty=NO_PROMETHEUS,
                    ),
                    Series(
                        id=242,
                        title="Rules that fail",
                        about="Within five minutes: alerts of such a group cannot fire. PrometheusRuleEvaluationFailures tells.",
                        unit="short",
                        queries=(
                            Query(
                                f"sum by (instance) (increase(prometheus_rule_evaluation_failures_total{{{PROM}}}[5m]))",
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("PrometheusRuleEvaluationFailures"),),
                        explains=("PrometheusRuleEvaluationFailures",),
                        width=6,
                        empty=NO_PROMETHEUS,
                    ),
                    Series(
                        id=243,
                        title="Evaluations that were missed",
                        about="Within five minutes, because the ones before took too long: PrometheusMissedRuleEvaluations.",
                        unit="short",
                        queries=(
                            Query(
                                f"sum by (instance) (increase(prometheus_rule_group_iterations_missed_total{{{PROM}}}[5m]))",
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("PrometheusMissedRuleEvaluations"),),
                        explains=("PrometheusMissedRuleEvaluations",),
                        width=6,
                        empty=NO_PROMETHEUS,
                    ),
                    Series(
                        id=244,
                        title="Slowest groups of rules",
                        about="Time of the last evaluation; a group has as long as its interval.",
                        unit="s",
                        queries=(
                            Query(
                                "topk(5, max by (group) (label_replace("
                                f'prometheus_rule_group_last_duration_seconds{{{PROM}}}, "group", "$1", "rule_group", ".*;(.*)")))',
                                "{{group}}",
                            ),
                        ),
                        width=6,
                        empty=NO_PROMETHEUS,
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
                                f"sum by (instance) (rate(prometheus_tsdb_head_samples_appended_total{{{PROM}}}[5m]))",
                                "{{instance}}",
                            ),
                        ),
                        explains=("PrometheusNotIngesting",),
                        width=6,
                        empty=NO_PROMETHEUS,
                    ),
                    Series(
                        id=246,
                        title="Troubles of its storage",
                        about="Within three hours: failed compactions and reloads, and corruptions. PrometheusStorageTrouble tells of each.",
                        unit="short",
                        queries=tuple(
                            Query(f"sum(increase(prometheus_tsdb_{name}_total{{{PROM}}}[3h]))", text)
                            for name, text in STORAGE.items()
                        ),
                        limits=(numbers.limit("PrometheusStorageTrouble"),),
                        explains=("PrometheusStorageTrouble",),
                        width=6,
                        empty=NO_PROMETHEUS,
                    ),
                    Series(
                        id=247,
                        title="Alertmanagers that it knows",
                        about="Below 1 it has nobody to send alerts to: PrometheusNotConnectedToAlertmanager.",
                        unit="none",
                        decimals=0,
                        queries=(
                            Query(
                                f"max by (instance) (prometheus_notifications_alertmanagers_discovered{{{PROM}}})",
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("PrometheusNotConnectedToAlertmanager"),),
                        explains=("PrometheusNotConnectedToAlertmanager",),
                        width=4,
                        empty=NO_PROMETHEUS,
                    ),
                    Series(
                        id=248,
                        title="Alerts that were not handed over",
                        about="Share of those sent, by Alertmanager. Dashed: PrometheusErrorSendingAlerts.",
                        unit="percentunit",
                        queries=(Query(f"{failed} / ({sent} > 0)", "{{alertmanager}}"),),
                        limits=(numbers.limit("PrometheusErrorSendingAlerts"),),
                        explains=("PrometheusErrorSendingAlerts",),
                        width=4,
                        empty="Nothing was sent",
                    ),
                    Series(
                        id=249,
                        title="Alerts that it dropped",
                        about="Within ten minutes: PrometheusNotificationsDropped tells of each.",
                        unit="short",
                        queries=(
                            Query(
                                f"sum by (instance) (increase(prometheus_notifications_dropped_total{{{PROM}}}[10m]))",
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("PrometheusNotificationsDropped"),),
                        explains=("PrometheusNotificationsDropped",),
                        width=4,
                        empty=NO_PROMETHEUS,
                    ),
                ),
            ),
        ),
    )


STORAGE = {
    "compactions_failed": "Failed compactions",
    "reloads_failures": "Failed reloads",
    "wal_corruptions": "Corruptions of the log",
}


def alertmanager(numbers: Numbers) -> Section:
    """Give Alertmanager: configuration, deliveries and its cluster."""
    sent, failed = (
        f"sum by (integration) (rate(alertmanager_notifications_{name}total{{{AM}}}[5m]))" for name in ("", "failed_")
    )
    members = f"max by (instance) (alertmanager_cluster_members{{{AM}}})"
    return Section(
        260,
        "Monitoring: Alertmanager",
        (
            Line(
                7,
                (
                    States(
                        id=261,
                        title="Does Alertmanager answer?",
                        about="If the only one does not, nothing is sent, and the Watchdog's silence pages: AlertmanagerDown.",
                        unit="none",
                        queries=(Query(f"max by (instance) (up{{{AM}}})", "{{instance}}"),),
                        words=UP,
                        explains=("AlertmanagerDown",),
                        width=6,
                        empty=NO_ALERTMANAGER,
                    ),
                    States(
                        id=262,
                        title="Did it take its configuration?",
                        about="While it is refused, changes of routes have no effect: AlertmanagerConfigReloadFailed.",
                        unit="none",
                        queries=(
                            Query(
                                f"max by (instance) (alertmanager_config_last_reload_successful{{{AM}}})",
                                "{{instance}}",
                            ),
                        ),
                        words=TAKEN,
                        explains=("AlertmanagerConfigReloadFailed",),
                        width=6,
                        empty=NO_ALERTMANAGER,
                    ),
                    Series(
                        id=263,
                        title="Notifications that fail",
                        about="Share of those sent, by way. Dashed: AlertmanagerNotificationsFailing.",
                        unit="percentunit",
                        queries=(Query(f"{failed} / ({sent} > 0)", "{{integration}}"),),
                        limits=(numbers.limit("AlertmanagerNotificationsFailing"),),
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
                        queries=(Query(members, "{{instance}}"),),
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
                            Query(f'count(count_values("hash", alertmanager_config_hash{{{AM}}}))', "Configurations"),
                        ),
                        limits=(Limit(1, "above", "yellow"),),
                        explains=("AlertmanagerConfigInconsistent",),
                        width=4,
                        empty=NO_ALERTMANAGER,
                    ),
                ),
            ),
        ),
    )
