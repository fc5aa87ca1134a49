"""The store that a test runs on: SQLite in its folder, or a schema of its own in a real PostgreSQL.

The tests of tests/receiver/store run on both. HEYPETER_TEST_STORE=postgres runs every test of the receiver on
PostgreSQL that makes its store here; those that need SQLite's file say so with the mark `sqlite`.
"""

import atexit
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from deploy.local.servers import PLACE as SERVERS
from receiver.incident.delivery import Handling
from receiver.store.postgres.clock import DatabaseClock
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.migrate import upgrade
from receiver.store.postgres.store import PostgresStore
from receiver.store.sql.connection import Connection
from receiver.store.sql.outbox import HandlingOf
from receiver.store.sql.store import SQLStore, Watcher, unwatched
from receiver.store.sqlite.store import SQLiteStore

SQLITE, POSTGRES = "sqlite", "postgres"
DEFAULT = POSTGRES if os.environ.get("HEYPETER_TEST_STORE") == POSTGRES else SQLITE
NO_SERVER = "no PostgreSQL: see `make servers`"

_EMPTY = """
DO $$ DECLARE one TEXT; BEGIN
    SET LOCAL session_replication_role = replica;  -- no triggers: neither foreign keys nor the audit log's
    FOR one IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname = current_schema() AND tablename <> 'schema_version'
    LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) FROM pg_sequences
        WHERE schemaname = current_schema();
END $$
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
_END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
_SHAPE = """
SELECT relname, (SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = pg_class.oid),
    (SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal)
FROM pg_class WHERE relnamespace = current_schema()::regnamespace ORDER BY 1
"""


class _TheTestsClock(DatabaseClock):
    """The test's own clock in place of the database's: a lease must last as long as the test says."""

    def look(self, db: Connection) -> None:
        pass


class Schemas:
    """The schemas of a server: one for each folder, emptied and used again, since to make one takes longer."""

    def __init__(self) -> None:
        self._of: dict[Path, str] = {}
        self._free: list[str] = []
        self._count = 0
        self._shape: list[tuple[object, ...]] = []

    def of(self, folder: Path) -> str:
        """Give the schema of a folder."""
        if folder not in self._of:
            self._of[folder] = self._free.pop() if self._free else self.new()
        return self._of[folder]

    def new(self) -> str:
        """Make an empty one."""
        self._count += 1
        name = f"s_{os.getpid()}_{self._count}"
        admin().execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return name

    def give_back(self) -> None:
        """Empty those that were used; one that a test has changed is not used again."""
        for name in self._of.values():
            admin().execute(_END, (name,))
            if self._shape_of(name) == self._of_new():
                admin().execute("SELECT set_config('search_path', %s, false)", (name,))
                admin().execute(_EMPTY)
                self._free.append(name)
        self._of.clear()

    def _of_new(self) -> list[tuple[object, ...]]:
        """Give the shape of one that no test has used."""
        if not self._shape:
            name = self.new()
            connection = PostgresConnection(Login(in_schema(name)))
            upgrade(connection)
            connection.close()
            self._shape = self._shape_of(name)
            self._free.append(name)
        return self._shape

    def _shape_of(self, name: str) -> list[tuple[object, ...]]:
        admin().execute("SELECT set_config('search_path', %s, false)", (name,))
        return admin().execute(_SHAPE).fetchall()


class _Chosen:
    name = DEFAULT


schemas = Schemas()


@contextmanager
def using(name: str) -> Iterator[None]:
    """Let stores be made of this kind inside."""
    before, _Chosen.name = _Chosen.name, name
    try:
        yield
    finally:
        _Chosen.name = before
        schemas.give_back()


def on_postgres() -> bool:
    """Say whether the test runs on PostgreSQL."""
    return _Chosen.name == POSTGRES


def the_store(
    folder: Path,
    clock: Callable[[], datetime],
    changed: Callable[[], None] = lambda: None,
    *,
    watch: Watcher = unwatched,
    handling: HandlingOf = lambda _channel: Handling(),
) -> SQLStore:
    """Make the store of a folder, not yet open; two of one folder share what is in it."""
    if not on_postgres():
        return SQLiteStore(folder / "receiver.sqlite3", changed, watch=watch, handling=handling)
    where = conninfo(folder)
    database_clock = _TheTestsClock(clock, time.monotonic)
    return PostgresStore(
        Login(where), changed, clock=database_clock, elapsed=time.monotonic, watch=watch, handling=handling
    )


def conninfo(folder: Path) -> str:
    """Say how to connect to the schema of a folder, which is made if there is none."""
    return in_schema(schemas.of(folder))


def in_schema(schema: str) -> str:
    """Say how to connect to a schema."""
    settings = f"-c search_path={schema} -c synchronous_commit=off"
    return f"{server()} application_name={schema} options='{settings}'"


def has_server() -> bool:
    """Say whether there is a PostgreSQL on this machine."""
    return (SERVERS / "bin").exists()


def beside(folder: Path) -> PostgresConnection:
    """Give a second connection to the schema of a folder."""
    connection = _beside()
    connection.execute("SELECT set_config('search_path', ?, false)", (schemas.of(folder),))
    return connection


@cache
def _beside() -> PostgresConnection:
    connection = PostgresConnection(Login(server()))
    atexit.register(connection.close)
    return connection


def admin() -> "psycopg.Connection[tuple[object, ...]]":
    """Connect to the server as who may do everything."""
    return _beside().raw


@cache
def server() -> str:
    """Start a server for all tests of this process; gives how to connect to it."""
    port = free_port()
    cluster = Postgres(port)
    atexit.register(cluster.remove)
    cluster.create()
    words = [*cluster.command(), "-c", "max_connections=1000"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    atexit.register(process.wait)
    atexit.register(process.send_signal, signal.SIGINT)  # it waits for no connection then
    while not cluster.is_ready():
        time.sleep(0.05)
    return _on(port)


def _on(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
