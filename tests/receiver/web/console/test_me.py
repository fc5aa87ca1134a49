"""The page of whoever looks: contacts, a test page, what was taken while awake, sessions and tokens."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local import axe
from deploy.local.chromium import chromium
from receiver.app import Receiver
from receiver.incident.model import State
from receiver.store.access import Session, Token
from receiver.store.audit import Act
from tests.receiver.web.access.signing_in import Client
from tests.receiver.web.access.test_in_receiver import HOOK, running
from tests.receiver.web.test_alertmanager import encoded

SETTINGS: dict[str, Any] = {
    "channels": {"webhook": {"endpoints": {"ops": {"url": "http://127.0.0.1:9", "secret": f"whsec_{'A' * 43}="}}}},
    "people": {
        "linh": {
            "name": "Linh <Tran>",
            "language": "en",
            "time_zone": "Europe/Berlin",
            "contacts": {"webhook": "ops"},
            "quiet_hours": {"hours": "22:00-07:00", "days": ["sat", "sun"], "channels": ["webhook"]},
        },
        "marek": {"name": "Marek", "contacts": {"webhook": "ops"}},
    },
    "console": {
        "sign_in": {"proxy": {"addresses": ["127.0.0.1"], "header": "X-User"}},
        "roles": {"viewer": {"people": ["guest"]}},
    },
}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[tuple[Receiver, Client]]:
    async with running(tmp_path, SETTINGS) as made:
        yield made


async def get(client: Client, path: str, who: str = "linh") -> tuple[int, str]:
    async with client.get(path, headers={"X-User": who}) as answer:
        return answer.status, await answer.text()


async def post(client: Client, path: str, who: str = "linh", **form: str) -> tuple[int, str]:
    headers = {"X-User": who, "Sec-Fetch-Site": "same-origin"}
    async with client.post(path, data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")


async def a_session(receiver: Receiver, person: str, mark: bytes) -> int:
    now = receiver.actions.clock()
    one = Session(person, person, "basic", now, now, now + timedelta(days=1), "192.0.2.1", "Firefox/1 Linux")
    return (await receiver.store.access.begin_session(mark * 32, one, Act(now, person, "basic", "", "b", ""))).id


async def a_token(receiver: Receiver, person: str, mark: bytes) -> int:
    now = receiver.actions.clock()
    made = Token(f"script of {person}", "act", person, now)
    return (await receiver.store.access.add_token(mark * 32, made, Act(now, person, "basic", "", "t", ""))).id


async def test_the_page_shows_how_i_am_paged_and_nothing_of_others(rig: tuple[Receiver, Client]) -> None:
    receiver, client = rig
    await a_session(receiver, "linh", b"a")
    await a_session(receiver, "marek", b"b")
    await a_token(receiver, "marek", b"c")
    status, page = await get(client, "/me")
    assert status == 200
    for text in ("Linh &lt;Tran&gt;", "ops", "Europe/Berlin", "Sat Sun 22:00-07:00", "English", 'href="calendar/'):
        assert text in page, text
    assert "Firefox on Linux" in page
    assert page.count('/end"') == 1
    assert "script of marek" not in page
    assert (await get(client, "/me", "stranger"))[0] in {401, 403}


async def test_a_test_page_goes_to_me_alone_as_a_real_one_would(rig: tuple[Receiver, Client]) -> None:
    receiver, client = rig
    status, location = await post(client, "/me/test", priority="P1", form="once")
    assert (status, await post(client, "/me/test", priority="P1", form="once")) == (303, (303, location))
    number = int(location.rpartition("/")[2])
    stored = await receiver.store.incident(number)
    assert stored is not None
    incident = stored[0]
    assert (incident.drill, incident.real, incident.plan.steps, incident.team) == (True, False, (), "default")
    assert {one.person for one in incident.delivery.told} == {"linh"}
    assert incident.clocks.wake_at(State.TRIGGERED, None) is None  # nothing escalates
    owed = await receiver.store.claim("webhook", receiver.actions.clock(), 1.0, 10)
    assert [(one.notification.target.person, one.priority) for one in owed] == [("linh", "P1")]
    assert "DRILL" in (await get(client, f"/incidents/{number}"))[1].upper()
    await post(client, f"/incidents/{number}/acknowledge")
    after = await receiver.store.incident(number)
    assert after is not None
    assert after[0].acknowledged_by == "linh"
    assert (await post(client, "/me/test", priority="P9"))[1] == "../me"
    assert (await post(client, "/me/test", "stranger", priority="P1"))[0] in {401, 403}


async def test_i_end_my_own_sessions_and_tokens_only(rig: tuple[Receiver, Client]) -> None:
    receiver, client = rig
    mine, theirs = await a_session(receiver, "linh", b"a"), await a_session(receiver, "marek", b"b")
    own, other = await a_token(receiver, "linh", b"a"), await a_token(receiver, "marek", b"b")
    for number in (mine, theirs):
        assert await post(client, f"/me/sessions/{number}/end") == (303, "../../../me?said=ended")
    for number in (own, other):
        assert await post(client, f"/me/tokens/{number}/revoke") == (303, "../../../me?said=revoked")
    now = receiver.actions.clock()
    assert [one.person for one in await receiver.store.access.sessions(now, 10)] == ["marek"]
    assert {one.owner: one.revoked is None for one in await receiver.store.access.tokens()} == {
        "linh": False,
        "marek": True,
    }
    acts = {one.act for one in await receiver.store.access.audit(None, 10)}
    assert {"session.end", "token.revoke"} <= acts


async def test_what_i_took_while_awake_waits_for_a_decision(rig: tuple[Receiver, Client]) -> None:
    receiver, client = rig
    await post(client, "/awake/on")
    payload = json.loads(encoded())
    for alert in payload["alerts"]:
        alert["labels"]["severity"] = "warning"
    async with client.post("/webhook/alertmanager", json=payload, headers=HOOK) as answer:
        assert answer.status == 200
    (taken,) = await receiver.duty.taken_awake("linh")
    _, page = await get(client, "/me")
    assert f'incidents/{taken.id}"' in page
    assert 'action="awake/keep"' in page
    await post(client, "/awake/keep")
    assert 'action="awake/keep"' not in (await get(client, "/me"))[1]


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 1280])
async def test_it_is_readable_on_a_phone_and_for_everybody(rig: tuple[Receiver, Client], width: int) -> None:
    receiver, client = rig
    await a_session(receiver, "linh", b"a")
    await a_token(receiver, "linh", b"a")
    async with chromium() as browser:
        context = await browser.new_context(
            viewport={"width": width, "height": 800}, extra_http_headers={"X-User": "linh"}
        )
        page = await context.new_page()
        await page.goto(str(client.make_url("/me")))
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        if axe.SCRIPT.exists():
            await page.evaluate(axe.SCRIPT.read_text("utf-8"))
            assert await page.evaluate("axe.run().then(found => found.violations)") == []
