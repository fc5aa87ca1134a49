"""The tables of what people set for a while: covers of shifts, who is awake, maintenance windows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from receiver.oncall.cover import Changed, Cover, CoverNews, CoverState, Refused, news
from receiver.store.audit import Act
from receiver.store.duty import CoverNotice, MadeWindow
from receiver.store.sql import audit
from receiver.store.sql.act import remember, sent_before
from receiver.store.sql.connection import Connection, Reader, Writer
from receiver.store.unreadable import Table

_SET_ASIDE_FOR = timedelta(hours=1)  # until a notice that cannot be read is looked at again
_NAMES = ("schedule", "out", "person", "start", "end", "state", "made_by", "accepted_by", "reason", "pair")
_COVER = ", ".join(f'"{name}"' for name in _NAMES)  # two are words of PostgreSQL
_COVERS = f'SELECT {_COVER}, id FROM override WHERE "end" > ? ORDER BY id'  # noqa: S608  # our own names
_ADD = f"""INSERT INTO override ({_COVER})
    VALUES ({", ".join(f":{name}" for name in _NAMES)}) RETURNING id"""  # noqa: S608
_SET = ", ".join(f'"{name}" = :{name}' for name in _NAMES)
_CHANGE = f"UPDATE override SET {_SET} WHERE id = :id"  # noqa: S608
_NOTICE = """INSERT INTO cover_notice (person, news, actor, cover, created_at, not_before)
    VALUES (?, ?, ?, ?, ?, ?)"""
_NOTICES = """SELECT id, person, news, actor, cover, tries FROM cover_notice
    WHERE not_before <= ? ORDER BY not_before, id LIMIT ?"""
_PUT_OFF = "UPDATE cover_notice SET not_before = ?, tries = tries + 1 WHERE id = ?"
_MOVED = "UPDATE cover_notice SET not_before = not_before + ?"
_AWAKE = "INSERT INTO awake VALUES (?, ?) ON CONFLICT (person) DO UPDATE SET until = excluded.until"
_WINDOWS = """SELECT matchers, start, "end", made_by, reason, incident_id, id FROM "window"
    WHERE "end" > ? ORDER BY id"""
_ADD_WINDOW = """INSERT INTO "window" (matchers, start, "end", made_by, reason, incident_id)
    VALUES (?, ?, ?, ?, ?, ?) RETURNING id"""


class SQLDuty:
    """See receiver.store.duty.DutyStore."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader  # pages are shown while another program locks the database

    async def covers(self, now: datetime) -> tuple[Cover, ...]:
        return await self._reader.run(lambda db: covers(db, now))

    async def change_covers(
        self, decide: Callable[[tuple[Cover, ...]], Changed], now: datetime, act: Act, form: str = ""
    ) -> Changed:
        def change(db: Connection) -> Changed:
            known, earlier = covers(db, now), sent_before(db, form)
            if earlier is not None:
                return tuple(one for one in known if one.id == earlier or (one.pair and one.pair == earlier))
            changed = decide(known)
            return changed if isinstance(changed, Refused) else _write(db, known, changed, act, form)

        return await self._writer.commit(change, urgent=True)

    async def cover_notices(self, now: datetime, limit: int) -> Sequence[CoverNotice]:
        def read(db: Connection) -> tuple[list[CoverNotice], list[int]]:
            rows = db.execute(_NOTICES, (now.timestamp(), limit)).fetchall()
            found = {row[0]: db.unreadable.read(Table.COVER_NOTICE, row[0], partial(_notice, *row)) for row in rows}
            lost = [number for number, notice in found.items() if notice is None]
            return [notice for notice in found.values() if notice is not None], lost

        notices, lost = await self._writer.run(read)
        for number in lost:  # else it would be read again, in place of others
            await self.put_off_notice(number, now + _SET_ASIDE_FOR)
        return notices

    async def put_off_notice(self, number: int, until: datetime) -> None:
        await self._writer.commit(lambda db: db.execute(_PUT_OFF, (until.timestamp(), number)))

    async def drop_notice(self, number: int) -> None:
        await self._writer.commit(lambda db: db.execute("DELETE FROM cover_notice WHERE id = ?", (number,)))

    async def awake(self, now: datetime) -> Mapping[str, datetime]:
        query = "SELECT person, until FROM awake WHERE until > ?"

        def read(db: Connection) -> Mapping[str, datetime]:
            rows = db.execute(query, (now.timestamp(),)).fetchall()
            ends = {person: db.unreadable.read(Table.AWAKE, person, partial(_moment, until)) for person, until in rows}
            return {person: until for person, until in ends.items() if until is not None}

        return await self._reader.run(read)

    async def set_awake(self, person: str, until: datetime, act: Act) -> None:
        def change(db: Connection) -> None:
            db.execute(_AWAKE, (person, until.timestamp()))
            audit.write(db, msgspec.structs.replace(act, object=f"person/{person}", after=until.isoformat()))

        await self._writer.commit(change, urgent=True)

    async def windows(self, now: datetime) -> tuple[MadeWindow, ...]:
        return await self._reader.run(lambda db: windows(db, now))

    async def add_window(self, window: MadeWindow, most: int, act: Act, form: str = "") -> MadeWindow | None:
        def change(db: Connection) -> MadeWindow | None:
            known, earlier = windows(db, act.at), sent_before(db, form)
            if earlier is not None:
                return next((one for one in known if one.id == earlier), None)
            if len(known) >= most:
                return None
            columns = (msgspec.json.encode(window.matchers).decode(), window.start.timestamp(), window.end.timestamp())
            number = db.execute(_ADD_WINDOW, (*columns, window.by, window.reason, window.incident)).fetchone()[0]
            made = msgspec.structs.replace(window, id=number)
            after = msgspec.json.encode(made).decode()
            audit.write(db, msgspec.structs.replace(act, object=f"window/{number}", after=after))
            remember(db, form, made.id, act.at)
            return made

        return await self._writer.commit(change, urgent=True)

    async def end_window(self, number: int, now: datetime, act: Act) -> bool:
        def change(db: Connection) -> bool:
            update = 'UPDATE "window" SET "end" = ? WHERE id = ? AND "end" > ?'
            if not db.execute(update, (now.timestamp(), number, now.timestamp())).rowcount:
                return False
            audit.write(db, msgspec.structs.replace(act, object=f"window/{number}", after=now.isoformat()))
            return True

        return await self._writer.commit(change, urgent=True)


def clock_set(db: Connection, by: timedelta) -> None:
    """Move what waits to be told along with the clock."""
    db.execute(_MOVED, (by.total_seconds(),))


def covers(db: Connection, now: datetime) -> tuple[Cover, ...]:
    """Read covers that have not ended."""
    rows = db.execute(_COVERS, (now.timestamp(),)).fetchall()
    read = (db.unreadable.read(Table.COVER, row[-1], partial(_cover, *row)) for row in rows)
    return tuple(cover for cover in read if cover is not None)


def _cover(schedule: str, out: str, person: str, start: float, end: float, state: str, *more: Any) -> Cover:  # noqa: ANN401  # as they are
    return Cover(schedule, out, person, _moment(start), _moment(end), CoverState(state), *more)


def _notice(number: int, person: str, what: str, actor: str, cover: str, tries: int) -> CoverNotice:
    return CoverNotice(number, person, CoverNews(what), actor, msgspec.json.decode(cover, type=Cover), tries)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _write(db: Connection, known: tuple[Cover, ...], changed: tuple[Cover, ...], act: Act, form: str) -> Changed:
    """Write new ones and changed ones; the halves of a swap name each other."""
    before = {one.id: one for one in known}
    written = []
    for cover in changed:
        if cover.id:
            db.execute(_CHANGE, _columns(cover))
            written.append(cover)
        else:
            written.append(msgspec.structs.replace(cover, id=db.execute(_ADD, _columns(cover)).fetchone()[0]))
    if len(written) > 1 and not written[0].pair:
        one, other = written
        written = [msgspec.structs.replace(one, pair=other.id), msgspec.structs.replace(other, pair=one.id)]
        for cover in written:
            db.execute(_CHANGE, _columns(cover))
    for cover in written:
        was = before.get(cover.id)
        texts = (msgspec.json.encode(was).decode() if was else "", msgspec.json.encode(cover).decode())
        audit.write(db, msgspec.structs.replace(act, object=f"cover/{cover.id}", before=texts[0], after=texts[1]))
        at = act.at.timestamp()
        for person, what in news(was, cover, act.actor).items():
            db.execute(_NOTICE, (person, what.value, act.actor, texts[1], at, at))
    if written:
        remember(db, form, written[0].id, act.at)
    return tuple(written)


def _columns(cover: Cover) -> dict[str, object]:
    columns = msgspec.structs.asdict(cover)
    return {**columns, "start": cover.start.timestamp(), "end": cover.end.timestamp(), "state": cover.state.value}


def windows(db: Connection, now: datetime) -> tuple[MadeWindow, ...]:
    """Read windows that have not ended."""
    rows = db.execute(_WINDOWS, (now.timestamp(),)).fetchall()
    read = (db.unreadable.read(Table.WINDOW, row[-1], partial(_window, *row)) for row in rows)
    return tuple(window for window in read if window is not None)


def _window(matchers: str, start: float, end: float, *more: Any) -> MadeWindow:  # noqa: ANN401  # as they are
    named = msgspec.json.decode(matchers, type=tuple[str, ...])
    return MadeWindow(named, _moment(start), _moment(end), *more)
