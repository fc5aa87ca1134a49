"""Every alert's own outage. An alert without one is refused by `make alert-review` and by tests/deploy."""

from deploy.simulation.outages.changes import Change, Outage, ago, held, missing, plus, shrinking, times
from deploy.simulation.time_axis import DAY

GIB = 1024.0**3
HOUR = 3600.0
# Alerts that have no outage here, and why.
EXCEPT = {
    "Watchdog": "it fires always; what is noticed is its absence, by the receiver and by ReceiverWatchdogLate",
    "ReceiverReplicaDown": "there is one receiver in this month; tests/rules and rules/tests have several",
    "ExporterPeersUnreachable": "there is one exporter in this month; rules/tests has several",
    "ExporterReplicaDown": "there is one exporter in this month; tests/rules and rules/tests have several",
}

# What the incidents of every past are for (deploy/simulation/time_axis.py), and what may fire with them.
SLO = ("SLOBurnRateFast", "SLOBurnRateHigh", "SLOBurnRateElevated", "SLOBurnRateSlow")
INCIDENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "slow": (
        ("SlowResponseTime", "ApiLatencyAboveBenchmark", "DatabaseQueryLatencyAboveBenchmark", "PageLoadSlow"),
        SLO,
    ),
    "errors": (("HighErrorRate",), SLO),
    "payments": (("PaymentFailureRate",), ("PaymentOutage", "PaymentSuccessBelowBenchmark", *SLO)),
    "cache": (("CacheHitRateLow",), ()),
    "host": (("TargetDown",), ()),
    "connections": (("HighDatabaseConnections",), ()),
    "site": (("SiteUnreachable",), ("UptimeBelowBenchmark", *SLO)),
}


def _stopped(name: str, *labels: str) -> Change:
    return Change(name, labels, counter=times(0))


def _slower(name: str, than: float) -> Change:
    """All that is measured takes longer than a bound of its buckets."""
    return Change(f"{name}_bucket", counter=times(0), below=than)


def _gauge(name: str, value: float, *labels: str) -> Change:
    return Change(name, labels, gauge=held(value))


def _more(name: str, per_second: float, *labels: str) -> Change:
    return Change(name, labels, counter=plus(per_second))


def _since(name: str, seconds: float, *labels: str) -> Change:
    return Change(name, labels, gauge=ago(seconds))


OUTAGES = (
    # The application and its users
    Outage(
        "every tenth request fails for hours",
        26, 10, 240,
        ("HighErrorRate", *SLO),
        (_more("http_requests_total", 0.6, 'status="500"'),),
    ),
    Outage("no request arrives", 25, 19, 30, ("ApplicationDown",), (_stopped("http_requests_total"),)),
    Outage("pages are drawn late", 25, 9, 90, ("TimeToInteractiveSlow", "FirstContentfulPaintSlow"), (
        _slower("rum_time_to_interactive_seconds", 5),
        _slower("rum_first_contentful_paint_seconds", 1.8),
    )),
    Outage("the application does not answer", 24, 10, 20, ("ExporterDown",), (), down=("heypeter-app",)),
    Outage(
        "the payment provider refuses nearly all cards",
        24, 19, 90,
        ("PaymentOutage", "PaymentFailureRate", "PaymentSuccessBelowBenchmark"),
        (_more("payment_failures_total", 0.045),),
        also=SLO,
    ),
    Outage("nobody can pay", 6, 17, 180, ("PaymentsStopped",), (
        _stopped("payment_attempts_total"),
        _stopped("payment_failures_total"),
    )),
    Outage(
        "nobody can register or book",
        5, 6, 40 * 60,
        ("LowUserRegistrations", "RegistrationsBelowBenchmark", "BookingsBelowBenchmark"),
        (Change("user_registrations_total", counter=times(0.02)), Change("class_bookings_total", counter=times(0.05))),
        also=("HighClassCancellationRate",),
    ),
    Outage("teachers fall ill", 23, 16, 180, ("HighClassCancellationRate",), (
        Change("class_cancellations_total", counter=times(8)),
    )),
    Outage("support does not answer", 23, 9, 60, ("SupportResponseAboveBenchmark",), (
        _since("support_oldest_unanswered_ticket_timestamp_seconds", 3 * HOUR, 'ticket_priority="normal"'),
    )),
    Outage("students leave", 22, 3, 26 * 60, ("RetentionBelowBenchmark",), (
        _gauge("user_retention_ratio", 0.7, 'cohort="d30"'),
    )),
    # Security and law
    Outage(
        "passwords are tried on many accounts",
        7, 3, 40,
        ("FailedLoginSpike", "CredentialStuffing", "AccountLockouts"),
        (
            _gauge("auth_login_failure_distinct_accounts", 400, 'window="5m"'),
            _more("auth_login_failures_total", 5),
            _more("auth_lockouts_total", 0.05),
        ),
    ),
    Outage("a crawler asks for what it may not see", 21, 12, 60, ("RateLimitViolations", "ForbiddenSpike"), (
        _more("http_rate_limited_total", 3),
        Change("http_requests_total", ('status="403"',), counter=times(200)),
    )),
    Outage("somebody makes himself an administrator", 20, 4, 10, ("SuspiciousActivity", "PrivilegeGranted"), (
        _more("security_suspicious_events_total", 0.01),
        _more("auth_role_grants_total", 0.01, 'role="admin"'),
    )),
    Outage(
        "jobs of the night have not run for days",
        20, 10, 150,
        ("BackupStale", "SecurityScanStale", "SecurityScanFindings"),
        (
            _since("backup_last_success_timestamp_seconds", 30 * HOUR),
            _since("security_scan_last_success_timestamp_seconds", 4 * DAY, 'scanner="tls"'),
            _gauge("security_scan_open_findings", 2, 'scanner="dependency"', 'finding_severity="critical"'),
        ),
    ),
    Outage(
        "duties of data protection are missed",
        19, 10, 150,
        ("ComplianceCheckFailed", "ComplianceAuditOverdue", "SubjectRequestOverdue", "AuditLogSilent"),
        (
            _gauge("compliance_control_passing", 0, 'framework="gdpr"', 'control="backup_restore"'),
            _since("compliance_last_audit_timestamp_seconds", 400 * DAY, 'framework="gdpr"'),
            _since("compliance_oldest_open_subject_request_timestamp_seconds", 26 * DAY, 'kind="access"'),
            _stopped("audit_log_entries_total"),
        ),
    ),
    Outage("the certificate was not renewed", 18, 9, 120, ("CertificateExpiresSoon",), (
        _since("probe_ssl_earliest_cert_expiry", -7 * DAY),
    )),
    Outage("the site is unreachable for an hour", 3, 14, 75, ("SiteUnreachable", "UptimeBelowBenchmark"), (
        _gauge("probe_success", 0),
    ), also=SLO),
    # Hosts and stores
    Outage(
        "a host is overloaded",
        18, 13, 60,
        ("CpuAboveBenchmark", "MemoryAboveBenchmark", "HighMemoryUsage", "DiskIoAboveBenchmark", "HostOutOfMemoryKill"),
        (
            Change("node_cpu_seconds_total", ('instance="web-1:9100"', 'mode="idle"'), counter=times(0.1)),
            _gauge("node_memory_MemAvailable_bytes", 0.3 * GIB, 'instance="web-1:9100"'),
            _more("node_disk_io_time_seconds_total", 0.9, 'instance="web-1:9100"'),
            _more("node_vmstat_oom_kill", 0.005, 'instance="web-1:9100"'),
        ),
    ),
    Outage("a disk fills up", 17, 6, 720, ("DiskWillFillIn24Hours", "DiskSpaceCritical"), (
        Change(
            "node_filesystem_avail_bytes", ('instance="web-1:9100"',), gauge=shrinking(50 * GIB / (11 * HOUR), 2 * GIB)
        ),
    )),
    Outage("a disk is damaged", 16, 9, 60, ("FilesystemUnreadable", "InodesLow"), (
        _gauge("node_filesystem_device_error", 1, 'instance="web-2:9100"'),
        _gauge("node_filesystem_files_free", 1e5, 'instance="web-2:9100"'),
    )),
    Outage("the time daemon is dead", 16, 12, 40, ("HostClockSkew",), (
        _gauge("node_timex_sync_status", 0, 'instance="web-2:9100"'),
        _gauge("node_timex_maxerror_seconds", 16, 'instance="web-2:9100"'),
    )),
    Outage("the network is slow", 15, 10, 60, ("NetworkLatencyAboveBenchmark", "NginxDroppedConnections"), (
        _gauge("probe_http_duration_seconds", 0.09, 'phase="connect"'),
        Change("nginx_connections_handled", counter=times(0.5)),
    )),
    Outage("the database does not answer", 15, 15, 15, ("DatabaseDown",), (), down=("postgres",)),
    Outage(
        "the database is stuck",
        14, 10, 40,
        ("DatabaseDeadlocks", "DatabaseReplicationLag", "DatabaseLongTransaction"),
        (
            _more("pg_stat_database_deadlocks", 0.05),
            _gauge("pg_replication_is_replica", 1),
            _gauge("pg_replication_lag_seconds", 300),
            _gauge("pg_stat_activity_max_tx_duration", 1500, 'state="idle in transaction"'),
        ),
    ),
    Outage("Redis does not answer", 14, 14, 15, ("RedisDown",), (), down=("redis",)),
    Outage("Redis is full", 13, 10, 40, ("RedisMemoryHigh", "RedisRejectsConnections"), (
        _gauge("redis_memory_used_bytes", 1.95 * GIB),
        _more("redis_rejected_connections_total", 0.1),
    )),
    Outage("nginx does not answer", 13, 14, 15, ("NginxDown",), (), down=("nginx",)),
    # The monitoring itself
    Outage("a job was taken out by mistake", 12, 9, 40, ("JobMissing",), (), gone=("nginx",)),
    Outage("an exporter shows less than before", 12, 13, 60, ("ExpectedMetricMissing", "ExporterScrapeError"), (
        Change("node_memory_MemAvailable_bytes", gauge=missing),
        _gauge("node_scrape_collector_success", 0, 'collector="meminfo"'),
    )),
    Outage("labels explode", 11, 10, 40, ("TargetCardinalityHigh", "ScrapeNearTimeout"), (
        _gauge("scrape_samples_post_metric_relabeling", 30_000, 'job="heypeter-app"'),
        _gauge("scrape_duration_seconds", 9, 'job="heypeter-app"'),
    )),
    Outage("the exporter's disk is full", 11, 14, 60, ("ExporterRejectsEvents", "ExporterStorageErrors"), (
        _more("exporter_events_rejected_total", 20),
        _more("exporter_storage_errors_total", 0.02),
    )),
    Outage("more events than can be remembered", 11, 17, 60, ("ExporterForgetsIds",), (
        _more("exporter_dedup_early_forgets_total", 0.001, 'ids="server_batches"'),
    )),
    Outage("the receiver does not answer", 10, 9, 15, ("ReceiverDown",), (), down=("receiver",)),
    Outage(
        "PagerDuty does not answer",
        10, 13, 40,
        ("ReceiverBacklog", "ReceiverDeliveryFailing", "ReceiverNotificationsDead"),
        (
            _gauge("receiver_outbox_oldest_age_seconds", 600, 'channel="pagerduty"'),
            _more("receiver_deliveries_total", 0.05, 'channel="pagerduty"', 'outcome="retried"'),
            _more("receiver_notifications_dead_total", 0.01, 'channel="pagerduty"'),
        ),
    ),
    Outage(
        "the receiver cannot write",
        9, 9, 60,
        ("ReceiverStoreOutage", "ReceiverHousekeepingFailing"),
        (
            _gauge("receiver_store_outage", 1, 'reason="full"'),
            _gauge("receiver_housekeeping_failing", 1, 'loop="retention"'),
        ),
    ),
    Outage(
        "the receiver hears nothing from Alertmanager",
        9, 13, 60,
        ("ReceiverWatchdogLate", "ReceiverReconcileStale", "ReceiverRefusesRequests", "ReceiverConfigReloadFailed"),
        (
            _since("receiver_watchdog_last_seen_timestamp_seconds", 600),
            _since("receiver_reconcile_last_success_timestamp_seconds", 1800),
            _more("receiver_webhook_requests_total", 0.1, 'code="401"'),
            _gauge("receiver_config_last_reload_successful", 0),
        ),
    ),
    Outage("an alert was resolved by hand and still fires", 8, 9, 60, ("ReceiverResolvedStillFiring",), (
        _gauge("receiver_resolved_still_firing", 1),
    )),
    Outage("an error of the receiver stops an incident", 8, 15, 60, ("ReceiverIncidentsStuck",), (
        _gauge("receiver_incidents_stuck", 1),
    )),
    Outage(
        "nobody answers",
        8, 12, 60,
        ("IncidentUnacknowledged", "IncidentUnacknowledgedLong"),
        (
            _gauge("receiver_incident_unacknowledged_overdue_seconds", 300, 'priority="P1"'),
            _gauge("receiver_incident_unacknowledged_overdue_seconds", HOUR, 'priority="P3"'),
        ),
    ),
    Outage(
        "nobody is on call",
        7, 9, 60,
        ("OnCallGap", "OnCallGapSoon", "OnCallGapAhead", "ReceiverCalendarStale"),
        (
            _gauge("receiver_oncall_covered", 0, 'role="cto"'),
            _gauge("receiver_oncall_next_gap_seconds", 1800, 'role="tech_lead"'),
            _gauge("receiver_oncall_next_gap_seconds", 8 * HOUR, 'role="on_call_engineer"'),
            _since("receiver_calendar_last_success_timestamp_seconds", 7 * HOUR),
        ),
    ),
    Outage("Alertmanager does not answer", 22, 9, 20, ("AlertmanagerDown",), (), down=("alertmanager",)),
    Outage(
        "two Alertmanagers do not find each other",
        21, 16, 60,
        ("AlertmanagerClusterSplit", "AlertmanagerConfigInconsistent", "AlertmanagerConfigReloadFailed"),
        (
            _gauge("alertmanager_config_last_reload_successful", 0),
            *(
                Change(
                    f"alertmanager_{name}",
                    ('instance="localhost:9094"', 'job="alertmanager"'),
                    gauge=held(value),
                    new=True,
                )
                for name, value in (("cluster_members", 1), ("config_hash", 987_654_321))
            ),
        ),
    ),
    Outage("Alertmanager cannot notify", 19, 17, 40, ("AlertmanagerNotificationsFailing",), (
        _more("alertmanager_notifications_failed_total", 0.01, 'integration="webhook"'),
    )),
    Outage(
        "Prometheus does not reach Alertmanager",
        17, 2, 60,
        (
            "PrometheusNotConnectedToAlertmanager", "PrometheusErrorSendingAlerts", "PrometheusNotificationsDropped",
            "PrometheusConfigReloadFailed",
        ),
        (
            _gauge("prometheus_notifications_alertmanagers_discovered", 0),
            _more("prometheus_notifications_errors_total", 0.5),
            _more("prometheus_notifications_dropped_total", 0.1),
            _gauge("prometheus_config_last_reload_successful", 0),
        ),
    ),
    Outage(
        "the disk of Prometheus is full",
        26, 17, 60,
        (
            "PrometheusNotIngesting", "PrometheusStorageTrouble", "PrometheusRuleEvaluationFailures",
            "PrometheusMissedRuleEvaluations",
        ),
        (
            _stopped("prometheus_tsdb_head_samples_appended_total"),
            _more("prometheus_tsdb_compactions_failed_total", 0.01),
            _more("prometheus_rule_evaluation_failures_total", 0.05),
            _more("prometheus_rule_group_iterations_missed_total", 0.05),
        ),
    ),
)  # fmt: skip
