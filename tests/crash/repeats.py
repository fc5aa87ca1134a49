"""Measures how much is sent again after a kill: providers answer in 50 ms, and more is owed than can be sent at once.

``python -m tests.crash.repeats --kills 40`` prints the repeats a kill of each channel. A provider has taken a request
when it comes, so that whatever is under way at the kill is a repeat.
"""

import argparse
import asyncio
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.crash.check import faults, read, repeats
from tests.crash.providers import NAMES
from tests.crash.storm import Storm

LATENCY = 0.05  # seconds
OWED = 100  # incidents that begin in each life
GOAL = 4.0


class Backlog(Storm):
    """Kills a receiver that has much to send."""

    async def kill(self, kills: int) -> None:
        """Kill so often, each time while something is under way on every channel."""
        self.providers.hurry(LATENCY, 0.0)
        for life in range(1, kills + 1):
            await self.process.start({})
            ended = asyncio.ensure_future(self.process.ended())
            await asyncio.gather(*(self.fire(life * OWED + number) for number in range(OWED)))
            await asyncio.sleep(self.chance.uniform(0.0, 0.5))
            self.book.kill("random")
            assert await ended == signal.SIGKILL, self.process.log()
            await self.over()


async def measure(folder: Path, seed: int, kills: int) -> tuple[dict[str, float], list[str]]:
    """Give the repeats a kill of each channel, and what the checker finds."""
    async with Backlog(folder, seed) as storm:
        await storm.kill(kills)
        await storm.calm_down()
        history = read(storm.book.path)
    again = Counter(dict.fromkeys(NAMES, 0))
    for (channel, *_), sends in repeats(history).items():
        again[channel] += len(sends) - 1
    return {name: count / kills for name, count in again.items()}, faults(history)


def main() -> int:
    """Print the figures; the exit status says whether they are met."""
    parser = argparse.ArgumentParser(prog="tests.crash.repeats", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        a_kill, found = asyncio.run(measure(Path(folder), options.seed, options.kills))
    print(f"seed {options.seed}, {options.kills} kills; repeats a kill:", a_kill)  # noqa: T201  # a program
    print("\n".join(found))  # noqa: T201  # a program
    return 0 if not found and max(a_kill.values()) <= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
