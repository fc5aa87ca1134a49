"""How much CPU it takes to tell three addresses of each incident: 500, 1,000 and 2,000 incidents at once.

A P1 is a message of its own, P3 become one message when many wait for an address. Store and dispatcher are the real
ones, with a real SQLite file (synchronous=FULL); the channel is in this process and answers at once, and the texts are
short. Counted is the CPU of the process from the dispatcher's start until the last notification is settled.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.figures import note
from bench.load import ROOT
from bench.options import is_short
from bench.receiver_delays import Rig, as_message, now
from bench.receiver_process import Site
from process.event_loop import collect_rarely
from receiver.channels.base import Message, Receipt
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.oncall.contact_rules import Contact
from receiver.policy.current import Current
from receiver.store.base import Claimed
from receiver.store.sqlite.store import SQLiteStore

ADDRESSES = ("C1", "C2", "C3")
PRIORITIES = {"critical": "P1", "warning": "P3"}


class Size(NamedTuple):
    """Incidents of each run, smallest first, and how often all are run."""

    incidents: tuple[int, ...]
    rounds: int


FULL, SHORT = Size((500, 1_000, 2_000), 2), Size((5, 20), 1)


class Counting:
    """A channel that answers at once, until so many notifications have come."""

    def __init__(self, wanted: int) -> None:
        self._left, self.done, self.messages = wanted, asyncio.Event(), 0
        self._sizes: dict[str, int] = {}

    async def send(self, message: Message) -> Receipt:
        """Take a message of one or of several."""
        self.messages += 1
        self._left -= self._sizes.pop(message.id, 1)
        if self._left <= 0:
            self.done.set()
        return Receipt()

    def bundle(self, claims: Sequence[Claimed]) -> Message:
        """Give a message of several."""
        made = as_message(claims[0])
        self._sizes[made.id] = len(claims)
        return made


async def cost(folder: Path, incidents: int, severity: str) -> tuple[float, float, int]:
    """Give the seconds of CPU, and on the clock, and how many messages there were."""
    contacts = {"default": tuple(Contact("slack", address) for address in ADDRESSES)}
    routing = msgspec.structs.replace(build_routing(*load(Site(folder).config)), teams=contacts)
    store = SQLiteStore(folder / "bench.sqlite3", lambda: None)
    await store.open(now())
    counting = Counting(incidents * len(ADDRESSES))
    rig = Rig(store, Current(routing, now()), counting, counting.bundle)
    for start in range(0, incidents, 64):
        await asyncio.gather(
            *(rig.fire(f"fan-{number}", severity=severity) for number in range(start, min(start + 64, incidents)))
        )
    began, computed = time.perf_counter(), time.process_time()
    loop = asyncio.ensure_future(rig.dispatcher.run())
    await asyncio.wait_for(counting.done.wait(), 300)
    rig.dispatcher.stop()
    await loop
    took = time.process_time() - computed, time.perf_counter() - began, counting.messages
    await store.close()
    return took


def main(*, short: bool) -> None:
    """Print the medians, and how they grow."""
    size = SHORT if short else FULL
    (ROOT / "data").mkdir(exist_ok=True)
    collect_rarely()  # as the receiver does
    cases = [(severity, number) for severity in PRIORITIES for number in size.incidents]
    costs: dict[tuple[str, int], list[tuple[float, float, int]]] = {case: [] for case in cases}
    for _ in range(size.rounds):
        for severity, number in cases:
            with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
                costs[severity, number].append(asyncio.run(cost(Path(folder), number, severity)))
    for severity, priority in PRIORITIES.items():
        report(priority, {number: costs[severity, number] for number in size.incidents})


def report(priority: str, costs: dict[int, list[tuple[float, float, int]]]) -> None:
    """Print what the incidents of a priority cost."""
    medians = dict[int, float]()
    for number, several in costs.items():
        medians[number], clock, messages = (statistics.median(column) for column in zip(*several, strict=True))
        each = medians[number] / number / len(ADDRESSES) * 1e6
        what = f"{number:6,} {priority}, {len(ADDRESSES)} notifications each, {messages:,.0f} messages"
        print(f"{what}: {medians[number]:.2f} s of CPU, {each:.0f} µs each; {clock:.2f} s")
    least, most = min(costs), max(costs)
    growth = (medians[most] / most) / (medians[least] / least)
    print(f"one of {most:,} costs {growth:.2f} times as much as one of {least:,}")
    name = f"{most:,} {priority} x {len(ADDRESSES)} notifications, fanned out"
    note(name, medians[most], "CPU s", at_most=2.5)
    note(f"{name}: each, next to one of {least:,}", growth, "times", at_most=1.2)


if __name__ == "__main__":
    main(short=is_short(__doc__))
