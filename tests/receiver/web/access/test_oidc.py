"""Sign-in by OpenID Connect: with a provider that checks PKCE, and with one that says what it should not."""

import asyncio
import base64
import contextlib
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwk

from receiver.config.console import OidcSettings
from receiver.oncall.contact_rules import Contact
from receiver.policy.current import Current
from receiver.web.access.oidc import Oidc
from receiver.web.access.oidc_flow import OidcError, Reason
from tests.fakes.oidc_provider import ToldProvider, User, oidc_mock
from tests.receiver.example_site import START, Clock, the_current, the_routing
from tests.receiver.web.access.signing_in import OURS, Rig, a_console

pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")  # the mock has it
ROLES = {"admin": {"groups": ["sre"]}, "others": "none"}


def the_people() -> Current:
    linh = msgspec.structs.replace(the_routing().people["linh"], contacts=(Contact("email", "linh@example.com"),))
    return the_current(msgspec.structs.replace(the_routing(), people={**the_routing().people, "linh": linh}))


def settings(issuer: str, **more: object) -> dict[str, Any]:
    oidc = {"issuer": issuer, "client_id": "console", "name": "Example Inc.", **more}
    return {"sign_in": {"oidc": oidc}, "roles": ROLES}


@asynccontextmanager
async def told(folder: Path, **more: object) -> AsyncIterator[tuple[Rig, ToldProvider]]:
    provider = ToldProvider(int(START.timestamp()))
    async with TestServer(provider.application(), host="127.0.0.1") as server:
        provider.issuer = str(server.make_url("")).rstrip("/")
        async with a_console(folder, settings(provider.issuer, **more), the_people()) as rig:
            yield rig, provider


async def begun(rig: Rig, path: str = "/sign-in/oidc") -> dict[str, str]:
    """Begin, and give what the provider is asked."""
    status, url = await rig.get(path)
    assert status == 303, url
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def come_back(rig: Rig, provider: ToldProvider, **query: str) -> tuple[int, str]:
    asked = await begun(rig)
    provider.nonce = asked["nonce"]
    return await rig.client_get("/sign-in/oidc/callback", {"state": asked["state"], "code": "c", **query})


async def press(url: str, form: dict[str, str]) -> str:
    """Press the button at the provider; gives where it sends the browser."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=form, allow_redirects=False) as answer,
    ):
        return answer.headers["Location"]


async def test_a_person_signs_in_with_pkce_and_a_nonce(tmp_path: Path) -> None:
    linh = User(sub="s-1", claims={"email": "Linh@example.com", "email_verified": True, "groups": ["sre", "staff"]})
    with oidc_mock(linh) as (issuer, pkce):
        async with a_console(tmp_path, settings(issuer), the_people()) as rig:
            rig.clock.now = datetime.now(UTC)  # as the mock's
            status, page = await rig.get("/sign-in?next=/incidents/7")
            assert "Sign in with Example Inc." in page
            status, url = await rig.get("/sign-in/oidc?next=/incidents/7")
            assert status == 303
            asked = parse_qs(urlsplit(url).query)
            assert asked["redirect_uri"] == ["https://oncall.example.com/sign-in/oidc/callback"]
            assert asked["code_challenge_method"] == ["S256"]
            back = urlsplit(await press(url, {"sub": "s-1"}))
            before = rig.cookies()
            assert await rig.get(f"{back.path}?{back.query}") == (303, "/incidents/7")
            assert pkce.checked == 1
            assert (await rig.get("/"))[0] == 200
            viewer = json.loads((await rig.get("/"))[1])
            assert (viewer["person"], viewer["role"], viewer["via"]) == ("linh", "admin", "session")
            (session,) = await rig.store.access.sessions(rig.clock(), 9)
            assert (session.via, session.groups) == ("oidc", ("sre",))
            # Replayed: the cookie is gone, and a copy of it has been used.
            assert (await rig.get(f"{back.path}?{back.query}"))[0] == 400
            rig.client.session.cookie_jar.update_cookies(before)
            assert (await rig.get(f"{back.path}?{back.query}"))[0] == 400
            assert len(await rig.store.access.sessions(rig.clock(), 9)) == 1


async def test_a_verifier_of_another_sign_in_is_refused_by_the_provider(tmp_path: Path) -> None:
    """Somebody has put a code of their own into the answer (RFC 9700, 4.5)."""
    with oidc_mock(User(sub="s-1", claims={"email": "linh@example.com", "email_verified": True})) as (issuer, pkce):
        async with a_console(tmp_path, settings(issuer), the_people()) as rig:
            url = (await rig.get("/sign-in/oidc"))[1]
            code = parse_qs(urlsplit(await press(url, {"sub": "s-1"})).query)["code"][0]
            asked = await begun(rig)
            status, _ = await rig.client_get("/sign-in/oidc/callback", {"state": asked["state"], "code": code})
            assert (status, pkce.checked) == (502, 0)


async def test_who_says_no_at_the_provider_is_told_so(tmp_path: Path) -> None:
    with oidc_mock() as (issuer, _):
        async with a_console(tmp_path, settings(issuer), the_people()) as rig:
            url = (await rig.get("/sign-in/oidc"))[1]
            back = urlsplit(await press(url, {"action": "deny"}))
            state = parse_qs(urlsplit(url).query)["state"][0]  # the mock forgets to send it back
            status, page = await rig.client_get(
                "/sign-in/oidc/callback", {"state": state, **{n: v[0] for n, v in parse_qs(back.query).items()}}
            )
            assert status == 403
            assert "not let in" in page


async def test_the_told_provider_is_believed_when_all_is_right(tmp_path: Path) -> None:
    async with told(tmp_path) as (rig, provider):
        assert await come_back(rig, provider) == (303, "/")
        assert provider.requests == ["describe", "token", "keys"]
        assert (await rig.post("/sign-out", **OURS))[0] == 303
        assert await come_back(rig, provider) == (303, "/")
        assert provider.requests[3:] == ["token"]  # what it says of itself is remembered


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("nonce", {"nonce": "another"}),
    ("no nonce", {"nonce": None}),
    ("issuer", {"iss": "https://evil.example"}),
    ("audience", {"aud": "another-client"}),
    ("no audience", {"aud": None}),
    ("another client's", {"aud": ["console", "other"], "azp": "other"}),
    ("several audiences, and no azp", {"aud": ["console", "other"]}),
    ("expired", {"exp": int(START.timestamp()) - 61}),
    ("no end", {"exp": None}),
    ("no subject", {"sub": None}),
    ("made later", {"nbf": int(START.timestamp()) + 3600}),
    ("email not verified", {"email_verified": False}),
    ("email perhaps verified", {"email_verified": None}),
    ("verified in a word", {"email_verified": "true"}),
    ("nobody", {"email": ""}),
    ("somebody else", {"email": "stranger@example.com", "groups": None}),
    ("a list", {"email": ["linh@example.com"]}),
]


async def test_what_a_token_must_not_say(tmp_path: Path) -> None:
    async with told(tmp_path) as (rig, provider):
        for number, (name, claims) in enumerate(REFUSED, 1):
            rig.clock.forward(seconds=30)  # else it would be too many tries
            provider.now = int(rig.clock().timestamp())
            provider.claims = {n: v + number * 30 if n in {"exp", "nbf"} and v else v for n, v in claims.items()}
            assert (await come_back(rig, provider))[0] == 403, name
        assert (await rig.get("/"))[0] == 303
        assert await rig.store.access.sessions(START, 9) == []


def unsigned(provider: ToldProvider) -> None:
    parts = ({"alg": "none"}, {"iss": provider.issuer, "aud": "console", "sub": "1", "nonce": provider.nonce})
    body = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    provider.id_token = f"{body}."


def by_our_own_secret(provider: ToldProvider) -> None:
    provider.key = jwk.OctKey.import_key("client-secret" * 3)
    provider.header = {"alg": "HS256", "kid": "first"}


def by_another_key(provider: ToldProvider) -> None:
    provider.key = jwk.ECKey.generate_key("P-256", {"kid": "first"})
    provider.header = {"alg": "ES256", "kid": "first"}


def nothing(provider: ToldProvider) -> None:
    provider.id_token = ""


def rubbish(provider: ToldProvider) -> None:
    provider.id_token = "a.b.c"


async def test_whose_signature_a_token_must_not_have(tmp_path: Path) -> None:
    async with told(tmp_path) as (rig, provider):
        for spoil in (nothing, rubbish, unsigned, by_our_own_secret, by_another_key):
            spoil(provider)
            assert (await come_back(rig, provider))[0] == 403, spoil
            provider.id_token = None
        assert await rig.store.access.sessions(START, 9) == []


async def test_new_keys_of_the_provider_are_read_but_not_for_each_forgery(tmp_path: Path) -> None:
    async with told(tmp_path) as (rig, provider):
        assert await come_back(rig, provider) == (303, "/")
        provider.key = jwk.ECKey.generate_key("P-256", {"kid": "second"})
        provider.published, provider.header = [provider.key], {"alg": "ES256", "kid": "second"}
        assert (await come_back(rig, provider))[0] == 403  # the keys are seconds old
        rig.clock.forward(seconds=61)
        assert await come_back(rig, provider) == (303, "/")
        by_another_key(provider)
        before = provider.requests.count("keys")
        for _ in range(3):
            assert (await come_back(rig, provider))[0] == 403
        assert provider.requests.count("keys") == before


async def test_groups_that_are_not_in_the_token_are_asked_for(tmp_path: Path) -> None:
    async with told(tmp_path) as (rig, provider):
        provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
        provider.claims, provider.userinfo = {"groups": None}, {"sub": "1", "groups": ["sre"]}
        assert (await come_back(rig, provider))[0] == 303
        assert json.loads((await rig.get("/"))[1])["role"] == "admin"
        provider.userinfo = {"sub": "2", "groups": ["sre"]}  # of somebody else
        rig.forget()
        assert (await come_back(rig, provider))[0] == 403


async def test_a_person_by_another_claim_and_a_group_alone(tmp_path: Path) -> None:
    async with told(tmp_path, person_claim="sub") as (rig, provider):
        provider.claims = {"sub": "00u1", "email": None, "email_verified": None}
        assert (await come_back(rig, provider))[0] == 303
        viewer = json.loads((await rig.get("/"))[1])
        assert (viewer["person"], viewer["name"], viewer["role"]) == ("", "00u1", "admin")


async def test_an_answer_to_nothing_that_was_asked(tmp_path: Path) -> None:
    """A link to the callback that somebody else has made would sign the reader in as them."""
    async with told(tmp_path) as (rig, provider):
        callback = "/sign-in/oidc/callback"
        assert (await rig.client_get(callback, {"state": "x", "code": "c"}))[0] == 400
        assert (await rig.client_get(callback, {}))[0] == 400
        asked = await begun(rig)
        assert (await rig.client_get(callback, {"state": "x", "code": "c"}))[0] == 400
        assert (await rig.client_get(callback, {"state": asked["state"], "code": "c"}))[0] == 400  # one try
        assert (await come_back(rig, provider, iss="https://evil.example"))[0] == 403  # RFC 9207
        asked = await begun(rig)
        rig.clock.forward(minutes=10)
        assert (await rig.client_get(callback, {"state": asked["state"], "code": "c"}))[0] == 400
        asked = await begun(rig)
        cookie = {name: f"{value[:-4]}AAAA" for name, value in rig.cookies().items()}
        rig.forget()
        rig.client.session.cookie_jar.update_cookies(cookie)
        assert (await rig.client_get(callback, {"state": asked["state"], "code": "c"}))[0] == 400
        assert "token" not in provider.requests


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://evil.example"}, {"token_endpoint": 7}, {"jwks_uri": "/missing"}, {"token_endpoint": "x:/"}],
)
async def test_a_provider_that_is_not_as_it_should_be(tmp_path: Path, metadata: dict[str, Any]) -> None:
    async with told(tmp_path) as (rig, provider):
        provider.metadata = metadata
        status, page = await rig.get("/sign-in/oidc")
        if status == 303:
            status, page = await come_back(rig, provider)
        assert status == 502
        assert "provider" in page
        assert "Sign in with Example Inc." in page  # one can try again


async def test_a_provider_that_is_away(tmp_path: Path) -> None:
    async with a_console(tmp_path, settings("http://127.0.0.1:1")) as rig:
        assert (await rig.get("/sign-in/oidc"))[0] == 502
        assert (await rig.get("/sign-in"))[0] == 200


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("head", [HEAD + b"Content-Length: 400000000\r\n\r\n", HEAD + b"\r\n", HEAD + b"X-Slow: "])
@pytest.mark.parametrize("pause", [0, 0.05])
async def test_an_answer_of_the_provider_has_bounds_in_time_and_size(head: bytes, pause: float) -> None:
    written, answers = 0, list[asyncio.Task[object] | None]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        answers.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while written < 40_000_000:
                writer.write(b"x" * (1 if pause else 100_000))
                written += 1 if pause else 100_000
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        oidc = Oidc(OidcSettings(issuer=issuer, client_id="console"), None, f"{OURS}/callback", Clock(), patience=0.5)
        with pytest.raises(OidcError) as refused:
            await oidc.begin("/")
        assert refused.value.reason is Reason.PROVIDER
        for task in filter(None, answers):
            task.cancel()
            await task
    assert written < 10_000_000


async def test_a_packed_answer_of_the_provider_is_not_inflated() -> None:
    packed = gzip.compress(b" " * 50_000_000)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    async with TestServer(app, host="127.0.0.1") as server:
        issuer = str(server.make_url("")).rstrip("/")
        oidc = Oidc(OidcSettings(issuer=issuer, client_id="console"), None, f"{OURS}/callback", Clock())
        tracemalloc.start()
        with pytest.raises(OidcError):
            await oidc.begin("/")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 10_000_000


async def test_strangers_cannot_make_us_flood_the_provider(tmp_path: Path) -> None:
    async with told(tmp_path) as (rig, provider):
        provider.claims = {"nonce": "another"}
        answers = [(await come_back(rig, provider))[0] for _ in range(12)]
        assert answers == [403] * 10 + [429] * 2
        assert provider.requests.count("token") == 10
