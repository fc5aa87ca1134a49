"""The whole receiver and Slack, by Socket Mode: an alert fires, the card is pressed, and shows what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from receiver.app import Receiver
from receiver.config.load import load
from tests.fakes.slack import FakeSlack
from tests.receiver.channels.test_registry import written
from tests.receiver.web.test_alertmanager import encoded

HOOK = {"Authorization": "Bearer t"}  # for the webhook and the API


class Rig:
    """A receiver that runs, and Slack."""

    def __init__(self, client: TestClient[web.Request, web.Application], slack: FakeSlack) -> None:
        self.client, self.slack = client, slack

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not there():
                async with self.client.get("/-/healthy") as answer:  # a turn of the loop
                    await answer.read()

    def card(self) -> str:
        return str(self.slack.shown[self.slack.messages[0]["ts"]])

    def element(self, action: str) -> dict[str, Any]:
        (attachment,) = self.slack.shown[self.slack.messages[0]["ts"]]["attachments"]
        blocks = [block for block in attachment["blocks"] if block["type"] == "actions"]
        return next(
            {**element, "block_id": block["block_id"]}
            for block in blocks
            for element in block["elements"]
            if element["action_id"] == action
        )

    async def press(self, number: str, field: dict[str, Any]) -> None:
        payload = {"type": "block_actions", "user": {"id": "U01LINH", "name": "linh"}, "actions": [field]}
        await (await self.slack.envelope(number, "interactive", payload))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    slack = FakeSlack("xoxb-1", {"#alerts", "U01LINH"})
    slack.app_token = "xapp-1"
    await slack.start()
    channel = {"token": "xoxb-1", "socket_mode": {"app_token": "xapp-1"}, "api_url": f"{slack.url}/api/"}
    person, team = {"name": "Linh Tran", "slack": "U01LINH"}, {"slack": "#alerts"}
    settings = {"channels": {"slack": channel}, "people": {"linh": person}, "teams": {"default": team}}
    receiver = Receiver(*load(written(tmp_path, settings)))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        stop = asyncio.Event()
        async with TestClient(TestServer(receiver.application())) as client:
            running = asyncio.ensure_future(receiver.run(stop))
            yield Rig(client, slack)
            stop.set()
            await running
        await receiver.stop()
    assert all(link.closed for link in slack.links)
    await slack.stop()


async def test_pressed_in_slack_and_resolved_by_the_api_the_card_shows_both(rig: Rig) -> None:
    async with rig.client.post("/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
        assert answer.status == 200
    await rig.until(lambda: bool(rig.slack.messages and rig.slack.links))
    snooze = rig.element("snooze")
    chosen = {**snooze, "selected_option": snooze["options"][0], "action_ts": "1.1"}
    await rig.press("e1", {name: chosen[name] for name in ("action_id", "block_id", "selected_option", "action_ts")})
    await rig.until(lambda: "Snoozed until" in rig.card())
    assert "Linh Tran" in rig.card()
    async with rig.client.post("/api/v1/incidents/1/resolve", json={}, headers=HOOK) as answer:
        assert answer.status == 200
    await rig.until(lambda: "· Resolved" in rig.card())
    async with rig.client.get("/metrics") as answer:
        assert "receiver_slack_socket_connected 1.0" in await answer.text()
