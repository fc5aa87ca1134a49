"""Measures how long a page takes: from Alertmanager's request to the request that a channel makes of its provider.

Everything is real but the provider, which is a local server that notes when it is called. Without other load, one
incident at a time; prints percentiles, and the share that is the receiver's own transaction.
"""

import asyncio
import json
import re
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, WARM_UP = 200, 20
RECEIVER, SLACK = 19195, 19196


class Provider:
    """Answers like Slack, and notes the moment of each call by the incident that it is about."""

    def __init__(self) -> None:
        self.called: dict[str, float] = {}
        self.bell = asyncio.Event()

    async def post(self, request: web.Request) -> web.Response:
        """Take chat.postMessage."""
        now = time.perf_counter()
        found = re.search(r"bench\d{6}", (await request.read()).decode())
        if found:
            self.called.setdefault(found[0], now)
        self.bell.set()
        return web.json_response({"ok": True, "ts": "1.1"})


def configuration(folder: Path, tokens: dict[str, str]) -> Path:
    """Write a receiver.yml with Slack as the only channel."""
    config = yaml.safe_load((ROOT / "deploy/config/receiver.yml").read_text("utf-8"))
    config |= {
        "external_url": f"http://127.0.0.1:{RECEIVER}",
        "listen": f"127.0.0.1:{RECEIVER}",
        "database": str(folder / "receiver.sqlite3"),
        "webhook": {"token": tokens["webhook"]},
        "api": {"token": tokens["api"]},
        "links": {"secret": tokens["link"]},
        "people": {k: {"name": v["name"], "slack": "U1"} for k, v in config["people"].items()},
        "teams": {"default": {}},
        "channels": {"slack": {"api_url": f"http://127.0.0.1:{SLACK}/api/", "token": "x"}},
    }
    path = folder / "receiver.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


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


async def measure(session: aiohttp.ClientSession, provider: Provider) -> tuple[list[float], list[float]]:
    """Give, in milliseconds, request to channel and request to 200."""
    to_channel, to_answer = [], []
    for number in range(ROUNDS + WARM_UP):
        name = f"bench{number:06}"
        began = time.perf_counter()
        async with session.post(f"http://127.0.0.1:{RECEIVER}/webhook/alertmanager", data=payload(number)) as answer:
            answer.raise_for_status()
        answered = time.perf_counter()
        while name not in provider.called:
            provider.bell.clear()
            await asyncio.wait_for(provider.bell.wait(), 30)
        if number >= WARM_UP:
            to_channel.append((provider.called[name] - began) * 1000)
            to_answer.append((answered - began) * 1000)
    return to_channel, to_answer


async def measure_when_ready(token: str, provider: Provider) -> tuple[list[float], list[float]]:
    """Wait for the receiver, then measure."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for _ in range(100):
            try:
                async with session.get(f"http://127.0.0.1:{RECEIVER}/-/ready") as answer:
                    if answer.ok:
                        break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        return await measure(session, provider)


def show(what: str, values: list[float]) -> None:
    """Print percentiles."""
    cuts = statistics.quantiles(values, n=100)
    print(f"{what:<42} p50 {cuts[49]:6.1f} ms   p90 {cuts[89]:6.1f} ms   p99 {cuts[98]:6.1f} ms")


async def main() -> None:
    """Run the benchmark."""
    tokens = {name: secrets.token_urlsafe(32) for name in ("webhook", "api", "link")}
    provider = Provider()
    app = web.Application()
    app.add_routes([web.post("/api/chat.postMessage", provider.post)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SLACK).start()
    with tempfile.TemporaryDirectory() as name:
        config = configuration(Path(name), tokens)
        command = [sys.executable, "-m", "receiver", f"--config.file={config}", "--log.level=error"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        try:
            to_channel, to_answer = await measure_when_ready(tokens["webhook"], provider)
        finally:
            process.terminate()
            await process.wait()
    await runner.cleanup()
    print(f"{ROUNDS} incidents, one at a time, fsync at each commit")
    show("Alertmanager's request to our 200", to_answer)
    show("Alertmanager's request to Slack's request", to_channel)


if __name__ == "__main__":
    asyncio.run(main())
