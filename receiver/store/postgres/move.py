"""Copies everything from a SQLite file into an empty PostgreSQL database, and compares it afterwards, row by row."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from receiver.store.base import StoreError
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.dialect import stored
from receiver.store.postgres.migrate import upgrade
from receiver.store.postgres.queue import LOCK, named
from receiver.store.sql.connection import Connection
from receiver.store.sql.row import LONGEST_KEY, LONGEST_NAME, indexed

Told = Callable[[str, int], None]

_FIRST = "incident"  # others refer to it
_EVERY = 50_000  # rows between two words of progress
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name <> ?, name"
# What a receiver writes by itself when it starts on a new database.
_OF_A_START = {"schema_version", "own", "hook", "heartbeat", "job_heartbeat"}
_RUNS = "SELECT 1 FROM turn WHERE until > extract(epoch FROM clock_timestamp()) LIMIT 1"
_KNOWN = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
_HAS = """SELECT column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position"""
# What older receivers may have written longer than an index of PostgreSQL can have it.
_LONGEST = {
    "incident.key": LONGEST_KEY,
    "member.receiver": LONGEST_NAME,
    "alike.alertname": LONGEST_NAME,
    "alike.team": LONGEST_NAME,
    "audit.object": LONGEST_NAME,
    "outbox.ref": LONGEST_NAME,
}
_SIZE = 2**256
_SEQUENCE = "SELECT pg_get_serial_sequence(quote_ident(?), ?)"


def moved(source: Connection, login: Login, told: Told) -> dict[str, int]:
    """Connect, and ``move``."""
    try:
        target = PostgresConnection(login)
    except psycopg.Error as error:
        raise named("PostgreSQL", error) from error
    try:
        return move(source, target, told)
    finally:
        target.close()


def move(source: Connection, target: PostgresConnection, told: Told) -> dict[str, int]:
    """Copy in one transaction; gives how many rows of each table. StoreError: nothing was copied.

    ``told`` is called with a table and how many of its rows are copied by now.
    """
    try:
        upgrade(target)
        with target.raw.transaction():
            target.execute(
                "SELECT set_config('statement_timeout', '0', true),"
                " set_config('idle_in_transaction_session_timeout', '0', true)"
            )
            target.execute(LOCK)  # a receiver that starts meanwhile writes nothing that is emptied below
            tables = [row[0] for row in source.execute(_TABLES, (_FIRST,)).fetchall()]
            _refuse_used(target, tables)
            return _copy(source, target, tables, told)
    except psycopg.Error as error:
        raise named("PostgreSQL", error) from error


def _refuse_used(target: PostgresConnection, tables: list[str]) -> None:
    """What people have set, and the audit log, may be there without any incident."""
    if target.execute(_RUNS).fetchone():
        raise StoreError("a receiver runs on the PostgreSQL database, or did ten seconds ago; stop it first")
    known = {row[0] for row in target.execute(_KNOWN)} - _OF_A_START
    for table in tables:
        if table in known and target.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():  # noqa: S608  # ours
            raise StoreError(f"the PostgreSQL database has rows in the table {table} already; name an empty one")


def _copy(source: Connection, target: PostgresConnection, tables: list[str], told: Told) -> dict[str, int]:
    counts = dict[str, int]()
    for table in tables:
        columns = [row[1] for row in source.execute(f'PRAGMA table_info("{table}")')]
        known = {row[0] for row in target.execute(_HAS, (table,))}
        if missing := [column for column in columns if column not in known]:
            raise StoreError(f"table {table}: PostgreSQL has no column {', '.join(missing)}; use the same version")
        target.execute(f'TRUNCATE "{table}" CASCADE')  # what an empty installation begins with
        written = _write(target, table, columns, _counted(_rows(source, table, columns), table, told))
        counts[table] = written[0]
        read = _digest(_rows(target, table, columns))
        if read != written:
            raise StoreError(f"table {table}: {written[0]} rows were read and {read[0]} written, or they differ")
        _go_on(target, table, columns)
    return counts


def _rows(db: Connection, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """Read a table in whatever order, a part at a time."""
    quoted = ", ".join(f'"{column}"' for column in columns)
    query = f'SELECT {quoted} FROM "{table}"'  # noqa: S608  # our own names
    if not isinstance(db, PostgresConnection):
        yield from db.execute(query)
        return
    with db.raw.cursor(name="rows") as cursor:
        cursor.itersize = 2000
        yield from cursor.execute(query.encode())


def _counted(rows: Iterable[tuple[Any, ...]], table: str, told: Told) -> Iterator[tuple[Any, ...]]:
    number = 0
    for number, row in enumerate(rows, 1):
        if number % _EVERY == 0:
            told(table, number)
        yield row
    told(table, number)


def _write(
    target: PostgresConnection, table: str, columns: list[str], rows: Iterable[tuple[Any, ...]]
) -> tuple[int, int]:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    longest = [_LONGEST.get(f"{table}.{column}") for column in columns]
    count = digest = 0
    with target.raw.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            values = tuple(stored(indexed(v, most) if most else v) for v, most in zip(row, longest, strict=True))
            copy.write_row(values)
            count, digest = count + 1, digest + _of_row(values)
    return count, digest % _SIZE


def _digest(rows: Iterable[tuple[Any, ...]]) -> tuple[int, int]:
    """Count rows, and sum up their digests, in whatever order they are."""
    count = digest = 0
    for row in rows:
        count, digest = count + 1, digest + _of_row(tuple(row))
    return count, digest % _SIZE


def _of_row(values: tuple[Any, ...]) -> int:
    return int.from_bytes(hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).digest(), "big")


def _go_on(target: PostgresConnection, table: str, columns: list[str]) -> None:
    """Let new rows be numbered after those that were copied."""
    for column in columns:
        sequence = target.execute(_SEQUENCE, (table, column)).fetchone()[0]
        if sequence is not None:
            target.execute(
                f'SELECT setval(?::text::regclass, coalesce(max("{column}"), 0) + 1, false) FROM "{table}"',  # noqa: S608
                (sequence,),
            )
