"""Runs the loops that pages do not depend on: one that fails is logged, counted and tried again.

Only the escalator and the dispatchers end the process when they fail.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from receiver.metrics import Metrics

log = logging.getLogger(__name__)

_SOONEST, _LATEST = 5.0, 60.0  # seconds until what failed is tried again
_ASKED_EVERY = 1.0  # seconds
_REPEATED = 60  # one in so many failures of a row is logged


class Round(NamedTuple):
    """What is done every so many seconds, or as soon as ``is_due`` says so, which is asked once a second."""

    run_once: Callable[[], Awaitable[object]]
    every: float
    is_due: Callable[[], bool] | None = None


class Housekeeping:
    """``run`` does one round again and again, whatever happens in it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._failures: dict[str, int] = {}

    async def run(self, name: str, round_: Round) -> None:
        """Run until cancelled."""
        while True:
            succeeded = await self.once(name, round_)
            await _wait(round_, round_.every if succeeded else min(max(round_.every, _SOONEST), _LATEST))

    async def once(self, name: str, round_: Round) -> bool:
        """Say whether the round succeeded."""
        try:
            await round_.run_once()
        except Exception as error:  # whatever it is: pages go out without this loop
            row = self._failures[name] = self._failures.get(name, 0) + 1
            self._metrics.housekeeping_failed(name)
            if row % _REPEATED == 1:
                log.exception("%s failed, and is tried again: %s", name, type(error).__name__)
            return False
        if self._failures.pop(name, 0):
            log.info("%s works again", name)
        self._metrics.housekeeping_succeeded(name)
        return True


async def _wait(round_: Round, seconds: float) -> None:
    while round_.is_due is not None and seconds > _ASKED_EVERY:
        await asyncio.sleep(_ASKED_EVERY)
        seconds -= _ASKED_EVERY
        if round_.is_due():
            return
    await asyncio.sleep(seconds)
