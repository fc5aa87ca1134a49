"""Deletes what is past from the small tables, a part at a time."""

from datetime import datetime

from receiver.store.past import Past
from receiver.store.sql.connection import Connection, Writer

_FORGET = {
    Past.COVERS: 'DELETE FROM override WHERE id IN (SELECT id FROM override WHERE "end" < ? ORDER BY "end" LIMIT ?)',
    Past.WINDOWS: 'DELETE FROM "window" WHERE id IN (SELECT id FROM "window" WHERE "end" < ? ORDER BY "end" LIMIT ?)',
    Past.TOKENS: """DELETE FROM token WHERE id IN
        (SELECT id FROM token WHERE coalesce(revoked, expires) < ? ORDER BY id LIMIT ?)""",
    Past.SESSIONS: """DELETE FROM session WHERE id IN
        (SELECT id FROM session WHERE expires < ? ORDER BY expires LIMIT ?)""",
    Past.FORMS: "DELETE FROM form WHERE key IN (SELECT key FROM form WHERE at < ? ORDER BY at LIMIT ?)",
    Past.AWAKE: "DELETE FROM awake WHERE person IN (SELECT person FROM awake WHERE until < ? LIMIT ?)",
}
_OLDEST = "SELECT seq, at FROM audit ORDER BY seq LIMIT ?"


class SQLPast:
    """See receiver.store.past.PastStore."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def forget(self, what: Past, before: datetime, limit: int) -> int:
        def change(db: Connection) -> int:
            if what is Past.AUDIT:
                return _forget_acts(db, before.timestamp(), limit)
            return db.execute(_FORGET[what], (before.timestamp(), limit)).rowcount

        return await self._writer.commit(change)


def _forget_acts(db: Connection, before: float, limit: int) -> int:
    """Delete the oldest lines: the one way in which the log is not only appended to."""
    old = 0
    last = None
    for seq, at in db.execute(_OLDEST, (limit,)).fetchall():
        if at >= before:
            break
        old, last = old + 1, seq
    if last is not None:
        with db.without_trigger("audit", "audit_undeleted"):
            db.execute("DELETE FROM audit WHERE seq <= ?", (last,))
    return old
