"""Stories on the console in Chromium: an alert of the real Alertmanager, and people who answer it in their browsers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Browser, Page, ViewportSize, expect

from deploy.local.chromium import chromium
from receiver.store.push import Subscription
from tests.fakes.push import FakePush
from tests.stories.stack import Stack, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.asyncio(loop_scope="module"),
]
expect.set_options(timeout=30_000)
MAIL = {"linh": "linh@heypeteracademy.com", "aisha": "aisha@heypeteracademy.com"}
PHONE: ViewportSize = {"width": 320, "height": 640}
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# A browser without a screen refuses notifications, and has no push service: this one asks the test's.
SUBSCRIBES = """
  Object.defineProperty(Notification, "permission", { get: () => "default" });
  Notification.requestPermission = async () => "granted";
  PushManager.prototype.subscribe = async () => ({ toJSON: () => (KEYS) });
"""


class Site(Stack):
    """The receiver behind a proxy that signs people in, and the real Alertmanager, which waits for nothing."""

    def __init__(self, folder: Path, push: FakePush, browser: Browser) -> None:
        super().__init__(folder, ("0s", "300s", "600s", "900s"))
        self.push, self.browser = push, browser

    def _receiver(self) -> list[str]:
        words, path = super()._receiver(), self.folder / "receiver.yml"
        config = yaml.safe_load(path.read_text("utf-8"))
        turns = {"people": ["linh"], "rotation": "weekly", "start": "2026-11-02", "handover": "09:00"}
        config["schedules"] = {"primary": {"time_zone": "Europe/Berlin", "layers": [turns]}}
        config["roles"]["on-call-engineer"] = ["primary"]
        config["console"] = {"sign_in": {"proxy": {"addresses": ["127.0.0.1"]}}}
        config["channels"]["push"] = {"hosts": [self.push.url], "contact": "mailto:ops@example.com"}
        config["people"]["linh"]["push"] = True
        config["alertmanager"] = {"url": self.url("alertmanager"), "interval": "1s"}  # it learns of a silence's end so
        self._write("receiver", config)
        return words

    def _alertmanager(self) -> list[str]:
        words, path = super()._alertmanager(), self.folder / "alertmanager.yml"
        config = yaml.safe_load(path.read_text("utf-8"))
        for route in (config["route"], *config["route"]["routes"]):
            route["group_wait"] = "0s"
        self._write("alertmanager", config)
        return words

    async def fire(self, name: str) -> int:
        """Let an alert fire in Alertmanager; gives the incident that the receiver makes of it."""
        labels = {"alertname": name, "severity": "critical", "team": "backend", "instance": "shop-1:8080"}
        alert = {"labels": labels, "annotations": {"summary": "12% of checkouts fail"}}
        async with self.session.post(f"{self.url('alertmanager')}/api/v2/alerts", json=[alert]) as answer:
            assert answer.status == 200
        opened: list[int] = []

        async def known() -> bool:
            opened[:] = [one["id"] for one in await self.incidents() if one["title"].startswith(name)]
            return bool(opened)

        await until(f"{name} is an incident", known)
        return opened[0]

    async def silences(self) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.url('alertmanager')}/api/v2/silences") as answer:
            return list(await answer.json())

    def mails(self, person: str, about: str, kind: str = "page") -> list[str]:
        """Give the texts of mails of a kind to somebody."""
        found = [mail for to, mail in self.smtp.mails if MAIL[person] in to and about in str(mail["Subject"])]
        bodies = [mail.get_body(("plain",)) for mail in found if mail["X-HeyPeter-Kind"] == kind]
        return [body.get_content() for body in bodies if body is not None]

    def card(self, channel: str, about: str) -> str:
        """Give what the first message about an alert in a channel shows now."""
        shown = [one for one in self.slack.shown.values() if one["channel"] in {channel, self.slack.ids[channel]}]
        return next((str(one) for one in shown if about in str(one) and "thread_ts" not in one), "")

    def in_pagerduty(self, about: str) -> str:
        """Give the state of what PagerDuty was told about an alert."""
        events = [one.body for one in self.pagerduty.calls if about in one.body.get("payload", {}).get("summary", "")]
        return self.pagerduty.alerts.get((events[0]["routing_key"], events[0]["dedup_key"]), "") if events else ""

    def told(self, channel: str, text: str) -> list[str]:
        """Give what has been posted in a channel with these words."""
        return [str(one) for one in self.slack.messages if one["channel"] == channel and text in str(one)]

    @asynccontextmanager
    async def opened(
        self, path: str, person: str = "", script: str = "", viewport: ViewportSize | None = None
    ) -> AsyncIterator[Page]:
        """Open a page as somebody, or as nobody; an error of a script fails the story."""
        told = {"X-Forwarded-User": person} if person else {}
        context = await self.browser.new_context(extra_http_headers=told, viewport=viewport)
        await context.add_init_script(script)
        page, wrong = await context.new_page(), list[str]()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(path if "://" in path else self.url("receiver") + path)
        yield page
        await context.close()
        assert wrong == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    push = FakePush()
    await push.start()
    async with chromium() as browser, Site(tmp_path_factory.mktemp("console"), push, browser) as running:
        await running.start("receiver", "alertmanager")
        yield running
    await push.stop()


async def test_a_phone_that_allows_pushes_is_pushed_to_and_answers(site: Site) -> None:
    phone = site.push.subscribe()
    subscribes = SUBSCRIBES.replace("KEYS", json.dumps(made_by(phone)))
    async with site.opened("/me/devices", "linh", script=subscribes, viewport=PHONE) as page:
        await page.get_by_role("button", name="Page me on this device").click()
        await expect(page.locator(f"#device-{phone.id}")).to_be_visible()
        number = await site.fire("LoginErrors")
        await until("the push service has a page", lambda: site.push.calls)
        shown = site.push.read(site.push.calls[-1])
        assert "LoginErrors" in shown["words"]["title"] + shown["words"]["body"]
        # The button of the notification cannot be pressed where there is no screen; this is what it calls.
        pressed = {"title": shown["words"]["title"], "tag": shown["tag"]}
        pressed["data"] = {"url": shown["url"], "failed": shown["words"]["failed"]}
        await page.context.service_workers[0].evaluate("pressed => acknowledge(pressed)", pressed)
    stored = await site.incident(number)
    assert (stored["state"], stored["acknowledged_by"]) == ("acknowledged", "linh")


async def test_a_page_is_acknowledged_on_a_phone_and_everybody_knows(site: Site) -> None:
    number = await site.fire("CheckoutErrors")
    await until("Linh has mail", partial(site.mails, "linh", "CheckoutErrors"))
    await until("the team has a card", partial(site.card, "#alerts-backend", "CheckoutErrors"))
    await until("PagerDuty rings", lambda: site.in_pagerduty("CheckoutErrors") == "triggered")
    assert "Acknowledged" not in site.card("#alerts-backend", "CheckoutErrors")
    (mail,) = site.mails("linh", "CheckoutErrors")
    link = next(word for word in mail.split() if "/answer/" in word)
    async with site.opened(link, viewport=PHONE) as page:
        assert await page.evaluate(WIDER) == 0
        await page.get_by_role("button", name="Acknowledge as Linh Tran").click()
        await expect(page.get_by_role("status").filter(has_text="You have it")).to_be_visible()
    stored = await site.incident(number)
    assert (stored["state"], stored["acknowledged_by"]) == ("acknowledged", "linh")
    changed = "Acknowledged by Linh Tran"
    await until("the card says who has it", lambda: changed in site.card("#alerts-backend", "CheckoutErrors"))
    assert "/api/chat.update" in {call.path for call in site.slack.calls}
    await until("PagerDuty is quiet", lambda: site.in_pagerduty("CheckoutErrors") == "acknowledged")


async def test_whoever_covers_a_shift_is_paged(site: Site) -> None:
    async with site.opened("/on-call", "linh") as linh, site.opened("/on-call", "aisha", viewport=PHONE) as aisha:
        await linh.get_by_text("Cover me").click()
        await linh.get_by_label("Who covers").select_option("aisha")
        await linh.get_by_role("button", name="Ask", exact=True).click()
        await aisha.reload()
        await aisha.get_by_role("button", name="Accept").click()
        await expect(aisha.locator(".role").first).to_contain_text("Aisha Bello")
    await site.fire("SearchErrors")
    await until("Aisha has mail", partial(site.mails, "aisha", "SearchErrors"))
    assert not site.mails("linh", "SearchErrors")


async def test_a_silence_that_is_made_here_is_alertmanagers_and_its_end_is_told(site: Site) -> None:
    number = await site.fire("ReportsSlow")
    async with site.opened(f"/incidents/{number}", "aisha") as page:
        await page.locator("#more-acts summary").click()
        await page.get_by_role("link", name="Silence").click()
        await expect(page.locator("#mutes")).to_contain_text("nothing else")
        await page.get_by_label("Why").fill("the report is being rewritten")
        await page.get_by_role("button", name="Silence", exact=True).click()
        await expect(page.locator("#silences")).to_contain_text("Aisha Bello silenced it until")
        (made,) = await site.silences()
        assert made["status"]["state"] == "active"
        assert made["comment"].startswith("the report is being rewritten")
        assert {one["name"]: one["value"] for one in made["matchers"]}["alertname"] == "ReportsSlow"
        await expect(page.locator("#incident")).to_contain_text("Paused")
        await page.get_by_role("button", name="End now").click()
        await expect(page.locator("#timeline")).to_contain_text("Silence ended early by Aisha Bello")
    assert [one["status"]["state"] for one in await site.silences()] == ["expired"]
    over = "No longer paused"
    await until("the team is told that it goes on", lambda: site.told("#alerts-backend", over))
    assert (await site.incident(number))["paused"] is None


def made_by(subscription: Subscription) -> dict[str, object]:
    """Give what PushSubscription.toJSON() does."""
    keys = {"p256dh": subscription.p256dh, "auth": subscription.auth}
    return {"endpoint": subscription.endpoint, "expirationTime": None, "keys": keys}
