"""Makes the rules, tests, dashboards and runbooks of a site from ours and from what is its own (docs/site.md)."""
