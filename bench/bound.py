"""What the disk and SQLite take of the webhooks' rows by themselves: the bounds of every receiver on this machine."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench.receiver_storm import payload
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.event import AlertsReceived
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.alertmanager_payload import parse

PAGES, PAGE = 15, 4096  # that a webhook of a new incident writes into SQLite's write-ahead log (docs/scaling.md)
WRITE_AHEAD = 4 << 20  # bytes; SQLite begins its log anew at about so many
TABLES = {"incident": "id", "member": "incident_id", "alike": "incident_id", "timeline": "incident_id"}
TABLES["outbox"] = "incident_id"
OWN = {("timeline", "seq"), ("outbox", "id")}  # numbers that the database gives


class Rate(NamedTuple):
    """Webhooks a second on the clock, and a second of CPU."""

    clock: float
    cpu: float


def _rate(seconds: float, work: Callable[[], None]) -> Rate:
    done, began, computed = 0, time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        work()
        done += 1
    return Rate(done / (time.monotonic() - began), done / max(time.process_time() - computed, 1e-6))


def syncs(folder: Path, seconds: float) -> Rate:
    """Write as many pages as a webhook does, and sync them, again and again."""
    pages = os.urandom(PAGES * PAGE)
    with (folder / "pages").open("wb", buffering=0) as file:

        def one() -> None:
            if file.tell() > WRITE_AHEAD:
                file.seek(0)
            file.write(pages)
            os.fdatasync(file.fileno())

        return _rate(seconds, one)


class Rows:
    """A database of the receiver's into which SQLite writes the rows of one webhook of a new P1 again and again."""

    def __init__(self, folder: Path, config: Path) -> None:
        path = folder / "rows.sqlite3"
        asyncio.run(self._tell(path, config))
        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._next = 1
        self._statements = [self._prepared(table, number) for table, number in TABLES.items()]

    async def _tell(self, path: Path, config: Path) -> None:
        now, store = datetime.now(UTC), SQLiteStore(path, lambda: None)
        await store.open(now)
        (group,) = parse(payload(1, "critical"), now).groups
        await store.update(AlertsReceived(group), build_routing(*load(config)), now)
        await store.close()

    def _prepared(self, table: str, number: str) -> tuple[str, list[list[object]], int, int]:
        """Give the statement that writes a table's rows, the rows, and where number and key of the incident stand."""
        with closing(self._db.execute(f"SELECT * FROM {table}")) as found:  # noqa: S608  # our own names
            names = [name for name, *_ in found.description]
            kept = [place for place, name in enumerate(names) if (table, name) not in OWN]
            rows = [[row[place] for place in kept] for row in found]
        names = [names[place] for place in kept]
        marks = ", ".join("?" * len(names))
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608
        return insert, rows, names.index(number), names.index("key") if "key" in names else -1

    def measure(self, seconds: float) -> Rate:
        """Commit one webhook after another."""
        return _rate(seconds, self._commit)

    def _commit(self) -> None:
        self._next += 1
        self._db.execute("BEGIN IMMEDIATE")
        for insert, rows, number, key in self._statements:
            for row in rows:
                row[number] = self._next
                if key >= 0:
                    row[key] = f"{{}}:{self._next}"
            self._db.executemany(insert, rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the database."""
        self._db.close()
