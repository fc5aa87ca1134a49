"""Erases a person from the SQLite file, and from what is free in it.

What SQLite has freed before keeps its bytes until `tidy` has rewritten the file (sqlite.org/lang_vacuum.html).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from receiver.store.access import Erased
from receiver.store.audit import Act
from receiver.store.sql.connection import Connection
from receiver.store.sql.erase import committed, made
from receiver.store.sql.queue import Change
from receiver.store.sqlite.beside import opened
from receiver.store.sqlite.file import transaction
from receiver.store.sqlite.queue import Writer


def erase(path: Path, person: str, texts: Iterable[str], act: Act) -> Erased:
    """Do all of it beside a receiver that runs or not; StoreError if the database cannot be used."""
    with opened(path) as db:
        db.execute("PRAGMA secure_delete=ON")

        def make(change: Change) -> object:
            with transaction(db):
                return change(db)

        erased = made(make, person, texts, act)
        return msgspec.structs.replace(erased, tidied=tidy(db))


class SQLiteErase:
    """See receiver.store.erase.EraseStore; ``begun`` is called once their sessions and tokens have ended."""

    def __init__(self, writer: Writer, begun: Callable[[], None]) -> None:
        self._writer, self._begun = writer, begun

    async def erase(self, person: str, texts: Iterable[str], act: Act) -> Erased:
        before = await self._writer.run(lambda db: db.execute("PRAGMA secure_delete").fetchone()[0])
        await self._writer.run(lambda db: db.execute("PRAGMA secure_delete=ON"))
        try:
            erased = await committed(self._writer.commit, person, texts, act, self._begun)
            return msgspec.structs.replace(erased, tidied=await self._writer.run(tidy))
        finally:
            await self._writer.run(lambda db: db.execute(f"PRAGMA secure_delete={int(before)}"))


def tidy(db: Connection) -> bool:
    """Rewrite the file without what was freed, and empty the log of the latest commits; False if that is in use."""
    db.execute("VACUUM")
    return not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
