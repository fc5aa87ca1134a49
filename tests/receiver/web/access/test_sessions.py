"""Sessions: the link that is printed at the start, the cookie, what other sites may not do, and how a session ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.store.audit import Act
from receiver.store.base import StoreError
from receiver.store.sql.access import SQLAccess
from receiver.web.access.guard import local_path
from receiver.web.access.security_headers import HEADERS
from receiver.web.console import stream
from tests.receiver.example_site import beside, dumped
from tests.receiver.web.access.signing_in import API_TOKEN, HTTPS, OURS, PASSWORD, Rig, a_console

FRIENDLY = "https://oncall.example.com"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_console(tmp_path) as made:
        yield made


async def test_nobody_sees_a_page_and_the_api_answers_401(rig: Rig) -> None:
    assert await rig.get("/") == (303, "/sign-in")
    assert await rig.get("/incidents/7?tab=alerts") == (303, "/sign-in?next=%2Fincidents%2F7%3Ftab%3Dalerts")
    assert await rig.post("/incidents/7/acknowledge") == (303, "/sign-in")
    status, text = await rig.get("/api/v1/who")
    assert status == 401
    assert "bearer token" in json.loads(text)["error"]
    status, text = await rig.get("/sign-in", Accept_Language="de")
    assert status == 200
    assert "Anmelden" in text


async def test_the_printed_link_is_not_used_up_by_a_sign_in_that_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def locked(*_: object) -> None:
        raise StoreError("database is locked")

    assert rig.access.link is not None
    with monkeypatch.context() as patched:
        patched.setattr(SQLAccess, "begin_session", locked)
        assert (await rig.get(rig.access.link.path))[0] == 503
    assert await rig.get(rig.access.link.path) == (303, "/")


async def test_the_printed_link_signs_in_once(rig: Rig) -> None:
    assert rig.access.link is not None
    assert (await rig.get(rig.access.link.path, Sec_Purpose="prefetch"))[0] == 503
    async with rig.client.head(rig.access.link.path) as answer:
        assert answer.status == 405
    assert (await rig.get(f"{rig.access.link.path}x"))[0] == 403
    await rig.sign_in_by_link()
    status, text = await rig.get("/")
    assert status == 200
    viewer = {"person": "", "name": "console", "role": "admin", "via": "loopback", "incident": None}
    assert json.loads(text) == viewer
    assert (await rig.get("/api/v1/who"))[0] == 200
    assert await rig.get(rig.access.link.path) == (303, "/")  # used up, and this browser is signed in
    assert await rig.get("/sign-in?next=//evil.example") == (303, "/")
    rig.forget()
    assert (await rig.get(rig.access.link.path))[0] == 403
    assert await rig.acts() == [("session.begin", "console")]


async def test_the_database_has_no_secret_in_it(rig: Rig) -> None:
    await rig.sign_in_by_link()
    (secret,) = rig.cookies().values()
    assert len(secret) >= 43
    assert secret not in dumped(rig.folder)


@pytest.mark.parametrize("host", ["127.0.0.1", "oncall.example.com"])
async def test_the_cookie_fits_the_connection(rig: Rig, host: str) -> None:
    assert rig.access.link is not None
    named = {} if host == "127.0.0.1" else HTTPS
    async with rig.client.get(rig.access.link.path, headers=named, allow_redirects=False) as answer:
        (cookie,) = answer.headers.getall("Set-Cookie")
    name, _, rest = cookie.partition("=")
    attributes = {part.strip() for part in rest.split(";")[1:]}
    assert {"HttpOnly", "Path=/", "SameSite=Lax", f"Max-Age={30 * 86400}"} <= attributes
    assert ("Secure" in attributes) == (host != "127.0.0.1")
    expected = f"heypeter-session-{rig.client.port}" if host == "127.0.0.1" else "__Host-heypeter-session"
    assert name == expected
    # A cookie of the one connection is worth nothing on the other.
    wrong = {
        "Cookie": f"{'__Host-heypeter-session' if host == '127.0.0.1' else 'heypeter-session'}={rest.split(';')[0]}"
    }
    rig.forget()
    assert (await rig.get("/", **named, **wrong))[0] == 303
    assert (await rig.get("/", **named, Cookie=f"{name}={rest.split(';')[0]}"))[0] == 200


@pytest.mark.parametrize("external", ["https://oncall.example.com", "http://localhost:9095"])
async def test_a_proxy_that_hides_the_host_gets_no_cookie_for_plain_http(tmp_path: Path, external: str) -> None:
    """Nginx sends the address of its proxy_pass as the Host, if nobody tells it not to."""
    async with a_console(tmp_path, {"sign_in": {"basic": True}}, external=external) as rig:
        form = {"name": "linh", "password": PASSWORD}
        async with rig.client.post("/sign-in", data=form, headers=OURS, allow_redirects=False) as answer:
            cookies = answer.headers.getall("Set-Cookie")
        secure = external.startswith("https:")
        assert [cookie.startswith("__Host-") for cookie in cookies] == [secure] * 2
        assert ["Secure" in cookie for cookie in cookies] == [secure] * 2


async def test_a_session_ends_by_time_by_signing_out_and_by_another_sign_in(rig: Rig) -> None:
    await rig.sign_in_by_link()
    first = rig.cookies()
    status, where = await rig.post("/sign-out", **OURS)
    assert (status, where) == (303, "/sign-in")
    assert rig.cookies() == {}
    rig.client.session.cookie_jar.update_cookies(first)
    assert (await rig.get("/"))[0] == 303  # a copy of the cookie is worth nothing either
    assert (await rig.acts())[0] == ("session.end", "console")


async def test_a_session_that_the_attacker_has_set_is_not_used_on(tmp_path: Path) -> None:
    async with a_console(tmp_path) as rig:
        fixed = {f"heypeter-session-{rig.client.port}": "chosen-by-somebody-else"}
        rig.client.session.cookie_jar.update_cookies(fixed)
        await rig.sign_in_by_link()
        assert rig.cookies() != fixed
        rig.forget()
        assert (await rig.get("/", Cookie=f"heypeter-session-{rig.client.port}=chosen-by-somebody-else"))[0] == 303


async def test_a_session_expires(rig: Rig) -> None:
    await rig.sign_in_by_link()
    rig.clock.forward(days=29)
    assert (await rig.get("/"))[0] == 200
    rig.clock.forward(days=1)
    assert (await rig.get("/"))[0] == 303


async def test_a_revoked_session_is_out_at_the_next_request(rig: Rig) -> None:
    await rig.sign_in_by_link()
    (session,) = await rig.store.access.sessions(rig.clock(), 10)
    act = Act(rig.clock(), "marek", "session", "", "session.end", f"session/{session.id}")
    assert await rig.store.access.end_session(session.id, act)
    assert (await rig.get("/"))[0] == 303


async def test_last_seen_is_noted_now_and_then(rig: Rig) -> None:
    await rig.sign_in_by_link()
    began, seen = rig.clock(), []
    for _ in range(4):
        rig.clock.forward(minutes=6)
        assert (await rig.get("/"))[0] == 200
        seen.append((await rig.store.access.sessions(rig.clock(), 1))[0].seen - began)
    assert seen == [timedelta(0), timedelta(minutes=12), timedelta(minutes=12), timedelta(minutes=24)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": FRIENDLY}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Origin": FRIENDLY}, 200),
        ({"Origin": "https://oncall.example.com.evil.example"}, 403),
        ({"Origin": "http://oncall.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_a_page_of_another_site_cannot_act(rig: Rig, headers: dict[str, str], status: int) -> None:
    await rig.sign_in_by_link()
    assert (await rig.post("/incidents/7/acknowledge", **headers))[0] == status
    assert (await rig.post("/api/v1/who", **headers))[0] == status
    assert (await rig.get("/", **headers))[0] == 200


async def test_our_own_page_on_this_machine_can_act(rig: Rig) -> None:
    await rig.sign_in_by_link()
    own = rig.url.rstrip("/")
    assert (await rig.post("/incidents/7/acknowledge", Origin=own))[0] == 200
    other = own.rpartition(":")[0] + ":1"  # another port of this machine is another page's
    assert (await rig.post("/incidents/7/acknowledge", Origin=other))[0] == 403
    # DNS rebinding: a stranger's name for this machine
    assert (await rig.post("/incidents/7/acknowledge", Origin="http://evil.example", Host="evil.example"))[0] != 200


async def test_a_script_with_a_token_needs_no_such_header(rig: Rig) -> None:
    status, text = await rig.post("/api/v1/who", Authorization=f"Bearer {API_TOKEN}")
    assert status == 200
    assert json.loads(text) == {"person": "", "name": "api", "role": "responder", "via": "token", "incident": None}
    await rig.sign_in_by_link()
    assert (await rig.get("/api/v1/who", Authorization="Bearer wrong"))[0] == 401  # the session does not help it
    assert (await rig.get("/api/v1/who", Authorization="Bearer \xff"))[0] == 401


async def test_every_page_has_its_headers_and_the_others_are_not_framed(rig: Rig) -> None:
    for _ in range(2):
        for path in ("/", "/sign-in", "/sign-in/wrong"):
            async with rig.client.get(path, allow_redirects=False) as answer:
                assert HEADERS.items() <= answer.headers.items(), path
        await rig.sign_in_by_link() if not rig.cookies() else None
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/incidents/7?x=1", "/incidents/7?x=1"),
        ("/oncall/incidents/7", "/incidents/7"),
        ("//evil.example", ""),
        ("/\\evil.example", ""),
        ("/\t/evil.example", ""),
        ("/oncall//evil.example", ""),
        ("https://evil.example", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
        ("/" + "a" * 1000, ""),
        ("/a\r\nSet-Cookie: b=c", ""),
    ],
)
def test_a_sign_in_leads_to_no_other_site(text: str, path: str) -> None:
    assert local_path(text, "/oncall") == path


async def test_a_stream_ends_when_its_session_is_revoked_and_not_with_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "TICK", 0.01)
    async with a_console(tmp_path) as rig:
        await rig.sign_in_by_link()
        async with rig.client.get("/stream", headers={"Accept": "text/event-stream"}) as answer:
            await answer.content.readuntil(b"event: tick")
            with beside(rig.folder) as db:
                db.execute("ALTER TABLE session RENAME TO unreadable")
            for _ in range(5):
                await answer.content.readuntil(b"event: tick")
            with beside(rig.folder) as db:
                db.execute("ALTER TABLE unreadable RENAME TO session")
            (session,) = await rig.store.access.sessions(rig.clock(), 10)
            act = Act(rig.clock(), "marek", "session", "", "session.end", f"session/{session.id}")
            await rig.store.access.end_session(session.id, act)
            assert b"event: signed-out" in await asyncio.wait_for(answer.content.read(), 30)
        async with rig.client.get("/stream", headers={"Accept": "text/event-stream"}) as answer:
            assert answer.status == 401  # the sign-in page would be no events
        async with rig.client.get("/", headers={"HX-Request": "true"}) as answer:
            assert (answer.status, answer.headers["HX-Refresh"]) == (401, "true")


BYTES = [
    *(
        b"",
        b"\xff\xfe",
        b"a=b; c",
        b"\xed\xa0\x80",
        b"=",
        b"Basic ",
        b"Basic =",
        b"Basic \xff",
        b"Bearer",
        b"Bearer \xff",
    ),
    *(b"Basic Og==", b"Basic " + b"QUFB" * 2000, b"Bearer hp_", b"Bearer hp_\xff", b"x" * 4000),
    *(
        b"[",
        b"[::1",
        b"[::1]:9",
        b"127.0.0.1:",
        b"127.0.0.1:x",
        b"127.0.0.1:999999",
        b"127.0.0.1:-1",
        b"localhost:\xb2",
    ),
    *(b"1.2.3.4, \xff", b",,,", b"unknown", b"http://[", b"null"),
]
HEADERS_OF_STRANGERS = (
    "Cookie",
    "Authorization",
    "Host",
    "X-Forwarded-For",
    "X-User",
    "X-Groups",
    "User-Agent",
    "Origin",
)


async def test_no_header_and_no_path_of_strangers_breaks_anything(tmp_path: Path) -> None:
    proxy = {"addresses": ["127.0.0.1"], "header": "X-User", "groups_header": "X-Groups"}
    settings = {
        "sign_in": {"basic": True, "proxy": proxy},
        "roles": {"others": "viewer"},
        "trusted_proxies": ["127.0.0.1"],
    }
    async with a_console(tmp_path, settings, external="http://localhost:9095") as rig:
        codes = set()
        for name, value in [(name, value) for name in HEADERS_OF_STRANGERS for value in BYTES]:
            for path in (
                b"/",
                b"/sign-in?next=%ff%ed%a0%80",
                b"/sign-in/\xff",
                b"/incidents/\xff?\xff",
                b"/api/v1/who",
            ):
                codes.add(await raw(rig, b"GET", path, name.encode() + b": " + value))
            form = b"name=linh&password=open+sesame&next=%ff"
            codes.add(await raw(rig, b"POST", b"/sign-in", name.encode() + b": " + value, form))
        assert codes <= {200, 303, 400, 401, 403, 404, 429}


async def raw(rig: Rig, method: bytes, path: bytes, header: bytes, body: bytes = b"") -> int:
    """Send what no client library would; gives the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.client.port)
    host = b"" if header.startswith(b"Host:") else b"Host: 127.0.0.1:9095\r\n"
    ours = b"Sec-Fetch-Site: same-origin\r\nConnection: close\r\n"
    writer.write(method + b" " + path + b" HTTP/1.1\r\n" + host + header + b"\r\n" + ours)
    writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    line = await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    return int(line.split()[1])
