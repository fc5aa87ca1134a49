"""What the role or the database has set for every session changes nothing of what the store does."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from receiver.store.base import StoreError
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.queue import LOCK, Line
from receiver.store.postgres.store import PostgresStore
from receiver.store.sql.connection import Connection
from tests.receiver import stores
from tests.receiver.example_site import START, an_alert, received, the_policy
from tests.receiver.store.test_postgres_schema import a_store_at

pytestmark = pytest.mark.postgres

SHOWN = "SELECT current_setting(?)"
WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@asynccontextmanager
async def set_for(folder: Path, *settings: str) -> AsyncIterator[PostgresStore]:
    """Open a store as a role has it that these were set for."""
    schema = stores.schemas.of(folder)
    options = " ".join(f"-c {setting}" for setting in (f"search_path={schema}", *settings))
    store = a_store_at(make_conninfo(stores.conninfo(folder), options=options))
    await store.open(START)
    try:
        yield store
    finally:
        await store.close()


def until_somebody_waits() -> None:
    while stores.admin().execute(WAITS).fetchone() != (1,):
        time.sleep(0.01)


@pytest.mark.parametrize("isolation", ["read\\ committed", "repeatable\\ read", "serializable"])
async def test_a_change_sees_what_was_committed_before_its_turn_came(tmp_path: Path, isolation: str) -> None:
    def read(db: Connection) -> list[tuple[float]]:
        return db.execute("SELECT value FROM own WHERE name = 'count'").fetchall()

    async with set_for(tmp_path, f"default_transaction_isolation={isolation}") as store:
        with psycopg.connect(stores.conninfo(tmp_path)) as other:
            other.execute(LOCK.encode())
            reading = asyncio.ensure_future(store._writer.commit(read))  # noqa: SLF001
            await asyncio.to_thread(until_somebody_waits)
            other.execute("INSERT INTO own VALUES ('count', 7)")
        assert await reading == [(7.0,)]


async def test_times_are_read_as_they_were_written(tmp_path: Path) -> None:
    at = START.replace(microsecond=123457)
    async with set_for(tmp_path, "extra_float_digits=-3", "bytea_output=escape", "timezone=Asia/Kolkata") as store:
        await store.beat("default", at)
        assert await store.heartbeats() == {"default": at}
        incident = await store.update(received(an_alert()), the_policy(), at)
        assert incident is not None
        stored = await store.incident(incident.id)
        assert stored is not None
        assert stored[0] == incident
        assert stored[1][0].at == at


@pytest.mark.parametrize(("chosen", "used"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
async def test_a_commit_is_on_a_disk_before_it_is_answered(tmp_path: Path, chosen: str, used: str) -> None:
    async with set_for(tmp_path, f"synchronous_commit={chosen}", "idle_session_timeout=1min") as store:
        for name, value in (("synchronous_commit", used), ("idle_session_timeout", "0")):
            assert await store._writer.run(lambda db, name=name: db.execute(SHOWN, (name,)).fetchone()) == (value,)  # type: ignore[misc]  # noqa: SLF001


async def test_each_connection_is_made_with_the_password_of_now(tmp_path: Path) -> None:
    words = ["first"]
    login = Login(stores.conninfo(tmp_path), lambda: words[-1])
    line = Line("test", lambda: PostgresConnection(login))
    assert line.open().raw.info.password == "first"
    words.append("second")
    line.cut()
    assert line.read(lambda db: db.execute("SELECT 1").fetchone()) == (1,)
    assert line.open().raw.info.password == "second"
    line.drop()


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def narrow(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that cannot hold every character."""
    made = sql.SQL("CREATE DATABASE narrow ENCODING {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    stores.admin().execute(made.format(sql.Literal(request.param)))
    yield make_conninfo(stores.server(), dbname="narrow")
    stores.admin().execute("DROP DATABASE narrow WITH (FORCE)")


async def test_a_database_that_cannot_hold_every_character_is_refused(narrow: str) -> None:
    store = a_store_at(narrow)
    with pytest.raises(StoreError, match="ENCODING 'UTF8' TEMPLATE template0"):
        await store.open(START)
    await store.close()
