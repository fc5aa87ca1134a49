"""The commands that act, as somebody types them, against the receiver's own API on a real socket."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from prometheus_client import CollectorRegistry

from process.settings import Secret
from process.web import require_bearer
from receiver.__main__ import main
from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.app import now
from receiver.incident.event import AlertsReceived, Event
from receiver.incident.machine import transition
from receiver.incident.model import AlertGroup, Decision, EntryKind, Incident, State
from receiver.incident.policy import Policy
from receiver.oncall.cover import Cover, CoverState
from receiver.store.audit import Act
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.api import IncidentApi, view
from receiver.web.duty_api import DutyApi
from tests.process.bounded_server import BoundedServer
from tests.receiver.config.test_config import EXAMPLE
from tests.receiver.example_site import an_alert, the_current

SESSION = web.AppKey("session", aiohttp.ClientSession)
Capture = pytest.CaptureFixture[str]


class Rig:
    """A receiver's API, and a command line that knows where it is."""

    def __init__(self, store: SQLStore, server: BaseTestServer, folder: Path, capsys: Capture) -> None:
        self.store, self.server, self._folder, self._capsys = store, server, folder, capsys

    async def fire(self, key: str, severity: str = "warning") -> int:
        group = AlertGroup(key, (an_alert(key, severity=severity),))
        incident = await self.store.update(AlertsReceived(group), the_current().routing, now())
        assert incident is not None
        return incident.id

    async def type(self, *words: str, url: str = "") -> tuple[int, str]:
        """The exit status, and what is printed; the command has a loop of its own, so it runs in a thread."""
        where = ("--receiver.url", url or str(self.server.make_url("/")), "--token.file", str(self._folder / "token"))
        status = await asyncio.to_thread(main, [*words, *where, "--as", "linh"])
        return status, " ".join(self.printed().split())

    def printed(self) -> str:
        """What was printed since the last time that somebody asked."""
        printed = self._capsys.readouterr()
        return printed.out + printed.err

    async def incident(self, number: int) -> Incident:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0]

    async def kinds(self, number: int) -> list[EntryKind]:
        stored = await self.store.incident(number)
        assert stored is not None
        return [entry.kind for entry in stored[1]]


@pytest.fixture
async def rig(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("COLUMNS", "200")  # so that no cell is wrapped, whatever today's date is
    store = SQLiteStore(tmp_path / "receiver.sqlite3", lambda: None)
    await store.open(now())
    current = the_current()
    actions = Actions(store, current, now, CollectorRegistry())
    routes = DutyApi(Duty(store, store.duty, current, now), actions, store, view).routes()
    app = web.Application()
    app.add_subapp("/api/v1", IncidentApi(store, actions, require_bearer(Secret("t"), "it is t")).application(routes))
    (tmp_path / "token").write_text("t\n", "utf-8")
    async with BoundedServer(app) as server:
        yield Rig(store, server, tmp_path, capsys)
    await store.close()


async def test_incidents_are_listed_and_shown(rig: Rig) -> None:
    assert await rig.type("incidents") == (0, "no incidents")
    await rig.fire("a")
    number = await rig.fire("b", "critical")
    _, listed = await rig.type("incidents")
    assert listed.index(f"{number} P1 triggered") < listed.index("P2 triggered")
    assert "nobody" in listed
    _, shown = await rig.type("incidents", str(number))
    assert "P1 opened for team backend" in shown
    assert (await rig.type("incidents", "99"))[0] == 1


async def test_a_night_on_the_command_line(rig: Rig) -> None:
    one, two = str(await rig.fire("a")), str(await rig.fire("b"))
    status, done = await rig.type("ack", one, two)
    assert (status, done.count("acknowledged")) == (0, 2)
    assert "snoozed until" in (await rig.type("snooze", one, "--for", "2h"))[1]
    await rig.type("take", one)
    await rig.type("handover", one, "--person", "marek")
    asked = (await rig.incident(int(one))).asked
    assert asked is not None
    assert asked.person == "marek"
    await rig.type("escalate", one, "--step", "1")
    await rig.type("note", one, "--text", "a bad deployment", "--tell")
    assert EntryKind.NOTED in await rig.kinds(int(one))
    await rig.type("unack", one)
    assert (await rig.incident(int(one))).acknowledged_by == ""
    status, refused = await rig.type("resolve", one)
    assert (status, "1 still firing" in refused, "--anyway" in refused) == (1, True, True)
    assert (await rig.type("resolve", one, "--anyway"))[0] == 0
    assert "no incidents" not in (await rig.type("incidents", "--state", "resolved"))[1]


async def test_incidents_are_attached_to_another_and_detached(rig: Rig) -> None:
    one, two, parent = [str(await rig.fire(key)) for key in "abc"]
    status, done = await rig.type("attach", one, two, "--to", parent)
    assert (status, done.count(f"attached to #{parent}")) == (0, 2)
    assert "tech-lead" not in done  # whose step is not taken while it is attached
    assert "tech-lead" in (await rig.type("incidents", parent))[1]
    assert (await rig.incident(int(two))).attached_to == int(parent)
    assert (await rig.type("attach", one, "--to", "99"))[0] == 1
    assert (await rig.type("detach", one))[0] == 0
    assert [(await rig.incident(int(number))).attached_to for number in (one, two)] == [0, int(parent)]


async def test_one_that_is_refused_keeps_no_other_from_it(rig: Rig) -> None:
    number = await rig.fire("a")
    status, said = await rig.type("ack", "99", str(number))
    assert status == 1
    assert "#99: no incident 99" in said
    assert (await rig.incident(number)).acknowledged_by == "linh"


async def test_what_is_over_is_shown_with_how_long_it_was_open(rig: Rig) -> None:
    for firing, ago in ((True, timedelta(hours=5)), (False, timedelta(hours=3))):
        began = now() - timedelta(hours=5)
        group = AlertGroup("a", (an_alert("a", firing=firing, starts_at=began, severity="warning"),))
        await rig.store.update(AlertsReceived(group), the_current().routing, now() - ago)
    _, said = await rig.type("incidents", "--state", "resolved")
    assert "P2 resolved 2h " in said


async def test_a_person_is_paged_with_a_text(rig: Rig) -> None:
    status, said = await rig.type("page", "the shop is down", "--person", "peter", "--priority", "P2")
    assert (status, "the shop is down" in said) == (0, True)
    assert (await rig.incident(1)).raised_by == "linh"
    status, said = await rig.type("page", "x", "--team", "nobody")
    assert (status, "no such person or team" in said) == (1, True)


async def test_covers_are_made_accepted_and_listed(rig: Rig) -> None:
    _, made = await rig.type("override", "make", "--out", "linh", "--from", "18:00", "--to", "08:00")
    assert "asked" in made
    assert "first to accept" in made
    status, said = await rig.type("override", "accept", "1")
    assert (status, "those whose shifts" in said) == (1, True)  # nobody covers themselves
    _, pager = await rig.type("override", "make", "--out", "marek", "--person", "linh", "--to", "2099-01-01")
    assert "31 days" in pager
    await rig.type("override", "make", "--out", "marek", "--person", "linh", "--to", "23:59")
    await rig.type("override", "cancel", "1")
    listed = (await rig.type("override", "list"))[1]
    assert "marek" in listed
    assert "first to accept" not in listed
    states = [one.state for one in await rig.store.duty.covers(now())]
    assert states == [CoverState.CANCELLED, CoverState.ACTIVE]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("snooze", "1", "--until", "tomorrow"), "--until 'tomorrow' is no time"),
        (("snooze", "1", "--for", "soon"), "--for: invalid duration"),
        (("override", "make", "--to", "9"), "is no time"),
        (("override", "make", "--to", "09:00", "--swap-from", "09:00"), "--swap-to"),
    ],
)
async def test_what_is_mistyped_is_named(rig: Rig, words: tuple[str, ...], said: str) -> None:
    status, printed = await rig.type(*words)
    assert (status, said in printed) == (1, True)


async def test_a_receiver_that_is_away_or_another_program_is_named(rig: Rig) -> None:
    status, said = await rig.type("incidents", url="http://127.0.0.1:9")
    assert (status, "cannot be asked" in said) == (1, True)
    status, said = await rig.type("incidents", url=str(rig.server.make_url("/elsewhere")))
    assert (status, "404" in said) == (1, True)
    status, said = await rig.type("incidents", url="oncall")
    assert (status, "--receiver.url" in said) == (1, True)


async def test_an_answer_that_is_lost_is_asked_for_again_and_done_once(rig: Rig, tmp_path: Path) -> None:
    number, lost = await rig.fire("a"), list[int]()

    async def loses(request: web.Request) -> web.StreamResponse:
        """A proxy between, which lets the request through and loses the first answer."""
        session = request.app[SESSION]
        url = rig.server.make_url(request.path)
        async with session.post(url, data=await request.read(), headers=request.headers) as answer:
            body = await answer.read()
        lost.append(answer.status)
        if len(lost) == 1 and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, body=body, content_type="application/json")

    proxy = web.Application()
    proxy.router.add_post("/{path:.*}", loses)
    async with aiohttp.ClientSession() as session:
        proxy[SESSION] = session
        async with TestServer(proxy) as between:
            status, _ = await rig.type("note", str(number), "--text", "once", url=str(between.make_url("/")))
    assert (status, lost) == (0, [200, 200])
    assert (await rig.kinds(number)).count(EntryKind.NOTED) == 1


async def test_explain_and_schedule_see_covers(rig: Rig, tmp_path: Path) -> None:
    until = now() + timedelta(days=2)
    cover = Cover("", "linh", "marek", now() - timedelta(minutes=5), until, CoverState.ACTIVE, made_by="marek")
    await rig.store.duty.change_covers(lambda _known: (cover,), now(), Act(now(), "marek", "", "", "cover.make", ""))
    database = ("--database", str(tmp_path / "receiver.sqlite3"))
    words = ("explain", "--config.file", str(EXAMPLE), "severity=critical", "team=backend", *database)
    assert await asyncio.to_thread(main, list(words)) == 0
    assert re.search(r"0m .* page +Marek Novak", rig.printed())
    assert await asyncio.to_thread(main, ["schedule", "--config.file", str(EXAMPLE), *database]) == 0
    assert re.search(r"on-call-engineer +Marek Novak", rig.printed())
    missing = ("--database", str(tmp_path / "missing.sqlite3"))
    assert await asyncio.to_thread(main, [*words[:-2], *missing]) == 1
    assert "no such database" in rig.printed()


SHIFT = """
tests:
  - name: a snooze ends with whoever snoozed it
    happens:
      - {at: 0m, fires: {alertname: HighErrorRate, severity: critical, team: backend}}
      - {at: 5m, snooze: {by: Linh Tran, for: 2h}}
    until: 2h6m
    expect: |
      0m   page         Linh Tran
      5m   acknowledged Linh Tran
      2h5m page         Linh Tran
  - name: help for whoever has it
    happens:
      - {at: 0m, fires: {alertname: HighErrorRate, severity: critical, team: backend}}
      - {at: 1m, acknowledge: Linh Tran}
      - {at: 2m, escalate: Linh Tran}
      - {at: 3m, hand_over: {by: Linh Tran, person: Peter Schmidt}}
      - {at: 4m, take_over: Peter Schmidt}
    until: 30m
    expect: |
      0m page         Linh Tran
      1m acknowledged Linh Tran
      2m page         Marek Novak
      3m page         Peter Schmidt
      4m update       Linh Tran
  - name: a cover takes the page
    happens:
      - {at: 0m, fires: {alertname: SlowResponseTime, severity: warning, team: backend}}
    covers: [{out: Linh Tran, person: Aisha Bello, to: 8h}]
    awake: {Linh Tran: 1h}
    until: 1m
    expect: |
      0m page Aisha Bello
  - name: a page by hand
    happens:
      - {at: 0m, page: {by: Aisha Bello, text: call me, person: Peter Schmidt, priority: P1}}
    until: 6m
    expect: |
      0m page   Peter Schmidt
      5m update Peter Schmidt
      5m update Aisha Bello
      5m page   Linh Tran
  - name: who is awake
    happens:
      - {at: 0m, fires: {alertname: SlowResponseTime, severity: warning, team: backend}}
    awake: {Linh Tran: 30m}
    until: 41m
    expect: |
      30m reminder Linh Tran
      40m page     Linh Tran
"""


def test_a_policy_test_knows_acts_covers_and_who_is_awake(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "test.yml").write_text(SHIFT, "utf-8")
    status = main(["test", str(tmp_path / "test.yml"), "--config.file", str(EXAMPLE)])
    assert (status, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("content", ["hp_x\ntoken 1, scope act, works until it is revoked\n", "\n", "hp_\x00"])
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, capsys: Capture, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, "utf-8")
    assert main(["incidents", "--receiver.url", "http://127.0.0.1:1", "--token.file", str(file)]) == 1
    assert capsys.readouterr().err == f"receiver: --token.file {file}: expected one line with a token\n"


async def test_one_that_takes_no_answer_is_said_and_the_others_are_answered(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = str(await rig.fire("a")), str(await rig.fire("b"))

    def raising(before: Incident, event: Event, policy: Policy, at: datetime) -> Decision:
        if before.id == int(one):
            raise ZeroDivisionError
        return transition(before, event, policy, at)

    monkeypatch.setattr("receiver.actions.answer.transition", raising)
    status, said = await rig.type("ack", one, two)
    assert status == 1
    assert f"#{one}: an error of the receiver keeps this incident from changing" in said
    assert (await rig.incident(int(two))).state is State.ACKNOWLEDGED
