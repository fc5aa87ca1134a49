"""Sending: once, again with patience, or dead with a consequence."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.incident.delivery import Handling
from receiver.incident.event import AlertsReceived, StillFiring, Unreached
from receiver.incident.model import EntryKind, Kind
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact
from receiver.policy.current import Current
from receiver.store.base import Claimed, Given, Sent
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.file import transaction
from receiver.workers.dispatcher import LARGEST_BUNDLE, SLOTS, Dispatcher
from receiver.workers.retry import RetryPolicy, backoff
from tests.receiver.example_site import (
    START,
    Clock,
    Recorder,
    a_store,
    an_alert,
    as_message,
    deciding,
    labelled,
    of_group,
    received,
    the_current,
    the_policy,
    the_routing,
)
from tests.receiver.stores import the_store

RETRY = RetryPolicy(first=5, longest=120, give_up=1800)


class Rig:
    """One dispatcher on e-mail, over a real store."""

    def __init__(
        self,
        store: SQLStore,
        clock: Clock,
        current: Current | None = None,
        *,
        host_of: Callable[[str], str] = lambda _address: "",
        channel: Channel | None = None,
    ) -> None:
        self.store, self.clock, self.channel = store, clock, Recorder()
        self.metrics, self.bundles = Metrics(["email"]), list[list[Claimed]]()
        self.dispatcher = Dispatcher(
            "email",
            channel or self.channel,
            store,
            host_of=host_of,
            current=current or the_current(),
            retry=RETRY,
            render=as_message,
            bundle=self.bundle,
            metrics=self.metrics,
            clock=clock,
            elapsed=clock.elapsed,
            jitter=lambda: 0.0,
        )

    def bundle(self, claims: list[Claimed]) -> Message:
        self.bundles.append(claims)
        return as_message(claims[0])

    async def fire(self, name: str, **labels: str) -> None:
        group = of_group(received(labelled(an_alert(name), **labels)), key=name)
        await self.store.update(AlertsReceived(group), the_policy(), self.clock.now)

    def count(self, outcome: str) -> float | None:
        labels = {"channel": "email", "outcome": outcome}
        return self.metrics.registry.get_sample_value("receiver_deliveries_total", labels)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await store.update(received(an_alert()), the_policy(), clock.now)
    yield Rig(store, clock)
    await store.close()


async def test_it_sends_once_and_settles(rig: Rig) -> None:
    assert await rig.dispatcher.run_once() == 1
    assert await rig.dispatcher.run_once() == 0
    assert [m.address for m in rig.channel.sent] == ["linh@example.com"]
    assert rig.count("sent") == 1


async def test_a_failure_that_may_pass_is_tried_again_with_the_same_id(rig: Rig) -> None:
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR), SendError("503", Failure.SERVER_ERROR)]
    await rig.dispatcher.run_once()
    assert await rig.dispatcher.run_once() == 0  # not before its time
    rig.clock.forward(seconds=5)
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=9)
    assert await rig.dispatcher.run_once() == 0
    rig.clock.forward(seconds=1)
    await rig.dispatcher.run_once()
    assert [m.id for m in rig.channel.sent] == ["2"]
    assert (rig.count("retried"), rig.count("sent")) == (2, 1)


async def test_the_providers_wish_is_kept(rig: Rig) -> None:
    rig.channel.failures = [SendError("429", Failure.RATE_LIMITED, retry_after=60)]
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=59)
    assert await rig.dispatcher.run_once() == 0
    rig.clock.forward(seconds=1)
    assert await rig.dispatcher.run_once() == 1


async def test_a_permanent_failure_is_dead_at_once_and_stands_in_the_timeline(rig: Rig) -> None:
    rig.channel.failures = [SendError("550 no such user", Failure.BAD_ADDRESS, permanent=True)]
    await rig.dispatcher.run_once()
    rig.clock.forward(days=1)
    assert await rig.dispatcher.run_once() == 0
    assert rig.count("dead") == 1
    stored = await rig.store.incident(1)
    assert stored is not None
    dead = stored[1][-1]
    assert (dead.kind, dead.data.failure, dead.data.detail) == (EntryKind.DEAD, Failure.BAD_ADDRESS, "550 no such user")
    assert (dead.data.notification, dead.data.channel, dead.data.address) == (Kind.PAGE, "email", "linh@example.com")


async def test_it_gives_up_after_its_time_and_not_before(rig: Rig) -> None:
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)] * 200
    for _ in range(1750):
        await rig.dispatcher.run_once()
        rig.clock.forward(seconds=1)
    assert rig.count("dead") == 0
    for _ in range(100):
        await rig.dispatcher.run_once()
        rig.clock.forward(seconds=1)
    assert rig.count("dead") == 1
    assert rig.count("retried") == pytest.approx(90, abs=3)


async def test_a_bug_inside_a_channel_neither_stops_the_loop_nor_loses_the_page(rig: Rig) -> None:
    rig.channel.failures = [ZeroDivisionError("a bug")]
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=5)
    await rig.dispatcher.run_once()
    assert len(rig.channel.sent) == 1
    reason = {"channel": "email", "reason": "internal"}
    assert rig.metrics.registry.get_sample_value("receiver_delivery_failures_total", reason) == 1


@given(st.integers(1, 200), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 3600)))
def test_backoff_keeps_its_bounds(attempt: int, jitter: float, wish: float | None) -> None:
    delay = backoff(attempt, RETRY, jitter, wish)
    assert delay >= max(4.0, wish or 0.0)
    assert delay <= max(120.0, wish or 0.0)


async def test_many_notifications_for_one_address_become_one_message(rig: Rig) -> None:
    for number in range(10):
        await rig.fire(f"slow-{number}", severity="warning")
    assert await rig.dispatcher.run_once() == 11
    assert len(rig.channel.sent) == 2  # the P1 by itself, and one for the ten others
    assert [len(claims) for claims in rig.bundles] == [10]
    assert rig.count("sent") == 11
    assert await rig.dispatcher.run_once() == 0


async def test_a_p1_is_a_message_of_its_own_and_the_first(rig: Rig) -> None:
    for number in range(5):
        await rig.fire(f"down-{number}")
    for number in range(2):
        await rig.fire(f"slow-{number}", severity="warning")
    await rig.dispatcher.run_once()
    assert rig.bundles == []
    assert len(rig.channel.sent) == 8
    assert [m.priority for m in rig.channel.sent] == ["P1"] * 6 + ["P2"] * 2


async def test_a_bundle_that_fails_is_tried_again_whole(rig: Rig) -> None:
    for number in range(4):
        await rig.fire(f"slow-{number}", severity="warning")
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR), SendError("503", Failure.SERVER_ERROR)]
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=10)
    await rig.dispatcher.run_once()
    assert rig.count("sent") == 5
    assert [len(claims) for claims in rig.bundles] == [4, 4]


async def a_gathering_rig(folder: Path, bundles: Callable[[str], bool] = lambda _: True) -> Rig:
    clock, hold = Clock(), timedelta(seconds=10)

    def handling(channel: str) -> Handling:
        return Handling(hold) if bundles(channel) else Handling()

    store = the_store(folder, clock, lambda: None, handling=handling)
    await store.open(clock.now)
    return Rig(store, clock)


async def test_the_first_goes_at_once_and_what_follows_is_gathered(tmp_path: Path) -> None:
    rig = await a_gathering_rig(tmp_path)
    await rig.fire("slow-1", severity="warning")
    assert await rig.dispatcher.run_once() == 1
    await rig.fire("down")
    assert await rig.dispatcher.run_once() == 1  # the P1 waits for nobody
    for number in range(2, 5):
        rig.clock.forward(seconds=2)
        await rig.fire(f"slow-{number}", severity="warning")
        assert await rig.dispatcher.run_once() == 0
    rig.clock.forward(seconds=4)
    await rig.dispatcher.run_once()
    assert [len(claims) for claims in rig.bundles] == [3]
    await rig.store.close()


@pytest.mark.parametrize("failed", [False, True])
async def test_the_page_of_a_p1_waits_for_no_page_of_its_incident_that_is_held_or_put_off(
    tmp_path: Path, *, failed: bool
) -> None:
    rig = await a_gathering_rig(tmp_path)
    if failed:
        rig.channel.failures = [SendError("503", Failure.SERVER_ERROR, retry_after=60)]
    else:
        await rig.fire("first", severity="warning")
        assert await rig.dispatcher.run_once() == 1
    await rig.fire("slow", severity="warning")
    await rig.dispatcher.run_once()
    held = len(rig.channel.sent)
    more = received(an_alert("slow"), an_alert("down"))  # it has become a P1
    await rig.store.update(AlertsReceived(of_group(more, key="slow")), the_policy(), rig.clock.now)
    assert await rig.dispatcher.run_once() == 1
    assert [message.priority for message in rig.channel.sent[held:]] == ["P1"]
    rig.clock.forward(minutes=2)
    assert await rig.dispatcher.run_once() == 0  # the older page is not sent after it
    await rig.store.close()


async def test_nothing_is_held_where_nothing_becomes_one_message(tmp_path: Path) -> None:
    rig = await a_gathering_rig(tmp_path, lambda channel: channel != "email")
    for number in range(2):
        await rig.fire(f"slow-{number}", severity="warning")
    assert await rig.dispatcher.run_once() == 2
    await rig.store.close()


async def test_a_storm_of_one_window_is_as_few_messages_as_can_be(tmp_path: Path) -> None:
    rig = await a_gathering_rig(tmp_path)
    for number in range(1000):
        await rig.fire(f"slow-{number}", severity="warning")
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=10)
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)]
    await rig.dispatcher.run_once()
    for _ in range(30):
        rig.clock.forward(seconds=1)
        await rig.dispatcher.run_once()
    assert len(rig.channel.sent) == 1 + -(-999 // LARGEST_BUNDLE)
    assert rig.count("sent") == 1000
    await rig.store.close()


async def test_a_first_failure_does_not_turn_one_message_into_many(tmp_path: Path) -> None:
    rig = await a_gathering_rig(tmp_path)
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)] * 2
    await rig.fire("slow", severity="warning")
    for number in range(10):
        await rig.fire(f"slow-{number}", severity="warning")
    for _ in range(60):
        await rig.dispatcher.run_once()
        rig.clock.forward(seconds=1)
    assert len(rig.channel.sent) == 1
    assert rig.count("sent") == 11
    await rig.store.close()


async def test_a_channel_that_is_down_rests_and_the_pages_look_for_another_way(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    routing = msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#lost-pages"),))
    rig = Rig(store, clock, the_current(routing))
    for number in range(6):
        await rig.fire(f"down-{number}")
    rig.channel.failures = [SendError("no route", Failure.NETWORK) for _ in range(100)]
    await rig.dispatcher.run_once()
    tried = 100 - len(rig.channel.failures)
    assert rig.metrics.registry.get_sample_value("receiver_channel_circuit_open", {"channel": "email"}) == 1
    for _ in range(30):
        clock.forward(seconds=3)
        await rig.dispatcher.run_once()
    assert 100 - len(rig.channel.failures) - tried < 8  # one try a rest, not six every few seconds
    elsewhere = await store.claim("slack", clock.now, 60, 100)
    assert sum(c.notification.target.address == "#lost-pages" for c in elsewhere) == 6
    rig.channel.failures = []
    for _ in range(30):
        clock.forward(seconds=20)
        await rig.dispatcher.run_once()
    assert rig.count("sent") == 6
    assert rig.metrics.registry.get_sample_value("receiver_channel_circuit_open", {"channel": "email"}) == 0
    await store.close()


async def test_a_page_that_arrives_in_time_looks_for_no_other_way(rig: Rig) -> None:
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)]
    await rig.dispatcher.run_once()
    rig.clock.forward(seconds=5)
    await rig.dispatcher.run_once()
    stored = await rig.store.incident(1)
    assert stored is not None
    assert stored[0].delivery.reached == ("linh",)
    assert not [entry for entry in stored[1] if entry.kind == "fallback"]


async def test_a_p1_overtakes_a_storm(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    rig = Rig(store, clock)
    for number in range(200):
        await rig.fire(f"slow-{number}", severity="warning", instance=str(number))
    await rig.fire("down")
    await rig.dispatcher.run_once()
    assert rig.channel.sent[0].priority == "P1"
    assert sum(len(claims) for claims in rig.bundles) == 200
    assert len(rig.channel.sent) == 2
    await store.close()


class Stuck:
    """A provider that takes messages and does not answer until it is told to."""

    def __init__(self) -> None:
        self.begun: list[Message] = []
        self.urgent, self.full, self.answer = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.took = asyncio.Condition()

    async def until(self, count: int) -> None:
        """Wait until so many have been begun."""
        async with self.took:
            await self.took.wait_for(lambda: len(self.begun) >= count)

    async def send(self, message: Message) -> Receipt:
        self.begun.append(message)
        async with self.took:
            self.took.notify_all()
        (self.urgent if message.priority == "P1" else self.full).set()
        await self.answer.wait()
        return Receipt(message.id)


@pytest.mark.parametrize("hosts", [1, 100])
async def test_slots_are_kept_for_a_p1_while_everything_else_is_stuck(tmp_path: Path, hosts: int) -> None:
    clock, channel = Clock(), Stuck()
    store = await a_store(tmp_path, clock)
    crowd = tuple(Contact("email", f"{number}@example.com") for number in range(100))
    routing = msgspec.structs.replace(the_routing(), teams={**the_routing().teams, "crowd": crowd})
    dispatcher = Dispatcher(
        "email",
        channel,
        store,
        current=the_current(routing),
        retry=RETRY,
        render=as_message,
        metrics=Metrics(["email"]),
        clock=clock,
        elapsed=clock.elapsed,
        jitter=lambda: 0.0,
        host_of=lambda address: address if hosts > 1 else "",
    )
    slow = AlertsReceived(of_group(received(an_alert("slow", severity="warning", team="crowd")), key="slow"))
    await store.update(slow, the_policy(routing), clock.now)
    running = asyncio.create_task(dispatcher.run(poll=0.01))
    await asyncio.wait_for(channel.full.wait(), 30)
    down = AlertsReceived(of_group(received(an_alert("down")), key="down"))
    await store.update(down, the_policy(routing), clock.now)
    dispatcher.wake()
    await asyncio.wait_for(channel.urgent.wait(), 30)
    assert len([message for message in channel.begun if message.priority != "P1"]) < 100
    dispatcher.stop()
    channel.answer.set()
    await running
    await store.close()


async def test_when_all_slots_are_taken_the_loop_waits(tmp_path: Path) -> None:
    clock, channel = Clock(), Stuck()
    store = await a_store(tmp_path, clock)
    rig = Rig(store, clock, host_of=lambda address: address, channel=channel)
    for number in range(SLOTS + 5):
        team = {f"team-{number}": (Contact("email", f"{number}@example.com"),)}
        routing = msgspec.structs.replace(the_routing(), teams={**the_routing().teams, **team})
        down = of_group(received(labelled(an_alert(f"down-{number}"), team=f"team-{number}")), key=str(number))
        await store.update(AlertsReceived(down), the_policy(routing), clock.now)
    async with asyncio.timeout(20):
        running = asyncio.create_task(rig.dispatcher.run(poll=0.01))
        await channel.until(SLOTS)
        channel.answer.set()
        await channel.until(SLOTS + 5)
    rig.dispatcher.stop()
    await running
    await store.close()


async def test_a_bundle_takes_a_few_transactions(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(LARGEST_BUNDLE):
        await rig.fire(f"slow-{number}", severity="warning", instance=str(number))
    transactions = 0

    def counted(db: sqlite3.Connection) -> AbstractContextManager[None]:
        nonlocal transactions
        transactions += 1
        return transaction(db)

    monkeypatch.setattr("receiver.store.sqlite.queue.transaction", counted)
    settled, settle = list[int](), rig.store.settle_and_claim

    async def noted(sent: Sequence[Sent], *rest: Any) -> Sequence[Given]:  # noqa: ANN401  # as they come
        settled.append(len(sent))
        return await settle(sent, *rest)

    monkeypatch.setattr(rig.store, "settle_and_claim", noted)
    await rig.dispatcher.run_once()
    assert rig.count("sent") == LARGEST_BUNDLE + 1
    assert transactions < LARGEST_BUNDLE / 10
    assert max(settled) < LARGEST_BUNDLE / 4  # a P1 may be claimed in between


async def test_another_way_is_looked_for_after_a_minute_and_not_before(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    routing = msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#lost-pages"),))
    rig = Rig(store, clock, the_current(routing))
    await rig.fire("down")
    (ring,) = await store.claim("pagerduty", clock.now, 60, 10)
    nothing = deciding(StillFiring(0), clock.now)
    await store.dead(ring, Failure.AUTH, "bad key", nothing, nothing, clock.now)
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR) for _ in range(20)]

    async def elsewhere() -> bool:
        stored = await store.incident(1)
        assert stored is not None
        return any(entry.kind == "fallback" for entry in stored[1])

    for seconds in (0, 5, 10, 20):
        clock.forward(seconds=seconds)
        await rig.dispatcher.run_once()
        late = (clock.now - START).total_seconds() >= 35  # the next attempt would come after the minute
        assert await elsewhere() is late
    await store.close()


@pytest.mark.parametrize("ring", ["dead", "late"])
async def test_a_page_that_is_put_off_leaves_it_to_the_persons_other_page_to_look_elsewhere(
    tmp_path: Path, ring: str
) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    routing = msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#lost-pages"),))
    rig = Rig(store, clock, the_current(routing))
    await rig.fire("down")
    rig.channel.failures = [SendError("429", Failure.RATE_LIMITED, retry_after=600)]
    await rig.dispatcher.run_once()

    async def elsewhere() -> bool:
        stored = await store.incident(1)
        assert stored is not None
        return any(entry.kind == "fallback" for entry in stored[1])

    assert not await elsewhere()  # PagerDuty may ring
    if ring == "late":
        clock.forward(seconds=61)
    (page,) = await store.claim("pagerduty", clock.now, 60, 10)
    target = page.notification.target
    unreached = deciding(Unreached(target, 1, Failure.AUTH), clock.now, routing)
    if ring == "dead":
        await store.dead(page, Failure.AUTH, "bad key", unreached, unreached, clock.now)
    else:
        (late,) = await store.late_pages("pagerduty", clock.now - timedelta(seconds=60), 10)
        await store.look_elsewhere(late, unreached, clock.now)
    assert await elsewhere()
    await store.close()
