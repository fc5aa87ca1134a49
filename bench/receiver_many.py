"""A receiver with a hundred thousand open incidents: restart, memory, and how late its steps are.

The database is filled beforehand through the store itself; then the process is started on it, three thousand of the
incidents become due within a minute, and its own histogram of step lateness is read.
"""

import asyncio
import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import aiohttp

from bench.load import ROOT
from bench.options import is_short
from bench.receiver_process import Site
from bench.receiver_storm import Slack, payload
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.event import AlertsReceived
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.alertmanager_payload import parse


class Size(NamedTuple):
    """How many incidents are open, how many become due, and the seconds before, while and after they do."""

    open: int
    due: int
    before: float
    during: float
    after: float


FULL, SHORT = Size(100_000, 3_000, 20, 60, 25), Size(300, 60, 0.3, 0.5, 0.5)


async def fill(site: Site, began: datetime, size: Size) -> None:
    """Open the incidents; those to become due first, so that their only step falls into the measured time."""
    routing = build_routing(*load(site.config))
    store = SQLiteStore(site.database, lambda: None)
    await store.open(began)

    async def one(number: int) -> None:
        (group,) = parse(payload(number, "none", alerts=1), began).groups
        early = timedelta(hours=1, seconds=-size.before - size.during * number / size.due)
        at = began - (early if number < size.due else timedelta(0))
        await store.update(AlertsReceived(group), routing, at)

    for start in range(0, size.open, 500):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 500, size.open))))
    await store.close()


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    size = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    return int(size[1]) / 1024 if size else 0.0


async def lateness(session: aiohttp.ClientSession, site: Site) -> tuple[float, list[tuple[float, float]]]:
    """Read the receiver's histogram: how many steps, and the share of them by bound."""
    async with session.get(f"{site.url}/metrics") as answer:
        text = await answer.text()
    buckets = re.findall(r'receiver_step_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    total = float(buckets[-1][1])
    return total, [(float(bound), float(count) / (total or 1)) for bound, count in buckets]


async def main(*, short: bool) -> None:
    """Run the benchmark."""
    size = SHORT if short else FULL
    slack = Slack()
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        site = Site(Path(folder))
        began = time.perf_counter()
        await fill(site, datetime.now(UTC) + timedelta(seconds=size.open / 1500), size)
        print(f"{size.open} incidents opened through the store in {time.perf_counter() - began:.0f} s")
        async with site.session() as session, site.serve_slack(slack.post):
            began = time.perf_counter()
            async with site.run(session) as process:
                print(f"from its start to ready: {time.perf_counter() - began:.2f} s")
                await asyncio.sleep(size.before + size.during + size.after)
                total, shares = await lateness(session, site)
                held = memory(process.pid)
        print(f"memory: {held:.0f} MB   steps taken: {total:.0f}   calls of Slack: {slack.calls}")
        print("steps late by at most: " + "   ".join(f"{bound:g} s {share:.1%}" for bound, share in shares[:6]))


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    asyncio.run(main(short=is_short(__doc__)))
