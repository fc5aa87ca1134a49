"""Stories of counters, as a real Prometheus sees them: the first events of a kind, and an exporter that is killed."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.stories.stack import Stack, until

pytestmark = pytest.mark.story
RARE = 'http_rate_limited_total{route="/login"}'


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with Stack(tmp_path) as running:
        yield running


@pytest.mark.parametrize(("hold", "seen"), [("5s", True), ("0s", False)])
async def test_the_first_events_of_a_kind_are_an_increase(stack: Stack, hold: str, seen: bool) -> None:
    """Without the hold they are none: should Prometheus learn to see them, this is where one hears of it."""
    stack.hold = hold
    await stack.start("exporter", "prometheus")
    await until("Prometheus scrapes", partial(_is, stack, 'up{job="heypeter-app"}', 1))
    event = {"type": "rate_limited", "data": {"route": "/login", "policy": "login"}}
    await stack.post_events([event] * 7)
    await until("Prometheus has the value", partial(_is, stack, RARE, 7))
    await until("and has it twice", partial(_is, stack, f"count_over_time(({RARE} == 7)[1m:1s]) >= bool 3", 1))
    increase = f"increase({RARE}[1m])"
    if not seen:
        assert await stack.query(increase) == 0
        return
    # Prometheus adds what it supposes to come until now, which is the less the more scrapes there were.
    await until(
        "it is an increase of seven", partial(_is, stack, f"({increase} >= bool 6.9) * ({increase} < bool 9)", 1)
    )


async def _is(stack: Stack, expression: str, wanted: float) -> bool:
    return await stack.query(expression) == wanted


async def test_an_exporter_that_is_killed_again_and_again_counts_each_booking_once(stack: Stack) -> None:
    await stack.start("exporter", "prometheus")
    counter = 'class_bookings_total{class_type="group",channel="web"}'
    await until("Prometheus scrapes", partial(_is, stack, counter, 0))
    sent, stop = [0], asyncio.Event()
    sending = [asyncio.ensure_future(_book(stack, worker, sent, stop)) for worker in range(4)]
    for kills in range(1, 4):
        reached = kills * 150
        await until("some are booked", partial(_reached, sent, reached))
        await stack.stop("exporter", signal.SIGKILL)
        await stack.start("exporter")
    stop.set()
    await asyncio.gather(*sending)
    assert sent[0] >= 450
    await until("Prometheus has them all", partial(_is, stack, counter, sent[0]))
    assert await stack.query(f"resets({counter}[5m])") == 0
    assert await stack.query("sum(exporter_storage_errors_total)") == 0


def _reached(sent: list[int], number: int) -> bool:
    return sent[0] >= number


async def _book(stack: Stack, worker: int, sent: list[int], stop: asyncio.Event) -> None:
    """A server with an outbox: each batch is sent with the same id until it is answered."""
    headers = {"Authorization": f"Bearer {stack.tokens['exporter']}"}
    event = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}
    for number in itertools.count():
        if stop.is_set():
            return
        batch = {"batch_id": f"{worker}-{number}", "events": [event]}
        while True:
            try:
                async with stack.session.post(
                    f"{stack.url('exporter')}/api/events", json=batch, headers=headers
                ) as answer:
                    assert answer.status == 202
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        sent[0] += 1
