"""What uvloop, the extra, gains: batches of the exporter and webhooks of the receiver on either event loop.

Both processes run beside each other and are loaded in turn; compared is their CPU.
"""

import asyncio
import itertools
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.exporter_ingest import TOKEN, events, ours
from bench.figures import note_pairs
from bench.load import ROOT, Measured, Server, core, flood, program, request
from bench.options import is_short
from bench.peers import UVLOOP
from bench.receiver_peers import CONNECTIONS, Webhooks, turn
from bench.receiver_process import Site

LOOPS = ("uvloop", "asyncio")
Take = Callable[[], Measured]


@contextmanager
def loop_of(name: str) -> Iterator[None]:
    """Let programs that are started meanwhile have this loop (bench/watched.py)."""
    before = dict(os.environ)
    os.environ |= {"BENCH_LOOP": name, "PYTHONPATH": str(UVLOOP)}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def exporters(folder: Path, stack: ExitStack, seconds: float) -> Iterator[tuple[str, dict[str, Take]]]:
    """Start an exporter on each loop; gives what each takes of every size of batch."""
    servers = {}
    for loop in LOOPS:
        with loop_of(loop):
            servers[loop] = Server(*ours(folder))
        stack.callback(servers[loop].stop)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for size in (1, 14, 200):
        raw = request("/api/events", json.dumps({"events": events(size)}).encode(), headers)

        def take(server: Server, raw: bytes = raw) -> Measured:
            return asyncio.run(flood(server, itertools.repeat(raw), seconds, 32))

        yield f"exporter, {size} events a request", {loop: partial(take, server) for loop, server in servers.items()}


def receivers(folder: Path, stack: ExitStack, seconds: float) -> tuple[str, dict[str, Take]]:
    """Start a receiver on each loop."""
    takes: dict[str, Take] = {}
    for loop in LOOPS:
        (folder / loop).mkdir()
        site = Site(folder / loop)
        with loop_of(loop):
            server = Server([*program("receiver", site.config), "--log.level=error"], site.port)
        stack.callback(server.stop)
        webhooks = Webhooks("/webhook/alertmanager", site.tokens["webhook"])
        takes[loop] = partial(_webhooks, server, site, webhooks, seconds)
    return "receiver, webhooks of ten alerts", takes


def _webhooks(server: Server, site: Site, webhooks: Webhooks, seconds: float) -> Measured:
    return asyncio.run(turn(server, site, webhooks.some(int(4_000 * seconds) + CONNECTIONS), seconds))


def compare(name: str, takes: dict[str, Take], rounds: int) -> None:
    """Let both take turns, and print the gain."""
    costs: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    for number in range(rounds):
        for loop in LOOPS if number % 2 else LOOPS[::-1]:
            costs[loop].append(takes[loop]().microseconds)
    ours, theirs = (costs[loop] for loop in LOOPS)
    gain = note_pairs(f"{name}, on uvloop", "µs of CPU", ours, theirs, "itself on asyncio's loop", less_is_better=True)
    print(f"{name:34}{_row([statistics.median(costs[loop]) for loop in reversed(LOOPS)])}{gain:8.2f}")


def _row(values: Sequence[float]) -> str:
    return "".join(f"{value:12.1f}" for value in values)


def main(*, short: bool) -> None:
    """Run the benchmark."""
    rounds, seconds = (1, 0.1) if short else (7, 0.7)
    if not UVLOOP.exists():
        print("0 compared: uvloop is not here: python -m bench.peers")
        return
    (ROOT / "data").mkdir(exist_ok=True)
    print(f"{'µs of CPU a request':34}{'asyncio':>12}{'uvloop':>12}{'gain':>8}")
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name, core(-1):
        with ExitStack() as stack:
            for case, takes in exporters(Path(name), stack, seconds):
                compare(case, takes, rounds)
        with ExitStack() as stack:
            compare(*receivers(Path(name), stack, seconds), rounds)


if __name__ == "__main__":
    main(short=is_short(__doc__))
