"""Names and colours of states that several dashboards share."""

from grafana.panel import Word

HEALTH = (Word("0", "Healthy", "green"), Word("1", "Degraded", "orange"), Word("2", "Outage", "red"))
ANSWERS = (Word("1", "up", "green"), Word("0", "down", "red"))
TAKEN = (Word("1", "OK", "green"), Word("0", "failed", "red"))
