"""Durable webhooks of ten alerts next to what the disk commits, to naive handlers, and to Alerta on PostgreSQL.

All take turns in one run, each server with all its processes on the first core and the load on the other. Every webhook
opens an incident (Alerta: ten alerts) that nobody has heard of. Two bounds: the disk syncs as many pages as ours writes
for one webhook, again and again; and SQLite commits the rows of one webhook, again and again, from Python.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import peers
from bench.bound import Rate, Rows, syncs
from bench.figures import note, note_pairs
from bench.load import ROOT, Loaded, Measured, Server, core, flood, program, python, request
from bench.options import is_short
from bench.receiver_process import Site
from bench.receiver_storm import Slack, payload
from deploy.local.ports import free_port

OURS, ALERTA = "this receiver", "Alerta on PostgreSQL"
NAIVE, SYNCING = "a handler that only parses", "a handler that parses and syncs"
DISK, SQLITE = "the disk's syncs, one a webhook", "SQLite's commits, one a webhook"
CONNECTIONS = 64


class Size(NamedTuple):
    """Rounds, seconds a round of ours, and of Alerta."""

    rounds: int
    seconds: float
    slow: float


FULL, SHORT = Size(5, 2.0, 3.0), Size(1, 0.2, 0.2)


class Webhooks:
    """Webhooks of groups that nobody has heard of."""

    def __init__(self, path: str, token: str = "") -> None:
        self._path, self._next = path, 0
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def some(self, number: int) -> list[bytes]:
        """Make so many: before the time is taken, for making one costs as much as taking it."""
        first, self._next = self._next, self._next + number
        return [request(self._path, payload(n), self._headers) for n in range(first, first + number)]


async def turn(server: Loaded, site: Site, bodies: list[bytes], seconds: float) -> Measured:
    """Load one server; Slack answers ours meanwhile."""
    async with site.serve_slack(Slack().post):
        return await flood(server, bodies, seconds, CONNECTIONS)


def servers(stack: ExitStack, site: Site) -> Iterator[tuple[str, Loaded, Webhooks]]:
    """Start all that can be started here."""
    ours = Server([*program("receiver", site.config), "--log.level=error"], site.port)
    stack.callback(ours.stop)
    yield OURS, ours, Webhooks("/webhook/alertmanager", site.tokens["webhook"])
    for name, words in ((NAIVE, []), (SYNCING, [str(site.folder / "naive")])):
        port = free_port()
        naive = Server(python("-m", "bench.naive_receiver", str(port), *words), port)
        stack.callback(naive.stop)
        yield name, naive, Webhooks("/webhook/alertmanager")
    if said := peers.missing():
        print(f"without Alerta: {said}")
    else:
        yield ALERTA, stack.enter_context(peers.alerta()), Webhooks("/webhooks/prometheus")


def main(*, short: bool) -> None:
    """Run the rounds and print medians and ratios."""
    size = SHORT if short else FULL
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name, ExitStack() as stack:
        site = Site(Path(name))
        several = list(servers(stack, site))
        rows = Rows(site.folder, site.config)
        stack.callback(rows.close)
        bounds: dict[str, list[Rate]] = {DISK: [], SQLITE: []}
        measured: dict[str, list[Measured]] = {name: [] for name, *_ in several}
        with core(-1):
            for number in range(size.rounds):
                bounds[DISK].append(syncs(site.folder, size.seconds / 2))
                bounds[SQLITE].append(rows.measure(size.seconds / 2))
                for name_, server, webhooks in several if number % 2 else several[::-1]:
                    seconds = size.slow if name_ == ALERTA else size.seconds
                    bodies = webhooks.some(int(seconds * (150 if name_ == ALERTA else 6_000)))
                    measured[name_].append(asyncio.run(turn(server, site, bodies, seconds)))
    report(bounds, measured)


def report(bounds: dict[str, list[Rate]], measured: dict[str, list[Measured]]) -> None:
    """Print a table, and note the ratios."""
    print(f"{'webhooks of ten alerts':36}{'a second':>10}{'a CPU second':>14}{'p50, ms':>10}{'p99, ms':>10}")
    for name, bound in bounds.items():
        print(f"{name:36}" + "{:10,.0f}{:14,.0f}".format(*(statistics.median(one) for one in zip(*bound, strict=True))))
    for name, several in measured.items():
        columns = [(m.rate, m.per_cpu_second, m.percentile(0.5), m.percentile(0.99)) for m in several]
        rate, each, p50, p99 = (statistics.median(column) for column in zip(*columns, strict=True))
        print(f"{name:36}{rate:10,.0f}{each:14,.0f}{p50:10.1f}{p99:10.1f}")
    ours = measured[OURS]
    rates, each, what = [m.rate for m in ours], [m.per_cpu_second for m in ours], "durable webhooks of ten alerts"
    note_pairs(what, "/s", rates, [rate.clock for rate in bounds[DISK]], DISK)
    share = note_pairs(f"{what}, a CPU second", "/s", each, [rate.cpu for rate in bounds[SQLITE]], SQLITE, at_least=0.6)
    print(f"a CPU second of ours takes {share:.2f} of what SQLite by itself takes")
    for name in (NAIVE, SYNCING):
        note_pairs(f"{what}, a CPU second", "/s", each, [m.per_cpu_second for m in measured[name]], name)
    if ALERTA in measured:
        ratio = note_pairs(what, "/s", rates, [m.rate for m in measured[ALERTA]], ALERTA, at_least=80)
        by_cpu = [m.per_cpu_second for m in measured[ALERTA]]
        by_cpu_ratio = note_pairs(f"{what}, a CPU second", "/s", each, by_cpu, ALERTA, at_least=80)
        print(f"{ratio:.0f} times Alerta on one core, {by_cpu_ratio:.0f} times by CPU")
    note(f"{what}, p50 at {CONNECTIONS} connections", statistics.median(m.percentile(0.5) for m in ours), "ms")


if __name__ == "__main__":
    main(short=is_short(__doc__))
