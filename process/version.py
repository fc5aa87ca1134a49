"""The version of this product; the packages, /metrics and the logs take it from here."""

VERSION = "0.1.0"
