"""Who does what only one receiver is to do: a row with an end, so that another takes over from one that has died."""

from datetime import datetime

from receiver.store.sql.connection import Connection

LENGTH = 8.0  # seconds
_TAKE = """
INSERT INTO turn AS held VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE held.owner = excluded.owner OR held.until < ?4
RETURNING 1
"""
_END = "DELETE FROM turn WHERE name = ? AND owner = ?"
_LEAVE = "DELETE FROM turn WHERE owner = ?"


def take(db: Connection, name: str, owner: str, now: datetime) -> bool:
    """Take a turn, or keep it; False while another receiver has it."""
    at = now.timestamp()
    return db.execute(_TAKE, (name, owner, at + LENGTH, at)).fetchone() is not None


def end(db: Connection, name: str, owner: str) -> None:
    """End a turn, if this receiver still has it."""
    db.execute(_END, (name, owner))


def leave(db: Connection, owner: str) -> None:
    """End all turns of a receiver that stops."""
    db.execute(_LEAVE, (owner,))
