"""Journal and snapshot: acknowledged events survive a crash; imports events, registry and self_metrics."""
