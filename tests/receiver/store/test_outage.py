"""What becomes of pages and webhooks while the database cannot be written, is replaced, or is corrupt."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from receiver.incident.delivery import Handling
from receiver.incident.event import Acknowledge, AlertsReceived, Delivered
from receiver.incident.model import EntryKind, Failure, Origin
from receiver.store.base import ANY, Ask, Claimed, Decide, Outage, Sent, StoreError, StoreOutageError, Wanted
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite import file as sqlite_file
from receiver.store.sqlite import queue
from receiver.store.sqlite.store import SQLiteStore
from receiver.workers.unsettled import UnsettledOutbox
from tests.receiver.example_site import Clock, a_store, an_alert, beside_file, deciding, of_group, received, the_policy
from tests.receiver.store.test_store import fire
from tests.receiver.stores import the_store

pytestmark = pytest.mark.sqlite("what becomes of its file")

NAME = "receiver.sqlite3"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's lock is waited for, but not for five seconds each time."""
    monkeypatch.setattr(sqlite_file, "PATIENT", 100)
    monkeypatch.setattr(queue, "PATIENT", 100)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLStore]:
    opened = await a_store(tmp_path, clock)
    yield opened
    await opened.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program writes, and does not end."""
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class Sender:
    """What a dispatcher does, by hand."""

    def __init__(self, store: SQLStore, clock: Clock) -> None:
        self.outbox, self.clock = UnsettledOutbox(store), clock

    async def claim(self) -> list[Claimed]:
        return await self.outbox.claim("email", self.clock.now, 90.0, 10)

    async def sent(self, claimed: Claimed) -> None:
        told = Delivered(claimed.notification.round, claimed.notification.target.person)
        await self.outbox.settle(claimed, "ref", deciding(told, self.clock.now), self.clock.now)

    async def sent_together(self, claims: list[Claimed]) -> list[Claimed]:
        """Settle them and claim what comes next, as the dispatcher does."""
        told = [Delivered(claimed.notification.round, claimed.notification.target.person) for claimed in claims]
        sent = [Sent(one, "ref", deciding(event, self.clock.now)) for one, event in zip(claims, told, strict=True)]
        asks = (Ask(10),)
        now = self.clock.now
        given = await self.outbox.settle_and_claim(sent, "email", now, 90.0, (), lambda *_: iter(asks))
        return [claimed for one in given for claimed in one.claims]

    async def failed(self, claimed: Claimed, seconds: float) -> None:
        when = self.clock.now.fromtimestamp(self.clock.now.timestamp() + seconds, self.clock.now.tzinfo)
        now = self.clock.now
        await self.outbox.retry_at([claimed], when, "503", now, spent=seconds, unreached=lambda _: None)


def of_new(name: str) -> AlertsReceived:
    return AlertsReceived(of_group(received(an_alert(name)), name))


def states(folder: Path) -> list[tuple[str, int]]:
    with beside_file(folder) as other:
        return other.execute("SELECT state, attempt FROM outbox WHERE channel = 'email' ORDER BY id").fetchall()


def owed(folder: Path) -> list[tuple[str, str]]:
    with beside_file(folder) as other:
        return other.execute("SELECT kind, state FROM outbox WHERE channel = 'email' ORDER BY id").fetchall()


async def test_while_another_program_holds_the_lock_what_is_owed_goes_out_once(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    with locked(tmp_path):
        with pytest.raises(StoreOutageError) as caught:
            await store.update(of_new("b"), the_policy(), clock.now)
        assert (caught.value.outage, store.outage) == (Outage.LOCKED, Outage.LOCKED)
        (claimed,) = await sender.claim()
        assert await sender.claim() == []  # it is under way
        await sender.sent(claimed)
        clock.forward(minutes=10)
        assert await sender.claim() == []
    assert await sender.claim() == []
    assert states(tmp_path) == [("sent", 1)]
    assert store.outage is None
    assert await store.update(of_new("b"), the_policy(), clock.now)


async def test_who_was_paged_in_an_outage_and_answers_first_after_it_ends_the_page(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    """Their answer must follow the page: PagerDuty would ring on for an incident that is acknowledged here."""
    await fire(store, clock)
    sender = Sender(store, clock)
    with locked(tmp_path):
        (claimed,) = await sender.claim()
        await sender.sent(claimed)
    await store.apply(1, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    assert owed(tmp_path) == [("page", "cancelled"), ("acknowledged", "pending")]


async def test_an_answer_does_not_overtake_a_page_that_is_still_being_sent_when_an_outage_ends(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    with locked(tmp_path):
        (page,) = await sender.claim()
    await store.apply(1, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    (answer,) = await sender.claim()
    turn = asyncio.ensure_future(sender.outbox.in_turn(answer))
    await asyncio.sleep(0)
    assert not turn.done()
    await sender.sent(page)
    await turn


async def test_who_was_paged_in_an_outage_by_a_process_that_was_killed_and_answers_first_ends_the_page(
    tmp_path: Path, clock: Clock
) -> None:
    keeping = the_store(tmp_path, clock, handling=lambda _channel: Handling(keeps_incidents=True))
    await keeping.open(clock.now)
    await fire(keeping, clock)
    with locked(tmp_path):
        assert await Sender(keeping, clock).claim()  # it is sent, and we are killed
    await keeping.close()
    after = the_store(tmp_path, clock, handling=lambda _channel: Handling(keeps_incidents=True))
    await after.open(clock.now)
    await after.apply(1, deciding(Acknowledge("linh", Origin.LINK), clock.now), clock.now)
    await after.close()
    assert owed(tmp_path) == [("page", "cancelled"), ("acknowledged", "pending")]


async def test_what_is_settled_together_in_an_outage_is_settled_after_it_and_what_is_owed_goes_out(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    sender = Sender(store, clock)
    for name in ("a", "b"):
        await store.update(of_new(name), the_policy(), clock.now)
    leased = await sender.sent_together([])
    await store.update(of_new("c"), the_policy(), clock.now)
    with locked(tmp_path):
        await provoke(store, clock)
        (third,) = await sender.sent_together(leased)
        assert third.id not in {claimed.id for claimed in leased}
        assert await sender.sent_together([third]) == []
    assert await sender.sent_together([]) == []
    assert states(tmp_path) == [("sent", 1)] * 3


async def test_what_was_leased_before_the_outage_is_settled_after_it(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    (claimed,) = await sender.claim()
    with locked(tmp_path):
        await sender.sent(claimed)
        clock.forward(minutes=10)  # its lease is over
        assert await sender.claim() == []
    assert await sender.claim() == []
    assert [state for state, _ in states(tmp_path)] == ["sent"]


async def test_what_was_leased_before_the_outage_and_parked_in_it_is_sent_in_it(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    (claimed,) = await sender.claim()
    address = claimed.notification.target.address
    with locked(tmp_path):
        await sender.outbox.park(address, [claimed], "email")
        assert await sender.claim() == []  # it is given by its address alone
        (again,) = await sender.outbox.claim("email", clock.now, 90.0, 10, Wanted(address))
        assert await sender.outbox.claim("email", clock.now, 90.0, 10, Wanted(address)) == []
        await sender.sent(again)
    assert await sender.claim() == []
    assert states(tmp_path) == [("sent", 1)]


@pytest.mark.parametrize("released", [False, True])
async def test_what_was_leased_before_the_outage_and_parked_in_it_waits_for_no_lease_after_it(
    tmp_path: Path, store: SQLStore, clock: Clock, released: bool
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    (claimed,) = await sender.claim()
    address = claimed.notification.target.address
    with locked(tmp_path):
        await sender.outbox.park(address, [claimed], "email")
        if released:
            await sender.outbox.release("email", address, clock.now, forward=False)
    wanted = ANY if released else Wanted(address)
    leased = await sender.outbox.claim("email", clock.now, 90.0, 10, wanted)
    assert [lease.id for lease in leased] == [claimed.id]


async def test_what_is_released_after_the_outage_is_given_with_all_others(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    (claimed,) = await sender.claim()
    address = claimed.notification.target.address
    with locked(tmp_path):
        await sender.outbox.park(address, [claimed], "email")
    await sender.outbox.release("email", address, clock.now, forward=False)
    assert [lease.id for lease in await sender.claim()] == [claimed.id]


async def test_what_is_being_settled_is_not_settled_again_by_the_next_claim(
    store: SQLStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fire(store, clock)
    settle, settled, disk = store.settle, list[int](), asyncio.Event()

    async def slowly(claimed: Claimed, ref: str, decide: Decide, now: datetime) -> None:
        settled.append(claimed.id)
        await disk.wait()
        await settle(claimed, ref, decide, now)

    monkeypatch.setattr(store, "settle", slowly)
    sender = Sender(store, clock)
    (claimed,) = await sender.claim()
    writing = asyncio.create_task(sender.sent(claimed))
    await asyncio.sleep(0)
    assert await sender.claim() == []
    disk.set()
    await writing
    assert settled == [claimed.id]


async def test_what_is_under_way_when_the_outage_ends_is_not_sent_beside_itself(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    with locked(tmp_path):
        await provoke(store, clock)
        (claimed,) = await sender.claim()
    assert await sender.claim() == []
    await sender.sent(claimed)
    assert [state for state, _ in states(tmp_path)] == ["sent"]


async def test_what_fails_in_an_outage_is_tried_again_in_it(tmp_path: Path, store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)
    sender = Sender(store, clock)
    with locked(tmp_path):
        await provoke(store, clock)
        (claimed,) = await sender.claim()
        await sender.failed(claimed, 20)
        assert await sender.claim() == []
        clock.forward(seconds=21)
        (again,) = await sender.claim()
        assert (again.id, again.attempt, again.tries, again.spent) == (claimed.id, claimed.attempt + 1, 1, 20.0)
        await sender.failed(again, 20)
    assert await sender.claim() == []
    ((state, _),) = states(tmp_path)
    assert state == "pending"
    clock.forward(seconds=21)
    (later,) = await sender.claim()
    unreached = deciding(Delivered(1, "linh"), clock.now)
    with locked(tmp_path):
        await sender.outbox.dead(later, Failure.REFUSED, "550", unreached, unreached, clock.now)
    assert await sender.claim() == []
    assert [state for state, _ in states(tmp_path)] == ["dead"]


async def test_one_who_cannot_lease_reads_in_the_same_order(tmp_path: Path, store: SQLStore, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        await store.update(of_new(name), the_policy(), clock.now)
    channel_and_time = ("email", clock.now)
    readable = await store.readable(*channel_and_time, 10, ANY, held=(), settled=())
    assert [c.id for c in readable] == [c.id for c in await store.claim(*channel_and_time, 90.0, 10)]
    assert await store.readable(*channel_and_time, 10, ANY, held=(), settled=()) == []  # they are leased


async def test_a_database_that_is_gone_or_another_one_is_an_outage(
    tmp_path: Path, store: SQLStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await fire(store, clock)
    await store.alive(clock.now)
    file, away = tmp_path / NAME, tmp_path / "away"
    for replace in (False, True):
        file.rename(away)
        if replace:
            shutil.copy(away, file)
        await store.alive(clock.now)
        assert store.outage is Outage.REPLACED
        with pytest.raises(StoreOutageError):
            await store.update(of_new("b"), the_policy(), clock.now)
        sender = Sender(store, clock)
        claims = await sender.claim()  # what is owed still goes out
        assert replace or claims
        away.rename(file)
        await store.alive(clock.now)
        assert store.outage is None
    assert caplog.text.count("gone or has been replaced") == 2
    (tmp_path / f"{NAME}-wal").rename(away)
    await store.alive(clock.now)
    assert store.outage is Outage.REPLACED
    away.rename(tmp_path / f"{NAME}-wal")


async def test_what_a_start_asks_for_is_known_while_another_program_holds_the_lock(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    number = await store.installation()
    await store.alive(clock.now)
    await store.close()
    with locked(tmp_path):
        again = await a_store(tmp_path, clock)
        assert await again.installation() == number
        assert await again.last_alive() == clock.now
        await again.close()


@pytest.mark.parametrize("name", [NAME, f"{NAME}-wal"])
async def test_a_webhook_is_taken_only_if_the_file_is_there_after_its_commit(
    tmp_path: Path, store: SQLStore, clock: Clock, name: str
) -> None:
    await fire(store, clock)
    (tmp_path / name).unlink()
    with pytest.raises(StoreOutageError) as raised:  # nobody has looked since
        await store.update(of_new("b"), the_policy(), clock.now)
    assert raised.value.outage is Outage.REPLACED
    assert await Sender(store, clock).claim()


@pytest.mark.parametrize("start", [0, 100, 40960])  # its header, its schema, its tables
async def test_a_corrupt_database_is_named_at_the_start(tmp_path: Path, clock: Clock, start: int) -> None:
    store = await a_store(tmp_path, clock)
    for number in range(200):
        await store.update(of_new(str(number)), the_policy(), clock.now)
    await store.close()
    file = tmp_path / NAME
    content = bytearray(file.read_bytes())
    content[start : start + 4096] = b"\xff" * 4096
    file.write_bytes(content)
    with pytest.raises(StoreError) as raised:
        await a_store(tmp_path, clock)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{file}: the database is corrupt (")
    assert f"move {NAME}, {NAME}-wal and {NAME}-shm away" in line


async def test_a_log_that_a_crash_has_cut_off_is_read_up_to_its_last_whole_commit(tmp_path: Path, clock: Clock) -> None:
    """A disk that has not kept what it said it had: what is left is a moment of the past, and no half of a change."""
    folders = [tmp_path / "whole", tmp_path / "cut"]
    for folder in folders:
        folder.mkdir()
    store = SQLiteStore(folders[0] / NAME, lambda: None)
    await store.open(clock.now)
    for number in range(5):
        await store.update(of_new(f"{number}"), the_policy(), clock.now)
    data, log = (folders[0] / NAME).read_bytes(), (folders[0] / f"{NAME}-wal").read_bytes()
    await store.close()
    kept = list[int]()
    for length in (*range(0, len(log), len(log) // 24), len(log)):
        for old in folders[1].iterdir():
            old.unlink()
        (folders[1] / NAME).write_bytes(data)
        (folders[1] / f"{NAME}-wal").write_bytes(log[:length])
        cut = SQLiteStore(folders[1] / NAME, lambda: None)
        await cut.open(clock.now)
        await cut.check()
        incidents = await cut.still_open()
        kept.append(len(incidents))
        assert [incident.id for incident in incidents] == list(range(1, len(incidents) + 1))
        for incident in incidents:
            stored = await cut.incident(incident.id)
            assert stored is not None
            assert EntryKind.PAGED in {line.kind for line in stored[1]}
        assert len(await cut.claim("email", clock.now, 90.0, 10)) == len(incidents)
        await cut.close()
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0, 5)


async def test_damage_in_a_large_database_is_found_while_it_is_used(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await a_store(tmp_path, clock)
    for number in range(50):
        await store.update(of_new(str(number)), the_policy(), clock.now)
    await store.check()
    await store.close()
    with beside_file(tmp_path) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'timeline_incident'").fetchone()
    file = tmp_path / NAME
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    file.write_bytes(content)
    monkeypatch.setattr(sqlite_file, "CHECKED_FIRST", 0)
    store = await a_store(tmp_path, clock)
    assert len(await store.still_open()) == 50
    with pytest.raises(StoreError, match="the database is corrupt"):
        await store.check()
    await store.close()


async def test_corruption_at_run_time_is_an_outage(tmp_path: Path, store: SQLStore, clock: Clock) -> None:
    await fire(store, clock)

    def corrupt(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_schema SET rootpage = 9999 WHERE name = 'own'")
        (version,) = db.execute("PRAGMA schema_version").fetchone()
        db.execute(f"PRAGMA schema_version={version + 1}")  # others read it again

    with beside_file(tmp_path) as other:
        corrupt(other)
    with pytest.raises(StoreError):
        await store.alive(clock.now)
    assert store.outage is Outage.CORRUPT


async def test_the_lock_follows_no_link(tmp_path: Path, clock: Clock) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious", "utf-8")
    (tmp_path / f"{NAME}.lock").symlink_to(precious)
    with pytest.raises(StoreError, match="symbolic link"):
        await a_store(tmp_path, clock)
    assert precious.read_text("utf-8") == "precious"


async def test_two_receivers_never_share_a_database_whatever_becomes_of_the_lock_file(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    (tmp_path / f"{NAME}.lock").unlink()
    other = SQLiteStore(tmp_path / NAME, lambda: None)
    with pytest.raises(StoreError, match="another receiver"):
        await other.open(clock.now)
    await other.close()
    assert await fire(store, clock)  # closing the other has not taken our locks
    again = SQLiteStore(tmp_path / NAME, lambda: None)
    with pytest.raises(StoreError, match="another receiver"):
        await again.open(clock.now)
    await again.close()


async def test_a_receiver_that_starts_while_another_program_holds_the_lock_sends_what_is_owed(
    tmp_path: Path, clock: Clock
) -> None:
    store = await a_store(tmp_path, clock)
    await fire(store, clock)
    await store.close()
    with locked(tmp_path):
        store = await a_store(tmp_path, clock)
        await provoke(store, clock)
        assert len(await Sender(store, clock).claim()) == 1
    await store.close()


async def provoke(store: SQLStore, clock: Clock) -> None:
    with pytest.raises(StoreOutageError):
        await store.alive(clock.now)


async def test_pages_go_out_on_a_full_disk_and_it_recovers_by_itself(tmp_path: Path) -> None:
    """A receiver on a tmpfs of its own; tests/receiver/full_disk.py says what it does."""
    place = tmp_path / "small"
    place.mkdir()
    script = 'mount -t tmpfs -o size=4m none "$0" && exec "$1" -m tests.receiver.full_disk "$0"'
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare on this machine")
    probe = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=4m none "$0"', str(place)]
    if subprocess.run(probe, capture_output=True, check=False).returncode:  # noqa: ASYNC221
        pytest.skip("this machine lets nobody mount a tmpfs in a user namespace")
    process = await asyncio.create_subprocess_exec(
        *("unshare", "-Urm", "sh", "-c", script, str(place), sys.executable), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    measured = json.loads(output.splitlines()[-1])
    assert measured["refused"] == 503
    assert (measured["ready_while_full"], measured["ready_after"]) == (503, 200)
    assert measured["outage_while_full"] == 1
    assert measured["rang_while_full"] == measured["taken_before"]
    assert measured["rang"] == measured["taken"]
    assert measured["ended_well"]
    assert measured["unsettled"] == 0


async def test_who_asks_is_on_call_awake_and_pushed_to_is_read_while_the_database_is_locked(
    tmp_path: Path, clock: Clock
) -> None:
    store, release = await a_store(tmp_path, clock), threading.Event()
    locked = asyncio.ensure_future(store._writer.run(lambda _db: release.wait(60)))  # noqa: SLF001  # as a lock holds it
    try:
        assert await store.access.session(b"hash", clock.now) is None
        assert await store.access.token(b"hash") is None
        assert await store.duty.covers(clock.now) == ()
        assert await store.duty.awake(clock.now) == {}
        assert await store.duty.windows(clock.now) == ()
        assert await store.push.subscriptions("linh") == []
        assert not locked.done()
    finally:
        release.set()
    assert await locked
    await store.close()
