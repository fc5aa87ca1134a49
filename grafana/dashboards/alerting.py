"""What several dashboards show of alerts: whether production is well, and the table of what fires."""

from grafana.panel import Column
from rules.writing import RUNBOOKS

FIRING_COLUMNS = (
    Column("priority", "Priority", width=90),
    Column(
        "alertname",
        "Alert",
        link=f"{RUNBOOKS}/${{__value.text}}.md",
        link_title="Its runbook",
    ),
    Column("team", "Team"),
    Column("job", "Job"),
    Column("instance", "Instance"),
    Column("Value", "For", unit="s"),
)


def health() -> str:
    """Give 2 while a P1 fires, 1 while a P2 fires, else 0; too few registrations, of a night, are no fault."""
    firing = 'ALERTS{{alertstate="firing", priority="{}", team!="product"}}'
    return f"(2 * (count({firing.format('P1')}) > bool 0)) or (count({firing.format('P2')}) > bool 0) or vector(0)"


def firing(matchers: str) -> str:
    """Give what fires and for how long, pending included; the Watchdog always fires and is left out."""
    since = f'ALERTS_FOR_STATE{{alertname!="Watchdog", {matchers}}}'
    state = f'ALERTS{{alertstate="firing", alertname!="Watchdog", {matchers}}}'
    labels = "priority, alertname, team, job, instance"
    return f"max by ({labels}) (time() - {since} and ignoring (alertstate) {state})"
