"""Events from browsers, servers and jobs become Prometheus metrics."""
