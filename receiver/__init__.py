"""Alertmanager webhooks become durable incidents, and incidents reach the right person in time."""
