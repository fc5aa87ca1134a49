"""How much CPU it takes to tell three addresses of each incident: 500, 1,000 and 2,000 incidents at once.

Store and dispatcher are the real ones, with a real SQLite file (synchronous=FULL); the channel is in this process and
answers at once, and the texts are short. Counted is the CPU of the process from the dispatcher's start until the last
notification is settled.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.figures import note
from bench.load import ROOT
from bench.options import is_short
from bench.receiver_delays import Rig, now
from bench.receiver_process import Site
from receiver.channels.base import Message, Receipt
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.oncall.contact_rules import Contact
from receiver.policy.current import Current
from receiver.store.sqlite.store import SQLiteStore

ADDRESSES = ("C1", "C2", "C3")


class Size(NamedTuple):
    """Incidents of each run, smallest first, and how often all are run."""

    incidents: tuple[int, ...]
    rounds: int


FULL, SHORT = Size((500, 1_000, 2_000), 3), Size((5, 20), 1)


class Counting:
    """A channel that answers at once, until so many have come."""

    def __init__(self, wanted: int) -> None:
        self._left, self.done = wanted, asyncio.Event()

    async def send(self, _message: Message) -> Receipt:
        """Take one."""
        self._left -= 1
        if not self._left:
            self.done.set()
        return Receipt()


async def cost(folder: Path, incidents: int) -> tuple[float, float]:
    """Give the seconds of CPU, and on the clock."""
    contacts = {"default": tuple(Contact("slack", address) for address in ADDRESSES)}
    routing = msgspec.structs.replace(build_routing(*load(Site(folder).config)), teams=contacts)
    store = SQLiteStore(folder / "bench.sqlite3", lambda: None)
    await store.open(now())
    counting = Counting(incidents * len(ADDRESSES))
    rig = Rig(store, Current(routing, now()), counting)
    for start in range(0, incidents, 64):
        await asyncio.gather(*(rig.fire(f"fan-{number}") for number in range(start, min(start + 64, incidents))))
    began, computed = time.perf_counter(), time.process_time()
    loop = asyncio.ensure_future(rig.dispatcher.run())
    await asyncio.wait_for(counting.done.wait(), 300)
    rig.dispatcher.stop()
    await loop
    took = time.process_time() - computed, time.perf_counter() - began
    await store.close()
    return took


def main(*, short: bool) -> None:
    """Print the medians, and how they grow."""
    size = SHORT if short else FULL
    (ROOT / "data").mkdir(exist_ok=True)
    costs: dict[int, list[tuple[float, float]]] = {number: [] for number in size.incidents}
    for _ in range(size.rounds):
        for number in size.incidents:
            with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
                costs[number].append(asyncio.run(cost(Path(folder), number)))
    medians = {number: statistics.median(cpu for cpu, _ in several) for number, several in costs.items()}
    for number, cpu in medians.items():
        each = cpu / number / len(ADDRESSES) * 1e6
        clock = statistics.median(clock for _, clock in costs[number])
        print(f"{number:6,} incidents, {len(ADDRESSES)} each: {cpu:.2f} s of CPU, {each:.0f} µs each; {clock:.2f} s")
    least, most = size.incidents[0], size.incidents[-1]
    growth = (medians[most] / most) / (medians[least] / least)
    print(f"one of {most:,} costs {growth:.2f} times as much as one of {least:,}")
    name = f"{most:,} incidents x {len(ADDRESSES)} notifications, fanned out"
    note(name, medians[most], "CPU s", at_most=2.5)
    note(f"{name}: cost of each, next to that of {least:,} incidents", growth, "times", at_most=1.2)


if __name__ == "__main__":
    main(short=is_short(__doc__))
