"""Monitoring dashboard: the targets, Prometheus and Alertmanager."""

from grafana.dashboards.pipeline import ALERTMANAGER, DETAILS, PROMETHEUS
from grafana.dashboards.targets import TARGETS
from grafana.panel import Board
from rules.writing import SITE

BOARD = Board(
    uid=f"{SITE.prefix}-monitoring",
    title=f"{SITE.name}: monitoring",
    about="Does the monitoring itself work, from the targets to Alertmanager? For whoever runs it.",
    span="now-6h",
    refresh="30s",
    variables=(),
    sections=(TARGETS, PROMETHEUS, ALERTMANAGER, DETAILS),
)
