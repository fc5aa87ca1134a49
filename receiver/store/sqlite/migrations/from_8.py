"""From schema 8 to 9: a webhook, a claim and a settling write fewer pages of indexes.

What is unsettled is found by `settled_at`, which a claim does not set. The names of `alike` are deleted by their key,
and no longer refer to their incident, which took an index of its own; as in `from_7`, only the schema's text changes.
"""

import sqlite3

_REPLACE = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'alike'"
# Longer ones are there by a hash since they are in an index of PostgreSQL's as well: nobody finds these.
_LONG = "DELETE FROM alike WHERE length(CAST(alertname AS BLOB)) > 1000 OR length(CAST(team AS BLOB)) > 1000"


def upgrade(db: sqlite3.Connection) -> None:
    """Drop the indexes; schema.sql makes those of a new meaning anew."""
    for index in ("outbox_unsettled", "outbox_owed", "outbox_late", "alike_incident"):
        db.execute(f"DROP INDEX IF EXISTS {index}")
    db.execute(_LONG)
    cookie = db.execute("PRAGMA schema_version").fetchone()[0]
    db.execute("PRAGMA writable_schema=ON")
    db.execute(_REPLACE, ("INTEGER NOT NULL REFERENCES incident (id)", "INTEGER NOT NULL"))
    db.execute(f"PRAGMA schema_version={cookie + 1}")  # other connections read the schema again
    db.execute("PRAGMA writable_schema=RESET")  # and so does this one
