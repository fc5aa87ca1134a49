"""Names and passwords: the form and HTTP basic auth, roles, and what somebody who guesses can and cannot do."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from process.client_address import Clients
from receiver.config.console import ConsoleSettings
from receiver.oncall.contact_rules import Contact
from receiver.web.access.attempts import Attempts
from tests.receiver.example_site import START, the_current, the_routing
from tests.receiver.web.access.signing_in import HTTPS, OURS, PASSWORD, Rig, a_console

SETTINGS: dict[str, Any] = {
    "sign_in": {"basic": True},
    "roles": {"admin": {"people": ["marek"]}},
    "trusted_proxies": ["127.0.0.1"],
}
RIGHT = {"name": "linh", "password": PASSWORD, "next": "/incidents/7"}
WRONG = {"name": "linh", "password": "wrong"}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_console(tmp_path, SETTINGS) as made:
        yield made


async def sign_in(rig: Rig, form: dict[str, str], address: str = "192.0.2.7") -> int:
    return (await rig.submit("/sign-in", form, **OURS, X_Forwarded_For=address))[0]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def test_a_person_signs_in_by_the_form_and_comes_back_to_the_page(rig: Rig) -> None:
    assert rig.access.link is None
    status, page = await rig.get("/sign-in?next=%2Fincidents%2F7")
    assert (status, 'name="next" value="/incidents/7"' in page) == (200, True)
    assert await rig.submit("/sign-in", RIGHT, **OURS) == (303, "/incidents/7")
    status, text = await rig.get("/")
    viewer = {"person": "linh", "name": "Linh", "role": "responder", "via": "session", "incident": None}
    assert json.loads(text) == viewer
    assert await rig.acts() == [("session.begin", "linh")]
    assert (rig.counted("basic", "taken"), rig.counted("basic", "refused"), rig.counted("oidc", "taken")) == (1, 0, 0)


async def test_a_second_sign_in_of_a_browser_ends_the_first(rig: Rig) -> None:
    assert await sign_in(rig, RIGHT) == 303
    before = rig.cookies()
    assert await sign_in(rig, {**RIGHT, "name": "marek"}) == 303
    assert [session.person for session in await rig.store.access.sessions(rig.clock(), 9)] == ["marek"]
    rig.forget()
    rig.client.session.cookie_jar.update_cookies(before)
    assert (await rig.get("/"))[0] == 303


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "", "sign-in"])
async def test_the_sign_in_leads_nowhere_else(rig: Rig, back: str) -> None:
    assert await rig.submit("/sign-in", {**RIGHT, "next": back}, **OURS) == (303, "/")


async def test_a_wrong_password_an_unknown_name_and_no_role_are_refused(rig: Rig) -> None:
    assert await sign_in(rig, WRONG) == 401
    assert await sign_in(rig, {"name": "nobody", "password": PASSWORD}) == 401
    assert await sign_in(rig, {"name": "linh" * 1000, "password": PASSWORD}) == 401
    assert await sign_in(rig, {"name": "scraper", "password": PASSWORD}) == 403  # of the file, and not in `people`
    assert await sign_in(rig, {}) == 401
    assert rig.cookies() == {}
    assert await rig.acts() == []


async def test_another_site_cannot_sign_a_browser_in(rig: Rig) -> None:
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert (await rig.submit("/sign-in", RIGHT, **headers))[0] == 403
    assert rig.cookies() == {}


async def test_over_plain_http_from_elsewhere_it_says_why_it_would_not_last(rig: Rig) -> None:
    status, page = await rig.submit("/sign-in", RIGHT, Host="10.0.0.5:9095", Origin="http://10.0.0.5:9095", **OURS)
    assert status == 400
    assert "HTTPS" in page
    assert (await rig.submit("/sign-in", RIGHT, Origin="https://oncall.example.com", **HTTPS))[0] == 303


async def test_basic_auth_is_for_scripts(rig: Rig) -> None:
    status, text = await rig.get("/api/v1/who", Authorization=basic("marek", PASSWORD))
    assert status == 200
    assert json.loads(text) == {
        "person": "marek",
        "name": "Marek",
        "role": "admin",
        "via": "basic",
        "incident": None,
    }
    assert (await rig.post("/api/v1/who", Authorization=basic("marek", PASSWORD)))[0] == 200
    assert (await rig.get("/api/v1/who", Authorization=basic("marek", "wrong")))[0] == 401
    assert (await rig.get("/api/v1/who", Authorization=basic("scraper", PASSWORD)))[0] == 403
    # A browser that keeps the password would send it for any site's page.
    elsewhere = {"Origin": "https://evil.example"}
    assert (await rig.post("/api/v1/who", Authorization=basic("marek", PASSWORD), **elsewhere))[0] == 403


async def test_guessing_ends_soon_and_is_answered_with_when_to_try_again(rig: Rig) -> None:
    answers = [await sign_in(rig, {"name": f"n{n}", "password": "x"}) for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert (rig.counted("basic", "refused"), rig.counted("basic", "limited")) == (10, 2)
    assert await sign_in(rig, RIGHT) == 429  # from that network, which has never signed in
    assert await sign_in(rig, RIGHT, "198.51.100.1") == 303
    rig.forget()
    assert await sign_in(rig, RIGHT) == 429  # also when the password has just been checked: it would tell which it is
    async with rig.client.post("/sign-in", data=RIGHT, headers={**OURS, "X-Forwarded-For": "192.0.2.7"}) as answer:
        assert 0 < int(answer.headers["Retry-After"]) <= 30
    headers = {"Authorization": basic("linh", PASSWORD), "X-Forwarded-For": "192.0.2.7"}
    for path in ("/api/v1/who", "/"):
        async with rig.client.get(path, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 429
            assert 0 < int(answer.headers["Retry-After"]) <= 30
    rig.clock.forward(seconds=31)
    assert await sign_in(rig, RIGHT) == 303


async def test_a_script_may_ask_many_things_at_once(rig: Rig) -> None:
    headers = {"Authorization": basic("linh", PASSWORD)}
    assert (await rig.get("/api/v1/who", **headers))[0] == 200
    answers = await asyncio.gather(*(rig.get("/api/v1/who", **headers) for _ in range(30)))
    assert [status for status, _ in answers] == [200] * 30


async def test_a_stranger_cannot_lock_a_person_out(rig: Rig) -> None:
    """From many networks; the person's browser has signed in before, and so has the network of their script."""
    assert await sign_in(rig, RIGHT, "198.51.100.1") == 303
    assert (await rig.post("/sign-out", **OURS))[0] == 303
    answers = [(await rig.submit("/sign-in", WRONG, **OURS, X_Forwarded_For=f"10.0.{n}.1"))[0] for n in range(30)]
    assert 429 not in answers[:10]  # this browser has the device cookie: its own ten tries
    rig.clock.forward(minutes=10)
    device = rig.cookies()
    rig.forget()
    answers = [await sign_in(rig, WRONG, f"10.1.{n}.1") for n in range(30)]
    assert answers == [401] * 20 + [429] * 10
    assert await sign_in(rig, RIGHT, "10.2.0.1") == 429  # a stranger's network
    assert await sign_in(rig, RIGHT, "198.51.100.1") == 303  # the person's
    rig.forget()
    rig.client.session.cookie_jar.update_cookies(device)
    assert await sign_in(rig, RIGHT, "10.3.0.1") == 303  # the person's phone, on the road
    rig.forget()
    forged = {name: value[:-2] + "xx" for name, value in device.items()}
    rig.client.session.cookie_jar.update_cookies(forged)
    assert await sign_in(rig, RIGHT, "10.4.0.1") == 429


async def test_a_user_who_is_taken_out_of_the_file_is_out(tmp_path: Path) -> None:
    async with a_console(tmp_path, SETTINGS) as rig:
        assert await sign_in(rig, RIGHT) == 303
        users = yaml.safe_load((tmp_path / "web.yml").read_text("utf-8"))
        del users["basic_auth_users"]["linh"]
        (tmp_path / "web.yml").write_text(yaml.safe_dump(users), "utf-8")
        rig.users.prepare()()
        assert (await rig.get("/"))[0] == 303


async def test_a_reload_changes_the_role_of_who_is_signed_in(rig: Rig) -> None:
    assert await sign_in(rig, RIGHT) == 303
    assert (await rig.post("/incidents/7/acknowledge", **OURS))[0] == 200
    roles = {"viewer": {"people": ["linh"]}, "people": "none"}
    rig.access.use(msgspec.convert({**SETTINGS, "roles": roles}, ConsoleSettings))
    assert (await rig.get("/"))[0] == 200
    assert (await rig.post("/incidents/7/acknowledge", **OURS))[0] == 403
    assert (await rig.post("/api/v1/who", **OURS))[0] == 403
    assert (await rig.post("/sign-out", **OURS))[0] == 303


async def test_a_session_of_somebody_who_has_left_or_of_another_way_is_void(tmp_path: Path) -> None:
    current = the_current()
    async with a_console(tmp_path, SETTINGS, current) as rig:
        assert await sign_in(rig, RIGHT) == 303
        cookies = rig.cookies()
        people = {key: person for key, person in the_routing().people.items() if key != "linh"}
        current.exchange(msgspec.structs.replace(the_routing(), people=people))
        assert (await rig.get("/"))[0] == 303
    async with a_console(tmp_path) as rig:  # the way is not set up any more
        rig.client.session.cookie_jar.update_cookies(
            {f"heypeter-session-{rig.client.port}": cookies["__Host-heypeter-session"]}
        )
        assert (await rig.get("/"))[0] == 303


PROXY = {
    "sign_in": {"proxy": {"addresses": ["127.0.0.1"], "header": "X-User", "groups_header": "X-Groups"}},
    "roles": {"admin": {"groups": ["sre"]}, "others": "viewer"},
}


async def test_a_trusted_proxy_says_who_it_is(tmp_path: Path) -> None:
    peter = msgspec.structs.replace(
        the_routing().people["peter"], contacts=(Contact("email", "a@example.com,Peter@example.com"),)
    )
    current = the_current(msgspec.structs.replace(the_routing(), people={**the_routing().people, "peter": peter}))
    async with a_console(tmp_path, PROXY, current) as rig:
        status, text = await rig.get("/", X_User="peter@example.com", X_Groups="staff, sre")
        assert json.loads(text)["person"] == "peter"
        assert json.loads(text)["role"] == "admin"
        assert json.loads(text)["via"] == "proxy"
        status, text = await rig.get("/", X_User="guest@example.com")
        assert (status, json.loads(text)["role"], json.loads(text)["person"]) == (200, "viewer", "")
        assert (await rig.get("/"))[0] == 303
        async with rig.client.get("/", headers=[("X-User", "linh"), ("X-User", "peter")], allow_redirects=False) as two:
            assert two.status == 303
        assert (await rig.post("/incidents/7/acknowledge", X_User="peter"))[0] == 403  # no page of ours asked for it
        assert (await rig.post("/incidents/7/acknowledge", X_User="peter", **OURS))[0] == 200


@pytest.mark.parametrize("claimed", ["", "10.9.9.9", "127.0.0.1"])
async def test_from_another_address_the_header_says_nothing(tmp_path: Path, claimed: str) -> None:
    elsewhere = {**PROXY, "sign_in": {"proxy": {"addresses": ["10.9.9.9"], "header": "X-User"}}}
    async with a_console(tmp_path, {**elsewhere, "trusted_proxies": ["127.0.0.1"]}) as rig:
        assert (await rig.get("/", X_User="peter", **({"X_Forwarded_For": claimed} if claimed else {})))[0] == 303


def test_the_tables_of_tries_are_bounded() -> None:
    attempts, now = Attempts(), START
    for number in range(12_000):
        now += timedelta(seconds=1)
        networks = Clients(()).networks(f"10.{number % 256}.{number // 256}.1", ())
        attempts.wait(f"name{number}", networks, "", now)
        attempts.failed(f"name{number}", networks, "", now)
        attempts.passed(f"name{number}", networks)
    assert len(attempts) <= 15_000
