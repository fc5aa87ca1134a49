"""Renders series as Prometheus text or OpenMetrics without stalling the loop; imports registry."""
