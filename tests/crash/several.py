"""Three receivers on one PostgreSQL: one is killed every few seconds, one has a wrong clock, one stops for a while."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Self

from tests.crash.installation import OnPostgres, Process
from tests.crash.storm import Storm
from tests.crash.wire import CUTS

RECEIVERS = 3
SHIFT = 30.0  # seconds by which the clock of the last one is wrong
LEAST = 12.0  # seconds, also if nothing shall happen
PAUSE = 11.0  # seconds for which one is stopped: its leases are over after eight
PATIENCE = 20.0  # seconds until a cut should have hit


class Several(Storm):
    """``rage_among`` kills, stops and restarts; any receiver takes what is posted."""

    def __init__(self, folder: Path, seed: int, planted: str = "") -> None:
        self.database = OnPostgres(self._cut)
        super().__init__(folder, seed, planted, on=self.database)
        self.hits = Counter[str]()
        self._others = [Process(folder, self.book, f"receiver-{number}") for number in range(2, RECEIVERS + 1)]
        self.processes = [self.process, *self._others]
        self._watched = dict[Process, asyncio.Future[int]]()
        self._stopped = set[Process]()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        for process in self._others:
            await self.prepare(process, self.settings() | {"listen": f"127.0.0.1:{process.port}"})
        return self

    async def prepare(self, process: Process, settings: dict[str, Any]) -> None:
        """Let it find the providers at ports of its own, so that they know who asks."""
        door = await self.providers.door(lambda: process.life)
        await super().prepare(process, settings | {"channels": self.reach(*door)})

    async def __aexit__(self, *error: object) -> None:
        for life in list(self.book.running):
            self.book.kill("end", life)
        for process in self._others:
            await process.end()
        await super().__aexit__(*error)

    def url(self) -> str:
        return self.chance.choice(self.processes).url

    async def rage_among(self, kills: int, cuts: int, *, pauses: int = 1, restarts: int = 1) -> None:
        """Begin incidents all the time, and let all this happen."""
        for process in self.processes:
            await self._live(process)
        weather = asyncio.ensure_future(self.begin_incidents())
        try:
            await asyncio.gather(
                *(self._kill(kills), self._pause(pauses), self._restart(restarts), self._cut_often(cuts)),
                asyncio.sleep(0.0 if kills else LEAST),
            )
        finally:
            weather.cancel()

    async def rest(self, most: float = 90.0) -> None:
        await super().rest(most)

    async def _live(self, process: Process) -> None:
        """Begin a life; one that begins while the database is away ends by itself, and whoever runs it tries again."""
        shift = SHIFT if process is self.processes[-1] else 0.0
        while True:
            await process.start({"planted": self.planted, "shift": shift})
            ended = self._watched[process] = asyncio.ensure_future(process.ended())
            await process.listens(ended)
            if not ended.done():
                return
            self.book.end(process.life)
            self.hits["start without a database"] += 1
            await asyncio.sleep(0.5)

    async def _kill(self, kills: int) -> None:
        for _ in range(kills):
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))
            await self.kill_one()

    async def kill_one(self) -> None:
        """Kill any that is not stopped, and begin its next life."""
        process = self.chance.choice([one for one in self.processes if one not in self._stopped])
        self.book.kill("random", process.life)
        assert await self._watched[process] == signal.SIGKILL, process.log()
        await asyncio.sleep(self.providers.slowest() + 0.05)  # see `over`
        self.book.end(process.life)
        self.hits["kill"] += 1
        await self._live(process)

    async def _pause(self, pauses: int) -> None:
        for _ in range(pauses):
            await asyncio.sleep(self.chance.uniform(1.0, 3.0))
            process = self.chance.choice([one for one in self.processes if one.life in self.book.running])
            self._stopped.add(process)
            pid = self.book.running[process.life]
            os.kill(pid, signal.SIGSTOP)
            self.book.write(type="disturbance", kind="stopped", lasts=PAUSE)
            await asyncio.sleep(PAUSE)
            os.kill(pid, signal.SIGCONT)
            self.book.write(type="disturbance", kind="continued", lasts=0.0)
            self._stopped.discard(process)
            self.hits["pause"] += 1

    async def _restart(self, restarts: int) -> None:
        for _ in range(restarts):
            await asyncio.sleep(self.chance.uniform(4.0, 8.0))
            self.book.write(type="disturbance", kind="database restarted", lasts=5.0)
            await self.database.restart()
            self.hits["restart"] += 1

    async def _cut_often(self, cuts: int) -> None:
        for number in range(cuts):
            await asyncio.sleep(self.chance.uniform(0.2, 1.0))
            before = sum(self.hits[name] for name in CUTS)
            self.database.wire.fault = CUTS[number % len(CUTS)]
            for _ in range(int(PATIENCE / 0.05)):
                await asyncio.sleep(0.05)
                if sum(self.hits[name] for name in CUTS) > before:
                    break

    def _cut(self, fault: str) -> None:
        self.hits[fault] += 1
        self.book.write(type="disturbance", kind=f"cut {fault} a COMMIT", lasts=0.0)


async def run(
    folder: Path, seed: int, kills: int, cuts: int, planted: str = "", *, pauses: int = 1, restarts: int = 1
) -> tuple[Path, Counter[str]]:
    """Run it; gives the file of its history, and what has happened how often."""
    async with Several(folder, seed, planted) as storm:
        await storm.rage_among(kills, cuts, pauses=pauses, restarts=restarts)
        await storm.rest()
        return storm.book.path, storm.hits
