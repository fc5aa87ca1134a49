"""Socket Mode: the same handler behind a connection of our own; refreshed, refused, lost, and told apart."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from process.settings import Secret, Source
from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.actions.inbound import InboundSetup
from receiver.channels.base import Failure
from receiver.channels.declaration import Place, Setup
from receiver.channels.slack import Settings, SocketMode
from receiver.channels.slack_api import SlackApi
from receiver.incident.model import EntryKind, Incident, State
from receiver.messages.i18n import Reader
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact, Person
from receiver.store.base import Outage, StoreOutageError
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.slack_actions import build
from receiver.web.slack_socket import SlackSocket, SocketError
from tests.fakes.slack import FakeSlack
from tests.receiver.example_site import Clock, an_alert, received, the_current, the_routing
from tests.receiver.web.slack_endpoint import a_handler

APP_TOKEN, LINH = "xapp-s3cret", "U01LINH"


class Away(SQLiteStore):
    """A store that can be told to fail."""

    is_away = False
    tried: asyncio.Event

    async def answer(self, *args: Any, **kwargs: Any) -> Incident | None:  # noqa: ANN401  # as the store's own
        if self.is_away:
            self.tried.set()
            raise StoreOutageError(Outage.FULL, "disk full")
        return await super().answer(*args, **kwargs)


class Rig:
    """A receiver with one open incident, and Slack at the other end of a connection."""

    def __init__(self, store: Away, clock: Clock, slack: FakeSlack, session: aiohttp.ClientSession) -> None:
        self.store, self.clock, self.slack, self.session = store, clock, slack, session
        people = {**the_routing().people, "linh": Person("Linh", (Contact("slack", LINH),))}
        self.current = the_current(msgspec.structs.replace(the_routing(), people=people))
        self.registry = Metrics(["slack"]).registry
        self.actions = Actions(store, self.current, clock, self.registry)
        handler = a_handler(self.actions, store, self.current, session, SlackApi(Secret("xoxb"), session, self.api))
        self.socket = SlackSocket(handler, SlackApi(Secret(APP_TOKEN), session, self.api), self.registry, 0.05)

    @property
    def api(self) -> str:
        return f"{self.slack.url}/api/"

    async def incident(self) -> Incident:
        stored = await self.store.incident(1)
        assert stored is not None
        return stored[0]

    async def press(self, number: str, action: str = "acknowledge") -> asyncio.Future[Any]:
        value = await self.actions.reference(await self.incident())
        payload = {"type": "block_actions", "user": {"id": LINH}, "actions": [{"action_id": action, "value": value}]}
        return await self.slack.envelope(number, "interactive", payload)

    async def note(self, number: str) -> Any:  # noqa: ANN401  # JSON
        meta = f'{{"reference":"{await self.actions.reference(await self.incident())}"}}'
        values = {"act": {"act": {"selected_option": {"value": "note"}}}, "text": {"value": {"value": "hello"}}}
        view = {"id": "V1", "private_metadata": meta, "state": {"values": values}}
        payload = {"type": "view_submission", "user": {"id": LINH}, "view": view}
        return await (await self.slack.envelope(number, "interactive", payload))

    async def turn(self) -> None:
        async with self.session.get(f"{self.slack.url}/nothing") as answer:
            await answer.read()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"receiver_slack_socket_{name}", labels)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock, slack = Clock(), FakeSlack("xoxb", {"#alerts"})
    slack.app_token = APP_TOKEN
    await slack.start()
    store = Away(tmp_path / "receiver.sqlite3", lambda: None)
    store.tried = asyncio.Event()
    await store.open(clock.now)
    async with aiohttp.ClientSession() as session:
        rig = Rig(store, clock, slack, session)
        await store.update(received(an_alert()), rig.current.routing, clock.now)
        yield rig
        await rig.socket.close()
    await store.close()
    await slack.stop()


async def test_a_press_is_taken_and_acknowledged(rig: Rig) -> None:
    await rig.socket.run_once()
    assert await (await rig.press("e1")) is None
    assert (await rig.incident()).acknowledged_by == "linh"
    assert rig.metric("connected") == 1


async def test_a_command_and_a_form_are_answered_in_their_envelope(rig: Rig) -> None:
    await rig.socket.run_once()
    command = {"command": "/oncall", "text": "incidents", "user_id": LINH, "trigger_id": "T1"}
    said = await (await rig.slack.envelope("e1", "slash_commands", command))
    assert said["text"] == Reader().say("slack_open_one")
    form = {"type": "view_submission", "user": {"id": LINH}, "view": {"id": "V1"}}
    refused = await (await rig.slack.envelope("e2", "interactive", form))
    assert refused["response_action"] == "errors"


async def test_an_envelope_that_comes_twice_is_taken_once_and_acknowledged_twice(rig: Rig) -> None:
    await rig.socket.run_once()
    for number in ("e1", "e1", "e2"):  # the last one under another name
        assert await rig.note(number) is None
    stored = await rig.store.incident(1)
    assert stored is not None
    assert [entry.kind for entry in stored[1]].count(EntryKind.NOTED) == 1


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("interactive", {}), ("interactive", {"type": 1}), ("slash_commands", {"text": 1}), ("events_api", {"event": {}})],
)
async def test_what_cannot_be_read_is_acknowledged_and_changes_nothing(
    rig: Rig, kind: str, payload: dict[str, Any]
) -> None:
    await rig.socket.run_once()
    assert await (await rig.slack.envelope("e1", kind, payload)) is None
    assert (await rig.incident()).state is State.TRIGGERED


async def test_a_connection_that_slack_wants_anew_is_made_anew(rig: Rig) -> None:
    await rig.socket.run_once()
    await rig.slack.refresh()
    await rig.slack.linked.wait()
    assert len(rig.slack.links) == 2
    await (await rig.press("e1"))
    assert (await rig.incident()).state is State.ACKNOWLEDGED


async def test_a_refused_token_is_said_and_counted_at_each_attempt(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.slack.errors = ["token_revoked", "invalid_auth"]
    for word in ("token_revoked", "invalid_auth"):
        with pytest.raises(SocketError, match=word):
            await rig.socket.run_once()
        assert "check channels.slack.socket_mode.app_token" in caplog.records[-1].message
    assert rig.metric("failures_total", reason=Failure.AUTH.value) == 2
    assert rig.metric("connected") == 0
    assert APP_TOKEN not in caplog.text
    await rig.socket.run_once()
    assert rig.metric("connected") == 1


async def test_a_token_that_is_revoked_under_way_is_not_tried_for_ever(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await rig.socket.run_once()
    rig.slack.app_token = "another"
    await rig.slack.refresh()

    async def looked() -> None:
        """Look until the client has asked and given up."""
        async with asyncio.timeout(30):
            while True:
                await rig.socket.run_once()
                await rig.turn()

    with pytest.raises(SocketError) as caught:
        await looked()
    assert caught.value.reason is Failure.AUTH
    asked = len([call for call in rig.slack.calls if call.path == "/api/apps.connections.open"])
    assert asked == 3  # at first, at the refresh, and by us
    assert "ticket=" not in caplog.text


async def test_a_slack_that_is_away_is_counted_by_its_reason(rig: Rig) -> None:
    rig.slack.misfortunes = [(503, {})]
    with pytest.raises(SocketError):
        await rig.socket.run_once()
    assert rig.metric("failures_total", reason=Failure.SERVER_ERROR.value) == 1


async def test_what_nobody_could_be_told_of_is_not_acknowledged_and_can_come_again(rig: Rig) -> None:
    await rig.socket.run_once()
    rig.store.is_away = True
    first = await rig.press("e1")
    await rig.store.tried.wait()
    await (await rig.slack.envelope("e2", "events_api", {}))
    rig.store.is_away = False
    await (await rig.press("e1"))
    assert not first.done()
    assert (await rig.incident()).state is State.ACKNOWLEDGED


async def test_the_settings_alone_make_it(rig: Rig, tmp_path: Path) -> None:
    with ExitStack() as closing:
        secrets: list[Secret] = []
        place = Place(Source(tmp_path / "receiver.yml", text="{}"), "slack")
        channel = Setup(place, rig.session, secrets, closing, "https://oncall.example.com")
        duty = Duty(rig.store, rig.store.duty, rig.current, rig.clock)
        registry = Metrics(["slack"]).registry
        settings = Settings(token=Secret("xoxb"), socket_mode=SocketMode(app_token=Secret(APP_TOKEN)), api_url=rig.api)
        inbound = build(settings, InboundSetup(channel, rig.actions, rig.store, rig.current, duty, registry))
        assert inbound.routes == ()  # nothing that anybody could reach
        ((run_once, *_),) = inbound.loops.values()
        await run_once()
        await (await rig.press("e1"))
        assert (await rig.incident()).state is State.ACKNOWLEDGED
        assert {secret.reveal() for secret in secrets} >= {APP_TOKEN}
        await inbound.close()
