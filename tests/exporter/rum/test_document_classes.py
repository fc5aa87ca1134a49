"""The document's own browser classes in a real Chromium, at every place where a page may call them."""

import time

import pytest
from playwright.async_api import Page

from tests.exporter.rum.document_classes import PERFORMANCE_MONITOR, REAL_USER_MONITORING, WEB_VITALS
from tests.exporter.rum.site import Site
from tests.exporter.rum.test_in_browser import browser, context, page, site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
__all__ = ["browser", "context", "page", "site"]  # fixtures

SOURCES = ("metrics", "vitals", "interactions")
TRACK = "PerformanceMonitor.getInstance().trackPageLoad(location.pathname)"
# Where a page may call trackPageLoad, and whether the load has ended by then.
PLACES = {
    "in the head": (f"<script>{TRACK}</script><h1>x</h1>", False),
    "at the end of body": (f"<h1>x</h1><script>{TRACK}</script>", False),
    "when interactive": (
        f"<script>document.onreadystatechange = () => document.readyState === 'interactive' && {TRACK}</script>",
        False,
    ),
    "in DOMContentLoaded": (f"<script>addEventListener('DOMContentLoaded', () => {TRACK})</script>", False),
    "when complete": (
        f"<script>document.onreadystatechange = () => document.readyState === 'complete' && {TRACK}</script>",
        False,
    ),
    "in the load handler": (f"<script>addEventListener('load', () => {TRACK})</script>", False),
    "after load": (f"<script>addEventListener('load', () => setTimeout(() => {TRACK}))</script>", True),
    "in pageshow": (f"<script>addEventListener('pageshow', () => {TRACK})</script>", True),
    "in a module": (f"<script type=module>{TRACK}</script>", False),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_page_load_is_a_view_wherever_it_is_tracked(site: Site, page: Page, place: str) -> None:
    call, is_loaded = PLACES[place]
    site.pages["/"] = f"<script>{PERFORMANCE_MONITOR}</script>{call}"
    await page.goto(site.url)
    await site.until(lambda: site.count("rum_page_views_total", "/", "desktop", "other") == 1)
    assert site.count("rum_page_load_duration_seconds", "/", "desktop") == is_loaded
    assert site.count("rum_load_complete_duration_seconds", "/") == is_loaded
    assert (site.count("exporter_event_parts_left_out_total", "metrics") == 0) == is_loaded
    assert site.rejected(*SOURCES) == 0


async def test_calls_and_queries_are_counted(site: Site, page: Page) -> None:
    site.pages["/"] = f"<script>{PERFORMANCE_MONITOR}</script>"
    await page.goto(site.url)
    await page.evaluate("""async () => {
      const monitor = PerformanceMonitor.getInstance();
      await monitor.trackAPICall("/api/classes/7", "GET", async () => 1);
      await monitor.trackAPICall("/api/classes/7", "GET", async () => { throw new Error("x"); }).catch(() => {});
      monitor.trackDatabaseQuery("SELECT * FROM users WHERE phone = 0123456789", 80);
      monitor.trackDatabaseQuery("SELECT * FROM users", NaN);
    }""")
    await site.until(lambda: site.count("db_queries_total", "select", "users", "other") == 2)
    await site.until(lambda: site.count("api_calls_total", "/api/classes/[id]", "failure") == 1)
    await site.until(lambda: site.count("api_calls_total", "/api/classes/[id]", "success") == 1)
    assert site.count("db_query_duration_seconds", "select", "users") == 1
    assert site.rejected(*SOURCES) == 0


@pytest.mark.parametrize("place", ["<script>{}</script>", "<script>addEventListener('load', () => {{ {} }})</script>"])
async def test_a_visitor_is_seen_with_a_session(site: Site, page: Page, place: str) -> None:
    begin = place.format("window.rum = new RealUserMonitoring()")
    site.pages["/"] = f"""{WEB_VITALS}<script>{REAL_USER_MONITORING}</script>{begin}
      <form id="signup" onsubmit="return false"><button>Go</button></form><a href="#x">x</a>"""
    await page.goto(site.url)
    await page.click("button")
    await page.click("a")
    await page.evaluate("""() => {
      setTimeout(() => { throw new Error("boom"); });
      setTimeout(() => { throw new TypeError("boom"); });
      Promise.reject("TypeError: as a text");
      Promise.reject(new Error("JSON has nothing of it"));
    }""")
    await site.until(lambda: site.count("rum_unhandled_rejections_total", "/", "other") == 1)
    await site.until(lambda: site.count("rum_js_errors_total", "/", "TypeError") == 1)
    await site.until(lambda: site.count("rum_js_errors_total", "/", "Error") == 1)
    await site.until(lambda: site.count("rum_unhandled_rejections_total", "/", "TypeError") == 1)
    await site.until(lambda: site.count("rum_clicks_total", "/", "button") == 1)
    await site.until(lambda: site.count("rum_clicks_total", "/", "link") == 1)
    await site.until(lambda: site.count("rum_form_submits_total", "signup", "other") == 1)
    assert site.exporter.parts.state.sessions.active(time.time()) == 1
    await site.until(lambda: site.count("rum_largest_contentful_paint_seconds", "/", "desktop") == 1)
    await site.until(lambda: site.count("rum_cumulative_layout_shift_score", "/", "desktop") == 1)
    await site.until(lambda: site.count("exporter_event_parts_left_out_total", "vitals") == 1)
    assert site.rejected(*SOURCES) == 0
