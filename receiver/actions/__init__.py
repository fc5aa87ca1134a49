"""What a person does to an incident, from wherever it comes; imports incident, policy, channels and store.base."""
