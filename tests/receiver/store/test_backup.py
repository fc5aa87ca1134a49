"""A copy has everything that was committed, whoever writes meanwhile, and an upgrade leaves the file that it found."""

import asyncio
import logging
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from receiver.__main__ import main
from receiver.store.base import StoreError
from receiver.store.sqlite import file
from receiver.store.sqlite.backup import backup, restore
from receiver.store.sqlite.migrations import SCHEMA_VERSION
from tests.receiver.config.test_config import EXAMPLE
from tests.receiver.example_site import KEY, START, Clock, a_store, an_alert, of_group, received, the_policy
from tests.receiver.store.test_migrations import older

pytestmark = pytest.mark.sqlite("copies of its file")

NAME = "receiver.sqlite3"


async def opened(folder: Path, *titles: str) -> None:
    """A file with an incident for each title."""
    store = await a_store(folder, Clock())
    for title in titles:
        group = received(an_alert(title, alertname=title))
        await store.update(type(group)(of_group(group, f"{KEY}{title}")), the_policy(), START)
    await store.close()


def titles(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT json_extract(CAST(doc AS TEXT), '$.key') FROM incident").fetchall()
    return {key.removeprefix(KEY) for (key,) in rows}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stored(folder: Path) -> dict[str, bytes]:
    """The files of the database."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith(NAME)}


async def test_a_copy_beside_a_running_receiver_is_whole(tmp_path: Path) -> None:
    store = await a_store(tmp_path, Clock())
    (tmp_path / "copies").mkdir()
    committed: list[str] = []
    stop, enough = asyncio.Event(), asyncio.Semaphore(0)

    async def write() -> None:
        while not stop.is_set():
            title = f"T{len(committed)}"
            group = received(an_alert(title, alertname=title))
            await store.update(type(group)(of_group(group, f"{KEY}{title}")), the_policy(), START)
            committed.append(title)
            enough.release()

    writing = asyncio.ensure_future(write())
    for number in range(5):
        for _ in range(10):
            await enough.acquire()
        before = set(committed)
        copy = tmp_path / f"copies/{number}"
        await asyncio.to_thread(backup, tmp_path / NAME, copy)
        after = {*committed, f"T{len(committed)}"}
        assert before <= titles(copy) <= after
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    stop.set()
    await writing
    await store.close()
    assert names(tmp_path / "copies") == [str(n) for n in range(5)]  # no log beside one


async def test_a_copy_is_for_its_owner_only_and_never_overwrites(tmp_path: Path) -> None:
    await opened(tmp_path, "A")
    size = backup(tmp_path / NAME, tmp_path / "copy")
    assert (size, oct((tmp_path / "copy").stat().st_mode & 0o777)) == ((tmp_path / "copy").stat().st_size, "0o600")
    with pytest.raises(StoreError, match="exists"):
        backup(tmp_path / NAME, tmp_path / "copy")


async def test_a_restored_copy_is_what_it_was_and_the_file_before_is_kept(tmp_path: Path) -> None:
    await opened(tmp_path, "A", "B")
    backup(tmp_path / NAME, tmp_path / "copy")
    await opened(tmp_path, "C")
    kept = restore(tmp_path / "copy", tmp_path / NAME, START)
    assert kept == tmp_path / f"{NAME}.before-20261123T030000Z"
    assert titles(tmp_path / NAME) == {"A", "B"}
    assert titles(kept) == {"A", "B", "C"}
    await opened(tmp_path, "D")
    assert titles(tmp_path / NAME) == {"A", "B", "D"}


async def test_commits_that_stand_only_in_the_log_are_kept_as_well(tmp_path: Path) -> None:
    await opened(tmp_path, "A")
    backup(tmp_path / NAME, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / NAME)) as db, closing(sqlite3.connect(tmp_path / NAME)) as reader:
        db.execute("PRAGMA wal_autocheckpoint=0")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM own").fetchall()  # a reader keeps the log from being moved into the file
        db.execute("INSERT INTO own VALUES ('only in the log', 1)")
        db.commit()
        kept = restore(tmp_path / "copy", tmp_path / NAME, START)
    assert kept is not None
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT count(*) FROM own WHERE name = 'only in the log'").fetchone() == (1,)


async def test_a_copy_is_restored_where_there_was_no_database(tmp_path: Path) -> None:
    await opened(tmp_path, "A")
    (tmp_path / "new").mkdir()
    assert restore(tmp_path / NAME, tmp_path / "new" / NAME, START) is None
    assert titles(tmp_path / "new" / NAME) == {"A"}


async def test_nothing_is_restored_while_a_receiver_runs(tmp_path: Path) -> None:
    await opened(tmp_path, "A")
    backup(tmp_path / NAME, tmp_path / "copy")
    store = await a_store(tmp_path, Clock())
    with pytest.raises(StoreError, match="another receiver"):
        restore(tmp_path / "copy", tmp_path / NAME, START)
    await store.close()
    assert titles(tmp_path / NAME) == {"A"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text", "cannot be read as a database"),
        ("missing", "no such database"),
        ("another", "no receiver's database"),
        ("newer", "newer receiver"),
        ("damaged", "damaged"),
    ],
)
async def test_an_unusable_copy_changes_nothing(tmp_path: Path, content: str, says: str) -> None:
    await opened(tmp_path, "A")
    copy = tmp_path / "copy"
    if content == "text":
        copy.write_text("no database " * 100, "utf-8")
    elif content == "another":
        with closing(sqlite3.connect(copy)) as db:
            db.execute("CREATE TABLE thing (id INTEGER)")
    elif content != "missing":
        backup(tmp_path / NAME, copy)
        with closing(sqlite3.connect(copy)) as db:
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + (content == 'newer')}")
    if content == "damaged":
        pages = copy.read_bytes()
        copy.write_bytes(pages[: len(pages) // 2])
    before = stored(tmp_path)
    with pytest.raises(StoreError, match=says if content != "damaged" else "copy"):
        restore(copy, tmp_path / NAME, START)
    assert stored(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root restores for another user")
@pytest.mark.parametrize("content", ["nonsense", ""])
async def test_a_refused_copy_leaves_no_database_where_there_was_none(tmp_path: Path, content: str) -> None:
    copy, path = tmp_path / "copy", tmp_path / "new" / NAME
    copy.write_text(content, "utf-8")
    with pytest.raises(StoreError):
        restore(copy, path, START)
    with pytest.raises(StoreError):
        restore(tmp_path / "missing", path, START)
    assert [*path.parent.iterdir()] == []


async def test_what_root_restores_belongs_to_the_receivers_user(tmp_path: Path) -> None:
    await opened(tmp_path, "A")
    backup(tmp_path / NAME, tmp_path / "copy")
    for name in (NAME, f"{NAME}.lock"):
        os.chown(tmp_path / name, 12345, 12345)
    restore(tmp_path / "copy", tmp_path / NAME, START)
    assert {(tmp_path / name).stat().st_uid for name in (NAME, f"{NAME}.lock")} == {12345}


@pytest.mark.parametrize("schema", [2, 6])
async def test_an_upgrade_keeps_the_file_that_it_found(
    tmp_path: Path, schema: int, caplog: pytest.LogCaptureFixture
) -> None:
    older(tmp_path, f"schema_{schema}")
    with closing(sqlite3.connect(tmp_path / NAME)) as db:
        before = list(db.iterdump())
    with caplog.at_level(logging.INFO):
        store = await a_store(tmp_path, Clock())
    await store.close()
    copy = tmp_path / f"{NAME}.schema-{schema}"
    assert str(copy) in caplog.text
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema,)
        assert list(db.iterdump()) == before
    restore(copy, tmp_path / NAME, START)
    with closing(sqlite3.connect(tmp_path / NAME)) as db:
        assert list(db.iterdump()) == before


async def test_a_file_of_today_is_not_copied_at_each_start(tmp_path: Path) -> None:
    for _ in range(2):
        await opened(tmp_path)
    assert set(stored(tmp_path)) == {NAME, f"{NAME}.lock"}


async def test_without_room_for_the_copy_there_is_no_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(tmp_path, "schema_6")

    def full(_part: Path, _path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "replace", full)
    with pytest.raises(StoreError, match="free space"):
        await a_store(tmp_path, Clock())
    with closing(sqlite3.connect(tmp_path / NAME)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (6,)
    assert not [name for name in stored(tmp_path) if name.endswith(".part")]


async def test_the_commands_copy_and_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await opened(tmp_path, "A")
    place = ["--config.file", str(EXAMPLE), "--database", str(tmp_path / NAME)]
    assert main(["backup", *place, "--to", str(tmp_path / "copy")]) == 0
    await opened(tmp_path, "B")
    assert main(["restore", *place, "--from", str(tmp_path / "copy")]) == 0
    assert titles(tmp_path / NAME) == {"A"}
    assert f"{NAME}.before-" in capsys.readouterr().out
    assert main(["backup", *place, "--to", str(tmp_path / "copy")]) == 1
    assert "exists" in capsys.readouterr().err


def test_the_upgrade_notes_have_every_schema() -> None:
    notes = Path("docs/upgrade.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", notes, re.MULTILINE) == [str(n) for n in range(1, SCHEMA_VERSION + 1)]


async def test_the_command_copies_whole_transactions_under_load(tmp_path: Path) -> None:
    """A process of its own, while the store commits as fast as it can."""
    store = await a_store(tmp_path, Clock())
    fired, stop = 0, asyncio.Event()

    async def fire(number: int) -> None:
        group = received(an_alert(f"T{number}"))
        await store.update(type(group)(of_group(group, f"{KEY}{number}")), the_policy(), START)

    async def load() -> None:
        nonlocal fired
        while not stop.is_set():
            await asyncio.gather(*(fire(fired + n) for n in range(8)))
            fired += 8

    loading = asyncio.ensure_future(load())
    for number in range(2):
        before, copy = fired, tmp_path / f"copy-{number}"
        options = [f"--config.file={EXAMPLE}", f"--database={tmp_path / NAME}", f"--to={copy}"]
        command = [sys.executable, "-m", "receiver", "backup", *options]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        with closing(sqlite3.connect(copy)) as db:
            (incidents,) = db.execute("SELECT count(*) FROM incident").fetchone()
            owed = db.execute("SELECT count(DISTINCT incident_id) FROM outbox").fetchone()
            told = db.execute("SELECT count(DISTINCT incident_id) FROM timeline").fetchone()
        assert before <= incidents <= fired + 8
        assert owed == told == (incidents,)  # an incident and what it owes are one transaction
    assert fired > 100
    stop.set()
    await loading
    await store.close()
