"""Renders the dashboards for docs/ with Grafana's own components."""
