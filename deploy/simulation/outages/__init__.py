"""The outages of the review of alerts: what fails when, and which alerts must fire then."""
