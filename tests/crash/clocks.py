"""Storms in which the clock is set, forward and back, while notifications are under way, and in which clocks change."""

import asyncio
import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.crash.storm import Storm

STEPS = {"forward": signal.SIGUSR1, "back": signal.SIGUSR2}  # by more than a lease
# In Berlin, whose schedule hands over at three: in spring at the change itself, in autumn an hour after it.
CHANGES = {"spring": datetime(2027, 3, 28, 1, tzinfo=UTC), "autumn": datetime(2026, 10, 25, 1, tzinfo=UTC)}
_AROUND = 3.0  # seconds before and after a change


class Clocks(Storm):
    """``set_clock`` makes steps; ``change`` lives through a change between summer and winter time."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.hits, self._season = Counter[str](), ""
        for witness in self.providers.all():
            witness.failing = 0.0

    async def set_clock(self, steps: list[str]) -> None:
        """Set the clock of a running receiver in these ways, each time while something is being sent."""
        self.providers.pagerduty.slow = self.providers.slack.slow = 0.3
        weather = asyncio.ensure_future(self.begin_incidents())
        await self.process.start({})
        try:
            for step in steps:
                await asyncio.sleep(self.chance.uniform(0.3, 1.2))
                os.kill(self.book.pid, STEPS[step])
                self.book.write(type="clock", kind=step)
                self.hits[step] += 1
            await asyncio.sleep(self.chance.uniform(0.3, 1.2))
        finally:
            weather.cancel()

    async def change(self) -> None:
        """Live from a few seconds before a change of the season until a few seconds after it."""
        change = CHANGES[self._season].timestamp()
        now = time.time()
        self.book.write(type="duty", change=now + _AROUND, **_duty(self._season))
        await self.process.start({"shift": change - _AROUND - now})
        weather = asyncio.ensure_future(self.begin_incidents())
        await asyncio.sleep(2 * _AROUND)
        weather.cancel()
        self.hits[self._season] += 1

    def in_season(self, season: str) -> "Clocks":
        """Let two people take turns by a schedule that hands over when the clocks change then."""
        self._season = season
        return self

    def settings(self) -> dict[str, Any]:
        config = super().settings()
        if self._season:
            day = CHANGES[self._season].date()
            start = day.replace(day=day.day - 1)
            layer = {"people": ["linh", "aisha"], "rotation": "daily", "start": start, "handover": "03:00"}
            config["schedules"] = {"engineers": {"time_zone": "Europe/Berlin", "layers": [layer]}}
            config["roles"]["on-call-engineer"] = ["engineers"]
            config["people"]["aisha"] = {
                "name": "Aisha Bello",
                "email": "aisha@example.com",
                "pagerduty": "engineers",
            }
        return config


def _duty(season: str) -> dict[str, str]:
    """Say who has to be paged before the change and after it."""
    return {"before": "linh@example.com", "after": "aisha@example.com" if season == "spring" else "linh@example.com"}
