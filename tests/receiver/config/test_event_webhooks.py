"""The section `event_webhooks`: the example of its page is taken, mistakes are refused where they are."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from process.settings import SettingsError
from receiver.__main__ import main
from receiver.app import Receiver
from receiver.config.event_webhooks import CHANGES
from receiver.config.load import load
from tests.fakes.endpoint import FakeEndpoint, signed_by
from tests.receiver.channels.test_registry import written
from tests.receiver.web.test_alertmanager import encoded

PAGE = Path("docs/event-webhooks.md").read_text("utf-8")
SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"


class Endpoint(FakeEndpoint):
    """Says when it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.called = asyncio.Event()

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        self.called.set()
        return super().answer(request, body)


def test_the_example_of_the_page_is_taken_and_it_names_every_change(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    hooks = load(written(tmp_path, yaml.safe_load(example)))[0].event_webhooks
    assert hooks["status-page"].kinds == frozenset(CHANGES)
    assert len(hooks["tickets"].kinds) == 6
    for kind in CHANGES:
        assert f"`{kind.value}`" in PAGE


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ({"url": "ftp://a"}, "event_webhooks.a.url: invalid URL"),
        ({"events": ["opened", "told"]}, "event_webhooks.a.events[1]: unknown event 'told'"),
        ({"timeout": "2m"}, "event_webhooks.a.timeout"),
        ({"skip_after": "60d"}, "event_webhooks.a.skip_after: must be 1m to 30d"),
        ({"retries": 3}, "retries"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, hook: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, {"event_webhooks": {"a": {"url": "https://example.com", "secret": SECRET, **hook}}}))
    assert says in str(refused.value)


async def test_a_receiver_posts_what_happens_and_refuses_a_wrong_secret(tmp_path: Path) -> None:
    endpoint = Endpoint()
    await endpoint.start()
    hook = {"url": f"{endpoint.url}/hook", "secret": SECRET, "events": ["opened"]}
    async with aiohttp.ClientSession() as session:
        receiver = Receiver(*load(written(tmp_path, {"event_webhooks": {"a": hook}})))
        await receiver.start(session)
        stop = asyncio.Event()
        running = asyncio.ensure_future(receiver.run(stop))
        async with TestClient(TestServer(receiver.application())) as client:
            headers = {"Authorization": "Bearer t"}
            async with client.post("/webhook/alertmanager", data=encoded(), headers=headers) as answer:
                assert answer.status == 200
            await asyncio.wait_for(endpoint.called.wait(), 30)
        stop.set()
        assert await running
        await receiver.stop()
        (call,) = endpoint.calls
        assert call.body["type"] == "incident.opened"
        assert signed_by(call, SECRET)
        await endpoint.stop()
        wrong = Receiver(*load(written(tmp_path, {"event_webhooks": {"a": {**hook, "secret": "short"}}})))
        with pytest.raises(SettingsError, match=r"event_webhooks\.a\.secret: invalid secret"):
            await wrong.start(session)
        await wrong.stop()


def test_check_reads_the_secret_of_a_hook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("not one\n", "utf-8")
    (tmp_path / "secret").chmod(0o600)
    tokens = {"api": {"token": "a" * 32}, "webhook": {"token": "b" * 32}}
    hook = {"url": "https://example.com/hook", "secret_file": str(tmp_path / "secret")}
    path = written(tmp_path, {"event_webhooks": {"a": hook}, **tokens})
    assert main(["check", "--config.file", str(path), "--secrets"]) == 1
    assert "event_webhooks.a.secret: invalid secret" in capsys.readouterr().err
