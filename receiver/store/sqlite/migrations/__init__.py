"""Carries a database file of an older receiver over to the schema of today, one version after the other.

A new file is made by `schema.sql`. To change the schema: change it there, raise ``SCHEMA_VERSION``, and add the step
from the version before to ``_STEPS``. A step knows the shapes of its own two versions and imports nothing of today's.
From schema 8 on, a document may be compressed.
"""

import sqlite3
from collections.abc import Callable, Mapping

from receiver.store.sqlite.migrations import from_1, from_2, from_3, from_4, from_5, from_6, from_7, from_8
from receiver.store.sqlite.migrations.script import run_script

SCHEMA_VERSION = 9
_STEPS: dict[int, Callable[[sqlite3.Connection, Mapping[str, str]], None]] = {
    1: lambda db, _keys: from_1.upgrade(db),
    2: lambda db, _keys: from_2.upgrade(db),
    3: from_3.upgrade,
    4: lambda db, _keys: from_4.upgrade(db),
    5: lambda db, _keys: from_5.upgrade(db),
    6: lambda db, _keys: from_6.upgrade(db),
    7: lambda db, _keys: from_7.upgrade(db),
    8: lambda db, _keys: from_8.upgrade(db),
}


def upgrade(db: sqlite3.Connection, version: int, keys: Mapping[str, str]) -> None:
    """Bring a file of this version (0: an empty one) to today's; the caller's transaction makes it all or nothing.

    ``keys`` holds the key of each person whose display name nobody else has.
    """
    for older in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
        _STEPS[older](db, keys)
    run_script(db, "schema.sql")  # whatever an older file has not: each statement says IF NOT EXISTS
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
