"""Sentry's own browser SDK in Chromium, through the tunnel, to a local upstream: what docs/sentry.md promises."""

import asyncio
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from deploy.local.chromium import FLAGS, chromium_path
from deploy.local.node import node_path, npm
from deploy.simulation.traffic import AGENT
from exporter.events.decode import Schema
from exporter.registry.recorder import Recorder
from exporter.self_metrics import Metrics
from exporter.sentry_tunnel.dsn import TunnelSettings
from exporter.sentry_tunnel.forward import SESSION, Tunnel
from exporter.web.rate_limit import Limiter
from process.client_address import Clients
from tests.exporter.example_exporter import the_example
from tests.fakes.sentry import FakeSentry, Received

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
LONGEST = 30  # seconds to wait for what must come


class Counts(Metrics):
    def __init__(self) -> None:
        catalogue = the_example()[1]
        super().__init__(Recorder(catalogue, Schema(catalogue), b"key"))
        self.items: list[tuple[str, str, int]] = []
        self.reasons: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def item(self, item: str, outcome: str, n: int) -> None:
        super().item(item, outcome, n)
        self.items.append((item, outcome, n))

    def discarded(self, reason: str, n: int) -> None:
        super().discarded(reason, n)
        self.reasons.put_nowait((reason, n))


class Site:
    """A site with one page, which reports through the tunnel on its own origin."""

    def __init__(self, sentry: FakeSentry, scripts: Path, session: aiohttp.ClientSession) -> None:
        self.sentry, self.counts, self._scripts = sentry, Counts(), scripts
        settings = TunnelSettings(dsns=(sentry.dsn,))
        clock = asyncio.get_running_loop().time
        limiter = Limiter(1000, 1000, 1000, 1000, clock())
        tunnel = Tunnel(settings, self.counts, Clients(()), limiter, clock)
        self._app = web.Application()
        self._app[SESSION] = session
        self._app.router.add_get("/", self._page)
        self._app.router.add_get("/page.js", self._file)
        self._app.router.add_post(settings.path, tunnel.handle)
        self.script = "page.js"
        self.options: dict[str, Any] = {"dsn": sentry.dsn, "tunnel": settings.path, "release": "site@1"}

    async def _page(self, _request: web.Request) -> web.Response:
        page = (
            "<!doctype html><title>Grades</title><p>Anna Kowalska has a 6 in maths</p>"
            f"<script>window.options = {json.dumps(self.options)}</script><script src=/page.js></script>"
        )
        return web.Response(text=page, content_type="text/html", headers={"Set-Cookie": "session=s3cret"})

    async def _file(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._scripts / self.script)

    async def start(self) -> None:
        self._runner = web.AppRunner(self._app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def counted(self, *item: object) -> None:
        """Wait until an item has been counted, which is after Sentry has it."""
        async with asyncio.timeout(LONGEST):
            while item not in self.counts.items:  # noqa: ASYNC110  # the tunnel does not tell
                await asyncio.sleep(0.02)

    async def arrival(self, kind: str) -> Received:
        """Wait for the next envelope with an item of this type."""
        async with asyncio.timeout(LONGEST):
            while True:
                received = await self.sentry.arrivals.get()
                if kind in received.types:
                    return received


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle both pages with the SDK of the lock file, as npm has it."""
    folder = tmp_path_factory.mktemp("sentry")
    for name in ("package.json", "package-lock.json", "page.js", "documented.js"):
        shutil.copy(HERE / name, folder)
    (folder / "instrumentation-client.ts").write_text(documented("instrumentation-client.ts"), encoding="utf-8")
    for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(
            [*npm(), *command],
            cwd=folder,
            env={**os.environ, "PATH": node_path()},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return folder / "dist"


@pytest.fixture
async def site(scripts: Path) -> AsyncIterator[Site]:
    sentry = FakeSentry()
    await sentry.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        site = Site(sentry, scripts, session)
        await site.start()
        yield site
        await site.stop()
    await sentry.stop()


def documented(name: str) -> str:
    """Cut a file out of docs/sentry.md."""
    page = (HERE.parents[2] / "docs" / "sentry.md").read_text(encoding="utf-8")
    return page.partition(f"```ts\n// {name}\n")[2].partition("```")[0]


Open = Callable[..., Any]


def events(sentry: FakeSentry) -> list[tuple[dict[str, Any], bytes]]:
    return [item for received in sentry.received for item in received.items if item[0]["type"] == "event"]


@pytest.fixture
async def visit(site: Site, tmp_path: Path) -> AsyncIterator[Open]:
    """Open the page in a fresh Chromium, and note each host that it asks for anything."""
    if chromium_path() is None:
        pytest.skip("Chromium is not installed: apt install chromium, or name it in CHROMIUM")
    async with async_playwright() as playwright:
        browsers = []

        async def visit(agent: str = AGENT, **options: Any) -> Page:  # noqa: ANN401  # options of Sentry.init
            site.options |= options
            browser = await playwright.chromium.launch_persistent_context(
                tmp_path / "profile",
                executable_path=chromium_path(),
                # Not Playwright's user_agent: what a page sends while it goes would still have the browser's own.
                args=[*FLAGS, f"--user-agent={agent}"],
            )
            browsers.append(browser)
            page = browser.pages[0] if browser.pages else await browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            await page.goto(site.url)
            await page.wait_for_function("window.ready")
            return page

        asked: list[str] = []
        yield visit
        for browser in browsers:
            await browser.close()
        assert [url for url in asked if not url.startswith((site.url, "about:", "data:", "blob:"))] == []


async def test_an_error_reaches_sentry_and_the_page_asks_nobody_but_its_own_site(site: Site, visit: Open) -> None:
    page = await visit()
    await page.evaluate("setTimeout(() => { throw new TypeError('it broke') })")
    received = await site.arrival("event")
    ((_, payload),) = events(site.sentry)
    event = json.loads(payload)
    assert event["exception"]["values"][0]["type"] == "TypeError"
    assert event["release"] == "site@1"
    assert received.envelope["dsn"] == site.sentry.dsn
    assert received.headers["User-Agent"] == AGENT
    assert received.headers["X-Forwarded-For"] == "127.0.0.1"
    assert await page.evaluate("document.cookie") == "session=s3cret"
    assert "s3cret" not in str(received.headers)
    await site.counted("event", "forwarded", 1)


async def test_the_session_and_the_spans_of_the_page_load_are_reported(site: Site, visit: Open) -> None:
    page = await visit(tracesSampleRate=1)
    assert (await site.arrival("session")).types == ["session"]
    await page.goto("about:blank")
    assert b"pageload" in (await site.arrival("span")).body
    await site.counted("span", "forwarded", 1)


async def test_a_page_that_does_not_stream_its_spans_reports_a_transaction(site: Site, visit: Open) -> None:
    await visit(tracesSampleRate=1, traceLifecycle="static")
    received = await site.arrival("transaction")
    (transaction,) = [json.loads(payload) for header, payload in received.items if header["type"] == "transaction"]
    assert transaction["contexts"]["trace"]["op"] == "pageload"


async def test_warnings_are_dropped_though_the_page_has_no_before_send(site: Site, visit: Open) -> None:
    page = await visit()
    await page.evaluate("Sentry.captureMessage('it creaks', 'warning')")
    await page.evaluate("Sentry.captureMessage('it broke', 'error')")
    received = await site.arrival("event")
    assert b"it broke" in received.body
    assert await page.evaluate("Sentry.flush(30000)")
    await site.counted("event", "dropped_filter", 1)
    messages = [json.loads(payload).get("message") for header, payload in events(site.sentry)]
    assert messages == ["it broke"]


async def test_the_sdk_understands_a_limit_and_reports_what_it_held_back(site: Site, visit: Open) -> None:
    page = await visit()
    await site.arrival("session")
    site.sentry.limits = {"event": "600:error;default:organization:quota"}
    await page.evaluate("Sentry.captureMessage('first', 'error')")
    assert await page.evaluate("Sentry.flush(30000)")
    for number in range(3):
        await page.evaluate(f"Sentry.captureMessage('held {number}', 'error')")
    assert await page.evaluate("Sentry.flush(30000)")
    await site.counted("event", "upstream_429", 1)
    assert len([item for item in site.counts.items if item[0] == "event"]) == 1, "the SDK did not even ask the tunnel"
    assert events(site.sentry) == []

    await page.goto("about:blank")  # a page that goes sends its client report
    async with asyncio.timeout(LONGEST):
        assert await site.counts.reasons.get() == ("rate_limited", 3)
    await site.arrival("client_report")


async def test_the_tunnel_holds_back_for_a_page_that_does_not_know_the_limit(site: Site, visit: Open) -> None:
    page = await visit()
    await site.arrival("session")
    site.sentry.limits = {"event": "600:error:organization:quota"}
    await page.evaluate("Sentry.captureMessage('first', 'error')")
    assert await page.evaluate("Sentry.flush(30000)")
    await page.goto(site.url)  # the SDK forgets its limits with its page
    await page.wait_for_function("window.ready")
    await site.arrival("session")
    await page.evaluate("Sentry.captureMessage('second', 'error')")
    assert await page.evaluate("Sentry.flush(30000)")
    await page.evaluate("Sentry.captureMessage('third', 'error')")
    assert await page.evaluate("Sentry.flush(30000)")
    assert events(site.sentry) == []
    assert [item for item in site.counts.items if item[0] == "event"] == [("event", "upstream_429", 1)] * 2


@pytest.mark.parametrize("masked", [True, False])
async def test_a_replay_shows_text_only_if_it_is_told_to(site: Site, visit: Open, *, masked: bool) -> None:
    replay = {} if masked else {"maskAllText": False}
    page = await visit(replay=replay, replaysSessionSampleRate=1)
    await page.evaluate("Sentry.getReplay().flush()")
    received = await site.arrival("replay_recording")
    assert received.types == ["replay_event", "replay_recording"]
    recording = received.items[1][1]
    assert (b"Kowalska" in recording) is not masked
    assert (b"**** ********" in recording) is masked


async def test_an_error_that_a_crawler_meets_is_reported(site: Site, visit: Open) -> None:
    agent = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1) Chrome/140 Safari/537.36"
    page = await visit(agent=agent)
    await page.evaluate("Sentry.captureMessage('it broke', 'error')")
    assert await page.evaluate("Sentry.flush(30000)")
    await site.counted("event", "forwarded", 1)


async def test_the_documented_configuration_reports_errors_and_nobody(site: Site, visit: Open) -> None:
    site.script = "documented.js"
    page = await visit()
    await page.evaluate("history.replaceState({}, '', '/?name=Nowak')")
    await page.evaluate("Sentry.setTag('room', 'blue')")
    await page.evaluate("Sentry.captureMessage('it creaks', 'warning')")
    await page.evaluate("setTimeout(() => { throw new TypeError('it broke') })")
    await site.arrival("event")
    ((_, payload),) = events(site.sentry)
    event = json.loads(payload)
    assert (event["environment"], event["tags"]["room"]) == ("production", "blue")
    assert event["sdk"]["settings"]["infer_ip"] == "never"
    assert "user" not in event
    assert b"Nowak" not in payload
    assert b"it creaks" not in payload, "not even among the breadcrumbs"
    assert ("event", "dropped_filter", 1) not in site.counts.items, "the page itself dropped it"

    received = await site.arrival("replay_recording")  # of the seconds before the error
    recording = received.items[1][1].partition(b"\n")[2]
    text = zlib.decompress(recording) if recording[:1] == b"x" else recording
    assert b"**** ********" in text
    assert b"Kowalska" not in text
    assert b"s3cret" not in text
    assert b"?name=Nowak" in text, "docs/sentry.md warns of this; take the warning out once it is no longer so"
