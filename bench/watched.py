"""Runs the exporter or the receiver with a watch on its event loop: `python -m bench.watched receiver --config.file F`.

A timer of the loop notes how late it is, every 5 ms from the second second on; how late it is without the time in
which its thread could run and others had the processor (the kernel's run delay); and how long of that it computed: the
rest it waited for Python's lock or for the disk. The figures go to the file that BENCH_STALLS names when the process
ends. It costs 0.3 % of a core. With BENCH_LOOP=uvloop the process has that loop.
"""

import asyncio
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

EVERY = 0.005  # seconds


class Watch:
    """Notes the lateness of a timer of one loop, and what the loop's thread did in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._due, self._computed, self._delayed = loop, 0.0, 0.0, 0.0
        self._statistics: int | None = None
        self.late: list[float] = []
        self.computing: list[float] = []
        self.own: list[float] = []
        loop.call_later(1, self._begin)

    def _begin(self) -> None:
        self._due, self._computed, self._delayed = self._loop.time() + EVERY, time.thread_time(), self._delay()
        self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        late = max(0.0, self._loop.time() - self._due)
        computing = min(late, time.thread_time() - self._computed)
        delayed = min(late - computing, self._delay() - self._delayed)
        self.late.append(late)
        self.computing.append(computing)
        self.own.append(late - delayed)
        self._begin()

    def _delay(self) -> float:
        """Read for how many seconds this thread has ever waited for a processor: the second figure of schedstat."""
        if self._statistics is None:  # in the thread of the loop
            self._statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        return int(os.pread(self._statistics, 100, 0).split()[1]) / 1e9

    def line(self, name: str) -> str:
        """Write the figures as JSON: milliseconds at the 99th percentile and at most."""
        figures = {}
        for what, values in (("late", self.late), ("own", self.own), ("computing", self.computing)):
            ordered = sorted(values) or [0.0]
            figures[what] = [ordered[int(len(ordered) * 0.99)] * 1000, ordered[-1] * 1000]
        return json.dumps({"program": name, "turns": len(self.late), **figures}) + "\n"


class Policy(asyncio.DefaultEventLoopPolicy):
    """Watches the first loop that the program makes."""

    watch: Watch | None = None

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Make a loop, of uvloop's kind if it is asked for."""
        if os.environ.get("BENCH_LOOP") == "uvloop":
            loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
        else:
            loop = super().new_event_loop()
        self.watch = self.watch or Watch(loop)
        return loop


def main() -> int:
    """Run the program as its own command line would."""
    name, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    policy = Policy()
    asyncio.set_event_loop_policy(policy)
    try:
        status: int = import_module(f"{name}.__main__").run()
    finally:
        path = os.environ.get("BENCH_STALLS")
        if path and policy.watch:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(policy.watch.line(name))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
