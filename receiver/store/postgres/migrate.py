"""Brings a PostgreSQL database to the schema of today, under a lock, so that receivers may start at once."""

from importlib.resources import files

from receiver.store.base import StoreError
from receiver.store.postgres.connection import PostgresConnection

SCHEMA_VERSION = 8  # the same numbers as SQLite's, of which 8 is the first that PostgreSQL has
OLDEST_SERVER = 140000  # CREATE OR REPLACE TRIGGER
_LOCK = "SELECT pg_advisory_xact_lock(72399, 1)"
_KNOWN = "SELECT to_regclass('schema_version') IS NOT NULL AND to_regclass('incident') IS NOT NULL"


def upgrade(db: PostgresConnection) -> None:
    """Make or upgrade the tables, all or nothing; StoreError for a server or a schema that is not ours."""
    if db.raw.info.server_version < OLDEST_SERVER:
        raise StoreError(f"PostgreSQL {db.raw.info.server_version // 10000} is too old; use 14 or newer")
    with db.raw.transaction():
        db.execute("SELECT set_config('lock_timeout', '60s', true), set_config('statement_timeout', '0', true)")
        db.execute(_LOCK)
        version = schema(db)
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise StoreError(f"the database was written by a newer receiver (schema {version}); run that one")
        db.raw.execute(files("receiver.store.postgres").joinpath("schema.sql").read_bytes(), prepare=False)
        db.execute("DELETE FROM schema_version")
        db.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))


def schema(db: PostgresConnection) -> int:
    """Give the version of the schema; 0 for a database without our tables."""
    if not db.execute(_KNOWN).fetchone()[0]:
        return 0
    known = db.execute("SELECT max(version) FROM schema_version").fetchone()[0]
    return int(known or 0)
