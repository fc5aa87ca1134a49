"""Checks of the dashboards, for one file in seconds and without a Grafana."""
