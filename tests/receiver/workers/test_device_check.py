"""Devices that would not show a page are counted, and each is tested once a week, by day."""

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.channels.base import Failure, SendError
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact
from receiver.store.push import DeviceState, PushOutcome
from receiver.store.sql.store import SQLStore
from receiver.workers.device_check import DeviceCheck
from tests.fakes.push import FakePush
from tests.receiver.example_site import START, Clock, a_store, the_current, the_routing

MONDAY = START.replace(hour=11)  # of UTC, which is noon in Berlin


class Line:
    """Stands in for the channel: who was tested when."""

    def __init__(self, store: SQLStore) -> None:
        self.store, self.told, self.fails = store, list[tuple[str, str]](), False

    async def send_test(  # as the channel
        self, person: str, title: str, body: str, url: str, now: datetime, *, quiet: bool = False
    ) -> list[str]:
        assert (title, url, quiet) == ("Test von HeyPeter", "https://oncall.example.com/me/devices", True)
        self.told.append((person, body))
        if self.fails:
            raise SendError("gone", Failure.BAD_ADDRESS, permanent=True)
        outcomes = {one.id: PushOutcome.ACCEPTED for one in await self.store.push.subscriptions(person)}
        await self.store.push.note_pushes(outcomes, now)
        return ["" for _ in outcomes]


class Rig:
    def __init__(self, store: SQLStore, clock: Clock) -> None:
        self.store, self.clock, self.metrics, self.tested = store, clock, Metrics(["push"]), Line(store)
        push = (Contact("push", "linh"),)
        routing = the_routing()
        linh = msgspec.structs.replace(routing.people["linh"], contacts=push, zone="Europe/Berlin", language="de")
        current = the_current(msgspec.structs.replace(routing, people={**routing.people, "linh": linh}))
        self.check = DeviceCheck(
            store.push,
            self.tested,
            current,
            clock,
            self.metrics,
            url="https://oncall.example.com/",
            brand="HeyPeter",
        )

    def count(self, state: DeviceState) -> float | None:
        return self.metrics.registry.get_sample_value("receiver_push_devices", {"state": state.value})


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Rig(store, clock)
    await store.close()


async def test_a_device_is_tested_once_a_week_by_day(rig: Rig) -> None:
    device = msgspec.structs.replace(FakePush().subscribe(), created=MONDAY - timedelta(days=7))
    await rig.store.push.subscribe(device)
    for at in (MONDAY.replace(hour=8), MONDAY.replace(hour=15), MONDAY + timedelta(days=5)):  # early, late, Saturday
        rig.clock.now = at
        await rig.check.run_once()
    assert rig.tested.told == []
    rig.clock.now = MONDAY
    for _ in range(3):
        await rig.check.run_once()
    assert rig.tested.told == [("linh", "Wöchentlicher Test: Alarme kommen auf diesem Gerät an.")]
    rig.clock.now = MONDAY + timedelta(days=7)
    await rig.check.run_once()
    assert len(rig.tested.told) == 2


async def test_devices_are_counted_and_who_has_none_is_named_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        await rig.check.run_once()
    assert caplog.text.count("people.linh has push: true and no device") == 1
    assert [rig.count(state) for state in DeviceState] == [0, 0, 0, 0, 0]
    service = FakePush()
    for name in ("works", "silent", "gone"):
        await rig.store.push.subscribe(service.subscribe(name))
    known = {one.device: one.id for one in await rig.store.push.subscriptions("linh")}
    early = rig.clock.now - timedelta(hours=1)
    await rig.store.push.note_pushes({known["silent"]: PushOutcome.ACCEPTED, known["gone"]: PushOutcome.GONE}, early)
    await rig.check.run_once()
    wanted = {DeviceState.WORKING: 1, DeviceState.SILENT: 1, DeviceState.GONE: 1}
    assert {state: rig.count(state) for state in wanted} == wanted
    await rig.store.push.unsubscribe("linh", known["works"])
    await rig.check.run_once()
    assert caplog.text.count("people.linh has push: true and no device") == 2


async def test_a_test_that_fails_is_no_failure_of_the_loop(rig: Rig) -> None:
    rig.tested.fails, rig.clock.now = True, MONDAY
    device = msgspec.structs.replace(FakePush().subscribe(), created=MONDAY - timedelta(days=8))
    await rig.store.push.subscribe(device)
    await rig.check.run_once()
    assert len(rig.tested.told) == 1
