"""What is past goes after its time, a part at a time, and nothing else does."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from receiver.oncall.cover import Cover, CoverState
from receiver.store.access import Session, Token
from receiver.store.audit import Act
from receiver.store.duty import MadeWindow
from receiver.store.past import Past
from receiver.store.sql.store import SQLStore
from receiver.workers import forgetting
from receiver.workers.forgetting import Forgetting
from tests.receiver.example_site import START, Clock, a_store, beside

DAY = timedelta(days=1)
AUDIT, ENDED = timedelta(days=100), timedelta(days=30)


def _making(_known: tuple[Cover, ...], cover: Cover) -> tuple[Cover, ...]:
    return (cover,)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLStore]:
    """One of each that ends after a day, and one of each that ends after a thousand."""
    made = await a_store(tmp_path, clock)
    act = Act(START, "linh", "session", "", "made", "x")
    for number, end in enumerate((START + DAY, START + 1000 * DAY)):
        cover = Cover("", "linh", "marek", START, end, CoverState.ACTIVE, "linh")
        await made.duty.change_covers(partial(_making, cover=cover), START, act, f"linh:{number}")
        await made.duty.add_window(MadeWindow(("job=a",), START, end, "linh"), 10, act)
        await made.duty.set_awake(f"p{number}", end, act)
        session = Session("linh", "Linh", "basic", START, START, end, "", "")
        await made.access.begin_session(bytes([number]) * 32, session, act)
        await made.access.add_token(bytes([number]) * 32, Token("a", "read", "", START, end), act)
    yield made
    await made.close()


def rows(folder: Path) -> dict[str, int]:
    tables = ("audit", "override", "window", "token", "session", "form", "awake")
    with beside(folder) as db:
        return {one: db.execute(f'SELECT count(*) FROM "{one}"').fetchone()[0] for one in tables}  # noqa: S608  # our own


async def test_each_goes_after_its_time(store: SQLStore, clock: Clock, tmp_path: Path) -> None:
    loop, before = Forgetting(store.past, clock, AUDIT, ENDED), rows(tmp_path)
    assert set((await loop.run_once()).values()) == {0}
    clock.forward(days=2)
    await loop.run_once()
    assert rows(tmp_path) == before | {"session": 1, "awake": 1}
    clock.forward(days=1)
    await loop.run_once()
    assert rows(tmp_path)["form"] == 0
    clock.forward(days=30)
    await loop.run_once()
    assert rows(tmp_path) == before | {
        "session": 1,
        "awake": 1,
        "form": 0,
        "override": 1,
        "window": 1,
        "token": 1,
    }
    clock.forward(days=70)
    gone = await loop.run_once()
    assert gone[Past.AUDIT] == before["audit"]
    assert rows(tmp_path)["audit"] == 0


async def test_many_go_in_parts_and_the_log_stays_closed(
    store: SQLStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_PART", 2)
    for number in range(5):
        await store.access.note(Act(START + 200 * DAY, "linh", "session", "", "kept", str(number)))
    clock.forward(days=150)
    await Forgetting(store.past, clock, AUDIT, ENDED).run_once()
    assert rows(tmp_path)["audit"] == 5
    with beside(tmp_path) as db, pytest.raises(Exception, match="only appended to"):
        db.execute("DELETE FROM audit")
    assert (await store.access.audit(None, 1))[0].act == "kept"
