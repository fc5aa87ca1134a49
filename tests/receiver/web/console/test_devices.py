"""A person's devices: added, paged, answered from the notification, confirmed, warned of, and removed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from msgspec.structs import replace
from playwright.async_api import Page

from deploy.local import axe
from deploy.local.chromium import chromium
from receiver.app import Receiver
from receiver.incident.model import EntryKind, Origin, State
from receiver.messages.link import Grant, sign
from receiver.store.push import PushOutcome, Subscription
from receiver.web.console.devices import device_name
from tests.fakes.push import FakePush
from tests.receiver.web.access.test_in_receiver import HOOK, running
from tests.receiver.web.test_alertmanager import encoded

LINH, OURS = {"X-User": "linh", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "same-origin"}
PHONE = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36"
)
Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def paging(folder: Path, **settings: Any) -> AsyncIterator[tuple[Receiver, Client, FakePush]]:  # noqa: ANN401  # of receiver.yml
    service = FakePush()
    await service.start()
    proxy = {"addresses": ["127.0.0.1"], "header": "X-User"}
    made = {
        "channels": {"push": {"hosts": [service.url]}, "log": {}},
        "people": {"linh": {"name": "Linh Tran", "push": True}},
        "console": {"sign_in": {"proxy": proxy}, "roles": {"others": "viewer"}},
        **settings,
    }
    try:
        async with running(folder, made) as (receiver, client):
            yield receiver, client, service
    finally:
        await service.stop()


def made_by(subscription: Subscription) -> dict[str, object]:
    """What PushSubscription.toJSON() gives."""
    keys = {"p256dh": subscription.p256dh, "auth": subscription.auth}
    return {"endpoint": subscription.endpoint, "expirationTime": None, "keys": keys}


async def add(client: Client, subscription: Subscription, **headers: str) -> int:
    told = {**LINH, "User-Agent": PHONE, **headers}
    async with client.post("/me/devices", json=made_by(subscription), headers=told) as answer:
        return answer.status


async def page_of(client: Client, path: str = "/me/devices") -> str:
    async with client.get(path, headers=LINH) as answer:
        assert answer.status == 200
        return await answer.text()


async def paged(receiver: Receiver, client: Client, service: FakePush) -> dict[str, Any]:
    """Let an alert fire, and decrypt what the device gets."""
    async with client.post("/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
        assert answer.status == 200
    await receiver._dispatchers["push"].run_once()  # noqa: SLF001  # once, in place of its loop
    return service.read(service.calls[-1])


async def press(client: Client, token: str, headers: dict[str, str] = OURS) -> tuple[int, dict[str, str]]:
    async with client.post("/push/acknowledge", json={"token": token}, headers=headers) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else {}


async def test_a_page_arrives_on_the_device_and_is_answered_there(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        phone = service.subscribe()
        assert await add(client, phone) == 201
        assert "Chrome on Android" in await page_of(client)
        shown = await paged(receiver, client, service)
        assert shown["words"]["title"].startswith("P1 #1 ")
        assert shown["url"].startswith("https://oncall.example.com/answer/")
        token = shown["url"].rpartition("/")[2]

        receipt = {"device": shown["device"], "shown": True}
        async with client.post("/push/receipt", json=receipt, headers=OURS) as answer:
            assert answer.status == 204
        assert "last confirmed" in await page_of(client)

        status, said = await press(client, token)  # without any session
        assert (status, said["result"]) == (200, "taken")
        assert said["text"].startswith("You have it")
        stored = await receiver.store.incident(1)
        assert stored is not None
        assert (stored[0].state, stored[0].acknowledged_by) == (State.ACKNOWLEDGED, "linh")
        (entry,) = [entry for entry in stored[1] if entry.kind is EntryKind.ACKNOWLEDGED]
        assert entry.data.origin == Origin.PUSH
        assert (await press(client, token))[1]["result"] == "already"
        value = receiver.metrics.registry.get_sample_value
        assert value("receiver_answers_total", {"source": "push", "outcome": "taken"}) == 1
        acts = [(act.act, act.via) for act in await receiver.store.access.audit(None, 10)]
        assert acts == [("incident.acknowledge", "push"), ("device.add", "proxy")]


async def test_nobody_else_acknowledges(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        await add(client, service.subscribe())
        token = (await paged(receiver, client, service))["url"].rpartition("/")[2]
        assert (await press(client, token, {"Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert (await press(client, token, {"Origin": "https://evil.example"}))[0] == 403
        assert (await press(client, token, {}))[0] == 403
        forged = f"{token[:-2]}{'AA' if token[-2:] != 'AA' else 'BB'}"
        for wrong, reason in ((forged, "forged"), ("x.x", "incomplete"), ("ä.ä", "incomplete")):
            status, said = await press(client, wrong)
            assert (status, said["result"]) == (403, reason)
            assert said["text"]
        stored = await receiver.store.incident(1)
        assert stored is not None
        assert stored[0].state is State.TRIGGERED


async def test_a_link_acknowledges_what_it_was_made_for_only(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        await add(client, service.subscribe())
        await paged(receiver, client, service)
        stored, ours = await receiver.store.incident(1), await receiver.store.installation()
        assert stored is not None
        soon = int((receiver.actions.clock() + timedelta(hours=1)).timestamp())
        good = Grant.of(stored[0], "linh", soon, ours)
        changes: dict[str, tuple[int, dict[str, object]]] = {
            "other": (409, {"installation": ours + 1}),
            "older": (409, {"fired": good.fired - 60}),
            "expired": (403, {"expires": 1}),
            "left": (403, {"person": "gone"}),
            "unknown": (404, {"incident": 9}),
        }
        for reason, (expected, change) in changes.items():
            status, said = await press(client, sign(replace(good, **change), "s" * 32))
            assert (status, said["result"]) == (expected, reason)
        assert (await receiver.store.still_open())[0].state is State.TRIGGERED
        assert (await press(client, sign(good, "s" * 32)))[1]["result"] == "taken"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"token": 3}', b"\xff", b"[" * 5000])
@pytest.mark.parametrize("path", ["/push/acknowledge", "/push/receipt", "/me/devices"])
async def test_what_is_not_ours_is_refused(tmp_path: Path, path: str, body: bytes) -> None:
    async with paging(tmp_path) as (_, client, _), client.post(path, data=body, headers=LINH) as answer:
        assert answer.status == 400


async def test_only_people_add_devices_and_only_of_push_services(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        good = service.subscribe()
        elsewhere = {**made_by(good), "endpoint": "http://169.254.169.254/latest"}
        async with client.post("/me/devices", json=elsewhere, headers=LINH) as answer:
            assert answer.status == 422
        broken = {**made_by(good), "keys": {"p256dh": "AAAA", "auth": "AAAA"}}
        async with client.post("/me/devices", json=broken, headers=LINH) as answer:
            assert answer.status == 422
        assert await add(client, good, **{"X-User": "guest@example.com"}) == 400
        async with client.get("/me/devices", headers={"X-User": "guest@example.com"}) as answer:
            assert answer.status == 403
        assert await add(client, good, **{"Sec-Fetch-Site": "cross-site"}) == 403
        huge = {**made_by(good), "endpoint": f"{service.url}/{'a' * 9000}"}
        async with client.post("/me/devices", json=huge, headers=LINH) as answer:
            assert answer.status == 413
        async with client.post("/push/receipt", json={"device": "0" * 64}, headers=OURS) as answer:
            assert answer.status == 404
        assert await receiver.store.push.subscriptions("linh") == []


async def test_the_page_warns_of_devices_that_would_not_ring(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        assert "You have no device" in await page_of(client)
        await add(client, service.subscribe())
        (device,) = await receiver.store.push.subscriptions("linh")
        push, now = receiver.store.push, receiver.actions.clock()
        assert "✗" not in (await page_of(client)).split("<ul")[1]
        await push.note_pushes({device.id: PushOutcome.ACCEPTED}, now - timedelta(minutes=4))
        assert "It has not confirmed" not in await page_of(client)
        await push.note_receipt(device.id, now, shown=True)
        await push.note_pushes({device.id: PushOutcome.ACCEPTED}, now - timedelta(minutes=6))
        await push.note_pushes({device.id: PushOutcome.ACCEPTED}, now)
        assert "It has not confirmed what was sent since" in await page_of(client)
        await push.note_receipt(device.id, now, shown=False)
        assert "may not show them" in await page_of(client)
        await push.note_receipt(device.id, now, shown=True)
        for _ in range(3):
            await push.note_pushes({device.id: PushOutcome.FAILED}, now)
        assert "refused the last 3 pages" in await page_of(client)
        await push.note_pushes({device.id: PushOutcome.GONE}, now)
        text = await page_of(client)
        assert "Dropped by its push service" in text
        assert "You have no device" in text


async def test_a_test_says_what_became_of_it(tmp_path: Path) -> None:
    async with paging(tmp_path) as (_, client, service):
        for name in ("phone", "laptop"):
            await add(client, service.subscribe(name))
        service.statuses["/push/laptop"] = 410
        async with client.post("/me/devices/test", headers=LINH, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "../devices?said=tested.1.bad_address")
        text = await page_of(client, "/me/devices?said=tested.1.bad_address")
        assert "Sent to 1 device." in text
        assert "Not every device was reached" in text
        for odd in ("tested.99.x", "tested..", "tested.1.<b>", "x" * 500, "added."):
            assert "<b>" not in await page_of(client, f"/me/devices?said={odd}")
        assert [service.read(call)["kind"] for call in service.calls if "phone" in call.path] == ["test"]


async def test_a_browser_that_subscribes_anew_is_one_device(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        old, new, other = service.subscribe("old"), service.subscribe("new"), service.subscribe("theirs", "bo")
        await receiver.store.push.subscribe(other)
        await add(client, old)
        for replaced in (old, other):  # the other one is somebody else's
            again = {**made_by(new), "replaces": replaced.endpoint}
            async with client.post("/me/devices", json=again, headers=LINH) as answer:
                assert answer.status == 201
        assert [one.id for one in await receiver.store.push.subscriptions("linh")] == [new.id]
        assert [one.id for one in await receiver.store.push.subscriptions("bo")] == [other.id]


async def test_a_device_that_is_removed_gets_nothing(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service):
        phone = service.subscribe()
        await add(client, phone)
        path = f"/me/devices/{phone.id}/remove"
        async with client.post(path, headers={"X-User": "guest@example.com", **OURS}, allow_redirects=False) as answer:
            assert answer.status == 303
        assert len(await receiver.store.push.subscriptions("linh")) == 1  # it is not theirs
        async with client.post(path, headers=LINH, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "../../devices?said=removed"
        assert await receiver.store.push.subscriptions("linh") == []


async def test_below_a_path_of_a_proxy_everything_keeps_it(tmp_path: Path) -> None:
    async with paging(tmp_path, external_url="https://example.com/oncall") as (_, client, _):
        async with client.get("/oncall/manifest.webmanifest") as answer:
            manifest = await answer.json(content_type="application/manifest+json")
            assert (manifest["scope"], manifest["start_url"]) == ("./", "./")
        async with client.get(f"/oncall/{manifest['icons'][0]['src']}") as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")
        async with client.get("/oncall/service-worker.js") as answer:
            assert (answer.status, answer.content_type) == (200, "text/javascript")
            assert "__ICON__" not in await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert 'data-worker="../service-worker.js" data-scope="../"' in await page_of(client, "/oncall/me/devices")


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (PHONE, "Chrome on Android"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/129.0 Safari/537.36 Edg/129.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Firefox/131.0", "Firefox on Mac"),
        ("<script>", "Browser"),
        ("", "Browser"),
    ],
)
def test_a_device_is_called_as_people_call_it(agent: str, name: str) -> None:
    assert device_name(agent) == name


async def delivered(page: Page, url: str, content: dict[str, Any]) -> None:
    """Let the browser's push service hand something to the worker."""
    protocol = await page.context.new_cdp_session(page)
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def look(event: dict[str, Any]) -> None:
        for one in event["registrations"]:
            if not found.done() and one["scopeURL"] == url:
                found.set_result(one["registrationId"])

    protocol.on("ServiceWorker.workerRegistrationUpdated", look)
    await protocol.send("ServiceWorker.enable")
    told = {"origin": url.rstrip("/"), "registrationId": await found, "data": json.dumps(content)}
    await protocol.send("ServiceWorker.deliverPushMessage", told)


@pytest.mark.browser
async def test_the_worker_confirms_what_arrives_and_acknowledges_without_a_page(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service), chromium() as browser:
        await add(client, service.subscribe())
        shown = await paged(receiver, client, service)
        url = str(client.make_url("/"))
        context = await browser.new_context(
            extra_http_headers={"X-User": "linh"}, viewport={"width": 320, "height": 640}
        )
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        await page.goto(f"{url}me/devices")
        await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        assert await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        if axe.SCRIPT.exists():
            await page.evaluate(axe.SCRIPT.read_text("utf-8"))
            assert await page.evaluate("axe.run().then(found => found.violations)") == []
        async with page.expect_navigation():  # the page that is open shows that it was confirmed
            await delivered(page, url, shown)
        (device,) = await receiver.store.push.subscriptions("linh")
        assert device.last_receipt is not None
        assert wrong == []
        worker = context.service_workers[0]
        await page.close()
        # Its button cannot be pressed where there is no screen; this is what it calls.
        await worker.evaluate(
            "(it) => acknowledge({title: it.words.title, tag: it.tag, data: {url: it.url, failed: it.words.failed}})",
            shown,
        )
        stored = await receiver.store.incident(1)
        assert stored is not None
        assert (stored[0].state, stored[0].acknowledged_by) == (State.ACKNOWLEDGED, "linh")
        await context.close()


# No browser without a screen allows notifications, and none subscribes without its vendor's service.
ALLOWED = """
Notification.requestPermission = async () => "granted";
Object.defineProperty(Notification, "permission", { get: () => "granted" });
const forget = async () => localStorage.removeItem("made");
const made = { endpoint: GIVEN.endpoint, toJSON: () => GIVEN, unsubscribe: forget };
PushManager.prototype.getSubscription = async () => localStorage.getItem("made") ? made : null;
PushManager.prototype.subscribe = async ({ applicationServerKey, userVisibleOnly }) => {
  if (applicationServerKey.length !== 65 || !userVisibleOnly) throw new Error("not a key");
  localStorage.setItem("made", "yes");
  return made;
};
"""


@pytest.mark.browser
async def test_one_tap_adds_this_device_and_a_test_reaches_it(tmp_path: Path) -> None:
    async with paging(tmp_path) as (receiver, client, service), chromium() as browser:
        given, url = service.subscribe(), str(client.make_url("/"))
        page = await browser.new_page(extra_http_headers={"X-User": "linh"})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.add_init_script(f"const GIVEN = {json.dumps(made_by(given))};{ALLOWED}")
        await page.goto(f"{url}me/devices")
        for _ in range(2):  # the second time it replaces itself
            await page.evaluate("localStorage.removeItem('made')")
            await page.reload()
            await page.get_by_role("button", name="Page me on this device").click()
            await page.wait_for_url("**/me/devices?said=added")
            await page.get_by_text("Pages arrive here.").wait_for()
        await page.get_by_text("this device", exact=True).wait_for()
        assert [one.id for one in await receiver.store.push.subscriptions("linh")] == [given.id]
        await page.get_by_role("button", name="Send a test to all").click()
        await page.get_by_text("Sent to 1 device.").wait_for()
        assert service.read(service.calls[-1])["kind"] == "test"
        await page.get_by_role("button", name="Remove").click()
        await page.get_by_text("The device was removed.").wait_for()
        assert await receiver.store.push.subscriptions("linh") == []
        assert wrong == []
