"""Notices when somebody sets the clock or the machine was suspended, and moves what waits along with the clock.

The wall clock is compared with one that nobody sets and that goes on while the machine is suspended: what the first has
moved more than the second is a step. Times that are waited for are stored by the wall clock, so that they outlive the
process; without moving them a clock set back by an hour would keep a retry of a P1 waiting for an hour. That goes for a
clock that was set back between two processes, too (a machine that boots with a wrong time).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from receiver.incident.timers import clock_set
from receiver.incident.undo import UNDO_FOR
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError

log = logging.getLogger(__name__)

STEP = timedelta(seconds=2)  # a clock that is slewed moves by less between two looks
_MOST_UNDONE = 500  # incidents that were resolved within the last minute, and may be undone
AWAY = 30.0  # seconds between two looks after which we have been suspended


class ClockWatch:
    """``look`` before anything is compared with the time; every loop that does so looks by itself.

    ``counted`` is given each step. ``away`` counts how often we were suspended.
    """

    def __init__(
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        counted: Callable[[timedelta], None],
    ) -> None:
        self._store, self._current, self._counted = store, current, counted
        self._clock, self._elapsed = clock, elapsed
        self._wall, self._passed = clock(), elapsed()
        self._guard = asyncio.Lock()
        self._unmoved, self._incidents = timedelta(0), dict[int, timedelta]()
        self.away = 0

    async def begin(self) -> None:
        """Find out, before anything else, whether the clock was set back while no process ran.

        It was if the last one lived later than now. How long none ran nobody knows then: it counts as no time.
        """
        alive = await self._store.last_alive()
        async with self._guard:
            wall = self._clock()
            if alive is None or alive - wall < STEP:
                return
            self._stepped(wall - alive)
            self._current.restarted(wall)
            with contextlib.suppress(StoreError):  # it is moved at the next look
                await self._move()

    async def look(self) -> None:
        """Return when everything that waits stands by the clock of now."""
        async with self._guard:
            wall, passed = self._clock(), self._elapsed()
            gone = passed - self._passed
            expected = self._wall + timedelta(seconds=gone)
            self._wall, self._passed = wall, passed
            if gone > AWAY:
                self.away += 1
                self._current.restarted(wall)
            if abs(wall - expected) >= STEP:
                self._stepped(wall - expected)
            await self._move()

    def rested(self) -> None:
        """Begin now: the time since the last look was no suspension."""
        passed = self._elapsed()
        self._wall, self._passed = self._wall + timedelta(seconds=passed - self._passed), passed

    def _stepped(self, by: timedelta) -> None:
        log.warning("the clock was set by %+.1fs; everything that waits moves with it", by.total_seconds())
        self._counted(by)
        self._current.clock_set(by)
        self._unmoved += by

    async def _move(self) -> None:
        """Move what is stored; what could not be moved, for the store was away, is moved at the next look."""
        if self._unmoved:
            by, over = self._unmoved, self._clock() - self._unmoved
            waiting = await self._store.still_open()
            waiting += await self._store.resolved_since(over - UNDO_FOR, _MOST_UNDONE)
            numbers = [incident.id for incident in waiting]
            await self._store.clock_set(by)
            self._unmoved = timedelta(0)
            for number in numbers:
                self._incidents[number] = self._incidents.get(number, timedelta(0)) + by
        for number, by in list(self._incidents.items()):
            now = self._clock()
            await self._store.apply(number, partial(clock_set, by=by, now=now), now)
            del self._incidents[number]
