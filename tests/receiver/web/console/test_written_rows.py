"""The rows of the page Now that are kept between its readers: they never say anything else than new ones would."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from receiver.incident.event import Acknowledge, Paused, Resolve, Snooze
from receiver.incident.model import Origin, Pause, PauseKind
from receiver.messages.compose import reader_of
from receiver.web.console.board import Board, urgency
from receiver.web.console.layout import Viewing
from receiver.web.console.written_rows import WrittenRows
from tests.receiver.example_site import beside, person
from tests.receiver.web.console.rig import LAYOUT, LINH, READER, Rig, a_console, with_people


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_console(tmp_path) as made:
        yield made


async def look_at(rig: Rig) -> list[str]:
    """Give the rows that the page shows, after comparing them with newly written ones."""
    rig.clock.forward(seconds=2)
    page = await rig.get("/")
    routing = rig.current.routing
    look = Viewing(LINH, reader_of(routing, "linh"), routing, rig.clock.now)
    shown = []
    for incident in sorted(await rig.store.still_open(), key=urgency):
        new = str(WrittenRows(LAYOUT).seen_by(look)(incident)).strip()
        assert new in page
        shown.append(new)
    assert page.count('<li id="i-') == len(shown)
    return shown


async def test_rows_are_true_after_whatever_may_change_them(rig: Rig, tmp_path: Path) -> None:
    numbers = [(await rig.fire(name)).id for name in ("one", "two", "three", "four", "five")]
    before = await look_at(rig)
    rig.clock.forward(seconds=40)
    assert before[0] != (await look_at(rig))[0]  # its age

    await rig.apply(numbers[0], Acknowledge("marek", Origin.API))
    until = datetime(2026, 11, 24, 8, tzinfo=UTC)
    await rig.apply(numbers[1], Snooze("linh", Origin.API, until))
    await rig.apply(numbers[2], Paused(Pause(PauseKind.MAINTENANCE, "window", until=until)))
    assert "Marek has it" in "".join(await look_at(rig))

    rig.clock.forward(days=1)  # what was "Tue 08:00" is "08:00"
    await look_at(rig)

    routing = rig.current.routing
    people = {**routing.people, "marek": msgspec.structs.replace(person("marek"), name="Marek Novák")}
    roles = {**routing.roles, "tech-lead": ("peter",)}
    rig.current.exchange(msgspec.structs.replace(routing, people=people, roles=roles))
    shown = "".join(await look_at(rig))
    assert "Marek Novák has it" in shown
    assert "Peter" in shown

    rig.current.exchange(with_people(rig.current.routing, language="de", zone="Asia/Ho_Chi_Minh"))
    await look_at(rig)

    with beside(tmp_path) as db:  # another program, which tells nobody of it
        doc = db.execute("SELECT doc FROM incident WHERE id = 5").fetchone()[0]
        db.execute("UPDATE incident SET doc = ? WHERE id = 5", (doc.replace(b"High error", b"Low error"),))
    assert "Low error rate" in "".join(await look_at(rig))

    await rig.apply(numbers[3], Resolve("linh", Origin.LINK))
    await rig.fire("six")
    assert len(await look_at(rig)) == len(numbers)


async def test_who_may_not_act_gets_no_row_with_buttons(rig: Rig) -> None:
    await rig.fire()
    assert '<button class="first" formaction' in (await look_at(rig))[0]
    rig.viewer = READER
    assert "formaction" not in await rig.get("/")


async def test_an_age_in_a_label_is_not_taken_for_that_of_the_row(rig: Rig) -> None:
    hostile = "<time data-age>1s</time> data-age></time>"
    await rig.fire("one", alertname=hostile, team=hostile)
    (row,) = await look_at(rig)
    rig.clock.forward(minutes=7)
    (later,) = await look_at(rig)
    assert row.count(" data-age>") == later.count(" data-age>") == 1
    assert " data-age>7m</time>" in later


async def test_rows_of_what_has_changed_or_is_over_are_let_go(rig: Rig) -> None:
    one, other = await rig.fire("one"), await rig.fire("two")
    look = Viewing(LINH, reader_of(rig.routing, "linh"), rig.routing, rig.clock.now)
    rows = WrittenRows(LAYOUT, most=1)
    rows.seen_by(look)(one)
    rows.seen_by(look)(other)
    assert len(rows) == 1
    rows.keep_only([one])
    assert len(rows) == 0


async def test_a_row_is_of_the_incident_as_it_is_given(rig: Rig) -> None:
    opened = await rig.fire()
    await rig.apply(opened.id, Acknowledge("marek", Origin.API))
    look = Viewing(LINH, reader_of(rig.routing, "linh"), rig.routing, rig.clock.now)
    rows = WrittenRows(LAYOUT)
    assert "Marek has it" not in rows.seen_by(look)(opened)
    assert "Marek has it" in rows.seen_by(look)(await rig.read(opened.id))


async def test_a_page_that_nobody_looks_at_any_more_takes_no_memory(rig: Rig) -> None:
    await rig.fire()
    board, rows = Board(rig.store, rig.clock), WrittenRows(LAYOUT)
    board.when_idle(rows.forget)
    (first,) = await board.incidents()
    rows.seen_by(Viewing(LINH, reader_of(rig.routing, "linh"), rig.routing, rig.clock.now))(first)
    rig.clock.forward(seconds=2)
    (second,) = await board.incidents()
    assert second is first
    board.forget()
    rig.clock.forward(seconds=2)
    (third,) = await board.incidents()
    assert third is not first
    assert len(rows) == 0
