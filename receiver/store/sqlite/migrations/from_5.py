"""From schema 5 to 6: the outbox knows what was tried, in which order to send, and which addresses are paused."""

import sqlite3

_COLUMNS = (
    "rank INTEGER NOT NULL DEFAULT 0",
    "tries INTEGER NOT NULL DEFAULT 0",
    "spent REAL NOT NULL DEFAULT 0",
    "parked INTEGER NOT NULL DEFAULT 0",
    "elsewhere INTEGER NOT NULL DEFAULT 0",
    "bundle INTEGER",
)


def upgrade(db: sqlite3.Connection) -> None:
    """Add the columns, and rank what is there; indexes of a new meaning are made anew by schema.sql."""
    for index in ("outbox_owed", "outbox_address"):
        db.execute(f"DROP INDEX IF EXISTS {index}")
    for column in _COLUMNS:
        db.execute(f"ALTER TABLE outbox ADD COLUMN {column}")
    db.execute("UPDATE outbox SET rank = (kind <> 'page') * 4 + CAST(substr(priority, 2) AS INTEGER) - 1")
