"""Covers of shifts: who may ask, accept, take and swap, what overlaps, and what a schedule makes of it."""

from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from receiver.oncall.cover import Cover, CoverState, Refused, Site, accept, cancel, covered, make, moved, replaced
from receiver.oncall.schedule import Layer, Schedule, Span, on_call, shifts
from tests.receiver.example_site import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SITE = Site(frozenset({"linh", "marek", "aisha"}), frozenset({"primary", "other"}))
PRIMARY = Schedule("primary", "UTC", (Layer("UTC", date(2026, 11, 1), 0, 7 * DAY, (("linh",), ("marek",))),))
TONIGHT = Cover("primary", "linh", "", START, START + 8 * HOUR)


def asked(cover: Cover = TONIGHT, actor: str = "linh", number: int = 1) -> Cover:
    made = make((), (cover,), actor, SITE, START, by_admin=False)
    assert not isinstance(made, Refused)
    return replace(made[0], id=number)


def test_who_asks_is_covered_by_the_first_who_accepts() -> None:
    one = asked()
    assert (one.state, one.made_by) == (CoverState.ASKED, "linh")
    assert covered(PRIMARY, [one]) is PRIMARY
    accepted = accept((one,), 1, "marek", SITE)
    assert accepted == (replace(one, person="marek", state=CoverState.ACTIVE, accepted_by="marek"),)
    assert accept(accepted, 1, "aisha", SITE) is Refused.TOO_LATE
    assert accept(accepted, 1, "marek", SITE) == ()  # a second press


@pytest.mark.parametrize(
    ("person", "by", "why"),
    [
        ("marek", "aisha", Refused.NOT_YOURS),  # somebody else was asked
        ("", "linh", Refused.NOT_YOURS),  # nobody covers themselves
        ("", "a stranger", Refused.PERSON),
    ],
)
def test_who_may_not_accept(person: str, by: str, why: Refused) -> None:
    assert accept((asked(replace(TONIGHT, person=person)),), 1, by, SITE) is why


def test_who_stands_in_by_their_own_wish_asks_nobody() -> None:
    taken = make((), (replace(TONIGHT, person="aisha"),), "aisha", SITE, START, by_admin=False)
    assert not isinstance(taken, Refused)
    assert [one.state for one in taken] == [CoverState.ACTIVE]
    pager = make((), (replace(TONIGHT, out="", person="aisha"),), "aisha", SITE, START, by_admin=False)
    assert not isinstance(pager, Refused)
    assert on_call(covered(PRIMARY, pager), START) == ("aisha",)


def test_nobody_else_but_an_administrator_decides_for_two_others() -> None:
    cover = replace(TONIGHT, person="marek")
    assert make((), (cover,), "aisha", SITE, START, by_admin=False) is Refused.NOT_YOURS
    made = make((), (cover,), "aisha", SITE, START, by_admin=True)
    assert not isinstance(made, Refused)
    assert made[0].state is CoverState.ACTIVE


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"out": "nobody"}, Refused.PERSON),
        ({"person": "linh"}, Refused.PERSON),
        ({"schedule": "nothing"}, Refused.SCHEDULE),
        ({"schedule": "", "out": ""}, Refused.SCHEDULE),
        ({"end": START}, Refused.TIMES),
        ({"end": START + 32 * DAY}, Refused.TIMES),
        ({"start": START - 2 * DAY, "end": START - DAY}, Refused.TIMES),
        ({"start": START + 366 * DAY, "end": START + 367 * DAY}, Refused.TIMES),
    ],
)
def test_what_is_no_cover(change: dict[str, object], why: Refused) -> None:
    person = {"person": "aisha"} if change.get("out") == "" else {}
    assert make((), (replace(TONIGHT, **{**person, **change}),), "linh", SITE, START, by_admin=True) is why


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        ({}, True),
        ({"schedule": ""}, True),
        ({"out": ""}, True),
        ({"schedule": "other"}, False),
        ({"out": "marek"}, False),
        ({"start": START + 8 * HOUR, "end": START + 9 * HOUR}, False),
        ({"start": START + 7 * HOUR, "end": START + 9 * HOUR}, True),
    ],
)
def test_two_covers_of_one_place_at_one_time_are_refused(other: dict[str, object], overlaps: bool) -> None:
    active = replace(TONIGHT, person="marek", state=CoverState.ACTIVE, id=1)
    new = replace(TONIGHT, **{"person": "aisha", **other})
    made = make((active,), (new,), "aisha", SITE, START, by_admin=False)
    assert (made is Refused.OVERLAPS) is overlaps
    waiting = replace(new, id=2)
    assert (accept((active, waiting), 2, "aisha", SITE) is Refused.OVERLAPS) is overlaps


def test_a_cover_that_was_cancelled_is_in_nobodys_way() -> None:
    active = replace(TONIGHT, person="marek", state=CoverState.ACTIVE, id=1)
    cancelled = cancel((active,), 1, "linh")
    assert not isinstance(cancelled, Refused)
    made = make(cancelled, (replace(TONIGHT, person="aisha"),), "aisha", SITE, START, by_admin=False)
    assert not isinstance(made, Refused)
    assert cancel(cancelled, 1, "linh") == ()


def test_a_cover_is_cancelled_by_those_whose_it_is() -> None:
    active = replace(TONIGHT, person="marek", made_by="linh", state=CoverState.ACTIVE, id=1)
    assert cancel((active,), 1, "aisha") is Refused.NOT_YOURS
    assert cancel((active,), 2, "linh") is Refused.UNKNOWN
    assert cancel((active,), 1, "aisha", by_admin=True) != Refused.NOT_YOURS


def test_a_swap_is_two_covers_that_are_accepted_and_cancelled_together() -> None:
    week = replace(TONIGHT, person="marek"), replace(TONIGHT, out="marek", person="linh", start=START + 7 * DAY)
    week = week[0], replace(week[1], end=START + 7 * DAY + HOUR)
    made = make((), week, "linh", SITE, START, by_admin=False)
    assert not isinstance(made, Refused)
    assert {one.state for one in made} == {CoverState.ASKED}
    pair = replace(made[0], id=1, pair=2), replace(made[1], id=2, pair=1)
    assert accept(pair, 1, "aisha", SITE) is Refused.NOT_YOURS
    agreed = accept(pair, 1, "marek", SITE)
    assert not isinstance(agreed, Refused)
    assert {one.state for one in agreed} == {CoverState.ACTIVE}
    assert [one.person for one in agreed] == ["marek", "linh"]
    over = cancel(agreed, 2, "linh")
    assert not isinstance(over, Refused)
    assert {one.state for one in over} == {CoverState.CANCELLED}


def test_a_schedule_shows_who_stands_in_and_goes_on_as_before() -> None:
    cover = replace(TONIGHT, person="aisha", state=CoverState.ACTIVE)
    before = on_call(PRIMARY, START)
    cover = replace(cover, out=before[0])
    there = covered(PRIMARY, [cover])
    assert [(shift.end - shift.start, shift.people) for shift in shifts(there, START - HOUR, START + 9 * HOUR)] == [
        (HOUR, before),
        (8 * HOUR, ("aisha",)),
        (HOUR, before),
    ]
    assert covered(replace(PRIMARY, name="other"), [cover]).amendments == ()


def test_a_cover_stands_above_an_override_of_the_file() -> None:
    file = replace(PRIMARY, overrides=(Span(START, START + DAY, ("marek",)),))
    cover = replace(TONIGHT, out="marek", person="aisha", state=CoverState.ACTIVE)
    assert on_call(covered(file, [cover]), START) == ("aisha",)
    assert on_call(covered(file, [replace(cover, out="", person="linh")]), START) == ("linh",)


def test_who_holds_a_role_by_name_is_covered_by_a_cover_of_everything() -> None:
    cover = replace(TONIGHT, schedule="", person="aisha", state=CoverState.ACTIVE)
    assert replaced([cover], ("linh", "marek"), START) == ("aisha", "marek")
    assert replaced([replace(cover, schedule="primary")], ("linh",), START) == ("linh",)
    assert replaced([cover], ("linh",), START + 8 * HOUR) == ("linh",)


def test_a_shift_that_has_moved_away_from_its_cover_is_known() -> None:
    holder = on_call(PRIMARY, START)[0]
    other = "marek" if holder == "linh" else "linh"
    assert not moved(replace(TONIGHT, out=holder), {"primary": PRIMARY})
    assert moved(replace(TONIGHT, out=other), {"primary": PRIMARY})
    assert not moved(replace(TONIGHT, schedule=""), {"primary": PRIMARY})


def test_nobody_stands_in_while_they_are_on_vacation() -> None:
    site = replace(SITE, vacations={"marek": ((START + 7 * HOUR, START + DAY),)})
    assert accept((asked(),), 1, "marek", site) is Refused.AWAY
    assert make((), (replace(TONIGHT, person="marek"),), "marek", site, START, by_admin=False) is Refused.AWAY
    shorter = replace(TONIGHT, person="marek", end=START + 7 * HOUR)
    assert make((), (shorter,), "marek", site, START, by_admin=False) != Refused.AWAY


def test_an_administrator_who_names_nobody_asks_as_well() -> None:
    made = make((), (replace(TONIGHT, person=""),), "aisha", SITE, START, by_admin=True)
    assert isinstance(made, tuple)
    assert [one.state for one in made] == [CoverState.ASKED]
