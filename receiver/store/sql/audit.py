"""The audit log's table: lines are added inside the transaction of what they tell, and read newest first."""

from datetime import UTC, datetime

from receiver.store.audit import Act
from receiver.store.sql.connection import Connection

_LONGEST = 4000  # characters of one column: an agent or a name that somebody chose must not fill the disk
_LONGEST_OBJECT = 500  # which is in an index


def write(db: Connection, act: Act) -> None:
    """Add a line."""
    texts = (act.actor, act.via, act.ip, act.act, act.object[:_LONGEST_OBJECT], act.before, act.after)
    insert = "INSERT INTO audit (at, actor, via, ip, act, object, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    db.execute(insert, (act.at.timestamp(), *(text[:_LONGEST] for text in texts)))


def read(db: Connection, before: int | None, limit: int, of: str) -> list[Act]:
    """Read the newest lines first."""
    query = "SELECT at, actor, via, ip, act, object, before, after, seq FROM audit WHERE seq < ?"
    newest = before if before is not None else 2**62
    if of:
        rows = db.execute(f"{query} AND object = ? ORDER BY seq DESC LIMIT ?", (newest, of, limit))
    else:
        rows = db.execute(f"{query} ORDER BY seq DESC LIMIT ?", (newest, limit))
    return [Act(datetime.fromtimestamp(at, UTC), *others) for at, *others in rows]
