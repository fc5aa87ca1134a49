"""The PostgreSQL database, as a command uses it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import msgspec
import psycopg

from receiver.store.access import Erased
from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.queue import LOCK, Line, named
from receiver.store.postgres.schema import SCHEMA_VERSION, schema
from receiver.store.sql.connection import Connection
from receiver.store.sql.erase import made
from receiver.store.sql.history import StoredHistory
from receiver.store.sql.queue import Change

T = TypeVar("T")
NAME = "PostgreSQL"


class PostgresDatabase:
    """See receiver.store.command.CommandDatabase."""

    def __init__(self, login: Login) -> None:
        self._connect = partial(PostgresConnection, login)

    def history(self) -> StoredHistory:
        line = Line(NAME, partial(self._connect, read_only=True))

        async def run(read: Callable[[Connection], T]) -> T:
            try:
                return await asyncio.to_thread(line.read, partial(_of_today, read))
            except msgspec.DecodeError as error:
                raise StoreError(f"{NAME}: not a receiver's database ({error})") from error

        return StoredHistory(run, line.drop)

    @contextmanager
    def change(self) -> Iterator[PostgresConnection]:
        with self._connected() as db, _turn(db):
            yield db

    def erase(self, person: str, texts: Iterable[str], act: Act) -> Erased:
        with self._connected() as db:

            def make(change: Change) -> object:
                with _turn(db):
                    return change(db)

            erased = made(make, person, texts, act)
        return msgspec.structs.replace(erased, tidied=True)  # autovacuum removes what was changed

    @contextmanager
    def _connected(self) -> Iterator[PostgresConnection]:
        try:
            db = self._connect()
            try:
                _refuse_other(db)  # before we wait for a turn
                yield db
            finally:
                db.close()
        except psycopg.Error as error:
            raise named(NAME, error) from error

    def described(self) -> str:
        try:
            db = self._connect(read_only=True)
            try:
                version, size = db.execute("SELECT version(), pg_database_size(current_database())").fetchone()
                known = schema(db)
                count = db.execute("SELECT count(*) FROM incident").fetchone()[0] if known else 0
            finally:
                db.close()
        except psycopg.Error as error:
            return f"{NAME}, cannot be read ({named(NAME, error)})"
        return f"{version.split(' on ')[0]}, schema {known}, {size:,} bytes, {count:,} incidents"


@contextmanager
def _turn(db: PostgresConnection) -> Iterator[None]:
    """Make a transaction, while no receiver is in one; one may have upgraded the tables while we waited."""
    with db.raw.transaction():
        db.execute(LOCK)
        _refuse_other(db)
        yield


def _of_today(read: Callable[[Connection], T], db: PostgresConnection) -> T:
    _refuse_other(db)
    return read(db)


def _refuse_other(db: PostgresConnection) -> None:
    if (known := schema(db)) != SCHEMA_VERSION:
        raise StoreError(f"{NAME}: schema version {known}, expected {SCHEMA_VERSION}; run the receiver's own version")
