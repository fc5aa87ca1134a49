"""The version of this product, as /metrics and the logs tell it; pyproject.toml has the same."""

VERSION = "0.1.0"
