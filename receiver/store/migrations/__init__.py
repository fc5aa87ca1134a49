"""Carries a database file of an older receiver over to the schema of today, one version after the other.

A new file is made by `schema.sql`. To change the schema: change it there, raise ``SCHEMA_VERSION``, and add the step
from the version before to ``_STEPS``. A step knows the shapes of its own two versions and imports nothing of today's.
"""

import sqlite3
from collections.abc import Callable

from receiver.store.migrations import from_1, from_2
from receiver.store.migrations.script import run_script

SCHEMA_VERSION = 3
_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: from_1.upgrade, 2: from_2.upgrade}


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring a file of this version (0: an empty one) to today's; the caller's transaction makes it all or nothing."""
    for older in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
        _STEPS[older](db)
    run_script(db, "schema.sql")  # whatever an older file has not: each statement says IF NOT EXISTS
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
