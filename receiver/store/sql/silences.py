"""The table of the silences that people have made in Alertmanager from incidents."""

from datetime import UTC, datetime
from functools import partial

import msgspec

from receiver.store.audit import Act
from receiver.store.silences import MadeSilence
from receiver.store.sql import audit
from receiver.store.sql.connection import Connection, Reader, Rows, Writer
from receiver.store.unreadable import Table

_COLUMNS = (
    "am_id, source, incident_id, made_by, matchers, comment, made_at, ends_at, key, replaced_by, over_at, over_by"
)
_REPLACE = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[2:])
_KEEP = f"""INSERT INTO silence ({_COLUMNS}) VALUES ({", ".join("?" * 12)})
    ON CONFLICT (source, am_id) DO UPDATE SET {_REPLACE}"""  # noqa: S608  # our own names
_OF = f"SELECT {_COLUMNS} FROM silence WHERE incident_id = ? ORDER BY made_at DESC, am_id LIMIT 100"  # noqa: S608
_RUNNING = f"SELECT {_COLUMNS} FROM silence WHERE over_at IS NULL ORDER BY made_at LIMIT 1000"  # noqa: S608
_REPLACED = "UPDATE silence SET replaced_by = ?, over_at = ? WHERE source = ? AND am_id = ? AND over_at IS NULL"
_OVER = "UPDATE silence SET over_at = ?, over_by = ? WHERE source = ? AND am_id = ? AND over_at IS NULL"


class SQLSilences:
    """See receiver.store.silences.SilenceStore."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader

    async def take_turn(self, now: datetime) -> bool:  # noqa: ARG002
        return True

    async def end_turn(self) -> None:
        pass

    async def keep(self, silence: MadeSilence, act: Act | None, replaces: str = "") -> None:
        def change(db: Connection) -> None:
            db.execute(_KEEP, _row(silence))
            if replaces and replaces != silence.id:
                at = (act.at if act is not None else silence.made_at).timestamp()
                db.execute(_REPLACED, (silence.id, at, silence.source, replaces))
            _audit(db, act, silence, msgspec.json.encode(silence).decode())

        await self._writer.commit(change, urgent=True)

    async def end(self, silence: MadeSilence, at: datetime, act: Act | None) -> bool:
        def change(db: Connection) -> bool:
            by = act.actor if act is not None else ""
            changed = db.execute(_OVER, (at.timestamp(), by, silence.source, silence.id)).rowcount > 0
            if changed:
                _audit(db, act, silence, at.isoformat())
            return changed

        return await self._writer.commit(change, urgent=True)

    async def of_incident(self, incident: int) -> tuple[MadeSilence, ...]:
        return await self._reader.run(lambda db: _all(db, db.execute(_OF, (incident,))))

    async def running(self) -> tuple[MadeSilence, ...]:
        return await self._writer.run(lambda db: _all(db, db.execute(_RUNNING)))


def _audit(db: Connection, act: Act | None, silence: MadeSilence, after: str) -> None:
    if act is not None:
        audit.write(db, msgspec.structs.replace(act, object=f"silence/{silence.id}", after=after))


def _row(silence: MadeSilence) -> tuple[object, ...]:
    matchers = msgspec.json.encode(silence.matchers).decode()
    times = silence.made_at.timestamp(), silence.ends_at.timestamp()
    over = silence.over_at.timestamp() if silence.over_at else None
    head = (silence.id, silence.source, silence.incident, silence.made_by, matchers, silence.comment)
    return (*head, *times, silence.key, silence.replaced_by, over, silence.over_by)


def _all(db: Connection, rows: Rows) -> tuple[MadeSilence, ...]:
    read = (db.unreadable.read(Table.SILENCE, row[:2], partial(_read, row)) for row in rows)
    return tuple(one for one in read if one is not None)


def _read(row: tuple[object, ...]) -> MadeSilence:
    columns = dict(zip(MadeSilence.__struct_fields__, row, strict=True))
    for name in ("made_at", "ends_at", "over_at"):
        at = columns[name]
        columns[name] = datetime.fromtimestamp(at, UTC) if isinstance(at, float) else None
    columns["matchers"] = msgspec.json.decode(str(columns["matchers"]))
    return msgspec.convert(columns, MadeSilence)
