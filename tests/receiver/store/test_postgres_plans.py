"""History slows nothing in PostgreSQL either: no statement reads much of a table that grows with the years."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from receiver.incident.event import Resolve
from receiver.incident.model import Origin
from receiver.store.access import Session, Token
from receiver.store.audit import Act
from receiver.store.past import Past
from receiver.store.postgres.connection import PostgresConnection
from receiver.store.postgres.dialect import bound, translated
from receiver.store.sql import row
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import START, Clock, an_alert, beside, deciding, received, the_policy
from tests.receiver.store.test_plans import handling, use
from tests.receiver.stores import the_store

pytestmark = pytest.mark.postgres

PAST = 3000  # incidents that are over, each with what it has sent and what has happened to it
MUCH = 300  # rows that one part of a statement may read: what is open here is some ten
CALLS = 2  # of each statement that are explained: the first may find nothing
CUSTOM, GENERIC = "force_custom_plan", "force_generic_plan"  # of these values, and of any: PostgreSQL takes either
GROWS = {"incident", "outbox", "timeline", "alike", "audit", "form"}
TYPES: dict[type, str] = {int: "bigint", bool: "boolean", float: "float8", bytes: "bytea"}
ASKED = re.compile(
    r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)\b(?!.*(set_config|pg_advisory|last_commit|get_byte))", re.DOTALL
)
FILL = f"""
INSERT INTO incident SELECT n, 'old-' || n, 'resolved', 'P1', opened_at - 1e7 + n, NULL, opened_at - 1e7 + n,
        convert_to(jsonb_set(convert_from(doc, 'UTF8')::jsonb, '{{id}}', to_jsonb(n))::text, 'UTF8')
    FROM incident, generate_series(2, {PAST}) n WHERE id = 1;
INSERT INTO outbox (incident_id, lane, channel, address, kind, round, serial, priority, notification, created_at,
    not_before, state, settled_at, ref, rank)
    SELECT n, lane, channel, address, kind, round, serial, priority, notification, created_at - 1e7, not_before - 1e7,
        'sent', created_at - 1e7, CASE WHEN n % 2 = 0 THEN '*' || n ELSE 'r' || n END, rank
    FROM outbox, generate_series(2, {PAST}) n WHERE incident_id = 1;
INSERT INTO timeline (incident_id, at, kind, text, actor, data)
    SELECT n, at - 1e7, kind, text, actor, data FROM timeline, generate_series(2, {PAST}) n WHERE incident_id = 1;
INSERT INTO alike SELECT 'Old' || n, 'backend', n FROM generate_series(2, {PAST}) n;
INSERT INTO audit (at, actor, via, ip, act, object, before, after)
    SELECT n, 'linh', 'x', '', 'x', 'incident/' || n, '', '' FROM generate_series(2, {PAST}) n;
INSERT INTO form SELECT 'old-' || n, 4e9, n FROM generate_series(2, {PAST}) n;
ANALYZE
"""  # noqa: S608  # our own text


class Explainer:
    """Explains each statement before it is executed, with the plan of its values and with the one for any."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.complaints: dict[str, set[str]] = {}
        self._names = itertools.count()

    def explain(self, db: PostgresConnection, statement: str, parameters: object) -> None:
        self.calls[statement] = self.calls.get(statement, 0) + 1
        if self.calls[statement] > CALLS:
            return
        made = translated(statement)
        values = bound(made.order, parameters)  # type: ignore[arg-type]  # as execute gets them
        for mode in (CUSTOM, GENERIC) if self.calls[statement] == 1 else (GENERIC,):
            for node in self._nodes(db, made.sql, values, mode):
                if (complaint := _complaint(node)) is not None:
                    self.complaints.setdefault(statement, set()).add(f"{mode}: {complaint}")

    def _nodes(self, db: PostgresConnection, statement: str, values: list[Any], mode: str) -> Iterator[dict[str, Any]]:
        name, cursor = f"explained_{next(self._names)}", psycopg.ClientCursor(db.raw)
        types = ", ".join(TYPES.get(type(value), "unknown") for value in values)
        literals = sql.SQL(", ").join(sql.Literal(value) for value in values)
        changes = not statement.lstrip().startswith("SELECT")
        if changes:
            cursor.execute("SAVEPOINT explaining")
        cursor.execute(f"SET plan_cache_mode = {mode}".encode())
        cursor.execute(f"PREPARE {name}{f'({types})' if values else ''} AS {statement}".encode())
        executed = sql.SQL("EXECUTE {}({})" if values else "EXECUTE {}").format(sql.Identifier(name), literals)
        explained = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {}").format(executed)
        row = cursor.execute(explained).fetchone()
        if changes:
            cursor.execute("ROLLBACK TO explaining")
        assert row is not None
        yield from _all(row[0][0]["Plan"])


def _all(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _all(each)


def _complaint(node: dict[str, Any]) -> str | None:
    table = node.get("Relation Name")
    if table not in GROWS or node["Node Type"] in {"ModifyTable", "Bitmap Heap Scan"}:
        return None
    given = node["Actual Rows"] * node["Actual Loops"]
    removed = node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
    what = f"{node['Node Type']} of {table} by {node.get('Index Name')}: {given} rows, {removed} in vain"
    if node["Node Type"] == "Seq Scan" or given + removed > MUCH or removed > 10 * max(given, 5):
        return what
    return None


@contextmanager
def explaining(monkeypatch: pytest.MonkeyPatch) -> Iterator[Explainer]:
    explainer, execute = Explainer(), PostgresConnection.execute

    def explained(self: PostgresConnection, statement: str, parameters: object = (), /) -> object:
        if ASKED.match(statement):
            explainer.explain(self, statement, parameters)
        return execute(self, statement, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresConnection, "execute", explained)
        # psycopg ends all prepared statements after ROLLBACK TO, and in a pipeline also those that it still uses.
        patched.setattr(PostgresConnection, "pipelined", lambda _: nullcontext())
        yield explainer


async def beside_incidents(store: SQLStore, clock: Clock) -> None:
    """Call what is not of incidents."""
    act = Act(clock.now, "linh", "session", "", "x", "incident/5")
    day = timedelta(days=1)
    session = Session("linh", "Linh", "basic", clock.now, clock.now, clock.now + day, "", "")
    made = await store.access.begin_session(b"a" * 32, session, act)
    await store.access.session(b"a" * 32, clock.now)
    await store.access.session_numbered(made.id, clock.now)
    await store.access.seen_session(made.id, clock.now, "")
    await store.access.sessions(clock.now, 50)
    await store.access.end_session(made.id, act)
    await store.access.add_token(b"b" * 32, Token("a", "read", "", clock.now), act)
    await store.access.token(b"b" * 32)
    await store.access.audit(None, 20)
    await store.access.audit(None, 20, "incident/5")
    for what in Past:
        await store.past.forget(what, START - 900 * day, 20)
    await store.hooks.place("a")
    await store.silences.of_incident(1)
    await store.silences.running()


@pytest.fixture
async def filled(tmp_path: Path) -> tuple[Path, Clock]:
    clock = Clock()
    store = the_store(tmp_path, clock, handling=handling)
    await store.open(clock.now)
    incident = await store.update(received(an_alert()), the_policy(), clock.now)
    assert incident is not None
    await store.apply(incident.id, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    await store.close()
    with beside(tmp_path) as db:
        assert isinstance(db, PostgresConnection)
        for statement in FILL.split(";"):
            db.raw.execute(statement.encode())
    clock.forward(days=1)
    return tmp_path, clock


async def test_no_statement_reads_much_of_what_is_past(
    filled: tuple[Path, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, clock = filled
    with explaining(monkeypatch) as explainer:
        store = the_store(folder, clock, handling=handling)
        await store.open(clock.now)
        await use(store, clock)
        await beside_incidents(store, clock)
        await store.close()
    assert len(explainer.calls) > 100
    assert explainer.complaints == {}, explainer.complaints


async def test_a_statement_that_reads_much_is_found(
    filled: tuple[Path, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    with explaining(monkeypatch) as explainer, beside(filled[0]) as db:
        found = ["SELECT id FROM incident WHERE priority = 'P2'", "SELECT count(*) FROM timeline WHERE seq > ?"]
        for statement in found:
            db.execute(statement, (1,) if "?" in statement else ()).fetchall()
        db.execute("SELECT id FROM incident WHERE key = 'old-5'").fetchall()
    assert list(explainer.complaints) == found


async def test_alerts_are_looked_up_one_by_one_before_there_are_statistics(tmp_path: Path) -> None:
    """A storm on a quiet installation comes before statistics: each group would look through all that fires."""
    store = the_store(tmp_path, Clock())
    await store.open(START)
    with beside(tmp_path) as database:
        assert isinstance(database, PostgresConnection)
        database.execute("INSERT INTO member SELECT 'one', 'f' || n, n FROM generate_series(1, 5000) n")
        asked = translated(f"EXPLAIN (ANALYZE) {row._OWNERS}")  # noqa: SLF001  # as Known asks it
        cursor = psycopg.RawCursor(database.raw)
        cursor.execute(asked.sql, bound(asked.order, ("one", '["f17", "f18", "other"]')))
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "member" in plan
    assert "Rows Removed by Filter" not in plan, plan
    await store.close()
