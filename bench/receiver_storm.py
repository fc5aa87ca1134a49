"""The receiver under a storm: durable webhooks a second, their latency, a P1 among ten thousand others.

The receiver is a process of its own with a real SQLite file (synchronous=FULL); Slack is a local server that takes
one message a channel a second, as the real one does. A bare aiohttp handler that only reads the body is measured in
the same run, so that the figures can be read as shares on any machine.
"""

import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

from bench.figures import note
from bench.load import ROOT
from bench.options import is_short
from bench.receiver_process import Site, ready
from deploy.local.ports import free_port

ALERTS, CONNECTIONS, P1 = 10, 64, 999_999


class Size(NamedTuple):
    """How long to flood, how many incidents the storm opens, and how many webhooks come at a steady 200 a second."""

    seconds: float
    storm: int
    paced: int


FULL, SHORT = Size(8.0, 10_000, 2_000), Size(0.2, 100, 40)


def payload(number: int, severity: str = "warning", status: str = "firing", alerts: int = ALERTS) -> bytes:
    """Build one webhook of ten alerts."""
    listed = [
        {
            "status": status,
            "labels": {
                "alertname": f"storm{number:06}",
                "severity": severity,
                "team": "backend",
                "instance": f"app-{n}",
            },
            "annotations": {"summary": "A benchmark", "description": f"Something is slow on app-{n}."},
            "startsAt": "2026-11-23T03:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": f"{number:012x}{n:04x}",
        }
        for n in range(alerts)
    ]
    body = {"version": "4", "groupKey": f"{{}}:{number}", "receiver": "receiver", "alerts": listed}
    return json.dumps(body).encode()


def bare(port: int) -> None:
    """Serve a handler to compare with: it parses the body and discards it."""

    async def take(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.json_response({})

    app = web.Application(client_max_size=1 << 25)
    app.add_routes([web.post("/webhook/alertmanager", take)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def flood(session: aiohttp.ClientSession, url: str, bodies: list[bytes], seconds: float) -> tuple[int, float]:
    """Post over many connections for a time; gives how many were taken and in how many seconds."""
    waiting, taken = iter(bodies), 0
    began = time.perf_counter()

    async def one() -> None:
        nonlocal taken
        for body in waiting:
            async with session.post(url, data=body) as answer:
                answer.raise_for_status()
            taken += 1
            if time.perf_counter() - began > seconds:
                return

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return taken, time.perf_counter() - began


async def paced(session: aiohttp.ClientSession, url: str, bodies: list[bytes], rate: float) -> list[float]:
    """Post at a steady rate; gives each answer's milliseconds, counted from when it should have been sent."""
    times = list[float]()
    began = time.perf_counter()

    async def one(number: int, body: bytes) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        async with session.post(url, data=body) as answer:
            answer.raise_for_status()
        times.append((time.perf_counter() - due) * 1000)

    await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))
    return times


class Slack:
    """Answers like Slack, and notes when the P1 arrives."""

    def __init__(self) -> None:
        self.calls, self.arrived, self.p1 = 0, 0.0, asyncio.Event()

    async def post(self, request: web.Request) -> web.Response:
        """Take chat.postMessage and chat.update."""
        self.calls += 1
        text = (await request.read()).decode()
        if f"storm{P1}" in text and not self.p1.is_set():
            self.arrived = time.perf_counter()
            self.p1.set()
        return web.json_response({"ok": True, "ts": "1.1", "channel": "C1"})


async def measure(session: aiohttp.ClientSession, site: Site, slack: Slack, bare_url: str, size: Size) -> None:
    """Run the three measurements and print them."""
    await ready(session, bare_url)
    bodies = [payload(number) for number in range(2 * size.storm + size.paced)]
    count, took = await flood(session, bare_url, bodies[: 2 * size.storm], size.seconds / 2)
    bare_rate = count / took
    times = await paced(session, site.webhook, bodies[2 * size.storm :], 200.0)
    cuts = statistics.quantiles(times, n=100)
    note("webhooks of ten alerts at 200/s, until the 200, p99", cuts[98], "ms")
    print(f"at 200/s, new incidents: p50 {cuts[49]:.1f} ms   p90 {cuts[89]:.1f} ms   p99 {cuts[98]:.1f} ms")
    count, took = await flood(session, site.webhook, bodies[: size.storm], size.seconds * 4)
    rate = count / took
    share = f"{rate / bare_rate:.2f} of a bare handler"
    print(f"webhooks of {ALERTS} alerts, each a new incident   {rate:8.0f}/s   {share}")
    began = time.perf_counter()
    async with session.post(site.webhook, data=payload(P1, "critical")) as answer:
        answer.raise_for_status()
    await asyncio.wait_for(slack.p1.wait(), 60)
    late = slack.arrived - began
    note(f"a P1 among {count:,} other notifications, until its channel is called", late * 1000, "ms")
    print(f"a P1 among {count} others is on its channel after {late * 1000:8.0f} ms   ({slack.calls} calls of Slack)")
    count, took = await flood(session, site.webhook, bodies[: size.storm], size.seconds)
    print(f"the same webhooks again (nothing is new)      {count / took:8.0f}/s   {count / took / bare_rate:.2f}")


async def main(*, short: bool) -> None:
    """Run the benchmark."""
    slack, bare_port = Slack(), free_port()
    compared = multiprocessing.Process(target=bare, args=(bare_port,), daemon=True)
    compared.start()
    bare_url = f"http://127.0.0.1:{bare_port}/webhook/alertmanager"
    try:
        with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
            site = Site(Path(folder))
            async with site.session() as session, site.serve_slack(slack.post), site.run(session):
                await measure(session, site, slack, bare_url, SHORT if short else FULL)
    finally:
        compared.terminate()
        compared.join()


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    asyncio.run(main(short=is_short(__doc__)))
