"""The tables of sessions and tokens."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from receiver.store.access import FullError, Session, Token
from receiver.store.audit import Act
from receiver.store.sql import audit
from receiver.store.sql.connection import Connection, Reader, Writer

MOST_SESSIONS = 50  # of one person or name: the oldest ends
MOST_TOKENS = 1000  # that have not been revoked

_SESSIONS = """SELECT id, person, name, groups, via, created, seen, expires, ip, agent FROM session
    WHERE expires > ?"""
_TOKENS = "SELECT id, name, scope, owner, created, expires, last_used, revoked FROM token"
_TOO_MANY = """DELETE FROM session WHERE id IN
    (SELECT id FROM session WHERE person = ?1 AND name = ?2 ORDER BY seen DESC, id DESC LIMIT 1000000 OFFSET ?3)"""


class SQLAccess:
    """See receiver.store.access.AccessStore."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer, self._reader = writer, reader  # no page waits for a commit to know who asks
        self.ended: Callable[[], None] = lambda: None

    def tell_ended(self) -> None:
        """Tell that a session or token has ended: pages may be open of whoever had it."""
        self.ended()

    async def begin_session(self, hashed: bytes, session: Session, act: Act) -> Session:
        def change(db: Connection) -> tuple[int, bool]:
            db.execute("DELETE FROM session WHERE expires <= ?", (session.created.timestamp(),))
            columns = (hashed, session.person, session.name, msgspec.json.encode(session.groups).decode(), session.via)
            times = (session.created.timestamp(), session.seen.timestamp(), session.expires.timestamp())
            row = db.execute(
                "INSERT INTO session (hash, person, name, groups, via, created, seen, expires, ip, agent)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (*columns, *times, session.ip, session.agent),
            ).fetchone()
            number = int(row[0])
            oldest = db.execute(_TOO_MANY, (session.person, session.name, MOST_SESSIONS))
            audit.write(db, msgspec.structs.replace(act, object=f"session/{number}"))
            return number, oldest.rowcount > 0

        number, has_ended = await self._writer.commit(change, urgent=True)
        if has_ended:
            self.tell_ended()
        return msgspec.structs.replace(session, id=number)

    async def session(self, hashed: bytes, now: datetime) -> Session | None:
        query = _SESSIONS + " AND hash = ?"
        row = await self._reader.run(lambda db: db.execute(query, (now.timestamp(), hashed)).fetchone())
        return _session(row) if row else None

    async def session_numbered(self, number: int, now: datetime) -> Session | None:
        query = _SESSIONS + " AND id = ?"
        row = await self._reader.run(lambda db: db.execute(query, (now.timestamp(), number)).fetchone())
        return _session(row) if row else None

    async def seen_session(self, number: int, now: datetime, ip: str) -> None:
        update = "UPDATE session SET seen = CASE WHEN seen < ?1 THEN ?1 ELSE seen END, ip = ?2 WHERE id = ?3"
        await self._writer.commit(lambda db: db.execute(update, (now.timestamp(), ip, number)))

    async def sessions(self, now: datetime, limit: int) -> Sequence[Session]:
        query = _SESSIONS + " ORDER BY id DESC LIMIT ?"
        rows = await self._reader.run(lambda db: db.execute(query, (now.timestamp(), limit)).fetchall())
        return [_session(row) for row in rows]

    async def end_session(self, number: int, act: Act) -> bool:
        def change(db: Connection) -> bool:
            if not db.execute("DELETE FROM session WHERE id = ?", (number,)).rowcount:
                return False
            audit.write(db, act)
            return True

        has_ended = await self._writer.commit(change, urgent=True)
        self.tell_ended()
        return has_ended

    async def add_token(self, hashed: bytes, token: Token, act: Act) -> Token:
        number = await self._writer.commit(lambda db: add_token(db, hashed, token, act), urgent=True)
        return msgspec.structs.replace(token, id=number)

    async def token(self, hashed: bytes) -> Token | None:
        query = _TOKENS + " WHERE hash = ?"
        row = await self._reader.run(lambda db: db.execute(query, (hashed,)).fetchone())
        return _token(row) if row else None

    async def used_token(self, number: int, now: datetime) -> None:
        update = "UPDATE token SET last_used = ? WHERE id = ?"
        await self._writer.commit(lambda db: db.execute(update, (now.timestamp(), number)))

    async def tokens(self) -> Sequence[Token]:
        return await self._reader.run(tokens)

    async def revoke_token(self, number: int, act: Act) -> bool:
        has_ended = await self._writer.commit(lambda db: revoke_token(db, number, act), urgent=True)
        self.tell_ended()
        return has_ended

    async def audit(self, before: int | None, limit: int, of: str = "") -> Sequence[Act]:
        return await self._reader.run(lambda db: audit.read(db, before, limit, of))

    async def note(self, act: Act) -> None:
        await self._writer.commit(lambda db: audit.write(db, act))


def add_token(db: Connection, hashed: bytes, token: Token, act: Act) -> int:
    """Keep a new token and give its number; FullError."""
    if db.execute("SELECT count(*) FROM token WHERE revoked IS NULL").fetchone()[0] >= MOST_TOKENS:
        raise FullError(f"there are {MOST_TOKENS} tokens; revoke some")
    expires = token.expires.timestamp() if token.expires else None
    row = db.execute(
        "INSERT INTO token (hash, name, scope, owner, created, expires) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (hashed, token.name, token.scope, token.owner, token.created.timestamp(), expires),
    ).fetchone()
    number = int(row[0])
    audit.write(db, msgspec.structs.replace(act, object=f"token/{number}"))
    return number


def tokens(db: Connection) -> list[Token]:
    """List all, the newest first."""
    return [_token(row) for row in db.execute(_TOKENS + " ORDER BY id DESC")]


def revoke_token(db: Connection, number: int, act: Act) -> bool:
    """Revoke one; False if there is none that works."""
    update = "UPDATE token SET revoked = ? WHERE id = ? AND revoked IS NULL"
    if not db.execute(update, (act.at.timestamp(), number)).rowcount:
        return False
    audit.write(db, act)
    return True


def _session(row: tuple[Any, ...]) -> Session:
    number, person, name, groups, via, created, seen, expires, ip, agent = row
    times = (_moment(created), _moment(seen), _moment(expires))
    named = msgspec.json.decode(groups, type=tuple[str, ...])
    return Session(person, name, via, *times, ip, agent, named, number)


def _token(row: tuple[Any, ...]) -> Token:
    number, name, scope, owner, created, *times = row
    expires, last_used, revoked = (None if at is None else _moment(at) for at in times)
    return Token(name, scope, owner, _moment(created), expires, last_used, revoked, number)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
