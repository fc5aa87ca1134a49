"""Brings a PostgreSQL database to the schema of today, under a lock, so that receivers may start at once."""

import re
from importlib.resources import files

import msgspec
from psycopg import errors

from receiver.store.base import StoreError
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.postgres.queue import LOCK
from receiver.store.postgres.schema import SCHEMA_VERSION, schema

OLDEST_SERVER = 140000  # CREATE OR REPLACE TRIGGER
_LOCK = "SELECT pg_advisory_xact_lock(72399, 1)"
_OF_8 = 8
# Who reads meanwhile waits. The locks come first, in the order in which statements take them.
_FROM_8 = (
    "LOCK TABLE outbox, alike, incident IN ACCESS EXCLUSIVE MODE",
    "DROP INDEX IF EXISTS outbox_unsettled, outbox_owed, outbox_late, alike_incident",  # schema.sql makes two anew
    "ALTER TABLE alike DROP CONSTRAINT IF EXISTS alike_incident_id_fkey",
)
_MADE = re.compile(r'CREATE (?:UNIQUE )?(?:TABLE|INDEX) IF NOT EXISTS "?(\w+)')
_MISSING = "SELECT count(*) FROM json_each(?) WHERE to_regclass(quote_ident(value)) IS NULL"
_WHO = "SELECT quote_ident(current_user), coalesce(quote_ident(current_schema()), current_setting('search_path'))"


def upgrade(db: PostgresConnection) -> None:
    """Make or upgrade the tables, all or nothing; StoreError for a server or a schema that is not ours."""
    if db.raw.info.server_version < OLDEST_SERVER:
        raise StoreError(f"PostgreSQL {db.raw.info.server_version // 10000} is too old; use 14 or newer")
    if (encoding := db.raw.info.parameter_status("server_encoding")) != "UTF8":
        raise StoreError(
            f"PostgreSQL: the database has the encoding {encoding}, which does not have every character; make one by "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    try:
        with db.raw.transaction():
            _upgrade(db)
    except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
        user, schema_name = db.execute(_WHO).fetchone()
        grant = f"GRANT USAGE, CREATE ON SCHEMA {schema_name} TO {user}"
        if isinstance(error, errors.InvalidSchemaName):
            grant = f"CREATE SCHEMA IF NOT EXISTS {schema_name}; {grant}"
        raise StoreError(
            f"PostgreSQL: the user {user} cannot make the tables ({error.diag.message_primary}); let the owner of the "
            f"database run: {grant}; tables that another user has made must be given to {user}, or be complete"
        ) from error


def _upgrade(db: PostgresConnection) -> None:
    db.execute("SELECT set_config('lock_timeout', '60s', true), set_config('statement_timeout', '0', true)")
    db.execute(_LOCK)
    version = schema(db)
    if version > SCHEMA_VERSION:
        raise StoreError(f"the database was written by a newer receiver (schema {version}); run that one")
    statements = files("receiver.store.postgres").joinpath("schema.sql").read_text("utf-8")
    if version == SCHEMA_VERSION and not _misses(db, statements):
        return
    if version:
        db.execute(LOCK)  # else two, each with the locks of some tables, would wait for each other's
    if version == _OF_8:
        for statement in _FROM_8:
            db.execute(statement)
    db.raw.execute(statements.encode(), prepare=False)
    db.execute("DELETE FROM schema_version")
    db.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))


def _misses(db: PostgresConnection, statements: str) -> bool:
    """Say whether a table or an index is not there: those that are only added come without a new number."""
    names = msgspec.json.encode(_MADE.findall(statements)).decode()
    return bool(db.execute(_MISSING, (names,)).fetchone()[0])
