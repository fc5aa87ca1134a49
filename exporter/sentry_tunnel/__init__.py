"""Forwards the Sentry SDK's envelopes to Sentry within its rate limits; imports web and self_metrics."""
