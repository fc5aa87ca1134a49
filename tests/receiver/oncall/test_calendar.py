"""Calendars in and out: repetitions, exceptions, whole days, who is meant, and what happens when one cannot be had."""

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import icalendar
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from process.settings import Secret
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact, Person
from receiver.oncall.directory import Directory
from receiver.oncall.ical import CalendarError, export, spans, unknown
from receiver.oncall.schedule import Schedule, Shift, on_call
from receiver.policy.current import Current
from receiver.workers.calendar_refresh import CalendarRefresh, Feed
from tests.receiver.config.test_config import edited
from tests.receiver.given import Clock

LINH = Person("Linh Tran", (Contact("email", "linh@example.com"),))
MAREK = Person("Marek Novak", (Contact("email", "marek@example.com"),))
BOTH = Directory({"linh": LINH, "marek": MAREK})
START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)


def a_calendar(*events: str) -> bytes:
    body = "".join(f"BEGIN:VEVENT\nUID:{n}\n{event}\nEND:VEVENT\n" for n, event in enumerate(events))
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{body}END:VCALENDAR\n".replace("\n", "\r\n").encode()


def read(*events: str, zone: str = "Europe/Berlin") -> list[tuple[str, str, tuple[str, ...]]]:
    found = spans(a_calendar(*events), BOTH, zone, START, END)
    return [(f"{span.start:%m-%d %H:%M}", f"{span.end:%m-%d %H:%M}", span.people) for span in found]


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
    found = spans(text, BOTH, "UTC", START, END)
    assert [(s.start.day, s.people) for s in found] == [(2, ("linh",)), (17, ("marek",)), (23, ("linh",))]


def test_what_was_called_off_and_what_names_nobody_is_left_out_and_named() -> None:
    times = "DTSTART:20261102T080000Z\nDTEND:20261103T080000Z"
    off, stranger = f"{times}\nSTATUS:CANCELLED\nSUMMARY:linh", f"{times}\nSUMMARY:Petra"
    assert read(off, stranger) == []
    assert unknown(a_calendar(stranger), Directory({"linh": LINH}), START, END) == ("Petra",)


@pytest.mark.parametrize("text", [b"", b"<html>", b"BEGIN:VCALENDAR", b"\xff\xfe", a_calendar("DTSTART:yesterday")])
def test_what_is_no_calendar_is_named(text: bytes) -> None:
    with pytest.raises(CalendarError, match="not a valid iCalendar"):
        spans(text, Directory({"linh": LINH}), "UTC", START, END)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_calendar_or_the_named_error(text: bytes) -> None:
    with suppress(CalendarError):  # any other error is a bug
        spans(b"BEGIN:VCALENDAR\r\n" + text + b"\r\nEND:VCALENDAR\r\n", Directory({"linh": LINH}), "UTC", START, END)


def test_what_is_exported_can_be_read_again() -> None:
    shifts = [Shift(START, START + timedelta(days=1), ("linh",)), Shift(START + timedelta(days=1), END, ())]
    name = "Linh, Tran; \\ \u00fc" + "x" * 100
    text = export("engineers", shifts, Directory({"linh": Person(name, ())}), START)
    (event,) = icalendar.Calendar.from_ical(text).walk("VEVENT")
    assert str(event["SUMMARY"]) == name
    assert all(len(line) <= 75 for line in text.split(b"\r\n"))
    assert str(event["UID"]) == "engineers-20261101T000000Z@heypeter-monitoring"
    known = Directory({"linh": Person("Linh", ())})
    again = export("engineers", shifts, known, START)
    assert [(s.start, s.people) for s in spans(again, known, "UTC", START, END)] == [(START, ("linh",))]


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
        self.current = Current(build_routing(*load(config)), self.clock.now)
        self.metrics = Metrics([])

    def loop(self, **where: object) -> CalendarRefresh:
        feed = Feed("engineers", self.folder / "calendars/engineers.ics", 60.0, **where)  # type: ignore[arg-type]
        return CalendarRefresh(feed, self.current, self.session, self.clock, self.metrics)

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
