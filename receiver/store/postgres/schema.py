"""Which schema the tables have; a receiver writes only those that it knows."""

from receiver.store.base import Outage, StoreOutageError
from receiver.store.postgres.connection import PostgresConnection

SCHEMA_VERSION = 9  # the same numbers as SQLite's, of which 8 is the first that PostgreSQL has
VERSION = "SELECT max(version) FROM schema_version"
_KNOWN = "SELECT to_regclass('schema_version') IS NOT NULL AND to_regclass('incident') IS NOT NULL"


def schema(db: PostgresConnection) -> int:
    """Give the version of the schema; 0 for a database without our tables."""
    if not db.execute(_KNOWN).fetchone()[0]:
        return 0
    return int(db.execute(VERSION).fetchone()[0] or 0)


def refuse_newer(name: str, version: int | None) -> None:
    """Refuse tables that a newer receiver has upgraded while this one runs; StoreOutageError."""
    if version is not None and version > SCHEMA_VERSION:
        text = f"{name}: a newer receiver has upgraded the database to schema {version}; install that version here"
        raise StoreOutageError(Outage.REPLACED, text)
