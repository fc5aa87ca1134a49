"""What the receiver asks of Alertmanager and Prometheus; imports incident."""
