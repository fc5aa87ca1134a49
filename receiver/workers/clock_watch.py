"""Notices when somebody sets the clock or the machine was suspended, and moves what waits along with the clock.

The wall clock is compared with one that nobody sets and that goes on while the machine is suspended: what the first has
moved more than the second is a step. Times that are waited for are stored by the wall clock, so that they outlive the
process; without moving them a clock set back by an hour would keep a retry of a P1 waiting for an hour. That goes for a
clock that was set back between two processes, too (a machine that boots with a wrong time).

Until what waits has been moved nobody reads the new time: a step that is due in two minutes, written down by a clock
that had just been set forward by an hour, would else be moved by that hour once more.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from receiver.policy.current import Current
from receiver.store.base import Store, StoreError, StoreOutageError

log = logging.getLogger(__name__)

STEP = timedelta(seconds=2)  # a clock that is slewed moves by less between two looks
_NO_STEP = timedelta(0)
AWAY = 30.0  # seconds between two looks after which we have been suspended


class WatchedClock:
    """The wall clock without steps; ``ClockWatch`` makes each step, when what waits moves with it."""

    def __init__(self, wall: Callable[[], datetime], elapsed: Callable[[], float]) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._base = (wall(), elapsed())

    def __call__(self) -> datetime:
        """Give the time of now."""
        wall = self._wall()
        return wall - self._ahead(wall)

    def begin_anew(self) -> None:
        """Take the time of now for granted: what the clock has moved until now is no step."""
        self._base = (self._wall(), self._elapsed())

    def step(self) -> timedelta:
        """Say by how much the clock was set; what it was slewed by until now is no step."""
        wall = self._wall()
        ahead = self._ahead(wall)
        if not ahead:
            self._base = (wall, self._elapsed())
        return ahead

    def move(self, by: timedelta) -> None:
        """Make a step, or take it back."""
        wall, passed = self._base
        self._base = (wall + by, passed)

    def go_on_from(self, then: datetime) -> None:
        """No time has passed since ``then``: what the clock has moved since is a step."""
        self._base = (then, self._elapsed())

    def _ahead(self, wall: datetime) -> timedelta:
        since, passed = self._base
        ahead = wall - since - timedelta(seconds=self._elapsed() - passed)
        return ahead if abs(ahead) >= STEP else _NO_STEP


class ClockWatch:
    """``look`` before anything is compared with the time; every loop that does so looks by itself.

    ``counted`` is given each step. ``away`` counts how often we were suspended.
    """

    def __init__(
        self,
        store: Store,
        current: Current,
        clock: WatchedClock,
        elapsed: Callable[[], float],
        counted: Callable[[timedelta], None],
    ) -> None:
        self._store, self._current, self._counted = store, current, counted
        self._clock, self._elapsed, self._passed = clock, elapsed, elapsed()
        self._guard = asyncio.Lock()
        self.away = 0

    async def begin(self) -> None:
        """Find out, before anything else, whether the clock was set back while no process ran.

        It was if the last one lived later than now. How long none ran nobody knows then: it counts as no time.
        """
        alive = await self._store.last_alive()
        if alive is None or alive - self._clock() < STEP:
            return
        self._clock.go_on_from(alive)
        self._current.restarted(alive)
        with contextlib.suppress(StoreError):  # it is moved at the next look
            await self.look()

    async def look(self) -> None:
        """Return when everything that waits stands by the clock of now."""
        async with self._guard:
            passed = self._elapsed()
            gone, self._passed = passed - self._passed, passed
            if gone > AWAY:
                self.away += 1
                self._current.restarted(self._clock())
            if by := self._clock.step():
                await self._step(by)

    def rested(self) -> None:
        """Begin now: the time since the last look was no suspension."""
        self._passed = self._elapsed()

    async def _step(self, by: timedelta) -> None:
        """Make it in the moment in which the store is asked to move what waits: what comes later is of the new time.

        What cannot be moved, for the store is away, stays in the old time with all of us until the next look.
        """
        self._make(by)
        try:
            await self._store.clock_set(by, self._clock())
        except StoreError as error:
            self._make(-by)
            if isinstance(error, StoreOutageError):
                return
            raise
        log.warning("the clock was set by %+.1fs; everything that waits moves with it", by.total_seconds())
        self._counted(by)

    def _make(self, by: timedelta) -> None:
        self._clock.move(by)
        self._current.clock_set(by)
