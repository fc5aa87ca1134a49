"""Rows in, values out: the SQL of the SQLite store, called inside a transaction of its one connection."""

import sqlite3
from datetime import UTC, datetime

import msgspec

from receiver.episode import remembered
from receiver.incident import Entry, Incident, Kind, Notification, State
from receiver.store.base import Backlog, Claimed, Decide

_TIMELINE_SHOWN = 200  # lines of a timeline that are read with an incident

_incident = msgspec.json.Decoder(Incident)
_notification = msgspec.json.Decoder(Notification)

_UPSERT = """
INSERT INTO incident (id, key, state, priority, opened_at, next_due_at, resolved_at, doc)
VALUES (:id, :key, :state, :priority, :opened_at, :next_due_at, :resolved_at, :doc)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, priority = excluded.priority,
    next_due_at = excluded.next_due_at, resolved_at = excluded.resolved_at, doc = excluded.doc
"""
_CANCEL = """
UPDATE outbox SET state = 'cancelled', settled_at = :now
WHERE incident_id = :id AND state = 'pending' AND (kind = 'page' OR :resolved)
"""
# Told, or perhaps told: an attempt whose answer was lost may have arrived.
_REACHED = """
SELECT 1 FROM outbox WHERE incident_id = :id AND lane = :lane AND kind = 'page'
AND (state IN ('sent', 'sending') OR (state = 'cancelled' AND attempt > 0))
"""
_OWE = """
INSERT INTO outbox (incident_id, lane, channel, kind, round, notification, created_at, not_before)
VALUES (:id, :lane, :channel, :kind, :round, :notification, :now, :now)
ON CONFLICT (incident_id, lane, kind, round) DO NOTHING
"""
_OPEN = "SELECT state, priority, count(*) FROM incident WHERE state <> 'resolved' GROUP BY state, priority"
_UNACKNOWLEDGED = "SELECT priority, min(opened_at) FROM incident WHERE state = 'triggered' GROUP BY priority"
_OWED = """
SELECT channel, min(created_at) FROM outbox WHERE state IN ('pending', 'sending') GROUP BY channel
"""


def incident(db: sqlite3.Connection, incident_id: int) -> Incident | None:
    """Read one incident."""
    row = db.execute("SELECT doc FROM incident WHERE id = ?", (incident_id,)).fetchone()
    return _incident.decode(row[0]) if row else None


def open_or_new(db: sqlite3.Connection, key: str, now: datetime) -> Incident:
    """Read the open incident of a group, or make the next one, which still knows the episodes that are over."""
    row = db.execute("SELECT doc FROM incident WHERE key = ? ORDER BY id DESC LIMIT 1", (key,)).fetchone()
    last = _incident.decode(row[0]) if row else None
    if last is not None and last.state is not State.RESOLVED:
        return last
    number = db.execute("SELECT coalesce(max(id), 0) + 1 FROM incident").fetchone()[0]
    return Incident(id=number, key=key, ended=remembered(last.ended, now) if last else {})


def newest(db: sqlite3.Connection, state: str | None, limit: int) -> list[Incident]:
    """Read the newest incidents, all or those in one state."""
    query = "SELECT doc FROM incident WHERE ?1 IS NULL OR state = ?1 ORDER BY id DESC LIMIT ?2"
    return [_incident.decode(row[0]) for row in db.execute(query, (state, limit))]


def timeline(db: sqlite3.Connection, incident_id: int) -> tuple[Entry, ...]:
    """Read the last lines of an incident's timeline, oldest first."""
    query = "SELECT at, kind, text, actor FROM timeline WHERE incident_id = ? ORDER BY seq DESC LIMIT ?"
    rows = db.execute(query, (incident_id, _TIMELINE_SHOWN)).fetchall()
    return tuple(Entry(datetime.fromtimestamp(at, UTC), *rest) for at, *rest in reversed(rows))


def save(db: sqlite3.Connection, before: Incident, decide: Decide, now: datetime) -> Incident | None:
    """Decide, and write what was decided: state, timeline and outbox together. None: nothing was opened."""
    after, notifications = decide(before)
    if after.state is State.NEW:
        return None
    if after == before:
        return after
    entries, after = after.fresh, msgspec.structs.replace(after, fresh=())
    db.execute(_UPSERT, {**_columns(after), "doc": msgspec.json.encode(after)})
    for entry in entries:
        write(db, after.id, entry)
    if after.state is not State.TRIGGERED:
        resolved = after.state is State.RESOLVED
        db.execute(_CANCEL, {"id": after.id, "now": now.timestamp(), "resolved": resolved})
    for notification in notifications:
        _owe(db, after.id, notification, now)
    return after


def write(db: sqlite3.Connection, incident_id: int, entry: Entry) -> None:
    """Add one line to the timeline; lines are never changed or removed."""
    values = (incident_id, entry.at.timestamp(), entry.kind, entry.text, entry.actor)
    db.execute("INSERT INTO timeline (incident_id, at, kind, text, actor) VALUES (?, ?, ?, ?, ?)", values)


def claimed(
    db: sqlite3.Connection, row_id: int, incident_id: int, doc: bytes, attempt: int, created_at: float, lane: str
) -> Claimed:
    """Build what the dispatcher gets of one leased row."""
    found = incident(db, incident_id)
    if found is None:
        raise sqlite3.IntegrityError(f"outbox row {row_id} has no incident")
    query = "SELECT ref FROM outbox WHERE incident_id = ? AND lane = ? AND state = 'sent' ORDER BY id LIMIT 1"
    first = db.execute(query, (incident_id, lane)).fetchone()
    return Claimed(
        id=row_id,
        incident=found,
        notification=_notification.decode(doc),
        timeline=timeline(db, incident_id),
        attempt=attempt,
        created_at=datetime.fromtimestamp(created_at, UTC),
        thread=first[0] if first else "",
    )


def finish(
    db: sqlite3.Connection, claim: Claimed, state: str, now: datetime, *, ref: str = "", error: str = ""
) -> bool:
    """Settle a leased row; False when the lease was lost to another attempt, which will settle it."""
    query = """UPDATE outbox SET state = ?, lease_until = NULL, settled_at = ?, ref = ?, last_error = ?
        WHERE id = ? AND state = 'sending' AND attempt = ?"""
    changed = db.execute(query, (state, now.timestamp(), ref, error, claim.id, claim.attempt)).rowcount == 1
    if changed and state == "sent":
        target, kind = claim.notification.target, claim.notification.kind
        whom = f"{target.person} by {target.channel}" if target.person else f"{target.channel} {target.address}"
        write(db, claim.incident.id, Entry(now, "told", f"{kind} sent to {whom}"))
    return changed


def round_is_dead(db: sqlite3.Connection, claim: Claimed) -> bool:
    """Say whether no page of this round was sent or can still be sent."""
    query = "SELECT 1 FROM outbox WHERE incident_id = ? AND round = ? AND kind = 'page' AND state <> 'dead'"
    return db.execute(query, (claim.incident.id, claim.notification.round)).fetchone() is None


def backlog(db: sqlite3.Connection) -> Backlog:
    """Read what the metrics show."""
    beats = db.execute("SELECT source, last_seen_at FROM heartbeat").fetchall()
    return Backlog(
        open_incidents={(state, priority): count for state, priority, count in db.execute(_OPEN)},
        oldest_unacknowledged={p: datetime.fromtimestamp(at, UTC) for p, at in db.execute(_UNACKNOWLEDGED)},
        oldest_owed={channel: datetime.fromtimestamp(at, UTC) for channel, at in db.execute(_OWED)},
        heartbeats={source: datetime.fromtimestamp(at, UTC) for source, at in beats},
    )


def _columns(incident: Incident) -> dict[str, object]:
    return {
        "id": incident.id,
        "key": incident.key,
        "state": incident.state.value,
        "priority": incident.priority.value,
        "opened_at": incident.opened_at.timestamp() if incident.opened_at else None,
        "next_due_at": incident.next_due_at.timestamp() if incident.next_due_at else None,
        "resolved_at": incident.resolved_at.timestamp() if incident.resolved_at else None,
    }


def _owe(db: sqlite3.Connection, incident_id: int, notification: Notification, now: datetime) -> None:
    """Write down a debt. The news that it is over goes only where the trouble itself went."""
    lane = notification.target.lane
    if notification.kind is not Kind.PAGE and not db.execute(_REACHED, {"id": incident_id, "lane": lane}).fetchone():
        return
    row = {"id": incident_id, "lane": lane, "channel": notification.target.channel, "now": now.timestamp()}
    row |= {"kind": notification.kind.value, "round": notification.round}
    db.execute(_OWE, {**row, "notification": msgspec.json.encode(notification)})
