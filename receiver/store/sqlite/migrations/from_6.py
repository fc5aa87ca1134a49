"""From schema 6 to 7: a fifth priority may be stored, the outbox ranks five of them, and knows umbrellas.

For the priority, only the text of two CHECKs changes, and no stored row: sqlite.org/lang_altertable.html, "Making Other
Kinds Of Table Schema Changes", says to edit the schema's text then. Copying the tables would take minutes and twice the
room on the disk where a year of incidents is kept.
"""

import sqlite3

_OLD, _NEW = "CHECK (priority IN ('P1', 'P2', 'P3', 'P4'))", "CHECK (priority IN ('P1', 'P2', 'P3', 'P4', 'P5'))"
_WIDEN = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name IN ('incident', 'outbox')"


def upgrade(db: sqlite3.Connection) -> None:
    """Widen the checks and rank anew what is there."""
    cookie = db.execute("PRAGMA schema_version").fetchone()[0]
    db.execute("PRAGMA writable_schema=ON")
    db.execute(_WIDEN, (_OLD, _NEW))
    db.execute(f"PRAGMA schema_version={cookie + 1}")  # other connections read the schema again
    db.execute("PRAGMA writable_schema=RESET")  # and so does this one
    db.execute(
        "DROP TABLE IF EXISTS gathering"
    )  # windows of some seconds; schema.sql makes it anew with its new column
    db.execute("UPDATE outbox SET rank = (kind <> 'page') * 5 + CAST(substr(priority, 2) AS INTEGER) - 1")
