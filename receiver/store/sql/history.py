"""Reads incidents that opened in a period, a page at a time, also beside a running receiver."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from receiver.incident.model import Entry, EntryKind, Incident, Kind
from receiver.oncall.cover import Cover
from receiver.store.base import IncidentHistory, PastIncident, SentPage, Undelivered
from receiver.store.duty import MadeWindow
from receiver.store.sql import duty, row
from receiver.store.sql.connection import ALL, Connection
from receiver.store.sql.row import document

PAGE_SIZE = 500  # incidents: some 10 ms, in which the receiver that shares the thread waits
T = TypeVar("T")
Run = Callable[[Callable[[Connection], T]], Awaitable[T]]

_incident = msgspec.json.Decoder(Incident)

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
# One page a round and person, however many channels carried it.
_PAGES = """
SELECT incident_id, min(settled_at), person FROM (
    SELECT incident_id, settled_at, round, json_extract(CAST(notification AS TEXT), '$.target.person') AS person
    FROM outbox WHERE incident_id IN (SELECT CAST(value AS INTEGER) FROM json_each(?)) AND kind = ? AND state = 'sent'
) part WHERE coalesce(person, '') <> ''
GROUP BY incident_id, round, person
"""
_DEAD = """
SELECT channel, coalesce(json_extract(CAST(notification AS TEXT), '$.target.person'), '') AS person, count(*)
FROM outbox WHERE state = 'dead' AND settled_at >= ? AND settled_at < ? AND serial >= 0
GROUP BY channel, person ORDER BY 3 DESC, 1, 2
"""


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


async def opened_between(
    run: Run[list[tuple[float, IncidentHistory]]], start: datetime, end: datetime
) -> AsyncIterator[IncidentHistory]:
    """Give what opened from ``start`` until before ``end``, by when it opened; ``run`` executes one page's reading."""
    after = (start.timestamp(), 0)
    while True:
        page = await run(lambda db, after=after: _page(db, after, end))  # type: ignore[misc]  # mypy: a lambda's default
        for _, history in page:
            yield history
        if len(page) < PAGE_SIZE:
            return
        after = (page[-1][0], page[-1][1].incident.id)


def undelivered(db: Connection, start: datetime, end: datetime) -> list[Undelivered]:
    """Count the notifications that were given up, by channel and person."""
    return [Undelivered(*row) for row in db.execute(_DEAD, (start.timestamp(), end.timestamp()))]


def _page(db: Connection, after: tuple[float, int], end: datetime) -> list[tuple[float, IncidentHistory]]:
    rows = db.execute(_OPENED, (*after, end.timestamp(), PAGE_SIZE)).fetchall()
    numbers = msgspec.json.encode([number for _, number, _ in rows]).decode()
    events = {(number, kind): (at, count) for number, kind, at, count in db.execute(_EVENTS, (numbers, *_COUNTED))}
    pages: dict[int, list[SentPage]] = {}
    for number, at, person in db.execute(_PAGES, (numbers, Kind.PAGE)):
        pages.setdefault(number, []).append(SentPage(datetime.fromtimestamp(at, UTC), person))
    return [(opened_at, _history(doc, events, pages.get(number, []))) for opened_at, number, doc in rows]


def _history(doc: bytes, events: dict[tuple[int, str], tuple[float, int]], pages: list[SentPage]) -> IncidentHistory:
    incident = _incident.decode(document(doc))
    acknowledged = events.get((incident.id, EntryKind.ACKNOWLEDGED))
    return IncidentHistory(
        incident=incident,
        acknowledged_at=datetime.fromtimestamp(acknowledged[0], UTC) if acknowledged else None,
        breached=(incident.id, EntryKind.BREACHED) in events,
        reopened=events.get((incident.id, EntryKind.REOPENED), (0.0, 0))[1],
        pages=tuple(sorted(pages, key=lambda page: (page.at, page.person))),
    )
