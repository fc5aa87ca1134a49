"""Sessions, tokens and the audit log in the store."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from receiver.store.access import FullError, Session, Token
from receiver.store.audit import Act
from receiver.store.sql import access
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import MINUTE, START, Clock, a_store, beside, refusing

HASH = bytes(range(32))
DAY = timedelta(days=1)


def a_session(person: str = "linh") -> Session:
    return Session(person, "Linh Tran", "basic", START, START, START + DAY, "192.0.2.1", "Firefox", ("sre",))


def an_act(word: str = "session.begin", at: int = 0) -> Act:
    return Act(START + at * MINUTE, "linh", "basic", "192.0.2.1", word, "session/1")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLStore]:
    made = await a_store(tmp_path, Clock())
    yield made
    await made.close()


async def test_a_session_lives_until_it_expires_or_is_ended(store: SQLStore, tmp_path: Path) -> None:
    made = await store.access.begin_session(HASH, a_session(), an_act())
    assert await store.access.session(HASH, START) == made
    assert made == msgspec.structs.replace(a_session(), id=made.id)
    await store.access.seen_session(made.id, START + MINUTE, "192.0.2.2")
    assert [(one.seen, one.ip) for one in await store.access.sessions(START, 10)] == [(START + MINUTE, "192.0.2.2")]
    assert await store.access.session(HASH, made.expires) is None
    assert await store.access.session(b"\0" * 32, START) is None
    assert await store.access.end_session(made.id, an_act("session.end"))
    assert not await store.access.end_session(made.id, an_act("session.end"))
    assert await store.access.session(HASH, START) is None
    assert [act.act for act in await store.access.audit(None, 10)] == ["session.end", "session.begin"]
    with beside(tmp_path) as db:
        assert db.execute("SELECT count(*) FROM session").fetchone() == (0,)


async def test_expired_sessions_go_and_nobody_has_too_many(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_SESSIONS", 3)
    old = msgspec.structs.replace(a_session("marek"), expires=START)
    await store.access.begin_session(b"m" * 32, old, an_act())
    for number in range(5):
        seen = START + number * MINUTE
        session = msgspec.structs.replace(a_session(), created=seen, seen=seen)
        await store.access.begin_session(bytes([number]) * 32, session, an_act())
    left = await store.access.sessions(START - DAY, 10)
    assert [session.person for session in left] == ["linh"] * 3
    assert await store.access.session(bytes([4]) * 32, START) is not None
    assert await store.access.session(bytes([1]) * 32, START) is None


async def test_a_token_is_listed_used_and_revoked(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    token = Token("deploy", "act", "linh", START, START + DAY)
    made = await store.access.add_token(HASH, token, an_act("token.create"))
    assert await store.access.token(HASH) == made
    await store.access.used_token(made.id, START + MINUTE)
    assert [one.last_used for one in await store.access.tokens()] == [START + MINUTE]
    monkeypatch.setattr(access, "MOST_TOKENS", 1)
    with pytest.raises(FullError):
        await store.access.add_token(b"b" * 32, token, an_act())
    assert await store.access.revoke_token(made.id, an_act("token.revoke", at=2))
    assert not await store.access.revoke_token(made.id, an_act("token.revoke", at=3))
    revoked = await store.access.token(HASH)
    assert revoked is not None
    assert revoked.revoked == START + 2 * MINUTE
    await store.access.add_token(b"b" * 32, token, an_act())
    assert [act.act for act in await store.access.audit(None, 1, f"token/{made.id}")] == ["token.create"]


async def test_the_audit_log_is_paged_and_cannot_be_rewritten(store: SQLStore, tmp_path: Path) -> None:
    for number in range(5):
        await store.access.note(an_act(f"act.{number}", number))
    first = await store.access.audit(None, 2)
    assert [act.act for act in first] == ["act.4", "act.3"]
    assert [act.act for act in await store.access.audit(first[-1].seq, 2)] == ["act.2", "act.1"]
    assert await store.access.audit(None, 2, "session/2") == []
    await store.access.note(msgspec.structs.replace(an_act(), after="x" * 100_000))
    assert len((await store.access.audit(None, 1))[0].after) < 10_000
    with beside(tmp_path) as db:
        for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'marek'"):
            with pytest.raises((sqlite3.IntegrityError, psycopg.Error), match="appended"):
                db.execute(statement)


async def test_a_change_that_cannot_be_logged_does_not_happen(store: SQLStore, tmp_path: Path) -> None:
    with refusing(tmp_path, "INSERT ON audit", "broken"):
        with pytest.raises(Exception, match="broken"):
            await store.access.begin_session(HASH, a_session(), an_act())
        assert await store.access.sessions(START, 10) == []
