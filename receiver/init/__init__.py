"""Writes a first receiver.yml from an alertmanager.yml and its rules; imports policy only."""
