"""Tokens of scripts, the sessions of people and the audit log: by the API, and tokens by the command line."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.__main__ import main
from receiver.web.access.api_token import SCOPES, new_token
from tests.receiver.channels.test_registry import written
from tests.receiver.example_site import beside, dumped, the_current, the_routing
from tests.receiver.web.access.signing_in import API_TOKEN, OURS, PASSWORD, Rig, a_console

SETTINGS = {"sign_in": {"basic": True}, "roles": {"admin": {"people": ["marek"]}, "viewer": {"people": ["aisha"]}}}
LINH, MAREK = ({"name": name, "password": PASSWORD} for name in ("linh", "marek"))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_console(tmp_path, SETTINGS) as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def made(rig: Rig, **asked: str) -> dict[str, Any]:
    """Make a token as an administrator, and stay signed in."""
    if not rig.cookies():
        assert (await rig.submit("/sign-in", MAREK, **OURS))[0] == 303
    status, token = await rig.api("POST", "/tokens", {"name": "deploys", **asked}, **OURS)
    assert status == 201, token
    return dict(token)


async def test_a_token_is_shown_once_and_stored_as_its_hash(rig: Rig) -> None:
    token = await made(rig, scope="act")
    assert re.fullmatch(r"hp_[A-Za-z0-9]{40}", token["token"])
    _, listed = await rig.api("GET", "/tokens")
    assert [one["id"] for one in listed["tokens"]] == [token["id"]]
    assert token["token"] not in msgspec.json.encode(listed).decode()
    assert token["token"] not in dumped(rig.folder)
    assert len({new_token() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("scope", "reads", "acts", "manages"), [("read", 200, 403, 403), ("act", 200, 200, 403), ("admin", 200, 200, 200)]
)
async def test_what_each_scope_may(rig: Rig, scope: str, reads: int, acts: int, manages: int) -> None:
    token = await made(rig, scope=scope)
    rig.forget()
    as_token = bearer(token["token"])
    assert (await rig.api("GET", "/who", **as_token))[0] == reads
    assert (await rig.api("POST", "/who", **as_token))[0] == acts
    for path in ("/tokens", "/audit"):
        assert (await rig.api("GET", path, **as_token))[0] == manages
    _, me = await rig.api("GET", "/me", **as_token)
    assert me == {"person": "", "name": "deploys", "role": SCOPES[scope].value, "via": "token", "incident": None}


async def test_the_token_of_the_file_manages_nothing(rig: Rig) -> None:
    assert (await rig.api("POST", "/who", **bearer(API_TOKEN)))[0] == 200
    assert (await rig.api("GET", "/tokens", **bearer(API_TOKEN)))[0] == 403
    assert (await rig.api("POST", "/tokens", {"name": "x", "scope": "admin"}, **bearer(API_TOKEN)))[0] == 403


async def test_a_token_ends_by_time_by_revoking_and_with_its_owner(tmp_path: Path) -> None:
    current = the_current()
    async with a_console(tmp_path, SETTINGS, current) as rig:
        short, long = await made(rig, valid_for="1h"), await made(rig)
        owned = await made(rig, scope="admin", owner="linh")
        rig.forget()
        _, me = await rig.api("GET", "/me", **bearer(owned["token"]))
        assert (me["person"], me["role"]) == ("linh", "responder")  # never more than the owner
        assert (await rig.api("GET", "/me", **bearer(short["token"])))[0] == 200
        rig.clock.forward(hours=1)
        assert (await rig.api("GET", "/me", **bearer(short["token"])))[0] == 401
        assert (await rig.submit("/sign-in", MAREK, **OURS))[0] == 303
        assert (await rig.api("DELETE", f"/tokens/{long['id']}", **OURS))[0] == 204
        assert (await rig.api("DELETE", f"/tokens/{long['id']}", **OURS))[0] == 404
        rig.forget()
        assert (await rig.api("GET", "/me", **bearer(long["token"])))[0] == 401
        people = {key: person for key, person in the_routing().people.items() if key != "linh"}
        current.exchange(msgspec.structs.replace(the_routing(), people=people))
        assert (await rig.api("GET", "/me", **bearer(owned["token"])))[0] == 401


async def test_when_a_token_was_used_is_noted_now_and_then(rig: Rig) -> None:
    token = await made(rig)
    for _ in range(3):
        rig.clock.forward(minutes=6)
        assert (await rig.api("GET", "/who", **bearer(token["token"])))[0] == 200
    (stored,) = await rig.store.access.tokens()
    assert stored.last_used is not None
    assert (rig.clock() - stored.last_used).total_seconds() == 0


BODIES = [
    *(
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"name": ""}',
        b'{"name": "x", "scope": "root"}',
        b'{"name": "x", "role": "admin"}',
    ),
    *(b'{"name": "x", "valid_for": "soon"}', b'{"name": "x", "valid_for": "99999999999999w"}'),
    b'{"name": "x", "owner": "nobody"}',
]


async def test_what_no_token_is_made_of(rig: Rig) -> None:
    assert (await rig.submit("/sign-in", MAREK, **OURS))[0] == 303
    for body in BODIES:
        async with rig.client.post("/api/v1/tokens", data=body, headers=OURS) as answer:
            assert answer.status == 400, body
            assert "error" in await answer.json()


async def test_another_site_makes_no_token(rig: Rig) -> None:
    await made(rig)
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "same-site"}):
        assert (await rig.api("POST", "/tokens", {"name": "x", "scope": "admin"}, **headers))[0] == 403
        assert (await rig.api("DELETE", "/tokens/1", **headers))[0] == 403


async def test_people_see_and_end_their_own_sessions_and_administrators_all(rig: Rig) -> None:
    assert (await rig.submit("/sign-in", LINH, **OURS, User_Agent="Phone"))[0] == 303
    phone = rig.cookies()
    rig.forget()
    assert (await rig.submit("/sign-in", MAREK, **OURS))[0] == 303
    marek = rig.cookies()
    rig.forget()
    assert (await rig.submit("/sign-in", LINH, **OURS, User_Agent="Laptop"))[0] == 303
    _, listed = await rig.api("GET", "/sessions")
    assert [(one["agent"], one["current"]) for one in listed["sessions"]] == [("Laptop", True), ("Phone", False)]
    everyone = await rig.store.access.sessions(rig.clock(), 9)
    (other,) = (one.id for one in everyone if one.person == "marek")
    assert (await rig.api("DELETE", f"/sessions/{other}", **OURS))[0] == 404
    assert (await rig.api("DELETE", f"/sessions/{listed['sessions'][1]['id']}", **OURS))[0] == 204
    laptop = listed["sessions"][0]["id"]
    rig.forget()
    rig.client.session.cookie_jar.update_cookies(phone)
    assert (await rig.get("/"))[0] == 303
    rig.forget()
    rig.client.session.cookie_jar.update_cookies(marek)
    assert len((await rig.api("GET", "/sessions"))[1]["sessions"]) == 2
    assert (await rig.api("DELETE", f"/sessions/{laptop}", **OURS))[0] == 204
    assert (await rig.acts())[0] == ("session.end", "marek")


async def test_the_audit_log_is_read_in_pages_by_administrators(rig: Rig) -> None:
    for _ in range(3):
        await made(rig)
    _, first = await rig.api("GET", "/audit?limit=3")
    assert [act["act"] for act in first["audit"]] == ["token.create"] * 3
    assert {act["actor"] for act in first["audit"]} == {"marek"}
    _, second = await rig.api("GET", f"/audit?limit=3&before={first['next']}")
    assert [act["act"] for act in second["audit"]] == ["session.begin"]
    assert second["next"] is None
    _, one = await rig.api("GET", "/audit?object=token/2")
    assert [act["object"] for act in one["audit"]] == ["token/2"]
    for wrong in ("limit=0", "limit=1001", "limit=x", "before=x", "before=-1"):
        assert (await rig.api("GET", f"/audit?{wrong}"))[0] == 400
    rig.forget()
    assert (await rig.submit("/sign-in", LINH, **OURS))[0] == 303
    assert (await rig.api("GET", "/audit"))[0] == 403


async def test_without_the_store_nobody_passes_and_it_says_so(rig: Rig) -> None:
    token = await made(rig)
    with beside(rig.folder) as db:  # as a disk that cannot be read: each look fails
        db.execute("ALTER TABLE session RENAME TO unreadable_session")
        db.execute("ALTER TABLE token RENAME TO unreadable_token")
    for path in ("/", "/incidents/7"):
        assert (await rig.get(path))[0] == 503
    assert (await rig.api("GET", "/who"))[0] == 503
    assert (await rig.api("GET", "/who", **bearer(token["token"])))[0] == 503
    assert (await rig.submit("/sign-in", MAREK, **OURS))[0] == 503
    assert (await rig.api("GET", "/who", **bearer(API_TOKEN)))[0] == 200  # the emergency key
    rig.forget()
    assert (await rig.get("/"))[0] == 303


@pytest.mark.sqlite("how long a lock of its file is waited for")
async def test_while_the_database_is_locked_who_is_signed_in_stays_so(rig: Rig) -> None:
    assert (await rig.submit("/sign-in", LINH, **OURS))[0] == 303
    rig.clock.forward(hours=1)  # it would be noted that the session was seen
    with closing(sqlite3.connect(rig.folder / "receiver.sqlite3", isolation_level=None)) as other:
        await rig.store._writer.run(lambda db: db.execute("PRAGMA busy_timeout=10"))  # noqa: SLF001  # else 5 s
        other.execute("BEGIN IMMEDIATE")
        assert (await rig.get("/"))[0] == 200
        assert (await rig.submit("/sign-in", MAREK, **OURS))[0] == 503
        assert (await rig.post("/sign-out", **OURS))[0] == 503
        other.execute("ROLLBACK")
    assert (await rig.post("/sign-out", **OURS))[0] == 303


@pytest.mark.sqlite("the command is given its file")
async def test_the_command_line_makes_tokens_while_the_receiver_runs(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, {})
    where = [f"--config.file={config}", f"--database={rig.folder / 'receiver.sqlite3'}"]
    assert main(["token", "create", *where, "--name=deploys", "--scope=admin", "--valid-for=90d"]) == 0
    printed = capsys.readouterr()
    (token,) = printed.out.splitlines()
    assert "token 1, scope admin" in printed.err
    assert (await rig.api("GET", "/tokens", **bearer(token)))[0] == 200
    assert main(["token", "create", *where, "--name=linh's", "--owner=linh"]) == 0
    capsys.readouterr()
    assert main(["token", "list", *where]) == 0
    listed = capsys.readouterr().out
    assert "deploys" in listed
    assert token not in listed
    assert main(["token", "revoke", *where, "1"]) == 0
    assert main(["token", "revoke", *where, "1"]) == 1
    assert (await rig.api("GET", "/tokens", **bearer(token)))[0] == 401
    acts = await rig.store.access.audit(None, 9)
    assert {(act.act, act.via) for act in acts} == {("token.create", "command line"), ("token.revoke", "command line")}


def test_what_the_command_line_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written(tmp_path, {})
    where = f"--config.file={config}"
    assert main(["token", "list", where]) == 1
    assert "receiver.sqlite3: cannot be used" in capsys.readouterr().err
    (tmp_path / "receiver.sqlite3").touch()
    for words in (["list"], ["create", "--name=x"]):
        assert main(["token", *words, where]) == 1
        assert "not of this version" in capsys.readouterr().err
    for words, said in (
        (["--name= "], "--name"),
        (["--name=x", "--owner=nobody"], "--owner"),
        (["--name=x", "--valid-for=soon"], "--valid-for"),
    ):
        assert main(["token", "create", where, *words]) == 1
        assert said in capsys.readouterr().err
