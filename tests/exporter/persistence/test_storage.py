"""Nothing accepted is lost or counted twice: journal, snapshot, restart, crash, and disks that fail."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.app import Exporter
from exporter.persistence.journal import Fault, Journal, JournalError, Kind
from exporter.persistence.snapshot import Folder, SnapshotError, StorageError, save
from tests.examples import EXAMPLES
from tests.exporter.example_exporter import BROWSER, TOKEN, Client, Time, a_config, an_application, an_exporter, value
from tests.stories.stack import until

# What the exporter counts about itself begins at 0 with the process, but for what follows from the records.
NOT_REPLAYED = ("python_", "process_", "exporter_")
_COUNTER = re.compile(r"_(total|bucket|count|sum)\b")
LIMIT = 1024 * 1024  # bytes of a journal


class Installation:
    """An exporter on a folder that can be killed (nothing is said to it) and started again."""

    def __init__(self, folder: Path, hold: float = 0, limit: int = 16 * LIMIT, **changes: Any) -> None:  # noqa: ANN401  # of the Config
        self.folder, self.time, self.hold, self.limit, self.changes = folder, Time(), hold, limit, changes
        self.exporter: Exporter
        self.client: Client

    async def start(self) -> None:
        config = a_config(self.folder, first_increment_hold=self.hold, **self.changes)
        storage = msgspec.structs.replace(config.storage, max_journal=self.limit)
        self.exporter = an_exporter(self.time, msgspec.structs.replace(config, storage=storage))
        self.client = TestClient(TestServer(an_application(self.exporter)))
        await self.client.start_server()

    async def kill(self) -> None:
        """What kill -9 leaves: files as they were written, the lock gone; no method of ours is called to save."""
        await self.client.close()
        storage = self.exporter.storage
        assert storage is not None
        os.close(storage.journal._file)  # noqa: SLF001  # as the kernel does
        for descriptor in storage.journal._retired:  # noqa: SLF001
            os.close(descriptor)
        storage._folder.close()  # noqa: SLF001

    async def post(self, body: Any, path: str = "/api/events") -> tuple[int, Any]:  # noqa: ANN401  # JSON
        headers = TOKEN if path == "/api/events" else BROWSER
        answer = await self.client.post(path, data=json.dumps(body).encode(), headers=headers)
        return answer.status, await answer.json() if answer.status != 204 else None

    async def counters(self) -> dict[str, float]:
        """What Prometheus sees of counters and histograms that are not 0."""
        text = await (await self.client.get("/metrics")).text()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith(("#", *NOT_REPLAYED))]
        return {series: float(number) for series, _, number in lines if number != "0.0" and _COUNTER.search(series)}


@pytest.fixture
async def installation(tmp_path: Path) -> Installation:
    started = Installation(tmp_path)
    await started.start()
    return started


def booked(channel: str = "web", **more: object) -> dict[str, object]:
    return {"type": "class_booked", "data": {"class_type": "group", "channel": channel}, **more}


async def test_after_a_kill_everything_that_was_answered_is_counted_and_a_retry_is_answered_as_before(
    installation: Installation,
) -> None:
    batch = {"batch_id": "b-1", "events": [booked(), booked("mobile"), {"type": "nothing"}]}
    first = await installation.post(batch)
    assert first[0] == 202
    await installation.post([booked(id="outbox-7", source="app")])
    before = await installation.counters()
    await installation.kill()
    await installation.start()
    assert await installation.counters() == before
    assert await installation.post(batch) == first
    _, again = await installation.post([booked(id="outbox-7", source="app"), booked(id="outbox-8", source="app")])
    assert (again["accepted"], again["duplicates"]) == (1, 1)
    for _ in range(2):
        assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 3
        await installation.kill()
        await installation.start()
    await installation.kill()


async def test_a_restart_in_good_order_keeps_what_the_journal_no_longer_has(installation: Installation) -> None:
    vital = {"vital": "LCP", "page": "/", "rating": "good", "seconds": 1.5}
    page = {"batch_id": "p-1", "events": [{"type": "web_vital", "id": "v-1", "data": vital}]}
    assert await installation.post(page, "/api/pulse") == (204, None)
    await installation.post([booked(), {"type": "user_active", "data": {"user": "anna"}}])
    seats = {"class_type": "group", "booked": 5, "capacity": 8}
    await installation.post([{"type": "class_seats", "data": seats}])
    before = await installation.counters()
    await installation.client.close()
    await installation.exporter.close()
    names = sorted(path.name for path in installation.folder.glob("*.journal"))
    assert names == ["000000000001.journal", "000000000002.journal"]  # the first is for a damaged snapshot
    await installation.start()
    assert await installation.counters() == before
    assert await value(installation.client, "class_seats_capacity", class_type="group") == 8
    installation.exporter.parts.state.recorder.refresh(installation.time.now)
    assert await value(installation.client, "active_users", window="5m") == 1
    installation.time.now += 31
    installation.exporter.tick()
    labels = {"page": "/", "device": "desktop"}
    assert await value(installation.client, "rum_largest_contentful_paint_seconds_count", **labels) == 1
    await installation.post(page, "/api/pulse")
    installation.time.now += 31
    installation.exporter.tick()
    assert await value(installation.client, "rum_largest_contentful_paint_seconds_count", **labels) == 1
    await installation.kill()


VIEW = {"type": "page_load", "data": {"page": "/", "total": 1, "navigation": "navigate"}}
VIEWS = ("rum_page_views_total", {"page": "/", "device": "desktop", "navigation": "navigate"})
BOOKINGS = ("class_bookings_total", {"class_type": "group", "channel": "web"})
# What is sent a second time, where to, what it counts in, and for how many seconds it must be known.
AGAIN = [
    pytest.param("/api/events", {"batch_id": "b", "events": [booked()]}, BOOKINGS, 6.9 * 86_400, id="a server's batch"),
    pytest.param("/api/events", [booked(id="7", source="app")], BOOKINGS, 6.9 * 86_400, id="a server's event"),
    pytest.param("/api/pulse", {"batch_id": "b", "events": [VIEW]}, VIEWS, 599, id="a browser's batch"),
]


@pytest.mark.parametrize(("path", "body", "counter", "seconds"), AGAIN)
async def test_what_a_snapshot_knows_is_not_counted_again(
    installation: Installation, path: str, body: object, counter: tuple[str, dict[str, str]], seconds: float
) -> None:
    name, labels = counter
    assert (await installation.post(body, path))[0] in {202, 204}
    await installation.client.close()
    await installation.exporter.close()
    (installation.folder / "000000000001.journal").unlink()  # nothing but the snapshot knows of it
    installation.time.now += seconds
    await installation.start()
    assert (await installation.post(body, path))[0] in {202, 204}
    assert await value(installation.client, name, **labels) == 1
    await installation.kill()


async def test_a_visit_goes_on_after_a_snapshot(installation: Installation) -> None:
    """Its session is as long as it was, and batches that a page numbered before are not missed."""

    async def beacon(sequence: int) -> None:
        client = {"page_id": "p", "session": "s", "sequence": sequence}
        status = await installation.post({"client": client, "events": [VIEW]}, "/api/pulse")
        assert status == (204, None)

    await beacon(0)
    await beacon(1)
    await installation.client.close()
    await installation.exporter.close()
    (installation.folder / "000000000001.journal").unlink()  # nothing but the snapshot knows of it
    installation.time.now += 100
    await installation.start()
    assert await value(installation.client, "rum_active_sessions") == 1
    await beacon(2)
    installation.time.now += 3600
    installation.exporter.tick()
    assert await value(installation.client, "rum_session_duration_seconds_sum") == 100
    assert await value(installation.client, "rum_beacons_lost_total") == 0
    await installation.kill()


@pytest.mark.parametrize(("path", "body", "counter", "seconds"), AGAIN)
async def test_ids_are_known_for_as_long_as_is_promised(
    installation: Installation, path: str, body: object, counter: tuple[str, dict[str, str]], seconds: float
) -> None:
    name, labels = counter
    elsewhere = {"type": "page_load", "data": {"page": "/login", "total": 1, "navigation": "navigate"}}
    other = {"batch_id": "other", "events": [elsewhere]}
    for _ in range(2):
        assert (await installation.post(body, path))[0] in {202, 204}
        assert await value(installation.client, name, **labels) == 1
        for _ in range(4):  # others come meanwhile, so that time passes for what remembers
            installation.time.now += seconds / 4
            assert (await installation.post(other, path))[0] in {202, 204}
    await installation.kill()


def test_a_snapshot_is_on_disk_before_it_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_sync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        steps.append(f"rename {path.name}")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    for _ in range(2):
        save(tmp_path, b"data")
    first = ["sync state.snapshot.new", "rename state.snapshot.new", f"sync {tmp_path.name}"]
    assert steps == [*first, first[0], "rename state.snapshot.previous.new", *first[1:]]


async def test_a_new_journal_file_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal(tmp_path, Time(), lambda _seconds: None, LIMIT)
    for files in (1, 2):
        journal.rotate()
        for _ in range(2):
            journal.append(b"one")
            await journal.durable()
            assert synced == [tmp_path.name] * files
    journal.close()


async def test_one_sync_serves_the_records_that_come_in_successive_turns_of_the_loop(tmp_path: Path) -> None:
    syncs: list[float] = []
    journal = Journal(tmp_path, Time(), syncs.append, LIMIT)  # a clock that stands still: no pause may end by it
    journal.rotate()

    async def sender(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        journal.append(b"record")
        await journal.durable()

    await asyncio.gather(*(sender(0) for _ in range(3)))
    assert len(syncs) == 1
    await asyncio.gather(*(sender(turns) for turns in range(200)))
    assert journal.clean
    assert len(syncs) < 200
    journal.close()


def test_a_record_whose_checksum_is_wrong_is_not_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Time(), lambda _seconds: None, LIMIT)
    journal.rotate()
    for record in (b"one", b"two", b"three"):
        journal.append(record)
    journal.close()
    path = tmp_path / "000000000001.journal"
    path.write_bytes(path.read_bytes().replace(b"two", b"tw0"))
    faults: list[Fault] = []
    assert list(journal.read(0, faults.append)) == [b"one", b"three"]
    assert [(fault.lost, fault.kind) for fault in faults] == [(11, Kind.DAMAGED)]


_batch = st.tuples(
    st.sampled_from(["events", "pulse"]),
    st.integers(0, 5),  # the batch's id: some come twice
    st.lists(st.sampled_from(["book", "vital-1", "vital-2", "view", "query"]), min_size=1, max_size=3),
)
_step = st.one_of(
    _batch,
    st.tuples(st.just("time"), st.sampled_from([1, 29, 31, 700, 2000])),
    st.tuples(st.just("tick")),
    st.tuples(st.just("scrape")),
    st.tuples(st.just("save")),
    st.tuples(st.just("kill")),
)


def _event(name: str, number: int) -> dict[str, object]:
    page = {"page": "/", "device": None}
    if name.startswith("vital"):
        data = {"vital": "LCP", "page": "/", "rating": "good", "seconds": 1.0 + number}
        return {"type": "web_vital", "id": name, "data": data}
    if name == "view":
        return {"type": "page_load", "data": {**page, "total": 1.0, "navigation": "reload"}}
    if name == "query":
        return {"type": "db_query", "data": {"operation": "select", "table": f"t{number}", "duration": 0.7}}
    return booked() if name == "book" else {}


@settings(max_examples=EXAMPLES // 2)
@example([("pulse", 1, ["vital-1"]), ("time", 31), ("tick",), ("pulse", 2, ["vital-1"]), ("kill",)], 0)
@example([("pulse", 1, ["view"]), ("scrape",), ("time", 31), ("scrape",), ("kill",), ("scrape",)], 30)
@given(st.lists(_step, min_size=4, max_size=25), st.sampled_from([0, 30]))
def test_no_crash_at_any_moment_makes_a_counter_go_back_or_count_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], hold: float
) -> None:
    asyncio.run(_story(tmp_path_factory.mktemp("state"), steps, hold))


class Story:
    """Two exporters hear the same; one of them is killed again and again. Both must show the same in the end."""

    def __init__(self, folder: Path, hold: float) -> None:
        self.mortal, self.immortal = Installation(folder / "a", hold), Installation(folder / "b", hold)
        self.immortal.time = self.mortal.time
        self.both = (self.mortal, self.immortal)
        self.shown: dict[str, float] = {}

    async def step(self, name: str, *details: Any) -> None:  # noqa: ANN401  # of each step its own
        match name:
            case "time":
                self.mortal.time.now += details[0]
            case "tick":
                for one in self.both:
                    one.exporter.tick()
            case "save":
                await self.mortal.exporter.save()
            case "kill":
                await self.mortal.kill()
                await self.mortal.start()
            case "scrape":
                counters = await self.mortal.counters()
                assert {key: new for key, old in self.shown.items() if (new := counters.get(key, 0)) < old} == {}
                self.shown = counters
            case _:
                await self.send(name, *details)

    async def send(self, where: str, number: int, names: list[str]) -> None:
        kept = [name for name in names if where == "events" or name != "book"] or ["view"]
        body: dict[str, object] = {"batch_id": f"{number}", "events": [_event(name, number) for name in kept]}
        if where == "pulse":
            body["client"] = {"page_id": f"p{number}", "sequence": number, "session": "s"}
        first, second = [await one.post(body, f"/api/{where}") for one in self.both]
        assert first == second


async def _story(folder: Path, steps: list[Any], hold: float) -> None:
    story = Story(folder, hold)
    for one in story.both:
        await one.start()
    for step in steps:
        await story.step(*step)
    story.mortal.time.now += 10_000
    for _ in range(2):  # the second time everything new has been seen as 0 for long enough
        story.mortal.time.now += 31
        for one in story.both:
            one.exporter.tick()
            await one.counters()
    assert await story.mortal.counters() == await story.immortal.counters()
    for one in story.both:
        await one.kill()


async def test_a_new_series_is_still_shown_as_0_after_a_restart(tmp_path: Path) -> None:
    installation = Installation(tmp_path, hold=30)
    await installation.start()
    await installation.post([{"type": "rate_limited", "data": {"route": "/", "policy": "login"}}])
    labels = {"route": "/", "policy": "login"}
    for _ in range(3):
        assert await value(installation.client, "http_rate_limited_total", **labels) == 0
        installation.time.now += 10
        await installation.kill()
        await installation.start()
    assert await value(installation.client, "http_rate_limited_total", **labels) == 1
    await installation.kill()


async def test_a_crash_between_snapshot_and_clearing_the_journal_counts_nothing_twice(
    installation: Installation,
) -> None:
    await installation.post([booked()])
    old = installation.folder / "000000000001.journal"
    content = old.read_bytes()
    await installation.exporter.save()
    await installation.post([booked()])
    await installation.kill()
    old.write_bytes(content)
    await installation.start()
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 2
    await installation.kill()


async def test_a_cut_off_record_is_left_out_and_what_follows_later_is_read(installation: Installation) -> None:
    await installation.post([booked()])
    await installation.post([booked()])
    await installation.kill()
    (journal,) = installation.folder.glob("*.journal")
    journal.write_bytes(journal.read_bytes()[:-3])
    await installation.start()
    await installation.post([booked()])
    await installation.kill()
    await installation.start()
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 2
    assert not await value(installation.client, "exporter_storage_errors_total", operation="recover")
    await installation.kill()


@pytest.mark.parametrize("snapshots", [1, 2, 3])
@pytest.mark.parametrize("kept", [0, 3, 100])
async def test_a_damaged_snapshot_costs_nothing_while_the_one_before_is_sound(
    installation: Installation, snapshots: int, kept: int
) -> None:
    for _ in range(snapshots):
        await installation.post([booked()])
        await installation.exporter.save()
    await installation.post([booked()])
    await installation.kill()
    snapshot = installation.folder / "state.snapshot"
    snapshot.write_bytes(snapshot.read_bytes()[:kept])
    await installation.start()
    labels = {"class_type": "group", "channel": "web"}
    assert await value(installation.client, "class_bookings_total", **labels) == snapshots + 1
    assert await value(installation.client, "exporter_storage_errors_total", operation="recover") == 1
    await installation.exporter.save()
    await installation.kill()
    await installation.start()
    assert await value(installation.client, "class_bookings_total", **labels) == snapshots + 1
    for _ in range(2):
        await installation.exporter.save()
    assert len(list(installation.folder.glob("*.journal"))) == 2
    await installation.kill()


async def test_both_snapshots_damaged_leave_the_journal(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    await installation.post([booked()])
    await installation.exporter.save()
    await installation.post([booked()])
    await installation.exporter.save()
    await installation.post([booked()])
    await installation.kill()
    for name in ("state.snapshot", "state.snapshot.previous"):
        snapshot = installation.folder / name
        snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"?")
    await installation.start()
    assert "is damaged" in caplog.text
    assert (installation.folder / "state.snapshot.damaged").exists()
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 2
    assert await value(installation.client, "exporter_storage_errors_total", operation="recover") == 2
    await installation.kill()


async def test_a_full_disk_is_a_503_and_nothing_of_it_is_counted(installation: Installation) -> None:
    await installation.post([booked()])
    storage = installation.exporter.storage
    assert storage is not None
    real, full = storage.journal._file, os.open("/dev/full", os.O_WRONLY)  # noqa: SLF001  # a disk without space
    storage.journal._file = full  # noqa: SLF001
    answer = await installation.client.post("/api/events", json={"batch_id": "x", "events": [booked()]}, headers=TOKEN)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "No space left" in (await answer.json())["error"]
    storage.journal._broken = False  # noqa: SLF001  # the second one finds the same disk
    view = {"events": [{"type": "page_load", "data": {"page": "/", "total": 1}}]}
    assert (await installation.post(view, "/api/pulse"))[0] == 503
    os.close(real)
    storage.journal._file = os.open(installation.folder / "000000000001.journal", os.O_WRONLY | os.O_APPEND)  # noqa: SLF001
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 1
    assert await value(installation.client, "exporter_storage_errors_total", operation="append") == 2
    assert (await installation.post({"batch_id": "x", "events": [booked()]}))[0] == 202
    os.close(full)
    await installation.kill()
    await installation.start()
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 2
    await installation.kill()


def test_a_record_that_did_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Time(), lambda _seconds: None, LIMIT)
    journal.rotate()
    journal.append(b"one")
    size = (tmp_path / "000000000001.journal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, before[1]))  # room for a part of the next record
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(JournalError):
            journal.append(b"two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "000000000001.journal").stat().st_size == size
    journal.append(b"three")
    assert list(journal.read(0, lambda _: None)) == [b"one", b"three"]
    journal.close()


def fill(journal: Journal, records: int) -> int:
    """Write so many records of 10 kB, or until the journal is full; return how many there was room for."""
    for number in range(records):
        try:
            journal.append(b"x" * 10_000)
        except JournalError as error:
            assert "max_journal" in str(error)  # noqa: PT017  # either may happen
            return number
    return records


def test_the_journal_as_a_whole_is_bounded_and_has_room_again_after_a_snapshot(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Time(), lambda _seconds: None, LIMIT)
    journal.rotate()
    first = fill(journal, 60)
    second = journal.rotate()  # older files count as well, as long as they are kept
    assert (first, 100 <= first + fill(journal, 200) <= 105) == (60, True)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.journal")) <= LIMIT
    journal.delete(second)
    assert fill(journal, 1) == 1
    journal.close()
    again = Journal(tmp_path, Time(), lambda _seconds: None, LIMIT)
    again.rotate()
    assert fill(again, 200) < 70  # what is there from before counts, too
    again.close()


def test_a_journal_that_has_grown_asks_for_a_snapshot(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Time(), lambda _seconds: None, LIMIT)
    journal.rotate()
    for grown in (False, False, True):
        journal.append(b"x" * 100_000)
        assert journal.grown.is_set() is grown
    journal.rotate()
    assert not journal.grown.is_set()
    for _ in range(2):
        journal.append(b"x" * 250_000)
        journal.rotate()
    journal.append(b"x")  # most of the room is taken by older files
    assert journal.grown.is_set()
    journal.close()


async def test_a_flood_brings_the_next_snapshot_forward(tmp_path: Path) -> None:
    installation = Installation(tmp_path, limit=LIMIT)
    await installation.start()
    loops = [asyncio.ensure_future(loop) for loop in installation.exporter.loops().values()]
    assert float(installation.exporter.parts.settings.config.storage.snapshot_every) == 60
    events = [booked(id=f"{'x' * 100}-{n}", source="app") for n in range(1000)]
    assert (await installation.post(events))[0] == 202
    assert (await installation.post([{**event, "source": "other"} for event in events]))[0] == 202
    await until("there is one", (tmp_path / "state.snapshot").exists)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await installation.kill()


async def test_a_failed_sync_is_the_end_of_the_process(installation: Installation) -> None:
    storage = installation.exporter.storage
    assert storage is not None
    await installation.post([booked()])
    reading, writing = os.pipe()  # can be written, cannot be synced
    real, storage.journal._file = storage.journal._file, writing  # noqa: SLF001
    status, answer = await installation.post([booked()])
    assert status == 503
    assert "disk" in answer["error"]
    assert installation.exporter.failed.is_set()
    assert (await installation.client.get("/-/ready")).status == 503
    storage.journal._file = real  # noqa: SLF001
    os.close(reading)
    os.close(writing)
    await installation.kill()


def test_a_folder_is_one_exporters(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    with pytest.raises(StorageError, match="in use by another exporter"):
        Folder(tmp_path)
    first.close()
    Folder(tmp_path).close()
    assert first.key() == first.key()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"storage.path .*writable"):
        Folder(tmp_path / "file")


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def _records(folder: Path) -> tuple[Path, list[int]]:
    """The one journal file of a folder, and where each record begins."""
    path = next(folder.glob("*.journal"))
    data, starts, at = path.read_bytes(), [], 0
    while at < len(data):
        starts.append(at)
        at += 8 + int.from_bytes(data[at : at + 4], "little")
    return path, starts


@pytest.mark.parametrize(
    "where", ["its length", "the high byte of its length", "its checksum", "its first byte", "its middle"]
)
async def test_a_damaged_record_costs_only_itself_and_is_counted(installation: Installation, where: str) -> None:
    for _ in range(200):
        await installation.post([booked()])
    await installation.kill()
    path, starts = _records(installation.folder)
    middle = starts[60]
    offsets = {"its length": 0, "the high byte of its length": 3, "its checksum": 5, "its first byte": 8}
    _flip(path, middle + offsets.get(where, (starts[61] - middle) // 2))
    await installation.start()
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 199
    assert await value(installation.client, "exporter_storage_errors_total", operation="recover") == 1
    await installation.kill()


async def test_a_record_that_was_never_written_whole_is_not_damage(installation: Installation) -> None:
    await installation.post([booked()])
    await installation.post([booked()])
    await installation.kill()
    path, starts = _records(installation.folder)
    path.write_bytes(path.read_bytes()[: starts[1] + 20])
    await installation.start()
    assert await value(installation.client, "class_bookings_total", class_type="group", channel="web") == 1
    assert not await value(installation.client, "exporter_storage_errors_total", operation="recover")
    await installation.kill()


@settings(deadline=None, max_examples=200)
# Records shorter than 20 bytes could end, with a damaged length, just where another begins.
@given(st.lists(st.binary(min_size=20, max_size=300), min_size=3, max_size=12), st.data())
def test_whatever_byte_is_damaged_every_other_record_is_read(records: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, lambda: 0.0, lambda _: None, LIMIT)
        journal.rotate()
        for record in records:
            journal.append(record)
        path, starts = _records(folder)
        victim = data.draw(st.integers(0, len(records) - 1))
        end = [*starts, path.stat().st_size][victim + 1]
        _flip(path, data.draw(st.integers(starts[victim], end - 1)))
        faults: list[Fault] = []
        assert list(journal.read(0, faults.append)) == [r for i, r in enumerate(records) if i != victim]
        assert [(f.kind, f.at, f.lost) for f in faults] == [(Kind.DAMAGED, starts[victim], end - starts[victim])]
        journal.close()


@contextlib.contextmanager
def a_full_disk() -> Iterator[None]:
    """Let every write to a file fail, and none that creates or renames one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def recovered(installation: Installation) -> tuple[float | None, float | None]:
    """What is booked, and how many faults were found at the start."""
    booked_so_far = await value(installation.client, "class_bookings_total", class_type="group", channel="web")
    faults = await value(installation.client, "exporter_storage_errors_total", operation="recover")
    assert await value(installation.client, "exporter_recovery_faults") == faults
    return booked_so_far, faults


async def test_whatever_byte_of_a_snapshot_is_damaged_it_is_refused(installation: Installation) -> None:
    await installation.post([booked()])
    await installation.exporter.save()
    await installation.kill()
    path, folder = installation.folder / "state.snapshot", Folder(installation.folder)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with pytest.raises(SnapshotError):
            folder.load()
    folder.close()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_between_records(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -_length_of_last(path)])


def _cut_in_a_record(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()  # permissions would not keep root from reading it


def _length_of_last(path: Path) -> int:
    data, at = path.read_bytes(), 0
    while (following := at + 8 + int.from_bytes(data[at : at + 4], "little")) < len(data):
        at = following
    return len(data) - at


@pytest.mark.parametrize(
    ("spoil", "left"),
    [(Path.unlink, 2), (_empty, 2), (_unreadable, 2), (_cut_between_records, 3), (_cut_in_a_record, 3)],
)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_journal_file_that_is_gone_or_short_is_counted(
    installation: Installation, spoil: Callable[[Path], None], left: int, *, restarted: bool
) -> None:
    await installation.post([booked()])
    await installation.exporter.save()
    await installation.post([booked()])  # in file 2
    await installation.post([booked()])
    if restarted:
        await installation.kill()
        await installation.start()
    else:
        storage = installation.exporter.storage
        assert storage is not None
        storage.journal.rotate()  # as a snapshot that then fails
    await installation.post([booked()])  # in file 3
    await installation.kill()
    spoil(installation.folder / "000000000002.journal")
    await installation.start()
    assert await recovered(installation) == (left, 1)
    await installation.exporter.save()
    await installation.exporter.save()
    await installation.kill()
    await installation.start()
    assert await recovered(installation) == (left, 0)
    await installation.kill()


@pytest.mark.parametrize("names", ["*.journal", "state.snapshot*"])
async def test_what_is_deleted_by_hand_is_counted_and_costs_nothing_that_comes_later(
    installation: Installation, names: str
) -> None:
    for _ in range(3):
        await installation.post([booked()])
        await installation.exporter.save()
    await installation.kill()
    for path in installation.folder.glob(names):
        path.unlink()
    await installation.start()
    before, faults = await recovered(installation)
    assert faults == 1
    await installation.post([booked()])
    await installation.kill()
    await installation.start()
    assert await recovered(installation) == ((before or 0) + 1, 1)
    await installation.kill()


@pytest.mark.parametrize(
    "name", ["\u00b2.journal", "0.journal", "7.journal", "set-aside.records", "state.snapshot.damaged", "key.new"]
)
async def test_no_stray_name_keeps_the_exporter_from_starting(installation: Installation, name: str) -> None:
    await installation.post([booked()])
    await installation.exporter.save()
    await installation.kill()
    (installation.folder / "000000000002.journal").write_bytes(b"\x01\0\0\0\x1b\xdf\x05\xa5?")  # no record of events
    _flip(installation.folder / "state.snapshot", 9)
    (installation.folder / name).mkdir()
    await installation.start()
    faults = await value(installation.client, "exporter_storage_errors_total", operation="recover")
    assert faults == 2
    await installation.post([booked()])
    await installation.exporter.save()
    assert not await value(installation.client, "exporter_storage_errors_total", operation="snapshot")
    await installation.kill()


@pytest.mark.parametrize("key", [b"", b"short"])
async def test_a_key_that_was_not_written_whole_is_replaced(installation: Installation, key: bytes) -> None:
    await installation.kill()
    path = installation.folder / "key"
    path.write_bytes(key)
    await installation.start()
    assert await recovered(installation) == (0, 1)
    assert len(path.read_bytes()) == 32
    await installation.kill()


async def test_it_starts_on_a_full_disk_and_accepts_events_when_there_is_room(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    with a_full_disk():
        await installation.start()
        assert (await installation.post([booked()]))[0] == 503
    assert (await installation.post([booked()]))[0] == 202
    await installation.kill()
    await installation.start()
    assert await recovered(installation) == (1, 0)
    assert len((tmp_path / "key").read_bytes()) == 32
    await installation.kill()


async def test_ids_that_had_to_go_early_are_counted_over_reloads_and_restarts(tmp_path: Path) -> None:
    few = msgspec.structs.replace(a_config().limits, server_ids=1000)
    installation = Installation(tmp_path, limits=few)
    await installation.start()

    async def forgotten() -> list[float | None]:
        kinds = ("server_batches", "server_events", "beacons")
        return [await value(installation.client, "exporter_dedup_early_forgets_total", ids=kind) for kind in kinds]

    async def send(first: int, number: int) -> None:
        events = [booked(id=str(n), source="outbox") for n in range(first, first + number)]
        assert (await installation.post(events))[0] == 202

    await send(0, 1000)
    await send(1000, 1000)
    assert await forgotten() == [0, 0, 0]
    await send(2000, 1)
    assert await forgotten() == [0, 1, 0]
    exporter = installation.exporter
    exporter.reload(exporter.parts.settings)
    assert await forgotten() == [0, 1, 0]
    await send(3000, 1000)
    assert await forgotten() == [0, 2, 0]
    await installation.kill()
    await installation.start()
    assert await forgotten() == [0, 2, 0]
    await installation.exporter.save()
    await installation.kill()
    await installation.start()
    assert await forgotten() == [0, 2, 0]
    await installation.client.close()


@pytest.mark.parametrize(("snapshots", "faults"), [(0, 0), (1, 0), (2, 1), (3, 1)])
async def test_a_journal_that_begins_after_its_first_file_needs_a_snapshot(
    installation: Installation, snapshots: int, faults: int
) -> None:
    await installation.post([booked()])
    for _ in range(snapshots):
        await installation.exporter.save()
    await installation.kill()
    for path in installation.folder.glob("state.snapshot*"):
        path.unlink()
    await installation.start()
    assert await recovered(installation) == (0 if faults else 1, faults)
    await installation.kill()
