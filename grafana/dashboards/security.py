"""Security dashboard: logins, suspicious activity, scans, backups and compliance."""

from grafana.dashboards.compliance import COMPLIANCE, FINDINGS
from grafana.dashboards.school import APP, counted, ever
from grafana.panel import (
    Board,
    Line,
    Query,
    Rule,
    Section,
    Series,
)
from rules.writing import SITE

_DENIED = 'sum(rate(http_requests_total{job=~"$job", status=~"401|403"}[10m])) or vector(0)'

_REFUSED = f'({_DENIED}) / (sum(rate(http_requests_total{{job=~"$job"}}[10m])) > 0)'

LOGINS = Section(
    1,
    "Logins",
    (
        Line(
            8,
            (
                Series(
                    id=2,
                    title="Failed logins",
                    about="Per ten minutes, and one week earlier. FailedLoginSpike fires above the dashed line if "
                    "it is also five times last week's number.",
                    unit="short",
                    queries=(
                        Query(ever("auth_login_failures_total", "10m"), "Failed"),
                        Query(
                            f"round(sum(increase(auth_login_failures_total{{{APP}}}[10m] offset 1w))) or vector(0)",
                            "one week earlier",
                            faint=True,
                        ),
                    ),
                    limits=(Rule("FailedLoginSpike"),),
                    explains=("FailedLoginSpike",),
                    width=6,
                    empty="No failed logins",
                ),
                Series(
                    id=3,
                    title="Accounts with failed logins",
                    about="Distinct accounts within five minutes. Many at once means that stolen passwords are "
                    "being tried. Dashed: CredentialStuffing.",
                    unit="short",
                    queries=(
                        Query(
                            f'max(auth_login_failure_distinct_accounts{{{APP}, window="5m"}}) or vector(0)',
                            "Accounts",
                        ),
                    ),
                    limits=(Rule("CredentialStuffing"),),
                    explains=("CredentialStuffing",),
                    width=6,
                    empty="No failed logins",
                ),
                Series(
                    id=4,
                    title="Successful and failed logins",
                    about="Per five minutes. Normally far more succeed.",
                    unit="short",
                    queries=(
                        Query(ever("auth_logins_total", "5m"), "Succeeded"),
                        Query(ever("auth_login_failures_total", "5m"), "Failed"),
                    ),
                    width=6,
                    empty="No logins",
                ),
                Series(
                    id=5,
                    title="Account lockouts",
                    about="Per 15 minutes. Dashed: AccountLockouts.",
                    unit="short",
                    queries=(Query(ever("auth_lockouts_total", "15m"), "Locked"),),
                    limits=(Rule("AccountLockouts"),),
                    explains=("AccountLockouts",),
                    width=6,
                    empty="No lockouts",
                ),
            ),
        ),
    ),
)

ABUSE = Section(
    20,
    "Suspicious activity, limits and permissions",
    (
        Line(
            8,
            (
                Series(
                    id=21,
                    title="Suspicious activity",
                    about="Events per 15 minutes, by kind. SuspiciousActivity fires on each.",
                    unit="short",
                    queries=(Query(counted("security_suspicious_events_total", "kind", "15m"), "{{kind}}"),),
                    limits=(Rule("SuspiciousActivity"),),
                    explains=("SuspiciousActivity",),
                    width=6,
                    empty="None",
                ),
                Series(
                    id=22,
                    title="Rate-limited requests",
                    about="Rejected per second, by route. Dashed: RateLimitViolations.",
                    unit="reqps",
                    queries=(Query(f"sum by (route) (rate(http_rate_limited_total{{{APP}}}[5m]))", "{{route}}"),),
                    limits=(Rule("RateLimitViolations"),),
                    explains=("RateLimitViolations",),
                    width=6,
                    empty="None",
                ),
                Series(
                    id=23,
                    title="Unauthorised requests",
                    about="Share of requests answered with 401 or 403, over ten minutes. Dashed: ForbiddenSpike.",
                    unit="percentunit",
                    queries=(Query(_REFUSED, "401 and 403"),),
                    limits=(Rule("ForbiddenSpike"),),
                    explains=("ForbiddenSpike",),
                    width=6,
                    empty="No requests",
                ),
                Series(
                    id=24,
                    title="Roles granted",
                    about="Per 15 minutes. PrivilegeGranted fires for admin and finance.",
                    unit="short",
                    queries=(Query(counted("auth_role_grants_total", "role", "15m"), "{{role}}"),),
                    limits=(Rule("PrivilegeGranted"),),
                    explains=("PrivilegeGranted",),
                    width=6,
                    empty="None",
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid=f"{SITE.prefix}-security",
    title=f"{SITE.name}: security",
    about="Attacks, scans, backups and compliance. For security and data protection.",
    span="now-24h",
    refresh="1m",
    variables=("job",),
    sections=(LOGINS, ABUSE, FINDINGS, COMPLIANCE),
)
