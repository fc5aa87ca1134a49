"""The on-call console: pages that people read and answer from, rendered here and kept up to date by events."""
