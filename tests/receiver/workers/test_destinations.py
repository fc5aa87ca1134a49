"""One bad address keeps nobody else waiting, and nothing is given up but for what was tried."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.channels.base import DeferredError, Failure, Message, Receipt, SendError
from receiver.incident.event import Acknowledge, AlertsReceived, Resolve
from receiver.incident.model import EntryKind, Kind, Origin
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact
from receiver.store.base import Ask, Given, Sent, Wanted
from receiver.store.sql.store import SQLStore
from receiver.workers import destinations
from receiver.workers.circuit_breaker import REST, THRESHOLD
from receiver.workers.destinations import Demand, Destinations, Shares
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.retry import RetryPolicy
from receiver.workers.unserved import NotConfigured, Unserved
from tests.receiver.example_site import (
    START,
    Clock,
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

Answer = Callable[[Message], Exception | None]


class Provider:
    """Answers by address, in no time; keeps what it took."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.sent: list[Message] = []
        self.asked: list[Message] = []
        self.hanging: dict[str, asyncio.Event] = {}
        self.took, self.hangs = asyncio.Condition(), asyncio.Event()

    async def send(self, message: Message) -> Receipt:
        await asyncio.sleep(0)
        self.asked.append(message)
        if message.address in self.hanging:
            self.hangs.set()
            await self.hanging[message.address].wait()
        refusal = self.answers.get(message.address, self.answers.get("", lambda _: None))(message)
        if refusal is not None:
            raise refusal
        self.sent.append(message)
        async with self.took:
            self.took.notify_all()
        return Receipt(ref="ref")

    async def until(self, count: int, address: str) -> None:
        """Wait until an address has been sent so much."""
        async with asyncio.timeout(20), self.took:
            await self.took.wait_for(lambda: sum(m.address == address for m in self.sent) >= count)

    def break_(self, address: str = "", failure: Failure = Failure.SERVER_ERROR) -> None:
        self.answers[address] = lambda _: SendError("451", failure)

    def mend(self) -> None:
        self.answers.clear()


class Rig:
    """A dispatcher of one channel, and teams that each have an address there."""

    def __init__(self, store: SQLStore, clock: Clock, channel: str = "slack") -> None:
        self.store, self.clock, self.provider, self.channel = store, clock, Provider(), channel
        self.metrics = Metrics([channel])
        self.current = the_current()
        self.teams("backend", "frontend")
        self.dispatcher = self.a_dispatcher()

    def a_dispatcher(self, *, keeps_incidents: bool = False) -> Dispatcher:
        return Dispatcher(
            self.channel,
            self.provider,
            self.store,
            current=self.current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=as_message,
            metrics=self.metrics,
            clock=self.clock,
            elapsed=self.clock.elapsed,
            jitter=lambda: 0.0,
            keeps_incidents=keeps_incidents,
        )

    def teams(self, *names: str) -> None:
        teams = {name: (Contact(self.channel, f"#{name}"),) for name in (*names, "default")}
        self.current.exchange(msgspec.structs.replace(the_routing(), teams=teams))

    async def fire(self, name: str, **labels: str) -> int:
        group = of_group(received(labelled(an_alert(name), **labels)), key=name)
        incident = await self.store.update(AlertsReceived(group), self.current.routing, self.clock.now)
        assert incident is not None
        return incident.id

    async def seconds(self, count: int) -> None:
        for _ in range(count):
            await self.dispatcher.run_once()
            self.clock.forward(seconds=1)

    def asked(self, address: str) -> int:
        return sum(message.address == address for message in self.provider.asked)

    def sent(self, address: str) -> int:
        return sum(message.address == address for message in self.provider.sent)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"channel": self.channel, **labels})


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Rig(store, clock)
    await store.close()


async def test_what_is_not_on_the_disk_is_no_more_than_may_be_under_way(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reached, disk = rig.store.settle_and_claim, asyncio.Event(), asyncio.Event()

    async def slowly(sent: Sequence[Sent], *rest: Any) -> Sequence[Given]:  # noqa: ANN401  # as they come
        if sent:
            reached.set()
            await disk.wait()
        return await original(sent, *rest)

    monkeypatch.setattr(rig.store, "settle_and_claim", slowly)
    for number in range(12):
        await rig.fire(f"down-{number}", team="backend")
        await rig.fire(f"down-there-{number}", team="frontend")
    running = asyncio.create_task(rig.dispatcher.run(poll=0.01))
    await asyncio.wait_for(reached.wait(), 20)
    assert len(rig.provider.asked) <= destinations.AT_HOST_LEAST
    disk.set()
    await rig.provider.until(12, "#backend")
    await rig.provider.until(12, "#frontend")
    rig.dispatcher.stop()
    await running


async def test_the_commit_that_settles_claims_what_comes_next(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        await rig.fire(f"down-{number}", team="backend")
    commits, commit = 0, rig.store._writer.commit  # noqa: SLF001  # the one that both stores have

    async def counted(*words: Any, **named: Any) -> Any:  # noqa: ANN401  # as they come
        nonlocal commits
        commits += 1
        return await commit(*words, **named)

    monkeypatch.setattr(rig.store._writer, "commit", counted)  # noqa: SLF001
    running = asyncio.create_task(rig.dispatcher.run(poll=10.0))
    await rig.provider.until(40, "#backend")
    assert commits < 30  # of a claim and an outcome each, it was 80
    rig.dispatcher.stop()
    await running


async def test_an_address_that_has_nothing_more_leaves_its_room_to_the_others(rig: Rig) -> None:
    names = ("backend", "frontend", "ops")
    rig.teams(*names)
    for name in names:
        for number in range(5):
            await rig.fire(f"{name}-{number}", team=name)
    running = asyncio.create_task(rig.dispatcher.run(poll=60.0))  # nothing is left to the next look
    for name in names:
        await rig.provider.until(5, f"#{name}")
    rig.dispatcher.stop()
    await running


@pytest.mark.parametrize("failure", [Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.AUTH])
async def test_an_address_that_fails_keeps_no_other_address_waiting(rig: Rig, failure: Failure) -> None:
    rig.provider.break_("#backend", failure)
    for number in range(14):
        await rig.fire(f"bad-{number}", team="backend")
        await rig.fire(f"good-{number}", team="frontend")
    await rig.dispatcher.run_once()
    assert rig.sent("#frontend") == 14
    assert rig.asked("#backend") <= destinations.AT_ADDRESS_URGENT
    for number in range(30):  # nor later, while the bad one is tried again and again
        await rig.fire(f"later-{number}", team="frontend")
        await rig.seconds(2)
        assert rig.sent("#frontend") == 15 + number
    assert rig.asked("#backend") <= destinations.AT_ADDRESS_URGENT + 4
    assert rig.metric("receiver_channel_addresses_paused") == 1
    assert rig.metric("receiver_channel_circuit_open") == 0


@pytest.mark.parametrize("failure", [Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.AUTH])
async def test_several_addresses_of_a_host_that_fail_keep_the_others_there_waiting_for_nothing(
    rig: Rig, failure: Failure
) -> None:
    bad = ("backend", "payments", "database")
    rig.teams(*bad, "frontend")
    for name in bad:
        rig.provider.break_(f"#{name}", failure)
    for number in range(30):
        for name in bad:
            await rig.fire(f"{name}-{number}", team=name)
        await rig.seconds(int(REST) + 1)
        if number % 3 == 2:  # nothing has succeeded for a minute
            await rig.fire(f"good-{number}", team="frontend")
            await rig.dispatcher.run_once()
            assert rig.sent("#frontend") == number // 3 + 1


async def test_an_address_that_works_again_gets_its_turn_though_others_of_its_host_have_p1_and_fail(rig: Rig) -> None:
    bad = ("backend", "payments", "database")
    rig.teams(*bad, "frontend")
    rig.provider.break_("")
    await rig.fire("waits", team="frontend", severity="warning")
    for number in range(20):
        for name in bad:
            await rig.fire(f"{name}-{number}", team=name)
    await rig.seconds(150)
    for name in bad:
        rig.provider.break_(f"#{name}")
    del rig.provider.answers[""]
    await rig.seconds(5 * int(REST))
    assert rig.sent("#frontend") == 1


async def test_a_trial_that_hangs_keeps_no_address_waiting_that_has_not_failed(rig: Rig) -> None:
    bad = ("backend", "payments", "database")
    rig.teams(*bad, "frontend")
    rig.provider.break_("", Failure.TIMEOUT)
    for number in range(2):
        for name in bad:
            await rig.fire(f"{name}-{number}", team=name)
    await rig.seconds(10)
    rig.provider.mend()
    for name in bad:
        rig.provider.hanging[f"#{name}"] = asyncio.Event()
    rig.clock.forward(seconds=2 * REST)
    running = asyncio.ensure_future(rig.dispatcher.run(0.01))
    await rig.provider.hangs.wait()
    await rig.fire("good", team="frontend")
    await rig.provider.until(1, "#frontend")
    for answer in rig.provider.hanging.values():
        answer.set()
    rig.dispatcher.stop()
    await running


async def test_an_address_that_never_answers_holds_a_part_of_the_slots(rig: Rig) -> None:
    answer = rig.provider.hanging["#backend"] = asyncio.Event()
    for number in range(70):
        await rig.fire(f"bad-{number}", team="backend")
    for number in range(20):
        await rig.fire(f"good-{number}", team="frontend")
    running = asyncio.ensure_future(rig.dispatcher.run(0.01))
    await rig.provider.until(20, "#frontend")
    assert rig.asked("#backend") < 70
    answer.set()
    await rig.provider.until(70, "#backend")
    rig.dispatcher.stop()
    await running


async def test_no_metric_names_an_address(rig: Rig) -> None:
    rig.provider.break_("#backend")
    await rig.fire("bad", team="backend")
    await rig.seconds(60)
    values = [v for family in rig.metrics.registry.collect() for s in family.samples for v in s.labels.values()]
    assert not [value for value in values if "#" in value]


async def test_a_host_that_is_down_is_tried_once_a_rest_for_all_its_addresses(rig: Rig) -> None:
    rig.provider.break_("", Failure.NETWORK)
    for number in range(20):
        await rig.fire(f"{number}", team="backend" if number % 2 else "frontend")
    await rig.dispatcher.run_once()
    first = len(rig.provider.asked)
    assert first <= destinations.AT_HOST_URGENT
    assert rig.metric("receiver_channel_circuit_open") == 1
    rig.clock.forward(seconds=1)
    await rig.seconds(100)
    assert len(rig.provider.asked) - first <= 100 / REST + 1


async def test_several_addresses_that_fail_are_a_host_that_fails(rig: Rig) -> None:
    names = [f"team-{number}" for number in range(10)]
    rig.teams(*names)
    rig.provider.break_("")
    for name in names:
        await rig.fire(name, team=name)
    await rig.seconds(10)
    assert rig.metric("receiver_channel_circuit_open") == 1


async def test_what_waits_comes_forward_when_the_address_works_again_and_p1_first(rig: Rig) -> None:
    rig.provider.break_("", Failure.NETWORK)
    for number in range(10):
        await rig.fire(f"slow-{number}", severity="warning")
    await rig.seconds(80)  # the retries of the first are minutes apart by now
    for number in range(10):
        await rig.fire(f"down-{number}")
    await rig.seconds(10)
    rig.provider.mend()
    await rig.seconds(int(REST) + 1)
    assert len(rig.provider.sent) == 20
    assert [message.priority for message in rig.provider.sent] == ["P1"] * 10 + ["P2"] * 10


async def test_a_trial_is_the_most_urgent_page(rig: Rig) -> None:
    rig.provider.break_("")
    for number in range(6):
        await rig.fire(f"slow-{number}", severity="warning")
    await rig.seconds(10)
    await rig.fire("down")
    tried = len(rig.provider.asked)
    await rig.seconds(int(REST) + 1)
    assert rig.provider.asked[tried].priority == "P1"


async def test_a_page_that_always_fails_does_not_keep_others_from_trying(rig: Rig) -> None:
    poisoned = str(await rig.fire("poisoned"))
    rig.provider.answers[""] = lambda message: (
        SendError("500", Failure.SERVER_ERROR) if message.incident == f"heypeter-{poisoned}" else None
    )
    await rig.seconds(80)
    await rig.fire("slow", severity="warning")
    await rig.seconds(4 * int(REST))
    assert [message.priority for message in rig.provider.sent] == ["P2"]


async def test_what_was_owed_through_a_downtime_is_tried_and_not_given_up(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    rig = Rig(store, clock)
    number = await rig.fire("down")
    clock.forward(minutes=40)  # we did not run
    rig.current.restarted(clock.now)
    rig.provider.break_("", Failure.NETWORK)
    await rig.seconds(4)
    rig.provider.mend()
    await rig.seconds(10)
    stored = await store.incident(number)
    assert stored is not None
    assert {EntryKind.DEAD, EntryKind.FALLBACK, EntryKind.UNDELIVERED}.isdisjoint(e.kind for e in stored[1])
    assert stored[0].delivery.rounds == 1  # nobody of a later step was told first
    assert rig.sent("#backend") == 1
    await store.close()


async def test_our_own_pace_is_no_attempt_and_kills_nothing(rig: Rig) -> None:
    next_turn = {"at": 0.0}

    def paced(message: Message) -> Exception | None:
        assert message.priority != "P1"
        now = (rig.clock.now - START).total_seconds()
        if now < next_turn["at"]:
            return DeferredError(next_turn["at"] - now)
        next_turn["at"] = now + 3
        return None

    rig.provider.answers[""] = paced
    for number in range(120):
        await rig.fire(f"slow-{number}", severity="warning")
    for _ in range(140):
        await rig.dispatcher.run_once()
        rig.clock.forward(seconds=3)
    assert len(rig.provider.sent) == 120
    assert rig.metric("receiver_deliveries_total", outcome="dead") == 0
    assert rig.metric("receiver_deliveries_total", outcome="retried") == 0
    assert len(rig.provider.asked) < 120 * (destinations.AT_ADDRESS + 1)


async def test_an_open_circuit_uses_up_no_patience(rig: Rig) -> None:
    for number in range(10):
        await rig.fire(f"down-{number}")
    rig.provider.break_("", Failure.NETWORK)
    await rig.seconds(1)
    asked = len(rig.provider.asked)
    await rig.seconds(1700)
    assert rig.metric("receiver_deliveries_total", outcome="dead") == 0
    assert len(rig.provider.asked) - asked <= 1700 / REST + 1


@pytest.mark.parametrize(("kept", "ends"), [(True, 1), (False, 0)])
async def test_the_end_of_an_incident_that_a_provider_holds_is_never_given_up(
    rig: Rig, *, kept: bool, ends: int
) -> None:
    rig.dispatcher = rig.a_dispatcher(keeps_incidents=kept)
    number = await rig.fire("down")
    await rig.dispatcher.run_once()
    await rig.store.apply(number, deciding(Acknowledge("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    await rig.store.apply(number, deciding(Resolve("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    rig.provider.break_("")
    for _ in range(400):
        await rig.dispatcher.run_once()
        rig.clock.forward(seconds=20)
    rig.provider.mend()
    await rig.seconds(30)
    assert sum(message.kind is Kind.RESOLVED for message in rig.provider.sent) == ends


async def test_a_key_that_is_refused_does_not_lose_the_end_of_an_incident(rig: Rig) -> None:
    rig.dispatcher = rig.a_dispatcher(keeps_incidents=True)
    number = await rig.fire("down")
    await rig.dispatcher.run_once()
    await rig.store.apply(number, deciding(Resolve("linh", Origin.LINK), rig.clock.now), rig.clock.now)
    rig.provider.answers[""] = lambda _: SendError("401", Failure.AUTH, permanent=True)
    await rig.seconds(100)
    assert len(rig.provider.asked) < 5
    rig.provider.mend()
    await rig.seconds(600)
    assert rig.provider.sent[-1].kind is Kind.RESOLVED


async def test_a_wish_of_the_provider_holds_for_all_that_waits_there(rig: Rig) -> None:
    rig.provider.break_("#frontend")
    rig.provider.answers["#frontend"] = lambda _: SendError("429", Failure.RATE_LIMITED, retry_after=60)
    await rig.fire("one", team="frontend")
    await rig.seconds(1)
    for number in range(20):
        await rig.fire(f"{number}", team="frontend")
        await rig.fire(f"other-{number}")
    await rig.seconds(58)
    assert rig.asked("#frontend") == 1
    assert rig.sent("#backend") == 20
    rig.provider.mend()
    await rig.seconds(5)
    assert rig.sent("#frontend") == 21


async def test_what_is_owed_on_a_channel_that_left_the_configuration_is_dead_at_once(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await store.update(received(an_alert()), the_policy(), clock.now)
    rig = Rig(store, clock)
    rig.current = the_current(msgspec.structs.replace(the_routing(), fallbacks=(Contact("slack", "#lost-pages"),)))

    def make(name: str) -> Dispatcher:
        rig.channel, rig.provider = name, NotConfigured(name)  # type: ignore[assignment]
        return rig.a_dispatcher()

    unserved = Unserved(store, ["slack"], make)
    await unserved.run_once()  # PagerDuty and e-mail
    stored = await store.incident(1)
    assert stored is not None
    dead = [entry.data.failure for entry in stored[1] if entry.kind is EntryKind.DEAD]
    assert dead == [Failure.NOT_CONFIGURED, Failure.NOT_CONFIGURED]
    assert [entry.data.channels for entry in stored[1] if entry.kind is EntryKind.FALLBACK] == [("slack",)]
    assert await store.channels_owed() == {"slack"}
    await store.close()


async def test_when_every_channel_has_left_the_next_step_is_taken(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await store.update(received(an_alert()), the_policy(), clock.now)
    rig = Rig(store, clock)
    rig.current = the_current()

    def make(name: str) -> Dispatcher:
        rig.channel, rig.provider = name, NotConfigured(name)  # type: ignore[assignment]
        return rig.a_dispatcher()

    unserved = Unserved(store, [], make)
    await unserved.run_once()
    stored = await store.incident(1)
    assert stored is not None
    assert stored[0].next_step == 2
    await store.close()


async def test_what_another_receiver_has_by_now_is_not_sent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.fire("down", team="backend")
    monkeypatch.setattr(rig.store, "holds", lambda _claimed: False)  # we were stopped for longer than the lease lasts
    await rig.dispatcher._begin()  # noqa: SLF001  # once: it is asked again and again
    await rig.dispatcher._end()  # noqa: SLF001
    assert rig.provider.asked == []
    monkeypatch.undo()
    await rig.dispatcher.run_once()
    assert rig.sent("#backend") == 1


@pytest.mark.parametrize(("takes", "most"), [(0.001, 4), (0.05, 4), (0.09, 4), (0.2, 8), (1.0, 16)])
def test_no_more_is_under_way_than_a_hosts_answers_are_slow(takes: float, most: int) -> None:
    destination = Destinations(lambda _address: "").of("#a")
    host = destination.host
    assert host.most(0.0, destinations.AT_HOST_URGENT) == (4,)  # while we do not know
    for took in (*([takes] * 16), 9.0):  # the last has waited for us
        place = destination.begin(0.0)
        place.answered(took)
        place.free()
    at_host = destinations.AT_HOST_URGENT, destinations.AT_HOST
    urgent, rest, at_address = host.most(0.0, *at_host, destinations.AT_ADDRESS_URGENT)
    assert urgent == most
    assert rest < most
    assert at_address < most


def test_a_host_without_an_answer_counts_as_slow_before_long() -> None:
    known = Destinations(lambda _address: "")
    bad, good = known.of("#bad"), known.of("#good")
    while bad.room(0.0, urgent=True):
        bad.begin(0.0)
    assert good.room(0.0, urgent=True) == 1
    good.parked = True
    assert known.may_take_more(0.0)
    assert good.room(2.0, urgent=True) > 1


def asks(shares: Shares, ranks: dict[str, int], counts: dict[str, int]) -> list[Ask]:
    """Ask, and give as many rows of each address."""
    given = list[Given]()
    for ask in shares(ranks, given):
        count = min(ask.limit, counts.get(ask.wanted.address, 0))
        given.append(Given(ask, [None] * count))  # type: ignore[list-item]  # they are counted only
    return [one.ask for one in given]


def demand(known: Destinations, address: str, at_host: int = 3) -> Demand:
    return Demand(known.of(address), 0, False, (3, 3), (at_host, at_host + 1))  # noqa: FBT003  # it is not paused


def test_room_at_a_host_is_shared_by_what_was_given() -> None:
    known = Destinations(lambda _address: "")
    shares = Shares([demand(known, "#a"), demand(known, "#b")], (48, 64))
    rest, first, second = Ask(45), Ask(3, Wanted("#b")), Ask(1, Wanted("#a", urgent=True))
    assert asks(shares, {"#a": 2, "#b": 0}, {"#b": 3}) == [first, second, rest]
    assert asks(shares, {"#b": 0}, {"#a": 2}) == [first, Ask(3, Wanted("#a")), Ask(46)]


def test_the_last_slots_are_asked_for_a_p1_only() -> None:
    known = Destinations(lambda address: address)
    demands = [demand(known, f"#{number}") for number in range(2)]
    assert asks(Shares(demands, (0, 4)), {}, {"#0": 2, "#1": 2}) == [
        Ask(3, Wanted("#0", urgent=True)),
        Ask(2, Wanted("#1", urgent=True)),
    ]
    assert asks(Shares([], (0, 16)), {}, {}) == [Ask(16, Wanted(urgent=True))]
    assert asks(Shares([], (0, 0)), {}, {}) == []


def test_what_is_answered_and_not_on_the_disk_yet_does_not_count_as_slow() -> None:
    known = Destinations(lambda _address: "")
    quick, other = known.of("#quick"), known.of("#other")
    while quick.room(0.0, urgent=True):
        quick.begin(0.0).answered(0.01)
    assert other.room(9.0, urgent=True) == 1
    other.parked = True
    assert not known.may_take_more(9.0)


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    known = Destinations(lambda address: address)
    for number in range(10 * destinations.LARGEST):
        known.of(f"#{number}")
    assert len(known._known) <= destinations.LARGEST  # noqa: SLF001
    assert len(known._hosts) <= destinations.LARGEST  # noqa: SLF001


def test_a_paused_address_is_not_forgotten() -> None:
    known = Destinations(lambda address: address)
    bad = known.of("#bad")
    for _ in range(THRESHOLD):
        place = bad.begin(0.0)
        place.answered(0.0)
        place.free()
        known.failed(bad, Failure.TIMEOUT, 0)
    for number in range(2 * destinations.LARGEST):
        known.of(f"#{number}")
    assert known.of("#bad").is_paused
