"""Several receivers on one database: hints, leases that are taken over, and who leads."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.channels import push
from receiver.incident.event import Delivered
from receiver.store.access import Session, Token
from receiver.store.audit import Act
from receiver.store.postgres import connection, leases, listen, turns
from receiver.store.postgres.clock import DatabaseClock
from receiver.store.postgres.connection import Login
from receiver.store.postgres.queue import LOCK
from receiver.store.postgres.store import PostgresStore
from receiver.store.sql import access
from receiver.workers.same_config import DifferentConfigError, SameConfig
from receiver.workers.unserved import Unserved
from tests.receiver.example_site import START, Clock, an_alert, beside, deciding, received, the_policy
from tests.receiver.store.postgres_server import a_proxy
from tests.receiver.stores import conninfo

pytestmark = pytest.mark.postgres


@dataclass
class One:
    """One receiver's store, and what it hears of others."""

    store: PostgresStore
    woken: list[float] = field(default_factory=list)
    heard: list[Collection[int] | None] = field(default_factory=list)
    duty: list[bool] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def hears(self, number: int) -> None:
        """Wait until it has heard of an incident."""
        async with asyncio.timeout(20):
            while not any(one is None or number in one for one in self.heard):
                await self.told.wait()
                self.told.clear()


async def a_receiver(folder: Path, *, off: float = 0.0, there: str = "", channels: tuple[str, ...] = ()) -> One:
    """``off``: by how many seconds its own clock is wrong; ``there``: how it connects, if by another way."""
    own = Clock()
    own.forward(seconds=off)
    woken, heard, duty = list[float](), list[Collection[int] | None](), list[bool]()

    def hear(incidents: Collection[int] | None, *, duty: bool) -> None:
        heard.append(incidents)
        one.duty.append(duty)
        one.told.set()

    store = PostgresStore(
        Login(there or conninfo(folder)),
        lambda: woken.append(time.monotonic()),
        clock=DatabaseClock(own, time.monotonic),
        elapsed=time.monotonic,
        heard=hear,
        channels=channels,
    )
    one = One(store, woken, heard, duty)
    await store.open(own.now)
    assert await asyncio.to_thread(store._listener.listens.wait, 20)  # noqa: SLF001
    return one


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[One, One]]:
    first = await a_receiver(tmp_path)
    second = await a_receiver(tmp_path, off=30)
    yield first, second
    for one in (first, second):
        await one.store.close()


async def open_incident(store: PostgresStore) -> int:
    incident = await store.update(received(an_alert("a")), the_policy(), store.clock())
    assert incident is not None
    return incident.id


async def test_a_commit_is_heard_by_the_other_and_wakes_its_dispatchers(two: tuple[One, One]) -> None:
    one, other = two
    number = await open_incident(one.store)
    await other.hears(number)
    assert other.woken
    assert not one.heard  # nobody hears of its own


async def test_what_was_being_told_when_the_connection_broke_is_told_again(tmp_path: Path) -> None:
    there = conninfo(tmp_path)
    port = conninfo_to_dict(there)["port"]
    with a_proxy(int(str(port))) as proxy:
        first = await a_receiver(tmp_path, there=make_conninfo(there, port=proxy.port))
        second = await a_receiver(tmp_path)
        proxy.cut_on_way_there = b"pg_notify"
        await second.hears(await open_incident(first.store))
        assert proxy.cuts == 1
        for one in (first, second):
            await one.store.close()


async def test_changes_of_who_serves_are_told_as_nothing_else(two: tuple[One, One]) -> None:
    one, other = two
    act = Act(one.store.clock(), "anna", "session", "", "person.awake", "")
    await one.store.duty.set_awake("anna", one.store.clock() + timedelta(hours=1), act)
    async with asyncio.timeout(20):
        await other.told.wait()
    assert (other.heard, other.duty, other.woken) == ([()], [True], [])


async def test_the_end_of_a_session_or_token_is_told(two: tuple[One, One], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_SESSIONS", 1)
    one, other = two
    now, ended = one.store.clock(), asyncio.Queue[int]()
    other.store.access.ended = lambda: ended.put_nowait(1)
    act = Act(now, "anna", "session", "", "session.end", "")
    session = Session("anna", "Anna", "password", now, now, now + timedelta(days=1), "", "")
    await one.store.access.begin_session(b"a" * 32, session, act)
    token = await one.store.access.add_token(b"b" * 32, Token("script", "act", "anna", now), act)
    async with asyncio.timeout(20):
        later = await one.store.access.begin_session(b"c" * 32, session, act)  # for which the oldest one ends
        await ended.get()
        assert await one.store.access.session(b"a" * 32, now) is None
        assert await one.store.access.end_session(later.id, act)
        await ended.get()
        assert await one.store.access.revoke_token(token.id, act)
        await ended.get()
        await one.store.erasing.erase("anna", ["Anna Nowak"], act)
        await ended.get()
    assert other.heard == [()] * 4
    assert other.duty == [False, False, False, True]


async def test_what_cannot_be_told_for_long_is_told_as_anything_may_have_changed(two: tuple[One, One]) -> None:
    one, other = two
    listener = one.store._listener  # noqa: SLF001
    listener.tell(range(listen._MOST + 1), owes=True)  # noqa: SLF001
    assert listener._untold is None  # noqa: SLF001  # whatever else comes takes no room
    listener.tell({7}, owes=True)
    async with asyncio.timeout(20):
        await other.told.wait()
    assert other.heard[0] is None


async def test_who_stops_tells_what_it_has_committed_last(two: tuple[One, One]) -> None:
    one, other = two
    one.store._listener.tell({7})  # noqa: SLF001
    await one.store.close()
    await other.hears(7)


async def test_installations_with_a_schema_each_hear_nothing_of_each_other(
    two: tuple[One, One], tmp_path: Path
) -> None:
    one, other = two
    stranger = await a_receiver(tmp_path / "another")
    await open_incident(stranger.store)
    await stranger.store.close()  # by now it has told
    await other.store.duty.set_awake("anna", one.store.clock() + timedelta(hours=1), Act(START, "", "", "", "", ""))
    async with asyncio.timeout(20):
        await one.told.wait()  # what came after is heard
    assert one.heard == [()]


async def test_all_have_the_databases_time(two: tuple[One, One]) -> None:
    one, other = two
    assert abs(one.store.clock() - other.store.clock()) < timedelta(seconds=2)  # one of both is half a minute off


async def test_one_leads_and_another_takes_over_when_it_stops(two: tuple[One, One]) -> None:
    one, other = two
    assert (one.store.leads, other.store.leads) == (True, False)
    await one.store._database_writer.run(lambda db: turns.leave(db, one.store.owner))  # noqa: SLF001  # as close does
    await other.store.be_present()
    assert other.store.leads


async def test_what_is_being_sent_is_not_claimed_by_another_until_its_lease_is_over(
    two: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    await open_incident(one.store)
    claimed = await one.store.claim("email", one.store.clock(), 60.0, 10)
    assert claimed
    assert await other.store.claim("email", other.store.clock(), 60.0, 10) == []
    await one.store.renew_leases()
    later = other.store.clock() + timedelta(seconds=leases.LENGTH + 1)
    taken = await other.store.claim("email", later, 60.0, 10)
    assert [each.id for each in taken] == [each.id for each in claimed]
    # The one that was paused comes back: its attempt is not the newest any more, and settles nothing.
    now = one.store.clock()
    await one.store.settle(claimed[0], "ref-of-the-dead", deciding(Delivered(claimed[0].notification.round), now), now)
    assert await other.store.claim("email", later, 60.0, 10) == []  # still the other's
    await other.store.settle(taken[0], "ref", deciding(Delivered(taken[0].notification.round), later), later)


def leased_until(folder: Path) -> float:
    with beside(folder) as db:
        return float(db.execute("SELECT max(lease_until) FROM outbox").fetchone()[0])


async def test_a_lease_is_renewed_when_a_turn_takes_longer_than_anybody_waits_for_one(
    two: tuple[One, One], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk: at the next round it may be over, and another receiver would send the same."""
    monkeypatch.setitem(connection._SETTINGS, "lock_timeout", "200ms")  # noqa: SLF001
    one, _ = two
    await open_incident(one.store)
    assert await one.store.claim("email", one.store.clock(), 60.0, 10)
    before = leased_until(tmp_path)
    await one.store._writer.run(lambda _: one.store._writing.drop())  # noqa: SLF001  # the next has that timeout
    renew, _ = one.store.rounds()["leases"]
    with psycopg.connect(conninfo(tmp_path)) as slow:
        slow.execute(LOCK.encode())
        renewing = asyncio.ensure_future(renew())
        await asyncio.to_thread(slow.execute, "SELECT pg_sleep(1)")
        assert not renewing.done()
        slow.rollback()
    await renewing
    assert leased_until(tmp_path) > before


async def test_a_lease_is_renewed_for_as_long_as_it_is_held(two: tuple[One, One]) -> None:
    one, other = two
    await open_incident(one.store)
    (claimed,) = await one.store.claim("email", one.store.clock(), 60.0, 10)
    before = other.store.clock()
    await asyncio.sleep(0.05)
    await one.store.renew_leases()
    over = before + timedelta(seconds=leases.LENGTH + 0.01)
    assert await other.store.claim("email", over, 60.0, 10) == []
    await one.store.retry_at([claimed], over, "no", before, spent=1.0, unreached=lambda _: None)
    await one.store.renew_leases()
    assert len(await other.store.claim("email", over, 60.0, 10)) == 1


async def test_what_a_dead_receiver_served_alone_is_everybodys_again(
    two: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    await open_incident(one.store)
    (claimed,) = await one.store.claim("email", one.store.clock(), 60.0, 10)
    await one.store.park(claimed.notification.target.address, [claimed], "email")
    assert await other.store.claim("email", other.store.clock(), 60.0, 10) == []
    await other.store.be_present()
    assert await other.store.claim("email", other.store.clock(), 60.0, 10) == []
    real = other.store.clock
    monkeypatch.setattr(other.store, "clock", lambda: real() + timedelta(seconds=turns.LENGTH + 1))
    await other.store.be_present()  # the first has said nothing for longer than a turn
    assert len(await other.store.claim("email", real(), 60.0, 10)) == 1


async def test_what_is_owed_on_a_channel_that_another_receiver_has_already_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await a_receiver(tmp_path)
    newer = await a_receiver(tmp_path, channels=("email", "pagerduty"))
    await open_incident(older.store)  # of which both are told
    ended = list[str]()

    class Ends:
        def __init__(self, name: str) -> None:
            self.name = name

        async def run_once(self) -> None:
            ended.append(self.name)

    unserved = Unserved(older.store, ["slack"], Ends)
    await unserved.run_once()
    assert ended == []
    real = older.store.clock
    monkeypatch.setattr(older.store, "clock", lambda: real() + timedelta(seconds=turns.LENGTH + 1))
    await unserved.run_once()  # the other one has died
    assert ended == ["email", "pagerduty"]
    for one in (older, newer):
        await one.store.close()


async def test_receivers_with_different_configurations_notice_it_until_one_is_reloaded_or_dead(
    two: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    assert await one.store.same_config("old")
    assert await other.store.same_config("old")
    assert not await other.store.same_config("new")
    compared = SameConfig(one.store, lambda: "old")
    await compared.run_once()  # whoever reloads them may be about to
    with pytest.raises(DifferentConfigError):
        await compared.run_once()
    assert await one.store.same_config("new")
    assert await other.store.same_config("new")
    assert not await one.store.same_config("old")
    real = other.store.clock
    monkeypatch.setattr(other.store, "clock", lambda: real() + timedelta(seconds=turns.LENGTH + 1))
    await other.store.be_present()
    assert await other.store.same_config("new")  # the other one has died


async def test_pages_are_read_again_when_a_receiver_has_died_that_may_not_have_told_everything(
    two: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    real = other.store.clock
    monkeypatch.setattr(other.store, "clock", lambda: real() + timedelta(seconds=turns.LENGTH + 1))
    await other.store.be_present()
    assert (other.heard, other.duty) == ([None], [True])
    async with asyncio.timeout(20):  # a third would hear of it as this one does
        while None not in one.heard:
            await one.told.wait()
            one.told.clear()


async def test_all_sign_pushes_with_the_key_that_was_there_first(two: tuple[One, One], tmp_path: Path) -> None:
    one, other = two
    paths = [tmp_path / name / "vapid.pem" for name in ("one", "other", "third")]
    for store, path in ((one.store, paths[0]), (other.store, paths[1])):
        push.take_key(path, await store.share(path.name, push.own_key(path)))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    push.take_key(paths[2], push.own_key(paths[2]))  # it had a key of its own
    push.take_key(paths[2], await other.store.share("vapid.pem", push.own_key(paths[2])))
    assert paths[2].read_bytes() == paths[0].read_bytes()
    assert paths[2].stat().st_mode & 0o777 == 0o600
