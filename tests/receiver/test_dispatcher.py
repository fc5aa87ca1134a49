"""Sending: once, again with patience, or dead with a consequence."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.channels.base import Failure, SendError
from receiver.dispatcher import Dispatcher, RetryPolicy, backoff
from receiver.metrics import Metrics
from receiver.store.sqlite import SQLiteStore
from tests.receiver.given import (
    THE_GROUP,
    Clock,
    Recorder,
    a_store,
    an_alert,
    as_message,
    deciding,
    received,
    the_policy,
)

RETRY = RetryPolicy(first=5, longest=120, give_up=1800)


class Rig:
    """One dispatcher on e-mail, over a real store."""

    def __init__(self, store: SQLiteStore, clock: Clock) -> None:
        self.store, self.clock, self.channel = store, clock, Recorder()
        self.metrics = Metrics(["email"])
        self.dispatcher = Dispatcher(
            "email",
            self.channel,
            store,
            policy=the_policy(),
            retry=RETRY,
            render=as_message,
            metrics=self.metrics,
            clock=clock,
            jitter=lambda: 0.0,
        )

    def count(self, outcome: str) -> float | None:
        labels = {"channel": "email", "outcome": outcome}
        return self.metrics.registry.get_sample_value("receiver_deliveries_total", labels)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await store.update(THE_GROUP, deciding(received(an_alert()), clock.now), clock.now)
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
    found = await rig.store.incident(1)
    assert found is not None
    assert found[1][-1].text == "email to linh@example.com: 550 no such user"


async def test_it_gives_up_after_its_time_and_not_before(rig: Rig) -> None:
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)] * 100
    for _ in range(1750):
        await rig.dispatcher.run_once()
        rig.clock.forward(seconds=1)
    assert rig.count("dead") == 1
    assert rig.count("retried") == pytest.approx(18, abs=1)


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
