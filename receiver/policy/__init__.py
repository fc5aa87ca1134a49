"""Labels to priority, team, routes and plan: what the configuration answers. Pure; imports incident and oncall."""
