"""Several receivers on one PostgreSQL: durable webhooks a second, a page's way, who works, and what they wait for.

The server runs on this machine with fsync and synchronous_commit on, and shares its cores with the receivers and with
what posts: see docs/scaling.md for what that means.
"""

import asyncio
import collections
import contextlib
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
_WAITS = "SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU') FROM pg_stat_activity WHERE state = 'active'"


class Flooded(NamedTuple):
    """What a flood gave: webhooks a second, CPU seconds of receivers and of the database, and how often it waited."""

    rate: float
    receivers: float
    database: float
    waits: collections.Counter[str]
    seconds: float


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
    before = cpu(pids), cpu(backends(postmaster))
    taken, took = await flood(session, sites, numbers, seconds)
    after = cpu(pids), cpu(backends(postmaster))
    watching.cancel()
    return Flooded(taken / took, after[0] - before[0], after[1] - before[1], waits, took)


@contextlib.asynccontextmanager
async def receivers(session: aiohttp.ClientSession, sites: Sequence[Site]) -> AsyncIterator[list[int]]:
    """Run a receiver for each; gives their processes."""
    async with contextlib.AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(site.run(session, watched=False))).pid for site in sites]


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
    seconds, rounds, pages = (0.5, 1, 3) if short else (8.0, 3, 30)
    slack = Slack()
    with a_server() as cluster, tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        url = f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres"
        postmaster = int((cluster.folder / "data/postmaster.pid").read_text().split()[0])
        first = Site(Path(folder), url)
        sites = [first, *(Site(Path(folder), url, first) for _ in range(2))]
        numbers = iter(range(10**7))
        async with first.session() as session, first.serve_slack(slack.post):
            rates: dict[int, list[float]] = {1: [], 3: []}
            for _ in range(rounds):
                for count, measured in rates.items():
                    async with receivers(session, sites[:count]) as pids:
                        done = await measure(session, sites[:count], pids, url, postmaster, numbers, seconds)
                    measured.append(done.rate)
                    waits = ", ".join(f"{name} {n / done.seconds / 100:.2f}" for name, n in done.waits.most_common(5))
                    cores = f"{done.receivers / done.seconds:.2f}, database {done.database / done.seconds:.2f} cores"
                    print(
                        f"{count} receiver(s): {done.rate:7.0f} webhooks/s   CPU: receivers {cores}   active: {waits}"
                    )
            note("webhooks of ten alerts on PostgreSQL, one receiver", statistics.median(rates[1]), "/s")
            note("webhooks of ten alerts on PostgreSQL, three receivers", statistics.median(rates[3]), "/s")
            async with receivers(session, sites):
                times = [await page(session, sites[n % 3], slack, 5_000_000 + n) for n in range(pages)]
            note("a P1 on PostgreSQL, from its 200 until its channel is called, median", statistics.median(times), "ms")
            print(f"a P1 after its 200: median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms")


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    asyncio.run(main(short=is_short(__doc__)))
