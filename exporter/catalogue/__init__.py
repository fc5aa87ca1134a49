"""Which events and metric families there are, and which label values each may have. Pure; imports no other room."""
