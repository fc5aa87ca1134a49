"""Counts events into series and holds the whole state. Pure; imports catalogue and events."""
