"""HTTP: events in, the scrape and the browser script out; imports every room but sentry_tunnel."""
