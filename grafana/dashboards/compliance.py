"""Sections of the security dashboard: scans, certificates, backups and compliance."""

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

FINDINGS = Section(
    40,
    "Scans, certificates and backups",
    (
        Line(
            8,
            (
                Table(
                    id=41,
                    title="Open scan findings",
                    about="SecurityScanFindings fires on critical and high findings.",
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
                    empty="No open findings",
                ),
                Bars(
                    id=42,
                    title="Last successful scan",
                    about="Age. SecurityScanStale fires after {SecurityScanStale}.",
                    unit="s",
                    queries=(Query(_AGE, "{{scanner}}"),),
                    limits=(Rule("SecurityScanStale"),),
                    explains=("SecurityScanStale",),
                    width=5,
                    empty="No scans yet",
                ),
                Bars(
                    id=43,
                    title="Certificate expiry",
                    about="Time left. CertificateExpiresSoon fires below {CertificateExpiresSoon}.",
                    unit="s",
                    queries=(
                        Query(
                            'min by (site) (label_replace(probe_ssl_earliest_cert_expiry{job="blackbox-http"}, '
                            '"site", "$1", "instance", "(?:https?://)?(.*)")) - time()',
                            "{{site}}",
                        ),
                    ),
                    limits=(Rule("CertificateExpiresSoon"),),
                    explains=("CertificateExpiresSoon",),
                    width=8,
                    empty="No certificates probed",
                ),
                Bars(
                    id=44,
                    title="Last successful backup",
                    about="Age. BackupStale fires after {BackupStale}.",
                    unit="s",
                    queries=(
                        Query(
                            f"time() - max by (database) (backup_last_success_timestamp_seconds{{{APP}}})",
                            "{{database}}",
                        ),
                    ),
                    limits=(Rule("BackupStale"),),
                    explains=("BackupStale",),
                    width=5,
                    empty="No backup yet",
                ),
            ),
        ),
    ),
)

COMPLIANCE = Section(
    60,
    "Compliance",
    (
        Line(
            8,
            (
                States(
                    id=61,
                    title="Compliance controls",
                    about="ComplianceCheckFailed fires if a control fails.",
                    unit="none",
                    queries=(
                        Query(
                            f"min by (framework, control) (compliance_control_passing{{{APP}}})",
                            "{{framework}} {{control}}",
                        ),
                    ),
                    words=(Word("1", "passes"), Word("0", "fails", "red")),
                    explains=("ComplianceCheckFailed",),
                    width=9,
                    empty="No controls checked",
                ),
                Bars(
                    id=62,
                    title="Last audit",
                    about="Age. ComplianceAuditOverdue fires after {ComplianceAuditOverdue}.",
                    unit="s",
                    queries=(Query(_AUDITED, "{{framework}}"),),
                    limits=(Rule("ComplianceAuditOverdue"),),
                    explains=("ComplianceAuditOverdue",),
                    width=5,
                    empty="No audit yet",
                ),
                Bars(
                    id=63,
                    title="Oldest open data subject request",
                    about="The law allows one month; SubjectRequestOverdue fires after {SubjectRequestOverdue}.",
                    unit="s",
                    queries=(Query(_SUBJECTS, "{{kind}}"),),
                    limits=(Rule("SubjectRequestOverdue"),),
                    explains=("SubjectRequestOverdue",),
                    width=5,
                    empty="No open requests",
                ),
                Series(
                    id=64,
                    title="Audit log entries",
                    about="Per hour. AuditLogSilent fires at 0 while the application is in use.",
                    unit="short",
                    queries=(Query(ever("audit_log_entries_total", "1h"), "Entries"),),
                    explains=("AuditLogSilent",),
                    width=5,
                    empty="No entries",
                ),
            ),
        ),
    ),
)
