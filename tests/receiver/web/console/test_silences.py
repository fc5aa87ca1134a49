"""Silences on the pages, with the real Alertmanager: made on a phone without JavaScript, counted, shown and ended."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from deploy.local import axe
from deploy.local.chromium import chromium
from receiver.clients.alertmanager import AlertmanagerApi, Known
from receiver.incident.model import DEFAULT_SOURCE, Alert
from tests.fakes.alertmanager import Alertmanager, WayThrough
from tests.receiver.web.console.rig import READER, Rig, a_console, alert
from tests.receiver.web.console.test_in_browser import WIDER, opened

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]
PHONE = {"width": 320, "height": 640}
SCRIPT = "<script>alert(1)</script>\"'>"


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    running = Alertmanager(tmp_path_factory.mktemp("alertmanager"))
    yield running
    running.stop()


class Site:
    """A console whose alerts Alertmanager has, too."""

    def __init__(self, rig: Rig, way: WayThrough, api: AlertmanagerApi, name: str) -> None:
        self.rig, self.way, self.api, self.name = rig, way, api, name

    async def fire(self, *hosts: str, key: str = "one") -> int:
        alerts: list[Alert] = [alert(host, alertname=self.name, host=host) for host in hosts]
        until = (self.rig.clock.now + timedelta(days=1)).isoformat()
        told = [{"labels": one.labels, "endsAt": until} for one in alerts]
        async with aiohttp.ClientSession() as session, session.post(f"{self.way.url}/api/v2/alerts", json=told):
            pass
        seen = {one.alert.labels["host"]: one.alert for one in await self.api.matching([f'alertname="{self.name}"'])}
        return (await self.rig.fire(key, *(seen[host] for host in hosts))).id

    async def there(self) -> list[Known]:
        known = (await self.api.silences()).values()
        return [one for one in known if not one.is_over and any(c.value == self.name for c in one.matchers)]

    async def post(self, path: str, *fields: tuple[str, str]) -> tuple[int, str]:
        async with self.rig.client.post(path, data=list(fields), allow_redirects=False) as answer:
            return answer.status, await answer.text()


@pytest_asyncio.fixture(loop_scope="module")
async def site(tmp_path: Path, alertmanager: Alertmanager) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as session, WayThrough(alertmanager.url, session) as way:
        api = AlertmanagerApi(way.url, session, patience=0.5)
        async with a_console(tmp_path, apis={DEFAULT_SOURCE: api}) as rig:
            rig.clock.now = await alertmanager.ready(session)
            yield Site(rig, way, api, tmp_path.name)


def ticked(page: str) -> list[str]:
    return [unescape(one) for one in re.findall(r'name="matcher" value="([^"]*)" checked', page)]


async def test_the_form_has_what_all_alerts_share_and_counts_it(site: Site) -> None:
    number = await site.fire("a", "b")
    await site.fire("elsewhere", key="two")
    assert 'href="1/silence"' in await site.rig.get(f"/incidents/{number}")
    page = await site.rig.get(f"/incidents/{number}/silence")
    assert set(ticked(page)) == {f'alertname="{site.name}"', 'severity="critical"', 'team="backend"'}
    assert "Mutes 2 of 2 alerts that fire in this incident," in page
    assert "and 1 other that fires now." in page
    assert "host=elsewhere" in page
    status, page = await site.post(
        f"/incidents/{number}/silence", ("matcher", f'alertname="{site.name}"'), ("more", 'host=~"a|b"')
    )
    assert (status, "and nothing else" in page) == (200, True)
    assert ticked(page) == [f'alertname="{site.name}"']
    assert await site.there() == []  # it was only counted


async def test_a_silence_is_made_once_shown_made_longer_and_ended(site: Site) -> None:
    number = await site.fire("a")
    fields = (("matcher", f'alertname="{site.name}"'), ("minutes", "60"), ("comment", SCRIPT), ("form", "f"))
    for _ in range(2):
        assert (await site.post(f"/incidents/{number}/silence", *fields, ("do", "make")))[0] == 303
    (there,) = await site.there()
    assert there.ends_at == site.rig.clock.now + timedelta(hours=1)
    page = await site.rig.get(f"/incidents/{number}")
    assert "Linh silenced it until" in page
    assert "<script>alert(1)" not in page
    (end,) = re.findall(rf'action="({number}/silence/[^"]*/end)"', page)
    assert (await site.post(f"/incidents/{end.removesuffix('/end')}/extend"))[0] == 303
    assert (await site.there())[0].ends_at == site.rig.clock.now + timedelta(hours=2)
    assert (await site.post(f"/incidents/{end}"))[0] == 303
    assert await site.there() == []
    assert "/end" not in await site.rig.get(f"/incidents/{number}")
    status, said = await site.post(f"/incidents/{end}")
    assert (status, "ended already" in said) == (409, True)


async def test_what_is_wrong_is_said_in_the_form_that_was_filled_in(site: Site) -> None:
    number = await site.fire("a")
    at, name = f"/incidents/{number}/silence", ("matcher", f'alertname="{site.name}"')
    for fields, status, named in (
        ((("more", ""), ("minutes", "60")), 422, "must not match all alerts"),
        ((name, ("more", "nonsense"), ("minutes", "60"), ("comment", "kept")), 422, "must not match all alerts"),
        ((name, ("minutes", "0")), 422, "30 days"),
    ):
        answer = await site.post(at, *fields, ("do", "make"))
        assert (answer[0], named in answer[1]) == (status, True), answer
    site.way.hang = True
    answer = await site.post(at, name, ("minutes", "60"), ("comment", "kept"), ("do", "make"))
    assert (answer[0], "did not answer" in answer[1], 'value="kept"' in answer[1]) == (504, True, True)
    page = await site.rig.get(at)  # the form comes all the same
    assert "cannot be counted now" in page
    site.way.hang = False
    assert await site.there() == []


async def test_only_who_may_act_may_silence(site: Site) -> None:
    number = await site.fire("a")
    site.rig.viewer = READER
    assert "silence" not in (await site.rig.get(f"/incidents/{number}")).replace("/silence.", "")
    for path in (f"/incidents/{number}/silence", f"/incidents/{number}/silence/x/end"):
        assert (await site.post(path, ("do", "make")))[0] == 403
    async with site.rig.client.get(f"/incidents/{number}/silence") as answer:
        assert answer.status == 403


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.mark.browser
async def test_a_silence_on_the_smallest_phone_without_javascript(site: Site, browser: Browser) -> None:
    number = await site.fire("a-host-with-a-very-long-name-that-no-phone-can-show-on-one-line:9100")
    async with opened(browser, site.rig, f"/incidents/{number}", viewport=PHONE, java_script_enabled=False) as page:
        await page.get_by_text("More", exact=True).click()
        await page.get_by_role("link", name="Silence in Alertmanager").click()
        assert await page.evaluate(WIDER) == 0
        await page.get_by_label("Why").fill("new disks")
        await page.get_by_role("button", name="Silence", exact=True).click()
        await expect(page.get_by_text("Linh silenced it until")).to_be_visible()
        assert await page.evaluate(WIDER) == 0
        assert [one.created_by for one in await site.there()] == ["Linh"]
        await page.get_by_role("button", name="End now").click()
        await expect(page.get_by_text("Linh silenced it until")).to_have_count(0)
    assert await site.there() == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_count_follows_the_ticks(site: Site, browser: Browser, scheme: str) -> None:
    number = await site.fire("a", "b")
    await site.fire("elsewhere", key="two")
    async with opened(browser, site.rig, f"/incidents/{number}/silence", color_scheme=scheme) as page:
        await expect(page.get_by_text("and 1 other that fires now.")).to_be_visible()
        await page.get_by_label("And matches").fill('host="a"')
        await page.get_by_label("And matches").press("Tab")
        await expect(page.get_by_text("Mutes 1 of 2 alerts")).to_be_visible()
        await expect(page.get_by_text("and nothing else")).to_be_visible()
        if axe.SCRIPT.exists():
            await page.evaluate(axe.SCRIPT.read_text("utf-8"))
            found = await page.evaluate("axe.run().then(found => found.violations)")
            assert [(one["id"], node["html"]) for one in found for node in one["nodes"]] == []
    assert await site.there() == []
