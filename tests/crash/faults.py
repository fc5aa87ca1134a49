"""The storms of faults that are no kills: of the network, the disk and the clock; each by its name."""

import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from shutil import which
from typing import Any, TypeVar

from tests.crash.clocks import STEPS, Clocks
from tests.crash.disk import SPELLS, TEARS, Disk
from tests.crash.network import FallOver, Network, ways
from tests.crash.storm import Storm

S = TypeVar("S", bound=Storm)
Outcome = tuple[Path, dict[str, int]]  # the history, and how often each kind of fault was hit


async def network(folder: Path, seed: int, times: int, few: int = 0) -> Outcome:
    """Break the lines to the providers; ``few``: by so many faults each, without kills."""
    wanted = list(ways()) * times
    if few:
        names = {name for name, _ in wanted}
        wanted = [
            way
            for name in sorted(names)
            for way in random.Random(seed).sample([w for w in ways() if w[0] == name], few)  # noqa: S311
        ]
    async with _hurried(Network(folder, seed), few) as storm:
        await storm.break_each(wanted, 0 if few else 2 * times)
        await storm.rest()
        hits = {f"{name}: {fault}": storm.hits[name, fault] for name, fault in set(wanted)}
        return storm.book.path, hits


async def fall_over(folder: Path, seed: int, _times: int) -> Outcome:
    """Let a person be out of reach by every way, so that ``fallback`` is told."""
    async with FallOver(folder, seed) as storm:
        await storm.fall_over()
        await storm.rest(10.0)  # what is paused for 20 s waits for longer than we do
        return storm.book.path, {"nobody to be reached": 5}


async def disk(folder: Path, seed: int, times: int, few: int = 0) -> Outcome:
    """Let the disk be full, read-only or broken for a while."""
    async with _hurried(Disk(folder, seed), few) as storm:
        wanted = _some(storm.chance, list(SPELLS), times, few)
        await storm.fail(wanted)
        await storm.rest()
        return storm.book.path, _counted(wanted, storm.hits)


async def torn(folder: Path, seed: int, times: int, few: int = 0) -> Outcome:
    """Tear the files of the database after kills."""
    async with _hurried(Disk(folder, seed), few) as storm:
        wanted = _some(storm.chance, list(TEARS), times, few)
        await storm.tear(wanted)
        await storm.rest()
        return storm.book.path, _counted(wanted, storm.hits)


async def clock(folder: Path, seed: int, times: int, few: int = 0) -> Outcome:
    """Set the clock in both directions."""
    async with _hurried(Clocks(folder, seed), few) as storm:
        wanted = _some(storm.chance, list(STEPS), times, few)
        await storm.set_clock(wanted)
        await storm.rest()
        return storm.book.path, _counted(wanted, storm.hits)


async def spring(folder: Path, seed: int, _times: int) -> Outcome:
    """Live through the change to summer time."""
    return await _change("spring", folder, seed)


async def autumn(folder: Path, seed: int, _times: int) -> Outcome:
    """Live through the change to winter time."""
    return await _change("autumn", folder, seed)


async def _change(season: str, folder: Path, seed: int) -> Outcome:
    async with Clocks(folder, seed).in_season(season) as storm:
        await storm.change()
        await storm.rest()
        return storm.book.path, {season: storm.hits[season]}


def _hurried(storm: S, few: int) -> S:
    if few:
        storm.step = 1.0
    return storm


def _some(chance: random.Random, kinds: list[str], times: int, few: int) -> list[str]:
    if few:
        return chance.sample(kinds, few)
    wanted = kinds * times
    chance.shuffle(wanted)
    return wanted


def _counted(wanted: list[str], hits: Counter[str]) -> dict[str, int]:
    return {kind: hits[kind] for kind in set(wanted)}


Run = Callable[[Path, int, int], Coroutine[Any, Any, Outcome]]


def runs() -> dict[str, Run]:
    """Give those that this machine can do, by name."""
    found: dict[str, Run] = {"network": network, "fall over": fall_over, "torn": torn, "clock": clock}
    return found | {"spring": spring, "autumn": autumn} | ({"disk": disk} if which("strace") else {})
