"""A simulated school: its live traffic as events, and its past as blocks of a Prometheus database."""
