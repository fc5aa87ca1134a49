"""Writes the files of deploy/ that follow from others: configurations for containers, and Kubernetes' manifests."""
