"""The table of how far each outgoing webhook has come in the timelines."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar

from receiver.incident.model import EntryKind, Incident
from receiver.store.hooks import Line
from receiver.store.sql import row
from receiver.store.sql.connection import Connection, Reader, Writer

_CHUNK = 1000  # lines that are looked at in one reading: a few milliseconds
_PLACE = "SELECT seq FROM hook WHERE name = ?"
_BEGIN = "INSERT INTO hook SELECT ?, coalesce(max(seq), 0) FROM timeline WHERE true ON CONFLICT DO NOTHING"
_MOVE = "UPDATE hook SET seq = ?1 WHERE name = ?2 AND seq < ?1"  # who led before and was stopped moves nothing back
_LINES = "SELECT seq, incident_id, at, kind, data, actor, text FROM timeline WHERE seq > ? ORDER BY seq LIMIT ?"
_AGES = "SELECT seq, at, kind FROM timeline WHERE seq > ? ORDER BY seq LIMIT ?"
T = TypeVar("T")


class SQLHooks:
    """See receiver.store.hooks.HookStore."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader

    async def place(self, name: str) -> int:
        def known(db: Connection) -> int | None:
            columns = db.execute(_PLACE, (name,)).fetchone()
            return int(columns[0]) if columns else None

        def begin(db: Connection) -> int:
            db.execute(_BEGIN, (name,))
            return known(db) or 0

        place = await self._writer.run(known)  # which also works while nothing can be written
        return await self._writer.commit(begin) if place is None else place

    async def lines(self, after: int, kinds: Collection[EntryKind], limit: int) -> tuple[Sequence[Line], int]:
        return await self._reader.run(lambda db: _lines(db, after, kinds, limit))

    async def move(self, name: str, to: int) -> None:
        await self._writer.commit(lambda db: db.execute(_MOVE, (to, name)))

    async def count_before(self, after: int, kinds: Collection[EntryKind], moment: datetime) -> tuple[int, int]:
        def read(db: Connection) -> tuple[int, int]:
            count = 0
            last = after
            for seq, at, kind in db.execute(_AGES, (after, _CHUNK)):
                if at >= moment.timestamp():
                    break
                count, last = count + (kind in kinds), seq
            return count, last

        return await self._reader.run(read)


def _lines(db: Connection, after: int, kinds: Collection[EntryKind], limit: int) -> tuple[list[Line], int]:
    lines = list[Line]()
    incidents = dict[int, Incident | None]()
    last = after
    for seq, number, at, kind, data, actor, text in db.execute(_LINES, (after, _CHUNK)).fetchall():
        if kind in kinds:
            if len(lines) == limit:
                break
            if number not in incidents:  # that of 10,000 alerts is large
                incidents[number] = row.legible(db, number)
            if (incident := incidents[number]) is not None:
                lines.append(Line(seq, row.entry(db, seq, at, kind, data, actor, text), incident))
        last = seq
    return lines, last
