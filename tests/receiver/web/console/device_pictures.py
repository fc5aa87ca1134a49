"""Takes the pictures of a person's pages and of the sign-in again.

``python -m tests.receiver.web.console.device_pictures``
"""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient
from playwright.async_api import Browser

from deploy.local.chromium import chromium
from receiver.app import Receiver
from receiver.store.push import PushOutcome
from tests.fakes.push import FakePush
from tests.receiver.web.console.pictures import DEVICES, FOLDER
from tests.receiver.web.console.test_devices import PHONE, add, paging

_BROWSERS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile Safari/604.1",
    PHONE,
)


async def a_week(receiver: Receiver, client: TestClient[web.Request, web.Application], service: FakePush) -> None:
    """Let become of three devices what the pictures show."""
    push, now = receiver.store.push, receiver.actions.clock()
    for agent in _BROWSERS:
        await add(client, service.subscribe(agent[13:20].strip("; ")), **{"User-Agent": agent})
    known = {one.device: one.id for one in await push.subscriptions("linh")}
    await push.note_receipt(known["Chrome on Android"], now, shown=True)
    await push.note_pushes({known["Safari on iPhone"]: PushOutcome.ACCEPTED}, now - timedelta(minutes=50))
    await push.note_pushes({known["Firefox on Mac"]: PushOutcome.GONE}, now - timedelta(days=2))


async def take(browser: Browser, url: str) -> None:
    """Take the page on each device, light and dark; no browser without a screen allows notifications."""
    for device, (width, height) in DEVICES.items():
        for scheme in ("light", "dark"):
            context = await browser.new_context(
                extra_http_headers={"X-User": "linh"}, viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page = await context.new_page()
            await page.goto(f"{url}me/devices")
            await page.wait_for_selector("#this-device:not([hidden])")
            await page.evaluate(
                "for (const one of document.querySelectorAll('#this-device [data-state]'))"
                " one.hidden = one.dataset.state !== 'off'"
            )
            await page.screenshot(path=FOLDER / f"devices-{device}-{scheme}.png")
            await page.goto(f"{url}me")
            await page.wait_for_selector("html.scripted")
            await page.screenshot(path=FOLDER / f"me-{device}-{scheme}.png")
            await context.close()


async def take_sign_in(browser: Browser, url: str) -> None:
    """Take the page on which somebody signs in who is not known."""
    for device, (width, height) in DEVICES.items():
        for scheme in ("light", "dark"):
            page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            await page.goto(f"{url}sign-in")
            await page.screenshot(path=FOLDER / f"sign-in-{device}-{scheme}.png")
            await page.close()


async def main() -> None:
    """Take them all."""
    oidc = {"issuer": "https://accounts.google.com", "client_id": "1", "client_secret": "s", "name": "Google"}
    with tempfile.TemporaryDirectory() as folder:
        ways = {"sign_in": {"oidc": oidc, "basic": True}}
        async with paging(Path(folder), console=ways) as (_, client, _), chromium() as browser:
            await take_sign_in(browser, str(client.make_url("/")))
    with tempfile.TemporaryDirectory() as folder:
        async with paging(Path(folder)) as (receiver, client, service), chromium() as browser:
            await a_week(receiver, client, service)
            await take(browser, str(client.make_url("/")))


if __name__ == "__main__":
    asyncio.run(main())
