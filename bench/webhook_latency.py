"""How long a page takes: from Alertmanager's request to the request that a channel makes of its provider.

Everything is real except the provider, a local server that notes when it is called. There is no other load and one
incident at a time; prints percentiles, also of the receiver's own transaction.
"""

import asyncio
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from bench.figures import note
from bench.options import is_short
from bench.receiver_process import Site


class Slack:
    """Answers like Slack, and notes the time of each call by the incident that it is about."""

    def __init__(self) -> None:
        self.called: dict[str, float] = {}
        self.bell = asyncio.Event()

    async def post(self, request: web.Request) -> web.Response:
        """Take chat.postMessage."""
        now = time.perf_counter()
        name = re.search(r"bench\d{6}", (await request.read()).decode())
        if name:
            self.called.setdefault(name[0], now)
        self.bell.set()
        return web.json_response({"ok": True, "ts": "1.1"})


def payload(number: int) -> bytes:
    """Build one webhook body, of a group of its own."""
    alert = {
        "status": "firing",
        "labels": {"alertname": f"bench{number:06}", "severity": "critical"},
        "annotations": {"summary": "A benchmark"},
        "startsAt": "2026-11-23T03:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{number:016x}",
    }
    return json.dumps({"version": "4", "groupKey": f"{{}}:{number}", "receiver": "r", "alerts": [alert]}).encode()


async def measure(
    session: aiohttp.ClientSession, url: str, slack: Slack, numbers: range, warm_up: int = 0
) -> tuple[list[float], list[float]]:
    """Give, in milliseconds, request to channel and request to 200, of incidents with these numbers."""
    to_channel, to_answer = [], []
    for number in numbers:
        name = f"bench{number:06}"
        began = time.perf_counter()
        async with session.post(url, data=payload(number)) as answer:
            answer.raise_for_status()
        answered = time.perf_counter()
        while name not in slack.called:
            slack.bell.clear()
            await asyncio.wait_for(slack.bell.wait(), 30)
        if number >= numbers[warm_up]:
            to_channel.append((slack.called[name] - began) * 1000)
            to_answer.append((answered - began) * 1000)
    return to_channel, to_answer


def show(what: str, values: list[float]) -> None:
    """Print percentiles."""
    cuts = statistics.quantiles(values, n=100)
    print(f"{what:<42} p50 {cuts[49]:6.1f} ms   p90 {cuts[89]:6.1f} ms   p99 {cuts[98]:6.1f} ms")


async def main(*, short: bool) -> None:
    """Run the benchmark."""
    rounds, warm_up = (5, 1) if short else (200, 20)
    slack = Slack()
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name))
        async with site.session() as session, site.serve_slack(slack.post), site.run(session):
            to_channel, to_answer = await measure(session, site.webhook, slack, range(rounds + warm_up), warm_up)
    print(f"{rounds} incidents, one at a time, fsync at each commit")
    show("Alertmanager's request to our 200", to_answer)
    show("Alertmanager's request to Slack's request", to_channel)
    note("a P1, from Alertmanager's request to Slack's, p50", statistics.median(to_channel), "ms")


if __name__ == "__main__":
    asyncio.run(main(short=is_short(__doc__)))
