"""The SQLite file, as a command uses it."""

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from receiver.store.access import Erased
from receiver.store.audit import Act
from receiver.store.sqlite.beside import beside
from receiver.store.sqlite.erase import erase
from receiver.store.sqlite.file import SQLiteConnection
from receiver.store.sqlite.history import SQLiteHistory


class SQLiteDatabase:
    """See receiver.store.command.CommandDatabase."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def history(self) -> SQLiteHistory:
        return SQLiteHistory(self._path)

    def change(self) -> AbstractContextManager[SQLiteConnection]:
        return beside(self._path)

    def erase(self, person: str, texts: Iterable[str], act: Act) -> Erased:
        return erase(self._path, person, texts, act)

    def described(self) -> str:
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                schema = db.execute("PRAGMA user_version").fetchone()[0]
                (count,) = db.execute("SELECT count(*) FROM incident").fetchone()
            size = self._path.stat().st_size
        except (sqlite3.Error, OSError) as error:
            return f"SQLite {sqlite3.sqlite_version}, cannot be read ({error})"
        return f"SQLite {sqlite3.sqlite_version}, schema {schema}, {size:,} bytes, {count:,} incidents"
