"""Three exporters behind a balancer, as a real Prometheus with the shipped rules sees them."""

import asyncio
import itertools
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from deploy.local.ports import free_port
from tests.stories.stack import ROOT, Stack, until

pytestmark = pytest.mark.story
NAMES = ("one", "two", "three")
BOOKED = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}


class Replicated(Stack):
    """A stack with three exporters in the place of one; ``turn`` gives the next one, as a round-robin balancer does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ports |= {name: free_port() for name in NAMES}
        self.turn = itertools.cycle(NAMES)

    def _replica(self, name: str) -> list[str]:
        config = yaml.safe_load((ROOT / "tests/exporter/exporter.yml").read_text("utf-8"))
        config |= {
            "events": {"token": self.tokens["exporter"]},
            "listen": f"127.0.0.1:{self.ports[name]}",
            "storage": {"path": str(self.folder / name)},
            "first_increment_hold": "0s",
            "replicas": {
                "peers": [self.url(one) for one in NAMES],
                "secret": self.tokens["api"],
                "every": "1s",
                "timeout": "500ms",
            },
        }
        del config["browser"]["listen"]
        return [sys.executable, "-m", "exporter", f"--config.file={self._write(name, config)}"]

    def _one(self) -> list[str]:
        return self._replica("one")

    def _two(self) -> list[str]:
        return self._replica("two")

    def _three(self) -> list[str]:
        return self._replica("three")

    def _prometheus(self) -> list[str]:
        words = super()._prometheus()
        path = self.folder / "prometheus.yml"
        config = yaml.safe_load(path.read_text("utf-8"))
        (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "heypeter-app"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{self.ports[name]}" for name in NAMES]}]
        config["scrape_configs"] = [job]
        self._write("prometheus", config)
        for rules in (self.folder / "rules").glob("*.yml"):
            rules.write_text(rules.read_text("utf-8").replace("for: 5m", "for: 2s"), "utf-8")
        return words

    async def send(self, name: str, *events: dict[str, Any], **batch: str) -> bool:
        """Whether it was answered with 202."""
        headers = {"Authorization": f"Bearer {self.tokens['exporter']}"}
        try:
            async with self.session.post(
                f"{self.url(name)}/api/events", json={"events": events, **batch}, headers=headers
            ) as answer:
                return answer.status == 202
        except aiohttp.ClientError:
            return False

    async def is_value(self, expression: str, wanted: float, within: float = 0.0) -> bool:
        value = await self.query(expression)
        return value is not None and abs(value - wanted) <= within * wanted

    async def fires(self, alert: str) -> set[str]:
        series = await self.instant(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
        return {one["metric"]["priority"] + " " + one["metric"]["instance"] for one in series}


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Replicated]:
    async with Replicated(tmp_path) as running:
        await running.start(*NAMES, "prometheus")
        await until("all are scraped", partial(running.is_value, 'sum(up{job="heypeter-app"})', 3))
        yield running


async def test_three_exporters_are_one_to_rules_and_dashboards(stack: Replicated) -> None:
    """Users of one event and of ten, bookings that are sent again to another, seats, and one and all of them dead."""
    once = [{"type": "user_active", "data": {"user": f"once-{number}"}} for number in range(300)]
    often = [{"type": "user_active", "data": {"user": f"often-{number}"}} for number in range(300)]
    for events in (once[:100], once[100:200], once[200:], *([often] * 10)):
        assert await stack.send(next(stack.turn), *events)
    for number in range(30):
        assert await stack.send(next(stack.turn), BOOKED, batch_id=f"b-{number}")
    seats = {"class_type": "group", "booked": 9, "capacity": 20}
    for booked in (9, 12, 10):
        assert await stack.send(next(stack.turn), {"type": "class_seats", "data": {**seats, "booked": booked}})
    await until("all know all", partial(stack.is_value, "min(exporter_dedup_entries) >= bool 30", 1))
    for number in range(30):
        assert await stack.send(next(stack.turn), BOOKED, batch_id=f"b-{number}")
        assert await stack.send(next(stack.turn), BOOKED, batch_id=f"b-{number}")
    await until("the users of all", partial(stack.is_value, 'max(active_users{window="1d"})', 600, 0.06))
    await until("at each", partial(stack.is_value, 'min(active_users{window="1d"})', 600, 0.06))
    bookings = 'sum(class_bookings_total{class_type="group", channel="web"})'
    await until("each booking once", partial(stack.is_value, bookings, 30))
    await until("the last seats", partial(stack.is_value, "sum(max by (class_type) (class_seats_booked))", 10))
    await until("at each", partial(stack.is_value, 'min(class_seats_booked{class_type="group"})', 10))
    assert await stack.query("sum(exporter_counted_twice_total)") == 0

    dead = f"P3 127.0.0.1:{stack.ports['two']}"
    await stack.stop("two", signal.SIGKILL)

    async def told() -> bool:
        return await stack.fires("ExporterReplicaDown") == {dead}

    await until("one of three is a P3", told)
    assert await stack.fires("ExporterDown") == set()
    assert await stack.send("one", BOOKED, batch_id="b-30")
    await stack.start("two")
    await until("each booking once", partial(stack.is_value, bookings, 31))
    assert await stack.query("max(resets(class_bookings_total[5m]))") == 0
    await asyncio.gather(*(stack.stop(name, signal.SIGKILL) for name in NAMES))

    async def paged() -> bool:
        return await stack.fires("ExporterDown") == {f"P1 127.0.0.1:{stack.ports[name]}" for name in NAMES}

    await until("all of three are a P1", paged)
    assert await stack.fires("ExporterReplicaDown") == set()
