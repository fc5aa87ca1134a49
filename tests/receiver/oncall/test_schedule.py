"""Who is on call: against a reference that counts minutes, in zones whose clocks change, for two years."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from process.settings import SettingsError
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.oncall.hours import Hours, HoursError
from receiver.oncall.hours import parse as hours
from receiver.oncall.localtime import LocalDateTime
from receiver.oncall.schedule import Layer, Schedule, Span, Swap, never_on_call, on_call, served_days, shifts
from receiver.policy.coverage import Uncovered, holders, is_covered
from receiver.policy.coverage import gaps as role_gaps
from tests.receiver.config.test_config import edited

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Ho_Chi_Minh", "UTC", "America/St_Johns"]
PEOPLE = ("linh", "marek", "aisha")
START = date(2025, 11, 3)


def layer(zone: str, *shifts: str, days: int = 7, at: int = 540, **more: object) -> Layer:
    turns = tuple(tuple(shift.split("+")) for shift in shifts or PEOPLE)
    return Layer(zone, START, at, timedelta(days=days), turns, **more)  # type: ignore[arg-type]


def one(zone: str = "Europe/Berlin", **more: object) -> Schedule:
    return Schedule("s", zone, (layer(zone),), **more)  # type: ignore[arg-type]


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def counted(first: date, at: int, days: int, people: tuple[str, ...], zone: str, instant: datetime) -> str:
    """The reference: walk from hand-over to hand-over as somebody with a wall calendar would."""
    day, turn = first, 0
    while True:
        following = day + timedelta(days=days)
        wall = datetime.combine(following, time(at // 60, at % 60), ZoneInfo(zone)).astimezone(UTC)
        if instant < wall:
            return people[turn % len(people)]
        day, turn = following, turn + 1


TWICE, NEVER = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_hand_over_at_a_time_that_exists_twice_is_at_the_first_and_at_one_that_does_not_when_clocks_jump() -> None:
    rotation = layer("Europe/Berlin", at=150, days=1)  # 02:30
    assert rotation.boundary(date(2026, 10, 25)) == TWICE
    assert rotation.boundary(date(2026, 3, 29)) == NEVER
    schedule = Schedule("s", "UTC", (rotation,))
    before, after = (on_call(schedule, TWICE + offset) for offset in (-timedelta(seconds=1), timedelta(0)))
    assert before != after
    assert on_call(schedule, TWICE + timedelta(hours=1)) == after


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("days", "at"), [(1, 540), (7, 540), (7, 150), (3, 0), (14, 1439)])
def test_every_instant_of_two_years_has_the_person_whom_the_calendar_names(zone: str, days: int, at: int) -> None:
    schedule = Schedule("s", zone, (layer(zone, days=days, at=at),))
    begin = schedule.layers[0].boundary(START)
    edges = [schedule.layers[0].boundary(START + timedelta(days=days * n)) for n in range(1, 730 // days)]
    around = [edge + timedelta(seconds=by) for edge in edges[:: max(1, len(edges) // 60)] for by in (-1, 0, 1)]
    between = [begin + timedelta(hours=37 * n, minutes=11 * n) for n in range(470)]
    for instant in (*around, *between):
        assert on_call(schedule, instant) == (counted(START, at, days, PEOPLE, zone, instant),), instant


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_hand_over_at_nine_stays_at_nine_when_the_clocks_change(zone: str) -> None:
    schedule = Schedule("s", zone, (layer(zone, days=1),))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    starts = [shift.start.astimezone(ZoneInfo(zone)) for shift in shifts(schedule, begin, begin + timedelta(days=365))]
    assert {(at.hour, at.minute) for at in starts[1:]} == {(9, 0)}
    assert len(starts) == 366


@settings(max_examples=60, deadline=None)
@given(zone=st.sampled_from(sorted(available_timezones())), at=st.integers(0, 1439), days=st.integers(1, 20))
def test_in_no_zone_of_the_world_is_there_a_gap_or_two_owners(zone: str, at: int, days: int) -> None:
    schedule = Schedule("s", zone, (layer(zone, days=days, at=at),))
    begin = schedule.layers[0].boundary(START)
    listed = shifts(schedule, begin, begin + timedelta(days=400))
    assert listed[0].start == begin
    assert all(a.end == b.start and a.people != b.people for a, b in pairwise(listed))
    assert all(len(shift.people) == 1 for shift in listed)


@settings(max_examples=40, deadline=None)
@given(
    layers=st.lists(
        st.tuples(st.sampled_from([1, 2, 7]), st.sampled_from(["", "09:00-18:00", "22:00-06:00"]), st.booleans()),
        min_size=1,
        max_size=3,
    ),
    overrides=st.lists(st.tuples(st.integers(0, 1200), st.integers(1, 100), st.sampled_from(PEOPLE)), max_size=3),
    away=st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(0, 1200), st.integers(1, 300)), max_size=2),
)
def test_the_shifts_say_what_every_instant_says(
    layers: list[tuple[int, str, bool]], overrides: list[tuple[int, int, str]], away: list[tuple[str, int, int]]
) -> None:
    zone = "Europe/Berlin"
    begin = datetime(2026, 3, 15, tzinfo=UTC)  # over the change to summer time

    def hour(number: int) -> datetime:
        return begin + timedelta(hours=number)

    made = [
        layer(zone, days=days, restrictions=(hours(text, ["mon", "wed", "sat"] if some else [], zone),) if text else ())
        for days, text, some in layers
    ]
    schedule = Schedule(
        "s",
        zone,
        tuple(made),
        overrides=tuple(Span(hour(a), hour(a + b), (who,)) for a, b, who in overrides),
        away={who: ((hour(a), hour(a + b)),) for who, a, b in away},
    )
    listed = shifts(schedule, begin, hour(1000))
    assert (listed[0].start, listed[-1].end) == (begin, hour(1000))
    for number in range(0, 1000 * 60, 97):
        instant = begin + timedelta(minutes=number)
        (shift,) = [s for s in listed if s.start <= instant < s.end]
        assert shift.people == on_call(schedule, instant)


def test_a_later_layer_wins_and_outside_its_hours_the_earlier_one_holds() -> None:
    office = layer("Europe/Berlin", "aisha", restrictions=(hours("09:00-18:00", ["mon"], "Europe/Berlin"),))
    schedule = Schedule("s", "Europe/Berlin", (layer("Europe/Berlin", "linh"), office))
    assert on_call(schedule, berlin("2026-11-23T08:59")) == ("linh",)
    assert on_call(schedule, berlin("2026-11-23T09:00")) == ("aisha",)
    assert on_call(schedule, berlin("2026-11-23T18:00")) == ("linh",)


def test_a_shift_may_be_several_people() -> None:
    schedule = Schedule("s", "UTC", (layer("UTC", "linh+marek", "aisha"),))
    assert on_call(schedule, datetime(2025, 11, 4, tzinfo=UTC)) == ("linh", "marek")


def test_an_override_wins_over_everything_and_the_last_one_over_the_first() -> None:
    day = (berlin("2026-12-24T09:00"), berlin("2026-12-25T09:00"))
    schedule = one(overrides=(Span(*day, ("marek",)), Span(*day, ("aisha",))))
    assert on_call(schedule, berlin("2026-12-24T09:00")) == ("aisha",)
    assert on_call(schedule, day[1]) != () != on_call(schedule, day[0] - timedelta(seconds=1))


def test_a_swap_exchanges_two_people_and_leaves_the_third() -> None:
    times = (berlin("2025-11-03T09:00"), berlin("2025-11-24T09:00"))
    schedule = one(swaps=(Swap(*times, "linh", "marek"),))
    weeks = [on_call(schedule, times[0] + timedelta(days=7 * n, hours=1)) for n in range(4)]
    assert weeks == [("marek",), ("linh",), ("aisha",), ("linh",)]


def test_who_is_on_vacation_is_stood_in_for_by_the_next_in_turn() -> None:
    week = (berlin("2025-11-03T09:00"), berlin("2025-11-10T09:00"))
    assert on_call(one(away={"linh": (week,)}), week[0]) == ("marek",)
    everybody = dict.fromkeys(PEOPLE, (week,))
    assert on_call(one(away=everybody), week[0]) == ()
    following = shifts(one(away=everybody), week[0], week[1] + timedelta(days=1))
    assert [shift.start for shift in following if not shift.people] == [week[0]]


def test_a_rotation_of_hours_counts_real_hours() -> None:
    twelve = Layer("Europe/Berlin", START, 540, timedelta(hours=12), (("linh",), ("marek",)))
    schedule = Schedule("s", "Europe/Berlin", (twelve,))
    listed = shifts(schedule, twelve.boundary(START), twelve.boundary(START) + timedelta(days=200))
    assert {shift.end - shift.start for shift in listed} == {timedelta(hours=12)}


def test_before_the_first_hand_over_and_after_the_end_nobody_is_named() -> None:
    ended = layer("UTC", end=datetime(2025, 12, 1, tzinfo=UTC))
    schedule = Schedule("s", "UTC", (ended,))
    assert on_call(schedule, datetime(2025, 11, 3, 8, 59, tzinfo=UTC)) == ()
    assert on_call(schedule, datetime(2025, 11, 30, tzinfo=UTC)) != ()
    assert on_call(schedule, datetime(2025, 12, 1, tzinfo=UTC)) == ()


def test_the_next_hand_over() -> None:
    at = berlin("2025-11-05T12:00")
    assert shifts(one(), at, at + timedelta(days=7))[0].end == berlin("2025-11-10T09:00")
    assert len(shifts(Schedule("s", "UTC", (layer("UTC", "linh"),)), at, at + timedelta(days=60))) == 1


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("09:00-18:00", "2026-11-23T09:00", "2026-11-23T18:00"),
        ("22:00-06:00", "2026-11-24T05:59", "2026-11-24T06:00"),
        ("00:00-24:00", "2026-11-23T23:59", "2026-11-24T00:00"),
    ],
)
def test_hours_of_a_day_and_over_midnight(text: str, inside: str, outside: str) -> None:
    monday = hours(text, ["mon"], "Europe/Berlin")
    assert monday.contains(berlin(inside))
    assert not monday.contains(berlin(outside))
    assert monday.opens(berlin(inside)) == berlin(inside)
    assert monday.opens(berlin(outside)) > berlin(outside)
    assert monday.closes(berlin(inside)) == berlin(outside)


@settings(max_examples=100, deadline=None)
@given(
    a=st.integers(0, 1439),
    b=st.integers(1, 1440),
    days=st.sets(st.integers(0, 6), min_size=1),
    zone=st.sampled_from(ZONES),
    minute=st.integers(0, 700_000),
)
def test_hours_open_at_the_first_moment_within(a: int, b: int, days: set[int], zone: str, minute: int) -> None:
    window = Hours(a, b, frozenset(days), zone)
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    opening = window.opens(at)
    assert window.contains(opening)
    assert opening >= at
    step = (opening - at) / 50
    assert not any(window.contains(at + n * step) for n in range(50) if step)


@given(
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 14 * 1440),
    st.integers(0, 14 * 1440),
)
def test_the_time_after_which_hours_have_passed_is_the_one_between_which_they_lie(
    start: int, long: int, days: set[int], at: int, length: int
) -> None:
    window = Hours(start, (start + long) % 1440, frozenset(days), "Europe/Berlin")
    begin, passed = datetime(2026, 3, 20, tzinfo=UTC) + timedelta(minutes=at), timedelta(minutes=length)
    end = window.after(begin, passed)
    assert window.between(begin, end) == passed
    assert end >= begin + passed


def test_hours_that_begin_at_a_time_that_exists_twice_begin_at_the_first() -> None:
    window = hours("02:30-04:00", ["sun"], "Europe/Berlin")
    assert window.opens(datetime(2026, 10, 25, tzinfo=UTC)) == TWICE
    assert LocalDateTime("2026-10-25T02:30").at("Europe/Berlin") == TWICE


def test_a_utc_offset_tells_the_second_of_two_equal_times() -> None:
    second = LocalDateTime.from_yaml("2026-10-25T02:30+01:00")
    assert second.at("Europe/Berlin") == TWICE + timedelta(hours=1)


@pytest.mark.parametrize("text", ["9999-12-31T23:00", "0001-01-01", "9999-12-31T23:59:59-11:00"])
def test_a_time_that_no_zone_can_tell_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid time"):
        LocalDateTime.from_yaml(text)


def test_hours_that_a_change_of_clocks_leaves_out_are_passed_over() -> None:
    window = hours("02:00-03:00", ["sun"], "Europe/Berlin")
    begin = datetime(2026, 3, 28, tzinfo=UTC)  # the Sunday after has no such hour
    assert window.opens(begin) == datetime(2026, 4, 5, 0, 0, tzinfo=UTC)
    assert window.after(begin, timedelta(minutes=90)) == datetime(2026, 4, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("day", range(15))
def test_hours_whose_only_day_of_the_week_is_left_out_open_a_week_later(day: int) -> None:
    window = hours("02:00-03:00", ["sun"], "Europe/Berlin")
    at = datetime(2026, 3, 22, 12, tzinfo=UTC) + timedelta(days=day)
    opens = datetime(2026, 4, 5, 0, 0, tzinfo=UTC)
    assert window.opens(at) == (opens if at < opens else opens + timedelta(days=7))
    assert window.between(at, at + timedelta(days=21)) >= timedelta(hours=2)


@pytest.mark.parametrize(
    ("text", "days", "zone"), [("9-18", [], "UTC"), ("09:00-18:00", ["monday"], "UTC"), ("09:00-18:00", [], "Mars")]
)
def test_hours_that_nobody_can_read_are_named(text: str, days: list[str], zone: str) -> None:
    with pytest.raises(HoursError, match=r"invalid (hours|day|time zone)"):
        hours(text, days, zone)


SCHEDULES = """schedules:
  engineers:
    time_zone: Asia/Ho_Chi_Minh
    layers:
      - {people: [linh, marek], start: 2026-11-02, handover: "09:00", rotation: weekly}
      - {people: [aisha], start: 2026-11-02, rotation: daily, hours: "12:00-13:00", days: [mon]}
    overrides:
      - {from: 2026-12-24T09:00, to: 2026-12-25, people: [peter]}
    swaps:
      - {from: 2026-12-01, to: 2026-12-10, people: [linh, marek]}
roles:
  on-call-engineer: [engineers]
"""


def scheduled(folder: Path, text: str = SCHEDULES) -> Path:
    return edited(folder, "roles:\n  on-call-engineer: [linh]\n", text)


def test_a_role_is_held_by_whoever_the_schedule_names_at_that_moment(tmp_path: Path) -> None:
    routing = build_routing(*load(scheduled(tmp_path)))
    at = datetime(2026, 11, 23, 3, tzinfo=UTC)  # the fourth week
    assert holders(routing, "on-call-engineer", at) == ("marek",)
    assert holders(routing, "on-call-engineer", at + timedelta(hours=2, minutes=30)) == ("aisha",)
    assert holders(routing, "on-call-engineer", datetime(2026, 12, 24, 3, tzinfo=UTC)) == ("peter",)


def test_a_gap_is_found_with_its_times(tmp_path: Path) -> None:
    text = SCHEDULES.replace("rotation: weekly}", 'rotation: weekly, hours: "09:00-21:00"}')
    routing = build_routing(*load(scheduled(tmp_path, text)))
    start = datetime(2026, 11, 23, 3, tzinfo=UTC)
    gaps = role_gaps(routing, start, start + timedelta(days=1))
    assert [(gap.role, gap.start.hour, gap.end.hour, gap.reason) for gap in gaps] == [
        ("on-call-engineer", 14, 2, Uncovered.NOBODY)
    ]


OFFICE = """
hours: {office: {hours: "09:00-18:00", days: [mon, tue, wed, thu, fri], time_zone: UTC}}
escalation_matrix:
  - {after: 0m, P1: cto, P2: cto, P3: cto, P4: cto}
  - {after: 30m, P3: on-call-engineer, only: office}
"""


@pytest.mark.parametrize(
    ("matrix", "hours", "found"),
    [
        (OFFICE, "09:00-18:00", []),  # nobody is paged as on-call engineer at night
        (OFFICE, "10:00-18:00", [("Mon 09:00", "Mon 10:00"), ("Tue 09:00", "Tue 10:00")]),
        (
            OFFICE + "  - {after: 60m, P4: on-call-engineer}",
            "09:00-18:00",
            [("Mon 03:00", "Mon 09:00"), ("Mon 18:00", "Tue 09:00"), ("Tue 18:00", "Wed 03:00")],
        ),
    ],
)
def test_a_role_that_only_office_hours_page_has_gaps_in_these_only(
    tmp_path: Path, matrix: str, hours: str, found: list[tuple[str, str]]
) -> None:
    layer = f"""
schedules:
  engineers:
    time_zone: UTC
    layers: [{{people: [linh], start: 2026-11-02, rotation: weekly, hours: "{hours}"}}]
roles:
  on-call-engineer: [engineers]
"""
    path = scheduled(tmp_path, layer)
    text = path.read_text("utf-8")
    begin, end = text.index("escalation_matrix:"), text.index("# After an outage of the receiver")
    path.write_text(text[:begin] + matrix + "\n" + text[end:], "utf-8")
    routing = build_routing(*load(path))
    start = datetime(2026, 11, 23, 3, tzinfo=UTC)
    gaps = role_gaps(routing, start, start + timedelta(days=2))
    assert [(f"{gap.start:%a %H:%M}", f"{gap.end:%a %H:%M}") for gap in gaps] == found
    assert is_covered(routing, "on-call-engineer", start) is not any(gap.start == start for gap in gaps)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Asia/Ho_Chi_Minh", "Asia/Saigonn", "time_zone: invalid"),
        ("people: [linh, marek], start", "people: [lin, marek], start", "layers[0].people[0]: unknown person 'lin'"),
        ("rotation: weekly", "rotation: fortnightly", "rotation: invalid"),
        ("rotation: weekly", "rotation: 10m", "rotation: too short"),
        ('"09:00", rotation', '"25:00", rotation', "handover: invalid"),
        ("to: 2026-12-25, people", "to: 2026-12-20, people", "overrides[0]: ends"),
        ("to: 2026-12-25, people", "to: soon, people", "to: invalid time"),
        ("people: [linh, marek]}\nroles", "people: [linh]}\nroles", "swaps[0].people: "),
        ("people: [aisha]", "people: [[]]", "layers[1].people[0]: empty"),
        ("on-call-engineer: [engineers]", "on-call-engineer: [engineer]", "roles.on-call-engineer: unknown"),
    ],
)
def test_a_mistake_in_a_schedule_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SCHEDULES
    with pytest.raises(SettingsError) as caught:
        build_routing(*load(scheduled(tmp_path, SCHEDULES.replace(old, new))))
    assert says in str(caught.value)


def test_an_unquoted_time_is_what_it_looks_like(tmp_path: Path) -> None:
    routing = build_routing(*load(scheduled(tmp_path, SCHEDULES.replace('"09:00", rotation', "10:30, rotation"))))
    assert routing.schedules["engineers"].layers[0].handover == 630


WEEKDAYS = hours("00:00-24:00", ["mon", "tue", "wed", "thu", "fri"], "UTC")
SEVEN = tuple((name,) for name in "abcdefg")


def weekday_rotation(*, served: bool, handover: int = 0) -> Schedule:
    days = served_days(handover, [WEEKDAYS]) if served else frozenset[int]()
    monday = date(2026, 11, 2)
    layer = Layer("UTC", monday, handover, timedelta(days=1), SEVEN, (WEEKDAYS,), served=days)
    return Schedule("s", "UTC", (layer,))


def test_of_seven_people_on_weekdays_two_never_serve_unless_only_served_days_count() -> None:
    at = datetime(2026, 11, 10, tzinfo=UTC)
    assert never_on_call(weekday_rotation(served=False), at) == ("f", "g")
    served = weekday_rotation(served=True)
    assert never_on_call(served, at) == ()
    start = datetime(2026, 11, 2, tzinfo=UTC)
    names = [shift.people for shift in shifts(served, start, start + timedelta(days=14))]
    assert names == [*(("a",), ("b",), ("c",), ("d",), ("e",)), (), *(("f",), ("g",), ("a",), ("b",), ("c",)), ()]


def test_a_shift_that_reaches_into_a_served_day_is_served() -> None:
    assert served_days(0, [WEEKDAYS]) == {0, 1, 2, 3, 4}
    assert served_days(9 * 60, [WEEKDAYS]) == {6, 0, 1, 2, 3, 4}  # from Sunday nine o'clock until Monday nine o'clock
    night = hours("22:00-06:00", ["fri"], "UTC")
    assert served_days(9 * 60, [night]) == {4}
    assert served_days(0, [night]) == {4, 5}
    assert never_on_call(weekday_rotation(served=True, handover=540), datetime(2026, 11, 10, tzinfo=UTC)) == ()


def test_who_is_hidden_by_a_later_layer_never_serves() -> None:
    below, above = layer("UTC", "linh"), layer("UTC", "marek")
    assert never_on_call(Schedule("s", "UTC", (below, above)), datetime(2027, 1, 1, tzinfo=UTC)) == ("linh",)
    over = msgspec.structs.replace(above, end=datetime(2026, 12, 1, tzinfo=UTC))
    assert never_on_call(Schedule("s", "UTC", (below, over)), datetime(2027, 1, 1, tzinfo=UTC)) == ()


SUN = """schedules:
  engineers:
    time_zone: UTC
    layers:
      - {people: [linh], start: 2026-11-02, time_zone: Asia/Ho_Chi_Minh, hours: "09:00-17:00"}
      - {people: [marek], start: 2026-11-02, time_zone: Europe/Berlin, hours: "11:00-17:00"}
      - {people: [aisha], start: 2026-11-02, time_zone: America/New_York, hours: "11:00-21:00"}
roles:
  on-call-engineer: [engineers]
"""


def test_one_schedule_follows_the_sun(tmp_path: Path) -> None:
    routing = build_routing(*load(scheduled(tmp_path, SUN)))
    start = datetime(2026, 11, 23, tzinfo=UTC)
    listed = shifts(routing.schedules["engineers"], start, start + timedelta(days=1))
    assert [(shift.start.hour, shift.people) for shift in listed] == [
        *((0, ("aisha",)), (2, ("linh",)), (10, ("marek",)), (16, ("aisha",)))
    ]


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("{people: [linh], start: 2026-11-02, time_zone: Mars/City}", "layers[0].time_zone: invalid"),
        ("{people: [linh], start: 2026-11-02, turns: served}", "layers[0].turns: "),
        ("{people: [linh], start: 2026-11-02, turns: served, days: [mon], rotation: 12h}", "layers[0].turns: "),
        ("{people: [linh], start: 2026-11-02, turns: some}", "turns"),
    ],
)
def test_what_is_wrong_with_turns_and_zones_of_a_layer_is_named(tmp_path: Path, layer: str, says: str) -> None:
    text = f"schedules:\n  s:\n    time_zone: UTC\n    layers: [{layer}]\nroles:\n  on-call-engineer: [s]\n"
    with pytest.raises(SettingsError) as caught:
        build_routing(*load(scheduled(tmp_path, text)))
    assert says in str(caught.value)
