"""What one exporter takes of another: in any order, again and again, within bounds, and nothing that does harm."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.events.sessions import Sessions
from exporter.registry.hyperloglog import REGISTERS, DistinctCount
from exporter.registry.replication_log import MAX_ANSWER, Fact, Kind, Log, ReplicationLog
from exporter.registry.state import State
from exporter.replication.message import (
    MAX_BODY,
    GaugeValue,
    Message,
    Reply,
    Sketch,
    merge_fact,
    merge_gauge,
    merge_sketch,
    reply,
)
from exporter.replication.progress import Progress
from tests.exporter.example_exporter import a_catalogue

NOW = 1_790_000_000.0
SEATS = "class_seats_booked"


def a_state(log: ReplicationLog | None = None) -> State:
    return State(a_catalogue(), b"key", 30.0, log)


def seats(state: State) -> float | None:
    cell = state.recorder.series[SEATS].cells.get(("group",))
    return None if cell is None else float(cell.value)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200), st.integers(0, 40 * 86_400)), max_size=60))
def test_sketches_merge_to_the_same_in_any_order_and_number(seen: list[tuple[int, int, int]]) -> None:
    one = DistinctCount(b"key")
    parts = [DistinctCount(b"key") for _ in range(3)]
    seen = sorted(seen, key=lambda item: item[2])
    for which, user, after in seen:
        one.add(f"u-{user}", NOW + after)
        parts[which].add(f"u-{user}", NOW + after)
    end = NOW + (seen[-1][2] if seen else 0)
    for _ in range(2):
        for part in parts:
            for other in parts:
                for _, length, index, registers in list(other.changed(0)):
                    part.merge(length, index, registers, end)
    assert [part.counts(end) for part in parts] == [one.counts(end)] * 3


def test_only_what_changed_is_told() -> None:
    distinct = DistinctCount(b"key")
    distinct.add("u-1", NOW)
    told = max(version for version, *_ in distinct.changed(0))
    distinct.add("u-1", NOW)
    assert list(distinct.changed(told)) == []
    for _, length, index, registers in list(distinct.changed(0)):
        distinct.merge(length, index, registers, NOW)
    assert list(distinct.changed(told)) == []


@pytest.mark.parametrize(
    ("length", "index"),
    [
        (86_400, int(NOW // 86_400) + 1),
        (86_400, int(NOW // 86_400) - 31),
        (60, 0),
        (60, -1),
        (1, int(NOW)),
        (0, 0),
        (-60, 5),
    ],
)
def test_a_slice_of_no_time_of_ours_is_ignored(length: int, index: int) -> None:
    state = a_state()
    merge_sketch(state, Sketch("active_users", length, index, bytes([9]) * REGISTERS), NOW)
    merge_sketch(state, Sketch("no_such_family", 60, int(NOW // 60), bytes(REGISTERS)), NOW)
    assert set(state.recorder.distinct["active_users"].counts(NOW).values()) == {0}
    assert list(state.recorder.distinct["active_users"].changed(0)) == []


def test_registers_that_no_hash_gives_are_ignored() -> None:
    state = a_state()
    for rank in (54, 255):
        merge_sketch(state, Sketch("active_users", 60, int(NOW // 60), bytes([rank]) * REGISTERS), NOW)
    assert set(state.recorder.distinct["active_users"].counts(NOW).values()) == {0}
    merge_sketch(state, Sketch("active_users", 60, int(NOW // 60), bytes([53]) * REGISTERS), NOW)
    assert state.recorder.distinct["active_users"].counts(NOW)["5m"] > 0


def test_the_latest_event_of_a_gauge_counts_and_of_two_at_once_the_larger() -> None:
    state = a_state()
    for value, at, wanted in ((5, NOW - 9, 5), (7, NOW - 8, 7), (6, NOW - 9, 7), (8, NOW - 8, 8), (7, NOW - 8, 8)):
        merge_gauge(state, GaugeValue(SEATS, ("group",), value, at), NOW)
        assert seats(state) == wanted


@pytest.mark.parametrize(
    "gauge",
    [
        GaugeValue(SEATS, ("group",), math.nan, NOW),
        GaugeValue(SEATS, ("group",), math.inf, NOW),
        GaugeValue(SEATS, ("group",), 1.0, math.nan),
        GaugeValue(SEATS, ("group",), 1.0, NOW + 3600),
        GaugeValue(SEATS, ("group",), 1.0, 0.0),
        GaugeValue(SEATS, ("made-up",), 1.0, NOW),
        GaugeValue(SEATS, (), 1.0, NOW),
        GaugeValue(SEATS, ("group", "group"), 1.0, NOW),
        GaugeValue("class_bookings_total", ("group", "web"), 1.0, NOW),
        GaugeValue("exporter_journal_bytes", (), 1.0, NOW),
        GaugeValue("active_users", ("1d",), 1.0, NOW),
        GaugeValue("no_such_family", (), 1.0, NOW),
    ],
)
def test_a_gauge_that_could_do_harm_is_ignored(gauge: GaugeValue) -> None:
    state = a_state()
    before = msgspec.msgpack.encode(state.dump(own=True))
    merge_gauge(state, gauge, NOW)
    assert msgspec.msgpack.encode(state.dump(own=True)) == before


def test_the_clock_of_a_peer_that_is_ahead_hides_nothing_of_ours() -> None:
    state = a_state()
    merge_gauge(state, GaugeValue(SEATS, ("group",), 5.0, NOW + 50), NOW)
    merge_gauge(state, GaugeValue(SEATS, ("group",), 6.0, NOW + 1), NOW + 1)
    assert seats(state) == 6


def test_a_session_goes_to_who_saw_it_last_with_its_beginning() -> None:
    first, second = Sessions(), Sessions()
    first.seen(0, 0, 7, NOW)
    second.seen(0, 0, 7, NOW + 100)
    given_up = first.merge_session(7, NOW + 100, NOW + 100)
    assert given_up == (NOW, NOW)
    assert second.merge_session(7, *given_up) is None
    assert second.session(7) == (NOW, NOW + 100)
    assert first.ended(NOW + 9000).durations == []
    assert second.ended(NOW + 9000).durations == [100]
    assert first.merge_session(8, NOW, NOW) is None


@pytest.mark.parametrize("field", ["first", "last"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, NOW + 3600])
def test_a_fact_of_no_time_is_ignored(field: str, value: float) -> None:
    state = a_state(ReplicationLog())
    state.sessions.seen(1, 0, 7, NOW)
    times: dict[str, Any] = {"first": NOW, "last": NOW, field: value}
    for kind in Kind:
        merge_fact(state, Fact(kind, 7, text="LCP/x", **times), NOW)
    assert state.sessions.session(7) == (NOW, NOW)


def test_a_kind_of_a_newer_version_is_ignored() -> None:
    assert merge_fact(a_state(), Fact(200, 7), NOW) is False


def test_a_log_gives_each_fact_once_and_forgets_the_oldest() -> None:
    log, position, got = Log(100), 0, []
    for number in range(1000):
        log.add(Fact(Kind.EVENT, number))
        if number % 30 == 0:
            facts, position = log.since(position, 50)
            got += [fact.key for fact in facts]
    facts, position = log.since(position, 1000)
    assert [*got, *(fact.key for fact in facts)] == list(range(1000))
    assert position == log.end
    late, position = log.since(0, 1000)
    assert late[-1].key == 999
    assert 100 <= len(late) < 125
    assert position == log.end


def test_a_message_is_never_larger_than_what_is_taken_and_all_is_told() -> None:
    log, state = ReplicationLog(), a_state()
    for number in range(3000):
        log.counted(Kind.BATCH, number, bytes(MAX_ANSWER))
        log.tell(Fact(Kind.VITAL, text="x" * 300, last=NOW))
    log.counted(Kind.BATCH, 3000, b'{"accepted":1,"rejected":["' + b"x" * MAX_ANSWER + b'"],"rejected_total":9}')
    log.synced(3001)
    for slot in range(24 * 31):
        state.recorder.distinct["active_users"].add("u-1", NOW + slot * 3600)
    progress, keys, vitals, more = Progress(), [], 0, True
    while more:
        draft = progress.draft(state, log, "boot", whole=True)
        assert len(draft.body) <= MAX_BODY
        assert msgspec.msgpack.decode(draft.body, type=Message) == draft.message
        keys += [fact.key for fact in draft.message.facts if fact.kind == Kind.BATCH]
        vitals += sum(fact.kind == Kind.VITAL for fact in draft.message.facts)
        progress.told(draft)
        more = draft.more
    assert (keys, vitals) == (list(range(3001)), 3000)
    assert progress.draft(state, log, "boot", whole=True).is_empty
    assert log.servers.since(3000, 1)[0][0].answer == b'{"accepted":1,"rejected":[],"rejected_total":9}'


def test_an_answer_is_never_larger_than_what_is_taken() -> None:
    log = ReplicationLog()
    for number in range(2000):
        log.counted(Kind.BATCH, 2**64 - 1 - number, bytes(MAX_ANSWER))
    log.synced(2000)
    position, got, more = (0, 0), 0, True
    while more:
        body = msgspec.msgpack.encode(reply("boot", log, position))
        assert len(body) <= MAX_BODY
        answer = msgspec.msgpack.decode(body, type=Reply)
        position, got, more = answer.end, got + len(answer.facts), answer.more
    assert got == 2000
    assert reply("boot", log, None).facts == []


def test_what_is_not_on_disk_is_not_told() -> None:
    told: list[int] = []
    log = ReplicationLog()
    log.changed = lambda: told.append(log.durable)
    for number in range(3):
        log.counted(Kind.BATCH, number)
    assert Progress().draft(a_state(), log, "boot", whole=False).is_empty
    assert reply("boot", log, (0, 0)).facts == []
    assert told == []
    log.synced(2)
    log.synced(1)
    assert told == [2]
    assert [fact.key for fact in Progress().draft(a_state(), log, "boot", whole=False).message.facts] == [0, 1]
    assert [fact.key for fact in reply("boot", log, (1, 0)).facts] == [1]


def test_after_a_reload_the_peers_hear_of_what_comes_then() -> None:
    before, after, log = a_state(), a_state(), ReplicationLog()
    for number in range(500):
        before.recorder.distinct["active_users"].add(f"u-{number}", NOW)
    progress = Progress()
    progress.told(progress.draft(before, log, "boot", whole=True))
    assert progress.draft(before, log, "boot", whole=True).is_empty
    after.load(before.dump(own=True))
    after.recorder.distinct["active_users"].add("another", NOW)
    sketches = progress.draft(after, log, "boot", whole=True).message.sketches
    assert {sketch.length for sketch in sketches} == {60, 300, 3600, 86_400}
