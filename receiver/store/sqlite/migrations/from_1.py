"""From schema 1 to 2: the outbox gets addresses, serials and priorities, and the schema its CHECKs."""

import sqlite3

from receiver.store.sqlite.migrations.script import run_script

_INDEXES = (
    *("incident_open", "incident_key", "incident_due"),
    *("timeline_incident", "outbox_owed", "outbox_lane"),
)


def upgrade(db: sqlite3.Connection) -> None:
    """Make the tables of schema 2 beside those of schema 1, and move the rows."""
    for table in ("incident", "timeline", "outbox"):
        db.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for name in _INDEXES:
        db.execute(f"DROP INDEX IF EXISTS {name}")
    run_script(db, "schema_2.sql")
    run_script(db, "from_1.sql")
