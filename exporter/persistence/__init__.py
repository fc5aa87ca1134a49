"""Journal and snapshot: what was acknowledged survives a crash; imports registry."""
