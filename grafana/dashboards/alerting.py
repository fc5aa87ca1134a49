"""What several dashboards show of alerts and incidents: production status, firing alerts and open incidents."""

from grafana.panel import Column, Query, Table, Word
from rules.writing import RUNBOOKS

_FIRING_COLUMNS = (
    Column("priority", "Priority", width=90),
    Column(
        "alertname",
        "Alert",
        link=f"{RUNBOOKS}/${{__value.text}}.md",
        link_title="Runbook",
    ),
    Column("team", "Team", width=130),
    Column("job", "Job", width=130),
    Column("instance", "Instance"),
    Column("Value", "For", unit="s", width=100),
)


_IN_ALERTMANAGER = "${alertmanager}/#/alerts?filter=%7Balertname%3D%22${__data.fields.Alert}%22%7D"
_INCIDENT_COLUMNS = (
    Column("priority", "Priority", width=80),
    Column("title", "Incident", link=_IN_ALERTMANAGER, link_title="Its alerts in Alertmanager"),
    Column("alertname", "Alert", width=190, link=f"{RUNBOOKS}/${{__value.text}}.md", link_title="Runbook"),
    Column("owner", "Owner", width=110, words=(Word("nobody", "nobody", "orange"),)),
    Column("Value", "Open for", unit="s", width=100),
)
_OPENED = 'receiver_open_incident_opened_timestamp_seconds{job="receiver", team=~"$team"}'


def firing_alerts(number: int, width: int) -> Table:
    """Return the table of firing alerts, the most urgent first."""
    return Table(
        id=number,
        title="Firing alerts",
        about="Most urgent first. Click an alert to open its runbook.",
        unit="s",
        queries=(Query(_firing('team=~"$team"'), "{{alertname}}"),),
        columns=_FIRING_COLUMNS,
        sort="Priority",
        descending=False,
        width=width,
        empty="No firing alerts",
    )


def open_incidents(number: int, width: int) -> Table:
    """Return the table of open incidents with their owners, the most urgent first."""
    shown = "incident, priority, title, alertname, owner"
    owned = f'label_replace({_OPENED}, "owner", "nobody", "owner", "")'
    return Table(
        id=number,
        title="Open incidents",
        about="Most urgent first, at most 50. The owner acknowledged it. Click an incident to see its alerts, or an "
        "alert to open its runbook.",
        unit="s",
        queries=(Query(f"time() - max by ({shown}) ({owned})", "{{title}}"),),
        columns=_INCIDENT_COLUMNS,
        sort="Priority",
        descending=False,
        width=width,
        empty="No open incidents",
    )


def health() -> str:
    """Return 2 while a P1 fires, 1 while a P2 fires, else 0; without product alerts, which fire on quiet nights."""
    firing = 'ALERTS{{alertstate="firing", priority="{}", team!="product"}}'
    return f"((2 * (count({firing.format('P1')}) > bool 0)) or (count({firing.format('P2')}) > bool 0) or vector(0))"


def _firing(matchers: str) -> str:
    """Return the firing alerts and for how long, pending time included; without the Watchdog, which always fires."""
    since = f'ALERTS_FOR_STATE{{alertname!="Watchdog", {matchers}}}'
    state = f'ALERTS{{alertstate="firing", alertname!="Watchdog", {matchers}}}'
    labels = "priority, alertname, team, job, instance"
    return f"max by ({labels}) (time() - {since} and ignoring (alertstate) {state})"
