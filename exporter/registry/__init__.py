"""Counts events into series. Pure; imports events and catalogue."""
