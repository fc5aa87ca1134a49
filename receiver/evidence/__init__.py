"""What helps to understand an incident (chart, similar ones, deployments, post-mortem, hand-over, replay)."""
