"""Tells the other exporters of an installation what none can count alone; imports events, registry and self_metrics."""
