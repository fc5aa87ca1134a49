"""An exporter that stood still counts nothing of senders that have gone to another one meanwhile."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.exporter.replication.three import BOOKED, SECRET
from tests.exporter.test_process import TOKEN, Process
from tests.stories.stack import until

BOOKINGS = 'class_bookings_total{channel="web",class_type="group"} '
ABANDONED = 'exporter_events_rejected_total{reason="abandoned",source="events"} '


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    running = Process(tmp_path)
    running.config["replicas"] = {"secret": SECRET}
    await running.start()
    yield running
    await running.stop(signal.SIGKILL)


async def shows(process: Process, line: str) -> bool:
    return line in (await process.get("/metrics"))[1]


async def test_who_has_gone_is_not_counted_and_who_waits_is(process: Process) -> None:
    process.process.send_signal(signal.SIGSTOP)
    waits = asyncio.ensure_future(process.post("/api/events", {"batch_id": "waits", "events": [BOOKED]}))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
        for number in range(5):
            with pytest.raises(TimeoutError):
                await session.post(
                    f"http://127.0.0.1:{process.port}/api/events",
                    data=json.dumps({"batch_id": f"gone-{number}", "events": [BOOKED]}),
                    headers={"Authorization": f"Bearer {TOKEN}"},
                    timeout=aiohttp.ClientTimeout(total=0.2),
                )
    process.process.send_signal(signal.SIGCONT)
    assert (await waits)[0] == 202
    await until("the others are noticed", lambda: shows(process, f"{ABANDONED}5.0"))
    assert await shows(process, f"{BOOKINGS}1.0")
    assert (await process.post("/api/events", {"batch_id": "gone-0", "events": [BOOKED]}))[0] == 202
    assert await shows(process, f"{BOOKINGS}2.0")
