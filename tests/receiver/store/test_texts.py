"""Whatever senders and people write: each text is taken, found again and bounded, in both databases alike."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.incident.event import Acknowledge, AlertsReceived, Note, Resolve
from receiver.incident.model import AlertGroup, Incident, Origin
from receiver.store.access import Session
from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.store.silences import MadeSilence
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import MINUTE, START, Clock, a_store, an_alert, deciding, labelled, the_policy

# What no database compresses: a text of one letter would be a few bytes in PostgreSQL's index.
LONG = random.Random(1).randbytes(50_000).hex()  # noqa: S311  # no secret
TEXTS = {
    "long": LONG,
    "nul": "a\0b",
    "escaped": r"a\u0000b \\u0000 \\.",
    "wide": "\U0001f4a3" * 3000,
    "right to left": "\u202eabc\u202c \u05d0\u05d1",
    "quotes": """'; DROP TABLE incident; -- "$1" :name ?1 %s {}""",
    "lines": "a\r\nb\tc\x0b\x1b[31m",
    "empty": "",
    "decomposed": "e\u0301 \u00e9",
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLStore]:
    made = await a_store(tmp_path, Clock())
    yield made
    await made.close()


async def fire(store: SQLStore, text: str, *fingerprints: str, key: str = "", at: int = 0) -> Incident:
    alerts = tuple(
        labelled(an_alert(one), alertname=text or "a", team=text, owner=text) for one in fingerprints or ("a",)
    )
    group = AlertGroup(key or f"k{text}", alerts, receiver=f"r{text}")
    incident = await store.update(AlertsReceived(group), the_policy(), START + at * MINUTE)
    assert incident is not None
    return incident


@pytest.mark.parametrize("name", TEXTS)
async def test_an_alert_with_any_text_is_one_incident_which_is_found_again(store: SQLStore, name: str) -> None:
    text = TEXTS[name]
    opened = await fire(store, text)
    assert (await fire(store, text, "a", "b", at=1)).id == opened.id
    assert (await fire(store, text, "a", "b", key="another", at=2)).id == opened.id  # by its members
    for event in (
        Acknowledge("linh", Origin.CONSOLE),
        Note("linh", Origin.CONSOLE, text[:2000] or "a"),
        Resolve("linh", Origin.CONSOLE),
    ):
        await store.apply(opened.id, deciding(event, START + 3 * MINUTE), START + 3 * MINUTE)
    stored = await store.incident(opened.id)
    assert stored is not None
    assert stored[0].labels["owner"] == text
    assert [one.id for one in await store.alike(text or "a", stored[0].team, 5)] == [opened.id]
    assert len(await store.resolved_since(START, 5)) == 1


@pytest.mark.parametrize("name", TEXTS)
async def test_what_people_and_providers_are_called_is_kept(store: SQLStore, name: str) -> None:
    text = TEXTS[name]
    act = Act(START, text[:200], "session", text, "x", f"person/{text}", text, text)
    session = Session("linh", text[:200], "basic", START, START, START + timedelta(days=1), "", text[:500])
    made = await store.access.begin_session(b"a" * 32, session, act)
    assert await store.access.session_numbered(made.id, START) is not None
    await store.access.note(act)
    assert len((await store.access.audit(None, 5))[0].object) <= 510
    await fire(store, "x")
    nothing = deciding(Resolve("linh", Origin.LINK), START)
    for channel in ("slack", "email", "pagerduty"):
        for claimed in await store.claim(channel, START, 60, 10):
            await store.settle(claimed, f"*{text}", nothing, START)
    silence = MadeSilence("1", "a", 1, "linh", ("a=b",), text, START, START + MINUTE, key=text)
    await store.silences.keep(silence, None)
    assert len(await store.silences.of_incident(1)) == 1


async def test_long_texts_that_begin_alike_are_not_the_same(store: SQLStore) -> None:
    one = await fire(store, LONG, "a")
    other = await fire(store, f"{LONG}x", "b")
    assert one.id != other.id
    assert [found.id for found in await store.alike(LONG, one.team, 5)] == [one.id]


async def test_what_is_no_text_is_refused_and_spoils_nothing(store: SQLStore) -> None:
    act = Act(START, "a\ud800b", "session", "", "x", "")
    with pytest.raises(UnicodeEncodeError):
        await store.access.note(act)
    with pytest.raises((StoreError, OverflowError)):
        await store.incident(2**63)
    await store.access.note(msgspec.structs.replace(act, actor="linh"))
    assert [one.actor for one in await store.access.audit(None, 5)] == ["linh"]
