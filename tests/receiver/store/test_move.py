"""`migrate`: everything is in PostgreSQL afterwards and goes on there, and nobody goes on in the file."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import yaml

from receiver.__main__ import main
from receiver.incident.event import Acknowledge, AlertsReceived
from receiver.incident.model import AlertGroup, Origin, State
from receiver.store.access import Session, Token
from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.store.postgres.connection import Login
from receiver.store.postgres.move import moved
from receiver.store.postgres.queue import LOCK
from receiver.store.sqlite.file import connect
from receiver.store.sqlite.migrations import SCHEMA_VERSION
from receiver.store.sqlite.store import SQLiteStore
from tests.receiver import stores
from tests.receiver.channels.test_registry import BASE
from tests.receiver.example_site import Clock, an_alert, deciding, received, the_policy
from tests.receiver.store.test_texts import LONG

pytestmark = pytest.mark.postgres


async def filled(folder: Path, clock: Clock) -> SQLiteStore:
    """A file with something in many tables, and a text that PostgreSQL cannot store as it is."""
    store = SQLiteStore(folder / "old.sqlite3", lambda: None)
    await store.open(clock.now)
    act = Act(clock.now, "anna", "session", "192.0.2.1", "token.create", "")
    for number in range(3):
        event = received(an_alert(f"a{number}", note="zero \0 \udcff".encode("utf-8", "replace").decode()))
        await store.update(event, the_policy(), clock.now)
        clock.forward(minutes=10)
    await store.apply(1, deciding(Acknowledge("anna", Origin.ALERTMANAGER), clock.now), clock.now)
    session = Session("anna", "Anna", "password", clock.now, clock.now, clock.now + timedelta(days=1), "", "")
    await store.access.begin_session(b"a" * 32, session, act)
    await store.access.add_token(b"b" * 32, Token("script", "act", "anna", clock.now), act)
    await store.duty.set_awake("anna", clock.now + timedelta(hours=1), act)
    await store.beat("alertmanager", clock.now)
    return store


def configured(folder: Path) -> list[str]:
    config = {key: value for key, value in BASE.items() if key != "database"}
    # The schema of this test; `options` of a URL are escaped.
    schema = stores.schemas.of(folder)
    port = stores.server().split("port=")[1].split()[0]
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres?options=-csearch_path%3D{schema}"
    path = folder / "receiver.yml"
    path.write_text(yaml.safe_dump({**config, "postgres": {"url": url}}), "utf-8")
    return ["migrate", "--config.file", str(path), "--from", f"sqlite:{folder / 'old.sqlite3'}"]


async def test_everything_is_moved_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    before = await filled(tmp_path, clock)
    incidents = [await before.incident(number) for number in (1, 2, 3)]
    installation = await before.installation()
    owed = await before.channels_owed()
    await before.close()
    assert main(configured(tmp_path)) == 0
    assert "all are equal" in capsys.readouterr().out
    with pytest.raises(StoreError, match=f"was moved to PostgreSQL.*user_version={SCHEMA_VERSION} "):
        await SQLiteStore(tmp_path / "old.sqlite3", lambda: None).open(clock.now)
    with stores.using(stores.POSTGRES):
        after = stores.the_store(tmp_path, clock)
        await after.open(clock.now)
        assert [await after.incident(number) for number in (1, 2, 3)] == incidents
        assert await after.installation() == installation
        assert await after.channels_owed() == owed
        assert (await after.access.session(b"a" * 32, clock.now)) is not None
        assert [token.name for token in await after.access.tokens()] == ["script"]
        opened = await after.update(received(an_alert("new")), the_policy(), clock.now)
        assert opened is not None
        assert (opened.id, opened.state) == (1, State.ACKNOWLEDGED)  # it is open here as well
        act = Act(clock.now, "anna", "session", "", "token.create", "")
        assert (await after.access.add_token(b"c" * 32, Token("two", "read", "", clock.now), act)).id == 2
        await after.close()


async def test_a_database_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    store = await filled(tmp_path, clock)
    assert main(configured(tmp_path)) == 1
    assert "another receiver uses this file" in capsys.readouterr().err
    await store.close()
    assert main(configured(tmp_path)) == 0
    other = SQLiteStore(tmp_path / "other.sqlite3", lambda: None)
    await other.open(clock.now)
    await other.update(received(an_alert("x")), the_policy(), clock.now)
    await other.close()
    words = configured(tmp_path)
    words[-1] = f"sqlite:{tmp_path / 'other.sqlite3'}"
    assert main(words) == 1
    assert "has rows in the table incident already" in capsys.readouterr().err
    again = SQLiteStore(tmp_path / "other.sqlite3", lambda: None)  # it was not marked
    await again.open(clock.now)
    await again.close()


async def test_a_receiver_that_starts_meanwhile_takes_nothing_that_would_be_lost(tmp_path: Path) -> None:
    clock = Clock()
    await (await filled(tmp_path, clock)).close()
    taken = list[bool]()
    with stores.using(stores.POSTGRES):
        running = stores.the_store(tmp_path, clock)
        await running.open(clock.now)
        await running.close()
        where = stores.conninfo(tmp_path)

        def told(_table: str, _count: int) -> None:
            with psycopg.connect(where) as another:
                turn = LOCK.replace("pg_advisory_xact_lock", "pg_try_advisory_xact_lock")
                taken.append(bool(another.execute(turn.encode()).fetchone()[0]))  # type: ignore[index]

        with closing(connect(tmp_path / "old.sqlite3", clock.now, {}, new=False)) as source:
            moved(source, Login(where), told)
    assert taken
    assert not any(taken)


async def test_what_reads_otherwise_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    await (await filled(tmp_path, clock)).close()
    words = configured(tmp_path)
    with stores.using(stores.POSTGRES):
        empty = stores.the_store(tmp_path, clock)
        await empty.open(clock.now)
        await empty.close()
        spoil = "BEGIN NEW.actor := ''somebody''; RETURN NEW; END"
        database = stores.beside(tmp_path)
        database.execute(f"CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS '{spoil}'")
        database.execute("CREATE TRIGGER spoil BEFORE INSERT ON timeline FOR EACH ROW EXECUTE FUNCTION spoil()")
        assert main(words) == 1
        assert "table timeline" in capsys.readouterr().err
        assert stores.beside(tmp_path).execute("SELECT count(*) FROM incident").fetchone()[0] == 0
    again = SQLiteStore(tmp_path / "old.sqlite3", lambda: None)  # it was not marked
    await again.open(clock.now)
    await again.close()


async def test_keys_that_older_receivers_wrote_longer_than_an_index_takes_are_moved(tmp_path: Path) -> None:
    clock = Clock()
    before = await filled(tmp_path, clock)
    await before.close()
    with closing(sqlite3.connect(tmp_path / "old.sqlite3")) as file, file:
        file.execute("UPDATE incident SET key = ? WHERE id = 1", (LONG[:4096],))
        file.execute("INSERT INTO member VALUES (?, 'f', 1), (?, 'f', 1)", (LONG, f"{LONG}x"))
        file.execute("UPDATE alike SET alertname = ?", (LONG,))
    assert main(configured(tmp_path)) == 0
    with stores.using(stores.POSTGRES):
        after = stores.the_store(tmp_path, clock)
        await after.open(clock.now)
        event = AlertsReceived(AlertGroup(LONG[:4096], (an_alert("a0"),)))
        found = await after.update(event, the_policy(), clock.now)
        assert found is not None
        assert found.id == 1
        assert [one.id for one in await after.alike(LONG, "backend", 5)] == [1]
        await after.close()


async def test_names_with_a_nul_are_moved_wherever_they_sort(tmp_path: Path) -> None:
    clock = Clock()
    store = await filled(tmp_path, clock)
    act = Act(clock.now, "anna", "session", "192.0.2.1", "awake", "")
    for person in ("lin\0h", "linz"):  # in SQLite the NUL is before z, and what replaces it is after z
        await store.duty.set_awake(person, clock.now + timedelta(hours=1), act)
    await store.close()
    assert main(configured(tmp_path)) == 0


async def test_a_database_without_incidents_keeps_what_people_have_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    await (await filled(tmp_path, clock)).close()
    words = configured(tmp_path)
    with stores.using(stores.POSTGRES):
        other = stores.the_store(tmp_path, clock)
        await other.open(clock.now)
        act = Act(clock.now, "linh", "session", "192.0.2.1", "awake", "")
        await other.duty.set_awake("linh", clock.now + timedelta(hours=1), act)
        await other.close()
        database = stores.beside(tmp_path)
        database.execute("INSERT INTO turn VALUES ('receiver a', 'a', extract(epoch FROM clock_timestamp()) + 60)")
        assert main(words) == 1
        assert "a receiver runs on the PostgreSQL database" in capsys.readouterr().err
        database.execute("DELETE FROM turn")
        assert main(words) == 1
        assert "has rows in the table audit already" in capsys.readouterr().err
        assert database.execute("SELECT person FROM awake").fetchall() == [("linh",)]


@pytest.mark.parametrize("url", ["postgresql://postgres:s3cret@db/heypeter", "mysql://postgres:s3cret@db/heypeter"])
def test_another_url_is_checked_as_that_of_the_file_is(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.sqlite3").touch()
    assert main([*configured(tmp_path), "--to", url]) == 1
    said = capsys.readouterr().err
    assert "--to: " in said
    assert "s3cret" not in said
