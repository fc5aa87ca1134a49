"""All rules against real servers: nothing fires while all is well, and each fault reaches the receiver by its name."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.stories.stack import until
from tests.stories.stores import SERVERS, Stores

pytestmark = [
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.skipif(not SERVERS.exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`"),
]

EVERYTHING = (
    *("postgres", "redis", "nginx"),
    *("node_exporter", "postgres_exporter", "redis_exporter", "nginx_exporter", "blackbox_exporter"),
    *("receiver", "exporter", "alertmanager", "prometheus"),
)


async def school(stack: Stores) -> None:
    """People use it: pages, bookings, and a cache that answers."""
    await stack.send("user_registered", {"channel": "web", "plan": "trial"}, 60)
    await stack.ask_redis("SET course:1 spanish")
    while True:
        await stack.send("http_request", {"method": "GET", "route": "/courses", "status": 200, "duration": 0.05}, 20)
        await stack.send("class_booked", {"class_type": "conversation", "channel": "web"})
        await stack.send("payment_attempted", {"provider": "stripe"})
        with contextlib.suppress(OSError):
            await stack.ask_redis(*["GET course:1"] * 20)
        await asyncio.sleep(0.5)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stores]:
    async with Stores(tmp_path) as running:
        running.prepare()
        await running.start(*EVERYTHING)
        people = asyncio.ensure_future(school(running))
        yield running
        people.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await people


async def reported(stack: Stores, alert: str) -> bool:
    return any(incident["alertname"] == alert for incident in await stack.incidents())


async def test_explore(stack: Stores) -> None:
    for _ in range(8):
        await asyncio.sleep(5)
        bad = [(r["name"], r["health"], r.get("lastError")) for r in await stack.rules() if r["health"] != "ok"]
        print(await stack.active(), bad, flush=True)
    print(await stack.incidents())
