"""The statements of both stores: SQL that SQLite and PostgreSQL understand alike, inside a transaction of a writer."""
