"""Clients of the APIs that the receiver and its reports query (Alertmanager, Prometheus); imports incident."""
