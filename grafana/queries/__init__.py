"""Runs every query of the dashboards on a Prometheus."""
