"""A storm of many incidents in a short time: kills spread over it, and providers that are quick."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.crash.several import Several
from tests.crash.storm import Storm

LATENCY = 0.02  # seconds until a provider answers; it has taken at once what it answers
FAILING = 0.02  # of what it is sent
_AGAIN = 0.5  # seconds: many repeat what was not answered
_MOST_PEOPLE = 150  # more would only wait for each other until each has given up


class Flood(Storm):
    """One receiver."""

    again, most_people = _AGAIN, _MOST_PEOPLE

    async def pour(self, incidents: int, kills: int, rate: float) -> None:
        """Begin so many, so many in a second, and kill as often meanwhile."""
        self.providers.hurry(LATENCY, FAILING)
        self.gap = 0.5 / rate, 1.5 / rate
        weather = asyncio.ensure_future(self.begin_incidents(incidents))
        try:
            for kill in range(1, kills + 1):
                await self._life(self._next(), max(0.0, (incidents * kill / kills - self.number) / rate))
            await self.process.start({"planted": self.planted})
            await weather
        finally:
            weather.cancel()
        await self.rest()


class FloodOfSeveral(Several):
    """Three receivers on one PostgreSQL, of which any is killed."""

    again, most_people = _AGAIN, _MOST_PEOPLE

    def __init__(self, folder: Path, seed: int, planted: str = "") -> None:
        super().__init__(folder, seed, planted)
        self.database.is_direct = True

    async def pour(self, incidents: int, kills: int, rate: float) -> None:
        """As above."""
        self.providers.hurry(LATENCY, FAILING)
        self.gap = 0.5 / rate, 1.5 / rate
        for process in self.processes:
            await self._live(process)
        weather = asyncio.ensure_future(self.begin_incidents(incidents))
        try:
            for kill in range(1, kills + 1):
                await asyncio.sleep(max(0.0, (incidents * kill / kills - self.number) / rate))
                await self.kill_one()
            await weather
        finally:
            weather.cancel()
        await self.rest()


async def flood(storm: Flood | FloodOfSeveral, incidents: int, kills: int, rate: float) -> tuple[Path, Counter[str]]:
    """Run one; gives the file of its history, and how often each kind of kill was hit."""
    async with storm:
        await storm.pour(incidents, kills, rate)
        return storm.book.path, storm.hits if isinstance(storm, FloodOfSeveral) else storm.counts
