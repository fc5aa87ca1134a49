"""The tables in PostgreSQL are those of SQLite, are made once whoever starts, and need no more rights than they say."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from receiver.incident.model import State
from receiver.store.audit import Act
from receiver.store.base import Outage, StoreError, StoreOutageError
from receiver.store.past import Past
from receiver.store.postgres import migrate, schema
from receiver.store.postgres.clock import DatabaseClock
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.store import PostgresStore
from receiver.store.sqlite.file import connect
from tests.receiver import stores
from tests.receiver.example_site import START, Clock, a_store, an_alert, beside, received, the_policy

pytestmark = pytest.mark.postgres

OF_POSTGRES = {"schema_version", "turn", "last_commit", "shared_file"}
TYPES = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text", "BLOB": "bytea"}
COLUMNS = """SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns
    WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"""
INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
SHAPE = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    """SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace""",
)
DATA = Path(__file__).parent / "data"
OPTIONS = "SELECT reloptions FROM pg_class WHERE oid = CAST(? AS regclass)"
Columns = dict[str, list[tuple[str, str]]]


def a_store_at(conninfo: str) -> PostgresStore:
    clock = DatabaseClock(Clock(), time.monotonic)
    return PostgresStore(Login(conninfo), lambda: None, clock=clock, elapsed=time.monotonic)


@pytest.fixture
def empty() -> Iterator[str]:
    """A schema without tables, which is dropped at the end."""
    name = stores.schemas.new()
    yield stores.in_schema(name)
    stores.admin().execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


async def opened(folder: Path) -> None:
    store = await a_store(folder, Clock())
    await store.close()


async def test_both_databases_have_the_same_tables_columns_and_indexes(tmp_path: Path) -> None:
    await opened(tmp_path)
    of_postgres: Columns = {}
    with beside(tmp_path) as db:
        for table, column, kind, collation in db.execute(COLUMNS):
            of_postgres.setdefault(table, []).append((column, kind))
            assert collation == ("C" if kind == "text" else None), (table, column)  # else they are in another order
        indexes = {name for (name,) in db.execute(INDEXES)}
    of_sqlite: Columns = {}
    with closing(connect(tmp_path / "receiver.sqlite3", START, {}, new=True)) as file:
        tables = [
            name
            for (name,) in file.execute(
                "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE %' AND name <> 'sqlite_sequence'"
            )
        ]
        for table in tables:
            for _, column, kind, *_ in file.execute(f'PRAGMA table_info("{table}")'):
                of_sqlite.setdefault(table, []).append((column, TYPES[kind]))
        listed = file.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    assert {name: columns for name, columns in of_postgres.items() if name not in OF_POSTGRES} == of_sqlite
    assert {name for (name,) in listed} - indexes == set()


async def test_receivers_that_start_at_once_make_the_tables_once(empty: str) -> None:
    made = [a_store_at(empty) for _ in range(4)]
    await asyncio.gather(*(store.open(START) for store in made))
    incidents = [await store.update(received(an_alert()), the_policy(), START) for store in made]
    assert [incident and incident.id for incident in incidents] == [1] * 4
    for store in made:
        await store.close()


async def test_the_tables_of_a_newer_receiver_are_refused(tmp_path: Path) -> None:
    await opened(tmp_path)
    with beside(tmp_path) as db:
        db.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreError, match=r"newer receiver \(schema 99\)"):
        await opened(tmp_path)
    with beside(tmp_path) as db:
        db.execute("UPDATE schema_version SET version = ?", (schema.SCHEMA_VERSION,))


async def test_a_running_receiver_writes_nothing_once_a_newer_one_has_upgraded(empty: str) -> None:
    store = a_store_at(empty)
    await store.open(START)
    await store.update(received(an_alert()), the_policy(), START)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    over = received(an_alert(firing=False))
    for write in (store.update(over, the_policy(), START), store.claim("email", START, 10.0, 5), store.alive(START)):
        with pytest.raises(StoreOutageError, match="a newer receiver has upgraded the database to schema 99"):
            await write
    outages = [store.outage]
    assert [incident.state for incident in await store.incidents(None, 10)] == [State.TRIGGERED]
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE schema_version SET version = %s", (schema.SCHEMA_VERSION,))
    await store.update(over, the_policy(), START)
    assert [*outages, store.outage] == [Outage.REPLACED, None]
    await store.close()


async def test_the_tables_of_schema_8_get_the_shape_of_new_ones(empty: str) -> None:
    store = a_store_at(empty)
    await store.open(START)
    await store.update(received(an_alert()), the_policy(), START)
    await store.close()
    shapes = list[dict[str, str]]()
    with psycopg.connect(empty) as connection:
        shapes.append(shape(connection))
        connection.execute((DATA / "postgres_8.sql").read_bytes())
        shapes.append(shape(connection))
    store = a_store_at(empty)
    await store.open(START)
    with psycopg.connect(empty) as connection:
        shapes.append(shape(connection))
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(schema.SCHEMA_VERSION,)]
    assert shapes[1] != shapes[0]
    assert shapes[2] == shapes[0]
    assert [one.id for one in await store.alike("HighErrorRate", "backend", 5)] == [1]
    assert await store.claim("email", START, 10.0, 5)
    await store.close()


def shape(connection: psycopg.Connection[tuple[str, str]]) -> dict[str, str]:
    """What every index and every constraint is made of."""
    return {name: text for query in SHAPE for name, text in connection.execute(query.encode())}


async def test_an_old_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "OLDEST_SERVER", 990000)
    with pytest.raises(StoreError, match="too old; use 14"):
        await opened(tmp_path)


async def test_a_table_that_was_added_without_a_number_is_made_beside_a_receiver(empty: str) -> None:
    running, later = a_store_at(empty), a_store_at(empty)
    await running.open(START)
    with psycopg.connect(empty) as connection:
        connection.execute("DROP TABLE form")
        connection.execute("DROP INDEX outbox_dead")
    await later.open(START)
    with psycopg.connect(empty) as connection:
        there = connection.execute("SELECT to_regclass('form')::text, to_regclass('outbox_dead')::text").fetchone()
    assert there == ("form", "outbox_dead")
    assert await running.update(received(an_alert()), the_policy(), START)
    await later.close()
    await running.close()


@pytest.fixture
def poor() -> Iterator[str]:
    """A user who may nothing."""
    name = "poor user"
    stores.admin().execute('CREATE ROLE "poor user" LOGIN')
    yield name
    stores.admin().execute('DROP OWNED BY "poor user"')
    stores.admin().execute('DROP ROLE "poor user"')


async def test_who_may_make_no_tables_is_told_what_to_grant(empty: str, poor: str) -> None:
    store = a_store_at(make_conninfo(empty, user=poor))
    with pytest.raises(StoreError) as raised:
        await store.open(START)
    await store.close()
    (grant,) = re.findall("GRANT[^;]*", str(raised.value))
    stores.admin().execute(grant.encode())
    store = a_store_at(make_conninfo(empty, user=poor))
    await store.open(START)
    assert await store.update(received(an_alert()), the_policy(), START)
    await store.close()


async def test_who_names_a_schema_that_is_not_there_is_told_to_make_it(empty: str) -> None:
    store = a_store_at(make_conninfo(empty, options="-c search_path=not_there"))
    with pytest.raises(StoreError) as raised:
        await store.open(START)
    assert "CREATE SCHEMA IF NOT EXISTS not_there; GRANT USAGE, CREATE ON SCHEMA not_there" in str(raised.value)
    await store.close()


async def test_who_may_only_read_and_write_the_tables_forgets_and_erases_all_the_same(empty: str, poor: str) -> None:
    owner = a_store_at(empty)
    await owner.open(START)
    act = Act(START, "linh", "session", "192.0.2.1", "session.begin", "")
    await owner.access.note(act)
    await owner.access.note(msgspec.structs.replace(act, at=START + timedelta(days=9)))
    await owner.close()
    with psycopg.connect(empty, autocommit=True) as connection:
        for granted in (
            "USAGE ON SCHEMA {schema}",
            "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}",
            "USAGE ON ALL SEQUENCES IN SCHEMA {schema}",
        ):
            schema = connection.execute("SELECT current_schema()").fetchone()
            assert schema is not None
            connection.execute(f'GRANT {granted.format(schema=schema[0])} TO "poor user"'.encode())
    store = a_store_at(make_conninfo(empty, user=poor))
    await store.open(START)
    assert await store.past.forget(Past.AUDIT, START + timedelta(days=1), 10) == 1
    erased = await store.erasing.erase("linh", ["Linh Tran"], act)
    assert [one.actor for one in await store.access.audit(None, 10)] == ["linh", erased.alias]
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with psycopg.connect(empty) as connection, pytest.raises(psycopg.Error, match="only appended to"):
            connection.execute(statement.encode())
    await store.close()


async def test_queues_are_vacuumed_by_the_number_of_rows_that_have_changed(tmp_path: Path) -> None:
    await opened(tmp_path)
    with beside(tmp_path) as db:
        for table in ("outbox", "incident", "member"):
            options = " ".join(db.execute(OPTIONS, (table,)).fetchone()[0])
            assert "autovacuum_vacuum_scale_factor=0 " in options, table
            assert re.search(r"autovacuum_vacuum_threshold=\d{4}\b", options), table


async def test_everything_that_is_stored_is_looked_at_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await a_store(tmp_path, Clock())
    event = received(an_alert())
    for number in range(7):
        group = msgspec.structs.replace(event.group, key=str(number))
        await store.update(type(event)(group), the_policy(), START)
    asked, execute = list[object](), PostgresConnection.execute

    def counting(self: PostgresConnection, statement: str, parameters: object = (), /) -> object:
        if "sum(" in statement:
            asked.append(parameters)
        return execute(self, statement, parameters)

    monkeypatch.setattr(PostgresConnection, "execute", counting)
    monkeypatch.setattr("receiver.store.postgres.store._LOOKED_AT", 3)
    await store.check()
    assert len(asked) >= 3
    await store.close()
