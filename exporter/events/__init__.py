"""Decodes what was posted into events, and keeps the order and identity of each. Pure; imports catalogue."""
