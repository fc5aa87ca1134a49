"""The report of incidents: MTTA, MTTR, breaches and night pages."""
