"""Keeps incidents and what they owe: loads, saves, claims and settles, and decides nothing; imports incident."""
