"""Names and colours of states that several dashboards share: colour asks for action, and what is healthy has none."""

from grafana.panel import Word

QUIET = "transparent"
HEALTH = (Word("0", "Healthy"), Word("1", "Degraded", "orange"), Word("2", "Outage", "red"))
ANSWERS = (Word("1", "up"), Word("0", "down", "red"))
TAKEN = (Word("1", "OK"), Word("0", "failed", "red"))
