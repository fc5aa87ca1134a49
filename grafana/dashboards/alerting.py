"""Queries and columns about alerts that several dashboards share: production status and the table of firing alerts."""

from grafana.panel import Column
from rules.writing import RUNBOOKS

FIRING_COLUMNS = (
    Column("priority", "Priority", width=90),
    Column(
        "alertname",
        "Alert",
        link=f"{RUNBOOKS}/${{__value.text}}.md",
        link_title="Runbook",
    ),
    Column("team", "Team"),
    Column("job", "Job"),
    Column("instance", "Instance"),
    Column("Value", "For", unit="s"),
)


def health() -> str:
    """Return 2 while a P1 fires, 1 while a P2 fires, else 0; without product alerts, which fire on quiet nights."""
    firing = 'ALERTS{{alertstate="firing", priority="{}", team!="product"}}'
    return f"(2 * (count({firing.format('P1')}) > bool 0)) or (count({firing.format('P2')}) > bool 0) or vector(0)"


def firing(matchers: str) -> str:
    """Return the firing alerts and for how long, pending time included; without the Watchdog, which always fires."""
    since = f'ALERTS_FOR_STATE{{alertname!="Watchdog", {matchers}}}'
    state = f'ALERTS{{alertstate="firing", alertname!="Watchdog", {matchers}}}'
    labels = "priority, alertname, team, job, instance"
    return f"max by ({labels}) (time() - {since} and ignoring (alertstate) {state})"
