"""Several exporters on one port: the kernel spreads connections, each is scraped by itself, and one may end."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local.ports import free_port
from exporter.config import load
from process.settings import SettingsError
from tests.exporter.example_exporter import EXAMPLE
from tests.exporter.test_process import TOKEN, Process

EVENT = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}
SERIES = 'class_bookings_total{channel="web",class_type="group"} '


class Pair:
    """Two processes with one configuration file; what is their own is on their command lines."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = Process(folder), Process(folder)
        self.shared = free_port()
        for one, name in ((self.first, "one"), (self.second, "two")):
            (folder / name).mkdir()
            one.folder = folder / name
            one.config |= {"listen": f"127.0.0.1:{self.shared}", "reuse_port": True}
            one.config["browser"]["listen"] = ""

    async def start(self, one: Process) -> None:
        await one.start(f"--web.metrics-address=127.0.0.1:{one.port}", f"--storage.path={one.folder / 'state'}")

    async def bookings(self, one: Process) -> float:
        status, text = await one.get("/metrics")
        assert status == 200
        return sum(float(line.removeprefix(SERIES)) for line in text.splitlines() if line.startswith(SERIES))

    async def book(self, batch: str) -> None:
        """Post a batch on a connection of its own, again until it is answered."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
        body = {"batch_id": batch, "events": [EVENT]}
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.post(
                        f"http://127.0.0.1:{self.shared}/api/events", json=body, headers=headers
                    ) as answer:
                        if answer.status == 202:
                            return
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.01)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    both = Pair(tmp_path)
    yield both
    for one in (both.first, both.second):
        if one.process.returncode is None:
            await one.stop(signal.SIGKILL)


async def test_two_processes_share_a_port_and_each_is_scraped_by_itself(pair: Pair) -> None:
    await pair.start(pair.first)
    await pair.start(pair.second)
    for start in range(0, 60, 20):
        await asyncio.gather(*(pair.book(f"b-{number}") for number in range(start, start + 20)))
    counted = [await pair.bookings(pair.first), await pair.bookings(pair.second)]
    assert sum(counted) == 60
    assert min(counted) > 0  # 60 connections: the chance of one getting none is 2 to the -59th
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{pair.shared}/metrics") as answer:
        assert answer.status == 404
        assert "metrics_listen" in await answer.text()


async def test_one_of_two_may_end_while_connections_come(pair: Pair) -> None:
    await pair.start(pair.first)
    await pair.start(pair.second)
    await asyncio.gather(*(pair.book(f"a-{number}") for number in range(10)))
    under_way = [asyncio.ensure_future(pair.book(f"b-{number}")) for number in range(40)]
    assert await pair.first.stop() == 0
    await asyncio.gather(*under_way)
    await asyncio.gather(*(pair.book(f"c-{number}") for number in range(10)))
    await pair.start(pair.first)
    assert await pair.bookings(pair.first) + await pair.bookings(pair.second) == 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reuse_port": True}, "set metrics_listen or --web.metrics-address as well"),
        ({"metrics_listen": "127.0.0.1:3001"}, "expected an address of its own"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "exporter.yml"
    lines = "".join(f"{key}: {str(value).lower() if value is True else value}\n" for key, value in change.items())
    path.write_text(EXAMPLE.read_text("utf-8") + lines, "utf-8")
    with pytest.raises(SettingsError, match=said):
        load(path)
