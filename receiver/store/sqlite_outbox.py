"""The SQL of the outbox: what is owed, claimed, sent, put off, cancelled and dead; ``delivery`` decides which."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from receiver.incident.delivery import Status, due_at, nobody_told, pointless, serial, worth_owing
from receiver.incident.model import Incident, Kind, Notification, State

decoder = msgspec.json.Decoder(Notification)

# P1 first, then by age. A row waits for the one before it in its lane. The index serves the order, so that a claim
# costs what it takes and not what is owed.
CLAIM = """
UPDATE outbox SET state = 'sending', attempt = attempt + 1, lease_until = :until WHERE id IN (
    SELECT o.id FROM outbox o INDEXED BY outbox_owed
    WHERE o.channel = :channel AND o.not_before <= :now AND o.state IN ('pending', 'sending')
      AND (o.state = 'pending' OR o.lease_until < :now)
      AND (:address = '' OR o.address = :address) AND (:kind = '' OR o.kind = :kind)
      AND (:urgent IS NULL OR (o.priority = 'P1') = :urgent)
      AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.incident_id = o.incident_id AND e.lane = o.lane
                      AND e.id < o.id AND e.state IN ('pending', 'sending'))
    ORDER BY o.priority, o.id LIMIT :limit)
RETURNING id, incident_id, notification, attempt, created_at, lane, priority
"""
_RETRY = """
UPDATE outbox SET state = 'pending', lease_until = NULL, not_before = ?, last_error = ?
WHERE id = ? AND state = 'sending' AND attempt = ?
"""
_FINISH = """
UPDATE outbox SET state = ?, lease_until = NULL, settled_at = ?, ref = ?, last_error = ?
WHERE id = ? AND state = 'sending' AND attempt = ?
"""
# SQLite uses a partial index only if the query repeats its WHERE (sqlite.org/partialindex.html): outbox_unsettled.
_IS_PENDING = "state IN ('pending', 'sending') AND state = 'pending'"
_PENDING = f"SELECT id, kind, created_at FROM outbox WHERE incident_id = ? AND {_IS_PENDING}"  # noqa: S608
_CANCEL = "UPDATE outbox SET state = 'cancelled', lease_until = NULL, settled_at = ? WHERE id = ?"
_PAGES = "SELECT state, attempt FROM outbox WHERE incident_id = ? AND lane = ? AND kind = 'page' ORDER BY id"
_WAITING = f"SELECT kind FROM outbox WHERE incident_id = ? AND lane = ? AND {_IS_PENDING}"  # noqa: S608
_ENQUEUE = """
INSERT INTO outbox (incident_id, lane, channel, address, kind, round, serial, priority, notification, created_at,
                    not_before)
VALUES (:id, :lane, :channel, :address, :kind, :round, :serial, :priority, :notification, :now, :not_before)
ON CONFLICT (incident_id, lane, kind, round, serial) DO NOTHING
"""


def enqueue(
    db: sqlite3.Connection, incident: Incident, notification: Notification, hold: timedelta, now: datetime
) -> None:
    """Write down what is owed, if it is worth owing and not owed already."""
    target, kind = notification.target, notification.kind
    lane = incident.id, target.lane
    if not worth_owing(kind, _pages(db, lane), _waiting(db, lane)):
        return
    row = {
        "id": incident.id,
        "lane": target.lane,
        "channel": target.channel,
        "address": target.address,
        "kind": kind.value,
        "round": notification.round,
        "serial": serial(notification),
        "priority": incident.priority.value,
        "now": now.timestamp(),
        "not_before": due_at(incident, hold, now).timestamp(),
        "notification": msgspec.json.encode(notification),
    }
    db.execute(_ENQUEUE, row)


def _pages(db: sqlite3.Connection, lane: tuple[int, str]) -> Iterator[tuple[Status, int]]:
    """Read the pages of a lane, and no further than is asked."""
    for state, attempt in db.execute(_PAGES, lane):
        yield Status(state), attempt


def _waiting(db: sqlite3.Connection, lane: tuple[int, str]) -> Iterator[Kind]:
    for (kind,) in db.execute(_WAITING, lane):
        yield Kind(kind)


def cancel_pointless(db: sqlite3.Connection, incident: Incident, now: datetime) -> None:
    """Cancel what is pending and has become pointless with this change of the incident."""
    if incident.state is State.TRIGGERED:
        return  # nothing is pointless while nobody has answered, and most changes end here
    for row_id, kind, created_at in db.execute(_PENDING, (incident.id,)).fetchall():
        if pointless(Kind(kind), datetime.fromtimestamp(created_at, UTC), incident):
            cancel(db, row_id, now)


def cancel(db: sqlite3.Connection, row_id: int, now: datetime) -> None:
    """Settle a row that will not be sent."""
    db.execute(_CANCEL, (now.timestamp(), row_id))


def retry(db: sqlite3.Connection, row_id: int, attempt: int, when: datetime, error: str) -> bool:
    """Put a leased row off; False when the lease was lost to another attempt."""
    return db.execute(_RETRY, (when.timestamp(), error, row_id, attempt)).rowcount == 1


def finish(
    db: sqlite3.Connection, row_id: int, attempt: int, state: str, now: datetime, *, ref: str = "", error: str = ""
) -> bool:
    """Settle a leased row; False when the lease was lost to another attempt, which will settle it."""
    return db.execute(_FINISH, (state, now.timestamp(), ref, error, row_id, attempt)).rowcount == 1


def thread(db: sqlite3.Connection, incident_id: int, lane: str) -> str:
    """Give the ref of the first message of a lane, which later ones answer."""
    query = "SELECT ref FROM outbox WHERE incident_id = ? AND lane = ? AND state = 'sent' AND ref <> '' ORDER BY id"
    first = db.execute(query + " LIMIT 1", (incident_id, lane)).fetchone()
    return first[0] if first else ""


def round_is_dead(db: sqlite3.Connection, incident_id: int, number: int) -> bool:
    """Say whether no page of this round was sent or can still be sent."""
    query = "SELECT DISTINCT state FROM outbox WHERE incident_id = ? AND round = ? AND kind = 'page'"
    return nobody_told(Status(row[0]) for row in db.execute(query, (incident_id, number)))
