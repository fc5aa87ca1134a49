"""The SQL of the outbox: what is owed, claimed, sent, put off, cancelled and dead; ``delivery`` decides which."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec

from receiver.incident.delivery import (
    PATIENT_TRIES,
    RANKS,
    End,
    Handling,
    Status,
    Waiting,
    Window,
    correction,
    due_at,
    is_gathered,
    is_superseded,
    is_urgent,
    may_still_reach,
    nobody_told,
    pointless,
    rank,
    supersedes,
    worth_owing,
    worth_redrawing,
)
from receiver.incident.model import Incident, Kind, Notification, Priority, Reason, State, Target
from receiver.store.base import ChannelState, Member, Wanted
from receiver.store.sql.connection import ALL, Connection, Rows, rows_of
from receiver.store.sql.first_pages import FirstPages
from receiver.store.unreadable import Table

HandlingOf = Callable[[str], Handling]  # channel -> how it gathers

_decoder = msgspec.json.Decoder(Notification)
LEAST = tuple(Priority)[-1]
_LONGEST_REF = 500  # characters of what a provider calls a message, which is in an index

# A row waits for what is being sent in its lane, and for the one before it. A redraw (serial < 0) shows the incident of
# now whenever it goes: it waits for nothing that is held or put off, and keeps nothing waiting.
_IN_LANE = """NOT EXISTS (
    SELECT 1 FROM outbox e WHERE e.incident_id = o.incident_id AND e.lane = o.lane AND e.id <> o.id
    AND e.settled_at IS NULL
    AND (e.state = 'sending' OR (e.id < o.id AND e.serial >= 0 AND o.serial >= 0)))"""
# One range of an index a rank, so that a claim costs what it takes and not what waits; `_ranked` puts them together.
_DUE = f"""
SELECT o.id FROM outbox o INDEXED BY outbox_due
WHERE o.channel = :channel AND o.rank = {{rank}} AND o.not_before <= :now AND o.state = 'pending' AND o.parked = 0
  AND {_IN_LANE} ORDER BY o.not_before, o.id LIMIT :limit
"""  # noqa: S608  # our own text
_AT_ADDRESS = f"""
SELECT o.id FROM outbox o INDEXED BY outbox_waiting
WHERE o.channel = :channel AND o.address = :address AND o.rank = {{rank}} AND o.state = 'pending'
  AND (o.not_before <= :now OR (:early AND o.tries > 0)) AND (:kind = '' OR o.kind = :kind)
  AND {_IN_LANE} ORDER BY o.id LIMIT :limit
"""  # noqa: S608
# One that failed again and again lets others try whether the address works.
_TRIAL = f"""
SELECT o.id FROM outbox o INDEXED BY outbox_waiting
WHERE o.channel = :channel AND o.address = :address AND o.state = 'pending'
  AND (o.not_before <= :now OR o.tries > 0) AND {_IN_LANE}
ORDER BY o.tries / {PATIENT_TRIES}, o.rank, o.tries, o.id LIMIT 1
"""  # noqa: S608
_ROW = "id, incident_id, notification, attempt, created_at, lane, priority, tries, spent, elsewhere, bundle, "
_ROW += "channel, address, lane, kind, round, serial"
_LEASE = f"""
UPDATE outbox SET state = 'sending', attempt = attempt + 1, lease_until = ?, parked = 0 WHERE id = ? RETURNING {_ROW}
"""  # noqa: S608
_READ = f"SELECT {_ROW} FROM outbox WHERE id = ?"  # noqa: S608
# What could be leased, to read only; ``without`` is a JSON list of rows that count as settled.
_READABLE = f"""
SELECT {", ".join(f"o.{column}" for column in _ROW.split(", "))} FROM outbox o INDEXED BY outbox_owed
WHERE o.channel = :channel AND o.settled_at IS NULL AND (o.state = 'pending' OR o.lease_until < :now)
  AND (o.not_before <= :now OR (:address <> '' AND :early AND o.tries > 0))
  AND (:address = '' OR o.address = :address) AND (:kind = '' OR o.kind = :kind)
  AND o.rank IN (SELECT CAST(value AS INTEGER) FROM json_each(:ranks))
  AND o.id NOT IN (SELECT CAST(value AS INTEGER) FROM json_each(:held))
  AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.incident_id = o.incident_id AND e.lane = o.lane AND e.id < o.id
                  AND e.settled_at IS NULL AND (e.serial >= 0 OR o.serial < 0)
                  AND e.id NOT IN (SELECT CAST(value AS INTEGER) FROM json_each(:settled)))
ORDER BY o.rank, o.not_before, o.id LIMIT :limit
"""  # noqa: S608
# What may have been sent by somebody who could not write that down. Who holds a lease has written it down.
_IN_DOUBT = """
SELECT id FROM outbox INDEXED BY outbox_owed
WHERE channel = ? AND settled_at IS NULL AND state = 'pending' AND attempt = 0 AND not_before <= ?
"""
_TRIED = """
UPDATE outbox SET attempt = 1
WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each(?)) AND attempt = 0 AND state = 'pending'
"""
_ELSEWHERE = "UPDATE outbox SET elsewhere = 1 WHERE id = ? AND elsewhere = 0 AND settled_at IS NULL"
_EXPIRED = "UPDATE outbox SET state = 'pending', lease_until = NULL WHERE state = 'sending' AND lease_until < ?"
_FIRST_DUE = f"""
SELECT coalesce(
    (SELECT rank FROM outbox WHERE channel = :channel AND rank IN ({", ".join(map(str, RANKS))}) AND not_before <= :now
        AND state = 'pending' AND parked = 0 ORDER BY rank LIMIT 1),
    (SELECT {RANKS[-1]} FROM outbox WHERE state = 'sending' AND lease_until < :now LIMIT 1))
"""  # noqa: S608
_RETRY = """
UPDATE outbox SET state = 'pending', lease_until = NULL, not_before = ?, last_error = ?, tries = tries + 1,
    spent = spent + ?, elsewhere = CASE WHEN ? THEN 1 ELSE elsewhere END
WHERE id = ? AND state = 'sending' AND attempt = ?
"""
# A lease that nobody has: nothing of the incident is sent until it is over.
_SET_ASIDE = "UPDATE outbox SET lease_until = ? WHERE id = ? AND state = 'sending' AND attempt = ?"
_PUT_BACK = """
UPDATE outbox SET state = 'pending', lease_until = NULL, parked = 1 WHERE id = ? AND state = 'sending' AND attempt = ?
"""
_PARK = "UPDATE outbox SET parked = 1 WHERE channel = ? AND address = ? AND state = 'pending' AND parked = 0"
_RELEASE = "UPDATE outbox SET parked = 0 WHERE channel = ? AND address = ? AND parked = 1"
_FORWARD = """
UPDATE outbox SET not_before = :now WHERE channel = :channel AND address = :address AND state = 'pending' AND tries > 0
    AND not_before > :now
"""
_BEST = """
SELECT rank FROM outbox WHERE channel = ? AND address = ? AND state = 'pending' ORDER BY rank LIMIT 1
"""
_LATE = """
SELECT id FROM outbox INDEXED BY outbox_owed WHERE channel = ? AND created_at <= ? AND kind = 'page' AND elsewhere = 0
    AND settled_at IS NULL ORDER BY created_at LIMIT ?
"""
_HOPES = """
SELECT id, notification, channel, address, lane, kind, round, serial FROM outbox INDEXED BY outbox_unsettled
WHERE incident_id = ? AND settled_at IS NULL AND round = ? AND kind = 'page' AND elsewhere = 0 AND id <> ?
"""
_STATES = """SELECT channel, count(*), min(created_at), max(nullif(last_error, ''))
    FROM outbox WHERE settled_at IS NULL GROUP BY channel"""
_GIVEN_UP = "SELECT channel, last_error, settled_at FROM outbox WHERE state = 'dead' ORDER BY settled_at DESC LIMIT 200"
_CHANNELS = "SELECT DISTINCT channel FROM outbox INDEXED BY outbox_owed WHERE settled_at IS NULL"
_MOVED = """
UPDATE outbox SET not_before = not_before + :by, lease_until = lease_until + :by
WHERE settled_at IS NULL
"""
# A reminder's age tells which acknowledgement it belongs to.
_AGED = """
UPDATE outbox SET created_at = created_at + :by WHERE kind <> 'reminder' AND settled_at IS NULL
"""
_END_AGAIN = """
UPDATE outbox SET state = 'pending', settled_at = NULL, not_before = ?, created_at = ?, tries = 0, spent = 0
WHERE incident_id = ? AND channel = ? AND kind = 'resolved' AND state IN ('sent', 'dead')
"""
_ACKNOWLEDGE_AGAIN = """
UPDATE outbox SET state = 'pending', settled_at = NULL, not_before = ?, created_at = ?, tries = 0, spent = 0
WHERE kind = 'acknowledged' AND state IN ('sent', 'dead') AND id IN (
    SELECT max(id) FROM outbox
    WHERE incident_id = ? AND channel = ? AND kind IN ('page', 'acknowledged', 'resolved') GROUP BY lane
)
"""
_FINISH = """
UPDATE outbox SET state = ?, lease_until = NULL, settled_at = ?, ref = ?, last_error = ?, parked = 0
WHERE id = ? AND state = 'sending' AND attempt = ?
"""
# SQLite uses a partial index only if the query repeats its WHERE (sqlite.org/partialindex.html): outbox_unsettled.
_IS_PENDING = "settled_at IS NULL AND state = 'pending'"
_IN_FRONT = f"SELECT id, kind, priority FROM outbox WHERE incident_id = ? AND lane = ? AND {_IS_PENDING}"  # noqa: S608
_PENDING = f"SELECT id, kind, created_at FROM outbox WHERE incident_id = ? AND {_IS_PENDING}"  # noqa: S608
_CANCEL = "UPDATE outbox SET state = 'cancelled', lease_until = NULL, settled_at = ?, parked = 0 WHERE id = ?"
_POINTLESS_SINCE = """
SELECT id, channel, lane FROM outbox
WHERE incident_id = ? AND state = 'cancelled' AND kind <> 'resolved' AND settled_at >= ?
"""
_OWE_AGAIN = "UPDATE outbox SET state = 'pending', settled_at = NULL WHERE id = ?"
_TOLD = """
SELECT state, attempt FROM outbox
WHERE incident_id = ? AND lane = ? AND id > ? AND kind IN ('page', 'update', 'reminder') ORDER BY id
"""
_LAST_END = """
SELECT id, state, attempt, serial FROM outbox WHERE incident_id = ? AND lane = ? AND kind = 'resolved'
ORDER BY id DESC LIMIT 1
"""
# What an undo has cancelled before it was claimed has ended nothing; what was left to an umbrella's others has.
_IS_END = "kind = 'resolved' AND NOT (state = 'cancelled' AND attempt = 0)"
_ENDS = f"SELECT count(*), max(id) FROM outbox WHERE incident_id = ? AND lane = ? AND id < ? AND {_IS_END}"  # noqa: S608
_WAITING = f"SELECT kind FROM outbox WHERE incident_id = ? AND lane = ? AND {_IS_PENDING}"  # noqa: S608
_AHEAD = f"SELECT serial, not_before, tries FROM outbox WHERE incident_id = ? AND lane = ? AND {_IS_PENDING}"  # noqa: S608
_GATHERING = "SELECT until, count, umbrella FROM gathering WHERE channel = ? AND address = ?"
_GATHERED = """
INSERT INTO gathering VALUES (?, ?, ?, ?, ?)
ON CONFLICT (channel, address)
    DO UPDATE SET until = excluded.until, count = excluded.count, umbrella = excluded.umbrella
"""
_JOIN = "UPDATE outbox SET bundle = ? WHERE id = ?"
_UMBRELLA_OF = """
SELECT bundle FROM outbox INDEXED BY outbox_umbrella
WHERE incident_id = ? AND lane = ? AND bundle IS NOT NULL AND id > ? AND id < ? ORDER BY id LIMIT 1
"""
# Whose page has been sent under it, or may have been.
_MEMBERS = f"""
SELECT incident_id, lane, (SELECT count(*) FROM outbox o
    WHERE o.incident_id = page.incident_id AND o.lane = page.lane AND o.id < page.id AND {_IS_END})
FROM outbox page WHERE id IN (
    SELECT max(id) FROM outbox WHERE bundle = ? AND state IN ('sending', 'sent') GROUP BY incident_id)
ORDER BY id
"""  # noqa: S608  # our own text
_TOLD_LATER = """
SELECT 1 FROM outbox page JOIN outbox later INDEXED BY outbox_unsettled
    ON later.incident_id = page.incident_id AND later.lane = page.lane AND later.id > :id
WHERE page.bundle = :umbrella AND later.kind = :kind AND later.settled_at IS NULL LIMIT 1
"""
# Whose end has come since is a member no more: what fires again has an incident of its own there.
_MEMBER_STATES = f"""
SELECT CASE WHEN EXISTS (SELECT 1 FROM outbox o
    WHERE o.incident_id = page.incident_id AND o.lane = page.lane AND o.id > page.id AND {_IS_END})
    THEN 'resolved' ELSE (SELECT state FROM incident WHERE id = page.incident_id) END
FROM outbox page WHERE bundle = ? AND state IN ('sending', 'sent')
"""  # noqa: S608
_INSERT = """
INSERT INTO outbox (incident_id, lane, channel, address, kind, round, serial, priority, rank, notification,
                    created_at, not_before, {})
VALUES (:id, :lane, :channel, :address, :kind, :round, :serial, :priority, :rank, :notification, :now, :not_before,
        {})
ON CONFLICT (incident_id, lane, kind, round, serial) DO NOTHING
"""
_ENQUEUE = _INSERT.format("bundle", ":bundle")
_ENQUEUE_LEASED = _INSERT.format("state, attempt, lease_until", "'sending', 1, :lease_until") + "RETURNING id"
_NUMBER = """
SELECT id FROM outbox
WHERE incident_id = :id AND lane = :lane AND kind = :kind AND round = :round AND serial = :serial
"""


def enqueue(
    db: Connection,
    incident: Incident,
    notification: Notification,
    handling: HandlingOf,
    now: datetime,
    *,
    is_new: bool = False,
    first: FirstPages | None = None,
) -> bool:
    """Write down what is owed, if it is worth owing and not owed already; of an incident that ``is_new`` nothing is.

    Says whether a dispatcher may find something that it can send now.
    """
    way = handling(notification.target.channel)
    if is_new and notification.kind is Kind.PAGE:
        return _write_down(db, incident, notification, way, now, is_new=True, first=first)
    _enqueue_later(db, incident, notification, way, now)
    return True


def _enqueue_later(
    db: Connection, incident: Incident, notification: Notification, way: Handling, now: datetime
) -> None:
    """Write down what is owed of an incident that may owe something already."""
    if notification.is_redraw:
        _redraw(db, incident, notification, way, now)
        return
    if notification.reason is not Reason.RESOLVE_UNDONE:
        _enqueue(db, incident, notification, way, now)
        return
    last = db.execute(_LAST_END, (incident.id, notification.target.lane)).fetchone()
    end = End(Status(last[1]), *last[2:]) if last else None
    is_cancelled, owed = correction(notification, incident, way, end)
    if is_cancelled:
        cancel(db, last[0], now)
    for each in owed:
        _write_down(db, incident, each, way, now)


def _enqueue(db: Connection, incident: Incident, notification: Notification, way: Handling, now: datetime) -> None:
    lane = (incident.id, notification.target.lane)
    after = ends(db, *lane)[1] if way.keeps_incidents and notification.kind is not Kind.PAGE else 0
    if worth_owing(notification, _told(db, lane, after), _waiting(db, lane)):
        _write_down(db, incident, notification, way, now)


def _redraw(db: Connection, incident: Incident, notification: Notification, way: Handling, now: datetime) -> None:
    lane = (incident.id, notification.target.lane)
    ahead = (Waiting(serial, datetime.fromtimestamp(at, UTC), tries) for serial, at, tries in db.execute(_AHEAD, lane))
    renewed = not card(db, *lane).startswith("*")
    if way.redraws and worth_redrawing(_told(db, lane, 0), list(ahead), now, renewed=renewed):
        _write_down(db, incident, notification, msgspec.structs.replace(way, hold=timedelta(0)), now)


def _write_down(
    db: Connection,
    incident: Incident,
    notification: Notification,
    way: Handling,
    now: datetime,
    *,
    is_new: bool = False,
    first: FirstPages | None = None,
) -> bool:
    """Say whether it may be sent now."""
    target, kind = notification.target, notification.kind
    way = way.of(kind)
    if kind not in way.kinds:
        return False
    due, window = _due(db, incident, target, way, now)
    owed_at = max(now, notification.at or now)
    row = {
        "id": incident.id,
        "lane": target.lane,
        "channel": target.channel,
        "address": target.address,
        "kind": kind.value,
        "round": notification.round,
        "serial": notification.serial,
        "priority": (LEAST if notification.is_redraw else incident.priority).value,
        "rank": RANKS[-1] if notification.is_redraw else rank(kind, incident.priority),
        "now": owed_at.timestamp(),
        "not_before": due.timestamp(),
        "notification": msgspec.json.encode(notification),
    }
    if first is not None and window is None and _is_leased(db, row, notification, first, owed_at):
        return False
    if not is_new and supersedes(kind, incident.priority):
        _cancel_superseded(db, incident, notification, now)
    joins = window is not None and way.umbrella and due > now
    begins = window is not None and joins and window.begins_umbrella(way)
    row["bundle"] = window.umbrella if window is not None and joins and not begins else None
    inserted = db.execute(_ENQUEUE, row)
    if window is not None and (_is_owed_first(db, row, is_new=is_new) or inserted.rowcount):
        if begins:
            (added,) = db.execute(_NUMBER, row).fetchone()
            db.execute(_JOIN, (added, added))
            window = msgspec.structs.replace(window, umbrella=added)
        _gather(db, target, window)
    return due <= now


def _is_leased(
    db: Connection, row: dict[str, object], notification: Notification, first: FirstPages, owed_at: datetime
) -> bool:
    """Write it down as leased already, if somebody takes it."""
    until = first.until(notification.target)
    if until is None:
        return False
    for (number,) in db.execute(_ENQUEUE_LEASED, {**row, "lease_until": until}).fetchall():
        first.add(number, notification, owed_at)
    return True


def _is_owed_first(db: Connection, row: dict[str, object], *, is_new: bool) -> bool:
    """Say whether we know that it is owed for the first time, without an answer of a database elsewhere."""
    if db.ahead is None or not is_new:
        return False
    return db.ahead.is_first(tuple(row[column] for column in ("id", "lane", "kind", "round", "serial")))


def _gather(db: Connection, target: Target, window: Window) -> None:
    """Keep the present window of an address."""
    address, gathered = (target.channel, target.address), (window.until.timestamp(), window.count, window.umbrella)
    if db.ahead is None:
        db.execute(_GATHERED, (*address, *gathered))
        return
    db.ahead.know(_GATHERING, address, [gathered])
    db.ahead.put_off(_GATHERED, address, gathered)


def _cancel_superseded(db: Connection, incident: Incident, notification: Notification, now: datetime) -> None:
    lane = (incident.id, notification.target.lane)
    for number, kind, priority in db.execute(_IN_FRONT, lane).fetchall():
        if is_superseded(Kind(kind), Priority(priority), notification.kind, incident.priority):
            cancel(db, number, now)


def _due(
    db: Connection, incident: Incident, target: Target, handling: Handling, now: datetime
) -> tuple[datetime, Window | None]:
    window = _window(db, target) if is_gathered(incident, handling) else None
    return due_at(incident, handling, window, now)


def _window(db: Connection, target: Target) -> Window | None:
    rows = rows_of(db, _GATHERING, (target.channel, target.address))
    return Window(datetime.fromtimestamp(rows[0][0], UTC), *rows[0][1:]) if rows else None


def _told(db: Connection, lane: tuple[int, str], after: int) -> Iterator[tuple[Status, int]]:
    """Read what has told a lane of the trouble (``delivery.TELLING``) after a row, and no further than is asked."""
    for state, attempt in db.execute(_TOLD, (*lane, after)):
        yield Status(state), attempt


def _waiting(db: Connection, lane: tuple[int, str]) -> Iterator[Kind]:
    for (kind,) in db.execute(_WAITING, lane):
        yield Kind(kind)


def cancel_pointless(db: Connection, incident: Incident, now: datetime) -> bool:
    """Cancel what is pending and has become pointless with this change of the incident; say whether anything has."""
    if incident.state is State.TRIGGERED:
        return False  # nothing is pointless while nobody has answered, and most changes end here
    rows = db.execute(_PENDING, (incident.id,)).fetchall()
    ours = [number for number, kind, at in rows if pointless(Kind(kind), datetime.fromtimestamp(at, UTC), incident)]
    for number in ours:
        cancel(db, number, now)
    return bool(ours)


def cancel(db: Connection, row_id: int, now: datetime) -> None:
    """Settle a row that will not be sent."""
    db.execute(_CANCEL, (now.timestamp(), row_id))


def owe_again(db: Connection, incident_id: int, handling: HandlingOf, resolved_at: datetime) -> None:
    """Owe again what a resolve that is undone has made pointless, but for a provider's incident that it has ended."""
    rows = db.execute(_POINTLESS_SINCE, (incident_id, resolved_at.timestamp())).fetchall()
    for number, channel, lane in rows:
        if not (handling(channel).keeps_incidents and ends(db, incident_id, lane)[1] > number):
            db.execute(_OWE_AGAIN, (number,))


def first_due(db: Connection, channel: str, now: datetime) -> int | None:
    """Give the most urgent rank that a claim may find, None if it would find nothing: a look costs no fsync."""
    rank: int | None = db.execute(_FIRST_DUE, {"channel": channel, "now": now.timestamp()}).fetchone()[0]
    return rank


def lease(
    db: Connection, channel: str, now: datetime, until: float, limit: int, wanted: Wanted
) -> list[tuple[Any, ...]]:
    """Lease rows, in the order of their ranks; what an attempt that never ended holds is free again."""
    db.execute(_EXPIRED, (now.timestamp(),))
    parameters = {"channel": channel, "now": now.timestamp(), "limit": limit, **msgspec.structs.asdict(wanted)}
    query = _TRIAL if wanted.trial else _ranked(_AT_ADDRESS if wanted.address else _DUE, wanted.urgent)
    numbers = db.execute(query, parameters).fetchall()
    return [row for rows in db.execute_each(_LEASE, [(until, number) for (number,) in numbers]) for row in rows]


@cache
def _ranked(query: str, urgent: bool | None) -> str:  # noqa: FBT001  # of Wanted
    """Write one statement for all ranks, in their order; it reads no further than until it has found enough."""
    ranges = (f"SELECT * FROM ({query.format(rank=rank)}) part_{rank}" for rank in _ranks(urgent))  # noqa: S608  # our own text
    return f"{' UNION ALL '.join(ranges)} LIMIT :limit"


def readable(  # as ``lease``, and what is left out
    db: Connection,
    channel: str,
    now: datetime,
    limit: int,
    wanted: Wanted,
    held: Iterable[int],
    settled: Iterable[int],
) -> list[tuple[Any, ...]]:
    """Read what ``lease`` would lease, but for what is ``held``; no row waits for one that is ``settled``."""
    parameters = {"channel": channel, "now": now.timestamp(), **msgspec.structs.asdict(wanted)}
    lists = {"held": sorted(held), "settled": sorted(settled), "ranks": _ranks(wanted.urgent)}
    parameters |= {name: msgspec.json.encode(numbers).decode() for name, numbers in lists.items()}
    return db.execute(_READABLE, {**parameters, "limit": 1 if wanted.trial else limit}).fetchall()


def in_doubt(db: Connection, handling: HandlingOf, now: datetime) -> list[int]:
    """Read what the process before may have sent in an outage, where the provider keeps incidents."""
    kept = [channel for (channel,) in db.execute(_CHANNELS) if handling(channel).keeps_incidents]
    return [number for channel in kept for (number,) in db.execute(_IN_DOUBT, (channel, now.timestamp()))]


def tried(db: Connection, numbers: Iterable[int]) -> None:
    """Note that these may have arrived, so that what is news of them is owed: see ``delivery.worth_owing``."""
    db.execute(_TRIED, (msgspec.json.encode(sorted(numbers)).decode(),))


def _ranks(urgent: bool | None) -> tuple[int, ...]:  # noqa: FBT001  # of Wanted
    return tuple(each for each in RANKS if urgent is None or is_urgent(each) is urgent)


def late_pages(db: Connection, channel: str, before: datetime, limit: int) -> list[int]:
    """Give pages that have waited since before a moment, and have not looked for another way."""
    return [number for (number,) in db.execute(_LATE, (channel, before.timestamp(), limit))]


def read(db: Connection, number: int) -> tuple[Any, ...]:
    """Read what the dispatcher gets of a row."""
    columns: tuple[Any, ...] = db.execute(_READ, (number,)).fetchone()
    return columns


def mark_elsewhere(db: Connection, number: int) -> bool:
    """Note that an unsettled page looks for another way; False if it has, or is settled."""
    return db.execute(_ELSEWHERE, (number,)).rowcount == 1


def owe_end_again(db: Connection, incident_id: int, channel: str, now: datetime) -> int:
    """Owe the end of an incident once more; gives to how many lanes."""
    at = now.timestamp()
    return db.execute(_END_AGAIN, (at, at, incident_id, channel)).rowcount


def owe_acknowledgement_again(db: Connection, incident_id: int, channel: str, now: datetime) -> int:
    """Owe an acknowledgement once more, where nothing was sent after it; gives to how many lanes."""
    at = now.timestamp()
    return db.execute(_ACKNOWLEDGE_AGAIN, (at, at, incident_id, channel)).rowcount


def best_ranks(db: Connection, channel: str, addresses: Iterable[str]) -> dict[str, int]:
    """Give the rank of the most urgent row that waits for each address, if any does."""
    rows = ((address, db.execute(_BEST, (channel, address)).fetchone()) for address in addresses)
    return {address: columns[0] for address, columns in rows if columns}


def channels(db: Connection) -> set[str]:
    """Name the channels on which something is owed."""
    return {name for (name,) in db.execute(_CHANNELS)}


def channel_states(db: Connection) -> list[ChannelState]:
    """Say how sending goes on each channel."""
    states = {
        channel: ChannelState(channel, count, datetime.fromtimestamp(oldest, UTC), error or "")
        for channel, count, oldest, error in db.execute(_STATES)
    }
    for channel, error, at in db.execute(_GIVEN_UP):
        known = states.get(channel, ChannelState(channel))
        if known.given_up_at is None:
            given_up_at = datetime.fromtimestamp(at, UTC)
            states[channel] = msgspec.structs.replace(
                known, last_error=known.last_error or error, given_up_at=given_up_at
            )
    return sorted(states.values(), key=lambda one: one.channel)


def park(db: Connection, channel: str, address: str, leased: Iterable[tuple[int, int]]) -> None:
    """Let the address be served by itself; ``leased`` rows (id, attempt) wait there, untried."""
    db.executemany(_PUT_BACK, leased)
    db.execute(_PARK, (channel, address))


def release(db: Connection, channel: str, address: str, *, forward: bool, now: datetime) -> None:
    """Serve the address with all others again; ``forward`` makes due now what waits to be retried there."""
    db.execute(_RELEASE, (channel, address))
    if forward:
        db.execute(_FORWARD, {"channel": channel, "address": address, "now": now.timestamp()})


def clock_set(db: Connection, by: timedelta) -> None:
    """Move what waits along with a clock that was set."""
    for query in (_MOVED, _AGED, "UPDATE gathering SET until = until + :by"):
        db.execute(query, {"by": by.total_seconds()})


def retry(
    db: Connection, row_id: int, attempt: int, when: datetime, error: str, spent: float, *, elsewhere: bool
) -> bool:
    """Put a leased row off after a failure; False when the lease was lost to another attempt."""
    return db.execute(_RETRY, (when.timestamp(), error, spent, elsewhere, row_id, attempt)).rowcount == 1


def finish(
    db: Connection, row_id: int, attempt: int, state: str, now: datetime, *, ref: str = "", error: str = ""
) -> bool:
    """Settle a leased row; False when the lease was lost to another attempt, which will settle it."""
    values = (state, now.timestamp(), ref[:_LONGEST_REF], error, row_id, attempt)
    return db.execute(_FINISH, values).rowcount == 1


def finish_sent(db: Connection, leased: Iterable[tuple[int, int, str]], now: datetime) -> list[Rows]:
    """Settle leased rows (id, attempt, ref) that were sent; of each that is still leased, one row was changed."""
    at = now.timestamp()
    return [
        db.execute(_FINISH, ("sent", at, ref[:_LONGEST_REF], "", number, attempt)) for number, attempt, ref in leased
    ]


def thread(db: Connection, incident_id: int, lane: str, after: int = 0) -> str:
    """Give the ref of the first message of a lane (after a row), which later ones answer."""
    query = """SELECT ref FROM outbox
        WHERE incident_id = ? AND lane = ? AND id > ? AND state = 'sent' AND ref <> '' AND substr(ref, 1, 1) <> '*'
        ORDER BY id LIMIT 1"""
    first = db.execute(query, (incident_id, lane, after)).fetchone()
    return first[0] if first else ""


def card(db: Connection, incident_id: int, lane: str) -> str:
    """Give the ref of what shows the incident on a lane: its first message, of many incidents if it begins with *."""
    query = """SELECT ref FROM outbox
        WHERE incident_id = ? AND lane = ? AND state = 'sent' AND ref <> '' ORDER BY id LIMIT 1"""
    first = db.execute(query, (incident_id, lane)).fetchone()
    return first[0] if first else ""


def digest(db: Connection, ref: str) -> list[tuple[int, Notification]]:
    """Give the pages that went out in one message, and of which incidents."""
    query = """SELECT incident_id, id, notification, channel, address, lane, kind, round, serial
        FROM outbox WHERE ref = ? AND ref >= '*' AND ref < '+'"""
    rows = db.execute(query, (ref,)).fetchall()
    return [(number, notification(db, row_id, doc, columns)) for number, row_id, doc, *columns in rows]


def notification(db: Connection, row_id: int, doc: bytes, columns: Sequence[Any]) -> Notification:
    """Read what is owed; if that cannot be read, the columns say enough for it to be sent to its address."""
    read = db.unreadable.read(Table.NOTIFICATION, row_id, lambda: _decoder.decode(doc))
    if read is not None:
        return read
    channel, address, lane, kind, round_, serial = columns
    reason = Reason.REDRAWN if serial < 0 else None
    return Notification(Kind(kind), Target(channel, address, lane), round_, reason=reason, serial=serial)


def set_aside(db: Connection, row_id: int, attempt: int, until: datetime) -> None:
    """Let a leased row rest: it cannot be sent, and nobody is to try it without a pause."""
    db.execute(_SET_ASIDE, (until.timestamp(), row_id, attempt))


def umbrella_of(db: Connection, incident_id: int, lane: str, after: int, before: int) -> int:
    """Give the umbrella under which the pages of a lane stand between two rows; 0 if they stand alone."""
    columns = db.execute(_UMBRELLA_OF, (incident_id, lane, after, before)).fetchone()
    return columns[0] if columns else 0


def umbrella(db: Connection, number: int) -> tuple[Member, ...]:
    """Give the incidents that are members of an umbrella."""
    return tuple(Member(*columns) for columns in db.execute(_MEMBERS, (number,)))


def umbrella_states(db: Connection, number: int) -> Iterator[State]:
    """Read how the members of an umbrella stand, and no further than is asked."""
    for (state,) in db.execute(_MEMBER_STATES, (number,)):
        yield State(state)


def umbrella_is_told_later(db: Connection, umbrella_number: int, kind: Kind, row_id: int) -> bool:
    """Say whether a later row will tell the umbrella the same."""
    parameters = {"umbrella": umbrella_number, "kind": kind.value, "id": row_id}
    return db.execute(_TOLD_LATER, parameters).fetchone() is not None


def ends(db: Connection, incident_id: int, lane: str, before: int = ALL) -> tuple[int, int]:
    """Count the ends that were owed to a lane before a row, and give the row of the last one; 0 if there is none."""
    count, last = db.execute(_ENDS, (incident_id, lane, before)).fetchone()
    return count, last or 0


def round_is_dead(db: Connection, incident_id: int, number: int) -> bool:
    """Say whether no page of this round was sent or can still be sent."""
    query = "SELECT DISTINCT state FROM outbox WHERE incident_id = ? AND round = ? AND kind = 'page'"
    return nobody_told(Status(row[0]) for row in db.execute(query, (incident_id, number)))


def another_may_reach(db: Connection, incident_id: int, page: Notification, row_id: int) -> bool:
    """Say whether another page of its round may still reach whom this one was for; see ``may_still_reach``."""
    rows = db.execute(_HOPES, (incident_id, page.round, row_id)).fetchall()
    others = (notification(db, number, doc, columns).target for number, doc, *columns in rows)
    return may_still_reach(page.target, others)
