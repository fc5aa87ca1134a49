"""What a person does to an incident, wherever it comes from; imports incident, policy, channels, clients, store."""
