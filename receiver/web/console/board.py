"""Reads the open incidents for the pages that list them: once after each change, however many people look."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from receiver.incident.model import Incident, State
from receiver.store.base import Store
from receiver.store.remembered import Remembered

_FRESH = timedelta(seconds=1)  # another receiver on the same store may have changed something
_REMEMBERED = 600.0  # seconds after the last look for which what was read is not decoded again
_REST = 10.0  # times as long as a reading took
_LAST = datetime.max.replace(tzinfo=UTC)


class Board:
    """``changed`` is told of every change after its commit; ``changes`` counts them."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self.changes = 0
        self._reading: asyncio.Future[tuple[Incident, ...]] | None = None
        self._read_after, self._read_at = -1, clock()
        self._rest_until = 0.0  # by the clock of the loop
        self._remembered, self._idle = Remembered(), None  # type: Remembered, asyncio.TimerHandle | None
        self._told_idle: list[Callable[[], None]] = []

    def changed(self, _before: Incident, _after: Incident) -> None:
        """Count a change."""
        self.changes += 1

    def known(self, number: int) -> Incident | None:
        """Give an incident as it was when the open ones were read last; None if it was not open."""
        read = self._remembered[number]
        return read[1] if read is not None else None

    async def incidents(self) -> tuple[Incident, ...]:
        """Give the open incidents, the most urgent first; StoreError if they cannot be read."""
        now = self._clock()
        stale = self._read_after != self.changes or not timedelta(0) <= now - self._read_at < _FRESH
        if self._reading is None or stale or self._has_failed():
            self._read_after, self._read_at = self.changes, now
            self._reading = asyncio.ensure_future(self._read())
            # Thousands of incidents are not kept in memory for a page that nobody looks at any more.
            loop = asyncio.get_running_loop()
            loop.call_later(_FRESH.total_seconds(), self._forget, self._reading)
            if self._idle is not None:
                self._idle.cancel()
            self._idle = loop.call_later(_REMEMBERED, self.forget)
        return await asyncio.shield(self._reading)

    async def at_leisure(self) -> tuple[Incident, ...] | None:
        """Give the same for what can wait; None if reading it again now would keep the process busy in a storm."""
        loop = asyncio.get_running_loop()
        if self._read_after != self.changes and loop.time() < self._rest_until:
            return None
        return await self.incidents()

    def forget(self) -> None:
        """Give back the memory of what was read."""
        self._remembered = Remembered()
        for tell in self._told_idle:
            tell()

    def when_idle(self, tell: Callable[[], None]) -> None:
        """Let others give back theirs then, too."""
        self._told_idle.append(tell)

    def _forget(self, reading: asyncio.Future[tuple[Incident, ...]]) -> None:
        if self._reading is reading and reading.done():
            self._reading = None

    def _has_failed(self) -> bool:
        reading = self._reading
        return reading is not None and reading.done() and (reading.cancelled() or reading.exception() is not None)

    async def _read(self) -> tuple[Incident, ...]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        incidents = tuple(sorted(await self._store.still_open(remembered=self._remembered), key=urgency))
        self._rest_until = loop.time() + _REST * (loop.time() - begun)
        return incidents


def urgency(incident: Incident) -> tuple[str, bool, datetime]:
    """Give what incidents are sorted by: what nobody has comes before what somebody has, and the oldest first."""
    return incident.priority.value, incident.state is not State.TRIGGERED, incident.opened_at or _LAST
