"""What all imports do with an API that loops, points elsewhere, breaks off or answers with other shapes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from receiver.clients.http_api import open_session
from receiver.importing.answers import Api, Taken, next_link, saved
from receiver.importing.draft import ImportFailedError
from receiver.importing.sources import SOURCES
from tests.fakes.server import FakeServer
from tests.receiver.importing import oncall_installation
from tests.receiver.importing.command import Importing
from tests.receiver.importing.test_sources import TOOLS, Tool, stand_in

Json = dict[str, Any]
LISTS = {"oncall": "results", "opsgenie": "data"}
# Answers of which each says that another page follows, and never another one.
SAME_PAGE = {
    "oncall": {"results": [], "next": "http://x.invalid/?page=2"},
    "opsgenie": {"data": [], "paging": {"next": "https://x.invalid/v2/users?offset=100"}},
    "pagerduty": {"users": [], "more": True},
    "goalert": {
        "data": {
            name: {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "x"}}
            for name in ("users", "rotations", "schedules", "escalationPolicies", "services", "userOverrides")
        }
    },
}


class Scripted(FakeServer):
    """Answers everything with the same JSON; the first requests are cut off if ``breaks`` says so."""

    def __init__(self, answer: object, breaks: int = 0) -> None:
        super().__init__()
        self.text, self.breaks = json.dumps(answer), breaks

    def answer(self, request: web.Request, _body: Json) -> web.Response:
        if self.breaks:
            self.breaks -= 1
            assert request.transport is not None
            request.transport.close()
        return web.Response(text=self.text, content_type="application/json")


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    server = Scripted({})
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.source)
async def test_pages_that_repeat_end_at_once(
    tool: Tool, scripted: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.text = json.dumps(SAME_PAGE[tool.source])
    done = await Importing(tool.source, scripted, tool.token, oncall_installation.NOW, tmp_path, capsys).run()
    assert (done.code, len(done.err.splitlines())) == (1, 1), done.err
    assert "same page" in done.err
    assert len(scripted.calls) < 5


async def test_a_page_that_goalert_announces_without_saying_which_is_one_line(
    scripted: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.text = json.dumps(SAME_PAGE["goalert"]).replace('"x"', "null")
    (tool,) = (one for one in TOOLS if one.source == "goalert")
    done = await Importing(tool.source, scripted, tool.token, oncall_installation.NOW, tmp_path, capsys).run()
    assert (done.code, len(done.err.splitlines())) == (1, 1), done.err


@pytest.mark.parametrize("source", LISTS)
async def test_a_next_link_to_another_host_gets_no_request_and_no_token(
    source: str, scripted: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tool,) = (one for one in TOOLS if one.source == source)
    elsewhere = Scripted({})
    await elsewhere.start()
    link = f"{elsewhere.url}/api/v1/users/?page=2"
    scripted.text = json.dumps({LISTS[source]: [], "next": link, "paging": {"next": link}})
    try:
        await Importing(source, scripted, tool.token, oncall_installation.NOW, tmp_path, capsys).run()
    finally:
        await elsewhere.stop()
    assert scripted.calls
    assert not elsewhere.calls


@pytest.mark.parametrize("entry", ["x", 7, {"name": "no id"}, ["S1"]])
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.source)
async def test_entries_of_another_shape_are_one_line(
    tool: Tool, entry: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = stand_in(tool.source)
    if tool.source == "opsgenie":
        server.answers["v2/schedules"] = [entry]  # type: ignore[attr-defined]
    elif tool.source == "goalert":
        server.lists["schedules"] = [entry]  # type: ignore[attr-defined]
    else:
        server.lists["schedules"] = [entry]  # type: ignore[attr-defined]
    if tool.source == "pagerduty":
        server = Scripted({"users": [], "schedules": [entry], "escalation_policies": [], "services": []})
        server.text = server.text[:-1] + ', "maintenance_windows": []}'
    await server.start()
    try:
        done = await Importing(tool.source, server, tool.token, oncall_installation.NOW, tmp_path, capsys).run()
    finally:
        await server.stop()
    assert (done.code, len(done.err.splitlines())) == (1, 1), done.err


async def test_an_opsgenie_rule_without_an_id_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = stand_in("opsgenie")
    server.answers["v2/users/u1/notification-rules"] = [{"actionType": "create-alert"}]  # type: ignore[attr-defined]
    await server.start()
    try:
        importing = Importing("opsgenie", server, TOOLS[1].token, oncall_installation.NOW, tmp_path, capsys)
        done = await importing.run()
    finally:
        await server.stop()
    assert (done.code, len(done.err.splitlines())) == (1, 1), done.err


async def test_a_connection_that_breaks_off_is_tried_again(scripted: Scripted) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    scripted.text, scripted.breaks = '{"results": [1]}', 2
    async with open_session() as session:
        api = Api(session, "OnCall", scripted.url, {}, sleep=sleep)
        assert await api.pages("x", {}, items="results", following=next_link) == [1]
        assert waited  # aiohttp itself tries once more on a connection that was open
        scripted.breaks = 100
        with pytest.raises(ImportFailedError, match="breaks off"):
            await api.get("x")
    assert len(waited) < 10


async def test_an_answer_that_repeats_the_token_does_not_print_it(
    scripted: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tool,) = (one for one in TOOLS if one.source == "goalert")
    scripted.text = json.dumps({"errors": [{"message": f"Bearer {tool.token} is \x1b[31mno\nkey"}]})
    done = await Importing("goalert", scripted, tool.token, oncall_installation.NOW, tmp_path, capsys).run()
    assert (done.code, len(done.err.splitlines())) == (1, 1), done.err
    assert "\x1b" not in done.err


def test_the_first_page_of_several_is_not_the_whole_of_goalert(tmp_path: Path) -> None:
    page = {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "x"}}
    (tmp_path / "users.json").write_text(json.dumps(page), "utf-8")
    tool = SOURCES["goalert"]
    with pytest.raises(ImportFailedError, match="only the first page"):
        saved(tmp_path, "goalert", tool.items, tool.names, Taken({}, oncall_installation.NOW, 90))
