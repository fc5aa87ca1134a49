"""On call: what waits for whom, whether we answer in time, and whether news gets through at all."""

from grafana.dashboards.alerting import FIRING_COLUMNS, firing
from grafana.dashboards.delivery import LISTENING, RECEIVER, SENDING
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
    Stat,
    States,
    Table,
    Word,
)

_ROLE_NAMES = tuple(
    Word(role, role.replace("_", " ")) for role in ("on_call_engineer", "tech_lead", "engineering_manager")
)
# The id of the panel that counts what is open, the colour of that state, and the id of the panel of MTTA.
_PRIORITIES = {"P1": (2, "red", 21), "P2": (3, "orange", 22), "P3": (4, "yellow", 23), "P4": (5, "yellow", 24)}


def _mean(family: str, priority: str) -> str:
    """Give the average of a histogram over the dashboard's time range; no value where nothing was observed."""
    total, count = (
        f'sum(increase({family}_{part}{{{RECEIVER}, priority="{priority}", team=~"$team"}}[$__range]))'
        for part in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"


def _happened(family: str, by: str) -> str:
    """Give how often something happened within the time range, its first time since the receiver's start included.

    A counter with an open label appears with its first event: increase() alone would not see that one.
    """
    series = f'{family}{{{RECEIVER}, team=~"$team"}}'
    grown = f"increase({series}[$__range])"
    first = f"(min_over_time({series}[$__range]) unless {series} offset $__range)"
    return f"sum by ({by}) ({grown} + {first} or {grown} or {first})"


_ROLES = (Word("1", "somebody", "green"), Word("0", "nobody", "red"))

# What is open, how long it waits, and who is on call.
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
                                f'sum(receiver_incidents{{{RECEIVER}, priority="{priority}", state="triggered"}})',
                                "waiting",
                            ),
                            Query(
                                f'sum(receiver_incidents{{{RECEIVER}, priority="{priority}", state="acknowledged"}})',
                                "owned",
                            ),
                        ),
                        alarms=(colour, "orange" if colour == "red" else "yellow"),
                        width=4,
                        empty="none",
                    )
                    for priority, (number, colour, _) in _PRIORITIES.items()
                ),
                Bars(
                    id=6,
                    title="How long has the oldest waited?",
                    about="Since it opened, without an answer. Response times: P1 {P1}, P2 {P2}, P3 {P3}, P4 "
                    "{P4}. IncidentUnacknowledged tells of P1 and P2.",
                    unit="s",
                    queries=(
                        Query(
                            f"max by (priority) (receiver_incident_unacknowledged_age_seconds{{{RECEIVER}}})",
                            "{{priority}}",
                        ),
                    ),
                    limits=(Rule("IncidentUnacknowledged"),),
                    explains=("IncidentUnacknowledged",),
                    width=8,
                    empty="Nothing waits",
                ),
            ),
        ),
        Line(
            8,
            (
                Table(
                    id=7,
                    title="What fires",
                    about="Firing alerts, the most urgent first. An alert's name leads to its runbook.",
                    unit="s",
                    queries=(Query(firing('team=~"$team"'), "{{alertname}}"),),
                    columns=FIRING_COLUMNS,
                    sort="Priority",
                    descending=False,
                    width=12,
                    empty="No alert fires",
                ),
                Table(
                    id=8,
                    title="Who is on call?",
                    about="Who would be paged now, by role.",
                    unit="none",
                    queries=(
                        Query(f"max by (role, person) (receiver_oncall_info{{{RECEIVER}}})", "{{role}} {{person}}"),
                    ),
                    columns=(Column("role", "Role", words=_ROLE_NAMES), Column("person", "Person")),
                    sort="Role",
                    descending=False,
                    width=6,
                    empty="Nobody is on call",
                ),
                States(
                    id=9,
                    title="Was somebody on call?",
                    about="By role; OnCallGap tells when nobody who can be reached holds one.",
                    unit="none",
                    queries=(Query(f"min by (role) (receiver_oncall_covered{{{RECEIVER}}})", "{{role}}"),),
                    words=_ROLES,
                    explains=("OnCallGap",),
                    width=6,
                    empty="not known",
                ),
            ),
        ),
    ),
)

# How quickly incidents were answered and resolved.
ANSWERING = Section(
    20,
    "Do we answer in time?",
    (
        Line(
            5,
            tuple(
                Stat(
                    id=number,
                    title=f"MTTA of {priority}",
                    about=f"Mean time from an incident's opening to its acknowledgement; it should be below "
                    f"{{{priority}}}.",
                    unit="s",
                    queries=(Query(_mean("receiver_time_to_acknowledge_seconds", priority), "MTTA"),),
                    limits=(Answer(priority),),
                    width=6,
                    empty="none was acknowledged",
                )
                for priority, (_, _, number) in _PRIORITIES.items()
            ),
        ),
        Line(
            8,
            (
                Bars(
                    id=25,
                    title="MTTR: mean time to resolve",
                    about="From an incident's opening to its end, by priority, over the time range.",
                    unit="s",
                    queries=tuple(Query(_mean("receiver_time_to_resolve_seconds", one), one) for one in _PRIORITIES),
                    width=6,
                    empty="No incident was resolved",
                ),
                Bars(
                    id=26,
                    title="Answers that came too late",
                    about="Incidents that nobody acknowledged within the response time, by priority, over the "
                    "time range.",
                    unit="locale",
                    decimals=0,
                    queries=(Query(_happened("receiver_response_time_breaches_total", "priority"), "{{priority}}"),),
                    limits=(Limit(1, "above", "orange"),),
                    width=6,
                    empty="None",
                ),
                Bars(
                    id=27,
                    title="Which alerts open the most incidents?",
                    about="The ten noisiest of the time range: raise their thresholds, mend their cause, or "
                    "delete them.",
                    unit="locale",
                    decimals=0,
                    queries=(
                        Query(
                            f"topk(10, round({_happened('receiver_incidents_opened_total', 'alertname')}) > 0)",
                            "{{alertname}}",
                        ),
                    ),
                    width=12,
                    empty="No incident was opened",
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uid="heypeter-oncall",
    title="HeyPeter Academy: on call",
    about="What waits for whom, and does it get through? For those on call and those who plan it.",
    span="now-24h",
    refresh="30s",
    variables=("team",),
    sections=(NOW, ANSWERING, SENDING, LISTENING),
)
