"""Starts the Chromium below .stack or of the machine, for pictures and tests."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def chromium_path() -> str | None:
    """Give where Chromium is; None if there is none."""
    own = ROOT / ".stack/browser/chromium"
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell")
    paths = [os.environ.get("CHROMIUM"), str(own) if own.exists() else None, *(shutil.which(name) for name in names)]
    return next((path for path in paths if path), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a Chromium with an empty profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            await browser.close()
