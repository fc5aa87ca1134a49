"""The loop that asks the clock: takes what is due in every incident that has a clock at its time."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from receiver.incident.event import TimeDue
from receiver.incident.machine import transition
from receiver.incident.model import Incident
from receiver.policy.current import Current
from receiver.store.base import Store, StoreOutageError
from receiver.workers.clock_watch import ClockWatch
from receiver.workers.stuck import Stuck

_BATCH = 200  # incidents that are looked at together: they share a commit
_ALIVE = timedelta(seconds=10)  # how often the store is told that we live


class Escalator:
    """``run_once`` does everything that is due now; ``run`` does so every ``period`` seconds.

    The wall clock says what is due, the monotonic one how long to wait. After a suspension steps are caught up one by
    one as after a restart; when the clock is set, what waits moves with it (``watch``).
    """

    def __init__(  # the composition root hands over every collaborator
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        *,
        watch: ClockWatch,
        stuck: Stuck,
        period: float = 0.5,
    ) -> None:
        self._store, self._current, self._clock = store, current, clock
        self._watch, self._stuck, self._period = watch, stuck, period
        self.completed_at = clock()  # when everything that was due had last been done
        self._told_alive: datetime | None = None

    async def run(self) -> None:
        """Run until cancelled; an error ends the loop, and with it the process.

        But for an outage of the store, and for an error in one incident: the others go on.
        """
        while True:
            # The store says so itself; its outage shows in `completed_at`, and the next look is the next attempt.
            with contextlib.suppress(StoreOutageError):
                await self.run_once()
            await asyncio.sleep(self._period)

    async def run_once(self) -> None:
        """Do what is due, longest overdue first."""
        await self._watch.look()
        now = self._clock()
        if self._told_alive is None or abs(now - self._told_alive) >= _ALIVE:
            await self._store.alive(now)
            self._told_alive = now
        while numbers := await self._due():
            now = self._clock()  # read again: the clock may have been set, and what is due have moved with it
            decide = partial(transition, event=TimeDue(), policy=self._current.routing, now=now)
            steps = (self._store.apply(number, decide, now) for number in numbers)
            self._take(numbers, await asyncio.gather(*steps, return_exceptions=True))
            self._watch.rested()
            if len(numbers) < _BATCH:
                break
        self._stuck.look()
        self.completed_at = self._clock()

    async def _due(self) -> list[int]:
        numbers = await self._store.due(self._clock(), _BATCH + self._stuck.steps)
        return [number for number in numbers if not self._stuck.rests(number)][:_BATCH]

    def _take(self, numbers: list[int], outcomes: list[Incident | BaseException | None]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, StoreOutageError) or not isinstance(outcome, Incident | Exception | None):
                raise outcome
        for number, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._stuck.failed(number, outcome)
            else:
                self._stuck.succeeded(number)
