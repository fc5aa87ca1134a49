"""The weekly to yearly review of alerts, thresholds, baselines and dashboards."""
