"""Measures the receiver under a storm: durable webhooks a second, their latency, a P1 among ten thousand others.

The receiver is a process of its own with a real SQLite file (synchronous=FULL); Slack is a local server that takes
one message a channel a second, as the real one does. A bare aiohttp handler that only reads the body is measured in
the same run, so that the figures can be read as shares on any machine.
"""

import asyncio
import json
import multiprocessing
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
RECEIVER, SLACK, BARE = 19295, 19296, 19297
ALERTS, CONNECTIONS, SECONDS, STORM = 10, 64, 8.0, 10_000


def payload(number: int, severity: str = "warning", status: str = "firing", alerts: int = ALERTS) -> bytes:
    """One webhook of ten alerts."""
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
    for gone in ("routes", "fallback", "alertmanager", "heartbeat", "schedules", "services"):
        config.pop(gone, None)
    path = folder / "receiver.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


def bare() -> None:
    """Serve the handler that the receiver is compared with: it reads and forgets."""

    async def take(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.json_response({})

    app = web.Application(client_max_size=1 << 25)
    app.add_routes([web.post("/webhook/alertmanager", take)])
    web.run_app(app, host="127.0.0.1", port=BARE, print=None, access_log=None)


async def flood(session: aiohttp.ClientSession, port: int, bodies: list[bytes], seconds: float) -> tuple[int, float]:
    """Post over many connections for a time; gives how many were taken and in how many seconds."""
    url, waiting, taken = f"http://127.0.0.1:{port}/webhook/alertmanager", iter(bodies), 0
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


async def paced(session: aiohttp.ClientSession, bodies: list[bytes], rate: float) -> list[float]:
    """Post at a steady rate; gives each answer's milliseconds, counted from when it should have been sent."""
    url, times = f"http://127.0.0.1:{RECEIVER}/webhook/alertmanager", list[float]()
    began = time.perf_counter()

    async def one(number: int, body: bytes) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        async with session.post(url, data=body) as answer:
            answer.raise_for_status()
        times.append((time.perf_counter() - due) * 1000)

    await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))
    return times


async def ready(session: aiohttp.ClientSession, port: int, path: str = "/-/ready") -> None:
    """Wait for a server."""
    for _ in range(200):
        try:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                if answer.status < 500:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


class Slack:
    """Answers like Slack, and notes when the P1 arrives."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.calls, self.p1 = 0, asyncio.Event()

    async def post(self, request: web.Request) -> web.Response:
        """Take chat.postMessage and chat.update."""
        self.calls += 1
        text = (await request.read()).decode()
        if "storm999999" in text:
            self.arrived.setdefault("P1", time.perf_counter())
            self.p1.set()
        return web.json_response({"ok": True, "ts": "1.1", "channel": "C1"})


async def measure(session: aiohttp.ClientSession, slack: Slack) -> None:
    """Run the three measurements and print them."""
    await ready(session, BARE)
    bodies = [payload(number) for number in range(40_000)]
    count, took = await flood(session, BARE, bodies[:20_000], SECONDS / 2)
    bare_rate = count / took
    times = await paced(session, bodies[20_000:22_000], 200.0)
    cuts = statistics.quantiles(times, n=100)
    print(f"at 200/s, new incidents: p50 {cuts[49]:.1f} ms   p90 {cuts[89]:.1f} ms   p99 {cuts[98]:.1f} ms")
    count, took = await flood(session, RECEIVER, bodies[:STORM], SECONDS * 4)
    rate = count / took
    share = f"{rate / bare_rate:.2f} of a bare handler"
    print(f"webhooks of {ALERTS} alerts, each a new incident   {rate:8.0f}/s   {share}")
    began = time.perf_counter()
    url = f"http://127.0.0.1:{RECEIVER}/webhook/alertmanager"
    async with session.post(url, data=payload(999_999, "critical")) as answer:
        answer.raise_for_status()
    await asyncio.wait_for(slack.p1.wait(), 60)
    late = slack.arrived["P1"] - began
    print(f"a P1 among {count} others is on its channel after {late * 1000:8.0f} ms   ({slack.calls} calls of Slack)")
    count, took = await flood(session, RECEIVER, bodies[:STORM], SECONDS)
    print(f"the same webhooks again (nothing is new)      {count / took:8.0f}/s   {count / took / bare_rate:.2f}")


async def main() -> None:
    """Run the benchmark."""
    tokens = {name: secrets.token_urlsafe(32) for name in ("webhook", "api", "link")}
    slack, app = Slack(), web.Application()
    app.add_routes([web.post("/api/{method}", slack.post)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SLACK).start()
    compared = multiprocessing.Process(target=bare, daemon=True)
    compared.start()
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        config = configuration(Path(folder), tokens)
        command = [sys.executable, "-m", "receiver", f"--config.file={config}", "--log.level=error"]
        receiver = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        headers = {"Authorization": f"Bearer {tokens['webhook']}"}
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
                await ready(session, RECEIVER)
                await measure(session, slack)
        finally:
            receiver.terminate()
            await receiver.wait()
            compared.terminate()
            await runner.cleanup()


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    asyncio.run(main())
