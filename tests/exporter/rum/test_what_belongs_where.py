"""What a page measures in Chromium belongs to the page that was seen, and is its own doing."""

import asyncio
from functools import partial
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.exporter.rum.site import Site
from tests.exporter.rum.test_in_browser import browser, context, leave, page, site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
__all__ = ["browser", "context", "page", "site"]  # fixtures

HIDDEN = """Object.defineProperty(document, "visibilityState", { get: () => window.shown ? "visible" : "hidden" });
  Object.defineProperty(document, "hidden", { get: () => !window.shown });
  show = (shown) => {
    window.shown = shown; document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  };"""
PRERENDERED = """let waiting = true; Object.defineProperty(document, "prerendering", { get: () => waiting });
  activate = () => { waiting = false; document.dispatchEvent(new Event("prerenderingchange")); };
  const entries = performance.getEntriesByType;
  performance.getEntriesByType = function (type) {
    const found = entries.call(this, type);
    if (type !== "navigation") return found;
    const get = (it, name) => (name === "activationStart" ? window.activated : it[name]);
    return found.map((entry) => new Proxy(entry, { get }));
  };"""


async def settled(site: Site, page: Page) -> None:
    """Wait until all that the page has to say so far has arrived."""

    def marks() -> int:
        return sum(data.get("duration") == 0.001 for data in site.of("db_query"))

    before = marks()
    await page.evaluate("() => { HeyPeter.trackDatabaseQuery('select', 1, 'users'); HeyPeter.flush(); }")
    await site.until(lambda: marks() > before and site.is_whole())


async def test_vitals_belong_to_the_page_that_was_loaded(site: Site, page: Page) -> None:
    site.pages["/"] = "<script>history.replaceState({}, '', '/')</script>" + site.pages["/"]
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load") and "FCP" in site.vitals())
    await page.evaluate("() => history.pushState({}, '', '/second')")
    await site.until(partial(site.viewed, "/second"))
    await leave(page)
    await site.until(lambda: {"LCP", "CLS"} <= site.vitals())
    assert {data["page"] for data in site.of("web_vital")} == {"/"}


async def test_a_load_belongs_to_the_page_that_was_asked_for(site: Site, page: Page) -> None:
    site.pages["/"] = "<script>history.pushState({}, '', '/second')</script>" + site.pages["/"]
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load"))
    assert [data["page"] for data in site.of("page_load") if data["navigation"] == "navigate"] == ["/"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("location.hash = '#/spa/1'", "/spa/1"),
        ("location.hash = '#!/second?x=1'", "/second"),
        ("navigation.addEventListener('navigate', (e) => e.intercept()); navigation.navigate('/second')", "/second"),
        ("History.prototype.pushState.call(history, {}, '', '/second')", "/second"),
    ],
)
@pytest.mark.parametrize("api", [True, False])
async def test_route_changes_are_seen_however_they_are_made(
    site: Site, page: Page, change: str, path: str, api: bool
) -> None:
    if not api and not change.startswith("location"):
        pytest.skip("there is no such way without the Navigation API")
    if not api:
        await page.add_init_script("Object.defineProperty(window, 'navigation', { value: undefined })")
    await page.goto(site.url)
    await page.evaluate(f"() => {{ {change} }}")
    await site.until(partial(site.viewed, path))
    await page.evaluate("() => { location.hash = '#' + Math.random() }")  # an anchor is no route
    await settled(site, page)
    soft = [data["page"] for data in site.of("page_load") if data["navigation"] == "soft-navigation"]
    assert soft[:1] == [path]
    assert "/" not in soft[:1]


async def test_a_route_change_that_nobody_sees_is_neither_a_view_nor_a_time(site: Site, page: Page) -> None:
    await page.add_init_script(f"window.shown = true; {HIDDEN}")
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load"))
    await page.evaluate("() => { show(false); history.pushState({}, '', '/second'); }")
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await settled(site, page)
    assert not site.viewed("/second")
    await page.evaluate("() => { history.pushState({}, '', '/spa/7'); show(true); }")
    await site.until(partial(site.viewed, "/spa/7"))
    await settled(site, page)
    assert not site.viewed("/second")
    assert [data for data in site.of("page_load") if data["navigation"] == "soft-navigation"] == [
        {"page": "/spa/7", "navigation": "soft-navigation"}
    ]


async def test_a_page_opened_in_the_background_is_a_view_without_times_once_it_is_shown(site: Site, page: Page) -> None:
    await page.add_init_script(HIDDEN)
    await page.goto(site.url)
    await settled(site, page)
    assert site.of("page_load") == []
    await page.evaluate("() => show(true)")
    await site.until(lambda: site.of("page_load"))
    assert site.of("page_load") == [{"page": "/", "navigation": "navigate"}]


async def test_a_prerendered_page_counts_from_its_activation(site: Site, page: Page) -> None:
    await page.add_init_script(PRERENDERED)
    await page.goto(site.url)
    await page.evaluate("() => HeyPeter.flush()")
    assert await page.evaluate("() => sessionStorage.length") == 0
    assert site.received == []
    await page.evaluate("() => { window.activated = performance.now(); activate(); }")
    await site.until(lambda: site.of("page_load"))
    assert site.of("page_load") == [{"page": "/", "navigation": "prerender", "total": 0, "interactive": 0}]
    assert len(site.of("session_start")) == 1


async def test_a_prerendered_page_that_is_refused_consent_stays_silent(site: Site, page: Page) -> None:
    await page.add_init_script(PRERENDERED)
    await page.goto(site.url)
    await page.evaluate("() => { HeyPeter.consent(false); activate(); HeyPeter.flush(); }")
    await leave(page)
    assert site.received == []


async def test_aborts_timeouts_and_reused_requests(site: Site, page: Page) -> None:
    site.pages["/"] = site.tag(time_requests="true", ignore="[&quot;/api/classes/99&quot;]")
    await page.goto(site.url)
    waited = await page.evaluate("""async () => {
      const aborted = (reason) => { const stop = new AbortController(); stop.abort(reason); return stop.signal; };
      const reasons = ["a text", new Error("gone"), { left: true }, null, new TypeError("x")];
      for (const [index, reason] of reasons.entries())
        await fetch("/api/classes/" + (10 + index), { signal: aborted(reason) }).catch(() => {});
      await fetch(new Request("/api/classes/15", { signal: aborted("x") })).catch(() => {});
      const late = new DOMException("x", "TimeoutError");
      await fetch("/api/classes/16", { signal: aborted(late) }).catch(() => {});
      await fetch("/api/classes/99");
      await fetch("/api/report", { method: "POST" }).catch(() => {});
      await fetch("/api/rum/events", { method: "POST" }).catch(() => {});
      const x = new XMLHttpRequest();
      const asked = (path) => new Promise((done) => { x.open("GET", path); x.onloadend = done; x.send(); });
      x.open("GET", "/api/classes/never");
      await asked("/api/classes/20");
      await asked("/api/classes/21");
      const opened = performance.now();
      x.open("GET", "/api/classes/22");
      await new Promise((done) => setTimeout(done, 300));
      await new Promise((done) => { x.onloadend = done; x.send(); });
      return (performance.now() - opened) / 1000;
    }""")
    await settled(site, page)
    calls = [(data["endpoint"].rpartition("/")[2], data["status_class"]) for data in site.of("api_call")]
    aborted = [(str(number), "aborted") for number in range(10, 16)]
    assert calls == [*aborted, ("16", "timeout"), ("20", "2xx"), ("21", "2xx"), ("22", "2xx")]
    assert site.of("api_call")[-1]["duration"] < waited - 0.2  # since it was sent, not since it was opened


async def test_a_request_during_which_nobody_saw_the_page_is_counted_without_a_time(site: Site, page: Page) -> None:
    site.pages["/"] = site.tag(time_requests="true")
    await page.add_init_script(f"window.shown = true; {HIDDEN}")
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load"))
    await page.evaluate("""async () => {
      const later = (then) => new Promise((done) => setTimeout(() => done(then()), 5));
      await fetch("/api/classes/1");
      show(false);
      await later(() => fetch("/api/classes/2"));
      await later(() => {
        const answer = fetch("/api/classes/3");
        show(true); // before the answer can be there
        return answer;
      });
      await later(() => HeyPeter.trackApiCall("/api/classes/4", "GET", async () => { show(false); show(true); }));
      const x = new XMLHttpRequest();
      x.open("GET", "/api/classes/5");
      await later(() => new Promise((done) => { x.onloadend = done; x.send(); show(false); show(true); }));
      await later(() => fetch("/api/classes/6"));
    }""")
    await settled(site, page)
    calls = {data["endpoint"].rpartition("/")[2]: "duration" in data for data in site.of("api_call")}
    assert calls == {"1": True, "2": False, "3": False, "4": False, "5": False, "6": True}
    assert site.count("api_calls_total", "/api/classes/[id]", "success") == 6
    assert site.count("api_call_duration_seconds", "/api/classes/[id]") == 2


async def test_a_load_during_which_the_page_was_left_has_no_times(site: Site, page: Page) -> None:
    # Firefox and Safari keep no entries of when a page was hidden.
    without = "const all = performance.getEntriesByType.bind(performance); "
    without += "performance.getEntriesByType = (type) => type === 'visibility-state' ? [] : all(type);"
    await page.add_init_script(f"window.shown = true; {without} {HIDDEN}")
    site.pages["/"] += "<script>addEventListener('DOMContentLoaded', () => { show(false); show(true); })</script>"
    await page.goto(site.url)
    await site.until(lambda: site.of("page_load"))
    assert site.of("page_load") == [{"page": "/", "navigation": "navigate"}]


async def test_what_took_no_time_that_can_be_is_counted_without_it(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await page.evaluate(
        "() => [NaN, Infinity, -1, 4e6].forEach((time) => HeyPeter.trackDatabaseQuery('select', time, 'users'))"
    )
    await settled(site, page)
    assert site.of("db_query")[:4] == [{"operation": "select", "table": "users"}] * 4
    assert site.count("db_query_duration_seconds", "select", "users") == 1  # the one that settled it


@pytest.mark.parametrize("wait", ["Wed, 21 Oct 2099 07:28:00 GMT", "1e9", "-5", "soon"])
async def test_no_wish_to_be_asked_later_makes_it_ask_at_once(site: Site, page: Page, wait: str) -> None:
    await page.add_init_script("""
      window.waits = [];
      Math.random = () => 0.75;
      const plain = window.setTimeout;
      window.setTimeout = (then, time, ...rest) => { waits.push(time); return plain(then, time, ...rest); };
    """)
    site.misfortunes = [503] * 50
    site.wait = wait
    await page.goto(site.url)
    await site.until(lambda: len(site.misfortunes) < 50)
    await page.wait_for_function("() => waits.some((time) => time >= 1000)", timeout=20_000)
    waits = await page.evaluate("() => waits.filter((time) => time === undefined || !(time < 1000))")
    assert all(wait is None or 1500 <= wait <= 300_000 for wait in waits)


async def test_clicks_inside_shadow_trees(site: Site, page: Page) -> None:
    site.pages["/"] += """<div id="host"></div><script>
      const root = document.getElementById("host").attachShadow({ mode: "open" });
      root.innerHTML = "<button id=b><span>Book</span></button><p id=p>x</p>";
    </script>"""
    await page.goto(site.url)
    await page.click("#b span")
    await page.click("#p")
    await settled(site, page)
    assert [data["element"] for data in site.of("click")] == ["button"]


@pytest.mark.parametrize("how", ["click", "enter"])
async def test_a_form_in_a_shadow_tree_is_submitted_once(site: Site, page: Page, how: str) -> None:
    """The event of a submit does not leave the tree (dom.spec.whatwg.org/#dom-event-composed)."""
    site.pages["/"] += """<div id="host"></div><script>
      const outer = document.getElementById("host").attachShadow({ mode: "open" });
      outer.innerHTML = "<div id=inner></div>";
      const root = outer.getElementById("inner").attachShadow({ mode: "open" });
      root.innerHTML = "<form id=booking><input id=name><button id=send>Book</button></form>";
      root.addEventListener("submit", (event) => event.preventDefault());
    </script>"""
    await page.goto(site.url)
    for _ in range(2):
        if how == "click":
            await page.click("#send")
        else:
            await page.press("#name", "Enter")
    await settled(site, page)
    assert [data["form"] for data in site.of("form_submit")] == ["booking", "booking"]


async def test_sql_is_read_without_its_comments_and_texts(site: Site, page: Page) -> None:
    expected = {
        "-- name: GetUser :one\nSELECT * FROM users WHERE id = $1": "select users",
        "/* from secret */ SELECT EXTRACT(EPOCH FROM x) FROM bookings": "select bookings",
        "/* delete /* from secret */ from secret */ SELECT 1 FROM users": "select users",
        "/* a /* b */ SELECT 1 FROM users": "select users",
        "SELECT * FROM ONLY users": "select users",
        "SELECT 'from payments' FROM users": "select users",
        "select $tag$ from secret $tag$, $1 from teachers": "select teachers",
        "select 'never ends from secret": "select ",
        "select a is distinct from b from users": "select users",
        'UPDATE "public"."classes" SET name = 1': "update classes",
        'SELECT "from", "to" FROM trips': "select trips",
        "SELECT m.from AS sender FROM messages m": "select messages",
        'SELECT "from payments" FROM users': "select users",
        "SELECT E'it\\'s from secret' FROM users": "select ",
        "SELECT * FROM học_viên": "select học_viên",
        "SELECT * FROM school . classes": "select classes",
    }
    await page.goto(site.url)
    await page.evaluate("(texts) => texts.forEach((text) => HeyPeter.trackDatabaseQuery(text, 5))", list(expected))
    await settled(site, page)
    found = [f"{data['operation']} {data['table']}" for data in site.of("db_query")]
    assert found[: len(expected)] == list(expected.values())


async def test_what_is_no_fault_of_the_page_is_not_counted(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await page.evaluate("""() => {
      const say = (message, more) => dispatchEvent(new ErrorEvent("error", { message, ...more }));
      const foreign = Object.assign(new Error("x"), { stack: "Error: x\\n    at f (chrome-extension://abc/a.js:1:1)" });
      say("ResizeObserver loop completed with undelivered notifications.");
      say("ResizeObserver loop limit exceeded");
      say("Uncaught TypeError: x", { filename: "chrome-extension://abc/content.js" });
      say("TypeError: x", { filename: "moz-extension://abc/content.js" });
      say("Uncaught Error: x", { error: foreign });
      dispatchEvent(new PromiseRejectionEvent("unhandledrejection", { promise: Promise.resolve(), reason: foreign }));
      dispatchEvent(new Event("error"));
      document.body.dispatchEvent(new Event("error"));
      document.body.append(Object.assign(new Image(), { src: "chrome-extension://abc/a.png" }));
      say("Uncaught Error: boom");
      say("Script error.");
    }""")
    await settled(site, page)
    assert [data["kind"] for data in site.of("javascript_error")] == ["Error", ""]
    assert site.of("unhandled_rejection") == []
    assert site.of("resource_error") == []


@pytest.mark.parametrize(
    "body",
    ["throw new Error('x')", "event.data.n = 10n; return event", "event.data = event; return event", "return null"],
)
async def test_an_event_that_before_send_loses_is_counted_and_costs_no_other(site: Site, page: Page, body: str) -> None:
    site.pages["/"] = f"""<script>HeyPeter = {{ beforeSend(event) {{
      if (event.type !== "click") return event; {body} }} }}</script>{site.tag()}<button>x</button>"""
    seen: list[Any] = []
    page.on("pageerror", lambda error: seen.append(error))  # noqa: PLW0108  # playwright marks the function it is given
    await page.goto(site.url)
    await page.click("button")
    await site.until(lambda: {"reason": "before_send", "count": 1} in site.of("client_report"))
    await site.until(lambda: site.of("page_load"))
    assert site.of("click") == []
    assert seen == []


async def test_an_answer_that_is_not_the_exporters_loses_nothing(context: BrowserContext) -> None:
    """Beside each other, for each waits before it tries again, and again."""

    async def loses_nothing(status: int) -> None:
        async with Site() as site:
            site.pages = {"/": site.tag()}
            site.misfortunes = [status] * 3
            page = await context.new_page()
            await page.goto(site.url)
            await page.evaluate("() => HeyPeter.trackDatabaseQuery('select', 5, 'users')")
            await site.until(lambda: site.of("db_query"))
            await site.until(lambda: site.of("page_load"))
            assert (status, site.misfortunes) == (status, [])
            assert (status, site.count("db_query_duration_seconds", "select", "users")) == (status, 1)
            await page.close()

    await asyncio.gather(*map(loses_nothing, (200, 201, 302, 502, 504)))
