"""Turns events from browsers, servers and jobs into Prometheus metrics."""
