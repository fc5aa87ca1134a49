"""Reads receiver.yml into frozen values, checked whole; imports policy, oncall and the channels' settings."""
