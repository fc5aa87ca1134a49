"""Reports and reviews of past incidents, read through store.base and clients."""
