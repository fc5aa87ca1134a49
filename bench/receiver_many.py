"""Measures a receiver with a hundred thousand open incidents: restart, memory, and how late its steps are.

The database is filled beforehand through the store itself; then the process is started on it, three thousand of the
incidents become due within a minute, and its own histogram of step lateness is read.
"""

import asyncio
import re
import secrets
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from receiver_storm import RECEIVER, ROOT, SLACK, Slack, configuration, payload, ready

from receiver.config.build import routing
from receiver.config.load import load
from receiver.incident.event import AlertsReceived
from receiver.incident.machine import transition
from receiver.policy.current import Live
from receiver.store.sqlite import SQLiteStore
from receiver.web.alertmanager_payload import parse

OPEN, DUE, MINUTE = 100_000, 3_000, 60.0


async def fill(config: Path, database: Path, began: datetime) -> None:
    """Open the incidents; the first three thousand so that their only step is due within the coming minute."""
    policy = Live(routing(*load(config)), began)
    store = SQLiteStore(database, lambda: None)
    await store.open(began)

    async def one(number: int) -> None:
        group = parse(payload(number, "none", alerts=1))
        early = timedelta(hours=1, seconds=-20 - MINUTE * number / DUE) if number < DUE else timedelta(0)
        at = began - early
        decide = partial(transition, event=AlertsReceived(group), policy=policy, now=at)
        await store.update(group, decide, at)

    for start in range(0, OPEN, 500):
        await asyncio.gather(*(one(number) for number in range(start, start + 500)))
    await store.close()


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    return int(found[1]) / 1024 if found else 0.0


async def lateness(session: aiohttp.ClientSession) -> tuple[float, list[tuple[float, float]]]:
    """Read the receiver's histogram: how many steps, and the share of them by bound."""
    async with session.get(f"http://127.0.0.1:{RECEIVER}/metrics") as answer:
        text = await answer.text()
    buckets = re.findall(r'receiver_step_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    total = float(buckets[-1][1])
    return total, [(float(bound), float(count) / (total or 1)) for bound, count in buckets]


async def main() -> None:
    """Run the benchmark."""
    tokens = {name: secrets.token_urlsafe(32) for name in ("webhook", "api", "link")}
    slack, app = Slack(), web.Application()
    app.add_routes([web.post("/api/{method}", slack.post)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SLACK).start()
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        config = configuration(Path(folder), tokens)
        began = time.perf_counter()
        await fill(config, Path(folder) / "receiver.sqlite3", datetime.now(UTC) + timedelta(seconds=OPEN / 1500))
        print(f"{OPEN} incidents opened through the store in {time.perf_counter() - began:.0f} s")
        command = [sys.executable, "-m", "receiver", f"--config.file={config}", "--log.level=error"]
        began = time.perf_counter()
        receiver = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        async with aiohttp.ClientSession() as session:
            await ready(session, RECEIVER)
            print(f"from its start to ready: {time.perf_counter() - began:.2f} s")
            await asyncio.sleep(MINUTE + 45)
            total, shares = await lateness(session)
            print(f"memory: {memory(receiver.pid):.0f} MB   steps taken: {total:.0f}   calls of Slack: {slack.calls}")
            print("steps late by at most: " + "   ".join(f"{bound:g} s {share:.1%}" for bound, share in shares[:6]))
        receiver.terminate()
        await receiver.wait()
    await runner.cleanup()


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    asyncio.run(main())
