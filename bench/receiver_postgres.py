"""Several receivers on one PostgreSQL: durable webhooks a second, a page's way, who works, and what they wait for.

The server runs on this machine with fsync and synchronous_commit on, and shares its cores with the receivers and with
what posts: see docs/scaling.md for what that means.
"""

import asyncio
import collections
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psycopg

from bench.figures import note
from bench.load import ROOT
from bench.options import is_short
from bench.receiver_process import Site
from bench.receiver_storm import CONNECTIONS, P1, Slack, payload
from deploy.local.ports import free_port
from deploy.local.postgres import Postgres

_TICK = os.sysconf("SC_CLK_TCK")
ALL = "all"
_WAITS = "SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU') FROM pg_stat_activity WHERE state = 'active'"


class Flooded(NamedTuple):
    """What a flood gave: how many webhooks were taken, whose CPU they have cost, and what the database waited for."""

    taken: int
    seconds: float
    cpu: dict[str, float]  # seconds: of the receivers, of the database, of what posts, of all that runs on this machine
    waits: collections.Counter[str]

    @property
    def rate(self) -> float:
        """Webhooks a second."""
        return self.taken / self.seconds

    def line(self) -> str:
        """Write it."""
        cost = ", ".join(f"{name} {used / self.taken * 1e6:.0f}" for name, used in self.cpu.items() if name != ALL)
        waits = ", ".join(f"{name} {n / self.seconds / 100:.2f}" for name, n in self.waits.most_common(5))
        busy = f"{self.cpu[ALL] / self.seconds:.2f} of {os.cpu_count()} cores busy"
        return f"{self.rate:7.0f} webhooks/s   CPU of each, us: {cost}   {busy}   connections that are active: {waits}"


@contextlib.contextmanager
def a_server() -> Iterator[Postgres]:
    """Run a PostgreSQL whose commits are on the disk."""
    cluster = Postgres(free_port())
    try:
        cluster.create()
        command = [*cluster.command(), "-c", "fsync=on", "-c", "shared_buffers=128MB", "-c", "max_wal_size=2GB"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        try:
            while not cluster.is_ready():
                time.sleep(0.05)
            yield cluster
        finally:
            process.terminate()
            process.wait()
    finally:
        cluster.remove()


def cpu(pids: Sequence[int]) -> float:
    """Give the CPU seconds that these processes and their children have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICK


def backends(postmaster: int) -> list[int]:
    """Give the processes of a server."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def busy() -> float:
    """Give the CPU seconds that everything on this machine has used."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICK  # without idle and iowait


def used(pids: Sequence[int], postmaster: int) -> dict[str, float]:
    """Give the CPU seconds that each part has used."""
    parts = {"receivers": cpu(pids), "database": cpu(backends(postmaster)), "load": time.process_time()}
    return {**parts, ALL: busy()}


async def flood(
    session: aiohttp.ClientSession, sites: Sequence[Site], numbers: Iterator[int], seconds: float
) -> tuple[int, float]:
    """Post new incidents to all receivers in turn for a time; gives how many were taken, and in how many seconds."""
    began, taken = time.perf_counter(), 0

    async def one(site: Site) -> None:
        nonlocal taken
        while time.perf_counter() - began < seconds:
            async with session.post(site.webhook, data=payload(next(numbers))) as answer:
                if answer.status >= 400:
                    raise SystemExit(f"{answer.status}: {await answer.text()}")
            taken += 1

    await asyncio.gather(*(one(sites[number % len(sites)]) for number in range(CONNECTIONS)))
    return taken, time.perf_counter() - began


async def watch_waits(conninfo: str, waits: collections.Counter[str]) -> None:
    """Sample what active connections wait for, a hundred times a second."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        while True:
            rows = await (await connection.execute(_WAITS)).fetchall()
            waits.update(str(row[0]) for row in rows[1:])  # without this connection's own
            await asyncio.sleep(0.01)


async def measure(
    session: aiohttp.ClientSession,
    sites: Sequence[Site],
    pids: Sequence[int],
    url: str,
    postmaster: int,
    numbers: Iterator[int],
    seconds: float,
) -> Flooded:
    """Flood some receivers."""
    waits: collections.Counter[str] = collections.Counter()
    watching = asyncio.ensure_future(watch_waits(url, waits))
    before = used(pids, postmaster)
    taken, took = await flood(session, sites, numbers, seconds)
    after = used(pids, postmaster)
    watching.cancel()
    return Flooded(taken, took, {name: after[name] - before[name] for name in after}, waits)


@contextlib.asynccontextmanager
async def receivers(session: aiohttp.ClientSession, sites: Sequence[Site], by: str = "") -> AsyncIterator[list[int]]:
    """Run a receiver for each, by a module that watches it; gives their processes."""
    async with contextlib.AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(site.run(session, by=by))).pid for site in sites]


def turns(path: Path) -> str:
    """Write what the turns of some receivers were: see bench/turns.py."""
    sums = collections.Counter[str]()
    for line in path.read_text("utf-8").splitlines():
        sums.update(json.loads(line))
    each = {name: figure / sums["transactions"] for name, figure in sums.items()}
    statements, answers = sums["statements"] / sums["webhooks"], each["answers"]
    ms = {name: each[name] * 1000 for name in ("asked", "held", "computed", "waited", "last")}
    return (
        f"a turn has {each['changes']:.1f} changes, {statements:.1f} statements a webhook, {answers:.1f} answers; ms: "
        f"{ms['asked']:.1f} until it comes, {ms['held']:.1f} long, of it {ms['computed']:.1f} computing, "
        f"{ms['waited']:.1f} for answers, {ms['last']:.1f} for the rest and COMMIT"
    )


def empty(url: str) -> None:
    """Remove what the run before has left: else it is sent in this one."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('outbox') IS NOT NULL").fetchone() == (True,):
            connection.execute("TRUNCATE incident, outbox, timeline, member, alike, gathering CASCADE")


async def page(session: aiohttp.ClientSession, site: Site, slack: Slack, number: int) -> float:
    """Post a P1; gives the milliseconds from its 200 until its channel is called."""
    slack.p1.clear()
    async with session.post(
        site.webhook, data=payload(number, "critical").replace(b"storm%06d" % number, b"storm%d" % P1)
    ) as answer:
        answer.raise_for_status()
    began = time.perf_counter()
    await asyncio.wait_for(slack.p1.wait(), 60)
    return max(0.0, slack.arrived - began) * 1000


async def main(*, short: bool) -> None:
    """Run the benchmark."""
    seconds, rounds, pages, several = (0.2, 1, 2, 2) if short else (8.0, 3, 30, 3)
    slack = Slack()
    with a_server() as cluster, tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        url = f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres"
        postmaster = int((cluster.folder / "data/postmaster.pid").read_text().split()[0])
        first = Site(Path(folder), url)
        sites = [first, *(Site(Path(folder), url, first) for _ in range(several - 1))]
        numbers = iter(range(10**7))
        async with first.session() as session, first.serve_slack(slack.post):
            rates: dict[int, list[float]] = {1: [], several: []}
            for _ in range(rounds):
                for count, measured in rates.items():
                    empty(url)
                    async with receivers(session, sites[:count]) as pids:
                        done = await measure(session, sites[:count], pids, url, postmaster, numbers, seconds)
                    measured.append(done.rate)
                    print(f"{count} receiver(s): {done.line()}")
            for count in rates:
                empty(url)
                os.environ["BENCH_TURNS"] = str(Path(folder) / f"turns-{count}.json")
                async with receivers(session, sites[:count], "bench.turns"):
                    await flood(session, sites[:count], numbers, seconds)
                print(f"{count} receiver(s): {turns(Path(os.environ['BENCH_TURNS']))}")
            note("webhooks of ten alerts on PostgreSQL, one receiver", statistics.median(rates[1]), "/s")
            note("webhooks of ten alerts on PostgreSQL, three receivers", statistics.median(rates[several]), "/s")
            async with receivers(session, sites):
                times = [await page(session, sites[n % several], slack, 5_000_000 + n) for n in range(pages)]
            note("a P1 on PostgreSQL, from its 200 until its channel is called, median", statistics.median(times), "ms")
            print(f"a P1 after its 200: median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms")


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    asyncio.run(main(short=is_short(__doc__)))
