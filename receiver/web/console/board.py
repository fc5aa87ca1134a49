"""Reads the open incidents for the pages that list them: once after each change, however many people look."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from receiver.incident.model import Incident, State
from receiver.store.base import Store

_FRESH = timedelta(seconds=1)  # another receiver on the same store may have changed something
_LAST = datetime.max.replace(tzinfo=UTC)


class Board:
    """``changed`` is told of every change after its commit; ``changes`` counts them."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self.changes = 0
        self._reading: asyncio.Future[tuple[Incident, ...]] | None = None
        self._read_after, self._read_at = -1, clock()

    def changed(self, _before: Incident, _after: Incident) -> None:
        """Count a change."""
        self.changes += 1

    async def incidents(self) -> tuple[Incident, ...]:
        """Give the open incidents, the most urgent first; StoreError if they cannot be read."""
        now = self._clock()
        stale = self._read_after != self.changes or not timedelta(0) <= now - self._read_at < _FRESH
        if self._reading is None or stale or self._has_failed():
            self._read_after, self._read_at = self.changes, now
            self._reading = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._reading)

    def _has_failed(self) -> bool:
        reading = self._reading
        return reading is not None and reading.done() and (reading.cancelled() or reading.exception() is not None)

    async def _read(self) -> tuple[Incident, ...]:
        return tuple(sorted(await self._store.still_open(), key=urgency))


def urgency(incident: Incident) -> tuple[str, bool, datetime]:
    """Give what incidents are sorted by: what nobody has comes before what somebody has, and the oldest first."""
    return incident.priority.value, incident.state is not State.TRIGGERED, incident.opened_at or _LAST
