"""An exporter that stood still counts nothing of senders that have gone to another one meanwhile."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

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


async def asked_in_vain(port: int, body: object) -> None:
    """Send a request, and leave before it is answered."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    payload = json.dumps(body)
    head = (
        f"POST /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(payload)}\r\n"
    )
    writer.write(f"{head}\r\n{payload}".encode())
    writer.close()
    await writer.wait_closed()  # when all has been sent


async def test_who_has_gone_is_not_counted_and_who_waits_is(process: Process) -> None:
    process.process.send_signal(signal.SIGSTOP)
    waits = asyncio.ensure_future(process.post("/api/events", {"batch_id": "waits", "events": [BOOKED]}))
    for number in range(5):
        await asked_in_vain(process.port, {"batch_id": f"gone-{number}", "events": [BOOKED]})
    await asyncio.sleep(2)  # so long that the exporter notices
    process.process.send_signal(signal.SIGCONT)
    assert (await waits)[0] == 202
    await until("the others are noticed", lambda: shows(process, f"{ABANDONED}5.0"))
    assert await shows(process, f"{BOOKINGS}1.0")
    assert (await process.post("/api/events", {"batch_id": "gone-0", "events": [BOOKED]}))[0] == 202
    assert await shows(process, f"{BOOKINGS}2.0")
