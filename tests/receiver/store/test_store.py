"""The store's promises: one transaction, order within a lane, leases, and what survives a crash."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from receiver.incident.delivery import Handling
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Delivered,
    Event,
    Paused,
    Resolve,
    Resumed,
    TimeDue,
    Undelivered,
    UndoResolve,
    Unreached,
)
from receiver.incident.machine import transition
from receiver.incident.matching import choose
from receiver.incident.model import (
    Alert,
    AlertGroup,
    Decision,
    EntryKind,
    Failure,
    Incident,
    Kind,
    Origin,
    Pause,
    PauseKind,
    Plan,
    State,
    Step,
)
from receiver.oncall.contact_rules import Contact
from receiver.oncall.hours import parse as hours
from receiver.policy.routing import Routing
from receiver.store.base import ANY, Ask, Claimed, Given, Sent, Standing, StoreError, Wanted
from receiver.store.postgres.store import PostgresStore
from receiver.store.remembered import Remembered
from receiver.store.sql import outbox, row
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.file import connect
from tests.receiver.example_site import (
    KEY,
    MINUTE,
    P3,
    START,
    Clock,
    a_store,
    an_alert,
    beside,
    beside_file,
    deciding,
    of_group,
    received,
    refusing,
    the_policy,
    the_routing,
)
from tests.receiver.stores import the_store

LEASE = 60.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLStore]:
    opened = await a_store(tmp_path, clock)
    yield opened
    await opened.close()


async def fire(store: SQLStore, clock: Clock, fingerprint: str = "a", starts_at: datetime = START) -> int:
    incident = await store.update(received(an_alert(fingerprint, starts_at=starts_at)), the_policy(), clock.now)
    assert incident is not None
    return incident.id


async def claim(store: SQLStore, clock: Clock, channel: str = "email") -> list[Claimed]:
    return await store.claim(channel, clock.now, LEASE, 10)


async def settle(store: SQLStore, clock: Clock, claimed: Claimed, ref: str) -> None:
    told = Delivered(claimed.notification.round, claimed.notification.target.person)
    await store.settle(claimed, ref, deciding(told, clock.now), clock.now)


async def retry(store: SQLStore, clock: Clock, claimed: Claimed, when: datetime, error: str) -> None:
    await store.retry_at([claimed], when, error, clock.now, spent=0, unreached=lambda _: None)


async def kill(store: SQLStore, clock: Clock, claimed: Claimed, routing: Routing | None = None) -> None:
    notification = claimed.notification
    unreached = deciding(Unreached(notification.target, notification.round, Failure.REFUSED), clock.now, routing)
    await store.dead(
        claimed,
        Failure.REFUSED,
        "550 refused",
        unreached,
        deciding(Undelivered(notification.round), clock.now),
        clock.now,
    )


async def test_an_incident_is_opened_once_with_its_timeline_and_debts(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    assert await fire(store, clock) == number
    stored = await store.incident(number)
    assert stored is not None
    assert [entry.kind for entry in stored[1]] == ["opened", "alert_firing", "paged"]
    assert [c.notification.target.person for c in await claim(store, clock)] == ["linh"]


async def test_when_the_debt_cannot_be_written_there_is_no_incident_either(
    store: SQLStore, clock: Clock, tmp_path: Path
) -> None:
    with refusing(tmp_path, "INSERT ON outbox", "disk full"), pytest.raises(StoreError, match="disk full"):
        await fire(store, clock)
    assert await store.incidents(None, 10) == []


async def test_the_schema_refuses_a_second_open_incident_of_a_group(
    store: SQLStore, clock: Clock, tmp_path: Path
) -> None:
    await fire(store, clock)
    with beside(tmp_path) as other, pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        other.execute("INSERT INTO incident SELECT 99, key, state, priority, opened_at, NULL, NULL, doc FROM incident")


async def test_what_is_claimed_is_claimed_once_until_its_lease_ends(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    first = await claim(store, clock)
    assert len(first) == 1
    assert await claim(store, clock) == []
    clock.forward(seconds=LEASE + 1)
    second = await claim(store, clock)
    assert [c.id for c in second] == [first[0].id]
    assert second[0].attempt == 2
    await settle(store, clock, first[0], "too late")  # fenced: the first attempt holds nothing any more
    await settle(store, clock, second[0], "ref")
    clock.forward(seconds=LEASE + 1)
    assert await claim(store, clock) == []


async def test_a_lane_keeps_its_order_and_its_thread(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    page = (await claim(store, clock, "slack"))[0]
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    assert await claim(store, clock, "slack") == []  # the acknowledgement waits for the page that is under way
    await settle(store, clock, page, "1234.5678")
    following = await claim(store, clock, "slack")
    assert [c.notification.kind for c in following] == [Kind.ACKNOWLEDGED]
    assert following[0].thread == "1234.5678"


async def fire_apart(store: SQLStore, clock: Clock, name: str) -> int:
    """Open an incident of its own."""
    group = of_group(received(an_alert(name)), key=name)
    incident = await store.update(AlertsReceived(group), the_policy(), clock.now)
    assert incident is not None
    return incident.id


def sent(clock: Clock, claimed: Claimed, ref: str = "ref") -> Sent:
    told = Delivered(claimed.notification.round, claimed.notification.target.person)
    return Sent(claimed, ref, deciding(told, clock.now))


async def settle_and_claim(store: SQLStore, clock: Clock, *these: Sent, wanted: Wanted = ANY) -> list[Claimed]:
    asks = (Ask(10, wanted),)
    given = await store.settle_and_claim(these, "slack", clock.now, LEASE, (), lambda *_: iter(asks))
    return [claimed for one in given for claimed in one.claims]


async def test_what_waits_in_the_lane_is_claimed_as_the_one_before_is_settled(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    (page,) = await settle_and_claim(store, clock)
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    assert await settle_and_claim(store, clock) == []
    (following,) = await settle_and_claim(store, clock, sent(clock, page, "1234.5678"))
    assert (following.notification.kind, following.thread) == (Kind.ACKNOWLEDGED, "1234.5678")
    assert store.holds(following)
    assert not store.holds(page) or not isinstance(store, PostgresStore)
    assert await settle_and_claim(store, clock, sent(clock, following)) == []
    stored = await store.incident(number)
    assert stored is not None
    assert [entry.data.notification for entry in stored[1] if entry.kind is EntryKind.TOLD] == [
        Kind.PAGE,
        Kind.ACKNOWLEDGED,
    ]


async def test_what_is_answered_meanwhile_is_not_claimed_by_the_commit_that_settles(
    store: SQLStore, clock: Clock
) -> None:
    first, second = await fire_apart(store, clock, "a"), await fire_apart(store, clock, "b")
    claims = await store.claim("slack", clock.now, LEASE, 1)
    await store.apply(second, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    given = await settle_and_claim(store, clock, *(sent(clock, claimed) for claimed in claims))
    assert [claimed.incident.id for claimed in (*claims, *given)] == [first]


async def test_a_lease_that_another_attempt_has_is_not_settled_with_others(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    (first,) = await settle_and_claim(store, clock)
    clock.forward(seconds=LEASE + 1)
    (second,) = await settle_and_claim(store, clock)
    assert await settle_and_claim(store, clock, sent(clock, first)) == []
    clock.forward(seconds=LEASE + 1)
    (third,) = await settle_and_claim(store, clock)
    assert (first.id, second.attempt, third.attempt) == (third.id, 2, 3)


async def test_one_that_cannot_be_settled_takes_nobody_elses_outcome_with_it(store: SQLStore, clock: Clock) -> None:
    for name in "ab":
        await fire_apart(store, clock, name)
    poisoned, other = await settle_and_claim(store, clock)

    def fail(_incident: Incident) -> Decision:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await settle_and_claim(store, clock, Sent(poisoned, "ref", fail), sent(clock, other))
    clock.forward(seconds=LEASE + 1)
    assert [claimed.id for claimed in await settle_and_claim(store, clock)] == [poisoned.id]


async def test_what_is_asked_for_next_may_depend_on_what_was_given(store: SQLStore, clock: Clock) -> None:
    for name in "abc":
        await fire_apart(store, clock, name)
    (page,) = await store.claim("slack", clock.now, LEASE, 1)
    address = page.notification.target.address
    await store.park(address, [page], "slack")
    seen = list[tuple[dict[str, int], int]]()

    def asking(ranks: Mapping[str, int], given: Sequence[Given]) -> Iterator[Ask]:
        while len(given) < 5 and (not given or given[-1].claims):
            seen.append((dict(ranks), len(given)))
            yield Ask(1, Wanted(address))

    given = await store.settle_and_claim([], "slack", clock.now, LEASE, [address, "nobody"], asking)
    assert [len(one.claims) for one in given] == [1, 1, 1, 0]
    assert seen == [({address: 0}, number) for number in range(4)]


async def test_a_page_that_was_not_sent_dies_with_its_resolve(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    told = await claim(store, clock, "slack")
    await settle(store, clock, told[0], "1")
    await store.apply(number, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    assert await claim(store, clock, "email") == []
    assert await claim(store, clock, "pagerduty") == []
    assert [c.notification.kind for c in await claim(store, clock, "slack")] == [Kind.RESOLVED]


async def test_a_page_in_doubt_is_followed_by_its_resolve(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    page = (await claim(store, clock))[0]
    await retry(store, clock, page, clock.now + MINUTE, "timeout")  # it may have arrived
    await store.apply(number, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    clock.forward(minutes=2)
    assert [c.notification.kind for c in await claim(store, clock)] == [Kind.RESOLVED]


async def test_a_page_that_fails_after_the_acknowledgement_is_not_tried_again(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    page = (await claim(store, clock))[0]
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    await retry(store, clock, page, clock.now, "503")
    assert [c.notification.kind for c in await claim(store, clock)] == [Kind.ACKNOWLEDGED]


async def test_a_retry_waits_for_its_time(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    page = (await claim(store, clock))[0]
    await retry(store, clock, page, clock.now + timedelta(seconds=30), "503")
    assert await claim(store, clock) == []
    clock.forward(seconds=30)
    assert [c.attempt for c in await claim(store, clock)] == [2]


async def test_when_a_whole_round_is_dead_the_next_step_is_taken_in_the_same_transaction(
    store: SQLStore, clock: Clock
) -> None:
    number = await fire(store, clock)
    for channel in ("pagerduty", "email", "slack"):
        (claimed,) = await claim(store, clock, channel)
        await kill(store, clock, claimed)
        stored = await store.incident(number)
        assert stored is not None
        assert stored[0].delivery.rounds == (2 if channel == "slack" else 1)
    assert [c.notification.target.person for c in await claim(store, clock)] == ["marek"]


async def test_due_lists_what_waits_for_the_clock_and_an_answer_takes_it_off(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    clock.forward(minutes=15)
    assert await store.due(clock.now) == [number]
    await store.apply(number, deciding(TimeDue(), clock.now), clock.now)
    assert await store.due(clock.now) == []
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    clock.forward(days=1)
    assert await store.due(clock.now) == []


async def test_a_new_process_sends_what_the_dead_one_had_leased(tmp_path: Path, clock: Clock) -> None:
    first = await a_store(tmp_path, clock)
    await fire(first, clock)
    held = await claim(first, clock)
    await first.close()  # nothing is settled, as after kill -9
    clock.forward(seconds=LEASE + 1)  # where others share the database, only the end of a lease says that nobody sends
    second = await a_store(tmp_path, clock)
    assert [c.id for c in await claim(second, clock)] == [c.id for c in held]
    await second.close()


async def test_an_answered_page_of_a_dead_process_is_not_sent_again(tmp_path: Path, clock: Clock) -> None:
    first = await a_store(tmp_path, clock)
    number = await fire(first, clock)
    await claim(first, clock)
    await first.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    await first.close()
    clock.forward(seconds=LEASE + 1)
    second = await a_store(tmp_path, clock)
    assert [c.notification.kind for c in await claim(second, clock)] == [Kind.ACKNOWLEDGED]
    await second.close()


@pytest.mark.sqlite("PostgreSQL has many")
async def test_a_second_process_on_the_same_file_is_refused(store: SQLStore, tmp_path: Path, clock: Clock) -> None:
    assert store is not None
    with pytest.raises(StoreError, match="another receiver uses this file"):
        await a_store(tmp_path, clock)


@pytest.mark.sqlite("test_postgres_schema.py has the same")
async def test_the_file_of_a_newer_receiver_is_refused(tmp_path: Path, clock: Clock) -> None:
    with beside_file(tmp_path) as newer:
        newer.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="newer receiver"):
        await a_store(tmp_path, clock)


async def test_the_next_incident_of_a_group_remembers_what_is_over(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    await store.apply(number, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    clock.forward(minutes=11)
    assert await store.update(received(an_alert()), the_policy(), clock.now) is None
    newer = received(an_alert(starts_at=START + MINUTE))
    following = await store.update(newer, the_policy(), clock.now)
    assert following is not None
    assert following.id == number + 1


async def test_the_same_debt_is_owed_once(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    (claimed,) = await claim(store, clock)
    twice = (claimed.notification, claimed.notification)

    def again(incident: Incident) -> Decision:
        return Decision(deciding(received(an_alert("b")), clock.now)(incident).incident, twice)

    await store.apply(number, again, clock.now)
    clock.forward(seconds=LEASE + 1)
    assert len(await claim(store, clock)) == 1


async def test_the_backlog_is_what_the_metrics_show(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    await store.beat("alertmanager", clock.now)
    backlog = await store.backlog()
    assert backlog.open_incidents == {(State.TRIGGERED, "P1"): 1}
    assert backlog.oldest_unacknowledged == {"P1": START}
    assert backlog.oldest_owed == dict.fromkeys(("pagerduty", "slack", "email"), START)
    assert backlog.heartbeats == {"alertmanager": START}
    (one,) = backlog.most_urgent
    assert (one.state, one.priority, one.opened_at, one.acknowledged_by) == (State.TRIGGERED, "P1", START, "")
    await store.apply(one.id, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    (one,) = (await store.backlog()).most_urgent
    assert (one.state, one.acknowledged_by) == (State.ACKNOWLEDGED, "linh")


async def test_it_is_overdue_by_its_own_response_time(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)

    def promised(seconds: float) -> Callable[[Incident], Decision]:
        def decide(incident: Incident) -> Decision:
            plan = msgspec.structs.replace(incident.plan, response_time=seconds)
            clocks = msgspec.structs.replace(incident.clocks, answer_due_at=None)  # it was not kept, and that was said
            return Decision(msgspec.structs.replace(incident, plan=plan, clocks=clocks))

        return decide

    for seconds, due in ((900.0, {"P1": START + timedelta(minutes=15)}), (0.0, {})):
        await store.apply(number, promised(seconds), clock.now)
        backlog = await store.backlog()
        assert (backlog.oldest_unacknowledged, backlog.first_due) == ({"P1": START}, due)


async def test_what_waits_for_nobody_is_not_called_unacknowledged(store: SQLStore, clock: Clock) -> None:
    """Nobody could acknowledge it sooner: it is silenced, or fires again, or waits for the hours of its first step."""

    async def waits(priority: str = "P1") -> timedelta | None:
        since = (await store.backlog()).oldest_unacknowledged.get(priority)
        return clock.now - since if since is not None else None

    async def happens(event: Event) -> None:
        await store.apply(1, deciding(event, clock.now), clock.now)

    await fire(store, clock)
    clock.forward(minutes=10)
    await happens(Paused(Pause(PauseKind.SILENCE, "s")))
    clock.forward(hours=8)
    assert await waits() is None
    await happens(Resumed())
    assert await waits() == 10 * MINUTE
    await happens(Resolve("linh", Origin.API))
    clock.forward(minutes=9)
    await fire(store, clock, starts_at=clock.now)
    assert await waits() == 0 * MINUTE
    routing = the_routing()
    plans = {**routing.plans, P3: Plan((Step(0, ("cto",), "office"),), 900.0)}
    by_day = msgspec.structs.replace(routing, plans=plans, hours={"office": hours("09:00-18:00", [], "UTC")})
    clock.now = START + timedelta(days=1, hours=16)  # 19:00
    group = of_group(received(an_alert("b", severity="info", starts_at=clock.now)), key="another")
    await store.update(AlertsReceived(group), by_day, clock.now)
    assert await waits("P3") == timedelta(hours=-14)
    clock.forward(hours=14.5)
    assert await waits("P3") == 30 * MINUTE


async def test_a_storm_lists_the_fifty_most_urgent_incidents(store: SQLStore, clock: Clock) -> None:
    for number in range(60):
        priority = "P1" if number == 59 else "P4"
        group = AlertGroup(f"group {number}", (an_alert(f"a{number}", priority=priority),), receiver="receiver")
        await store.update(AlertsReceived(group), the_policy(), clock.now)
        clock.forward(seconds=1)
    listed = (await store.backlog()).most_urgent
    assert [len(listed), listed[0].priority, {one.priority for one in listed[1:]}] == [50, "P1", {"P4"}]
    assert [one.opened_at for one in listed[1:]] == sorted(one.opened_at for one in listed[1:] if one.opened_at)


async def test_a_group_that_was_renamed_keeps_its_incident(store: SQLStore, clock: Clock) -> None:
    alerts = [an_alert(name) for name in "abcd"]
    old = AlertGroup("receiver|old", tuple(alerts), receiver="receiver")
    first = await store.update(AlertsReceived(old), the_policy(), clock.now)
    assert first is not None
    await store.apply(first.id, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    for key, members in (("receiver|new", alerts[:2]), ("receiver|newer", alerts[2:])):
        group = AlertGroup(key, tuple(members), receiver="receiver")
        moved = await store.update(AlertsReceived(group), the_policy(), clock.now)
        assert moved is not None
        assert (moved.id, moved.acknowledged_by) == (first.id, "linh")
    foreign = AlertGroup("receiver|else", (*alerts[:1], an_alert("x"), an_alert("y")), receiver="receiver")
    other = await store.update(AlertsReceived(foreign), the_policy(), clock.now)
    assert other is not None
    assert other.id != first.id
    elsewhere = AlertGroup("another|new", tuple(alerts), receiver="another")
    third = await store.update(AlertsReceived(elsewhere), the_policy(), clock.now)
    assert third is not None
    assert third.id not in {first.id, other.id}  # the same alerts by another route are another incident


async def test_what_fires_again_reopens_the_stored_incident(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    over = received(an_alert(firing=False))
    await store.update(over, the_policy(), clock.now)
    clock.forward(minutes=5)
    again = received(an_alert(starts_at=clock.now))
    reopened = await store.update(again, the_policy(), clock.now)
    assert reopened is not None
    assert (reopened.id, reopened.state) == (number, State.TRIGGERED)


async def test_a_reminder_that_is_not_out_yet_dies_with_the_answer(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    for channel in ("email", "slack", "pagerduty"):
        for page in await claim(store, clock, channel):
            await settle(store, clock, page, "")
    clock.forward(minutes=15)
    await store.apply(number, deciding(TimeDue(), clock.now), clock.now)
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    kinds = {c.notification.kind for c in await claim(store, clock)}
    assert kinds == {Kind.ACKNOWLEDGED}


async def test_an_alert_that_is_over_belongs_to_nobody(store: SQLStore, clock: Clock) -> None:
    old = AlertGroup("receiver|old", (an_alert("a"), an_alert("b")), receiver="receiver")
    first = await store.update(AlertsReceived(old), the_policy(), clock.now)
    over = AlertGroup("receiver|old", (an_alert("a", firing=False),), receiver="receiver")
    await store.update(AlertsReceived(over), the_policy(), clock.now)
    anew = AlertGroup("receiver|new", (an_alert("a", starts_at=START + MINUTE),), receiver="receiver")
    second = await store.update(AlertsReceived(anew), the_policy(), clock.now)
    assert first is not None
    assert second is not None
    assert second.id != first.id


async def test_an_end_that_was_not_sent_yet_is_told_once_whatever_came_between(store: SQLStore, clock: Clock) -> None:
    async def hear(*, firing: bool) -> Incident | None:
        alert = an_alert(firing=firing, starts_at=clock.now, ends_at=None if firing else clock.now, severity="none")
        return await store.update(received(alert), the_policy(), clock.now)

    await hear(firing=True)
    clock.forward(hours=1)  # a P4 pages an hour after it fires
    await store.apply(1, deciding(TimeDue(), clock.now), clock.now)
    for page in await claim(store, clock):
        await settle(store, clock, page, "")
    for firing in (False, True):  # reopened before its end was sent, and over again before anybody was paged
        await hear(firing=firing)
        clock.forward(minutes=1)
    resolved = await hear(firing=False)
    assert resolved is not None
    assert resolved.state is State.RESOLVED
    assert [c.notification.kind for c in await claim(store, clock)] == [Kind.RESOLVED]


async def test_what_has_become_pointless_is_not_retried(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    for channel in ("email", "slack", "pagerduty"):
        for page in await claim(store, clock, channel):
            await settle(store, clock, page, "")
    clock.forward(minutes=15)
    await store.apply(number, deciding(TimeDue(), clock.now), clock.now)
    pending = await claim(store, clock)
    assert {c.notification.kind for c in pending} == {Kind.REMINDER, Kind.PAGE}
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    for claimed in pending:
        await retry(store, clock, claimed, clock.now, "503")
    assert {c.notification.kind for c in await claim(store, clock)} == {Kind.ACKNOWLEDGED}


async def test_what_is_read_waits_for_no_commit(store: SQLStore, clock: Clock) -> None:
    number = await fire(store, clock)
    committing, goes_on = threading.Event(), threading.Event()

    def slow(before: Incident) -> Decision:
        committing.set()
        assert goes_on.wait(60)
        return transition(before, Acknowledge("linh", Origin.LINK), the_policy(), clock.now)

    commit = asyncio.ensure_future(store.apply(number, slow, clock.now))
    await asyncio.to_thread(committing.wait, 60)
    read = [i for i in await store.still_open() if i.state is State.TRIGGERED]
    assert [i.id for i in read] == [number]
    assert (await store.backlog()).open_incidents == {("triggered", "P1"): 1}
    goes_on.set()
    await commit
    (after,) = await store.still_open()
    assert after.state is State.ACKNOWLEDGED


async def test_of_what_is_open_only_the_wanted_is_read(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock, "a")
    other = await store.update(AlertsReceived(of_group(received(an_alert("b")), "other")), the_policy(), clock.now)
    assert other is not None
    wanted = await store.still_open(lambda one: "b" in one.alerts and one.alerts["b"].firing)
    assert [incident.id for incident in wanted] == [other.id]


async def test_only_what_has_changed_is_decoded_again(tmp_path: Path, store: SQLStore, clock: Clock) -> None:
    numbers = []
    for name in ("a", "b", "c", "d"):
        incident = await store.update(AlertsReceived(of_group(received(an_alert(name)), name)), the_policy(), clock.now)
        assert incident is not None
        numbers.append(incident.id)
    remembered = Remembered()
    first = {one.id: one for one in await store.still_open(remembered=remembered)}

    acknowledge = deciding(Acknowledge("linh", Origin.LINK), clock.now)
    await store.apply(numbers[1], acknowledge, clock.now)
    await store.apply(numbers[2], deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    with beside(tmp_path) as db:  # another program, which tells nobody of it
        doc = db.execute("SELECT doc FROM incident WHERE id = ?", (numbers[3],)).fetchone()[0]
        db.execute("UPDATE incident SET doc = ? WHERE id = ?", (doc.replace(b"High", b"Higher"), numbers[3]))
    second = {one.id: one for one in await store.still_open(remembered=remembered)}

    assert list(second.values()) == await store.still_open()
    assert second.keys() == {numbers[0], numbers[1], numbers[3]}
    assert second[numbers[0]] is first[numbers[0]]
    assert second[numbers[1]].acknowledged_by == "linh"
    assert second[numbers[3]] is not first[numbers[3]]
    with beside(tmp_path) as db:
        stored = db.execute("SELECT sum(length(doc)) FROM incident WHERE state <> 'resolved'").fetchone()
    assert remembered.size == stored[0]


async def test_what_is_remembered_is_bounded(store: SQLStore, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        await store.update(AlertsReceived(of_group(received(an_alert(name)), name)), the_policy(), clock.now)
    everything = await store.still_open()
    remembered = Remembered(most=1 + len(msgspec.json.encode(everything[0])))
    for _ in range(3):
        assert await store.still_open(remembered=remembered) == everything
        assert 0 < remembered.size <= 1 + len(msgspec.json.encode(everything[0]))


@pytest.mark.sqlite("PostgreSQL packs large values by itself")
async def test_what_was_over_a_while_ago_is_packed_and_reads_the_same(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    def stored() -> list[bool]:
        with beside(tmp_path) as db:
            return [doc.startswith(b"{") for (doc,) in db.execute("SELECT doc FROM incident ORDER BY id")]

    for name in ("a", "b", "c", "d"):  # the first three at the same moment
        incident = await store.update(AlertsReceived(of_group(received(an_alert(name)), name)), the_policy(), clock.now)
        assert incident is not None
        if name == "d":
            clock.forward(hours=1)
        await store.apply(incident.id, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now)
    await store.update(AlertsReceived(of_group(received(an_alert("e")), "e")), the_policy(), clock.now)
    before = await store.incidents(None, 10)
    counts = [await store.pack(clock.now, 2) for _ in range(3)]
    assert (counts, stored()) == ([2, 1, 0], [False, False, False, True, True])
    assert await store.incidents(None, 10) == before
    assert [one.incident.id async for one in store.opened_between(START, clock.now)] == [1, 2, 3, 4]
    assert [incident.id for incident, _ in await store.resolved_before(clock.now, 10)] == [1, 2, 3]
    late = await store.apply(1, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    assert late is not None
    assert (await store.incident(1) or (None,))[0] == late
    clock.forward(days=1)
    assert [await store.pack(clock.now, 50), await store.pack(clock.now, 50)] == [1, 0]
    again = await store.update(AlertsReceived(of_group(received(an_alert("a")), "a")), the_policy(), clock.now)
    assert again is None or again.id == 1  # what it was told by hand is known though it was packed


async def test_who_sends_is_woken_when_something_may_be_sent_and_only_then(tmp_path: Path, clock: Clock) -> None:
    woken: list[datetime] = []
    store = the_store(tmp_path, clock, lambda: woken.append(clock.now))
    await store.open(clock.now)

    async def wakes(change: Awaitable[object]) -> bool:
        woken.clear()
        await change
        return bool(woken)

    news = received(an_alert())
    assert await wakes(store.update(news, the_policy(), clock.now))
    assert not await wakes(store.update(news, the_policy(), clock.now))  # it says nothing new
    quiet = AlertsReceived(AlertGroup("quiet", (an_alert("b", severity="none"),), receiver="receiver"))
    assert not await wakes(store.update(quiet, the_policy(), clock.now))  # nobody is told of it at once
    claimed, *_ = await store.claim("email", clock.now, LEASE, 10)
    assert await wakes(settle(store, clock, claimed, "ref"))  # the next of its lane may be sent
    assert await wakes(store.apply(1, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now))
    assert await wakes(store.apply(1, deciding(Resolve("linh", Origin.LINK), clock.now), clock.now))

    def undone(before: Incident, _standing: Standing) -> Decision:
        return transition(before, UndoResolve("linh", Origin.LINK), the_policy(), clock.now)

    assert await wakes(store.answer(1, undone, clock.now))
    await store.close()


async def test_what_is_done_for_each_row_looks_through_no_table(tmp_path: Path, clock: Clock) -> None:
    db = connect(tmp_path / "receiver.sqlite3", clock.now, {}, new=True)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    hold, policy, event = (lambda _: Handling(timedelta(seconds=1))), the_policy(), received(an_alert())
    new = choose(event, row.Known(db), policy, clock.now)
    fired = row.save(db, new, transition(new, event, policy, clock.now), hold, clock.now).after
    assert fired is not None
    at = clock.now.timestamp()
    (leased,) = outbox.lease(db, "email", clock.now, at + 90, 9, ANY)
    assert outbox.retry(db, leased[0], 1, clock.now, "503", 1.0, elsewhere=False)
    outbox.finish(db, leased[0], 1, "sent", clock.now)
    assert not outbox.round_is_dead(db, fired.id, 1)
    assert outbox.thread(db, fired.id, "email:linh@example.com") == ""
    row.save(db, fired, transition(fired, Acknowledge("linh", Origin.LINK), policy, clock.now), hold, clock.now)
    assert row.timeline(db, fired.id)
    db.set_trace_callback(None)
    plans = [(one, [str(line[3]) for line in db.execute(f"EXPLAIN QUERY PLAN {one}")]) for one in statements]
    db.close()
    assert len(plans) > 15
    small = ("json_each", "CONSTANT", "(subquery-", "SCAN part")
    scans = [o for o, plan in plans for line in plan if line.startswith("SCAN") and not any(s in line for s in small)]
    assert scans == []


def pods(number: int, now: datetime, *, firing: bool) -> list[Alert]:
    begun = now if firing else now - 5 * MINUTE
    names = (f"pod-{number}-{pod}" for pod in range(60))
    return [an_alert(name, firing=firing, starts_at=begun, ends_at=None if firing else now, pod=name) for name in names]


async def test_a_group_without_end_costs_the_same_at_its_end(store: SQLStore, clock: Clock, tmp_path: Path) -> None:
    sizes, lines, incident = list[int](), list[int](), None
    for number in range(30):
        clock.forward(minutes=5)
        alerts = pods(number, clock.now, firing=True) + pods(number - 1, clock.now, firing=False)
        event = AlertsReceived(AlertGroup(KEY, tuple(alerts), receiver="receiver"))
        incident = await store.update(event, the_policy(), clock.now)
        with beside(tmp_path) as db:
            sizes.append(db.execute("SELECT length(doc) FROM incident").fetchone()[0])
            lines.append(db.execute("SELECT count(*) FROM timeline").fetchone()[0])
    assert incident is not None
    assert (len(incident.firing), len(incident.alerts), incident.unlisted) == (60, 60 + 50, 29 * 60 - 50)
    assert max(sizes[2:]) < 1.05 * sizes[2]
    assert lines[-1] - lines[-2] == 22  # ten of each named, the others counted


async def test_what_a_channel_cannot_send_is_neither_owed_nor_told(tmp_path: Path, clock: Clock) -> None:
    def handling(channel: str) -> Handling:
        return Handling(kinds=frozenset({Kind.PAGE})) if channel == "pagerduty" else Handling()

    store = the_store(tmp_path, clock, lambda: None, handling=handling)
    await store.open(clock.now)
    number = await fire(store, clock)
    for channel in ("email", "slack", "pagerduty"):
        for page in await claim(store, clock, channel):
            await settle(store, clock, page, "ref")
    clock.forward(minutes=15)
    await store.apply(number, deciding(TimeDue(), clock.now), clock.now)
    kinds = {
        channel: {c.notification.kind for c in await claim(store, clock, channel)} for channel in ("pagerduty", "slack")
    }
    assert kinds == {"pagerduty": {Kind.PAGE}, "slack": {Kind.PAGE}}
    await store.close()


@pytest.mark.sqlite("its settings")
@pytest.mark.parametrize(
    ("pragma", "value"), [("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 5000)]
)
def test_what_is_answered_2xx_survives_a_power_cut(tmp_path: Path, pragma: str, value: object) -> None:
    """sqlite.org/pragma.html#pragma_synchronous: 2 is FULL; with less, a commit may be lost with the power."""
    with closing(connect(tmp_path / "receiver.sqlite3", START, {}, new=True)) as db:
        assert db.execute(f"PRAGMA {pragma}").fetchone() == (value,)


async def test_an_open_incident_is_never_deleted_and_loses_none_of_its_rows(
    store: SQLStore, clock: Clock, tmp_path: Path
) -> None:
    event = AlertsReceived(AlertGroup(KEY, (an_alert(),), receiver="receiver"))
    opened = await store.update(event, the_policy(), clock.now)
    assert opened is not None

    def rows() -> list[int]:
        tables = ("incident", "timeline", "outbox", "member")
        with beside(tmp_path) as db:
            return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608

    before = rows()
    for answer in (None, Acknowledge("linh", Origin.API)):
        if answer is not None:
            await store.apply(opened.id, deciding(answer, clock.now), clock.now)
            before = rows()
        await store.delete([opened.id])
        assert rows() == before
    await store.apply(opened.id, deciding(Resolve("linh", Origin.API), clock.now), clock.now)
    await store.delete([opened.id])
    assert rows() == [0, 0, 0, 0]


LAST_RESORT = msgspec.structs.replace(the_routing(), fallbacks=(Contact("sms", "+49 30 1234"),))


async def last_resort(store: SQLStore, clock: Clock) -> list[str]:
    return [claimed.notification.target.address for claimed in await claim(store, clock, "sms")]


async def test_the_last_resort_waits_for_the_persons_other_ways(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    (ring,), (mail,) = await claim(store, clock, "pagerduty"), await claim(store, clock)
    await kill(store, clock, ring, LAST_RESORT)
    assert await last_resort(store, clock) == []
    await settle(store, clock, mail, "ref")
    assert await last_resort(store, clock) == []


@pytest.mark.parametrize("turned", [False, True])
async def test_the_last_of_a_persons_ways_to_fail_goes_to_the_last_resort_at_once(
    store: SQLStore, clock: Clock, turned: bool
) -> None:
    await fire(store, clock)
    pages = [*await claim(store, clock, "pagerduty"), *await claim(store, clock)]
    first, last = pages[::-1] if turned else pages
    await asyncio.gather(kill(store, clock, first, LAST_RESORT), kill(store, clock, last, LAST_RESORT))
    assert await last_resort(store, clock) == ["+49 30 1234"]


async def test_a_receiver_that_dies_between_two_failures_pages_the_last_resort(
    store: SQLStore, clock: Clock, tmp_path: Path
) -> None:
    await fire(store, clock)
    (ring,) = await claim(store, clock, "pagerduty")
    await claim(store, clock)
    await kill(store, clock, ring, LAST_RESORT)
    await store.close()
    clock.forward(seconds=LEASE + 1)
    again = await a_store(tmp_path, clock)
    (mail,) = await claim(again, clock)
    await kill(again, clock, mail, LAST_RESORT)
    assert await last_resort(again, clock) == ["+49 30 1234"]
    await again.close()


async def test_what_has_been_late_keeps_nobody_waiting(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    clock.forward(minutes=2)
    (late,) = await store.late_pages("email", clock.now, 10)
    nothing = deciding(Unreached(late.notification.target, 0, Failure.TIMEOUT), clock.now)  # there was none yet
    await store.look_elsewhere(late, nothing, clock.now)
    (ring,) = await claim(store, clock, "pagerduty")
    await kill(store, clock, ring, LAST_RESORT)
    assert await last_resort(store, clock) == ["+49 30 1234"]


async def test_a_place_of_the_team_that_fails_waits_for_the_people(store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    (place, *_) = await claim(store, clock, "slack")
    assert not place.notification.target.person
    await kill(store, clock, place, LAST_RESORT)
    assert await last_resort(store, clock) == []
    for claimed in (*await claim(store, clock, "pagerduty"), *await claim(store, clock)):
        await kill(store, clock, claimed, LAST_RESORT)
    assert await last_resort(store, clock) == ["+49 30 1234"]
