"""The loop that asks the clock: takes the next step of every incident whose step is due."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial

from receiver.incident import Policy, StepDue
from receiver.store.base import Store
from receiver.transition import transition


class Escalator:
    """``run_once`` takes every step that is due now; ``run`` does so every ``period`` seconds."""

    def __init__(self, store: Store, policy: Policy, clock: Callable[[], datetime], period: float = 1.0) -> None:
        self._store, self._policy, self._clock, self._period = store, policy, clock, period

    async def run(self) -> None:
        """Run until cancelled; an error ends the loop, and with it the process."""
        while True:
            await self.run_once()
            await asyncio.sleep(self._period)

    async def run_once(self) -> None:
        """Take the due steps, longest overdue first."""
        for incident_id in await self._store.due(self._clock()):
            now = self._clock()
            await self._store.act(incident_id, partial(transition, event=StepDue(), policy=self._policy, now=now), now)
