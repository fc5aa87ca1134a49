"""The words and colours of states that several dashboards show."""

from grafana.panel import Word

HEALTH = (Word("0", "Well", "green"), Word("1", "Impaired", "orange"), Word("2", "Outage", "red"))
ANSWERS = (Word("1", "answers", "green"), Word("0", "does not", "red"))
TAKEN = (Word("1", "taken", "green"), Word("0", "refused", "red"))
