"""Fills a receiver's database with incidents that are over, by SQL: hundreds of thousands in a minute or two.

One incident is told through the store as a real one (it fires, is paged, is acknowledged, resolves); its rows are then
written again and again, under other numbers, keys, fingerprints and times.
"""

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
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
_Example = tuple[sqlite3.Connection, int]
# table -> the column with the incident's number
_TABLES = {"incident": "id", "timeline": "incident_id", "outbox": "incident_id", "alike": "incident_id"}
_TABLES["member"] = "incident_id"  # those of open incidents
_REAL = 20_000  # closed incidents that are written one by one; the others repeat them
_OWN = {"timeline": "seq", "outbox": "id"}  # numbers that the database gives


async def _open(path: Path, routing: Routing, now: datetime) -> None:
    """Open one incident that tells nobody, through the store."""
    store = SQLiteStore(path, lambda: None)
    await store.open(now)
    (group,) = parse(payload(_NUMBER, "none", alerts=1), now).groups
    await store.update(AlertsReceived(group), routing, now)
    await store.close()


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
    with _with_example(path, partial(_tell, routing=routing, now=now)) as (db, first):
        _write(db, [(first + n, _seconds_earlier(n, count), chance.randrange(GROUPS)) for n in range(count)])


def fill_open(path: Path, routing: Routing, now: datetime, count: int) -> None:
    """Add ``count`` open incidents of groups that nobody has heard of, opened at ``now``."""
    with _with_example(path, partial(_open, routing=routing, now=now)) as (db, first):
        _write(db, [(first + n, 0.0, GROUPS + n) for n in range(count)])


def fill_packed(path: Path, routing: Routing, now: datetime, count: int) -> None:
    """Add ``count`` closed incidents as they are after a day, compressed: quicker, for their documents repeat."""
    fill(path, routing, now, min(count, _REAL))
    asyncio.run(_pack(path, now))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        _hurry(db)
        (last,) = db.execute("SELECT max(id) FROM incident").fetchone()
        first = last - min(count, _REAL)
        for offset in range(_REAL, count, _REAL):
            db.execute("BEGIN")
            for table, number in _TABLES.items():
                _repeat(db, table, number, (offset, first, min(last, first + count - offset)))
            db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _pack(path: Path, now: datetime) -> None:
    store = SQLiteStore(path, lambda: None)
    await store.open(now)
    while await store.pack(now, 500):
        pass
    await store.close()


def _repeat(db: sqlite3.Connection, table: str, number: str, between: tuple[int, int, int]) -> None:
    columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})") if name != _OWN.get(table)]
    values = [f"{name} + ?" if name == number else name for name in columns]
    query = f"""INSERT INTO {table} ({", ".join(columns)})
        SELECT {", ".join(values)} FROM {table} WHERE {number} > ? AND {number} <= ?"""  # noqa: S608  # our own names
    db.execute(query, between)


def _hurry(db: sqlite3.Connection) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=OFF", "cache_size=-200000"):
        db.execute(f"PRAGMA {pragma}")


@contextmanager
def _with_example(path: Path, tell: Callable[[Path], Coroutine[None, None, None]]) -> Iterator[_Example]:
    """Open a database with one incident beside it, told by ``tell``; gives the first number that is free."""
    with tempfile.TemporaryDirectory() as name, closing(sqlite3.connect(path, isolation_level=None)) as db:
        example = Path(name) / "example.sqlite3"
        asyncio.run(tell(example))
        db.execute("ATTACH ? AS example", (str(example),))
        _hurry(db)
        db.execute("CREATE TEMP TABLE made (number INTEGER PRIMARY KEY, earlier REAL, grouped INTEGER)")
        yield db, db.execute("SELECT coalesce(max(id), 0) + 1 FROM main.incident").fetchone()[0]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write(db: sqlite3.Connection, made: Sequence[tuple[int, float, int]]) -> None:
    """Write a copy of the example for each: its number, by how many seconds it is earlier, and its group."""
    queries = [_copy(db, table) for table in _TABLES]
    for start in range(0, len(made), _BATCH):
        db.execute("BEGIN")
        db.execute("DELETE FROM made")
        db.executemany("INSERT INTO made VALUES (?, ?, ?)", made[start : start + _BATCH])
        for query in queries:
            db.execute(query)
        db.execute("COMMIT")


def _seconds_earlier(number: int, count: int) -> float:
    return (_OLD + (_YEAR - _OLD) * ((count - number) / count)).total_seconds()
