"""From an alert in Alertmanager to a handler: straight to a naive one, and through our receiver to its channel.

One Alertmanager with `group_wait: 0s` has a route to each; alerts go to them in turn. Alertmanager's own part is in
both, so the difference is what we add, the disk's sync included.
"""

import asyncio
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from bench.figures import note, note_pairs
from bench.options import is_short
from bench.receiver_process import Site, ready
from bench.webhook_latency import Slack
from deploy.local.ports import free_port
from deploy.local.stack import STACK

STRAIGHT, THROUGH = "straight", "through"


@contextmanager
def alertmanager(folder: Path, site: Site, straight: int) -> Iterator[str]:
    """Run an Alertmanager that sends at once; gives its URL."""
    hook = {"url": site.webhook, "http_config": {"authorization": {"credentials": site.tokens["webhook"]}}}
    receivers = {THROUGH: hook, STRAIGHT: {"url": f"http://127.0.0.1:{straight}/api/straight"}}
    config = {
        "route": {
            "receiver": THROUGH,
            "group_by": ["alertname"],
            "group_wait": "0s",
            "routes": [{"receiver": STRAIGHT, "matchers": [f"way={STRAIGHT}"]}],
        },
        "receivers": [{"name": name, "webhook_configs": [one]} for name, one in receivers.items()],
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    places = [f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alertmanager'}"]
    addresses = ["--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen([str(STACK / "bin/alertmanager"), *places, *addresses])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


class Arrivals(Slack):
    """Notes when an incident reaches Slack, and when an alert reaches the naive handler."""

    async def straight(self, request: web.Request) -> web.Response:
        """Take a webhook of Alertmanager's."""
        now = time.perf_counter()
        name = re.search(r"bench\d{6}", (await request.read()).decode())
        if name:
            self.called.setdefault(name[0], now)
        self.bell.set()
        return web.Response()

    async def post(self, request: web.Request) -> web.Response:
        """Take either."""
        way = request.match_info["method"]
        return await (self.straight(request) if way == STRAIGHT else super().post(request))


async def measure(session: aiohttp.ClientSession, url: str, arrivals: Arrivals, number: int, way: str) -> float:
    """Give the milliseconds from Alertmanager's API to the handler of one alert."""
    name = f"bench{number:06}"
    alert = {
        "labels": {"alertname": name, "severity": "critical", "way": way},
        "annotations": {"summary": "A benchmark"},
    }
    began = time.perf_counter()
    async with session.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
        answer.raise_for_status()
    while name not in arrivals.called:
        arrivals.bell.clear()
        await asyncio.wait_for(arrivals.bell.wait(), 30)
    return (arrivals.called[name] - began) * 1000


async def main(*, short: bool) -> None:
    """Run the benchmark."""
    rounds, warm_up = (4, 1) if short else (200, 20)
    arrivals, times = Arrivals(), {STRAIGHT: list[float](), THROUGH: list[float]()}
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name))
        async with site.session() as session, site.serve_slack(arrivals.post), site.run(session):
            with alertmanager(Path(name), site, site.slack_port) as url:
                await ready(session, f"{url}/-/ready")
                for number in range(rounds + warm_up):
                    for place, way in enumerate(times if number % 2 else reversed(times)):
                        took = await measure(session, url, arrivals, 2 * number + place, way)
                        if number >= warm_up:
                            times[way].append(took)
    for way, several in times.items():
        ordered = sorted(several)
        cuts = "   ".join(f"p{share:.0%} {ordered[int(len(ordered) * share)]:6.1f} ms" for share in (0.5, 0.9, 0.99))
        print(f"{way:>8}: {cuts.replace('%', '')}")
    added = sorted(a - b for a, b in zip(times[THROUGH], times[STRAIGHT], strict=True))[rounds // 2]
    print(f"our receiver adds {added:.1f} ms at the median")
    what, peer = "from an alert in Alertmanager's API to the channel", "Alertmanager's own webhook to a naive handler"
    note_pairs(what, "ms", times[THROUGH], times[STRAIGHT], peer, less_is_better=True)
    note("added to Alertmanager's own path, median", added, "ms")


if __name__ == "__main__":
    asyncio.run(main(short=is_short(__doc__)))
