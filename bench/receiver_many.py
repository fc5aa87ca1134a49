"""A receiver with a million closed and a hundred thousand open incidents: what it costs, and how late its pages are.

The database is filled beforehand; then the process is started on it, and another one with an empty database beside it.
Some of the open incidents become due in a minute, and the receiver's own histogram of step lateness is read; then both
receivers get new P1 in turn, one at a time.
"""

import asyncio
import re
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import aiohttp

from bench.figures import note
from bench.history import fill_open, fill_packed
from bench.load import ROOT
from bench.options import parser
from bench.receiver_process import Site
from bench.receiver_storm import payload
from bench.webhook_latency import Slack, measure, show
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.event import AlertsReceived
from receiver.policy.routing import Routing
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.alertmanager_payload import parse


class Size(NamedTuple):
    """Closed and open incidents, how many become due, seconds before, while and after they do, and P1 in each round."""

    closed: int
    open: int
    due: int
    before: float
    idle: float  # the last seconds of those before
    during: float
    after: float
    pages: int
    rounds: int


FULL = Size(1_000_000, 100_000, 1_500, 30, 10, 30, 3, 100, 4)
SHORT = Size(300, 100, 30, 0.3, 0.1, 0.3, 0.3, 3, 1)
FIRST = 700_000  # number of the first P1: of groups that nobody has heard of
CLAIMS, IDLE = 200, 10


async def fill_due(site: Site, routing: Routing, began: datetime, size: Size) -> None:
    """Open the incidents whose only step falls into the measured time."""
    store = SQLiteStore(site.database, lambda: None)
    await store.open(began)

    async def one(number: int) -> None:
        (group,) = parse(payload(FIRST - 1 - number, "none", alerts=1), began).groups
        early = timedelta(hours=1, seconds=-size.before - size.during * number / size.due)
        await store.update(AlertsReceived(group), routing, began - early)

    for start in range(0, size.due, 500):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 500, size.due))))
    await store.close()


def fill(site: Site, size: Size) -> None:
    """Fill the database, last with what becomes due."""
    routing, now = build_routing(*load(site.config)), datetime.now(UTC)
    asyncio.run(_create(site.database, now))
    fill_packed(site.database, routing, now, size.closed)
    fill_open(site.database, routing, now, size.open - size.due)
    asyncio.run(fill_due(site, routing, datetime.now(UTC) + timedelta(seconds=size.due / 500), size))


async def _create(path: Path, now: datetime) -> None:
    store = SQLiteStore(path, lambda: None)
    await store.open(now)
    await store.close()


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    size = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    return int(size[1]) / 1024 if size else 0.0


def computed(pid: int) -> float:
    """Seconds of CPU that the threads of a process have had, exactly (docs.kernel.org/scheduler/sched-stats.html)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text("utf-8").split()[0]) for thread in threads) / 1e9


async def lateness(session: aiohttp.ClientSession, site: Site) -> tuple[float, dict[float, float]]:
    """Read the receiver's histogram: how many steps, and the share of them by bound."""
    async with session.get(f"{site.url}/metrics") as answer:
        text = await answer.text()
    buckets = re.findall(r'receiver_step_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    total = float(buckets[-1][1])
    return total, {float(bound): float(count) / (total or 1) for bound, count in buckets}


async def run(site: Site, empty: Site, size: Size) -> None:
    """Start both receivers and measure."""
    slack, beside = Slack(), Slack()
    async with (
        site.session() as session,
        empty.session() as other,
        site.serve_slack(slack.post),
        empty.serve_slack(beside.post),
        empty.run(other, by="") as small,
    ):
        began = time.perf_counter()
        async with site.run(session, by="") as process:
            ready = time.perf_counter() - began
            print(f"from its start to ready: {ready:.2f} s")
            note(f"restart to ready with {size.closed:,} closed and {size.open:,} open", ready, "s", at_most=3)
            await _steps(session, site, size, process.pid)
            after, costs = list[float](), list[float]()
            for number in range(size.rounds):
                numbers = range(FIRST + number * size.pages, FIRST + (number + 1) * size.pages)
                before = [computed(process.pid), computed(small.pid)]
                to_channel, to_answer = await measure(session, site.webhook, slack, numbers)
                between = computed(process.pid)
                await measure(other, empty.webhook, beside, numbers)
                costs.append((between - before[0]) / (computed(small.pid) - before[1]))
                after += [max(0.0, a - b) for a, b in zip(to_channel, to_answer, strict=True)]
            _pages(after, costs, memory(process.pid))


async def _steps(session: aiohttp.ClientSession, site: Site, size: Size, pid: int) -> None:
    await asyncio.sleep(size.before - size.idle)
    windows = []
    for _ in range(IDLE):  # the median, as the file is checked for damage in some of them
        before = computed(pid)
        await asyncio.sleep(size.idle / IDLE)
        windows.append((computed(pid) - before) / size.idle * IDLE)
    idle = statistics.median(windows) * 100
    await asyncio.sleep(size.during + size.after)
    total, shares = await lateness(session, site)
    print(f"idle: {idle:.2f} % of a core   steps taken: {total:.0f}")
    print(
        "steps late by at most: " + "   ".join(f"{bound:g} s {share:.1%}" for bound, share in list(shares.items())[:6])
    )
    note("idle", idle, "% of a core", at_most=0.5)
    note("steps late by at most a second", shares[1.0] * 100, "%", at_least=99)


def _pages(after: list[float], costs: list[float], held: float) -> None:
    show("a P1, from the webhook's 200 to Slack", after)
    cost = statistics.median(costs)
    print(f"CPU for each, next to that with an empty database: {cost:.2f} times; memory: {held:.0f} MB")
    cuts = statistics.quantiles(after, n=100)
    note("a P1 after its webhook's 200, p50", cuts[49], "ms", at_most=10)
    note("a P1 after its webhook's 200, p99", cuts[98], "ms", at_most=50)
    note("CPU for each, next to an empty database", cost, "times", at_most=1.3)
    note("memory", held, "MB", at_most=200)


async def claims(site: Site) -> None:
    """Measure the look for what is owed, when nothing is."""
    now, store, times = datetime.now(UTC), SQLiteStore(site.database, lambda: None), []
    await store.open(now)
    for _ in range(CLAIMS):
        began = time.perf_counter()
        await store.claim("slack", now, 90.0, 10)
        times.append((time.perf_counter() - began) * 1000)
    await store.close()
    print(f"a claim: {statistics.median(times):.2f} ms")
    note("a claim, median", statistics.median(times), "ms", at_most=1)


def main() -> None:
    """Run the benchmark."""
    known = parser(__doc__)
    known.add_argument("--closed", type=int, help=f"closed incidents; {FULL.closed:,} by default")
    options = known.parse_args()
    size = SHORT if options.short else FULL
    if options.closed is not None:
        size = size._replace(closed=options.closed)
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder, tempfile.TemporaryDirectory() as second:
        site, empty = Site(Path(folder)), Site(Path(second))
        began = time.perf_counter()
        fill(site, size)
        filled = f"{size.closed:,} closed and {size.open:,} open incidents"
        print(f"{filled}, {site.database.stat().st_size / 1e6:,.0f} MB, filled in {time.perf_counter() - began:.0f} s")
        asyncio.run(run(site, empty, size))
        asyncio.run(claims(site))


if __name__ == "__main__":
    main()
