"""What an incident is, and what may happen to it. Pure; imports no other room."""
