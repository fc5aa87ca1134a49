"""Calendars in and out: repetitions, exceptions, whole days, who is meant, and what happens when one cannot be had."""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import icalendar
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from process.settings import Secret
from receiver.clients.calendar import Expander, Feed
from receiver.clients.calendar_process import CPU, patience
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.metrics import Metrics
from receiver.oncall.calendar_entries import CalendarError, Reason, Remark, TooSlow, remarks, spans
from receiver.oncall.contact_rules import Contact, Person
from receiver.oncall.directory import Directory
from receiver.oncall.ical import Limited, expand, export
from receiver.oncall.schedule import Schedule, Shift, Span, on_call, side_by_side
from receiver.policy.current import Current
from receiver.workers.calendar_refresh import CalendarRefresh
from tests.receiver.config.test_config import edited
from tests.receiver.example_site import Clock

LINH = Person("Linh Tran", (Contact("email", "linh@example.com"),))
MAREK = Person("Marek Novak", (Contact("email", "marek@example.com"),))
BOTH = Directory({"linh": LINH, "marek": MAREK})
START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)


def a_calendar(*events: str) -> bytes:
    body = "".join(f"BEGIN:VEVENT\nUID:{n}\n{event}\nEND:VEVENT\n" for n, event in enumerate(events))
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{body}END:VCALENDAR\n".replace("\n", "\r\n").encode()


def read(*events: str, zone: str = "Europe/Berlin") -> list[tuple[str, str, tuple[str, ...]]]:
    spans_read = spans(expand(a_calendar(*events), zone, START, END), BOTH)
    return [(f"{span.start:%m-%d %H:%M}", f"{span.end:%m-%d %H:%M}", span.people) for span in spans_read]


def test_an_entry_names_somebody_by_key_name_or_address() -> None:
    times = "DTSTART:20261102T080000Z\nDTEND:20261103T080000Z"
    for who in ("linh", "Linh Tran", "LINH@example.com"):
        assert read(f"{times}\nSUMMARY:{who}") == [("11-02 08:00", "11-03 08:00", ("linh",))]
    assert read(f"{times}\nSUMMARY:On call\nATTENDEE:mailto:marek@example.com") == [
        ("11-02 08:00", "11-03 08:00", ("marek",))
    ]
    both = "ATTENDEE:mailto:marek@example.com\nATTENDEE:mailto:linh@example.com"
    assert read(f"{times}\nSUMMARY:On call\n{both}")[0][2] == ("marek", "linh")
    assert read(f"{times}\nSUMMARY:Linh Tran, Marek Novak")[0][2] == ("linh", "marek")


def test_of_entries_that_overlap_the_highest_level_applies_and_equal_ones_are_together() -> None:
    day = "DTSTART:20261102T080000Z\nDTEND:20261103T080000Z"
    noon = "DTSTART:20261102T120000Z\nDTEND:20261102T130000Z"
    raw = spans(expand(a_calendar(f"{day}\nSUMMARY:[L1] linh", f"{noon}\nSUMMARY:[L2] marek"), "UTC", START, END), BOTH)
    flat = side_by_side(raw)
    assert [(span.start.hour, span.people) for span in flat] == [(8, ("linh",)), (12, ("marek",)), (13, ("linh",))]
    equal = spans(expand(a_calendar(f"{day}\nSUMMARY:linh", f"{noon}\nSUMMARY:[L0] marek"), "UTC", START, END), BOTH)
    assert [span.people for span in side_by_side(equal)] == [("linh",), ("linh", "marek"), ("linh",)]


def test_times_of_a_zone_floating_times_and_whole_days() -> None:
    zoned = "DTSTART;TZID=America/New_York:20261102T090000\nDTEND;TZID=America/New_York:20261102T100000\nSUMMARY:linh"
    assert read(zoned) == [("11-02 14:00", "11-02 15:00", ("linh",))]
    floating = "DTSTART:20261102T090000\nDTEND:20261102T100000\nSUMMARY:linh"
    assert read(floating) == [("11-02 08:00", "11-02 09:00", ("linh",))]
    day = "DTSTART;VALUE=DATE:20261102\nSUMMARY:linh"
    assert read(day) == [("11-01 23:00", "11-02 23:00", ("linh",))]
    lasting = "DTSTART:20261102T090000Z\nDURATION:PT90M\nSUMMARY:linh"
    assert read(lasting) == [("11-02 09:00", "11-02 10:30", ("linh",))]


def test_repetitions_with_exceptions_and_moved_entries() -> None:
    weekly = (
        "DTSTART:20261102T080000Z\nDTEND:20261102T090000Z\nRRULE:FREQ=WEEKLY;COUNT=4\n"
        "EXDATE:20261109T080000Z\nSUMMARY:linh"
    )
    assert [start for start, _, _ in read(weekly)] == ["11-02 08:00", "11-16 08:00", "11-23 08:00"]
    moved = "RECURRENCE-ID:20261116T080000Z\nDTSTART:20261117T080000Z\nDTEND:20261117T090000Z\nSUMMARY:marek"
    text = a_calendar(weekly, moved).replace(b"UID:1", b"UID:0")
    spans_read = spans(expand(text, "UTC", START, END), BOTH)
    assert [(s.start.day, s.people) for s in spans_read] == [(2, ("linh",)), (17, ("marek",)), (23, ("linh",))]


def test_several_series_of_one_uid_all_apply_and_an_old_version_of_one_does_not() -> None:
    shifts = [f"DTSTART:202611{d:02}T080000Z\nDTEND:202611{d:02}T090000Z\nSUMMARY:linh" for d in (2, 3, 4)]
    moved = "RECURRENCE-ID:20261103T080000Z\nDTSTART:20261105T080000Z\nDTEND:20261105T090000Z\nSUMMARY:marek"
    text = re.sub(rb"UID:\d", b"UID:same", a_calendar(*shifts, moved))
    calendar = expand(text, "UTC", START, END)
    assert sorted(one.start.day for one in calendar.occurrences) == [2, 4, 5]
    assert calendar.remarks == ()
    versions = [f"{shift}\nSEQUENCE:{n}" for n, shift in enumerate(shifts)]
    newest = expand(re.sub(rb"UID:\d", b"UID:same", a_calendar(*versions)), "UTC", START, END)
    assert [one.start.day for one in newest.occurrences] == [4]


def test_what_may_be_said_once_and_is_said_twice_is_as_it_was_said_first() -> None:
    times = "DTSTART:20261102T080000Z\nDTEND:20261103T080000Z"
    twice = f"{times}\nSUMMARY;LANGUAGE=en:linh\nSUMMARY;LANGUAGE=de:Bereitschaft\nSEQUENCE:1\nSEQUENCE:2\nUID:other"
    assert [people for _, _, people in read(twice)] == [("linh",)]
    off = f"{times}\nSUMMARY:linh\nSTATUS:CANCELLED\nSTATUS:CONFIRMED"
    assert read(off, "DTSTART:20261109T080000Z\nDTEND:20261110T080000Z\nSUMMARY:marek")[0][2] == ("marek",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("folded within a character", "J\u00fcrgen".encode().replace(b"\xc3", b"\xc3\r\n ")),
        ("folded by CR", b"J\xc3\xbcrg\r en"),
        ("in latin-1", "J\u00fcrgen".encode("latin-1")),
    ],
)
def test_a_name_survives_how_it_was_written(name: str, text: bytes) -> None:
    event = a_calendar("DTSTART:20261102T080000Z\nDTEND:20261103T080000Z\nSUMMARY:HERE").replace(b"HERE", text)
    assert [entry.title for entry in expand(event, "UTC", START, END).entries] == ["J\u00fcrgen"], name


def test_what_was_called_off_and_what_names_nobody_is_left_out_and_named() -> None:
    times = "DTSTART:20261102T080000Z\nDTEND:20261103T080000Z"
    off, stranger = f"{times}\nSTATUS:CANCELLED\nSUMMARY:linh", f"{times}\nSUMMARY:Petra"
    assert read(off, stranger) == []
    expanded = expand(a_calendar(stranger), "UTC", START, END)
    assert remarks(expanded, BOTH) == (Remark("Petra", Reason.UNKNOWN_PERSON),)


@pytest.mark.parametrize("text", [b"", b"<html>", b"BEGIN:VCALENDAR", b"\xff\xfe", a_calendar("DTSTART:yesterday")])
def test_what_is_no_calendar_is_named(text: bytes) -> None:
    with pytest.raises(CalendarError):
        expand(text, "UTC", START, END)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_calendar_or_the_named_error(text: bytes) -> None:
    with suppress(CalendarError):  # any other error is a bug
        spans(expand(b"BEGIN:VCALENDAR\r\n" + text + b"\r\nEND:VCALENDAR\r\n", "UTC", START, END), BOTH)


def test_what_is_exported_can_be_read_again() -> None:
    shifts = [Shift(START, START + timedelta(days=1), ("linh",)), Shift(START + timedelta(days=1), END, ())]
    name = "Linh, Tran; \\ \u00fc" + "x" * 100
    text = export("engineers", shifts, Directory({"linh": Person(name, ())}), START, "Ferry Monitoring")
    (event,) = icalendar.Calendar.from_ical(text).walk("VEVENT")
    assert str(event["SUMMARY"]) == name
    assert all(len(line) <= 75 for line in text.split(b"\r\n"))
    assert str(event["UID"]) == "engineers-20261101T000000Z@ferry-monitoring"
    known = Directory({"linh": Person("Linh", ())})
    again = export("engineers", shifts, known, START, "Ferry Monitoring")
    assert [(s.start, s.people) for s in spans(expand(again, "UTC", START, END), known)] == [(START, ("linh",))]


SCHEDULES = """schedules:
  engineers:
    time_zone: UTC
    calendar: {file: none.ics}
roles:
  on-call-engineer: [engineers]
"""


class Rig:
    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        config = edited(folder, "roles:\n  on-call-engineer: [linh]\n", SCHEDULES)
        self.clock, self.folder, self.session = Clock(), folder, session
        self.seconds = 0.0
        self.current = Current(build_routing(*load(config)), self.clock.now)
        self.metrics = Metrics([])

    def loop(self, **where: object) -> CalendarRefresh:
        feed = Feed("engineers", "UTC", **where)  # type: ignore[arg-type]
        calendars = self.folder / "calendars"
        loop = CalendarRefresh(calendars, self.current, self.session, self.clock, self.metrics, lambda: self.seconds)
        loop.use([(feed, 60.0)])
        return loop

    def problems(self, reason: Reason) -> float | None:
        labels = {"schedule": "engineers", "reason": reason.value}
        return self.metrics.registry.get_sample_value("receiver_calendar_entries_with_problems", labels)

    @property
    def schedule(self) -> Schedule:
        return self.current.routing.schedules["engineers"]

    @property
    def now(self) -> list[str]:
        return list(on_call(self.schedule, self.clock.now))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with aiohttp.ClientSession() as session:
        yield Rig(tmp_path, session)


LINHS = a_calendar("DTSTART:20261120T080000Z\nDTEND:20261127T080000Z\nSUMMARY:linh")


async def test_a_calendar_by_file_fills_the_schedule(rig: Rig) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(LINHS)
    assert rig.now == []
    assert await rig.loop(file=file).run_once()
    assert rig.now == ["linh"]
    read_at = rig.metrics.registry.get_sample_value(
        "receiver_calendar_last_success_timestamp_seconds", {"schedule": "engineers"}
    )
    assert read_at == rig.clock.now.timestamp()


async def test_when_it_cannot_be_had_the_last_copy_is_used_and_its_url_stays_secret(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [web.Response(body=LINHS), web.Response(status=500), web.Response(body=b"<html>")]

    async def serve(_request: web.Request) -> web.Response:
        return answers.pop(0)

    app = web.Application()
    app.router.add_get("/secret-token", serve)
    async with TestServer(app) as server:
        url = Secret(str(server.make_url("/secret-token")))
        assert await rig.loop(url=url).run_once()
        for _ in range(2):
            assert not await rig.loop(url=url).run_once()
            assert rig.now == ["linh"]
    fresh = Rig(rig.folder, rig.session)  # a new process, while the server is away
    with caplog.at_level(logging.DEBUG):
        assert not await fresh.loop(url=url).run_once()
    assert fresh.now == ["linh"]
    assert "secret-token" not in caplog.text
    assert (rig.folder / "calendars/engineers.ics").stat().st_mode & 0o777 == 0o600


async def test_without_any_copy_nobody_is_on_call_and_it_says_so(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    assert not await rig.loop(file=rig.folder / "none.ics").run_once()
    assert rig.now == []
    assert "no saved copy" in caplog.text


async def test_a_reload_keeps_what_the_calendar_said(rig: Rig) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(LINHS)
    await rig.loop(file=file).run_once()
    rig.current.exchange(build_routing(*load(rig.folder / "receiver.yml")))
    assert rig.now == ["linh"]


BAD = {
    "a part of the rule that nobody knows": ("RRULE:FREQ=WEEKLY;FOO=BAR", Reason.INVALID),
    "no frequency": ("RRULE:COUNT=3", Reason.INVALID),
    "an unknown frequency": ("RRULE:FREQ=SOMETIMES", Reason.INVALID),
    "no date as the end of the rule": ("RRULE:FREQ=WEEKLY;UNTIL=INVALID", Reason.INVALID),
    "an interval of nothing": ("RRULE:FREQ=DAILY;INTERVAL=0", Reason.INVALID),
    "an interval below nothing": ("RRULE:FREQ=DAILY;INTERVAL=-1", Reason.INVALID),
    "every second": ("RRULE:FREQ=SECONDLY", Reason.TOO_OFTEN),
    "every minute": ("RRULE:FREQ=MINUTELY;INTERVAL=90", Reason.TOO_OFTEN),
    "several minutes of an hour": ("RRULE:FREQ=HOURLY;BYMINUTE=0,30", Reason.TOO_OFTEN),
    "every second in lower case": ("rrule:freq=secondly", Reason.TOO_OFTEN),
    "an exception that is no date": ("EXDATE:never", Reason.INVALID),
    "a length without end": ("DURATION:P99999999999D", Reason.INVALID),
}
TIMES = "DTSTART:20261102T080000Z\nDTEND:20261103T080000Z"
LINHS_DAY = [("11-02 08:00", "11-03 08:00", ("linh",))]


def found_beside(bad: str, limited: Limited = nullcontext) -> tuple[tuple[Span, ...], tuple[Remark, ...]]:
    calendar = expand(a_calendar(bad, f"{TIMES}\nSUMMARY:linh"), "UTC", START, END, limited)
    return spans(calendar, BOTH), remarks(calendar, BOTH)


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=BAD)
def test_an_entry_that_cannot_be_used_is_left_out_by_name_and_the_rest_serves(line: str, reason: Reason) -> None:
    spans_read, said = found_beside(f"{TIMES}\nSUMMARY:marek\n{line}")
    assert [span.people for span in spans_read] == [("linh",)]
    assert said == (Remark("marek", reason),)


@pytest.mark.parametrize(
    "entry",
    [
        "SUMMARY:marek",
        "DTSTART:20260230T080000Z\nDTEND:20260301T080000Z\nSUMMARY:marek",
        "DTSTART:20261102T080000Z\nDTEND:99991231T235959Z\nSUMMARY:marek",
        "DTSTART:99991231T000000Z\nDURATION:PT1H\nSUMMARY:marek",
        "DTSTART;VALUE=DATE:99991231\nSUMMARY:marek",
        "DTSTART;TZID=America/New_York:20261102T080000\nDTEND;TZID=America/New_York:99991231T235959\nSUMMARY:marek",
        "DTSTART:20261103T080000Z\nDTEND:20261102T080000Z\nSUMMARY:marek",
        "DTSTART:20261103T080000Z\nSUMMARY:marek",
    ],
)
def test_so_is_one_whose_times_are_impossible(entry: str) -> None:
    spans_read, said = found_beside(entry)
    assert [span.people for span in spans_read] == [("linh",)]
    assert said == (Remark("marek", Reason.INVALID),)


def test_an_entry_without_an_end_spoils_no_other() -> None:
    text = a_calendar(f"{TIMES}\nSUMMARY:marek", f"{TIMES}\nSUMMARY:linh").replace(b"END:VEVENT\r\n", b"", 1)
    calendar = expand(text, "UTC", START, END)
    assert [span.people for span in spans(calendar, BOTH)] == [("linh",)]
    assert remarks(calendar, BOTH) == (Remark("marek", Reason.INVALID),)


def test_a_bad_exception_leaves_its_series_alone() -> None:
    series = f"{TIMES}\nRRULE:FREQ=WEEKLY;COUNT=2\nSUMMARY:linh"
    text = a_calendar(series, f"RECURRENCE-ID:{'x' * 9}\n{TIMES}\nSUMMARY:marek").replace(b"UID:1", b"UID:0")
    calendar = expand(text, "UTC", START, END)
    assert [span.start.day for span in spans(calendar, BOTH)] == [2, 9]
    assert remarks(calendar, BOTH) == (Remark("marek", Reason.INVALID),)


def test_a_calendar_of_bad_entries_only_or_one_that_is_cut_off_does_not_replace_a_good_one() -> None:
    for text in (a_calendar(f"{TIMES}\nRRULE:FREQ=SECONDLY"), a_calendar(TIMES)[:-10]):
        with pytest.raises(CalendarError):
            expand(text, "UTC", START, END)
    assert expand(a_calendar(), "UTC", START, END).occurrences == ()  # nothing is planned: that is a calendar


def test_a_zone_without_rules_and_a_zone_that_nobody_knows_are_named_and_read_in_the_schedules_zone() -> None:
    entry = "DTSTART;TZID=Empty:20261102T090000\nDTEND;TZID=Empty:20261103T090000\nSUMMARY:linh"
    text = a_calendar(entry).replace(b"BEGIN:VEVENT", b"BEGIN:VTIMEZONE\r\nTZID:Empty\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT")
    calendar = expand(text, "Europe/Berlin", START, END)
    assert [span.start.hour for span in spans(calendar, BOTH)] == [8]
    assert remarks(calendar, BOTH) == (Remark("Empty", Reason.INVALID), Remark("linh", Reason.UNKNOWN_ZONE))
    strange = read(entry.replace("Empty", "Nowhere/Land"))
    assert strange == [("11-02 08:00", "11-03 08:00", ("linh",))]


def test_an_entry_that_takes_too_long_is_left_out_and_occurrences_are_counted() -> None:
    @contextmanager
    def impatient() -> Iterator[None]:
        calls.append(None)
        yield
        if len(calls) == 3:  # both have been parsed, and the first is expanded
            raise TooSlow

    calls: list[None] = []
    spans_read, said = found_beside(f"{TIMES}\nSUMMARY:marek", limited=impatient)
    assert [span.people for span in spans_read] == [("linh",)]
    assert said == (Remark("marek", Reason.TOO_SLOW),)
    hourly = "DTSTART:20260101T080000Z\nDTEND:20260101T090000Z\nRRULE:FREQ=HOURLY\nSUMMARY:linh"
    calendar = expand(a_calendar(hourly), "UTC", START, START + timedelta(days=500))
    assert len(calendar.occurrences) == 10_000
    assert remarks(calendar, BOTH) == (Remark("linh", Reason.TOO_MANY),)


@pytest.mark.parametrize(
    ("entry", "people"),
    [
        ("SUMMARY:On call: Linh Tran", ("linh",)),
        ("SUMMARY:On-call engineer: linh@example.com", ("linh",)),
        ("SUMMARY:Linh Tran / Marek Novak", ("linh", "marek")),
        ("SUMMARY:linh and marek", ("linh", "marek")),
        ("SUMMARY:On call - Linh Tran (phone)", ("linh",)),
        ("SUMMARY:x\nATTENDEE:Mailto:linh@example.com", ("linh",)),
        ("SUMMARY:x\nATTENDEE:MAILTO:Linh@Example.com", ("linh",)),
        ("SUMMARY:x\nATTENDEE;EMAIL=linh@example.com:urn:uuid:1", ("linh",)),
        (
            "SUMMARY:x\nATTENDEE;PARTSTAT=DECLINED:mailto:linh@example.com\nATTENDEE:mailto:marek@example.com",
            ("marek",),
        ),
        ("SUMMARY:On call: linh\nATTENDEE;PARTSTAT=declined:mailto:linh@example.com", ()),
        ("SUMMARY:marek\nATTENDEE;CUTYPE=ROOM:mailto:linh@example.com", ("marek",)),
        ("SUMMARY:marek\nATTENDEE;CUTYPE=Resource;CN=linh:mailto:room@example.com", ("marek",)),
        ("SUMMARY:Nobody: at all", ()),
    ],
)
def test_how_an_entry_names_people(entry: str, people: tuple[str, ...]) -> None:
    spans_read = read(f"{TIMES}\n{entry}")
    assert [span[2] for span in spans_read] == ([people] if people else [])


def test_of_two_names_the_one_that_is_unknown_is_said() -> None:
    calendar = expand(a_calendar(f"{TIMES}\nSUMMARY:Linh Tran / Petra"), "UTC", START, END)
    assert [span.people for span in spans(calendar, BOTH)] == [("linh",)]
    assert remarks(calendar, BOTH) == (Remark("Linh Tran / Petra", Reason.UNKNOWN_PERSON),)


def test_a_title_cannot_write_a_line_of_the_log() -> None:
    calendar = expand(a_calendar(f"{TIMES}\nSUMMARY:a\\nlevel=error\x1b[2J" + "x" * 500), "UTC", START, END)
    (remark,) = remarks(calendar, BOTH)
    assert remark.entry.isprintable()
    assert len(remark.entry) <= 100


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.sampled_from([("linh",), ("marek",), ("linh", "a")])))
)
def test_side_by_side_names_the_same_people_at_every_instant(
    given_spans: list[tuple[int, int, tuple[str, ...]]],
) -> None:
    hour = timedelta(hours=1)
    raw = [Span(START + a * hour, START + (a + length) * hour, people) for a, length, people in given_spans]
    flat = side_by_side(raw)
    assert all(one.end <= other.start for one, other in pairwise(flat))
    schedule = Schedule("s", "UTC", calendar=flat)
    for half in range(130):
        at = START + half * hour / 2
        assert set(on_call(schedule, at)) == {key for span in raw if span.covers(at) for key in span.people}


@pytest.mark.parametrize(
    "rule",
    [
        "RRULE:FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "RRULE:FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31",
        "RRULE:FREQ=HOURLY;BYSETPOS=7;BYHOUR=3",
    ],
)
async def test_a_rule_that_never_ends_to_be_computed_costs_its_entry_only(rule: str) -> None:
    text = a_calendar(f"{TIMES}\n{rule}\nSUMMARY:marek", f"{TIMES}\nSUMMARY:linh")
    calendar = await Expander().expand(text, "UTC", START, END)
    assert [span.people for span in spans(calendar, BOTH)] == [("linh",)]
    assert remarks(calendar, BOTH) == (Remark("marek", Reason.TOO_SLOW),)


def test_a_thousand_slow_entries_leave_time_for_the_others() -> None:
    assert sum(patience(slow) for slow in range(1000)) < CPU / 2
    assert patience(0) == 1.0


def _children() -> set[int]:
    """Give our child processes, zombies among them; other tests' servers may be there before."""
    ours, found = str(os.getpid()), set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if (process / "stat").read_text("utf-8").rpartition(")")[2].split()[1] == ours:
                found.add(int(process.name))
    return found


async def test_an_expansion_that_takes_too_long_is_killed_and_the_loop_runs_meanwhile() -> None:
    before = _children()
    bombs = [f"{TIMES}\nRRULE:FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31" for _ in range(50)]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    with pytest.raises(CalendarError):
        await Expander(seconds=1.5).expand(a_calendar(*bombs), "UTC", START, END)
    assert ticks > 5
    expanding = asyncio.ensure_future(Expander().expand(a_calendar(*bombs), "UTC", START, END))
    await asyncio.sleep(0.2)
    expanding.cancel()  # as SIGTERM does
    with pytest.raises(asyncio.CancelledError):
        await expanding
    ticking.cancel()
    assert _children() <= before


async def test_a_calendar_that_fills_the_memory_is_an_error() -> None:
    many = a_calendar(*[f"{TIMES}\nSUMMARY:linh"] * 19_000)
    with pytest.raises(CalendarError):
        await Expander(memory=64 << 20).expand(many, "UTC", START, END)


async def test_a_bomb_is_not_kept_as_the_copy_that_the_next_process_starts_with(rig: Rig) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(LINHS)
    assert await rig.loop(file=file).run_once()
    file.write_bytes(a_calendar(f"{TIMES}\nRRULE:FREQ=SECONDLY\nSUMMARY:marek"))
    loop = rig.loop(file=file)
    assert not await loop.run_once()
    assert rig.now == ["linh"]
    fresh = Rig(rig.folder, rig.session)
    await fresh.loop(file=file).restore()
    assert fresh.now == ["linh"]
    assert not await fresh.loop(file=file).run_once()
    assert fresh.now == ["linh"]


async def test_entries_with_problems_are_counted_and_named(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(
        LINHS.replace(b"END:VCALENDAR", b"BEGIN:VEVENT\r\nSUMMARY:no start\r\nEND:VEVENT\r\nEND:VCALENDAR")
    )
    assert await rig.loop(file=file).run_once()
    assert rig.now == ["linh"]
    assert (rig.problems(Reason.INVALID), rig.problems(Reason.TOO_SLOW)) == (1, 0)
    assert "no start (invalid)" in caplog.text
    file.write_bytes(LINHS)
    assert await rig.loop(file=file).run_once()
    assert rig.problems(Reason.INVALID) == 0


async def test_a_copy_that_cannot_be_kept_is_an_error_and_the_calendar_is_in_use(rig: Rig) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(LINHS)
    (rig.folder / "calendars").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="calendars"):
        await rig.loop(file=file).run_once()
    assert rig.now == ["linh"]


async def test_while_the_source_is_away_the_copy_is_expanded_further(rig: Rig) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(a_calendar("DTSTART:20261101T080000Z\nDTEND:20261108T080000Z\nRRULE:FREQ=WEEKLY\nSUMMARY:linh"))
    loop = rig.loop(file=file)
    assert await loop.run_once()
    file.unlink()
    rig.clock.forward(days=200)
    rig.seconds += 60
    assert not await loop.run_once()
    assert rig.now == ["linh"]


async def test_it_is_read_as_often_as_configured_and_no_longer_when_it_left_the_configuration(rig: Rig) -> None:
    file = rig.folder / "oncall.ics"
    file.write_bytes(LINHS)
    loop = rig.loop(file=file)
    assert [await loop.run_once(), await loop.run_once()] == [1, 0]
    rig.seconds += 60
    assert await loop.run_once() == 1
    loop.use([])
    assert rig.now == []
    rig.seconds += 60
    assert await loop.run_once() == 0


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
async def test_what_is_no_file_is_refused_at_once(rig: Rig, make: Callable[[Path], None]) -> None:
    make(rig.folder / "oncall.ics")
    async with asyncio.timeout(30):
        assert not await rig.loop(file=rig.folder / "oncall.ics").run_once()
