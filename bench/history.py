"""Fills a receiver's database with incidents that are over, by SQL: hundreds of thousands in a minute or two.

One incident is told through the store as a real one (it fires, is paged, is acknowledged, resolves); its rows are then
written again and again, under other numbers, keys, fingerprints and times.
"""

import asyncio
import random
import sqlite3
import tempfile
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bench.receiver_storm import payload
from receiver.incident.event import Acknowledge, AlertsReceived, Delivered, Event
from receiver.incident.machine import transition
from receiver.incident.model import Decision, Incident, Origin
from receiver.policy.routing import Routing
from receiver.store.base import Decide
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.alertmanager_payload import parse

GROUPS = 20_000  # as many alert groups come again and again
_NUMBER = 424_242  # of the group that is copied: found in its key and its fingerprints
_SEED = 7
_YEAR, _OLD = timedelta(days=365), timedelta(days=2)
_BATCH = 2000
_TABLES = {"incident": "id", "timeline": "incident_id", "outbox": "incident_id"}
_OWN = {"timeline": "seq", "outbox": "id"}  # numbers that the database gives


async def _tell(path: Path, routing: Routing, now: datetime) -> None:
    """Tell one incident through the store."""

    def deciding(event: Event, at: datetime) -> Decide:
        def decide(before: Incident) -> Decision:
            return transition(before, event, routing, at)

        return decide

    store = SQLiteStore(path, lambda: None)
    await store.open(now)
    for status, minutes in (("firing", 0), ("resolved", 9)):
        at = now + timedelta(minutes=minutes)
        (group,) = parse(payload(_NUMBER, "critical", status, alerts=3), at).groups
        await store.update(AlertsReceived(group), routing, at)
        for claimed in await store.claim("slack", at, 60.0, 10):
            told = Delivered(claimed.notification.round, claimed.notification.target.person)
            await store.settle(claimed, "1700000000.000100", deciding(told, at), at)
        if status == "firing":
            answered = at + timedelta(minutes=2)
            await store.apply(1, deciding(Acknowledge("linh", Origin.SLACK), answered), answered)
    await store.close()


def _copy(db: sqlite3.Connection, table: str) -> str:
    """Write the statement that copies a table's rows for everything in `made`: number, seconds earlier, group."""
    columns, values = [], []
    for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})"):
        value = f"e.{name}"
        if name == _TABLES[table]:
            value = "m.number"
        elif name == _OWN.get(table):
            continue
        elif name in {"at", "not_before"} or name.endswith("_at"):
            value = f"e.{name} - m.earlier"
        elif kind in {"TEXT", "BLOB"}:
            for old, new in ((f"{_NUMBER:06}", "%06d"), (f"{_NUMBER:012x}", "%012x")):
                value = f"replace({value}, '{old}', printf('{new}', m.grouped))"
            value = f"""CAST(replace({value}, '{{"id":1,', printf('{{"id":%d,', m.number)) AS {kind})"""
        columns.append(name)
        values.append(value)
    return f"""INSERT INTO {table} ({", ".join(columns)})
        SELECT {", ".join(values)} FROM made m CROSS JOIN example.{table} e"""  # noqa: S608  # our own names


def fill(path: Path, routing: Routing, now: datetime, count: int) -> None:
    """Add ``count`` incidents that were closed in the year before ``now`` to a database that no receiver has open."""
    chance = random.Random(_SEED)  # noqa: S311  # example data
    with tempfile.TemporaryDirectory() as name, closing(sqlite3.connect(path, isolation_level=None)) as db:
        example = Path(name) / "example.sqlite3"
        asyncio.run(_tell(example, routing, now))
        db.execute("ATTACH ? AS example", (str(example),))
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "cache_size=-200000"):
            db.execute(f"PRAGMA {pragma}")
        first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM main.incident").fetchone()[0]
        db.execute("CREATE TEMP TABLE made (number INTEGER PRIMARY KEY, earlier REAL, grouped INTEGER)")
        earlier = partial(_seconds_earlier, count=count)
        queries = [_copy(db, table) for table in _TABLES]
        for start in range(0, count, _BATCH):
            batch = range(start, min(start + _BATCH, count))
            db.execute("BEGIN")
            db.execute("DELETE FROM made")
            made = ((first + n, earlier(n), chance.randrange(GROUPS)) for n in batch)
            db.executemany("INSERT INTO made VALUES (?, ?, ?)", made)
            for query in queries:
                db.execute(query)
            db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _seconds_earlier(number: int, count: int) -> float:
    return (_OLD + (_YEAR - _OLD) * ((count - number) / count)).total_seconds()
