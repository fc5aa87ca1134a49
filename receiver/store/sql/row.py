"""Rows in, values out: the SQL of incidents and timelines, inside a transaction of the writer."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from receiver.incident.alerts import following
from receiver.incident.delivery import is_given_back, is_undone, redraws
from receiver.incident.model import (
    UNKNOWN_START,
    AlertGroup,
    Data,
    Decision,
    Entry,
    EntryKind,
    Incident,
    Priority,
    Ripple,
    State,
    route_of,
)
from receiver.store.base import (
    LINES_SHOWN,
    Awaited,
    Backlog,
    IncidentFilter,
    IncidentPage,
    OpenIncident,
    Outline,
    PastIncident,
    WantedOpen,
)
from receiver.store.remembered import Remembered
from receiver.store.sql import outbox
from receiver.store.sql.ahead import Ahead
from receiver.store.sql.connection import ALL, OWN, Connection, rows_of
from receiver.store.sql.first_pages import FirstPages
from receiver.store.unreadable import Table

_LOOKED_AT = 2000  # incidents in one reading of a list
_PART = 100  # of them, that are read at once
# Bytes of what is looked up by an index. PostgreSQL takes 2,704 of a whole row of one:
# postgresql.org/docs/current/limits.html and src/include/access/nbtree.h, BTMaxItemSize.
LONGEST_KEY, LONGEST_NAME = 2000, 1000


class _OfTeam(msgspec.Struct):
    """The part of a document that a list is filtered by."""

    team: str = ""


class _Named(msgspec.Struct):
    """The part of a document that says what an incident is called."""

    labels: dict[str, str] = {}
    team: str = ""


D = TypeVar("D")
_encoder = msgspec.json.Encoder()
_incident = msgspec.json.Decoder(Incident)
_open_incident = msgspec.json.Decoder(OpenIncident)
_awaited = msgspec.json.Decoder(Awaited)
_past = msgspec.json.Decoder(PastIncident)
_of_team = msgspec.json.Decoder(_OfTeam)
_named = msgspec.json.Decoder(_Named)
_outline = msgspec.json.Decoder(Outline)
_data = msgspec.json.Decoder(Data)
_KINDS = frozenset(kind.value for kind in EntryKind)

_COLUMNS = "id, key, state, priority, opened_at, wake_at, resolved_at, doc"
_UPSERT = f"""
INSERT INTO incident ({_COLUMNS})
VALUES (:id, :key, :state, :priority, :opened_at, :wake_at, :resolved_at, :doc)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, priority = excluded.priority,
    wake_at = excluded.wake_at, resolved_at = excluded.resolved_at, doc = excluded.doc
"""  # noqa: S608  # our own names
# An index on a column that is set is written again, whether its value changes or not (sqlite.org/src, update.c).
_UPDATE = "UPDATE incident SET wake_at = :wake_at, doc = :doc WHERE id = :id"
_DOCUMENT = "SELECT doc FROM incident WHERE id = ?"
_NEWEST = "SELECT id, doc, state FROM incident WHERE key = ? ORDER BY id DESC LIMIT 1"
_NEXT = "SELECT coalesce(max(id), 0) + 1 FROM incident"
_OWNERS = """
SELECT incident_id, count(*) FROM json_each(?2) CROSS JOIN member ON receiver = ?1 AND fingerprint = value
GROUP BY incident_id
"""
_CALL = "INSERT INTO alike VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_UNNAME = "DELETE FROM alike WHERE alertname = ? AND team = ? AND incident_id = ?"
_LEAVE = "DELETE FROM member WHERE receiver = ? AND fingerprint = ? AND incident_id = ?"
_JOIN = """
INSERT INTO member (receiver, incident_id, fingerprint) SELECT ?, ?, value FROM json_each(?) WHERE true
ON CONFLICT DO NOTHING
"""
_WRITE, _LINE = "INSERT INTO timeline (incident_id, at, kind, text, actor, data) VALUES ", "(?, ?, ?, ?, ?, ?)"
_UNREADABLE = "A line that cannot be read."
_LINES = 40  # in one statement: that costs half of what each by itself does
_OPEN = "SELECT state, priority, count(*) FROM incident WHERE state <> 'resolved' GROUP BY state, priority"
_UNACKNOWLEDGED = """SELECT id, doc FROM incident
    WHERE state <> 'resolved' AND state = 'triggered' AND priority = ? ORDER BY opened_at LIMIT ?"""
_MOST_ASKED = 200  # of a priority, the oldest: which of them has waited longest
# A dashboard lists them at every scrape: a storm must neither slow the store down nor fill Prometheus with series.
_LISTED = 50
_BY_STATE = """SELECT * FROM (SELECT id, priority, opened_at FROM incident
    WHERE state <> 'resolved' AND state = '{}' ORDER BY priority, opened_at LIMIT :limit) part"""
_URGENT = f"""SELECT id, doc FROM
    (SELECT id FROM ({_BY_STATE.format("triggered")} UNION ALL {_BY_STATE.format("acknowledged")}) part_of_both
        ORDER BY priority, opened_at LIMIT :limit) part_urgent JOIN incident USING (id)
    ORDER BY incident.priority, incident.opened_at"""  # noqa: S608
# A redraw (serial < 0) is no notification, and takes its time.
_OWED = """
SELECT channel, min(created_at) FROM outbox WHERE settled_at IS NULL AND serial >= 0 GROUP BY channel
"""


def document(stored: bytes) -> bytes:
    """Give the JSON of a stored document: ``pack`` compresses those of incidents that are long over."""
    return stored if stored.startswith(b"{") else zlib.decompress(stored)


def whole(number: int, stored: bytes) -> Incident:
    """Decode a document; ValueError if it is of another incident, over which a change of this one would be written."""
    found = _incident.decode(document(stored))
    if found.id != number:
        raise ValueError("the document is of another incident")
    return found


def _decode(decoder: msgspec.json.Decoder[D], stored: bytes) -> D:
    return decoder.decode(document(stored))


def indexed(text: str, longest: int) -> str:
    """Give what stands for a text in an index: a longer one is there by its beginning and its hash."""
    if len(text) * 4 <= longest or len(encoded := text.encode()) <= longest:
        return text
    return f"{text[:100]}…{hashlib.sha256(encoded).hexdigest()}"


def incident(db: Connection, incident_id: int) -> Incident | None:
    """Read one incident; UnreadableError."""
    rows = rows_of(db, _DOCUMENT, (incident_id,))
    if not rows:
        return None
    return db.unreadable.demand(Table.INCIDENT, incident_id, partial(whole, incident_id, rows[0][0]))


def legible(db: Connection, incident_id: int) -> Incident | None:
    """Read one incident, where nothing else may fail by it; None if it cannot be read."""
    rows = rows_of(db, _DOCUMENT, (incident_id,))
    return _decoded(db, incident_id, rows[0][0]) if rows else None


def incidents(db: Connection, numbers: list[int]) -> dict[int, Incident]:
    """Read those of some incidents that can be read, each once."""
    asked = [(number,) for number in dict.fromkeys(numbers)]
    each = db.execute_each(_DOCUMENT, asked)
    read = {number: _decoded(db, number, rows[0][0]) for (number,), rows in zip(asked, each, strict=True) if rows}
    return {number: incident for number, incident in read.items() if incident is not None}


def _decoded(db: Connection, number: int, doc: bytes) -> Incident | None:
    return db.unreadable.read(Table.INCIDENT, number, partial(whole, number, doc))


def _all(db: Connection, rows: Iterable[tuple[int, bytes]]) -> list[Incident]:
    read = (_decoded(db, number, doc) for number, doc in rows)
    return [incident for incident in read if incident is not None]


def _group(key: str) -> tuple[str]:
    return (indexed(key, LONGEST_KEY),)


def _owned(route: str, fingerprints: tuple[str, ...]) -> tuple[str, str]:
    return indexed(route, LONGEST_NAME), msgspec.json.encode(fingerprints).decode()


class Known:
    """What the database knows of earlier incidents: a Lookup, each answer from an index."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def newest(self, key: str) -> Incident | None:
        """Read the newest incident of a group key."""
        rows = rows_of(self._db, _NEWEST, _group(key))
        if not rows:
            return None
        number, doc, state = rows[0]
        read = _decoded(self._db, number, doc)
        if read is None and state != State.RESOLVED:
            _set_aside(self._db, number, key)
        return read

    def owners(self, route: str, fingerprints: tuple[str, ...]) -> dict[int, int]:
        """Count how many of these alerts fire in each open incident of this route."""
        return dict(rows_of(self._db, _OWNERS, _owned(route, fingerprints)))

    def incident(self, number: int) -> Incident | None:
        """Read one incident, None if it cannot be read."""
        return legible(self._db, number)

    def next_number(self) -> int:
        """Give the number after the greatest; the newest incident of all is never deleted."""
        return int(rows_of(self._db, _NEXT, ())[0][0])


def _set_aside(db: Connection, number: int, key: str) -> None:
    """Let the group of an open incident have another one: of this one nobody would be paged again."""
    aside = indexed(f"aside {number} {key}", LONGEST_KEY)
    db.execute("UPDATE incident SET key = ? WHERE id = ?", (aside, number))
    if db.ahead is not None:
        db.ahead.forget(_group(key))


def set_aside(db: Connection, stuck: Incident, key: str, now: datetime) -> Incident:
    """Begin another incident for a group, in place of an open one that stays as it is."""
    _set_aside(db, stuck.id, stuck.key)
    return following(None, Known(db).next_number(), key, now)


def ask(group: AlertGroup, ahead: Ahead) -> None:
    """Ask what a Lookup will read for a group."""
    ahead.ask(_NEWEST, _group(group.key), about=_group(group.key))
    if firing := tuple(alert.fingerprint for alert in group.alerts if alert.firing):
        ahead.ask(_OWNERS, _owned(route_of(group), firing), about=firing)
    ahead.ask(_NEXT, ())


def ask_for(numbers: Iterable[int], ahead: Ahead) -> None:
    """Ask for some incidents."""
    for number in numbers:
        ahead.ask(_DOCUMENT, (number,), about=(number,))


def newest(db: Connection, state: str | None, limit: int) -> list[Incident]:
    """Read the newest incidents, all or those in one state."""
    where = _in_state(State(state), "WHERE") if state is not None else ""
    query = f"SELECT id, doc FROM incident {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608  # our own text
    return _all(db, db.execute(query, {"limit": limit}))


def _in_state(state: State, word: str) -> str:
    """Name it in the statement: PostgreSQL's plan for any state would look through what is over for what is open."""
    return f"{word} state = '{state.value}'"


def listed(db: Connection, wanted: IncidentFilter) -> IncidentPage:
    """Read part of a list; the team is in the document only, which may be compressed."""
    before = wanted.before if wanted.before is not None else ALL
    found = list[Incident]()
    for count, (number, priority, opened_at, doc) in enumerate(_from_newest(db, before, wanted.state)):
        if count == _LOOKED_AT or len(found) == wanted.limit:
            return IncidentPage(found, before)
        before = number
        if wanted.priority not in {None, priority} or (wanted.since and opened_at < wanted.since.timestamp()):
            continue
        if (one := _of(db, number, doc, wanted.team)) is not None:
            found.append(one)
    return IncidentPage(found)


def _of(db: Connection, number: int, doc: bytes, team: str | None) -> Incident | None:
    """Read an incident if it is of a team and can be read."""
    if team is not None:
        part = db.unreadable.read(Table.INCIDENT, number, partial(_decode, _of_team, doc))
        if part is None or part.team != team:
            return None
    return _decoded(db, number, doc)


def _from_newest(db: Connection, before: int, state: State | None) -> Iterator[tuple[int, str, float, bytes]]:
    """Read a part at a time: PostgreSQL sends all that a statement gives, however little of it is looked at."""
    where = _in_state(state, "AND") if state is not None else ""
    query = f"""SELECT id, priority, opened_at, doc FROM incident WHERE id < :before {where}
        ORDER BY id DESC LIMIT :limit"""  # noqa: S608  # our own text
    rows = db.execute(query, {"before": before, "limit": _PART}).fetchall()
    while rows:
        yield from rows
        rows = db.execute(query, {"before": rows[-1][0], "limit": _PART}).fetchall() if len(rows) == _PART else []


def alike(db: Connection, alertname: str, team: str, limit: int) -> list[PastIncident]:
    """Read the newest incidents that were called the same."""
    query = """SELECT id, doc FROM alike JOIN incident ON incident.id = alike.incident_id
        WHERE alertname = ? AND team = ? ORDER BY incident_id DESC LIMIT ?"""
    named = (indexed(alertname, LONGEST_NAME), indexed(team, LONGEST_NAME))
    read = [
        db.unreadable.read(Table.INCIDENT, number, partial(_decode, _past, doc))
        for number, doc in db.execute(query, (*named, limit)).fetchall()
    ]
    return [past for past in read if past is not None]


def still_open(db: Connection) -> list[int]:
    """Number the incidents that are open, oldest first."""
    query = "SELECT id FROM incident WHERE state IN ('triggered', 'acknowledged')"
    return sorted(number for (number,) in db.execute(query))


def waiting(db: Connection, since: datetime, limit: int) -> Iterator[Incident]:
    """Read what is open, and so many of what was resolved since a moment; one at a time, for there may be many."""
    for number in still_open(db):
        found = legible(db, number)
        if found is not None:
            yield found
    yield from resolved_since(db, since, limit)


def read_open(
    db: Connection, numbers: list[int], wanted: WantedOpen, remembered: Remembered | None = None
) -> list[Incident]:
    """Read those of these incidents that are still open and wanted, in their order."""
    query = """SELECT id, doc FROM incident
        WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each(?)) AND state <> 'resolved' ORDER BY id"""
    rows = db.execute(query, (_encoder.encode(numbers).decode(),)).fetchall()
    rows = [(number, doc) for number, doc in rows if wanted is None or _is_wanted(db, number, doc, wanted)]
    if remembered is None:
        return _all(db, rows)
    read = [_remembered(db, number, doc, remembered) for number, doc in rows]
    return [incident for incident in read if incident is not None]


def _is_wanted(db: Connection, number: int, doc: bytes, wanted: Callable[[Outline], bool]) -> bool:
    outline = db.unreadable.read(Table.INCIDENT, number, partial(_decode, _outline, doc))
    return outline is not None and wanted(outline)


def _remembered(db: Connection, number: int, doc: bytes, remembered: Remembered) -> Incident | None:
    """Decode a document that is not the one that was read last: that takes ten times as long as to compare them."""
    known = remembered[number]
    if known is not None and known[0] == doc:
        return known[1]
    incident = _decoded(db, number, doc)
    if incident is not None:
        remembered.keep(number, doc, incident)
    return incident


def resolved_since(db: Connection, start: datetime, limit: int) -> list[Incident]:
    """Read incidents that were resolved at a moment or later, newest first."""
    query = "SELECT id, doc FROM incident WHERE resolved_at >= ? ORDER BY resolved_at DESC LIMIT ?"
    return _all(db, db.execute(query, (start.timestamp(), limit)))


def resolved_before(db: Connection, before: datetime, limit: int) -> list[tuple[Incident, tuple[Entry, ...]]]:
    """Read incidents that were resolved before a moment.

    The newest of all stays, and the one with the newest line of a timeline: numbers are never given twice.
    """
    query = """SELECT id, doc FROM incident WHERE resolved_at < ? AND id < (SELECT max(id) FROM incident)
        AND id <> coalesce((SELECT incident_id FROM timeline WHERE seq = (SELECT max(seq) FROM timeline)), 0)
        ORDER BY resolved_at LIMIT ?"""
    incidents = _all(db, db.execute(query, (before.timestamp(), limit)).fetchall())
    return [(incident, timeline(db, incident.id, ALL)) for incident in incidents]


def pack(db: Connection, before: datetime, limit: int) -> int:
    """Compress the documents of the next incidents that were resolved before a moment; gives how many it looked at."""
    done = dict(db.execute("SELECT name, value FROM own WHERE name IN ('packed_at', 'packed_id')").fetchall())
    query = f"""SELECT {_COLUMNS} FROM incident WHERE resolved_at IS NOT NULL AND resolved_at < ?
        AND (resolved_at, id) > (?, ?) ORDER BY resolved_at, id LIMIT ?"""  # noqa: S608  # our own names
    last = done.get("packed_at", 0.0), done.get("packed_id", 0.0)
    rows = db.execute(query, (before.timestamp(), *last, limit)).fetchall()
    packed = [(*rest, zlib.compress(doc)) for *rest, doc in rows if doc.startswith(b"{")]
    # A row that is made shorter leaves its page as empty as it is: only one that is deleted lets pages be merged.
    db.execute("PRAGMA defer_foreign_keys=ON")  # until the end of this transaction, in which it is back
    db.executemany("DELETE FROM incident WHERE id = ?", [columns[:1] for columns in packed])
    db.executemany(f"INSERT INTO incident ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", packed)  # noqa: S608
    if rows:
        db.executemany(OWN, (("packed_at", rows[-1][6]), ("packed_id", rows[-1][0])))
    return len(rows)


def delete(db: Connection, numbers: list[int]) -> None:
    """Delete resolved incidents; one that is open is left with all its rows."""
    parameters = [(number,) for number in numbers]
    shut = "(SELECT id FROM incident WHERE id = ? AND state = 'resolved')"
    _forget_names(db, parameters)
    for table in ("outbox", "timeline", "attachment", "silence"):
        db.executemany(f"DELETE FROM {table} WHERE incident_id IN {shut}", parameters)  # noqa: S608  # our own names
    db.executemany("DELETE FROM incident WHERE id = ? AND state = 'resolved'", parameters)


def _forget_names(db: Connection, parameters: list[tuple[int]]) -> None:
    """Delete the names of resolved incidents; that of one that cannot be read stays, and ``alike`` passes over it."""
    each = db.execute_each("SELECT id, doc FROM incident WHERE id = ? AND state = 'resolved'", parameters)
    for number, doc in (row for rows in each for row in rows):
        if (name := _name_in(db, number, doc)) is not None:
            db.execute(_UNNAME, (*name, number))


def _name_in(db: Connection, number: int, doc: bytes) -> tuple[str, str] | None:
    read = db.unreadable.read(Table.INCIDENT, number, partial(_decode, _named, doc))
    return _name_of(read.labels, read.team) if read is not None else None


def rename(db: Connection, number: int, was: bytes, now: bytes) -> None:
    """Keep the table of what is called the same true where a document is rewritten."""
    names = _name_in(db, number, was), _name_in(db, number, now)
    if names[0] is not None and names[1] is not None and names[0] != names[1]:
        db.execute(_UNNAME, (*names[0], number))
        db.execute(_CALL, (*names[1], number))


def timeline(db: Connection, incident_id: int, limit: int = LINES_SHOWN, skip: int = 0) -> tuple[Entry, ...]:
    """Read the last lines of an incident's timeline, or those before the last ``skip``, oldest first."""
    query = """SELECT seq, at, kind, data, actor, text FROM timeline WHERE incident_id = ?
        ORDER BY seq DESC LIMIT ? OFFSET ?"""
    rows = db.execute(query, (incident_id, limit, skip)).fetchall()
    return tuple(entry(db, *row) for row in reversed(rows))


def entry(db: Connection, seq: int, at: float, kind: str, data: str, actor: str, text: str) -> Entry:
    """Build one line; a kind of an older receiver that there is no more is read as a remark."""
    known = EntryKind(kind) if kind in _KINDS else EntryKind.REMARK
    read = db.unreadable.read(
        Table.TIMELINE, seq, lambda: Entry(datetime.fromtimestamp(at, UTC), known, _data.decode(data), actor, text)
    )
    return read or Entry(UNKNOWN_START, EntryKind.REMARK, Data(), "", _UNREADABLE)


class Saved(NamedTuple):
    """An incident before and after its change, None if nothing was opened, and whether something may be sent now."""

    before: Incident
    after: Incident | None
    owes: bool = False
    others: tuple["Saved", ...] = ()  # that have changed with it


def save(  # and who is given its first pages
    db: Connection,
    before: Incident,
    decision: Decision,
    handling: outbox.HandlingOf,
    now: datetime,
    first: FirstPages | None = None,
) -> Saved:
    """Write what was decided: state, timeline and outbox together."""
    after = decision.incident
    if after.state is State.NEW:
        return Saved(before, None)
    if not decision.changes(before):  # it may still mean something for others: what is over speaks for nobody
        others = _follow(db, after.id, decision.ripples, handling, now)
        return Saved(before, after, any(other.owes for other in others), others)
    _put(db, before, after)
    if after.clock_moved != before.clock_moved:
        opened = {"opened_at": _opened_at(after), "id": after.id}
        db.execute("UPDATE incident SET opened_at = :opened_at WHERE id = :id", opened)
    write(db, after.id, *decision.entries)
    _enrol(db, before, after)
    _name(db, before, after)
    _attach(db, before, after)
    owes = outbox.cancel_pointless(db, after, now)  # what stands behind it in its lane may be sent
    owed = (*decision.notifications, *redraws(before, after, now))
    is_new, sendable = before.state is State.NEW, False
    for notification in owed:
        sendable |= outbox.enqueue(db, after, notification, handling, now, is_new=is_new, first=first)
    undone = is_undone(before, after)
    if undone and before.resolved_at is not None:
        outbox.owe_again(db, after.id, handling, before.resolved_at)
        outbox.cancel_pointless(db, after, now)
    given_back = is_given_back(before, after)
    if given_back and before.acknowledged_at is not None:
        outbox.owe_again(db, after.id, handling, before.acknowledged_at)
    others = _follow(db, after.id, decision.ripples, handling, now)
    owes = owes or undone or given_back or sendable or any(other.owes for other in others)
    return Saved(before, after, owes, others)


def _put(db: Connection, before: Incident, after: Incident) -> None:
    stays = (before.state, before.priority, before.resolved_at) == (after.state, after.priority, after.resolved_at)
    db.execute(_UPDATE if stays else _UPSERT, _columns(after))
    if db.ahead is None:
        return
    db.ahead.forget((*_group(after.key), after.id))
    if before.state is State.NEW:
        db.ahead.know(_NEXT, (), [(after.id + 1,)])


def _follow(
    db: Connection, number: int, ripples: tuple[Ripple, ...], handling: outbox.HandlingOf, now: datetime
) -> tuple[Saved, ...]:
    """Do what a change means for others, or for those that are attached to this one."""
    saved = list[Saved]()
    for ripple in ripples:
        for each in (ripple.number,) if ripple.number else attached(db, number):
            other = legible(db, each)
            if other is not None:
                saved.append(save(db, other, ripple.decide(other), handling, now))
    return tuple(saved)


def attached(db: Connection, parent: int) -> tuple[int, ...]:
    """Give the incidents that are attached to one."""
    query = "SELECT incident_id FROM attachment WHERE parent = ? ORDER BY incident_id"
    return tuple(number for (number,) in db.execute(query, (parent,)).fetchall())


def _attach(db: Connection, before: Incident, after: Incident) -> None:
    """Keep the table of attachments true."""
    if after.attached_to == before.attached_to:
        return
    db.execute("DELETE FROM attachment WHERE incident_id = ?", (after.id,))
    if after.attached_to:
        db.execute("INSERT INTO attachment VALUES (?, ?)", (after.id, after.attached_to))


def write(db: Connection, incident_id: int, *entries: Entry) -> None:
    """Add lines to the timeline; lines are never changed."""
    for start in range(0, len(entries), _LINES):
        some, values = entries[start : start + _LINES], list[object]()
        for entry in some:
            data = _encoder.encode(entry.data).decode()
            values += (incident_id, entry.at.timestamp(), str(entry.kind), entry.text, entry.actor, data)
        db.execute(_WRITE + ", ".join([_LINE] * len(some)), values)


def backlog(db: Connection) -> Backlog:
    """Read what the metrics show."""
    waiting = {one.value: _waiting(db, one) for one in Priority}
    return Backlog(
        open_incidents={(state, priority): count for state, priority, count in db.execute(_OPEN)},
        oldest_unacknowledged={one: min(since) for one, (since, _) in waiting.items() if since},
        first_due={one: min(due) for one, (_, due) in waiting.items() if due},
        oldest_owed={channel: datetime.fromtimestamp(at, UTC) for channel, at in db.execute(_OWED)},
        heartbeats=heartbeats(db),
        most_urgent=tuple(
            one
            for number, doc in db.execute(_URGENT, {"limit": _LISTED}).fetchall()
            if (one := db.unreadable.read(Table.INCIDENT, number, partial(_decode, _open_incident, doc)))
        ),
    )


def _waiting(db: Connection, priority: Priority) -> tuple[list[datetime], list[datetime]]:
    """Say since when nobody has acknowledged incidents of a priority, and when somebody was to."""
    rows = db.execute(_UNACKNOWLEDGED, (priority.value, _MOST_ASKED)).fetchall()
    read = (db.unreadable.read(Table.INCIDENT, number, partial(_awaits, doc)) for number, doc in rows)
    times = [one for one in read if one is not None]
    since, due = ([at for at in column if at is not None] for column in zip(*times, strict=True)) if times else ([], [])
    return since, due


def _awaits(doc: bytes) -> tuple[datetime | None, datetime | None]:
    awaited = _decode(_awaited, doc)
    return awaited.since, awaited.due


def heartbeats(db: Connection) -> dict[str, datetime]:
    """Read when each Watchdog was last heard."""
    beats = db.execute("SELECT source, last_seen_at FROM heartbeat").fetchall()
    read = {source: _moment(db, source, at) for source, at in beats}
    return {source: at for source, at in read.items() if at is not None}


def _moment(db: Connection, source: str, at: float) -> datetime | None:
    return db.unreadable.read(Table.HEARTBEAT, source, lambda: datetime.fromtimestamp(at, UTC))


def _enrol(db: Connection, before: Incident, after: Incident) -> None:
    """Keep the table of members true: what fires in an incident that is open."""
    if not after.receiver:
        return
    was = {a.fingerprint for a in before.alerts.values() if a.firing and before.state is not State.RESOLVED}
    now = {a.fingerprint for a in after.alerts.values() if a.firing and after.state is not State.RESOLVED}
    route = indexed(route_of(after), LONGEST_NAME)
    if db.ahead is not None:
        db.ahead.forget(was ^ now)
    if was - now:
        db.executemany(_LEAVE, [(route, one, after.id) for one in sorted(was - now)])
    if now - was:
        db.execute(_JOIN, (route, after.id, _encoder.encode(sorted(now - was)).decode()))


def _name(db: Connection, before: Incident, after: Incident) -> None:
    """Keep the table of what is called the same true."""
    was, now = (_name_of(one.labels, one.team) for one in (before, after))
    if before.state is not State.NEW:
        if was == now:
            return
        db.execute(_UNNAME, (*was, after.id))
    if now[0]:
        db.execute(_CALL, (*now, after.id))


def _name_of(labels: Mapping[str, str], team: str) -> tuple[str, str]:
    return indexed(labels.get("alertname", ""), LONGEST_NAME), indexed(team, LONGEST_NAME)


def _columns(incident: Incident) -> dict[str, object]:
    wake_at = incident.wake_at
    return {
        "id": incident.id,
        "key": indexed(incident.key, LONGEST_KEY),
        "state": incident.state.value,
        "priority": incident.priority.value,
        "opened_at": _opened_at(incident),
        "wake_at": wake_at.timestamp() if wake_at else None,
        "resolved_at": incident.resolved_at.timestamp() if incident.resolved_at else None,
        "doc": _encoder.encode(incident),
    }


def _opened_at(incident: Incident) -> float | None:
    """When it opened, by the clock of now: its age is measured from here."""
    return incident.opened_at.timestamp() + incident.clock_moved if incident.opened_at else None
