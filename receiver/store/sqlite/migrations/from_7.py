"""From schema 7 to 8: fewer pages are written for each webhook, a document may be compressed, and the table `alike`.

A document that does not begin with `{` is compressed by zlib, which older receivers cannot read. Of two tables only the
schema's text changes, as in `from_6`: members no longer refer to their incident (which took an index of its own, and an
incident that is over has none), and a timeline's numbers count on from the greatest, which retention never deletes.
"""

import sqlite3

_ALIKE = """
CREATE TABLE IF NOT EXISTS alike (
    alertname TEXT NOT NULL,
    team TEXT NOT NULL,
    incident_id INTEGER NOT NULL REFERENCES incident (id),
    PRIMARY KEY (alertname, team, incident_id)
) STRICT, WITHOUT ROWID
"""
_FILL = """
INSERT INTO alike
SELECT json_extract(CAST(doc AS TEXT), '$.labels.alertname'),
    coalesce(json_extract(CAST(doc AS TEXT), '$.team'), ''), id
FROM incident
WHERE NOT EXISTS (SELECT 1 FROM alike) AND json_extract(CAST(doc AS TEXT), '$.labels.alertname') <> ''
"""
_REPLACE = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = ?"


def upgrade(db: sqlite3.Connection) -> None:
    """Drop two indexes and what needs them, and note what was called the same."""
    db.execute(_ALIKE)
    db.execute(_FILL)  # once: each start would read every document for it
    db.execute("DROP INDEX IF EXISTS member_incident")
    db.execute("DROP INDEX IF EXISTS incident_still_open")
    cookie = db.execute("PRAGMA schema_version").fetchone()[0]
    db.execute("PRAGMA writable_schema=ON")
    db.execute(_REPLACE, ("INTEGER NOT NULL REFERENCES incident (id)", "INTEGER NOT NULL", "member"))
    db.execute(_REPLACE, ("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER PRIMARY KEY", "timeline"))
    db.execute(f"PRAGMA schema_version={cookie + 1}")  # other connections read the schema again
    db.execute("PRAGMA writable_schema=RESET")  # and so does this one
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'timeline'")
