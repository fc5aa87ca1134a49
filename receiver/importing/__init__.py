"""Turns the on-call set-up of another tool into receiver.yml, and compares both: imports config and oncall only."""
