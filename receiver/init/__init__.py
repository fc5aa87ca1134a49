"""Writes a first receiver.yml from an alertmanager.yml and its rules; imports config, policy and clients, and is used by cli."""
