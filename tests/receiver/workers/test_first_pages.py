"""The first pages of a P1 are leased by the transaction that opens it, and sent without another one."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.incident.event import AlertsReceived
from receiver.incident.heartbeat import Watch
from receiver.incident.model import Alert, Priority, State
from receiver.oncall.contact_rules import Contact
from receiver.policy.routing import Routing
from receiver.store.base import Claimed, StoreOutageError
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.file import transaction
from receiver.workers.dispatcher import SLOTS
from tests.receiver.example_site import (
    START,
    Clock,
    Taker,
    a_store,
    an_alert,
    labelled,
    of_group,
    received,
    the_current,
    the_routing,
)
from tests.receiver.workers.test_dispatcher import Rig, Stuck

pytestmark = pytest.mark.sqlite("on PostgreSQL several receivers send")
CHANNELS = ("email", "pagerduty", "slack")
MANY = [an_alert(str(number), severity="warning", team=f"team-{number % 3}") for number in range(30)]


async def fire(
    store: SQLStore, clock: Clock, *alerts: Alert, key: str = "down", routing: Routing | None = None
) -> list[Claimed]:
    """Give what the takers of all channels are given of a group's news."""
    takers = {channel: Taker() for channel in CHANNELS}
    for channel, taker in takers.items():
        store.give_first_pages(channel, taker, clock)
    event = AlertsReceived(of_group(received(*alerts), key=key))
    await store.update(event, the_routing() if routing is None else routing, clock.now)
    await asyncio.sleep(0)
    return [claimed for channel in CHANNELS for claimed in takers[channel].claims]


async def claims(store: SQLStore, clock: Clock) -> list[Claimed]:
    return [claimed for channel in CHANNELS for claimed in await store.claim(channel, clock.now, 90, 100)]


async def counted(rig: Rig, outcome: str, count: int) -> None:
    """Wait until so many deliveries have had this outcome."""
    while rig.count(outcome) != count:  # noqa: ASYNC110  # a metric tells nobody
        await asyncio.sleep(0.01)


@pytest.fixture
async def store(tmp_path: Path) -> SQLStore:
    return await a_store(tmp_path, Clock())


@pytest.mark.parametrize(
    "alerts",
    [
        [an_alert()],
        [an_alert(team="nobody-knows", severity="critical")],
        [an_alert(drill="true")],
        [an_alert(), *MANY],
        [labelled(an_alert(str(number)), team=f"team-{number}") for number in range(3)],
    ],
)
async def test_what_is_given_is_what_would_be_claimed(tmp_path: Path, alerts: list[Alert]) -> None:
    clock, teams = Clock(), {f"team-{n}": (Contact("slack", f"#{n}"), Contact("email", f"{n}@a.b")) for n in range(3)}
    routing = msgspec.structs.replace(the_routing(), teams={**the_routing().teams, **teams})
    giving, claimed = await a_store(tmp_path / "giving", clock), await a_store(tmp_path / "claimed", clock)
    given = await fire(giving, clock, *alerts, routing=routing)
    await claimed.update(AlertsReceived(of_group(received(*alerts), key="down")), routing, clock.now)
    assert given == await claims(claimed, clock)
    assert given
    assert await claims(giving, clock) == []
    await giving.close()
    await claimed.close()


async def test_what_nobody_sends_is_claimed_when_its_lease_is_over(store: SQLStore) -> None:
    clock = Clock()
    given = await fire(store, clock, an_alert())
    clock.forward(seconds=89)
    assert await claims(store, clock) == []
    clock.forward(seconds=2)
    again = await claims(store, clock)
    assert [(one.id, one.attempt) for one in again] == [(one.id, 2) for one in given]
    await store.close()


async def test_the_lease_begins_when_it_is_written_though_the_body_took_its_time(store: SQLStore) -> None:
    clock = Clock()
    began = clock.now
    clock.forward(seconds=60)
    taker = Taker()
    store.give_first_pages("email", taker, clock)
    await store.update(received(an_alert()), the_routing(), began)
    await asyncio.sleep(0)
    assert taker.claims
    clock.forward(seconds=89)
    assert await store.claim("email", clock.now, 90, 100) == []
    await store.close()


async def test_what_a_dead_process_was_given_is_claimed_by_the_next(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    given = await fire(store, clock, an_alert())
    await store.close()
    store = await a_store(tmp_path, clock)
    assert {one.id for one in await claims(store, clock)} == {one.id for one in given}
    await store.close()


async def test_only_the_first_pages_of_a_p1_are_given(store: SQLStore) -> None:
    clock = Clock()
    assert await fire(store, clock, an_alert(severity="warning"), key="no P1") == []
    assert await fire(store, clock, an_alert("1"))
    for change in ([an_alert("1"), an_alert("2")], [an_alert("1", firing=False), an_alert("2", firing=False)]):
        assert await fire(store, clock, *change) == []
    again = [an_alert("1", starts_at=START + timedelta(minutes=3))]
    clock.forward(minutes=3)
    assert await fire(store, clock, *again) == []  # it is opened again
    await store.close()


async def test_who_is_awake_takes_it_and_nobody_is_paged(store: SQLStore) -> None:
    clock, routing = Clock(), the_routing()
    until = clock.now + timedelta(hours=1)
    quiet = {team: {Priority.P1: True} for team in routing.teams}
    awake = msgspec.structs.replace(routing, people_awake=dict.fromkeys(routing.people, until), quiet=quiet)
    assert await fire(store, clock, an_alert(), routing=awake) == []
    stored = await store.incident(1)
    assert stored is not None
    assert stored[0].state is State.ACKNOWLEDGED
    assert [
        one.notification.target.person for one in await claims(store, clock) if one.notification.target.person
    ] == []
    await store.close()


async def test_where_a_channel_takes_nothing_its_pages_wait_to_be_claimed(store: SQLStore) -> None:
    clock, busy = Clock(), Taker(takes=False)
    store.give_first_pages("email", busy, clock)
    await store.update(received(an_alert()), the_routing(), clock.now)
    await asyncio.sleep(0)
    assert busy.claims == []
    assert await store.claim("email", clock.now, 90, 100)
    await store.close()


async def test_many_at_once_are_left_to_be_claimed_together(store: SQLStore) -> None:
    clock, taker = Clock(), Taker()
    store.give_first_pages("email", taker, clock)
    storm = [AlertsReceived(of_group(received(an_alert(str(n))), key=str(n))) for n in range(30)]
    await asyncio.gather(*(store.update(event, the_routing(), clock.now) for event in storm))
    await asyncio.sleep(0)
    assert len(taker.claims) < 10
    left = await store.claim("email", clock.now, 90, 100)
    assert {one.incident.id for one in (*taker.claims, *left)} == set(range(1, 31))
    await store.close()


async def test_what_is_not_committed_is_not_given(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    @contextmanager
    def full(db: sqlite3.Connection) -> Iterator[None]:
        with transaction(db):
            yield
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    monkeypatch.setattr("receiver.store.sqlite.queue.transaction", full)
    taker = Taker()
    store.give_first_pages("email", taker, clock)
    with pytest.raises(StoreOutageError):
        await store.update(received(an_alert()), the_routing(), clock.now)
    await asyncio.sleep(0)
    assert taker.claims == []
    monkeypatch.setattr("receiver.store.sqlite.queue.transaction", transaction)
    await store.update(received(an_alert()), the_routing(), clock.now)
    await asyncio.sleep(0)
    assert taker.claims
    await store.close()


async def test_a_dispatcher_sends_what_it_is_given_though_nobody_wakes_it(store: SQLStore) -> None:
    clock = Clock()
    rig = Rig(store, clock)
    store.give_first_pages("email", rig.dispatcher, clock)
    running = asyncio.create_task(rig.dispatcher.run(poll=3600))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await rig.fire("down")
        await counted(rig, "sent", 1)
    rig.dispatcher.stop()
    await running
    assert [message.address for message in rig.channel.sent] == ["linh@example.com"]
    stored = await store.incident(1)
    assert stored is not None
    assert stored[0].delivery.reached == ("linh",)
    await store.close()


async def test_one_that_fails_is_tried_again_as_any_other(store: SQLStore) -> None:
    clock = Clock()
    rig = Rig(store, clock)
    store.give_first_pages("email", rig.dispatcher, clock)
    rig.channel.failures = [SendError("503", Failure.SERVER_ERROR)]
    running = asyncio.create_task(rig.dispatcher.run(poll=0.01))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await rig.fire("down")
        await counted(rig, "retried", 1)
        clock.forward(seconds=60)
        await counted(rig, "sent", 1)
    rig.dispatcher.stop()
    await running
    await store.close()


async def test_what_there_is_no_room_for_is_put_back_and_sent_later(store: SQLStore) -> None:
    clock, channel = Clock(), Stuck()
    rig = Rig(store, clock, channel=channel)
    store.give_first_pages("email", rig.dispatcher, clock)
    running = asyncio.create_task(rig.dispatcher.run(poll=0.01))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await asyncio.gather(*(rig.fire(f"down-{number}") for number in range(4)))
        await channel.until(3)
        channel.answer.set()
        await counted(rig, "sent", 4)
    rig.dispatcher.stop()
    await running
    assert len({message.id for message in channel.begun}) == len(channel.begun) == 4
    await store.close()


@pytest.mark.parametrize("before", ["it runs", "it has stopped"])
async def test_a_dispatcher_takes_nothing_while_it_does_not_run(store: SQLStore, before: str) -> None:
    clock = Clock()
    rig = Rig(store, clock)
    store.give_first_pages("email", rig.dispatcher, clock)
    if before == "it has stopped":
        running = asyncio.create_task(rig.dispatcher.run(poll=0.01))
        await asyncio.sleep(0)
        rig.dispatcher.stop()
        await running
    await rig.fire("down")
    await asyncio.sleep(0)
    assert rig.channel.sent == []
    assert len(await store.claim("email", clock.now, 90, 10)) == 1
    await store.close()


class Busy:
    """Keeps the thread that writes busy, so that what comes meanwhile shares a transaction."""

    def __init__(self, store: SQLStore) -> None:
        self._store, self._go_on = store, threading.Event()

    async def __aenter__(self) -> None:
        began, loop = asyncio.Event(), asyncio.get_running_loop()

        def wait(watch: Watch) -> Watch:
            loop.call_soon_threadsafe(began.set)
            self._go_on.wait()
            return watch

        self._waiting = asyncio.ensure_future(self._store.watch_jobs(wait))
        await began.wait()

    async def __aexit__(self, *_: object) -> None:
        self._go_on.set()
        await self._waiting


async def test_what_is_over_in_the_same_transaction_pages_nobody(store: SQLStore) -> None:
    clock, takers = Clock(), {channel: Taker() for channel in CHANNELS}
    for channel, taker in takers.items():
        store.give_first_pages(channel, taker, clock)
    async with Busy(store):
        news = [received(an_alert()), received(an_alert(firing=False))]
        updates = [asyncio.ensure_future(store.update(each, the_routing(), clock.now)) for each in news]
        await asyncio.sleep(0)
    await asyncio.gather(*updates)
    await asyncio.sleep(0)
    assert [taker.claims for taker in takers.values()] == [[], [], []]
    assert await claims(store, clock) == []
    await store.close()


async def test_what_is_committed_once_its_dispatcher_has_ended_is_left_to_the_next_process(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    rig = Rig(store, clock)
    store.give_first_pages("email", rig.dispatcher, clock)
    running = asyncio.create_task(rig.dispatcher.run(poll=3600))
    await asyncio.sleep(0)
    opened, go_on = asyncio.Event(), threading.Event()
    watched, loop = rig.dispatcher.takes, asyncio.get_running_loop()

    def takes(address: str, beside: int) -> bool:
        answer = watched(address, beside)
        loop.call_soon_threadsafe(opened.set)
        go_on.wait()
        return answer

    rig.dispatcher.takes = takes  # type: ignore[method-assign]
    firing = asyncio.create_task(rig.fire("down"))
    await opened.wait()
    rig.dispatcher.stop()
    await running
    go_on.set()
    await firing
    for _ in range(10):
        await asyncio.sleep(0)
    assert rig.channel.sent == []
    await store.close()
    store = await a_store(tmp_path, clock)
    assert len(await store.claim("email", clock.now, 90, 10)) == 1
    await store.close()


class Counting(Stuck):
    """Counts how many messages are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way = self.most = 0

    async def send(self, message: Message) -> Receipt:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        receipt = await super().send(message)
        self._under_way -= 1
        return receipt


async def test_a_p1_for_many_takes_no_more_slots_than_there_are(store: SQLStore) -> None:
    clock, channel = Clock(), Counting()
    crowd = tuple(Contact("email", f"{number}@example.com") for number in range(100))
    routing = msgspec.structs.replace(the_routing(), teams={**the_routing().teams, "crowd": crowd})
    rig = Rig(store, clock, the_current(routing), host_of=lambda address: address, channel=channel)
    store.give_first_pages("email", rig.dispatcher, clock)
    running = asyncio.create_task(rig.dispatcher.run(poll=0.01))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await store.update(received(an_alert(team="crowd")), routing, clock.now)
        await channel.until(SLOTS)
        channel.answer.set()
        await counted(rig, "sent", 101)
    rig.dispatcher.stop()
    await running
    assert channel.most == SLOTS
    assert len({message.id for message in channel.begun}) == len(channel.begun) == 101
    await store.close()
