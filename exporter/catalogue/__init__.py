"""Which events and metric families exist, and which label values each may have. Pure; imports no other room."""
