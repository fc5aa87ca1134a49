"""From schema 4 to 5: a line of the timeline keeps data instead of a sentence; older lines keep their sentence."""

import sqlite3


def upgrade(db: sqlite3.Connection) -> None:
    """Add the column."""
    db.execute("ALTER TABLE timeline ADD COLUMN data TEXT NOT NULL DEFAULT '{}'")
