"""A person who has left is taken out of the database: no byte of name and address stays, and the acts do."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from process.settings import SettingsError
from receiver.cli import erase
from receiver.incident.event import Acknowledge, AlertsReceived, HandOver, Note, Resolve
from receiver.incident.model import AlertGroup, EntryKind, Origin
from receiver.oncall.cover import Cover, CoverState
from receiver.store.access import Session, Token
from receiver.store.audit import Act
from receiver.store.push import Subscription
from receiver.store.sql import erase as statements
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import (
    START,
    Clock,
    a_store,
    an_alert,
    beside,
    beside_file,
    deciding,
    labelled,
    received,
    the_policy,
)

NAME, MAIL = "Linh Trần", "linh@example.com"
DAY = timedelta(days=1)
ACT = Act(START, "peter", "session", "192.0.2.9", "person.erase", "")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLStore]:
    """What Linh has left in each table."""
    made = await a_store(tmp_path, Clock())
    for number in (1, 2):
        alert = labelled(an_alert(str(number)), owner=f"{NAME}, ask linh", job="linh")
        await made.update(AlertsReceived(AlertGroup(str(number), (alert,))), the_policy(), START)
        for event in (
            Acknowledge("linh", Origin.API),
            HandOver("linh", Origin.API, person="marek"),
            Note("marek", Origin.API, f"{NAME.upper()} <{MAIL}> has looked", tell=True),
            Resolve("linh", Origin.API),
        ):
            await made.apply(number, deciding(event, START), START)
    await made.pack(START + DAY, 1)
    session = Session("linh", NAME, "basic", START, START, START + DAY, "192.0.2.1", "Firefox")
    act = Act(START, "linh", "session", "192.0.2.77", "session.begin", "person/linh", "linh", f'"{MAIL}"')
    await made.access.begin_session(b"a" * 32, session, act)
    await made.access.add_token(b"a" * 32, Token("script", "act", "linh", START), act)
    await made.push.subscribe(Subscription("a" * 64, "linh", "https://push", "k", "a", "Phone", START))
    cover = Cover("", "linh", "marek", START, START + DAY, CoverState.ASKED, "linh", reason=f"for {NAME}")
    await made.duty.change_covers(lambda _known: (cover,), START, act, "linh:1")
    await made.duty.set_awake("linh", START + DAY, act)
    yield made
    await made.close()


def left(folder: Path, *texts: str) -> dict[str, list[str]]:
    """Which of these are in which of the database's files."""
    files = [file for file in folder.glob("receiver.sqlite3*") if file.stat().st_size]
    found = {
        file.name: [text for text in texts if text.encode().lower() in file.read_bytes().lower()] for file in files
    }
    return {name: texts for name, texts in found.items() if texts}


@pytest.mark.sqlite("the bytes of its file")
async def test_no_byte_of_name_and_address_is_left(store: SQLStore, tmp_path: Path) -> None:
    # What was deleted long ago stands in the free space of the file.
    with beside_file(tmp_path) as db:
        rows = [(NAME * 200, number, number + 1000) for number in range(50)]
        db.executemany("INSERT INTO form VALUES (? || ?, ?, 1)", rows)
    for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "DELETE FROM form WHERE number = 1"):
        with beside_file(tmp_path) as db:
            db.execute("PRAGMA secure_delete=OFF")  # some builds of SQLite set it
            db.execute(statement)
    assert left(tmp_path, NAME, MAIL)
    done = await store.erasing.erase("linh", [NAME], ACT)
    assert (done.alias, done.tidied) == ("former-1", True)
    assert left(tmp_path, NAME, MAIL, "person/linh", ":linh", "192.0.2.77") == {}
    with beside_file(tmp_path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_open_pages_ask_whether_they_may_go_on_as_soon_as_the_sessions_have_ended(store: SQLStore) -> None:
    sessions = list[int]()

    async def count() -> None:
        sessions.append(len(await store.access.sessions(START, 10)))

    tasks = list[asyncio.Future[None]]()
    store.access.ended = lambda: tasks.append(asyncio.ensure_future(count()))
    await store.erasing.erase("linh", [NAME], ACT)
    await asyncio.gather(*tasks)
    assert sessions == [0]


async def test_no_row_has_name_and_address(store: SQLStore, tmp_path: Path) -> None:
    assert (await store.erasing.erase("linh", [NAME], ACT)).alias == "former-1"
    with beside(tmp_path) as db:
        for table in statements.TABLES:
            dumped = repr(db.execute(f'SELECT * FROM "{table.name}"').fetchall())  # noqa: S608  # our own names
            assert MAIL not in dumped, table.name
        for emptied in ("session", "token", "push_subscription", "awake", "form"):
            assert db.execute(f"SELECT count(*) FROM {emptied}").fetchone() == (0,), emptied  # noqa: S608  # our own names


async def test_what_is_called_by_their_name_is_called_by_the_number_and_is_deleted_with_its_incident(
    store: SQLStore, tmp_path: Path
) -> None:
    alert = labelled(an_alert("3"), alertname=f"Disk of {NAME}")
    await store.update(AlertsReceived(AlertGroup("3", (alert,))), the_policy(), START)
    await store.erasing.erase("linh", [NAME], ACT)
    (called,) = await store.alike("Disk of former-1.1", "backend", 5)
    assert called.id == 3
    await store.apply(3, deciding(Resolve("marek", Origin.API), START), START)
    await store.delete([3])
    with beside(tmp_path) as db:
        assert NAME not in repr(db.execute("SELECT * FROM alike").fetchall())
        assert db.execute("SELECT count(*) FROM alike WHERE incident_id = 3").fetchone() == (0,)


async def test_the_acts_stay_under_a_number_and_everything_else_as_it_was(store: SQLStore) -> None:
    before = [await store.incident(number) for number in (1, 2)]
    await store.erasing.erase("linh", [NAME], ACT)
    for number, was in zip((1, 2), before, strict=True):
        stored = await store.incident(number)
        assert stored is not None
        assert was is not None
        incident, timeline = stored
        assert incident.resolved_by == "former-1"
        assert [one.kind for one in timeline] == [one.kind for one in was[1]]
        (noted,) = [one for one in timeline if one.kind is EntryKind.NOTED]
        assert noted.data.text == "former-1.1 <former-1.0> has looked"
        assert noted.actor == "marek"
        (alert,) = incident.alerts.values()
        # A key may be a common word: what others have written keeps it.
        assert (alert.labels["job"], alert.labels["owner"]) == ("linh", "former-1.1, ask linh")
        same = {"labels", "alerts", "delivery", "acknowledged_by", "resolved_by", "undo", "asked"}
        for field in msgspec.structs.fields(incident):
            if field.name not in same:
                assert getattr(incident, field.name) == getattr(was[0], field.name), field.name
    newest, *others = await store.access.audit(None, 20)
    assert (newest.act, newest.object, newest.actor) == ("person.erase", "person/former-1", "peter")
    assert {one.actor for one in others} == {"former-1"}
    await store.update(received(an_alert("3")), the_policy(), START)  # and it goes on


async def test_the_audit_log_is_only_appended_to_afterwards(store: SQLStore, tmp_path: Path) -> None:
    await store.erasing.erase("linh", [], ACT)
    with beside(tmp_path) as db, pytest.raises(Exception, match="only appended to"):
        db.execute("UPDATE audit SET actor = 'x'")


async def test_the_next_one_has_another_number_and_parts_go_on(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_PART", 1)
    assert (await store.erasing.erase("linh", [NAME], ACT)).rows > 5
    assert (await store.erasing.erase("marek", [], ACT)).alias == "former-2"
    again = await store.erasing.erase("linh", [NAME, MAIL], ACT)
    assert again.rows == 0


@pytest.mark.parametrize("texts", [["ab"], ["x" * 201], ["abc"] * 51])
async def test_what_would_hit_everything_is_refused(store: SQLStore, texts: list[str]) -> None:
    with pytest.raises(ValueError, match="names and addresses"):
        await store.erasing.erase("linh", texts, ACT)
    assert (await store.access.tokens())[0].owner == "linh"


@pytest.mark.sqlite("the command's file")
async def test_the_command_does_it_beside_a_receiver(
    store: SQLStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path("tests/receiver/receiver.yml")
    parser = argparse.ArgumentParser()
    erase.add_arguments(parser)
    common = ["--config.file", str(config), "--database", str(tmp_path / "receiver.sqlite3"), "--text", NAME]
    with pytest.raises(SettingsError, match="is in `people`"):
        erase.run(parser.parse_args(["linh", *common]), lambda: START)
    with beside(tmp_path) as db:
        db.execute("UPDATE outbox SET address = 'zoe@example.com' WHERE id = 1")
    assert erase.run(parser.parse_args(["zoe", *common[:-1], "zoe@example.com"]), lambda: START) == 0
    assert "former-1 stands" in capsys.readouterr().out
    assert left(tmp_path, "zoe@example.com") == {}
