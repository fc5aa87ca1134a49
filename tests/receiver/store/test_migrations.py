"""Files that older receivers wrote: every incident of theirs goes on where it stood, and half an upgrade is none."""

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.incident.delivery import rank
from receiver.incident.event import AlertsReceived, Resolve, TimeDue
from receiver.incident.model import Incident, Kind, Origin, Priority, State, Step
from receiver.messages.i18n import Reader
from receiver.messages.timeline import entry_text
from receiver.store.base import StoreError
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.migrations import SCHEMA_VERSION, from_2
from receiver.store.sqlite.store import SQLiteStore
from tests.receiver.example_site import (
    MINUTE,
    P5,
    START,
    Clock,
    a_store,
    an_alert,
    beside_file,
    deciding,
    received,
    with_p5,
)

pytestmark = pytest.mark.sqlite("the schemas of its files")

DATA = Path(__file__).parent / "data"
WRITTEN = START + timedelta(hours=1, minutes=12, seconds=1)  # when the file of schema 2 was closed
OLDER = {"schema_2": 2, "schema_6": 6, "schema_7": 7, "schema_8": 8}


@pytest.fixture
def clock() -> Clock:
    at = Clock()
    at.now = WRITTEN
    return at


def older(folder: Path, name: str) -> None:
    with closing(sqlite3.connect(folder / "receiver.sqlite3")) as db, db:
        db.executescript(f"BEGIN; {(DATA / f'{name}.sql').read_text('utf-8')} COMMIT;")  # one fsync


def sql(db: sqlite3.Connection, table: str) -> str:
    return str(db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]).replace(",\n", "\n")


def documents(folder: Path) -> list[tuple[int, bytes]]:
    with beside_file(folder) as db:
        return db.execute("SELECT id, doc FROM incident ORDER BY id").fetchall()


async def every(store: SQLStore) -> dict[str, Incident]:
    return {incident.key.partition("|")[2]: incident for incident in await store.incidents(None, 100)}


async def test_every_incident_of_schema_2_stands_where_it_stood(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    store = await a_store(tmp_path, clock)
    incident_of_title = await every(store)
    await store.close()
    with beside_file(tmp_path) as db:
        rows = dict(db.execute("SELECT id, wake_at FROM incident").fetchall())
    assert {i.id: i.wake_at.timestamp() if i.wake_at else None for i in incident_of_title.values()} == rows
    assert len(incident_of_title) == 14
    escalated = incident_of_title["Escalated"]
    assert escalated.plan.steps[1] == Step(900.0, ("tech-lead",))
    assert (escalated.plan.response_time, escalated.plan.repeat_every) == (900.0, 1200.0)
    assert (escalated.plan.warn_after, escalated.plan.acknowledge_for) == (720.0, 1800.0)
    assert (escalated.next_step, escalated.delivery.rounds, escalated.delivery.serial) == (3, 3, 2)
    assert escalated.clocks.started_at == escalated.opened_at
    assert [t.person for t in escalated.delivery.told if t.channel == "email"] == ["Linh", "Marek", "Aisha"]
    assert escalated.delivery.reached == ("Aisha",)
    assert escalated.delivery.paged_at == escalated.delivery.delivered_at == escalated.opened_at + 30 * MINUTE  # type: ignore[operator]
    reminded = incident_of_title["Reminded"]
    assert (reminded.state, reminded.acknowledged_by) == (State.ACKNOWLEDGED, "Linh")
    assert reminded.clocks.remind_due_at is None
    assert reminded.clocks.acknowledged_until == reminded.opened_at + 30 * MINUTE  # type: ignore[operator]
    assert incident_of_title["Flapping"].flapping
    assert incident_of_title["Flapping"].clocks.quiet_until is not None
    assert incident_of_title["Grown"].delivery.grown
    assert incident_of_title["Held"].held
    assert incident_of_title["Silenced"].paused is not None
    assert incident_of_title["Silenced"].clocks.next_due_at == incident_of_title["Silenced"].opened_at + 15 * MINUTE  # type: ignore[operator]
    assert incident_of_title["Undelivered"].delivery.round_lanes


async def test_every_field_of_a_document_is_one_of_todays(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    await (await a_store(tmp_path, clock)).close()
    for _, doc in documents(tmp_path):
        again = msgspec.json.encode(msgspec.json.decode(doc, type=Incident))
        assert _without_empty(msgspec.json.decode(doc)) == _without_empty(msgspec.json.decode(again))


def _without_empty(doc: dict[str, object]) -> dict[str, object]:
    """A part that an old document did not have is written in full by a new one."""
    return {k: _without_empty(v) if isinstance(v, dict) else v for k, v in doc.items() if v not in ({}, [], None, "")}


async def test_an_old_timeline_reads_as_it_was_written(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    with beside_file(tmp_path) as db:
        query = "SELECT kind, text, actor FROM timeline WHERE incident_id = 1 ORDER BY seq"
        written = db.execute(query).fetchall()
    store = await a_store(tmp_path, clock)
    stored = await store.incident(1)
    assert stored is not None
    read = [(entry.kind, entry.text, entry.actor) for entry in stored[1]]
    assert read[: len(written)] == written
    assert {kind for kind, _, _ in written} >= {"opened", "paged", "told"}
    lines = [entry_text(entry, Reader("de")) for entry in stored[1]]
    assert all(line.startswith(text) for line, (_, text, _) in zip(lines, written, strict=False))
    before = len(lines)
    await store.apply(1, deciding(Resolve("linh", Origin.API), clock.now), clock.now)
    after = (await store.incident(1) or ((), ()))[1]
    await store.close()
    assert [entry.data.origin for entry in after[before:]] == [Origin.API]


async def test_what_was_owed_is_owed_and_what_was_being_sent_is_sent_again(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    with beside_file(tmp_path) as db:
        states = db.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall()
    assert dict(states) == {"cancelled": 12, "dead": 5, "pending": 22, "sending": 1, "sent": 51}
    store = await a_store(tmp_path, clock)
    owed = await store.claim("email", clock.now + 5 * MINUTE, 60, 100)
    await store.close()
    assert [(c.attempt, c.notification.kind) for c in owed if c.incident.key == "receiver|Fresh"] == [(2, Kind.PAGE)]
    assert "receiver|ResolvedByAlerts" not in {c.incident.key for c in owed}


async def test_what_was_open_goes_on(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    store = await a_store(tmp_path, clock)
    for number in await store.due(clock.now + timedelta(days=1)):
        stored = await store.incident(number)
        assert stored is not None
        assert stored[0].wake_at is not None
        await store.apply(number, deciding(TimeDue(), stored[0].wake_at), stored[0].wake_at)
    found_now = await every(store)
    await store.close()
    assert found_now["Flapping"].state is State.RESOLVED
    assert found_now["Silenced"].paused is None
    assert found_now["Reminded"].state is State.TRIGGERED  # nobody has said that they are still at it
    assert found_now["InMaintenance"].delivery.rounds == 1
    assert (found_now["Held"].held, found_now["Held"].delivery.serial) == (True, 1)  # those who were told are warned


async def test_a_file_is_moved_once(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    for _ in range(2):
        await (await a_store(tmp_path, clock)).close()
        with beside_file(tmp_path) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    moved = documents(tmp_path)
    with beside_file(tmp_path) as db:
        from_2.upgrade(db)
    assert documents(tmp_path) == moved


async def test_names_become_keys_where_they_fit_one_person(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    older(tmp_path, "schema_2")
    store = SQLiteStore(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(clock.now, {"Linh": "linh", "Aisha": "marek"})  # Marek is not configured, or two are called so
    incident_of_title = await every(store)
    owed = await store.claim("email", clock.now + 5 * MINUTE, 60, 100)
    timeline = (await store.incident(incident_of_title["Reminded"].id) or ((), ()))[1]
    await store.close()
    escalated = incident_of_title["Escalated"].delivery
    assert [t.person for t in escalated.told if t.channel == "email"] == ["linh", "Marek", "marek"]
    assert escalated.reached == ("marek",)
    assert incident_of_title["Reminded"].acknowledged_by == "linh"
    assert incident_of_title["ResolvedByAlerts"].resolved_by == "alerts"
    assert {c.notification.target.person for c in owed} <= {"linh", "Marek", "marek"}
    assert "linh" in {entry.actor for entry in timeline}
    with beside_file(tmp_path) as db:
        left = db.execute("SELECT count(*) FROM outbox WHERE CAST(notification AS TEXT) GLOB '*\"Linh\"*'").fetchone()
        assert left == (0,)
        assert db.execute("SELECT count(*) FROM timeline WHERE actor = 'Linh'").fetchone() == (0,)
    (line,) = caplog.messages
    assert "'Marek'" in line
    assert "'Linh'" not in line
    assert "alerts" not in line


async def test_half_an_upgrade_is_none(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_2")
    with beside_file(tmp_path) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON incident WHEN NEW.id = 9 BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    before = documents(tmp_path)
    with pytest.raises(StoreError, match="disk full"):
        await a_store(tmp_path, clock)
    with beside_file(tmp_path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    assert documents(tmp_path) == before


@pytest.mark.parametrize("name", ["schema_7", "schema_8"])
async def test_a_file_of_schema_7_or_8_keeps_its_rows(tmp_path: Path, clock: Clock, name: str) -> None:
    older(tmp_path, name)
    tables = ("member", "timeline", "alike", "outbox")
    counted = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables)  # noqa: S608
    with beside_file(tmp_path) as db:
        before, rows = documents(tmp_path), db.execute(counted).fetchall()
    await (await a_store(tmp_path, clock)).close()
    assert documents(tmp_path) == before
    with beside_file(tmp_path) as db:
        assert db.execute(counted).fetchall() == rows
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


async def test_a_file_of_schema_6_keeps_its_rows_and_takes_a_fifth_priority(tmp_path: Path, clock: Clock) -> None:
    older(tmp_path, "schema_6")
    counted = "SELECT priority, kind, state, count(*) FROM outbox GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    with beside_file(tmp_path) as db:
        before, rows = documents(tmp_path), db.execute(counted).fetchall()
    store = await a_store(tmp_path, clock)
    assert documents(tmp_path) == before
    with beside_file(tmp_path) as db:
        assert db.execute(counted).fetchall() == rows
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        for kind, priority, place in db.execute("SELECT DISTINCT kind, priority, rank FROM outbox"):
            assert place == rank(Kind(kind), Priority(priority))
    fired = msgspec.structs.replace(received(an_alert(priority="P5")).group, key="receiver|Least")
    opened = await store.update(AlertsReceived(fired), with_p5(), clock.now)
    owed = await store.claim("email", clock.now, 60, 100)
    await store.close()
    assert opened is not None
    assert opened.priority is P5
    assert [c.priority for c in owed if c.incident.id == opened.id] == [P5]
    with beside_file(tmp_path) as db, pytest.raises(sqlite3.IntegrityError, match="priority"):
        db.execute("UPDATE incident SET priority = 'P6'")


@pytest.mark.parametrize("name", OLDER)
async def test_an_older_file_gets_the_tables_and_indexes_of_a_new_one(tmp_path: Path, clock: Clock, name: str) -> None:
    shapes = []
    for folder in (tmp_path / "old", tmp_path / "new"):
        folder.mkdir()
        if folder.name == "old":
            older(folder, name)
        await (await a_store(folder, clock)).close()
        with beside_file(folder) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
            columns = {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}
            indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 1").fetchall()
            checks = {t: sorted(re.findall(r"CHECK .*|REFERENCES|AUTOINCREMENT", sql(db, t))) for t in tables}
        shapes.append((columns, checks, [(index, " ".join((text or "").split())) for index, text in indexes]))
    assert shapes[0] == shapes[1]
