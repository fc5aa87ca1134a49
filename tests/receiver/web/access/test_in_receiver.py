"""Sign-in in the receiver as it is put together: what it prints, a path before it, a missing package, and a browser."""

import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import expect

from deploy.local.chromium import chromium
from process.settings import SettingsError
from receiver.__main__ import main
from receiver.app import Receiver
from receiver.config.load import load
from receiver.incident.model import State
from tests.process.bounded_server import BoundedServer
from tests.receiver.channels.test_registry import written
from tests.receiver.web.access.signing_in import Client
from tests.receiver.web.test_alertmanager import encoded

HOOK = {"Authorization": "Bearer t"}


@asynccontextmanager
async def running(folder: Path, settings: dict[str, Any]) -> AsyncIterator[tuple[Receiver, Client]]:
    receiver = Receiver(*load(written(folder, settings)))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        async with TestClient(BoundedServer(receiver.application())) as client:
            yield receiver, client
        await receiver.stop()


def test_the_link_names_where_a_browser_of_this_machine_gets_in(tmp_path: Path) -> None:
    receiver = Receiver(*load(written(tmp_path, {})))
    (here,) = receiver.sign_in_link("http://127.0.0.1:9095")
    assert here.startswith("console at http://127.0.0.1:9095/sign-in/")
    (everywhere,) = receiver.sign_in_link("http://0.0.0.0:9095")
    assert everywhere.startswith("console at https://oncall.example.com/sign-in/")
    for console in ({"enabled": False}, {"sign_in": {"basic": True}}):
        assert (
            list(Receiver(*load(written(tmp_path, {"console": console}))).sign_in_link("http://127.0.0.1:9095")) == []
        )


async def test_below_a_path_of_a_proxy_the_sign_in_keeps_it(tmp_path: Path) -> None:
    async with running(tmp_path, {"external_url": "https://example.com/oncall/"}) as (receiver, client):
        for path in ("/", "/oncall/"):
            async with client.get(f"{path}incidents/7", allow_redirects=False) as answer:
                assert answer.headers["Location"] == "/oncall/sign-in?next=%2Fincidents%2F7"
        (line,) = receiver.sign_in_link("http://127.0.0.1:9095")
        token = line.split()[2].rpartition("/")[2]
        async with client.get(f"/sign-in/{token}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/oncall/")
        async with client.get("/oncall/") as answer:
            assert answer.status == 200
            assert "Sign out" in await answer.text()


async def test_without_the_console_there_is_the_api_alone(tmp_path: Path) -> None:
    async with running(tmp_path, {"console": {"enabled": False}}) as (_, client):
        for path, status in (("/", 404), ("/sign-in", 404), ("/incidents/1", 404), ("/api/v1/incidents", 401)):
            async with client.get(path, allow_redirects=False) as answer:
                assert answer.status == status, path
        async with client.get("/api/v1/incidents", headers=HOOK) as answer:
            assert answer.status == 200


async def test_passwords_without_users_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with running(tmp_path, {"console": {"sign_in": {"basic": True}}}):
            assert "nobody can sign in by it" in caplog.text


def test_openid_connect_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "receiver.web.access.oidc", raising=False)
    monkeypatch.setitem(sys.modules, "authlib.integrations.httpx_client", None)
    oidc = {"issuer": "https://id.example.com", "client_id": "1"}
    with pytest.raises(SettingsError) as caught:
        Receiver(*load(written(tmp_path, {"console": {"sign_in": {"oidc": oidc}}})))
    assert "console.sign_in.oidc: " in str(caught.value)
    assert "pip install 'heypeter-monitoring[oidc]'" in str(caught.value)
    assert main(["check", f"--config.file={tmp_path / 'receiver.yml'}"]) == 1
    assert "console.sign_in.oidc: needs the package" in capsys.readouterr().err


FORM = """<form method="post" action="{url}incidents/1/acknowledge"><button>Win</button></form>"""


@pytest.mark.browser
async def test_in_a_browser_only_our_own_page_acts_and_signing_out_ends_it(tmp_path: Path) -> None:
    """The hostile page is on another port of this machine: the same site, so that the browser sends our cookie."""
    async with running(tmp_path, {}) as (receiver, client), chromium() as browser:
        url = str(client.make_url("/"))
        async with client.post("/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
            assert answer.status == 200

        async def hostile(_request: web.Request) -> web.Response:
            return web.Response(text=FORM.format(url=url), content_type="text/html")

        elsewhere = web.Application()
        elsewhere.add_routes([web.get("/", hostile)])
        async with TestServer(elsewhere) as other:
            page = await browser.new_page()
            await page.goto(f"{url}incidents/1")
            assert "/sign-in?next=" in page.url
            (line,) = receiver.sign_in_link(url.rstrip("/"))
            await page.goto(line.split()[2])
            assert page.url == url
            await page.goto(str(other.make_url("/")))
            async with page.expect_navigation() as went:
                await page.click("button")
            response = await went.value
            assert response is not None
            assert (response.status, await state(receiver)) == (403, State.TRIGGERED)
            assert "another site" in await page.inner_text("main")
            await page.goto(f"{url}incidents/1")
            await page.click("form[action$=acknowledge] button")
            await page.get_by_text("You have it.").first.wait_for()  # else the next click would cut this one short
            assert await state(receiver) is State.ACKNOWLEDGED
            await page.click(".sign-out button")
            # Led there by the answer, or by its stream, which ends with the session: whichever is first.
            await expect(page).to_have_url(re.compile("/sign-in"), timeout=30_000)
            await page.goto(url)
            assert page.url.endswith("/sign-in")


async def state(receiver: Receiver) -> State:
    stored = await receiver.store.incident(1)
    assert stored is not None
    return stored[0].state


# What a stranger may ask for; each has its own credential in the path or the body, or says nothing of this site.
OPEN = {
    *("GET /-/healthy", "GET /-/ready", "GET /metrics", "GET /static/{name}"),
    *("GET /sign-in", "POST /sign-in", "GET /sign-in/{token}", "GET /calendar/{name}"),
    *("GET /a/{token}", "GET /a/{token}/"),  # lead to /answer, which asks for the link
    *("GET /manifest.webmanifest", "GET /service-worker.js"),
}


def concrete(pattern: re.Pattern[str]) -> str:
    """Give a path that the route takes."""

    def value(group: re.Match[str]) -> str:
        found = (one for one in ("1", "x", "a" * 64, "png", group[2].split("|")[0]) if re.fullmatch(group[2], one))
        return next(found)

    return re.sub(r"\\(.)", r"\1", re.sub(r"\(\?P<(\w+)>([^()]*)\)", value, pattern.pattern))


def routes(app: web.Application) -> Iterator[tuple[str, str, str]]:
    """Each method and path that is served, also by what is mounted, and an example of the path."""
    for resource in app.router.resources():
        inner = resource.get_info().get("app")
        if inner is not None:
            yield from routes(inner)
            continue
        for route in resource:
            info = resource.get_info()
            name = info.get("path") or info["formatter"]
            yield route.method, name, concrete(info["pattern"]) if "pattern" in info else name


async def test_every_address_asks_who_one_is_unless_it_is_listed_as_open(tmp_path: Path) -> None:
    slack = {"token": "xoxb-1", "interactive": True, "signing_secret": "s" * 32}
    people = {"linh": {"name": "Linh Tran", "slack": "U1"}}
    async with running(tmp_path, {"channels": {"slack": slack}, "people": people}) as (receiver, client):
        found = sorted(set(routes(receiver.application())))
        names = {f"{method} {path}" for method, path, _ in found}
        assert {"POST /incidents/{id}/{act}", "GET /api/v1/audit", "POST /awake/{what}"} <= names
        for method, path, example in found:
            if method == "HEAD" or f"{method} {path}" in OPEN:
                continue
            for headers in ({}, {"Sec-Fetch-Site": "same-origin"}):
                async with client.request(method, example, headers=headers, allow_redirects=False) as answer:
                    asked = answer.status == 303 and answer.headers["Location"].startswith("/sign-in")
                    assert asked or answer.status in {401, 403}, f"{method} {path} answers {answer.status} to anybody"
