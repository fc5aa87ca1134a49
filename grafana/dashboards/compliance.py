"""Scans, certificates, backups and compliance, on the security dashboard."""

from grafana.dashboards.school import APP, ever
from grafana.panel import Bars, Column, Line, Query, Rule, Section, Series, States, Table, Word

_SEVERITIES = (
    Word("critical", "critical", "red"),
    Word("high", "high", "orange"),
    Word("medium", "medium", "dark-yellow"),
    Word("low", "low"),
)

_AGE = f"time() - max by (scanner) (security_scan_last_success_timestamp_seconds{{{APP}}})"

_SUBJECTS = f"max by (kind) (time() - (compliance_oldest_open_subject_request_timestamp_seconds{{{APP}}} > 0))"

_AUDITED = f"time() - max by (framework) (compliance_last_audit_timestamp_seconds{{{APP}}})"

# What scans found, and what runs out.
FINDINGS = Section(
    40,
    "Scans, certificates and backups",
    (
        Line(
            8,
            (
                Table(
                    id=41,
                    title="What did the scans find?",
                    about="Open findings: SecurityScanFindings tells of those that are critical or high.",
                    unit="none",
                    queries=(
                        Query(
                            f"max by (scanner, finding_severity) (security_scan_open_findings{{{APP}}}) > 0",
                            "{{scanner}} {{finding_severity}}",
                        ),
                    ),
                    columns=(
                        Column("scanner", "Scan", width=120),
                        Column("finding_severity", "Severity", words=_SEVERITIES, width=100),
                        Column("Value", "Open", width=80),
                    ),
                    sort="Open",
                    explains=("SecurityScanFindings",),
                    width=6,
                    empty="No finding is open",
                ),
                Bars(
                    id=42,
                    title="How old is the last good scan?",
                    about="SecurityScanStale tells after {SecurityScanStale}.",
                    unit="s",
                    queries=(Query(_AGE, "{{scanner}}"),),
                    limits=(Rule("SecurityScanStale"),),
                    explains=("SecurityScanStale",),
                    width=6,
                    empty="No scan has run",
                ),
                Bars(
                    id=43,
                    title="How long are the certificates valid?",
                    about="CertificateExpiresSoon tells at {CertificateExpiresSoon}.",
                    unit="s",
                    queries=(
                        Query(
                            'min by (instance) (probe_ssl_earliest_cert_expiry{job="blackbox-http"}) - time()',
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("CertificateExpiresSoon"),),
                    explains=("CertificateExpiresSoon",),
                    width=6,
                    empty="No certificate is probed",
                ),
                Bars(
                    id=44,
                    title="How old is the last backup?",
                    about="BackupStale tells after {BackupStale}.",
                    unit="s",
                    queries=(
                        Query(
                            f"time() - max by (database) (backup_last_success_timestamp_seconds{{{APP}}})",
                            "{{database}}",
                        ),
                    ),
                    limits=(Rule("BackupStale"),),
                    explains=("BackupStale",),
                    width=6,
                    empty="No backup was ever made",
                ),
            ),
        ),
    ),
)

# Controls, audits, requests of data _SUBJECTS and the audit log.
COMPLIANCE = Section(
    60,
    "Compliance",
    (
        Line(
            8,
            (
                States(
                    id=61,
                    title="Which controls pass?",
                    about="ComplianceCheckFailed tells of one that does not.",
                    unit="none",
                    queries=(
                        Query(
                            f"max by (framework, control) (compliance_control_passing{{{APP}}})",
                            "{{framework}} {{control}}",
                        ),
                    ),
                    words=(Word("1", "passes", "green"), Word("0", "fails", "red")),
                    explains=("ComplianceCheckFailed",),
                    width=9,
                    empty="No control was checked",
                ),
                Bars(
                    id=62,
                    title="How long ago was the last audit?",
                    about="ComplianceAuditOverdue tells after {ComplianceAuditOverdue}.",
                    unit="s",
                    queries=(Query(_AUDITED, "{{framework}}"),),
                    limits=(Rule("ComplianceAuditOverdue"),),
                    explains=("ComplianceAuditOverdue",),
                    width=5,
                    empty="No audit was made",
                ),
                Bars(
                    id=63,
                    title="How long do data subjects wait?",
                    about="The law gives a month; SubjectRequestOverdue tells after {SubjectRequestOverdue}.",
                    unit="s",
                    queries=(Query(_SUBJECTS, "{{kind}}"),),
                    limits=(Rule("SubjectRequestOverdue"),),
                    explains=("SubjectRequestOverdue",),
                    width=5,
                    empty="No request is open",
                ),
                Series(
                    id=64,
                    title="Entries of the audit log",
                    about="Within an hour: at 0, while the application is used, AuditLogSilent tells.",
                    unit="short",
                    queries=(Query(ever("audit_log_entries_total", "1h"), "Entries"),),
                    explains=("AuditLogSilent",),
                    width=5,
                    empty="No entry was written",
                ),
            ),
        ),
    ),
)
