"""Renders series as Prometheus text or OpenMetrics without stalling the event loop; imports registry."""
