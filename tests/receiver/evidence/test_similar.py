"""Earlier incidents like one: which, in which order, and what is said of their end."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.evidence.similar import Similar, ending_text, ranked, similar
from receiver.incident.event import AlertsReceived, HandOver, Resolve
from receiver.incident.model import AlertGroup, Incident, Origin, State
from receiver.messages.i18n import Reader
from receiver.store.base import PastIncident
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import START, Clock, a_store, an_alert, beside, deciding, the_policy


def past(number: int, *, drill: bool = False, **labels: str) -> PastIncident:
    return PastIncident(number, State.RESOLVED, labels={"alertname": "Disk", **labels}, opened_at=START, drill=drill)


NOW = Incident(9, "k", labels={"alertname": "Disk", "instance": "db-1", "mountpoint": "/"})


def test_the_most_alike_come_first_and_of_these_the_newest() -> None:
    found = [past(1, instance="db-1"), past(2), past(3, instance="db-1", mountpoint="/"), past(4, instance="db-1")]
    assert [(one.incident.id, one.shared) for one in ranked(NOW, found)] == [(3, 3), (4, 2), (1, 2)]


def test_later_ones_itself_and_drills_are_left_out() -> None:
    assert ranked(NOW, [past(9), past(10), past(3, drill=True)]) == ()


@given(st.lists(st.tuples(st.integers(1, 20), st.sampled_from(("db-1", "db-2", "")))), st.integers(1, 5))
def test_the_ranking_never_grows_and_is_in_order(rows: list[tuple[int, str]], most: int) -> None:
    found = ranked(NOW, [past(number, instance=where) for number, where in rows], most)
    assert len(found) <= most
    keys = [(one.shared, one.incident.id) for one in found]
    assert keys == sorted(keys, reverse=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLStore]:
    opened = await a_store(tmp_path, Clock())
    yield opened
    await opened.close()


async def fire(store: SQLStore, clock: Clock, key: str, instance: str, team: str = "backend") -> Incident:
    alert = an_alert(key, instance=instance, team=team)
    incident = await store.update(AlertsReceived(AlertGroup(key, (alert,))), the_policy(), clock.now)
    assert incident is not None
    return incident


async def resolve(store: SQLStore, clock: Clock, incident: Incident) -> None:
    await store.apply(incident.id, deciding(Resolve("linh", Origin.API), clock.now), clock.now)


async def test_they_are_found_in_the_store_with_their_end(store: SQLStore) -> None:
    clock = Clock()
    for key, instance in (("a", "db-1"), ("b", "db-2"), ("c", "db-1")):
        await resolve(store, clock, await fire(store, clock, key, instance))
        clock.forward(hours=1)
    await fire(store, clock, "other", "db-1", team="default")
    now = await fire(store, clock, "d", "db-1")
    found = await similar(store, now)
    assert [one.incident.id for one in found] == [3, 1, 2]
    assert isinstance(found[0], Similar)
    assert "linh" in ending_text(found[0], Reader())
    assert await similar(store, Incident(9, "k")) == ()


async def test_what_is_deleted_is_not_found(store: SQLStore) -> None:
    clock = Clock()
    for key in ("a", "b", "c"):
        await resolve(store, clock, await fire(store, clock, key, "db-1"))
    await store.delete([1])
    assert [one.id for one in await store.alike("HighErrorRate", "backend", 5)] == [3, 2]


def named(folder: Path) -> list[tuple[str, str, int]]:
    with beside(folder) as db:
        return sorted(tuple(row) for row in db.execute("SELECT alertname, team, incident_id FROM alike").fetchall())


async def test_the_names_of_what_is_deleted_go_with_it_packed_or_not(store: SQLStore, tmp_path: Path) -> None:
    clock = Clock()
    for key in ("a", "b", "c"):
        await resolve(store, clock, await fire(store, clock, key, "db-1", team="x" * 2000))
        clock.forward(hours=1)
    assert len(named(tmp_path)) == 3
    clock.forward(days=2)
    await store.pack(clock.now, 1)
    await store.delete([1, 2, 7])
    assert [number for _, _, number in named(tmp_path)] == [3]


async def test_what_is_given_to_another_team_has_one_name(store: SQLStore, tmp_path: Path) -> None:
    clock = Clock()
    moved = await fire(store, clock, "a", "db-1")
    for team in ("default", "backend", "default"):
        await store.apply(moved.id, deciding(HandOver("linh", Origin.API, team=team), clock.now), clock.now)
        assert named(tmp_path) == [("HighErrorRate", team, moved.id)]


@pytest.mark.parametrize("doc", [b"{", b"", b"\x78\x9cbroken", b"null", b'{"labels": 3}', b'{"id": 1}'])
async def test_what_cannot_be_read_is_deleted_with_the_others_and_its_name_hurts_nobody(
    store: SQLStore, tmp_path: Path, doc: bytes
) -> None:
    clock = Clock()
    for key in ("a", "b", "c"):
        await resolve(store, clock, await fire(store, clock, key, "db-1"))
    with beside(tmp_path) as db:
        db.execute("UPDATE incident SET doc = ? WHERE id = 1", (doc,))
    await store.delete([1, 2])
    assert named(tmp_path) == [("HighErrorRate", "backend", 1), ("HighErrorRate", "backend", 3)]
    assert [one.id for one in await store.alike("HighErrorRate", "backend", 1)] == [3]
    assert [one.id for one in await store.alike("HighErrorRate", "backend", 5)] == [3]


async def test_a_name_that_is_there_already_keeps_nothing_from_being_written(store: SQLStore, tmp_path: Path) -> None:
    """Somebody has overwritten the document by hand, as the runbook of what is stuck says."""
    clock = Clock()
    moved = await fire(store, clock, "a", "db-1")
    with beside(tmp_path) as db:
        db.execute("INSERT INTO alike VALUES ('HighErrorRate', 'default', ?)", (moved.id,))
    handed = deciding(HandOver("linh", Origin.API, team="default"), clock.now)
    assert await store.apply(moved.id, handed, clock.now)
    assert named(tmp_path) == [("HighErrorRate", "default", moved.id)]


@pytest.mark.sqlite("an older schema of its file")
async def test_a_file_of_a_receiver_that_did_not_keep_names_is_read_once(tmp_path: Path) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    await fire(store, clock, "a", "db-1")
    await fire(store, clock, "b", "db-1")
    await store.close()
    with beside(tmp_path) as db:
        db.execute("DELETE FROM alike")
        db.execute("PRAGMA user_version=7")
    store = await a_store(tmp_path, clock)
    assert [one.id for one in await store.alike("HighErrorRate", "backend", 5)] == [2, 1]
    clock.forward(seconds=timedelta(minutes=1).total_seconds())
    await store.close()
