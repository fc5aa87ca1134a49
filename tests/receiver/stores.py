"""The store that a test runs on: SQLite in its folder, or a schema of its own in a real PostgreSQL.

HEYPETER_TEST_STORE=postgres runs every test of the receiver on PostgreSQL that makes its store here.
"""

import atexit
import os
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

import psycopg

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from receiver.incident.delivery import Handling
from receiver.incident.model import Incident
from receiver.store.postgres.clock import DatabaseClock
from receiver.store.postgres.connection import Login
from receiver.store.postgres.store import PostgresStore
from receiver.store.sql.outbox import HandlingOf
from receiver.store.sql.store import SQLStore, Watcher
from receiver.store.sqlite.store import SQLiteStore

ON_POSTGRES = os.environ.get("HEYPETER_TEST_STORE") == "postgres"


def _nobody(_before: Incident, _after: Incident) -> None:
    pass


def the_store(
    folder: Path,
    clock: Callable[[], datetime],
    changed: Callable[[], None] = lambda: None,
    *,
    watch: Watcher = _nobody,
    handling: HandlingOf = lambda _channel: Handling(),
    postgres: bool = ON_POSTGRES,
) -> SQLStore:
    """Make the store of a folder, not yet open; two of one folder share what is in it."""
    if not postgres:
        return SQLiteStore(folder / "receiver.sqlite3", changed, watch=watch, handling=handling)
    where = conninfo(folder)
    database_clock = DatabaseClock(clock, time.monotonic)
    return PostgresStore(
        Login(where), changed, clock=database_clock, elapsed=time.monotonic, watch=watch, handling=handling
    )


def conninfo(folder: Path) -> str:
    """Say how to connect to the schema of a folder, which is made if there is none."""
    schema = f"s_{sha256(str(folder).encode()).hexdigest()[:16]}"
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    return f"{server()} options='-c search_path={schema} -c synchronous_commit=off'"


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
    atexit.register(process.terminate)
    status = cluster.folder / "data/postmaster.pid"
    while not (status.exists() and "ready" in status.read_text()):
        time.sleep(0.05)
    return _on(port)


def _on(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
