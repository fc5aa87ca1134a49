"""The table of the jobs' heartbeats, and when they were last looked at."""

from datetime import UTC, datetime, timedelta
from functools import partial

from receiver.incident.heartbeat import Beat, Watch
from receiver.store.sql.connection import Connection
from receiver.store.unreadable import Table

_LOOKED = "INSERT INTO own VALUES ('jobs', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_BEAT = """
INSERT INTO job_heartbeat VALUES (?1, ?2, ?2, NULL)
ON CONFLICT (name) DO UPDATE SET silent_since = ?2, heard_at = ?2, missed_at = NULL
"""
_KEEP = """
INSERT INTO job_heartbeat VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
SET silent_since = excluded.silent_since, heard_at = excluded.heard_at, missed_at = excluded.missed_at
"""


def beat(db: Connection, name: str, now: datetime) -> None:
    """A job was heard."""
    db.execute(_BEAT, (name, now.timestamp()))


def read(db: Connection) -> Watch:
    """Read everything that is known."""
    rows = db.execute("SELECT name, silent_since, heard_at, missed_at FROM job_heartbeat ORDER BY name").fetchall()
    read = {name: db.unreadable.read(Table.HEARTBEAT, name, partial(_beat, *times)) for name, *times in rows}
    beats = {name: one for name, one in read.items() if one is not None}
    own = db.execute("SELECT value FROM own WHERE name = 'jobs'").fetchone()
    return Watch(beats, db.unreadable.read(Table.OWN, "jobs", lambda: _moment(own[0])) if own else None)


def keep(db: Connection, before: Watch, after: Watch) -> None:
    """Write what has changed."""
    changed = {name: beat for name, beat in after.beats.items() if before.beats.get(name) != beat}
    db.executemany(_KEEP, [_columns(name, beat) for name, beat in changed.items()])
    if after.looked_at is not None:
        db.execute(_LOOKED, (after.looked_at.timestamp(),))


def forget(db: Connection, name: str) -> None:
    """Delete what is known of one job."""
    db.execute("DELETE FROM job_heartbeat WHERE name = ?", (name,))


def clock_set(db: Connection, by: timedelta) -> None:
    """Move along with the clock."""
    db.execute("UPDATE job_heartbeat SET silent_since = silent_since + ?", (by.total_seconds(),))
    db.execute("UPDATE own SET value = value + ? WHERE name = 'jobs'", (by.total_seconds(),))


def _columns(name: str, beat: Beat) -> tuple[str, float, float | None, float | None]:
    return name, beat.silent_since.timestamp(), _seconds(beat.heard_at), _seconds(beat.missed_at)


def _beat(since: float, heard: float | None, missed: float | None) -> Beat:
    return Beat(_moment(since), _maybe(heard), _maybe(missed))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
