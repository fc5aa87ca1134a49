"""What a person does to an incident, by whatever way: one funnel; imports incident and store.base."""
