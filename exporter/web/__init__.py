"""HTTP: takes events, serves the scrape, the browser script and the API description; imports all but sentry_tunnel."""
