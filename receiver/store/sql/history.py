"""Reads incidents that opened in a period, a page at a time, also beside a running receiver."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from receiver.incident.model import Entry, EntryKind, Incident, Kind
from receiver.oncall.cover import Cover
from receiver.store.base import IncidentHistory, PastIncident, SentPage, Undelivered
from receiver.store.duty import MadeWindow
from receiver.store.sql import duty, row
from receiver.store.sql.connection import ALL, Connection
from receiver.store.sql.row import whole
from receiver.store.unreadable import Table

PAGE_SIZE = 500  # incidents: some 10 ms, in which the receiver that shares the thread waits
T = TypeVar("T")
Run = Callable[[Callable[[Connection], T]], Awaitable[T]]


_OPENED = """
SELECT opened_at, id, doc FROM incident WHERE (opened_at, id) > (?, ?) AND opened_at < ?
ORDER BY opened_at, id LIMIT ?
"""
_COUNTED = (EntryKind.ACKNOWLEDGED, EntryKind.BREACHED, EntryKind.REOPENED)
_EVENTS = """
SELECT incident_id, kind, min(at), count(*) FROM timeline
WHERE incident_id IN (SELECT CAST(value AS INTEGER) FROM json_each(?)) AND kind IN (?, ?, ?)
GROUP BY incident_id, kind
"""
_PAGES = """
SELECT incident_id, settled_at, round, id, notification FROM outbox
WHERE incident_id IN (SELECT CAST(value AS INTEGER) FROM json_each(?)) AND kind = ? AND state = 'sent'
ORDER BY settled_at
"""
_DEAD = """
SELECT channel, id, notification FROM outbox
WHERE state = 'dead' AND settled_at >= ? AND settled_at < ? AND serial >= 0
"""


class _Target(msgspec.Struct):
    person: str = ""


class _Whom(msgspec.Struct):
    """The part of a notification that says whom it is for."""

    target: _Target


_whom = msgspec.json.Decoder(_Whom)


class _Page(NamedTuple):
    """What was read at once, and after which row the next page begins; None after the last."""

    found: list[IncidentHistory]
    last: tuple[float, int] | None


class StoredHistory:
    """See receiver.store.base.History, for commands; ``run`` gives a connection that only reads."""

    def __init__(self, run: Run[Any], close: Callable[[], None]) -> None:
        self._run, self._close = run, close

    def opened_between(self, start: datetime, end: datetime) -> AsyncIterator[IncidentHistory]:
        return opened_between(self._run, start, end)

    async def undelivered(self, start: datetime, end: datetime) -> list[Undelivered]:
        found: list[Undelivered] = await self._run(lambda db: undelivered(db, start, end))
        return found

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        """Give an incident with its whole timeline."""

        def read(db: Connection) -> tuple[Incident, tuple[Entry, ...]] | None:
            stored = row.incident(db, incident_id)
            return (stored, row.timeline(db, incident_id, ALL)) if stored else None

        found: tuple[Incident, tuple[Entry, ...]] | None = await self._run(read)
        return found

    async def covers(self, now: datetime) -> tuple[Cover, ...]:
        found: tuple[Cover, ...] = await self._run(lambda db: duty.covers(db, now))
        return found

    async def windows(self, now: datetime) -> tuple[MadeWindow, ...]:
        found: tuple[MadeWindow, ...] = await self._run(lambda db: duty.windows(db, now))
        return found

    async def alike(self, alertname: str, team: str, limit: int) -> list[PastIncident]:
        found: list[PastIncident] = await self._run(lambda db: row.alike(db, alertname, team, limit))
        return found

    async def close(self) -> None:
        """Let go of the database."""
        self._close()


async def opened_between(run: Run[_Page], start: datetime, end: datetime) -> AsyncIterator[IncidentHistory]:
    """Give what opened from ``start`` until before ``end``, by when it opened; ``run`` executes one page's reading."""
    after: tuple[float, int] | None = (start.timestamp(), 0)
    while after is not None:
        page = await run(partial(_page, after=after, end=end))
        for history in page.found:
            yield history
        after = page.last


def undelivered(db: Connection, start: datetime, end: datetime) -> list[Undelivered]:
    """Count the notifications that were given up, by channel and person."""
    rows = db.execute(_DEAD, (start.timestamp(), end.timestamp())).fetchall()
    counted = Counter((channel, _person(db, number, doc)) for channel, number, doc in rows)
    found = [Undelivered(*address, count) for address, count in counted.items()]
    return sorted(found, key=lambda one: (-one.count, one.channel, one.person))


def _person(db: Connection, number: int, doc: bytes) -> str:
    """Say whom a notification is for, "" for a team's address, and if it cannot be read."""
    read = db.unreadable.read(Table.NOTIFICATION, number, lambda: _whom.decode(doc))
    return read.target.person if read else ""


def _page(db: Connection, after: tuple[float, int], end: datetime) -> _Page:
    rows = db.execute(_OPENED, (*after, end.timestamp(), PAGE_SIZE)).fetchall()
    numbers = msgspec.json.encode([number for _, number, _ in rows]).decode()
    events = {(number, kind): (at, count) for number, kind, at, count in db.execute(_EVENTS, (numbers, *_COUNTED))}
    pages: dict[int, list[SentPage]] = {}
    seen = set[tuple[int, int, str]]()  # one page a round and person, however many channels carried it
    for number, at, round_, row_id, doc in db.execute(_PAGES, (numbers, Kind.PAGE)).fetchall():
        page = (number, round_, _person(db, row_id, doc))
        if page[2] and page not in seen:
            seen.add(page)
            pages.setdefault(number, []).append(SentPage(datetime.fromtimestamp(at, UTC), page[2]))
    found = [
        _history(incident, events, pages.get(number, []))
        for _, number, doc in rows
        if (incident := db.unreadable.read(Table.INCIDENT, number, partial(whole, number, doc)))
    ]
    return _Page(found, rows[-1][:2] if len(rows) == PAGE_SIZE else None)


def _history(
    incident: Incident, events: dict[tuple[int, str], tuple[float, int]], pages: list[SentPage]
) -> IncidentHistory:
    acknowledged = events.get((incident.id, EntryKind.ACKNOWLEDGED))
    return IncidentHistory(
        incident=incident,
        acknowledged_at=datetime.fromtimestamp(acknowledged[0], UTC) if acknowledged else None,
        breached=(incident.id, EntryKind.BREACHED) in events,
        reopened=events.get((incident.id, EntryKind.REOPENED), (0.0, 0))[1],
        pages=tuple(sorted(pages, key=lambda page: (page.at, page.person))),
    )
