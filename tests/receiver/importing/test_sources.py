"""What all imports answer to the same misfortunes: one clear line, no traceback, no token, no file."""

import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes import goalert_api, oncall_api, opsgenie_api, pagerduty_api
from tests.fakes.server import FakeServer
from tests.receiver.importing import (
    oncall_installation,
    test_goalert,
    test_opsgenie,
    test_pagerduty,
)
from tests.receiver.importing.command import Importing


class Tool(NamedTuple):
    source: str
    token: str


TOOLS = [
    Tool("oncall", oncall_api.TOKEN),
    Tool("opsgenie", opsgenie_api.TOKEN),
    Tool("pagerduty", pagerduty_api.TOKEN),
    Tool("goalert", goalert_api.TOKEN),
]


def stand_in(source: str) -> FakeServer:
    if source == "oncall":
        return oncall_api.FakeOnCall(oncall_installation.lists(), {})
    if source == "opsgenie":
        return opsgenie_api.FakeOpsgenie(test_opsgenie.answers())
    if source == "pagerduty":
        return pagerduty_api.FakePagerDutyRest(test_pagerduty.lists(), {}, test_pagerduty.OVERRIDES)
    schedules = [{**one, "shifts": [], "later": []} for one in test_goalert.SCHEDULES]
    return goalert_api.FakeGoAlert(
        {
            "users": test_goalert.USERS,
            "rotations": test_goalert.ROTATIONS,
            "schedules": schedules,
            "escalationPolicies": test_goalert.POLICIES,
            "services": [],
            "userOverrides": [],
        }
    )


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.source)
async def test_limits_are_waited_for_and_refusals_are_one_line(
    tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = stand_in(tool.source)
    await server.start()
    importing = Importing(tool.source, server, tool.token, oncall_installation.NOW, tmp_path, capsys)
    try:
        for status, headers, says in (
            (401, {}, "refuses the token"),
            (403, {}, "does not let this token read"),
            (404, {}, "does not know"),
            (302, {"Location": "http://evil.invalid/"}, "HTTP 302"),
        ):
            server.misfortunes, server.words = [(status, headers)], f"what {tool.token} may not do"
            refused = await importing.run()
            assert (refused.code, len(refused.err.splitlines())) == (1, 1), refused.err
            assert says in refused.err
        server.misfortunes = [(200, {})]
        server.words = '{"results": [{"id": "1"'
        cut = await importing.run()
        assert (cut.code, len(cut.err.splitlines())) == (1, 1)
        assert "cut or invalid JSON" in cut.err
        server.misfortunes, server.words = [(200, {})], "[1, 2]"
        assert "something else than an object" in (await importing.run()).err
        server.misfortunes, server.words = [(200, {})], '{"other": 1}'
        assert len((await importing.run()).err.splitlines()) == 1
        assert not importing.written()
        for header in ("Retry-After", "ratelimit-reset"):
            server.misfortunes = [(429, {header: "0"}), (503, {header: "0"})]
            limited = await importing.run("--force")
            assert limited.code == 2, limited.err
            assert "answered 429: waiting 0 s" in limited.err
    finally:
        await server.stop()


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.source)
async def test_a_source_that_cannot_be_reached_is_one_line(
    tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = stand_in(tool.source)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        server.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = await Importing(tool.source, server, tool.token, oncall_installation.NOW, tmp_path, capsys).run()
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "cannot be reached" in done.err


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.source)
async def test_a_folder_with_nobody_in_it_is_one_line(
    tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "users.json").write_text("[]", "utf-8")
    importing = Importing(tool.source, stand_in(tool.source), tool.token, oncall_installation.NOW, tmp_path, capsys)
    done = await importing.run_from("saved")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "no users" in done.err
    assert not importing.written()


async def test_secrets_that_are_missing_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importing = Importing("oncall", stand_in("oncall"), "x", oncall_installation.NOW, tmp_path, capsys)
    assert "set --url and --token-file" in (await importing.execute()).err
    (tmp_path / "token").write_text("", "utf-8")
    empty = await importing.execute("--url", "http://x.invalid", "--token-file", str(tmp_path / "token"))
    assert "holds no token" in empty.err
    gone = await importing.execute("--url", "http://x.invalid", "--token-file", str(tmp_path / "gone"))
    assert "cannot read" in gone.err


async def test_a_result_that_cannot_be_loaded_is_kept_beside_earlier_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = stand_in("pagerduty")
    layers = [{**test_pagerduty.layer("x", "2026-09-01T00:00:00Z", "2026-09-01T00:00:00Z", 10**18, [])}]
    layers[0]["users"] = test_pagerduty.turns("PA")
    server.lists["schedules"] = [  # type: ignore[attr-defined]
        {"id": "S9", "name": "x", "time_zone": "UTC", "schedule_layers": layers}
    ]
    await server.start()
    importing = Importing("pagerduty", server, pagerduty_api.TOKEN, oncall_installation.NOW, tmp_path, capsys)
    mine = tmp_path / "receiver.yml.rejected"
    mine.mkdir()  # not even a folder is in its way
    try:
        for _ in range(2):
            done = await importing.run("--force")
            assert done.code == 1
            assert "cannot be used and is in" in done.err
    finally:
        await server.stop()
    assert not importing.output.exists()
    names = ("receiver.yml.rejected", "receiver.yml.rejected.2", "receiver.yml.rejected.3")
    assert {path.name for path in importing.written()} == set(names)


async def test_a_moment_of_reading_that_no_calendar_can_add_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "users.json").write_text('[{"id": "A", "name": "Ana"}]', "utf-8")
    (saved / "about.json").write_text('{"source": "pagerduty", "taken_at": "9999-12-31T00:00:00Z"}', "utf-8")
    importing = Importing("pagerduty", stand_in("pagerduty"), "x", oncall_installation.NOW, tmp_path, capsys)
    done = await importing.run_from("saved", "--verify")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "invalid taken_at" in done.err
