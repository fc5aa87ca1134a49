"""The console in Chromium: without JavaScript on a phone, in two browsers at once, by keyboard, during updates."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from deploy.local import axe
from deploy.local.chromium import chromium
from receiver.incident.event import Acknowledge, Note, Paused, Resolve
from receiver.incident.model import Origin, Pause, PauseKind, State
from tests.receiver.example_site import person
from tests.receiver.web.console.rig import Rig, a_console

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
expect.set_options(timeout=30_000)
LIVE = "html[data-live]"  # its stream is open
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@asynccontextmanager
async def opened(
    browser: Browser, rig: Rig, path: str = "/", viewer: str = "", **options: object
) -> AsyncIterator[Page]:
    """Open a page; an error of its script, or what its policy blocks, fails the test."""
    context = await browser.new_context(extra_http_headers={"X-Viewer": viewer}, **options)  # type: ignore[arg-type]  # forwarded
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda line: wrong.append(line.text) if line.type == "error" and "404" not in line.text else None
    )
    await page.goto(rig.url + path)
    yield page
    await context.close()
    assert wrong == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_console(tmp_path) as made:
        yield made


PHONE = {"width": 320, "height": 640}
PAGES = [
    "/",
    "/?team=backend&said=acknowledge.taken.2",
    "/incidents/1",
    "/incidents/1?ask=resolve",
    "/incidents/2",
    "/incidents/9",
    "/incidents/1/timeline",
    "/on-call",
    "/on-call/handover",
    "/history",
    "/policy?labels=severity%3Dcritical",
    "/status",
    "/raise",
]


async def test_acknowledge_on_the_smallest_phone_without_javascript(rig: Rig, browser: Browser) -> None:
    await rig.fire(instance="a-host-with-a-very-long-name-that-no-phone-can-show-on-one-line:9100")
    async with opened(browser, rig, viewport=PHONE, java_script_enabled=False) as page:
        assert await page.evaluate(WIDER) == 0
        await page.get_by_role("link", name="HighErrorRate").click()
        button = page.get_by_role("button", name="Acknowledge")
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= 48
        assert box["y"] + box["height"] <= PHONE["height"]  # at the thumb, without scrolling
        await button.click()
        await expect(page.get_by_role("status").filter(has_text="You have it.")).to_be_visible()
        assert (await rig.read(1)).acknowledged_by == "linh"


async def test_the_links_of_messages_without_javascript(rig: Rig, browser: Browser) -> None:
    for key in ("one", "two", "three"):
        await rig.fire(key)
    one, bundle = await rig.link(1), await rig.link(1, 2, 3)
    async with opened(browser, rig, one, viewport=PHONE, java_script_enabled=False) as page:
        assert await page.evaluate(WIDER) == 0
        assert await page.locator("nav").count() == 0
        await page.get_by_role("button", name="Acknowledge as Linh").click()
        await expect(page.get_by_role("status").filter(has_text="You have it.")).to_be_visible()
        await page.goto(rig.url + bundle)
        assert await page.evaluate(WIDER) == 0
        await page.get_by_role("button", name="Acknowledge all 2 unanswered").click()
        assert await page.get_by_role("button").count() == 0
        assert [(await rig.read(number)).state for number in (1, 2, 3)] == [State.ACKNOWLEDGED] * 3
        await page.get_by_role("link", name="HighErrorRate").last.click()
        await expect(page.locator(".standing")).to_contain_text("You have it.")


async def test_a_page_that_was_cut_off_catches_up(rig: Rig, browser: Browser) -> None:
    await rig.fire()
    async with opened(browser, rig) as page, opened(browser, rig, await rig.link(1)) as linked:
        for one in (page, linked):
            await expect(one.locator(LIVE)).to_be_attached()
        await rig.streams.end_all()  # as a proxy does, or a process that stops
        await rig.fire("two")
        await rig.apply(1, Acknowledge("marek", Origin.API))
        await expect(page.locator("#p-P1 #i-2")).to_be_visible()
        await expect(page.locator("#stale")).to_be_hidden()
        await expect(linked.locator(".standing")).to_contain_text("Marek has it")


async def test_what_one_does_the_other_sees_at_once(rig: Rig, browser: Browser) -> None:
    await rig.fire()
    async with opened(browser, rig) as linh, opened(browser, rig, "/incidents/1", "marek") as marek:
        await expect(marek.locator(".standing")).to_contain_text("Nobody has it yet.")
        await linh.get_by_role("button", name="Acknowledge: HighErrorRate").click()
        await expect(linh.locator("#notice")).to_contain_text("You have it.")
        await expect(linh.locator("#i-1")).to_contain_text("Linh has it")
        await expect(marek.locator(".standing")).to_contain_text("Linh has it")
        await expect(marek.get_by_role("button", name="I'm helping")).to_be_visible()


async def test_what_is_open_and_ticked_survives_an_update(rig: Rig, browser: Browser) -> None:
    await rig.fire()
    await rig.fire("two")
    async with opened(browser, rig, "/incidents/1") as page, opened(browser, rig) as now:
        await page.get_by_label("People").check()
        await page.get_by_label("Note").fill("half a thought")
        await page.locator("#more-acts summary").click()
        await now.get_by_label("Select #1").check()
        await rig.apply(1, Acknowledge("marek", Origin.API))
        await expect(page.locator(".standing")).to_contain_text("Marek has it")
        await expect(page.get_by_role("button", name="Take over")).to_be_visible()
        assert await page.get_by_label("Note").input_value() == "half a thought"
        assert await page.get_by_label("People").is_checked()
        await expect(now.locator("#i-1")).to_contain_text("Marek has it")
        assert await now.get_by_label("Select #1").is_checked()
        assert (await now.locator(".bulk .count").inner_text()) == "1 selected"


async def test_new_incidents_appear_but_do_not_move_what_is_about_to_be_pressed(rig: Rig, browser: Browser) -> None:
    await rig.fire(severity="warning")
    async with opened(browser, rig) as page, opened(browser, rig) as busy:
        await busy.get_by_label("Select #1").check()
        await rig.fire("two")
        await expect(page.locator("#p-P1 #i-2")).to_be_visible()
        await expect(busy.get_by_role("button", name="1 new")).to_be_visible()
        assert await busy.locator("#i-2").count() == 0
        await busy.get_by_role("button", name="1 new").click()
        await expect(busy.locator("#p-P1 #i-2")).to_be_visible()
        await expect(page.locator("#summary")).to_have_text("1 P1 and 1 P2 unanswered")


async def test_status_and_on_call_are_kept_true_by_themselves(rig: Rig, browser: Browser) -> None:
    async with opened(browser, rig, "/status") as status, opened(browser, rig, "/on-call") as on_call:
        for page in (status, on_call):
            await page.clock.install()
            await page.reload()
        await on_call.get_by_text("Shifts of this week").first.click()
        await rig.store.beat("alertmanager", rig.clock.now)
        people = {**rig.routing.people, "marek": msgspec.structs.replace(person("marek"), name="Marek Novák")}
        rig.current.exchange(msgspec.structs.replace(rig.routing, people=people))
        assert "last heard" not in await status.locator("main").inner_text()
        for page in (status, on_call):
            await page.clock.fast_forward(31_000)
        await expect(status.locator("main")).to_contain_text("last heard")
        await expect(on_call.locator("main")).to_contain_text("Marek Novák")
        assert await on_call.locator("details[open]").count() == 1

        await status.evaluate("document.dispatchEvent(new CustomEvent('htmx:error'))")
        await expect(status.locator("#stale")).to_contain_text("Not live. Last update")
        await status.clock.fast_forward(31_000)
        await expect(status.locator("#stale")).to_be_hidden()


async def test_no_update_comes_under_a_form_that_is_being_filled_in(rig: Rig, browser: Browser) -> None:
    async with opened(browser, rig, "/on-call") as page:
        await page.clock.install()
        await page.reload()
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url))
        await page.locator("#cover-me summary").click()
        await page.clock.fast_forward(61_000)
        await page.evaluate("fetch('status').then((answer) => answer.text())")  # after whatever it has asked for
        assert fetched == [f"{rig.url}/status"]
        await page.locator("#cover-me summary").click()
        async with page.expect_response("**/on-call"):
            await page.clock.fast_forward(31_000)


async def test_all_of_it_by_keyboard(rig: Rig, browser: Browser) -> None:
    await rig.fire()
    await rig.fire("two")
    async with opened(browser, rig) as page:
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        assert await page.get_by_label("Select #2").is_checked()
        await page.keyboard.press("a")
        await expect(page.locator("#i-2")).to_contain_text("Linh has it")
        await page.keyboard.press("?")
        await page.get_by_label("Turn shortcuts off").check()
        await page.keyboard.press("Escape")
        await page.keyboard.press("k")
        await page.keyboard.press("a")
        assert (await rig.read(1)).state is State.TRIGGERED


REACHED = """[...document.querySelectorAll("#incident button, #incident select, #incident a[href], #incident summary")]
  .filter((one) => one.checkVisibility() && !one.dataset.reached).map((one) => one.outerHTML)"""


async def test_every_act_is_reached_by_tab(rig: Rig, browser: Browser) -> None:
    await rig.fire()
    async with opened(browser, rig, "/incidents/1") as page:
        await page.locator("#more-acts summary").press("Enter")
        await page.evaluate('addEventListener("focusin", (event) => { event.target.dataset.reached = "yes"; })')
        await page.locator("header a").first.focus()
        for _ in range(60):
            await page.keyboard.press("Tab")
        assert await page.get_by_role("button", name="Snooze").is_visible()
        assert await page.evaluate(REACHED) == []


async def test_a_page_says_when_it_is_not_live(rig: Rig, browser: Browser) -> None:
    async with opened(browser, rig) as page:
        await expect(page.locator("#stale")).to_be_hidden()
        await page.evaluate("document.dispatchEvent(new CustomEvent('htmx:sse:error'))")
        await expect(page.locator("#stale")).to_contain_text("Not live. Last update")


@pytest.mark.skipif(not axe.SCRIPT.exists(), reason="no axe-core: run make axe")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
async def test_everybody_can_use_every_page(rig: Rig, browser: Browser, scheme: str, width: int) -> None:
    await rig.fire()
    await rig.fire("two", severity="warning")
    await rig.fire("three", severity="info")
    await rig.fire("four", severity="none")
    await rig.apply(2, Acknowledge("linh", Origin.API))
    await rig.apply(3, Paused(Pause(PauseKind.SILENCE, "8f1c", "marek")))
    async with opened(browser, rig, color_scheme=scheme, viewport={"width": width, "height": 640}) as page:
        for path in [*PAGES, await rig.link(1), await rig.link(1, 2)]:
            await page.goto(rig.url + path)
            await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            await page.evaluate(axe.SCRIPT.read_text("utf-8"))
            found = await page.evaluate("axe.run().then(found => found.violations)")
            assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == [], path
            assert await page.evaluate(WIDER) == 0


async def test_words_without_end_make_no_page_wider(rig: Rig, browser: Browser) -> None:
    endless = "A" * 1500
    await rig.fire("one", summary=endless, job=endless)
    await rig.apply(1, Note("marek", Origin.API, endless))
    await rig.apply(1, Resolve("linh", Origin.API))
    await rig.fire("two", alertname=endless)
    await rig.fire("three")
    async with opened(browser, rig, "/incidents/3", viewport=PHONE) as page:
        await expect(page.locator("#before li")).to_contain_text(endless[:200])
        for path in ("/incidents/3", "/incidents/1", "/incidents/2", "/", "/history"):
            await page.goto(rig.url + path)
            await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            assert await page.evaluate(WIDER) == 0, path


async def test_who_has_no_zone_here_sees_the_times_of_the_browsers(rig: Rig, browser: Browser) -> None:
    await rig.fire()
    async with opened(browser, rig, "/incidents/1", "guest", timezone_id="Asia/Tokyo", locale="de") as page:
        await expect(page.locator("footer")).to_contain_text("Asia/Tokyo")
        assert "12:00:00" in await page.locator(".timeline li time").first.inner_text()


HIDE = """Object.defineProperty(document, "hidden", { get: () => true });
document.dispatchEvent(new Event("visibilitychange"))"""


async def test_a_hidden_tab_lets_go_of_its_stream_unless_it_is_to_ring(rig: Rig, browser: Browser) -> None:
    async with opened(browser, rig) as silent, opened(browser, rig) as ringing:
        await ringing.get_by_role("button", name="Sound off").click()
        await expect(ringing.get_by_role("button", name="Sound on")).to_be_visible()
        for page in (silent, ringing):
            await expect(page.locator(LIVE)).to_be_attached()
            await page.evaluate(HIDE)
        await rig.fire()
        await ringing.evaluate("scrollTo(0, 0)")
        await expect(ringing.get_by_role("heading", level=1)).to_have_text("1 P1 unanswered")
        await expect(ringing).to_have_title(re.compile(r"^\(!\)"))
        assert await silent.get_by_role("heading", level=1).inner_text() == "Nothing is open"
