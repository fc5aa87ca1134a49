"""On-call dashboard: open incidents, who is on call, and response times."""

from grafana.dashboards.alerting import firing_alerts, open_incidents
from grafana.dashboards.receiver import RECEIVER
from grafana.dashboards.states import QUIET
from grafana.panel import (
    Answer,
    Bars,
    Board,
    Column,
    Limit,
    Line,
    Query,
    Rule,
    Section,
    Series,
    Stat,
    States,
    Table,
    Word,
)
from grafana.tables import COLOURS
from rules.writing import SITE

# Per priority: id of the panel of open incidents, its colour, and id of the MTTA panel.
_PRIORITIES = {"P1": (2, "red", 21), "P2": (3, "orange", 22), "P3": (4, "yellow", 23), "P4": (5, "yellow", 24)}


def _by_role(aggregation: str, metric: str, labels: str = "role") -> str:
    """Return a metric by role, with the names of roles as people write them: spaces in the place of underscores."""
    return (
        f'{aggregation} by ({labels}) (label_replace(label_replace({metric}{{{RECEIVER}}}, "role", "$1 $2 $3", "role", '
        '"([^_]+)_([^_]+)_([^_]+)"), "role", "$1 $2", "role", "([^_]+)_([^_]+)"))'
    )


def _mean(family: str, priority: str) -> str:
    """Return the mean of a histogram over the time range; no value where nothing was observed."""
    total, count = (
        f'sum(increase({family}_{part}{{{RECEIVER}, priority="{priority}", team=~"$team"}}[$__range]))'
        for part in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"


def _happened(family: str, by: str) -> str:
    """Return how often something happened within the time range, including the first time since the receiver started.

    A counter with an open label appears with its first event: increase() alone would not see that one.
    """
    series = f'{family}{{{RECEIVER}, team=~"$team"}}'
    grown = f"increase({series}[$__range])"
    first = f"(min_over_time({series}[$__range]) unless {series} offset $__range)"
    return f"round(sum by ({by}) ({grown} + {first} or {grown} or {first}))"


_ROLES = (Word("1", "covered"), Word("0", "gap", "red"))

NOW = Section(
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
                                f'max(receiver_incidents{{{RECEIVER}, priority="{priority}", state="triggered"}})',
                                "no owner",
                            ),
                            Query(
                                f'max(receiver_incidents{{{RECEIVER}, priority="{priority}", state="acknowledged"}})',
                                "with owner",
                            ),
                        ),
                        alarms=(colour, QUIET),
                        width=4,
                        empty="none",
                    )
                    for priority, (number, colour, _) in _PRIORITIES.items()
                ),
                Bars(
                    id=6,
                    title="Past the response time",
                    about="How long an incident that nobody has acknowledged is past its response time, by priority. "
                    "Response times: P1 {P1}, P2 {P2}, P3 {P3}, P4 {P4}. "
                    "IncidentUnacknowledged fires for P1 and P2, IncidentUnacknowledgedLong for P3 and P4.",
                    unit="s",
                    queries=(
                        Query(
                            f"max by (priority) (receiver_incident_unacknowledged_overdue_seconds{{{RECEIVER}}})",
                            "{{priority}}",
                        ),
                    ),
                    limits=(Rule("IncidentUnacknowledged"),),
                    explains=("IncidentUnacknowledged", "IncidentUnacknowledgedLong"),
                    width=8,
                    empty="None",
                ),
            ),
        ),
        Line(
            8,
            (open_incidents(10, width=24),),
        ),
        Line(
            8,
            (
                firing_alerts(7, width=15),
                Table(
                    id=8,
                    title="On call now",
                    about="By role.",
                    unit="none",
                    queries=(Query(_by_role("max", "receiver_oncall_info", "role, person"), "{{role}} {{person}}"),),
                    columns=(Column("role", "Role"), Column("person", "Person")),
                    sort="Role",
                    descending=False,
                    width=9,
                    empty="Nobody is on call",
                ),
            ),
        ),
        Line(
            7,
            (
                States(
                    id=9,
                    title="On-call coverage",
                    about="By role. OnCallGap fires when nobody who can be reached is on call.",
                    unit="none",
                    queries=(Query(_by_role("min", "receiver_oncall_covered"), "{{role}}"),),
                    words=_ROLES,
                    explains=("OnCallGap",),
                    width=12,
                    empty="unknown",
                ),
                Series(
                    id=28,
                    title="Next on-call gap",
                    about="Time until nobody who can be reached is on call, by role; nothing if no gap is in sight. "
                    "OnCallGapAhead fires a day ahead, OnCallGapSoon an hour.",
                    unit="s",
                    queries=(Query(f"{_by_role('min', 'receiver_oncall_next_gap_seconds')} < 691200", "{{role}}"),),
                    explains=("OnCallGapAhead", "OnCallGapSoon"),
                    width=12,
                    empty="No gap in the next eight days",
                ),
            ),
        ),
    ),
)

ANSWERING = Section(
    20,
    "Response",
    (
        Line(
            5,
            tuple(
                Stat(
                    id=number,
                    title=f"MTTA {priority}",
                    about=f"Mean time to acknowledge. Response time: {{{priority}}}.",
                    unit="s",
                    queries=(Query(_mean("receiver_time_to_acknowledge_seconds", priority), "MTTA"),),
                    limits=(Answer(priority),),
                    width=6,
                    empty="none",
                )
                for priority, (_, _, number) in _PRIORITIES.items()
            ),
        ),
        Line(
            8,
            (
                Bars(
                    id=25,
                    title="MTTR (mean time to resolve)",
                    about="From opening to resolution, by priority, over the time range.",
                    unit="s",
                    queries=tuple(
                        Query(_mean("receiver_time_to_resolve_seconds", one), one, priority=one) for one in COLOURS
                    ),
                    width=6,
                    empty="No resolved incidents",
                ),
                Bars(
                    id=26,
                    title="Response time breaches",
                    about="Incidents not acknowledged within the response time, by priority, over the time range.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(_happened("receiver_response_time_breaches_total", "priority"), "{{priority}}"),),
                    limits=(Limit(1, "above", "orange"),),
                    width=6,
                    empty="None",
                ),
                Bars(
                    id=27,
                    title="Alerts that open the most incidents",
                    about="Top ten of the time range. Fix the cause, raise the threshold, or delete the alert.",
                    unit="locale",
                    decimals=0,
                    queries=(
                        Query(
                            f"topk(10, {_happened('receiver_incidents_opened_total', 'alertname')} > 0)",
                            "{{alertname}}",
                        ),
                    ),
                    width=12,
                    empty="No incidents",
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid=f"{SITE.prefix}-oncall",
    title=f"{SITE.name}: on call",
    about="Open incidents, who is on call, and response times. For the people on call and those who plan it.",
    span="now-24h",
    refresh="30s",
    variables=("team",),
    sections=(NOW, ANSWERING),
)
