"""The console with many open incidents and many open pages: `python -m bench.console_pages`.

First byte and size of the page Now, memory and processor time of open pages, and how soon they hear of an incident.
"""

import asyncio
import re
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import aiohttp

from bench.options import is_short
from bench.receiver_process import Site
from bench.receiver_storm import payload


class Size(NamedTuple):
    """How many incidents are open, how often the page is fetched, how many pages are open, how many changes come."""

    incidents: int
    rounds: int
    pages: int
    changes: int
    settle: float  # seconds before the memory is read


FULL, SHORT = Size(1000, 20, 500, 40, 3.0), Size(20, 3, 10, 3, 0.2)


def main() -> None:
    size = SHORT if is_short(__doc__) else FULL
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Site(Path(folder)), size))


async def measure(site: Site, size: Size) -> None:
    reader = {"Authorization": f"Bearer {site.tokens['api']}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        site.session() as sender,
        aiohttp.ClientSession(headers=reader, connector=connector, auto_decompress=False) as session,
        site.run(sender) as process,
    ):
        for number in range(size.incidents):
            await _open(sender, site, number)
        await _fetch(session, site, size.rounds, process.pid)
        before, spent = _memory(process.pid), _cpu(process.pid)
        heard: dict[int, list[float]] = defaultdict(list)
        streams = [asyncio.ensure_future(_listen(session, site, heard)) for _ in range(size.pages)]
        await asyncio.sleep(size.settle)
        after = _memory(process.pid)
        print(f"{size.pages} open pages: {(after - before) / 1024:.1f} MB more memory")
        lags = []
        spent = _cpu(process.pid)
        for number in range(size.changes):
            begun = time.perf_counter()
            await _open(sender, site, size.incidents + number)
            own = heard[size.incidents + number + 1]
            while len(own) < size.pages:
                await asyncio.sleep(0.005)
                if time.perf_counter() - begun > 30:
                    raise SystemExit("a page heard nothing of a new incident")
            lags += [at - begun for at in own]
        cpu = (_cpu(process.pid) - spent) / size.changes
        worst = statistics.quantiles(lags, n=100)[98]
        print(
            f"a new incident on all of them: median {statistics.median(lags) * 1000:.0f} ms after its webhook was sent"
        )
        print(f"99 of 100 within {worst * 1000:.0f} ms; {cpu * 1000:.0f} ms of CPU for each incident")
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)


async def _open(session: aiohttp.ClientSession, site: Site, number: int) -> None:
    async with session.post(site.webhook, data=payload(number, "critical" if number % 3 else "warning")) as answer:
        assert answer.status == 200, await answer.text()


async def _fetch(session: aiohttp.ClientSession, site: Site, rounds: int, pid: int) -> None:
    for path in ("/", "/?show=5000"):
        times, costs, length = [], list[float](), 0
        for _ in range(rounds):
            await asyncio.sleep(1.05 if rounds > 3 else 0)  # what was read is kept for a second
            spent, begun = _cpu(pid), time.perf_counter()
            async with session.get(f"{site.url}{path}", headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.status == 200
                times.append(time.perf_counter() - begun)
                length = len(await answer.read())
            costs.append(_cpu(pid) - spent)
        median, least = statistics.median(times) * 1000, min(times) * 1000
        print(f"GET {path}: first byte median {median:.1f} ms, at least {least:.1f} ms, {length / 1000:.1f} kB packed")
        print(f"GET {path}: {statistics.mean(costs) * 1000:.1f} ms of CPU")


async def _listen(session: aiohttp.ClientSession, site: Site, heard: dict[int, list[float]]) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    async with session.get(f"{site.url}/stream", timeout=timeout) as answer:
        seen = set[int]()
        while line := await answer.content.readline():
            for number in map(int, re.findall(rb'id="i-(\d+)"', line)):
                if number not in seen:
                    seen.add(number)
                    heard[number].append(time.perf_counter())


def _memory(pid: int) -> int:
    """Give the kilobytes that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _cpu(pid: int) -> float:
    """Give the seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
