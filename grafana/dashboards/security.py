"""Security: who tries to get in, what was found, and what the law and our own controls ask for."""

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

_DENIED = 'sum(rate(http_requests_total{job=~"$job", status=~"401|403"}[10m])) or vector(0)'

_REFUSED = f'({_DENIED}) / (sum(rate(http_requests_total{{job=~"$job"}}[10m])) > 0)'

# Failed logins, from their number to whom they are aimed at.
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
                    about="Within ten minutes, and a week before. FailedLoginSpike: more than the dashed "
                    "line, and five times last week's.",
                    unit="short",
                    queries=(
                        Query(ever("auth_login_failures_total", "10m"), "Failed"),
                        Query(
                            f"sum(increase(auth_login_failures_total{{{APP}}}[10m] offset 1w)) or vector(0)",
                            "a week before",
                            faint=True,
                        ),
                    ),
                    limits=(Rule("FailedLoginSpike"),),
                    explains=("FailedLoginSpike",),
                    width=6,
                    empty="No login failed",
                ),
                Series(
                    id=3,
                    title="Different accounts with a failed login",
                    about="Within five minutes: many at once are stolen passwords being tried. Dashed: "
                    "CredentialStuffing.",
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
                    empty="No login failed",
                ),
                Series(
                    id=4,
                    title="Logins that succeed and fail",
                    about="Within five minutes: normally far more succeed.",
                    unit="short",
                    queries=(
                        Query(ever("auth_logins_total", "5m"), "Succeeded"),
                        Query(ever("auth_login_failures_total", "5m"), "Failed"),
                    ),
                    width=6,
                    empty="Nobody logged in",
                ),
                Series(
                    id=5,
                    title="Accounts locked out",
                    about="Within fifteen minutes. Dashed: AccountLockouts.",
                    unit="short",
                    queries=(Query(ever("auth_lockouts_total", "15m"), "Locked"),),
                    limits=(Rule("AccountLockouts"),),
                    explains=("AccountLockouts",),
                    width=6,
                    empty="No account was locked",
                ),
            ),
        ),
    ),
)

# Suspicious patterns, exceeded limits and permissions.
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
                    about="Events within fifteen minutes by kind: SuspiciousActivity tells of each.",
                    unit="short",
                    queries=(Query(counted("security_suspicious_events_total", "kind", "15m"), "{{kind}}"),),
                    limits=(Rule("SuspiciousActivity"),),
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
                    limits=(Rule("RateLimitViolations"),),
                    explains=("RateLimitViolations",),
                    width=6,
                    empty="No limit was exceeded",
                ),
                Series(
                    id=23,
                    title="Requests without permission",
                    about="Share of the requests of ten minutes that were answered 401 or 403. Dashed: ForbiddenSpike.",
                    unit="percentunit",
                    queries=(Query(_REFUSED, "401 and 403"),),
                    limits=(Rule("ForbiddenSpike"),),
                    explains=("ForbiddenSpike",),
                    width=6,
                    empty="No request was counted",
                ),
                Series(
                    id=24,
                    title="Roles granted",
                    about="Within fifteen minutes; PrivilegeGranted tells of each admin and finance.",
                    unit="short",
                    queries=(Query(counted("auth_role_grants_total", "role", "15m"), "{{role}}"),),
                    limits=(Rule("PrivilegeGranted"),),
                    explains=("PrivilegeGranted",),
                    width=6,
                    empty="No role was granted",
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid="heypeter-security",
    title="HeyPeter Academy: security",
    about="Does somebody try to get in, and is the house in order? For security and data protection.",
    span="now-24h",
    refresh="1m",
    variables=("job",),
    sections=(LOGINS, ABUSE, FINDINGS, COMPLIANCE),
)
