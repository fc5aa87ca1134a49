"""The browser client in a real Chromium against a real exporter: what it sees, when it sends, what it never does."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from deploy.local.chromium import chromium
from deploy.simulation.traffic import AGENT
from tests.exporter.rum.site import Site

# One Chromium for a file: it takes longer to start than most tests take. Each test has a profile of its own in it.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with Site() as site:
        site.pages = {"/": site.tag() + "<h1>Home</h1>", "/second": site.tag() + "<h1>Second</h1>"}
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(user_agent=AGENT)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext) -> Page:
    return await context.new_page()


# How long an interaction took, the browser says once the next frame has been shown; web-vitals takes it when idle.
OBSERVE = """() => { interacted = new Promise((done) => {
  let said = false;
  new PerformanceObserver((list) => {
    said ||= list.getEntries().some((entry) => entry.interactionId);
    if (said) requestIdleCallback(done);
  }).observe({ type: "event", durationThreshold: 40 });
  const frame = () => said || requestAnimationFrame(frame);
  frame();
}) }"""


async def leave(page: Page) -> None:
    """As a visitor does: to another page, which hides this one."""
    await page.goto("about:blank")


async def test_a_visit_is_a_page_view_with_its_parts_and_vitals(site: Site, page: Page) -> None:
    # An interaction has to take a while to be one: web-vitals leaves out what is faster than 40 ms.
    site.pages["/"] += "<button onclick='for (const t = Date.now(); Date.now() - t < 80; );'>Book</button>"
    await page.goto(f"{site.url}/?token=hunter2#x")
    await site.until(lambda: site.of("page_load") and "FCP" in site.vitals())
    await page.evaluate(OBSERVE)
    await page.click("button")
    await page.evaluate("() => interacted")
    await leave(page)
    await site.until(lambda: {"LCP", "CLS", "FCP", "TTFB", "INP"} <= site.vitals() and site.is_whole())
    (load,) = site.of("page_load")
    assert (load["page"], load["navigation"]) == ("/", "navigate")
    assert 0 < load["total"] < 60
    assert {"dom_content_loaded", "load_complete", "render", "interactive"} <= set(load)
    assert site.count("rum_page_views_total", "/", "desktop", "navigate") == 1
    assert site.count("rum_time_to_interactive_seconds", "/") == 1
    assert site.count("rum_largest_contentful_paint_seconds", "/", "desktop") == 1
    assert site.count("rum_cumulative_layout_shift_score", "/", "desktop") == 1
    assert site.count("rum_sessions_started_total", "desktop") == 1
    assert site.count("rum_clicks_total", "/", "button") == 1
    assert site.count("exporter_events_rejected_total", "browser", "schema") == 0
    assert "hunter2" not in repr(site.received)


async def test_batches_are_numbered_without_a_gap_and_share_the_session_of_the_tab(site: Site, page: Page) -> None:
    for path in ("/", "/second"):
        await page.goto(site.url + path)
        await site.until(partial(site.viewed, path))
    await leave(page)
    await site.until(lambda: len(site.batches()) == 2 and site.is_whole())
    assert len({batch["client"]["session"] for batch in site.received}) == 1
    assert len(site.of("session_start")) == 1


async def test_errors_are_kinds_each_once_and_not_more_than_twenty(site: Site, page: Page) -> None:
    site.pages["/"] += """<img src="/missing.png"><script>
      const fail = (make) => setTimeout(() => { throw make(); });
      for (let i = 0; i < 3; i++) setTimeout(() => { throw new TypeError("anna@example.com"); });
      Promise.reject(new RangeError("secret"));
      storm = () => { for (let i = 0; i < 40; i++) fail(() => new Error("number " + i)); };
    </script>"""
    await page.goto(site.url)
    await site.until(lambda: site.of("unhandled_rejection") and site.of("resource_error"))
    await page.evaluate("() => storm()")
    await site.until(lambda: len(site.of("javascript_error")) >= 10)
    await leave(page)
    await site.until(lambda: site.of("web_vital") and len(site.of("javascript_error")) + 2 >= 20)
    kinds = [data["kind"] for data in site.of("javascript_error")]
    assert kinds.count("TypeError") == 1
    assert [data["kind"] for data in site.of("unhandled_rejection")] == ["RangeError"]
    assert site.of("resource_error") == [{"page": "/"}]
    assert len(kinds) + 2 == 20
    assert site.count("rum_js_errors_total", "/", "TypeError") == 1
    for word in ("anna", "secret", "number"):
        assert word not in repr(site.received)


async def test_violations_of_the_content_security_policy(site: Site, page: Page) -> None:
    policy = "<meta http-equiv='Content-Security-Policy' content=\"img-src 'none'\">"
    site.pages["/"] = policy + site.pages["/"] + "<img src='/x.png'>"
    await page.goto(site.url)
    await site.until(lambda: site.of("csp_violation"))
    assert site.count("rum_csp_violations_total", "/") == 1


async def test_forms_by_their_name_and_clicks_by_their_kind(site: Site, page: Page) -> None:
    site.pages["/"] += """<form id="signup" onsubmit="return false"><input id="id" name="id" value="anna">
      <input type="submit" value="Go"></form><a href="#x">secret text</a><div id="plain">no control</div>"""
    await page.goto(site.url)
    await page.click("input[type=submit]")
    await page.click("a")
    await page.click("#plain")
    await site.until(lambda: len(site.of("click")) >= 2 and site.of("form_submit"))
    assert site.of("form_submit") == [{"form": "signup"}]
    assert [data["element"] for data in site.of("click")] == ["button", "link"]
    assert "anna" not in repr(site.received)
    assert "secret text" not in repr(site.received)


async def test_calls_that_a_page_makes(site: Site, page: Page) -> None:
    await page.goto(site.url)
    returned = await page.evaluate("""async () => {
      const good = await HeyPeter.trackApiCall("/api/classes/7?x=1", "GET", async () => 42);
      let thrown = "";
      try { await HeyPeter.trackApiCall("/api/classes/7", "POST", async () => { throw new Error("no"); }); }
      catch (error) { thrown = error.message; }
      HeyPeter.trackDatabaseQuery("SELECT * FROM users WHERE phone = '0123456789'", 80);
      HeyPeter.trackDatabaseQuery("insert", 5, "users");
      HeyPeter.trackForm("signup", "failure");
      HeyPeter.flush();
      return [good, thrown];
    }""")
    assert returned == [42, "no"]
    await site.until(lambda: len(site.of("db_query")) == 2 and site.is_whole())
    assert [data["outcome"] for data in site.of("api_call")] == ["success", "failure"]
    assert site.of("db_query")[0] == {"operation": "select", "table": "users", "duration": 0.08}
    assert site.count("api_calls_total", "/api/classes/[id]", "failure") == 1
    assert site.count("db_query_duration_seconds", "select", "users") == 1
    assert site.count("rum_form_submits_total", "signup", "failure") == 1
    assert "0123456789" not in repr(site.received)


async def test_calls_from_before_the_script_was_there(site: Site, page: Page) -> None:
    early = "<script>HeyPeter={interval:50,q:[]};HeyPeter.q.push(['trackDatabaseQuery','select',3,'users'])</script>"
    site.pages["/"] = early + site.pages["/"]
    await page.goto(site.url)
    await site.until(lambda: site.of("db_query"))


async def test_requests_are_timed_and_the_page_gets_what_it_would_have_got(site: Site, page: Page) -> None:
    site.pages["/"] = site.tag(time_requests="true")
    await page.goto(site.url)
    returned = await page.evaluate("""async () => {
      const body = (await (await fetch("/api/classes/7?q=1")).json()).id;
      const status = (await fetch(new Request("/api/classes/500", {method: "GET"}))).status;
      const stop = new AbortController(); stop.abort();
      const name = await fetch("/api/classes/8", {signal: stop.signal}).catch((error) => error.name);
      const unhandled = new Promise((done) => addEventListener("unhandledrejection",
        (event) => { event.preventDefault(); done(event.reason.name); }));
      fetch("/api/classes/9", {signal: stop.signal});
      const xhr = await new Promise((done) => { const x = new XMLHttpRequest(); x.open("GET", "/api/classes/5");
        x.onload = () => done(x.responseText); x.send(); });
      return [body, status, name, await unhandled, xhr];
    }""")
    assert returned == ["7", 500, "AbortError", "AbortError", '{"id": "5"}']
    await site.until(lambda: len(site.of("api_call")) == 5)
    await asyncio.sleep(0)
    classes = sorted((data["endpoint"], data["status_class"], data["outcome"]) for data in site.of("api_call"))
    assert classes == [
        ("/api/classes/5", "2xx", "success"),
        ("/api/classes/500", "5xx", "failure"),
        ("/api/classes/7", "2xx", "success"),
        ("/api/classes/8", "aborted", "failure"),
        ("/api/classes/9", "aborted", "failure"),
    ]
    assert site.count("api_call_responses_total", "/api/classes/[id]", "2xx") == 2


async def test_route_changes_of_an_app_are_views(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await page.evaluate("() => { history.pushState({}, '', '/spa/1'); history.replaceState({}, '', '/spa/1?x=2'); }")
    await site.until(lambda: site.count("rum_page_views_total", "/spa/[id]", "desktop", "soft-navigation") == 1)
    await page.go_back()
    await site.until(lambda: site.count("rum_page_views_total", "/", "desktop", "soft-navigation") == 1)


async def test_closing_the_tab_loses_nothing(site: Site, page: Page) -> None:
    site.pages["/"] = site.tag(interval="600000")
    await page.goto(site.url)
    await page.evaluate("() => HeyPeter.trackDatabaseQuery('select', 5, 'users')")
    assert site.received == []
    await page.close()
    await site.until(lambda: site.of("db_query") and site.of("page_load"))


@pytest.mark.parametrize("misfortune", [503, 429, None])
async def test_what_was_not_taken_comes_again_with_the_same_id_and_counts_once(
    site: Site, page: Page, misfortune: int | None
) -> None:
    site.misfortunes = [misfortune] * 2
    await page.goto(site.url)
    await page.evaluate("() => HeyPeter.trackDatabaseQuery('select', 5, 'users')")
    await site.until(lambda: site.of("db_query"))
    assert site.misfortunes == []
    assert site.count("db_query_duration_seconds", "select", "users") == 1
    ids = [batch["batch_id"] for batch in site.received]
    assert len(ids) == len(set(ids))


async def test_what_was_still_owed_comes_from_the_next_page_of_the_tab(site: Site, page: Page) -> None:
    site.misfortunes = [503] * 50
    await page.goto(site.url)
    await page.evaluate(
        "() => { navigator.sendBeacon = () => false; HeyPeter.trackDatabaseQuery('select', 5, 'users') }"
    )
    await site.until(lambda: len(site.misfortunes) < 50)
    await page.goto(f"{site.url}/second")
    site.misfortunes = []
    await site.until(lambda: site.of("db_query"))
    assert site.count("db_query_duration_seconds", "select", "users") == 1


async def test_what_is_refused_is_not_sent_again_and_is_reported(site: Site, page: Page) -> None:
    site.misfortunes = [400]
    await page.goto(site.url)
    await page.evaluate("() => { HeyPeter.trackDatabaseQuery('select', 5, 'users'); HeyPeter.flush(); }")
    async with asyncio.timeout(20):
        while not site.of("client_report"):
            await page.evaluate("() => { HeyPeter.trackDatabaseQuery('select', 5, 'users'); HeyPeter.flush() }")
    assert site.of("client_report")[0]["reason"] == "refused"
    assert site.count("rum_client_dropped_events_total", "refused") >= 1


async def test_a_page_with_neither_storage_nor_beacons_works(site: Site, page: Page) -> None:
    site.pages["/"] = """<script>
      Object.defineProperty(window, "sessionStorage", {get() { throw new Error("blocked"); }});
      navigator.sendBeacon = undefined; crypto.randomUUID = undefined;
    </script>""" + site.tag()
    seen: list[Any] = []
    page.on("pageerror", lambda error: seen.append(error))  # noqa: PLW0108  # playwright marks the function it is given
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load"))
    assert seen == []


@pytest.mark.parametrize(("taken", "sample"), [(True, 10), (False, 10)])
async def test_of_a_sampled_session_only_what_matters_is_sent(site: Site, page: Page, taken: bool, sample: int) -> None:
    chance = 0.05 if taken else 0.5
    site.pages["/"] = f"<script>Math.random = () => {chance}</script>" + site.tag(sample=str(sample))
    await page.goto(site.url)
    await page.evaluate("() => setTimeout(() => { throw new TypeError('x') })")
    await site.until(lambda: site.of("javascript_error"))
    await leave(page)
    if taken:
        await site.until(lambda: site.of("web_vital") and site.of("page_load"))
        assert site.count("rum_page_views_total", "/", "desktop", "navigate") == sample
    else:
        assert site.of("page_load") == []
    assert site.count("rum_js_errors_total", "/", "TypeError") == 1


async def test_without_consent_nothing_is_said_and_it_can_be_taken_back(site: Site, page: Page) -> None:
    site.pages["/"] = site.tag(consent="required")
    await page.goto(site.url)
    await page.evaluate("() => { HeyPeter.trackDatabaseQuery('select', 5, 'users'); HeyPeter.flush() }")
    assert await page.evaluate("() => sessionStorage.length") == 0
    assert site.received == []
    await page.evaluate("() => HeyPeter.consent(true)")
    await site.until(lambda: site.of("page_load"))
    assert site.of("db_query") == []
    until = await page.evaluate(
        "() => { HeyPeter.consent(false); HeyPeter.trackDatabaseQuery('select', 5, 'users'); return Date.now() }"
    )
    await leave(page)
    assert site.of("db_query") == []
    assert max(event["time"] for event in site.events) <= until  # what was under way may arrive


async def test_global_privacy_control_is_silence(site: Site, page: Page) -> None:
    await page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    await page.goto(site.url)
    await page.evaluate("() => { HeyPeter.consent(true); HeyPeter.flush() }")
    await leave(page)
    assert site.received == []


async def test_events_are_passed_on_to_gtag_where_there_is_one(site: Site, page: Page) -> None:
    site.pages["/"] = "<script>seen = []; gtag = (...call) => seen.push(call)</script>" + site.tag(gtag="true")
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load"))
    names = await page.evaluate("() => seen.map((call) => call[1])")
    assert {"session_start", "page_load"} <= set(names)


async def test_another_origin_may_be_the_exporters(site: Site, page: Page) -> None:
    async with Site(origins=(site.url,)) as elsewhere:
        path = f"{elsewhere.url}/rum.js"
        integrity = elsewhere.exporter.script.integrity
        site.pages["/"] = (
            f'<script src="{path}" integrity="{integrity}" crossorigin="anonymous" data-interval="50" '
            f'data-endpoint="{elsewhere.url}/api/pulse"></script>'
        )
        await page.goto(site.url)
        await elsewhere.until(lambda: elsewhere.of("page_load"))
        await leave(page)  # by sendBeacon
        await elsewhere.until(lambda: elsewhere.of("web_vital"))
        assert elsewhere.count("rum_page_views_total", "/", "desktop", "navigate") == 1
        assert elsewhere.count("exporter_events_rejected_total", "browser", "origin") == 0
        assert site.received == []


async def test_an_origin_that_is_not_allowed_is_refused_and_reported_by_nobody(site: Site, page: Page) -> None:
    async with Site() as elsewhere:
        site.pages["/"] = site.tag(endpoint=f"{elsewhere.url}/api/pulse")
        await page.goto(site.url)
        await elsewhere.until(lambda: elsewhere.count("exporter_events_rejected_total", "browser", "origin") >= 1)
        assert elsewhere.count("rum_page_views_total", "/", "desktop", "navigate") == 0
