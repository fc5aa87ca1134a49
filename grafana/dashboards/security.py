"""Security: who tries to get in, what was found, and what the law and the school's own controls ask for."""

from grafana.tables import Numbers
from grafana.panel import Bars, Board, Column, Line, Query, Section, Series, Stat, States, Table, Word

APP = 'job="heypeter-app"'
DAY = 86400
SEVERITIES = (
    Word("critical", "critical", "red"),
    Word("high", "high", "orange"),
    Word("medium", "medium", "yellow"),
    Word("low", "low"),
)


def board(numbers: Numbers) -> Board:
    """Write the dashboard."""
    return Board(
        uid="heypeter-security",
        title="HeyPeter Academy: security",
        about="Does somebody try to get in, and is the house in order? For security and data protection.",
        span="now-24h",
        refresh="1m",
        variables=("job",),
        sections=(logins(numbers), abuse(numbers), findings(numbers), compliance(numbers)),
    )


def counted(family: str, window: str, by: str = "") -> str:
    """Give how often something happened within a window: 0 if never, where it is not split by a label."""
    inside = f"(increase({family}{{{APP}}}[{window}]))"
    return f"sum by ({by}) {inside}" if by else f"sum{inside} or vector(0)"


def logins(numbers: Numbers) -> Section:
    """Give failed logins, from their number to whom they are aimed at."""
    failed = counted("auth_login_failures_total", "10m")
    return Section(
        1,
        "Logins",
        (
            Line(
                8,
                (
                    Series(
                        id=2,
                        title="Failed logins",
                        about="Within ten minutes, and a week before. FailedLoginSpike: more than the dashed line, and five times last week's.",
                        unit="short",
                        queries=(
                            Query(failed, "Failed"),
                            Query(
                                f"sum(increase(auth_login_failures_total{{{APP}}}[10m] offset 1w)) or vector(0)",
                                "a week before",
                            ),
                        ),
                        limits=(numbers.limit("FailedLoginSpike"),),
                        explains=("FailedLoginSpike",),
                        width=6,
                        empty="No login failed",
                    ),
                    Series(
                        id=3,
                        title="Different accounts with a failed login",
                        about="Within five minutes: many at once are stolen passwords being tried. Dashed: CredentialStuffing.",
                        unit="short",
                        queries=(
                            Query(
                                f'max(auth_login_failure_distinct_accounts{{{APP}, window="5m"}}) or vector(0)',
                                "Accounts",
                            ),
                        ),
                        limits=(numbers.limit("CredentialStuffing"),),
                        explains=("CredentialStuffing",),
                        width=6,
                        empty="No login failed",
                    ),
                    Series(
                        id=4,
                        title="Logins that succeed and fail",
                        about="Within five minutes: normally far more succeed.",
                        unit="short",
                        queries=(
                            Query(counted("auth_logins_total", "5m"), "Succeeded"),
                            Query(counted("auth_login_failures_total", "5m"), "Failed"),
                        ),
                        width=6,
                        empty="Nobody logged in",
                    ),
                    Series(
                        id=5,
                        title="Accounts locked out",
                        about="Within fifteen minutes. Dashed: AccountLockouts.",
                        unit="short",
                        queries=(Query(counted("auth_lockouts_total", "15m"), "Locked"),),
                        limits=(numbers.limit("AccountLockouts"),),
                        explains=("AccountLockouts",),
                        width=6,
                        empty="No account was locked",
                    ),
                ),
            ),
        ),
    )


def abuse(numbers: Numbers) -> Section:
    """Give suspicious patterns, exceeded limits and permissions."""
    denied = 'sum(rate(http_requests_total{job=~"$job", status=~"401|403"}[10m])) or vector(0)'
    refused = f'({denied}) / (sum(rate(http_requests_total{{job=~"$job"}}[10m])) > 0)'
    return Section(
        20,
        "Suspicious activity, limits and permissions",
        (
            Line(
                8,
                (
                    Series(
                        id=21,
                        title="Suspicious activity",
                        about="Events within fifteen minutes by kind: SuspiciousActivity tells of each.",
                        unit="short",
                        queries=(Query(counted("security_suspicious_events_total", "15m", "kind"), "{{kind}}"),),
                        limits=(numbers.limit("SuspiciousActivity"),),
                        explains=("SuspiciousActivity",),
                        width=6,
                        empty="Nothing suspicious was seen",
                    ),
                    Series(
                        id=22,
                        title="Requests beyond a rate limit",
                        about="Turned away a second, by route. Dashed: RateLimitViolations.",
                        unit="reqps",
                        queries=(Query(f"sum by (route) (rate(http_rate_limited_total{{{APP}}}[5m]))", "{{route}}"),),
                        limits=(numbers.limit("RateLimitViolations"),),
                        explains=("RateLimitViolations",),
                        width=6,
                        empty="No limit was exceeded",
                    ),
                    Series(
                        id=23,
                        title="Requests without permission",
                        about="Share of the requests of ten minutes that were answered 401 or 403. Dashed: ForbiddenSpike.",
                        unit="percentunit",
                        queries=(Query(refused, "401 and 403"),),
                        limits=(numbers.limit("ForbiddenSpike"),),
                        explains=("ForbiddenSpike",),
                        width=6,
                        empty="No request was counted",
                    ),
                    Series(
                        id=24,
                        title="Roles granted",
                        about="Within fifteen minutes; PrivilegeGranted tells of each admin and finance.",
                        unit="short",
                        queries=(Query(counted("auth_role_grants_total", "15m", "role"), "{{role}}"),),
                        limits=(numbers.limit("PrivilegeGranted"),),
                        explains=("PrivilegeGranted",),
                        width=6,
                        empty="No role was granted",
                    ),
                ),
            ),
        ),
    )


def findings(numbers: Numbers) -> Section:
    """Give what scans found, and what runs out."""
    age = f"time() - max by (scanner) (security_scan_last_success_timestamp_seconds{{{APP}}})"
    return Section(
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
                            Column("scanner", "Scan"),
                            Column("finding_severity", "Severity", words=SEVERITIES),
                            Column("Value", "Open"),
                        ),
                        sort="Open",
                        explains=("SecurityScanFindings",),
                        width=6,
                        empty="No finding is open",
                    ),
                    Bars(
                        id=42,
                        title="How old is the last good scan?",
                        about=f"SecurityScanStale tells after {numbers.limit('SecurityScanStale').value / DAY:g} days.",
                        unit="s",
                        queries=(Query(age, "{{scanner}}"),),
                        limits=(numbers.limit("SecurityScanStale"),),
                        explains=("SecurityScanStale",),
                        width=6,
                        empty="No scan has run",
                    ),
                    Stat(
                        id=43,
                        title="How long are the certificates valid?",
                        about=f"CertificateExpiresSoon tells at {numbers.limit('CertificateExpiresSoon').value / DAY:g} days.",
                        unit="s",
                        queries=(
                            Query(
                                'min by (instance) (probe_ssl_earliest_cert_expiry{job="blackbox-http"}) - time()',
                                "{{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("CertificateExpiresSoon"),),
                        explains=("CertificateExpiresSoon",),
                        width=6,
                        empty="No certificate is probed",
                        course=False,
                    ),
                    Stat(
                        id=44,
                        title="How old is the last backup?",
                        about=f"BackupStale tells after {numbers.limit('BackupStale').value / 3600:g} hours.",
                        unit="s",
                        queries=(
                            Query(
                                f"time() - max by (database) (backup_last_success_timestamp_seconds{{{APP}}})",
                                "{{database}}",
                            ),
                        ),
                        limits=(numbers.limit("BackupStale"),),
                        explains=("BackupStale",),
                        width=6,
                        empty="No backup was ever made",
                        course=False,
                    ),
                ),
            ),
        ),
    )


def compliance(numbers: Numbers) -> Section:
    """Give controls, audits, requests of data subjects and the audit log."""
    subjects = f"max by (kind) (time() - (compliance_oldest_open_subject_request_timestamp_seconds{{{APP}}} > 0))"
    audited = f"time() - max by (framework) (compliance_last_audit_timestamp_seconds{{{APP}}})"
    return Section(
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
                        about=f"ComplianceAuditOverdue tells after {numbers.limit('ComplianceAuditOverdue').value / DAY:g} days.",
                        unit="s",
                        queries=(Query(audited, "{{framework}}"),),
                        limits=(numbers.limit("ComplianceAuditOverdue"),),
                        explains=("ComplianceAuditOverdue",),
                        width=5,
                        empty="No audit was made",
                    ),
                    Bars(
                        id=63,
                        title="How long do data subjects wait?",
                        about=f"The law gives a month; SubjectRequestOverdue tells after {numbers.limit('SubjectRequestOverdue').value / DAY:g} days.",
                        unit="s",
                        queries=(Query(subjects, "{{kind}}"),),
                        limits=(numbers.limit("SubjectRequestOverdue"),),
                        explains=("SubjectRequestOverdue",),
                        width=5,
                        empty="No request is open",
                    ),
                    Series(
                        id=64,
                        title="Entries of the audit log",
                        about="Within an hour: at 0, while the application is used, AuditLogSilent tells.",
                        unit="short",
                        queries=(Query(counted("audit_log_entries_total", "1h"), "Entries"),),
                        explains=("AuditLogSilent",),
                        width=5,
                        empty="No entry was written",
                    ),
                ),
            ),
        ),
    )
