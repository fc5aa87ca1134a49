"""Takes a picture of a dashboard: opens the preview's page in Chromium and photographs it when it is drawn."""

import base64
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from playwright.async_api import Browser, Page
from playwright.async_api import Error as BrowserError

PATIENCE = 120_000  # milliseconds until a page must be drawn
QUALITY = 86  # of WebP: letters stay sharp, and a page stays below 300 kB
LONGEST = 16_000  # pixels: neither WebP nor Chromium goes much beyond


class PictureError(Exception):
    """Chromium showed no page; the text says which, and what it said."""


@dataclass(frozen=True)
class View:
    """How a dashboard is looked at.

    ``at`` is the time that the page takes for now, ``rows`` "folded" (as the JSON says) or "open", ``scrape`` the
    interval of the scrapes as Grafana writes it, and ``kind`` "png" or "webp".
    """

    at: datetime
    rows: str
    scrape: str
    kind: str


@dataclass(frozen=True)
class Device:
    """How wide a window is, and how much of the page the docs show; pixels."""

    width: int
    tall: int


# Three screens of each: who wants the rest looks at Grafana.
DEVICES = {"desktop": Device(1440, 2700), "phone": Device(390, 2532)}
THEMES = ("light", "dark")


@dataclass(frozen=True)
class Shot:
    """One picture: which dashboard, in which theme, at which width."""

    dashboard: str
    theme: str
    device: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.dashboard}-{self.theme}-{self.device}"


async def take(browser: Browser, site: str, shot: Shot, view: View, tall: int) -> tuple[bytes, list[str], list[str]]:
    """Give one picture, at most ``tall`` pixels high, what was wrong on the page, and what was empty."""
    viewport = {"width": DEVICES[shot.device].width, "height": 900}
    context = await browser.new_context(viewport=viewport, timezone_id="UTC", locale="en-GB")  # type: ignore[arg-type]
    try:
        page = await context.new_page()
        await page.clock.set_fixed_time(view.at)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        words = {"dashboard": shot.dashboard, "theme": shot.theme, "rows": view.rows, "scrape": view.scrape}
        await page.goto(f"{site}/?{urlencode(words)}")
        await page.wait_for_function("window.preview?.ready", timeout=PATIENCE)
        await page.wait_for_load_state("networkidle")
        picture = await _photograph(page, view.kind, tall)
        wrong += await page.evaluate("window.preview.errors")
        return picture, wrong, await page.evaluate("window.preview.empty")
    except BrowserError as error:
        raise PictureError(f"{shot.name} could not be drawn. Chromium says: {error.message}") from error
    finally:
        await context.close()


async def _photograph(page: Page, kind: str, most: int) -> bytes:
    """Take the page from its top; Playwright itself knows no WebP."""
    # Grafana draws a table only where it is seen: let the window be as tall as the page.
    tall = await page.evaluate("document.documentElement.scrollHeight")
    width = await page.evaluate("innerWidth")
    await page.set_viewport_size({"width": width, "height": min(tall, most)})
    await page.wait_for_load_state("networkidle")
    await page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    if kind == "png":
        return await page.screenshot()
    session = await page.context.new_cdp_session(page)
    shown = await session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    return base64.b64decode(shown["data"])
