"""The SQL of the outbox: what is owed, claimed, sent, put off, cancelled and dead."""

import math
import sqlite3
from datetime import datetime, timedelta

import msgspec

from receiver.incident.model import Incident, Kind, Notification, Priority, State

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
# A page whose incident was answered while its sender died: in doubt it was sent, and now it is pointless.
DROP_POINTLESS = """
UPDATE outbox SET state = 'cancelled', lease_until = NULL, settled_at = :now
WHERE kind = 'page' AND state = 'sending' AND lease_until < :now
  AND incident_id IN (SELECT id FROM incident WHERE state <> 'triggered')
"""
RETRY = """
UPDATE outbox SET lease_until = NULL, not_before = :when, last_error = :error,
    state = CASE WHEN i.state <> 'triggered' AND kind = 'page' THEN 'cancelled' ELSE 'pending' END,
    settled_at = CASE WHEN i.state <> 'triggered' AND kind = 'page' THEN :now END
FROM incident i
WHERE outbox.id = :id AND i.id = outbox.incident_id AND outbox.state = 'sending' AND attempt = :attempt
"""
_FINISH = """
UPDATE outbox SET state = ?, lease_until = NULL, settled_at = ?, ref = ?, last_error = ?
WHERE id = ? AND state = 'sending' AND attempt = ?
"""
_CANCEL = """
UPDATE outbox SET state = 'cancelled', settled_at = :now
WHERE incident_id = :id AND state = 'pending' AND (kind IN ('page', 'reminder') OR :resolved)
"""
# Told, or perhaps told: an attempt whose answer was lost may have arrived.
_REACHED = """
SELECT 1 FROM outbox WHERE incident_id = :id AND lane = :lane AND kind = 'page'
AND (state IN ('sent', 'sending') OR (state = 'cancelled' AND attempt > 0))
"""
_ENQUEUE = """
INSERT INTO outbox (incident_id, lane, channel, address, kind, round, serial, priority, notification, created_at,
                    not_before)
VALUES (:id, :lane, :channel, :address, :kind, :round, :serial, :priority, :notification, :now, :not_before)
ON CONFLICT (incident_id, lane, kind, round, serial) DO NOTHING
"""
# Kinds that may be missed by those who were never reached: the page itself may still be on its way to them.
_ONLY_WHERE_TOLD = {Kind.ACKNOWLEDGED, Kind.RESOLVED, Kind.UPDATE, Kind.REMINDER}


def enqueue(
    db: sqlite3.Connection, incident: Incident, notification: Notification, hold: timedelta, now: datetime
) -> None:
    """Write down a debt. News goes only where the trouble itself went.

    What is no P1 waits for the end of the present window of ``hold``, so that ten incidents of one cause reach a
    person as one message; the windows are the same for all, so that what waits becomes due together.
    """
    target, at = notification.target, now.timestamp()
    row = {"id": incident.id, "lane": target.lane, "channel": target.channel, "address": target.address, "now": at}
    if notification.kind in _ONLY_WHERE_TOLD and not db.execute(_REACHED, row).fetchone():
        return
    held = hold.total_seconds()
    grouped = held > 0 and incident.priority is not Priority.P1 and not incident.drill
    row |= {
        "kind": notification.kind.value,
        "round": notification.round,
        "serial": notification.serial if notification.kind in {Kind.UPDATE, Kind.REMINDER} else 0,
        "priority": incident.priority.value,
        "not_before": math.ceil(at / held) * held if grouped else at,
        "notification": msgspec.json.encode(notification),
    }
    db.execute(_ENQUEUE, row)


def cancel(db: sqlite3.Connection, incident: Incident, now: datetime) -> None:
    """Nobody is paged about what was answered; of what is over, nothing but its end is told."""
    resolved = incident.state is State.RESOLVED
    db.execute(_CANCEL, {"id": incident.id, "now": now.timestamp(), "resolved": resolved})


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
    query = "SELECT 1 FROM outbox WHERE incident_id = ? AND round = ? AND kind = 'page' AND state <> 'dead'"
    return db.execute(query, (incident_id, number)).fetchone() is None
