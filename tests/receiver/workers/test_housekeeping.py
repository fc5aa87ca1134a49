"""Loops that pages do not depend on: one that fails is said and tried again, and nothing else notices."""

import asyncio
import gzip
import json
import logging
import resource
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from receiver.app import Receiver
from receiver.config.load import load
from receiver.metrics import Metrics
from receiver.oncall.hours import parse
from receiver.oncall.schedule import Layer, Schedule
from receiver.policy.coverage import roles
from receiver.store.base import StoreError
from receiver.store.sqlite.store import SQLiteStore
from receiver.workers.coverage import Coverage
from receiver.workers.housekeeping import Housekeeping, Round
from receiver.workers.retention import Retention
from tests.receiver.channels.test_registry import written
from tests.receiver.example_site import START, Clock, a_store, beside_file, the_current, the_routing
from tests.receiver.web.test_operation import fill


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_a_loop_that_fails_is_counted_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    metrics, failing = Metrics([]), [OSError("no space"), OSError("no space")]

    async def keep_house() -> None:
        if failing:
            raise failing.pop()

    housekeeping, round_ = Housekeeping(metrics), Round(keep_house, 1.0)
    with caplog.at_level(logging.INFO):
        assert [await housekeeping.once("attic", round_) for _ in range(2)] == [False, False]
        assert value(metrics, "receiver_housekeeping_failing", loop="attic") == 1
        assert await housekeeping.once("attic", round_)
    assert value(metrics, "receiver_housekeeping_failing", loop="attic") == 0
    assert value(metrics, "receiver_housekeeping_failures_total", loop="attic") == 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert await housekeeping.once("attic", round_)  # and it can be stopped
    running = asyncio.ensure_future(housekeeping.run("attic", round_))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    archive = tmp_path / "archive"
    archive.write_text("a file where a folder should be", "utf-8")
    more = {"retention": {"archive": str(archive)}, "heartbeat": {"url": "http://127.0.0.1:1/"}}
    built = Receiver(*load(written(tmp_path, more)))
    async with aiohttp.ClientSession() as session:
        await built.start(session)
        yield built
    await built.stop()


async def test_nothing_but_the_escalator_and_the_dispatchers_ends_the_process(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with beside_file(tmp_path) as other:
        other.execute("DROP TABLE heartbeat")  # the watchdog reads it
    stop = asyncio.Event()
    running = asyncio.ensure_future(receiver.run(stop))
    metrics = receiver.metrics
    watched = ("watchdog", "retention", "heartbeat", "calendars", "coverage")
    while any(value(metrics, "receiver_housekeeping_failing", loop=loop) is None for loop in watched):
        assert not running.done()
        await asyncio.wait([running], timeout=0.01)
    assert value(metrics, "receiver_housekeeping_failing", loop="watchdog") == 1
    assert not running.done()
    stop.set()
    assert await running
    assert "watchdog failed" in caplog.text


class FailsToDelete(SQLiteStore):
    """A store that cannot delete, once."""

    failing = True

    async def delete(self, numbers: list[int]) -> None:
        if self.failing:
            self.failing = False
            raise StoreError("database or disk is full")
        await super().delete(numbers)


async def test_what_was_archived_and_not_deleted_is_archived_once(tmp_path: Path) -> None:
    clock = Clock()
    store = FailsToDelete(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(clock.now)
    await fill(store, clock, 3)
    clock.forward(days=400)
    retention = Retention(store, clock, timedelta(days=365), tmp_path / "archive")
    with pytest.raises(StoreError):
        await retention.run_once()
    assert await retention.run_once() == 2  # the newest is never deleted
    await store.close()
    lines = gzip.decompress((tmp_path / "archive/incidents-2026-11.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["incident"]["id"] for line in lines] == [1, 2]


async def test_gaps_on_call_are_said_and_measured_before_they_begin(caplog: pytest.LogCaptureFixture) -> None:
    days = parse("00:00-24:00", ["mon", "tue", "wed", "thu", "fri"], "UTC")
    weekdays = Layer("UTC", START.date(), 0, timedelta(days=1), (("linh",),), (days,))
    routing = the_routing()
    holders = {**routing.roles, "on-call-engineer": ("week",)}
    current = the_current(
        type(routing)(
            **{name: getattr(routing, name) for name in routing.__struct_fields__}
            | {"schedules": {"week": Schedule("week", "UTC", (weekdays,))}, "roles": holders}
        )
    )
    clock, metrics = Clock(), Metrics([])
    coverage = Coverage(current, clock, metrics)
    (gap,) = await coverage.run_once()
    assert (gap.role, gap.start.isoformat()) == ("on-call-engineer", "2026-11-28T00:00:00+00:00")
    assert await coverage.run_once() == (gap,)
    assert caplog.text.count("gap on call: role on-call-engineer") == 1
    assert {role for role in roles(current.routing) if await next_gap(metrics, clock, role) == float("inf")} == {
        *("tech-lead", "engineering-manager", "cto")
    }
    clock.forward(days=4)
    assert await next_gap(metrics, clock, "on-call-engineer") == (gap.start - clock.now).total_seconds()
    clock.forward(days=2)
    assert await next_gap(metrics, clock, "on-call-engineer") == 0
    coverage.say_again()
    await coverage.run_once()
    assert caplog.text.count("gap on call: role on-call-engineer") == 2


async def next_gap(metrics: Metrics, clock: Clock, role: str) -> float | None:
    metrics.show_next_gaps(clock.now)
    return value(metrics, "receiver_oncall_next_gap_seconds", role=role)


async def test_retention_writes_a_part_of_the_archive_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await fill(store, clock, 2)
    clock.forward(days=400)
    file = tmp_path / "archive/incidents-2026-11.jsonl.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress(b"{}\n"))
    before = file.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, unlimited[1]))  # part of it fits
    try:
        with pytest.raises(OSError, match="File too large"):
            await Retention(store, clock, timedelta(days=365), file.parent).run_once()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert file.read_bytes() == before
    assert len(await store.incidents(None, 10)) == 2
    await store.close()
