"""The store in a PostgreSQL database that several receivers may share; needs the extra `postgres`."""
