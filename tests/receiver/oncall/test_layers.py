"""Layers as other tools have them: windows, levels, turns by shifts and months, against references that only count."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from process.settings import SettingsError
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.oncall.schedule import Schedule, on_call, shifts
from receiver.policy.routing import Routing
from tests.receiver.config.test_config import edited

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OLD = "roles:\n  on-call-engineer: [linh]\n"


def routed(folder: Path, layers: str, more: str = "", people: str = "") -> Routing:
    made = f"schedules:\n  s:\n    time_zone: Europe/Berlin\n    layers:\n{layers}\n{more}\n"
    path = edited(folder, OLD, f"{made}roles:\n  on-call-engineer: [s]\n")
    if people:
        known = path.read_text("utf-8")
        assert "  linh:  {name: Linh Tran," in known
        path.write_text(known.replace("  linh:  {name: Linh Tran,", f"  linh:  {{name: Linh Tran, {people},"), "utf-8")
    return build_routing(*load(path))


def schedule(folder: Path, layers: str, more: str = "", people: str = "") -> Schedule:
    return routed(folder, layers, more, people).schedules["s"]


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def on_wall(day: date, minutes: int, zone: str) -> datetime:
    naive = datetime.combine(day, time()) + timedelta(minutes=minutes)
    return naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def openings(start: date, windows: list[tuple[int, int]], zone: str) -> Iterator[tuple[datetime, datetime]]:
    """Every window that opens from the start's midnight on, in order: a person with a calendar and a pencil."""
    for offset in count():
        day = start + timedelta(days=offset)
        for begin, length in sorted(windows):
            if begin // 1440 == day.weekday():
                yield on_wall(day, begin % 1440, zone), on_wall(day, begin % 1440 + length, zone)


def week_time(minute: int) -> str:
    minute %= 7 * 1440
    return f'"{DAYS[minute // 1440]} {minute % 1440 // 60:02}:{minute % 60:02}"'


@settings(max_examples=30, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    gaps=st.lists(st.tuples(st.integers(1, 1400), st.integers(240, 1400)), min_size=1, max_size=4),
    each=st.integers(1, 3),
)
def test_a_turn_of_so_many_shifts_counts_windows(
    tmp_path_factory: pytest.TempPathFactory, zone: str, gaps: list[tuple[int, int]], each: int
) -> None:
    windows, minute = [], 0
    for pause, length in gaps:
        windows.append((minute + pause, length))
        minute += pause + length
    written = ", ".join(f"{{from: {week_time(a)}, to: {week_time(a + n)}}}" for a, n in windows)
    layer = f"      - {{people: [linh, marek, aisha], rotation: {each} shifts, start: 2026-03-02, handover: '00:00'"
    made = schedule(tmp_path_factory.mktemp("s"), f"{layer}, time_zone: {zone}, windows: [{written}]}}")
    at = datetime(2026, 3, 9, tzinfo=UTC)
    opened = [one for one, _ in zip(openings(date(2026, 3, 2), windows, zone), range(40 * len(windows)), strict=False)]
    while at < datetime(2026, 11, 20, tzinfo=UTC):
        turn = next((n for n, (a, b) in enumerate(opened) if a <= at < b), None)
        expected = () if turn is None else (("linh", "marek", "aisha")[turn // each % 3],)
        assert on_call(made, at) == expected, at
        at += timedelta(hours=5, minutes=37)


@settings(max_examples=25, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    hours=st.integers(1, 60).filter(lambda n: n % 24),
    handover=st.integers(0, 1439),
    wall=st.booleans(),
)
def test_turns_of_hours_are_those_of_the_wall_or_those_that_have_passed(
    tmp_path_factory: pytest.TempPathFactory, zone: str, hours: int, handover: int, wall: bool
) -> None:
    clock = "wall" if wall else "elapsed"
    layer = f"      - {{people: [linh, marek, aisha], rotation: {hours}h, start: 2026-03-02, clock: {clock}"
    text = f"{layer}, time_zone: {zone}, handover: '{handover // 60:02}:{handover % 60:02}'}}"
    made = schedule(tmp_path_factory.mktemp("s"), text)
    first = on_wall(date(2026, 3, 2), handover, zone)
    begins = [
        on_wall(date(2026, 3, 2), handover + n * hours * 60, zone) if wall else first + n * timedelta(hours=hours)
        for n in range(7000 // hours)
    ]
    at, turn = first, 0
    while at < datetime(2026, 11, 20, tzinfo=UTC):
        while begins[turn + 1] <= at:
            turn += 1
        assert on_call(made, at) == (("linh", "marek", "aisha")[turn % 3],), at
        at += timedelta(hours=7, minutes=13)


def test_a_turn_of_a_month_ends_where_go_says(tmp_path: Path) -> None:
    layer = "      - {people: [linh, marek, aisha], rotation: 1 month, start: 2026-01-31, time_zone: UTC}"
    made = schedule(tmp_path, layer)
    listed = shifts(made, datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    # time.Date(2026, 1, 31).AddDate(0, 1, 0) is 3 March: the days that February lacks
    starts = [(shift.start.month, shift.start.day, *shift.people) for shift in listed]
    expected = [(1, 31, "linh"), (3, 3, "marek"), (3, 31, "aisha"), (5, 1, "linh"), (5, 31, "marek")]
    assert starts == expected


def test_only_the_first_part_of_a_turn_is_served_by_the_clock_on_the_wall(tmp_path: Path) -> None:
    layer = '      - {people: [linh, marek], rotation: 2w, shift: 7d, start: 2026-10-12, handover: "09:00"}'
    listed = shifts(schedule(tmp_path, layer), berlin("2026-10-12T09:00"), berlin("2026-11-10T09:00"))
    assert [(shift.start, shift.people) for shift in listed] == [
        (berlin("2026-10-12T09:00"), ("linh",)),
        (berlin("2026-10-19T09:00"), ()),
        (berlin("2026-10-26T09:00"), ("marek",)),
        (berlin("2026-11-02T09:00"), ()),
        (berlin("2026-11-09T09:00"), ("linh",)),
    ]
    eight = '      - {people: [linh], rotation: daily, shift: 8h, start: 2026-10-12, handover: "22:00"}'
    night = shifts(schedule(tmp_path, eight), berlin("2026-10-24T22:00"), berlin("2026-10-25T12:00"))
    assert next(shift.end for shift in night) == berlin("2026-10-25T06:00")  # nine hours: the clock goes back


def test_equal_levels_are_together_and_a_higher_one_wins(tmp_path: Path) -> None:
    layers = """      - {people: [linh], start: 2026-11-02, level: 1}
      - {people: [marek], start: 2026-11-02, level: 1, hours: "09:00-18:00"}
      - {people: [aisha], start: 2026-11-02, level: 3, hours: "12:00-13:00"}
      - {people: [peter], start: 2026-11-02, level: 2, hours: "12:00-14:00"}"""
    made = schedule(tmp_path, layers)
    listed = shifts(made, berlin("2026-11-23T00:00"), berlin("2026-11-24T00:00"))
    assert [(shift.start.hour + 1, shift.people) for shift in listed if shift.start.hour != 23] == [
        *((9, ("linh", "marek")), (12, ("aisha",)), (13, ("peter",)), (14, ("linh", "marek")), (18, ("linh",)))
    ]


def test_a_turn_of_nobody_is_not_filled_by_the_next_in_turn(tmp_path: Path) -> None:
    layer = '      - {people: [linh, "-", marek], rotation: daily, start: 2026-11-02, handover: "00:00"}'
    vacation = "vacation: [{from: 2026-11-02, to: 2026-11-20}], time_zone: Europe/Berlin"
    listed = shifts(schedule(tmp_path, layer, people=vacation), berlin("2026-11-02"), berlin("2026-11-07"))
    assert [shift.people for shift in listed] == [("marek",), (), ("marek",), ()]


def test_from_is_the_first_instant_and_start_still_counts_the_turns(tmp_path: Path) -> None:
    layer = '      - {people: [linh, marek], start: 2026-11-02, handover: "09:00", from: 2026-11-12T15:00}'
    listed = shifts(schedule(tmp_path, layer), berlin("2026-11-02T09:00"), berlin("2026-11-20"))
    assert [(shift.start, shift.people) for shift in listed] == [
        *((berlin("2026-11-02T09:00"), ()), (berlin("2026-11-12T15:00"), ("marek",))),
        (berlin("2026-11-16T09:00"), ("linh",)),
    ]
    early = layer.replace("2026-11-12T15:00", "2026-10-20")
    assert on_call(schedule(tmp_path, early), berlin("2026-10-27")) == ("marek",)  # turns go back before the start


OVERRIDDEN = """    overrides:
      - {from: 2026-11-10, to: 2026-11-11, people: [peter], layers: [night]}
      - {from: 2026-11-12, to: 2026-11-13, remove: [linh]}
      - {from: 2026-11-13, to: 2026-11-14, replace: {linh: peter}}
      - {from: 2026-11-14, to: 2026-11-15, add: [peter]}
      - {from: 2026-11-15, to: 2026-11-16, people: ["-"]}"""


def test_an_override_stands_for_a_layer_or_changes_who_is_there(tmp_path: Path) -> None:
    layers = """      - {people: [linh], start: 2026-11-02, level: 1, name: day}
      - {people: [marek], start: 2026-11-02, level: 1, name: night, hours: "22:00-06:00"}"""
    made = schedule(tmp_path, layers, OVERRIDDEN)
    for at, people in {
        "2026-11-09T23:59": ("linh", "marek"),
        "2026-11-10T01:00": ("linh", "peter"),
        "2026-11-10T12:00": ("linh",),
        "2026-11-12T12:00": (),
        "2026-11-12T23:00": ("marek",),
        "2026-11-13T23:00": ("peter", "marek"),
        "2026-11-14T23:00": ("linh", "marek", "peter"),
        "2026-11-15T12:00": (),
        "2026-11-16T12:00": ("linh",),
    }.items():
        assert on_call(made, berlin(at)) == people, at


def test_a_stand_in_takes_the_place_in_schedules_and_roles(tmp_path: Path) -> None:
    layer = "      - {people: [linh, marek], start: 2026-11-02}"
    more = "vacation: [{from: 2026-11-02, to: 2026-11-20, stand_in: peter}], time_zone: Europe/Berlin"
    routing = routed(tmp_path, layer, people=more)
    assert on_call(routing.schedules["s"], berlin("2026-11-03")) == ("peter",)
    path = tmp_path / "receiver.yml"
    path.write_text(path.read_text("utf-8").replace("on-call-engineer: [s]", "on-call-engineer: [linh]"), "utf-8")
    direct = build_routing(*load(path))
    assert direct.holders("on-call-engineer", berlin("2026-11-03")) == ("peter",)
    assert direct.holders("on-call-engineer", berlin("2026-11-20")) == ("linh",)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("{people: [linh], start: 2026-11-02, rotation: 1 shift}", "rotation: shifts are windows"),
        ("{people: [linh], start: 2026-11-02, rotation: 0 shifts}", "rotation: invalid"),
        ("{people: [linh], start: 2026-11-02, shift: 10s}", "shift: set"),
        ('{people: [linh], start: 2026-11-02, windows: [{from: "fr 18:00", to: "mon 08:00"}]}', "time of the week"),
        (
            '{people: [linh], start: 2026-11-02, days: [mon], windows: [{from: "fri 18:00", to: "mon 08:00"}]}',
            "windows: set either",
        ),
        (
            '{people: [linh], start: 2026-11-02, windows: [{from: "fri 18:00", to: "mon 08:00", time_zone: Mars}]}',
            "windows[0].time_zone: invalid",
        ),
        ("{people: [linh], start: 2026-11-02, level: -1}", "level"),
    ],
)
def test_a_mistake_in_a_layer_is_named(tmp_path: Path, layer: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        schedule(tmp_path, f"      - {layer}")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("{from: 2026-11-10, to: 2026-11-11}", "overrides[0].people: empty"),
        ("{from: 2026-11-10, to: 2026-11-11, add: [nobody]}", "unknown person 'nobody'"),
        ("{from: 2026-11-10, to: 2026-11-11, add: [linh], people: [marek]}", "overrides[0]: set either"),
        ("{from: 2026-11-10, to: 2026-11-11, people: [marek], layers: [day]}", "unknown layer 'day'"),
    ],
)
def test_a_mistake_in_an_override_is_named(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        schedule(tmp_path, "      - {people: [linh], start: 2026-11-02}", f"    overrides: [{override}]")
    assert says in str(caught.value)


def test_levels_of_some_layers_only_are_refused(tmp_path: Path) -> None:
    layers = "      - {people: [linh], start: 2026-11-02, level: 1}\n      - {people: [marek], start: 2026-11-02}"
    with pytest.raises(SettingsError, match=r"layers\[1\]: set `level`"):
        schedule(tmp_path, layers)
