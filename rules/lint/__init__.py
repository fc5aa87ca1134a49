"""Checks of rules that promtool does not make."""
