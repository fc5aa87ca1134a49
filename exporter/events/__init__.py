"""Decodes bodies into events; knows ids seen before, pending vitals and sessions. Pure; imports catalogue."""
