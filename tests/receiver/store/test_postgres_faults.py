"""What becomes of changes when the database is cut off, restarted, stopped, read-only or held by somebody."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.incident.delivery import Handling
from receiver.incident.event import Acknowledge, AlertsReceived, Delivered
from receiver.incident.model import Origin
from receiver.store.base import Outage, StoreError, StoreOutageError
from receiver.store.postgres import connection as connections
from receiver.store.postgres import queue
from receiver.store.postgres.clock import DatabaseClock
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.store.postgres.store import PostgresStore
from receiver.store.sql.connection import Connection
from receiver.workers.unsettled import UnsettledOutbox
from tests.receiver import stores
from tests.receiver.example_site import (
    START,
    Clock,
    an_alert,
    beside,
    deciding,
    of_group,
    received,
    refusing,
    the_policy,
)
from tests.receiver.store.postgres_server import COMMIT, Proxy, Server, a_proxy

pytestmark = pytest.mark.postgres

COUNT = "INSERT INTO own VALUES ('count', 1) ON CONFLICT (name) DO UPDATE SET value = own.value + 1 RETURNING value"
NEW = AlertsReceived(of_group(received(an_alert("b")), "b"))
COUNTED = "SELECT coalesce(max(value), 0) FROM own WHERE name = 'count'"


def a_store_at(conninfo: str, password: str | None = None) -> PostgresStore:
    clock = DatabaseClock(Clock(), time.monotonic)
    return PostgresStore(
        Login(conninfo, lambda: password),
        lambda: None,
        clock=clock,
        elapsed=time.monotonic,
        handling=lambda _: Handling(),
    )


@asynccontextmanager
async def opened(conninfo: str) -> AsyncIterator[PostgresStore]:
    store = a_store_at(conninfo)
    await store.open(Clock().now)
    try:
        yield store
    finally:
        await store.close()


def by_way_of(proxy: Proxy, conninfo: str) -> str:
    return make_conninfo(conninfo, port=proxy.port)


async def count(store: PostgresStore) -> float:
    """Change what shows whether it was changed twice."""
    value: float = await store._writer.commit(lambda db: db.execute(COUNT).fetchone()[0])  # noqa: SLF001
    return value


def counted(folder: Path) -> float:
    with beside(folder) as db:
        value: float = db.execute(COUNTED).fetchone()[0]
    return value


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with a_proxy(int(str(conninfo_to_dict(stores.conninfo(tmp_path))["port"]))) as made:
        yield made


@pytest.fixture
async def store(tmp_path: Path, proxy: Proxy) -> AsyncIterator[PostgresStore]:
    async with opened(by_way_of(proxy, stores.conninfo(tmp_path))) as made:
        yield made


async def fresh(store: PostgresStore) -> None:
    """Let the writer begin a new connection, which prepares COMMIT anew."""
    await store._writer.run(lambda _: store._writing.drop())  # noqa: SLF001


async def test_a_commit_whose_answer_is_lost_is_found_and_not_made_twice(
    tmp_path: Path, store: PostgresStore, proxy: Proxy
) -> None:
    for number in range(1, 4):
        proxy.cut_on_way_back = COMMIT
        assert await count(store) == number
    assert proxy.cuts == 3
    assert counted(tmp_path) == 3
    assert store.outage is None


async def test_a_webhook_whose_commit_is_not_answered_opens_one_incident(store: PostgresStore, proxy: Proxy) -> None:
    proxy.cut_on_way_back = COMMIT
    incident = await store.update(received(an_alert()), the_policy(), Clock().now)
    assert incident is not None
    stored = await store.incident(incident.id)
    assert stored is not None
    assert [entry.kind for entry in stored[1]] == ["opened", "alert_firing", "paged"]
    assert proxy.cuts == 1


async def test_what_is_cut_before_its_commit_is_made_once_more_and_happens_once(
    tmp_path: Path, store: PostgresStore, proxy: Proxy
) -> None:
    await fresh(store)
    proxy.cut_on_way_there = COMMIT
    assert await count(store) == 1
    assert proxy.cuts == 1
    assert counted(tmp_path) == 1


async def test_a_commit_of_which_nobody_can_say_anything_is_an_outage(
    tmp_path: Path, store: PostgresStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_IN_DOUBT", 0.3)
    proxy.cut_on_way_back, proxy.refuses_after_cut = COMMIT, True
    with pytest.raises(StoreOutageError, match="nobody knows"):
        await count(store)
    outages = [store.outage]
    proxy.refuses = False
    assert await count(store) == 2
    assert [*outages, store.outage] == [Outage.UNREACHABLE, None]
    assert counted(tmp_path) == 2


async def test_a_database_that_stands_still_is_an_outage_that_ends_by_itself(
    tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue, "DEADLINE", 0.5)
    async with opened(by_way_of(proxy, stores.conninfo(tmp_path))) as store:
        await count(store)

        def stopped(db: Connection) -> object:
            proxy.flows.clear()
            return db.execute(COUNT).fetchone()

        with pytest.raises(StoreOutageError, match="nobody knows"):
            await store._writer.commit(stopped)  # noqa: SLF001
        with pytest.raises(StoreOutageError, match="nothing has happened") as raised:
            await count(store)  # its turn has not come
        assert (raised.value.outage, store.outage) == (Outage.UNREACHABLE, Outage.UNREACHABLE)
        with pytest.raises(StoreOutageError):
            await store.incidents(None, 1)  # the reader's, too
        asked = [asyncio.ensure_future(count(store)) for _ in range(3)]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(outcome, StoreOutageError)
        proxy.flows.set()
        before = counted(tmp_path)
        for _ in range(100):
            try:
                after = await count(store)
                break
            except StoreOutageError:
                continue
        assert store.outage is None
        assert before + 1 <= after <= 6  # each that nobody has waited for has happened once, or not at all
        assert after == counted(tmp_path)
    assert "can be written again" in caplog.text


async def test_who_gives_up_cuts_nobody_who_is_only_slow(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "DEADLINE", 0.4)
    done = list[str]()

    def slow(db: Connection, name: str) -> str:
        db.execute("SELECT pg_sleep(0.3)").fetchone()
        done.append(name)
        return name

    def one(name: str) -> asyncio.Future[str]:
        return asyncio.ensure_future(store._writer.commit(lambda db: slow(db, name)))  # noqa: SLF001

    first = one("first")
    await store._writer.run(lambda _: None)  # noqa: SLF001  # the first has begun
    later = [one(str(number)) for number in range(6)]
    await asyncio.wait([first])
    with pytest.raises(StoreOutageError):
        await later[-1]
    await asyncio.gather(*later, return_exceptions=True)
    assert len(set(done)) == len(done)  # nothing was cut, and made again


async def test_a_close_waits_for_no_database_that_stands_still(
    tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections._SOCKET, "connect_timeout", 2)  # noqa: SLF001
    for place in ("queue", "store"):
        monkeypatch.setattr(f"receiver.store.postgres.{place}.ENDING", 0.3)
    store = a_store_at(by_way_of(proxy, stores.conninfo(tmp_path)))
    await store.open(Clock().now)
    proxy.flows.clear()
    counting = asyncio.ensure_future(count(store))
    await store.close()
    with pytest.raises(StoreOutageError):
        await counting


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections._SETTINGS, "lock_timeout", "300ms")  # noqa: SLF001
    monkeypatch.setattr(queue, "_STILL", 0.1)


@contextmanager
def holding(folder: Path, *, pipelined: bool) -> Iterator[PostgresConnection]:
    """Another receiver that stops in the middle of a transaction."""
    other = PostgresConnection(Login(stores.conninfo(folder)))
    with suppress(psycopg.Error), other.pipelined() if pipelined else nullcontext():
        other.execute("BEGIN")
        other.execute(queue.LOCK).fetchone()
        yield other
    other.close()


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.usefixtures("impatient")
async def test_a_receiver_that_stops_in_its_transaction_keeps_nobody_waiting(
    tmp_path: Path, proxy: Proxy, pipelined: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(by_way_of(proxy, stores.conninfo(tmp_path))) as store:
        with holding(tmp_path, pipelined=pipelined) as other:
            assert await count(store) == 1
            assert "stood still" in caplog.text
            with pytest.raises(psycopg.Error):
                other.execute("SELECT 1").fetchone()


def is_running(query: str) -> bool:
    """Whether the server is working on it."""
    activity = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = %s"
    return stores.admin().execute(activity, (query,)).fetchone() == (1,)


@pytest.mark.usefixtures("impatient")
async def test_a_receiver_that_works_for_long_is_left_alone(tmp_path: Path, proxy: Proxy) -> None:
    async with opened(by_way_of(proxy, stores.conninfo(tmp_path))) as store:
        with holding(tmp_path, pipelined=False) as other:
            work = "SELECT pg_sleep(3)"
            slept = asyncio.ensure_future(asyncio.to_thread(lambda: other.execute(work).fetchone()))
            while not await asyncio.to_thread(is_running, work):
                pass
            with pytest.raises(StoreOutageError) as raised:
                await count(store)
            assert raised.value.outage is Outage.LOCKED
            assert await slept
            other.execute("ROLLBACK")
            assert await count(store) == 1


async def test_a_statement_that_takes_too_long_fails_alone(
    tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections._SETTINGS, "statement_timeout", "2s")  # noqa: SLF001
    async with opened(by_way_of(proxy, stores.conninfo(tmp_path))) as store:
        with pytest.raises(StoreOutageError) as raised:
            await store._writer.commit(lambda db: db.execute("SELECT pg_sleep(30)").fetchone())  # noqa: SLF001
        assert raised.value.outage is Outage.SLOW
        assert await count(store) == 1


WRONG = {
    "53100": Outage.FULL,
    "58030": Outage.IO_ERROR,
    "58P01": Outage.IO_ERROR,
    "XX001": Outage.CORRUPT,
    "53200": Outage.REFUSED,
    "42501": Outage.REFUSED,
    "42P01": Outage.REPLACED,
}


@pytest.mark.parametrize(("code", "outage"), WRONG.items())
async def test_what_is_wrong_with_the_database_is_named(
    tmp_path: Path, store: PostgresStore, monkeypatch: pytest.MonkeyPatch, code: str, outage: Outage
) -> None:
    monkeypatch.setattr(queue, "_FULL_FOR", 0.0)
    with refusing(tmp_path, "INSERT ON own", f"no room' USING ERRCODE = '{code}"):
        with pytest.raises(StoreOutageError) as raised:
            await count(store)
        assert (raised.value.outage, store.outage) == (outage, outage)
    assert await count(store) == 1
    assert store.outage is None


async def test_a_full_disk_on_which_small_changes_find_room_is_full(
    tmp_path: Path, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a receiver would be ready again every few seconds, while no webhook is taken."""
    monkeypatch.setattr(queue, "_FULL_FOR", 1e6)
    with refusing(tmp_path, "INSERT ON incident", "no room' USING ERRCODE = '53100"):
        with pytest.raises(StoreOutageError):
            await store.update(NEW, the_policy(), START)
        await store.be_present()
        assert store.outage is Outage.FULL
    await store.update(NEW, the_policy(), START)
    outages = [store.outage]
    monkeypatch.setattr(queue, "_FULL_FOR", 0.0)
    await store.be_present()
    assert [*outages, store.outage] == [Outage.FULL, None]


@pytest.fixture
async def role(tmp_path: Path) -> AsyncIterator[str]:
    """A user who may read and write the tables, and connects without a password."""
    name = f"r_{tmp_path.name}"[:60].lower()
    quoted, schema = sql.Identifier(name), sql.Identifier(stores.schemas.of(tmp_path))
    async with opened(stores.conninfo(tmp_path)):
        pass
    stores.admin().execute(sql.SQL("CREATE ROLE {} LOGIN").format(quoted))
    for things in ("SCHEMA {}", "ALL TABLES IN SCHEMA {}", "ALL SEQUENCES IN SCHEMA {}"):
        stores.admin().execute(sql.SQL(f"GRANT ALL ON {things} TO {{}}").format(schema, quoted))
    yield name
    for last in ("DROP OWNED BY {}", "DROP ROLE {}"):
        stores.admin().execute(sql.SQL(last).format(quoted))


def end_sessions(role: str) -> None:
    stores.admin().execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (role,))


REFUSALS = {
    "no login": ("ALTER ROLE {} NOLOGIN", "ALTER ROLE {} LOGIN"),
    "too many connections": ("ALTER ROLE {} CONNECTION LIMIT 0", "ALTER ROLE {} CONNECTION LIMIT 9"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_server_that_lets_us_not_in_is_no_server_that_is_away(
    tmp_path: Path, role: str, refusal: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end = (sql.SQL(each).format(sql.Identifier(role)) for each in REFUSALS[refusal])
    async with opened(make_conninfo(stores.conninfo(tmp_path), user=role)) as store:
        await count(store)
        stores.admin().execute(begin)
        try:
            end_sessions(role)
            with pytest.raises(StoreOutageError) as raised:
                await count(store)
        finally:
            stores.admin().execute(end)
        assert (raised.value.outage, store.outage) == (Outage.REFUSED, Outage.REFUSED)
        assert await count(store) == 2


async def test_a_right_that_is_taken_away_is_an_outage_that_ends_when_it_is_given_again(
    tmp_path: Path, role: str
) -> None:
    async with opened(make_conninfo(stores.conninfo(tmp_path), user=role)) as store:
        await store.update(received(an_alert()), the_policy(), START)
        with beside(tmp_path) as db:
            db.execute(f"REVOKE ALL ON incident FROM {role}")
        for work in (
            store.due(START),
            store.incidents(None, 1),
            store.alive(START),
            store.update(NEW, the_policy(), START),
        ):
            with suppress(StoreOutageError):
                await work
        assert store.outage is Outage.REFUSED
        with beside(tmp_path) as db:
            db.execute(f"GRANT ALL ON incident TO {role}")
        await store.update(NEW, the_policy(), START)
        assert store.outage is None


async def test_tables_that_are_gone_are_an_outage_and_no_reason_to_end(tmp_path: Path, store: PostgresStore) -> None:
    """Who ends is started again, and would begin with empty tables: nobody would know that anything was lost."""
    await store.update(received(an_alert()), the_policy(), START)
    schema = stores.schemas.of(tmp_path)
    stores.admin().execute(f"ALTER SCHEMA {schema} RENAME TO away")
    try:
        for work in (store.due(START), store.alive(START), store.incidents(None, 1)):
            with pytest.raises(StoreOutageError, match="put them back, or restart the receiver") as raised:
                await work
            assert raised.value.outage is Outage.REPLACED
        assert store.outage is Outage.REPLACED
    finally:
        stores.admin().execute(f"ALTER SCHEMA away RENAME TO {schema}")
    await store.alive(START)
    assert store.outage is None


async def test_a_database_that_becomes_read_only_is_one_again(tmp_path: Path, store: PostgresStore) -> None:
    await count(store)
    stores.admin().execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    try:
        await fresh(store)
        with pytest.raises(StoreOutageError) as raised:
            await count(store)
        assert (raised.value.outage, store.outage) == (Outage.READ_ONLY, Outage.READ_ONLY)
        assert await store.incidents(None, 1) == []
    finally:
        stores.admin().execute("ALTER ROLE postgres RESET default_transaction_read_only")
    assert await count(store) == 2
    assert store.outage is None


async def test_who_was_paged_in_an_outage_and_answers_first_after_it_ends_the_page(
    tmp_path: Path, store: PostgresStore
) -> None:
    await store.update(received(an_alert()), the_policy(), START)
    stores.admin().execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    try:
        await fresh(store)
        assert len(await UnsettledOutbox(store).claim("email", START, 8, 10)) == 1
    finally:
        stores.admin().execute("ALTER ROLE postgres RESET default_transaction_read_only")
    await fresh(store)
    await store.apply(1, deciding(Acknowledge("linh", Origin.LINK), START), START)
    with beside(tmp_path) as other:
        owed = other.execute("SELECT kind, state FROM outbox WHERE channel = 'email' ORDER BY id").fetchall()
    assert owed == [("page", "cancelled"), ("acknowledged", "pending")]


@asynccontextmanager
async def keeping(conninfo: str) -> AsyncIterator[PostgresStore]:
    """A receiver that sends to a provider that keeps incidents."""
    clock = DatabaseClock(Clock(), time.monotonic)
    handling = Handling(keeps_incidents=True)
    store = PostgresStore(
        Login(conninfo), lambda: None, clock=clock, elapsed=time.monotonic, handling=lambda _: handling
    )
    await store.open(Clock().now)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def read_only(*those: PostgresStore) -> AsyncIterator[None]:
    stores.admin().execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    try:
        for one in those:
            await fresh(one)
        yield
    finally:
        stores.admin().execute("ALTER ROLE postgres RESET default_transaction_read_only")


def owed(folder: Path) -> list[tuple[str, str]]:
    with beside(folder) as db:
        query = "SELECT kind, state FROM outbox WHERE channel = 'email' ORDER BY id"
        return [(str(kind), str(state)) for kind, state in db.execute(query).fetchall()]


async def acknowledge(store: PostgresStore, number: int) -> None:
    await store.apply(number, deciding(Acknowledge("linh", Origin.LINK), START), START)


async def send_unwritten(sender: PostgresStore) -> None:
    """Claim the one page that is owed, where that cannot be written down."""
    assert len(await UnsettledOutbox(sender).claim("email", START, 8, 10)) == 1


ENDS_THE_PAGE = [("page", "cancelled"), ("acknowledged", "pending")]


async def test_what_one_has_sent_in_an_outage_and_another_hears_answered_first_is_ended(tmp_path: Path) -> None:
    """Who sent it could not write that down yet: PagerDuty would ring on for what is acknowledged here."""
    where = stores.conninfo(tmp_path)
    async with keeping(where) as sender, keeping(where) as other:
        await count(other)
        await sender.update(received(an_alert()), the_policy(), START)
        async with read_only(sender):
            await send_unwritten(sender)
        await acknowledge(other, 1)
        assert owed(tmp_path) == ENDS_THE_PAGE


@pytest.mark.parametrize("notices", ["that nothing can be written", "that its connection was ended"])
async def test_what_was_sent_in_an_outage_by_one_that_is_dead_is_ended_by_another(tmp_path: Path, notices: str) -> None:
    where = stores.conninfo(tmp_path)
    async with keeping(where) as sender, keeping(where) as other:
        await count(other)
        await sender.update(received(an_alert()), the_policy(), START)
        async with read_only(sender):
            await send_unwritten(sender)
            await sender._writer.run(lambda _: sender._writing.finish())  # noqa: SLF001  # its session ends with it
            if notices.endswith("written"):
                other._writing.cut()  # noqa: SLF001
                with pytest.raises(StoreOutageError):
                    await count(other)
        other._writing.cut()  # noqa: SLF001
        await acknowledge(other, 1)
        assert owed(tmp_path) == ENDS_THE_PAGE


async def claimed_by(store: PostgresStore) -> list[int]:
    return [one.id for one in await UnsettledOutbox(store).claim("email", START, 8, 10)]


async def test_what_one_has_sent_in_an_outage_is_not_sent_again_by_another_before_that_is_written(
    tmp_path: Path,
) -> None:
    where = stores.conninfo(tmp_path)
    async with keeping(where) as sender, keeping(where) as other:
        await count(other)
        await sender.update(received(an_alert()), the_policy(), START)
        outbox = UnsettledOutbox(sender)
        with refusing(tmp_path, "INSERT OR UPDATE ON last_commit", "no room' USING ERRCODE = '53100"):
            with pytest.raises(StoreOutageError):
                await count(sender)
            (page,) = await outbox.claim("email", START, 8, 10)
            await outbox.settle(page, "ref", deciding(Delivered(1, "linh"), START), START)
        assert await claimed_by(other) == []
        assert await outbox.claim("email", START, 8, 10) == []  # it is settled by that
        await sender.update(NEW, the_policy(), START)
        for _ in range(2):
            await sender.be_present()
        assert len(await claimed_by(other)) == 1
    assert owed(tmp_path) == [("page", "sent"), ("page", "sending")]


async def test_what_one_has_sent_that_leads_no_more_is_sent_by_another(tmp_path: Path) -> None:
    """It may be stopped."""
    where = stores.conninfo(tmp_path)
    async with keeping(where) as sender, keeping(where) as other:
        await sender.update(received(an_alert()), the_policy(), START)
        with refusing(tmp_path, "INSERT OR UPDATE ON last_commit", "no room' USING ERRCODE = '53100"):
            with pytest.raises(StoreOutageError):
                await count(sender)
            assert len(await claimed_by(sender)) == 1
        assert await claimed_by(other) == []
        with beside(tmp_path) as db:
            db.execute("UPDATE turn SET until = 0 WHERE name = 'leading'")
        assert len(await claimed_by(other)) == 1


async def test_what_nobody_can_have_sent_is_answered_without_a_word(tmp_path: Path) -> None:
    """Also once what was sent in an outage has been written down."""
    where = stores.conninfo(tmp_path)
    async with keeping(where) as sender, keeping(where) as other:
        await sender.update(received(an_alert()), the_policy(), START)
        await acknowledge(other, 1)
        assert owed(tmp_path) == [("page", "cancelled")]
        await sender.update(NEW, the_policy(), START)
        with refusing(tmp_path, "INSERT OR UPDATE ON last_commit", "no room' USING ERRCODE = '53100"):
            with pytest.raises(StoreOutageError):
                await count(sender)
            await send_unwritten(sender)
        for _ in range(2):
            await sender.be_present()
        await count(other)
        await other.update(AlertsReceived(of_group(received(an_alert("c")), "c")), the_policy(), START)
        await acknowledge(other, 3)
        assert owed(tmp_path)[-1] == ("page", "cancelled")
        await acknowledge(other, 2)
        assert owed(tmp_path)[-1] == ("acknowledged", "pending")


async def test_all_know_what_was_sent_in_an_outage_also_after_vain_attempts_to_write(tmp_path: Path) -> None:
    """Each of them may have ended the sender's connection."""
    where = stores.conninfo(tmp_path)
    async with keeping(where) as sender, keeping(where) as other:
        await count(other)
        await sender.update(received(an_alert()), the_policy(), START)
        async with read_only(sender):
            await send_unwritten(sender)
            for _ in range(2):
                with pytest.raises(StoreOutageError):
                    await count(sender)
        await acknowledge(other, 1)
        assert owed(tmp_path) == ENDS_THE_PAGE


async def test_who_cannot_write_alone_leaves_what_is_owed_to_who_leads_now(tmp_path: Path) -> None:
    where = stores.conninfo(tmp_path)
    async with keeping(where) as cut_off, keeping(where) as other:
        await cut_off.update(received(an_alert()), the_policy(), START)
        with beside(tmp_path) as db:
            db.execute("UPDATE turn SET owner = ? WHERE name = 'leading'", (other.owner,))
        async with read_only(cut_off):
            assert await UnsettledOutbox(cut_off).claim("email", START, 8, 10) == []
        await fresh(cut_off)


async def test_in_an_outage_of_everybody_one_receiver_sends_and_in_its_own_none(
    tmp_path: Path, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.update(received(an_alert()), the_policy(), START)
    async with opened(stores.conninfo(tmp_path)) as other:
        both = (store, other)
        stores.admin().execute("ALTER ROLE postgres SET default_transaction_read_only = on")
        try:
            for one in both:
                await fresh(one)
            given = [await UnsettledOutbox(one).claim("email", START, 8, 10) for one in both]
        finally:
            stores.admin().execute("ALTER ROLE postgres RESET default_transaction_read_only")
        assert [len(claims) for claims in given] == [1, 0]
        monkeypatch.setitem(connections._SETTINGS, "lock_timeout", "100ms")  # noqa: SLF001
        for one in both:
            await fresh(one)
        with psycopg.connect(stores.conninfo(tmp_path)) as connection:
            connection.execute("LOCK TABLE last_commit")
            assert [await UnsettledOutbox(one).claim("email", START, 8, 10) for one in both] == [[], []]
        assert [one.outage for one in both] == [Outage.LOCKED] * 2
        given = [await UnsettledOutbox(one).claim("email", START, 8, 10) for one in both]
        assert [len(claims) for claims in given] == [1, 0]


async def test_a_change_that_is_refused_takes_no_other_with_it(tmp_path: Path, store: PostgresStore) -> None:
    """Its error is known only when a later statement is waited for."""

    def bad(db: Connection) -> object:
        db.execute("INSERT INTO own VALUES ('bad', NULL)")
        return db.execute("SELECT 1").fetchone()

    changes: list[Any] = [store._writer.commit(bad), count(store), store._writer.commit(bad), count(store)]  # noqa: SLF001
    outcomes: list[Any] = await asyncio.gather(*changes, return_exceptions=True)
    for refused in outcomes[::2]:
        assert isinstance(refused, StoreError)
        assert not isinstance(refused, StoreOutageError)
        assert "not-null" in str(refused)
    assert sorted(outcomes[1::2]) == [1, 2]
    assert counted(tmp_path) == 2
    assert store.outage is None


def test_what_is_notified_together_with_an_answer_is_heard(tmp_path: Path) -> None:
    connection = PostgresConnection(Login(stores.conninfo(tmp_path)))
    connection.execute("LISTEN told")
    for word in ("one", "two"):
        connection.execute("SELECT pg_notify('told', ?)", (word,))
    assert connection.heard(0) == ["one", "two"]
    assert connection.heard(0) == []
    connection.close()


def test_a_statement_that_fails_in_a_pipeline_leaves_all_others_prepared(tmp_path: Path) -> None:
    connection = PostgresConnection(Login(stores.conninfo(tmp_path)))
    statements = [f"SELECT {number}, ?::int / ?" for number in range(12)]
    failed = 0
    for turn in range(60):
        try:
            with connection.pipelined():
                for place in range(5):
                    divisor = 0 if (turn + place) % 7 == 0 else 1
                    rows = connection.execute(statements[(turn * 5 + place * 3) % 12], (1, divisor))
                    if (turn + place) % 3 == 0:
                        rows.fetchone()
        except psycopg.errors.DivisionByZero:
            failed += 1
    assert failed > 20
    for statement in statements:
        assert connection.execute(statement, (4, 2)).fetchone()[1] == 2
    connection.close()


async def test_a_table_that_is_changed_under_prepared_statements_goes_on(tmp_path: Path, store: PostgresStore) -> None:
    everything = "SELECT * FROM own WHERE name = 'count'"

    def read(db: Connection) -> int:
        return len(db.execute(everything).fetchone())

    await count(store)
    assert await store._writer.commit(read) == 2  # noqa: SLF001
    assert await store._reader.run(read) == 2  # noqa: SLF001
    with beside(tmp_path) as db:
        db.execute("ALTER TABLE own ADD COLUMN later TEXT")
    assert await store._writer.commit(read) == 3  # noqa: SLF001
    assert await store._reader.run(read) == 3  # noqa: SLF001
    assert await count(store) == 2


async def test_no_password_is_in_an_error_or_in_the_log(
    tmp_path: Path, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good, secret = stores.conninfo(tmp_path), "s3cret-Word"
    ways = [
        (f"host=127.0.0.1 port=1 user=receiver password={secret}", None),
        (f"postgresql://receiver:{secret}@127.0.0.1:1/receiver", None),
        ("host=127.0.0.1 port=1 user=receiver", secret),
        (f"host=127.0.0.1 port=1 password=a {secret}", None),
        (f"postgresql://receiver:a%zz{secret}@127.0.0.1/receiver", None),
        (f"postgresql://receiver@127.0.0.1/receiver?passwort={secret}", None),
        (make_conninfo(good, password=secret, dbname="nothing"), None),
        (make_conninfo(by_way_of(proxy, good), password=secret, user="nobody"), None),
    ]
    for conninfo, password in ways:
        store = a_store_at(conninfo, password)
        with pytest.raises(StoreError) as raised:
            await store.open(Clock().now)
        await store.close()
        if "passwort" in conninfo:
            assert "libpq knows no option 'passwort'" in str(raised.value)
        for text in (str(raised.value), repr(raised.value), caplog.text, repr(Login(conninfo, lambda: "x"))):
            assert secret not in text, conninfo
    async with opened(make_conninfo(by_way_of(proxy, good), password=secret)) as store:
        proxy.refuses = True
        proxy.cut()
        with pytest.raises(StoreOutageError) as raised_later:
            await count(store)
        assert secret not in f"{raised_later.value}{caplog.text}"
        proxy.refuses = False


async def test_no_part_of_a_row_is_in_an_error(tmp_path: Path, store: PostgresStore) -> None:
    secret = "s3cret-key-of-a-device"
    insert = """INSERT INTO push_subscription (id, person, endpoint, p256dh, auth, device, created)
        VALUES (?, '', '', '', ?, '', 0)"""
    with pytest.raises(StoreError, match="violates check constraint") as raised:
        await store._writer.commit(lambda db: db.execute(insert, ("short", secret)))  # noqa: SLF001
    assert secret not in str(raised.value)


class Traffic:
    """Counts on and on, and keeps what was answered."""

    def __init__(self, store: PostgresStore) -> None:
        self.store, self.answered, self.failed = store, 0, 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await count(self.store)
                self.answered += 1
            except StoreOutageError:
                self.failed += 1

    async def goes_on(self, by: int = 20) -> None:
        until = self.answered + by
        while self.answered < until:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_server_that_is_restarted_or_crashes_has_all_that_was_answered() -> None:
    server = Server("synchronous_commit=on")
    try:
        server.create()
        server.start()
        async with opened(f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres") as store:
            traffic = Traffic(store)
            for sent in (signal.SIGINT, signal.SIGQUIT):
                await traffic.goes_on()
                await asyncio.to_thread(server.stop, sent)
                await asyncio.to_thread(server.start)
            await traffic.goes_on()
            await traffic.end()
            value = server.ask(COUNTED)
            assert isinstance(value, float)
            # The last one may have been under way when it was cancelled.
            assert traffic.answered <= value <= traffic.answered + traffic.failed + 1
    finally:
        server.remove()


@pytest.mark.slow
async def test_a_standby_that_takes_over_has_all_that_was_answered() -> None:
    primary = Server("synchronous_standby_names=standby", "synchronous_commit=on", "wal_level=replica")
    standby = Server("synchronous_commit=on", "max_connections=100")  # of initdb, which it follows
    try:
        primary.create()
        standby.follow(primary)
        primary.start()
        standby.start()
        both = f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=postgres"
        async with opened(f"{both} target_session_attrs=read-write") as store:
            traffic = Traffic(store)
            await traffic.goes_on(200)
            await asyncio.to_thread(primary.stop, signal.SIGQUIT)
            await asyncio.to_thread(standby.ask, "SELECT pg_promote(false)")
            await traffic.goes_on(200)
            await traffic.end()
            value = standby.ask(COUNTED)
            assert isinstance(value, float)
            assert traffic.answered <= value <= traffic.answered + traffic.failed + 1
            incident = await store.update(of_new("after"), the_policy(), Clock().now)
            assert incident is not None
    finally:
        primary.remove()
        standby.remove()


def of_new(name: str) -> Any:  # noqa: ANN401
    event = received(an_alert(name))
    return type(event)(of_group(event, name))


@pytest.mark.slow
async def test_what_no_standby_has_confirmed_is_answered_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what changes nothing: what it repeats may be on no other disk."""
    monkeypatch.setattr(queue, "DEADLINE", 1.0)
    monkeypatch.setattr(queue, "_IN_DOUBT", 0.5)
    primary = Server("synchronous_standby_names=standby", "synchronous_commit=local")
    try:
        primary.create()
        primary.start()
        where = f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres"
        async with opened(where) as store:
            await count(store)
        with pytest.raises(StoreOutageError):
            async with opened(f"{where} options='-c synchronous_commit=on'") as store:
                await store._writer.commit(lambda db: db.execute(COUNTED).fetchone())  # noqa: SLF001
    finally:
        primary.remove()
