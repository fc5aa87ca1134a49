"""Journal and snapshot: acknowledged events survive a crash; imports registry and self_metrics."""
