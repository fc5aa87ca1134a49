"""Clients of what the receiver and its reports query: Alertmanager, Prometheus, calendars; imports incident, oncall."""
