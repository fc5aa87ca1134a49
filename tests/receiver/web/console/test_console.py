"""The console over HTTP: who sees what, what a press does, and what no alert may put into a page."""

import asyncio
import csv
import gzip
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import quote, urljoin

import icalendar
import msgspec
import pytest

from receiver.incident.event import Acknowledge, Paused, Resolve, TakeOver
from receiver.incident.model import Alert, Decision, EntryKind, Failure, Origin, Pause, PauseKind, State
from receiver.messages.i18n import Reader
from receiver.oncall.cover import CoverState, Refused
from receiver.oncall.schedule import Layer, Schedule
from receiver.policy.routing import Routing
from receiver.store.base import StoreError
from receiver.store.silences import MadeSilence
from receiver.web.access.viewer import StillSignedIn
from receiver.web.console.acts import Said
from receiver.web.console.duty_forms import told_text
from receiver.web.console.live import IncidentView
from receiver.web.console.now_page import Filter
from receiver.web.console.stream import Changes, Frame
from tests.receiver.example_site import START, beside, the_routing
from tests.receiver.web.console.rig import READER, Rig, a_console, alert, with_people

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'></hx-partial>"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_console(tmp_path) as made:
        yield made


def rows(page: str) -> list[str]:
    return re.findall(r'<li id="i-(\d+)"', page)


async def test_the_most_urgent_comes_first_and_says_who_is_next(rig: Rig) -> None:
    await rig.fire("minor", severity="warning")
    first = await rig.fire("major")
    rig.clock.forward(minutes=1)
    taken = await rig.fire("taken")
    await rig.apply(taken.id, Acknowledge("marek", Origin.API))
    page = await rig.get("/")
    assert rows(page) == [str(first.id), str(taken.id), "1"]
    assert "1 P1 and 1 P2 unanswered" in page
    assert "Marek has it" in page
    assert re.search(r"Nobody yet.*Marek.*2026-11-23T03:15:00Z", page)
    assert "default-src 'none'" in (await rig.client.get("/")).headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("query", "shown"),
    [("", "123"), ("?team=web", "2"), ("?priority=P2", "3"), ("?unanswered=1", "23"), ("?mine=1", "123")],
)
async def test_filters_are_in_the_address(rig: Rig, query: str, shown: str) -> None:
    await rig.fire("a")
    await rig.apply(1, Acknowledge("marek", Origin.API))
    rig.routing.teams["web"] = ()
    await rig.fire("b", team="web")
    await rig.fire("c", severity="warning")
    assert sorted(rows(await rig.get(f"/{query}"))) == list(shown)


async def test_what_is_paused_is_quiet(rig: Rig) -> None:
    await rig.fire()
    await rig.apply(1, Paused(Pause(PauseKind.SILENCE, "8f1c", "marek")))
    page = await rig.get("/")
    assert "Nothing is open" not in page
    assert "1 open, all answered" in page
    assert page.index('id="quiet"') < page.index('id="i-1"')


async def test_only_the_first_200_of_a_storm_are_shown(rig: Rig) -> None:
    for number in range(205):
        await rig.fire(f"k{number}")
    page = await rig.get("/")
    assert len(rows(page)) == 200
    assert "Show 5 more" in page
    everything = await rig.get("/?show=400")
    assert len(rows(everything)) == 205
    assert len(gzip.compress(everything.encode())) < 205 * 60  # bytes: 60 kB for a thousand


async def test_acknowledge_on_a_row_leads_back_to_the_same_filters(rig: Rig) -> None:
    await rig.fire()
    form = {"back": "priority=P1&evil=https://example.com"}
    answer = await rig.client.post("/incidents/1/acknowledge", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "../../?priority=P1&said=acknowledge.taken.1")
    assert (await rig.read(1)).acknowledged_by == "linh"
    assert "You have it." in await rig.get("/?priority=P1&said=acknowledge.taken.1")


async def test_the_script_of_the_page_gets_only_what_changed(rig: Rig) -> None:
    await rig.fire()
    answer = await rig.client.post("/incidents/1/acknowledge", data={"back": ""}, headers={"HX-Request": "true"})
    text = await answer.text()
    assert answer.status == 200
    assert rows(text) == ["1"]
    assert 'href="incidents/1"' in text  # its links count from where the page stands
    assert "<html" not in text


async def test_the_second_to_acknowledge_is_helping(rig: Rig) -> None:
    await rig.fire()
    await rig.apply(1, Acknowledge("marek", Origin.API))
    rig.clock.forward(seconds=20)
    page = await (await rig.client.post("/incidents/1/acknowledge")).text()
    assert "Marek acknowledged 20s before you. You are listed as helping." in page


async def test_several_are_acknowledged_at_once(rig: Rig) -> None:
    for key in "abc":
        await rig.fire(key)
    fields = [("back", ""), ("incident", "1"), ("incident", "3"), ("incident", "999"), ("incident", "x")]
    page = await (await rig.client.post("/incidents/acknowledge", data=fields)).text()
    assert "2 incidents acknowledged." in page
    assert [(await rig.read(n)).state for n in (1, 2, 3)] == [State.ACKNOWLEDGED, State.TRIGGERED, State.ACKNOWLEDGED]


async def test_what_fires_is_resolved_only_when_that_was_seen(rig: Rig) -> None:
    await rig.fire()
    asked = await rig.client.post("/incidents/1/resolve")
    page = await asked.text()
    assert "1 alert is still firing. Resolve anyway?" in page
    assert (await rig.read(1)).state is State.TRIGGERED
    form = dict(re.findall(r'name="(confirm|begun)" value="(\d+)"', page))
    page = await (await rig.client.post("/incidents/1/resolve", data=form)).text()
    assert "Resolved manually by Linh" in page
    undo = dict(re.findall(r'name="(resolve)" value="(\d+)"', page))
    await rig.client.post("/incidents/1/undo", data=undo)
    assert (await rig.read(1)).state is State.TRIGGERED


async def test_of_several_those_that_fire_are_not_resolved_and_that_is_said(rig: Rig) -> None:
    for key in "abc":
        await rig.fire(key)
    fields = [("back", ""), *(("incident", str(number)) for number in (1, 2, 3))]
    page = await (await rig.client.post("/incidents/resolve", data=fields)).text()
    assert "3 incidents still fire and are not resolved." in page
    async with rig.client.post("/incidents/resolve", data=fields, headers={"HX-Request": "true"}) as answer:
        assert "3 incidents still fire and are not resolved." in await answer.text()
    assert [(await rig.read(n)).state for n in (1, 2, 3)] == [State.TRIGGERED] * 3


async def test_a_reader_sees_no_button_and_may_press_none(rig: Rig) -> None:
    rig.viewer = READER
    await rig.fire()
    for path in ("/", "/incidents/1"):
        page = await rig.get(path)
        assert "acknowledge" not in page.lower().split("<dialog")[0]
    for path in ("/incidents/1/acknowledge", "/incidents/acknowledge"):
        assert (await rig.client.post(path)).status == 403
    assert (await rig.read(1)).state is State.TRIGGERED


async def told(rig: Rig, act: str, **form: str) -> str:
    """Press a button of the incident's page and read what is shown then."""
    async with rig.client.post(f"/incidents/1/{act}", data=form) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_every_act_has_a_form_that_does_it(rig: Rig) -> None:
    await rig.fire()
    await rig.fire("two")
    page = await rig.get("/incidents/1")
    acts = set(re.findall(r'action="1/(\w+)"', page))
    assert acts == {"acknowledge", "snooze", "handover", "escalate", "resolve", "attach", "note", "maintenance"}
    assert "Escalate now: pages Marek" in page
    assert "Marek is asked to take it over." in await told(rig, "handover", whom="person:marek")
    assert "Escalates to Aisha" in await told(rig, "escalate", step="1")
    assert "Snoozed by Linh until 04:00." in await told(rig, "snooze", until="60")
    assert "Marek has it" not in await told(rig, "takeover")
    assert "Nobody has it yet." in await told(rig, "unacknowledge")
    assert "Attached to" in await told(rig, "attach", to="#2")
    assert re.search("1 quiet.*Attached to", await rig.get("/"), re.DOTALL)
    assert "Attached to" not in (await told(rig, "detach")).split("Timeline")[0]
    assert "the cable is out" in await told(rig, "note", text=" the cable is out ", form="a")
    await told(rig, "note", text="the cable is out", form="a")  # sent twice
    await told(rig, "note", text="   ")
    stored = await rig.store.incident(1)
    assert stored is not None
    assert [entry.kind for entry in stored[1]].count(EntryKind.NOTED) == 1


@pytest.mark.parametrize(
    ("act", "form", "says"),
    [
        ("snooze", {"until": "999"}, "A snooze ends within 24 hours"),
        ("snooze", {"until": "@9999999999"}, "A snooze ends within 24 hours"),
        ("snooze", {}, "A snooze ends within 24 hours"),
        ("handover", {"whom": "person:nobody"}, "Nobody can be reached there."),
        ("handover", {}, "Nobody can be reached there."),
        ("attach", {"to": "1"}, "It can&#39;t be attached there"),
        ("attach", {"to": "x" * 99}, "It can&#39;t be attached there"),
        ("detach", {}, "Nobody has it yet."),
    ],
)
async def test_an_act_that_cannot_be_done_says_why(rig: Rig, act: str, form: dict[str, str], says: str) -> None:
    await rig.fire()
    assert says in await told(rig, act, **form)
    assert (await rig.read(1)).state is State.TRIGGERED


async def test_script_in_a_note_stays_text(rig: Rig) -> None:
    await rig.fire()
    page = await told(rig, "note", text=SCRIPT)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


async def test_somebody_is_paged_by_hand(rig: Rig) -> None:
    page = await rig.get("/raise")
    key = re.findall(r'name="form" value="([^"]+)"', page)[0]
    form = {"form": key, "whom": "person:marek", "priority": "P2", "text": "The office is on fire"}
    for _ in range(2):  # sent twice, paged once
        async with rig.client.post("/raise", data=form) as answer:
            assert answer.url.path == "/incidents/1"
            assert "The office is on fire" in await answer.text()
    refused = await rig.client.post("/raise", data={**form, "whom": "person:nobody", "form": "other"})
    assert refused.status == 422
    assert "The office is on fire</textarea>" in await refused.text()
    rig.viewer = READER
    assert (await rig.client.post("/raise", data=form)).status == (await rig.client.get("/raise")).status == 403


async def test_several_are_attached_to_the_first_or_snoozed(rig: Rig) -> None:
    for key in "abc":
        await rig.fire(key)
    fields = [("incident", "2"), ("incident", "1"), ("incident", "3"), ("until", "30")]
    assert "2 incidents attached." in await (await rig.client.post("/incidents/attach", data=fields)).text()
    assert [(await rig.read(n)).attached_to for n in (1, 2, 3)] == [2, 0, 2]
    assert (
        "incident snoozed." in await (await rig.client.post("/incidents/snooze", data=fields[:1] + fields[3:])).text()
    )
    assert (await rig.client.post("/incidents/note", data=fields)).status == 404


async def test_there_is_no_such_incident_or_act(rig: Rig) -> None:
    assert (await rig.client.get("/incidents/7")).status == 404
    assert (await rig.client.post("/incidents/7/frobnicate")).status == 404
    page = await (await rig.client.post("/incidents/7/acknowledge", data={"back": ""})).text()
    assert "The incident no longer exists." in page


async def test_one_incident_in_the_order_of_three_in_the_morning(rig: Rig) -> None:
    await rig.fire()
    page = await rig.get("/incidents/1")
    parts = [
        "Nobody has it yet.",
        "Escalates to Marek",
        "Acknowledge",
        "What to do",
        "Alerts and labels (1)",
        "Timeline",
    ]
    assert sorted(parts, key=page.index) == parts
    assert "https://wiki.example.com/errors" in page
    await rig.apply(1, Resolve("alerts", Origin.API))
    rig.clock.forward(minutes=2)
    assert "Resolved by Alertmanager at 03:00. Nothing to do." in await rig.get("/incidents/1")


NOTE = "INSERT INTO timeline (incident_id, at, kind, data, actor, text) VALUES (1, ?, 'noted', ?, 'linh', '')"


async def test_a_long_timeline_is_read_page_by_page_and_hides_no_silence(rig: Rig, tmp_path: Path) -> None:
    await rig.fire()
    until = START + timedelta(hours=2)
    made = MadeSilence("8f1c", "oncall", 1, "marek", ("alertname=A",), SCRIPT, START, until)
    await rig.store.silences.keep(made, None)
    over = msgspec.structs.replace(made, id="9a9a", made_by="aisha", over_at=START)
    await rig.store.silences.keep(over, None)
    with beside(tmp_path) as db:
        notes = (f'{{"text": "note-{number}."}}' for number in range(1, 451))
        db.executemany(NOTE, [(START.timestamp(), note) for note in notes])
    for first in ("/incidents/1", await rig.link(1)):
        page, path, read = await rig.get(first), first, list[int]()
        assert "Marek silenced it until" in page
        assert "Aisha silenced it" not in page
        while True:
            found = [int(number) for number in re.findall(r"note-(\d+)\.", page)]
            assert 0 < len(found) <= 200
            read += found
            older = re.findall(r'href="([^"]*timeline\?skip=\d+)"[^>]*>Older', page)
            if not older:
                break
            path = urljoin(path, unescape(older[0]))
            page = await rig.get(path)
        assert read == list(range(450, 0, -1))
        assert "opened for team" in page
        (back,) = re.findall(r'<a href="([^"]*)">#1 ', page)
        assert urljoin(path, back) == first
    for odd in ("9" * 30, "-1", "x"):
        assert "note-450." in await rig.get(f"/incidents/1/timeline?skip={odd}")
    assert "note-" not in await rig.get("/incidents/1/timeline?skip=99999")
    assert (await rig.client.get("/incidents/2/timeline")).status == 404
    assert (await rig.client.get("/answer/x/timeline")).status == 403


async def test_script_in_labels_and_annotations_stays_text(rig: Rig) -> None:
    labels = {"alertname": SCRIPT, "severity": "critical", "team": SCRIPT, "instance": SCRIPT, SCRIPT: SCRIPT}
    told = {"summary": SCRIPT, "description": SCRIPT, "runbook_url": "javascript:alert(1)"}
    await rig.fire("x", Alert("x", True, START, None, labels, told, f"https://example.com/{SCRIPT}"))  # noqa: FBT003  # it fires
    await rig.apply(1, Acknowledge(SCRIPT, Origin.API))
    for path in ("/", "/incidents/1", f"/?team={SCRIPT}&said={SCRIPT}"):
        page = await rig.get(path)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "javascript:" not in page
        assert "</hx-partial>" not in page


async def test_long_labels_and_thousands_of_alerts_stay_readable(rig: Rig) -> None:
    many = [alert(f"n{number}", pod="x" * 10_000 if number < 30 else "y") for number in range(10_000)]
    await rig.fire("storm", *many)
    page = await rig.get("/incidents/1")
    assert "and 9980 more" in page
    assert len(page) < 100_000
    assert len(await rig.get("/")) < 20_000


async def test_a_reader_has_a_language_and_a_zone(tmp_path: Path) -> None:
    async with a_console(tmp_path, with_people(the_routing(), language="de", zone="Asia/Ho_Chi_Minh")) as rig:
        await rig.fire()
        page = await rig.get("/incidents/1")
        assert 'lang="de"' in page
        assert "Noch niemand ist dran." in page
        assert "um 10:15" in page
        rig.viewer = READER
        assert 'lang="de"' in await rig.get("/", **{"Accept-Language": "de-AT"})


async def test_files_are_kept_by_browsers_and_packed(rig: Rig) -> None:
    page = await rig.get("/")
    paths = re.findall(r'(?:href|src)="(static/[^"]+)"', page)
    assert len(paths) == 5
    for path in paths:
        answer = await rig.client.get(f"/{path}", headers={"Accept-Encoding": "gzip"})
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
    assert (await rig.client.get("/static/console.css")).status == 404


def test_pages_hold_nothing_that_their_policy_blocks() -> None:
    for path in Path("receiver/web").rglob("templates/*"):
        text = path.read_text("utf-8")
        assert not re.search(r"<style|\sstyle=|<script(?! defer src)|\son\w+=|hx-on|js:|hx-trigger=\"[^\"]*\[", text), (
            path
        )


@pytest.mark.parametrize("text", ["", "acknowledge", "acknowledge.taken", "x.taken.1", "acknowledge.taken.-1", SCRIPT])
def test_what_a_query_says_is_read_or_left_out(text: str) -> None:
    assert Said.read(text) is None


def test_a_filter_survives_its_query() -> None:
    chosen = Filter("backend", "P1", "linh", unanswered=True, shown=400)
    assert (
        Filter.read({"team": "backend", "priority": "P1", "mine": "1", "unanswered": "1", "show": "400"}, "linh")
        == chosen
    )
    assert chosen.query == "team=backend&priority=P1&mine=1&unanswered=1&show=400"
    assert Filter.read({"priority": "P9", "show": "9" * 40}, "") == Filter()


async def read_events(rig: Rig, path: str, count: int, headers: dict[str, str] | None = None) -> list[dict[str, str]]:
    """Read events of a stream, without the first tick."""
    events: list[dict[str, str]] = []
    async with asyncio.timeout(20), rig.client.get(path, headers=headers) as answer:
        assert answer.status == 200
        fields: dict[str, str] = {}
        while len(events) <= count:
            line = (await answer.content.readline()).decode().rstrip("\r\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value
            elif fields:
                events.append(fields)
                fields = {}
                if len(events) == 1:
                    rig.connected.release()
    return events[1:]


async def test_open_pages_hear_of_a_change_once_for_all(rig: Rig) -> None:
    await rig.fire()
    position = rig.streams.position
    listening = [
        asyncio.ensure_future(read_events(rig, f"/{path}?after={position}", 1))
        for path in ("stream", "incidents/1/stream")
    ]
    await rig.connected.acquire()
    await rig.connected.acquire()
    await rig.apply(1, Acknowledge("marek", Origin.API))
    (now,), (incident,) = await asyncio.gather(*listening)
    assert now["id"] == incident["id"] == rig.streams.position
    assert 'hx-target="#i-1"' in now["data"]
    assert "Marek has it" in now["data"]
    assert "1 open, all answered" in now["data"]
    assert 'hx-target="#incident"' in incident["data"]


async def test_a_page_that_has_missed_something_fetches_itself_again(rig: Rig) -> None:
    await rig.fire()
    for headers, query in (
        ({"Last-Event-ID": "elsewhere-1"}, f"after={rig.streams.position}"),
        ({}, "after=test-0"),
        ({}, ""),
    ):
        (event,) = await read_events(rig, f"/stream?{query}", 1, headers)
        assert event["event"] == "refresh"


async def test_a_new_incident_is_put_where_its_priority_stands(rig: Rig) -> None:
    listening = asyncio.ensure_future(read_events(rig, f"/stream?unanswered=1&after={rig.streams.position}", 1))
    await rig.connected.acquire()
    await rig.fire()
    (event,) = await listening
    assert 'hx-target="#p-P1" hx-swap="beforeend"' in event["data"]
    assert 'hx-target="#ring"' in event["data"]


async def test_a_page_that_cannot_be_written_stops_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_view: IncidentView, _changes: Changes) -> Frame | None:
        raise ValueError("a label that no template can write")

    monkeypatch.setattr(IncidentView, "frame", broken)
    await rig.fire()
    for state in ("Marek has it", "Linh has it"):
        after = f"after={rig.streams.position}"
        listening = [
            asyncio.ensure_future(read_events(rig, f"/{path}?{after}", 1)) for path in ("incidents/1/stream", "stream")
        ]
        await rig.connected.acquire()
        await rig.connected.acquire()
        await rig.apply(1, TakeOver(state.partition(" ")[0].lower(), Origin.API))
        (lost,), (now,) = await asyncio.gather(*listening)
        assert lost["event"] == "refresh"
        assert state in now["data"]


async def test_a_store_that_is_away_signs_nobody_out() -> None:
    async def away() -> bool:
        raise StoreError("locked")

    async def ended() -> bool:
        return False

    assert await StillSignedIn(away)()
    assert not await StillSignedIn(ended)()


async def test_the_audit_log_says_from_where_a_link_was_used(rig: Rig) -> None:
    for key in ("a", "b", "c"):
        await rig.fire(key)
    await rig.client.post(f"{await rig.link(1)}/acknowledge")
    await rig.client.post(await rig.link(2, 3), data={"verb": "acknowledge"})
    log = await rig.store.access.audit(None, 10)
    assert {(act.object, act.via, act.ip) for act in log} == {(f"incident/{n}", "link", "127.0.0.1") for n in (1, 2, 3)}


async def test_stopping_ends_every_stream(rig: Rig) -> None:
    answer = await rig.client.get("/stream")
    await answer.content.readline()
    await rig.streams.stop()
    await asyncio.wait_for(answer.read(), 20)


async def test_the_history_counts_searches_and_is_exported(rig: Rig) -> None:
    await rig.fire("a", alertname="DiskFull", severity="warning")
    rig.clock.forward(minutes=4)
    await rig.apply(1, Acknowledge("linh", Origin.API))
    await rig.apply(1, Resolve("linh", Origin.API))
    await rig.fire("b", alertname="=HYPERLINK(1)")
    page = await rig.get("/history")
    assert re.findall(r"<dt>(.*?)</dt><dd(?: class=\"bad\")?>(.*?)</dd>", page)[:2] == [
        ("Incidents", "2"),
        ("Still open", "1"),
    ]
    assert "answered after 4m (Linh)" in page
    for query, count in (("disk", 1), ("instance=b:9100", 1), ("%232", 1), ("nothing", 0), ("alertname=DiskFull", 1)):
        assert f"{count} incident" in await rig.get(f"/history?q={query}&days=30")
    assert "No incident in this period." in await rig.get("/history?team=frontend&days=x")
    exported = list(csv.reader((await rig.get("/history.csv?days=30")).splitlines()))
    assert [line[0] for line in exported] == ["incident", "1", "2"]
    assert exported[2][3].startswith("'=HYPERLINK")
    rig.clock.forward(days=2)
    assert "No incident in this period." in await rig.get("/history?days=1")


def with_a_gap() -> Routing:
    """Linh and Marek take turns by the day; the tech lead's week ends with nobody."""
    daily = Layer("UTC", date(2026, 11, 16), 540, timedelta(days=1), (("linh",), ("marek",)))
    ends = Layer("UTC", date(2026, 11, 16), 540, timedelta(days=7), (("aisha",),), end=START + timedelta(days=1))
    schedules = {"primary": Schedule("primary", "UTC", (daily,)), "leads": Schedule("leads", "UTC", (ends,))}
    routing = the_routing()
    roles = {**routing.roles, "on-call-engineer": ("primary",), "tech-lead": ("leads",)}
    return msgspec.structs.replace(routing, schedules=schedules, roles=roles)


async def test_the_week_says_who_is_on_call_next_and_when_nobody_is(tmp_path: Path) -> None:
    async with a_console(tmp_path, with_a_gap()) as rig:
        page = await rig.get("/on-call")
        assert "You are on-call engineer" in page
        assert "nobody is tech lead" in page
        assert page.count('class="shift sgap"') == 1
        assert page.count("<title>Linh:") == 4
        (feed,) = re.findall(r'href="(calendar/[^"]+)"', page)
        answer = await rig.client.get(f"/{feed}", headers={"X-Viewer": "guest"})
        events = icalendar.Calendar.from_ical(await answer.read()).walk("VEVENT")
        assert (answer.status, answer.content_type) == (200, "text/calendar")
        assert {str(event["transp"]) for event in events} == {"TRANSPARENT"}
        assert START + timedelta(days=179) < max(event.decoded("dtend") for event in events)
        assert len({str(event["uid"]) for event in events}) == len(events) > 80
        forged = feed.replace(feed.split(".")[0], "calendar/" + "bWFyZWs")
        for wrong in (forged, "calendar/x.ics", f"{feed}x", "calendar/" + "a" * 999):
            assert (await rig.client.get(f"/{wrong}")).status == 404


async def test_the_calendar_of_who_has_left_ends_with_them(tmp_path: Path) -> None:
    async with a_console(tmp_path, with_a_gap()) as rig:
        (feed,) = re.findall(r'href="(calendar/[^"]+)"', await rig.get("/on-call"))
        assert (await rig.client.get(f"/{feed}")).status == 200
        people = {key: person for key, person in rig.routing.people.items() if key != "linh"}
        rig.current.exchange(msgspec.structs.replace(rig.routing, people=people))
        assert (await rig.client.get(f"/{feed}")).status == 404


async def test_the_policy_shows_the_matrix_and_what_would_happen(rig: Rig) -> None:
    page = await rig.get("/policy")
    assert re.search(r"15m</th><td[^>]*>tech lead</td><td[^>]*></td><td[^>]*>on-call engineer</td>", page)
    query = "labels=%7Bseverity%3D%22critical%22%2C+team%3Dbackend%7D&at=2026-11-23T03:00"
    page = await rig.get(f"/policy?{query}")
    steps = re.findall(r"<tr><td[^>]*>(\w+)</td>.*?>Page</td><td[^>]*><b>(\w+)</b></td>", page)
    assert [step for step in steps if step[1] != "team"] == [
        ("0s", "Linh"),
        ("15m", "Marek"),
        ("30m", "Aisha"),
        ("1h", "Peter"),
    ]
    assert "No labels found." in await rig.get("/policy?labels=what")
    hostile = await rig.get(f"/policy?labels=severity=critical,team={quote(SCRIPT)}&at={quote(SCRIPT)}")
    assert "<script>alert" not in hostile


async def test_the_status_says_what_does_not_work(rig: Rig, tmp_path: Path) -> None:
    await rig.fire()
    await rig.store.beat("alertmanager", rig.clock.now)
    (claimed, *_) = await rig.store.claim("email", rig.clock.now, 60, 1)
    await rig.store.dead(claimed, Failure.REFUSED, f"550 {SCRIPT}", Decision, Decision, rig.clock.now)
    page = await rig.get("/status")
    assert "last heard" in page
    assert "never compared" in page
    assert "550 &lt;script&gt;" in page
    assert re.search(r">PagerDuty</th><td[^>]*><span>0</span></td><td[^>]*><span>1 ", page)
    rig.clock.forward(minutes=10)
    assert 'class="bad">✗</span> last heard' in await rig.get("/status")
    assert "stops the escalation" not in page
    rig.metrics.stuck.set(3)
    assert "stops the escalation: 3." in await rig.get("/status")
    with beside(tmp_path) as other:
        other.execute("ALTER TABLE outbox RENAME TO lost")
    assert "The database cannot be used" in await rig.get("/status")


HIDDEN = "Er\u202egnp\u2066r\x00\x1b[31m\u2028or\u200b"


async def test_no_page_shows_what_hides_or_turns_text(rig: Rig) -> None:
    await rig.fire("a", alertname=HIDDEN, service=HIDDEN)
    await rig.client.post("/incidents/1/note", data={"text": HIDDEN})
    asked = quote(HIDDEN)
    paths = ["/", f"/?team={asked}", "/incidents/1", "/history", f"/history?q={asked}", f"/policy?labels=a={asked}"]
    for path in (*paths, "/history.csv"):
        page = await rig.get(path)
        assert {c for c in page if not (c.isprintable() or c in "\r\n")} == set(), path
        assert len(page) > 60


async def test_a_note_and_a_raise_without_anything_to_read_do_nothing(rig: Rig) -> None:
    await rig.fire("a")
    for blank in ("", " \u200b", "\x00"):
        await rig.client.post("/incidents/1/note", data={"text": blank})
        raised = await rig.client.post("/raise", data={"text": blank, "whom": "person:marek", "priority": "P1"})
        assert raised.status == 422
    stored = await rig.store.incident(1)
    assert stored is not None
    assert EntryKind.NOTED not in {entry.kind for entry in stored[1]}


@pytest.mark.parametrize("at", ["0001-01-01T00:00", "9999-12-31T23:59", "0001-01-01T00:00+14:00", "2126-01-01T00:00"])
async def test_times_at_the_ends_of_the_calendar_are_refused(tmp_path: Path, at: str) -> None:
    async with a_console(tmp_path, with_people(the_routing(), zone="Asia/Ho_Chi_Minh")) as rig:
        asked = await rig.client.post("/on-call/cover", data={"person": "marek", "start": at, "end": at})
        assert asked.status == 200
        assert "2026-11-23" in await rig.get(f"/policy?labels=severity%3Dcritical&at={quote(at)}")


@pytest.mark.parametrize("refused", Refused)
def test_whatever_is_refused_about_a_cover_has_words(refused: Refused) -> None:
    for language in ("en", "de"):
        assert told_text(refused.value, Reader(language))


async def test_a_cover_is_asked_for_accepted_and_changes_who_is_on_call(tmp_path: Path) -> None:
    async with a_console(tmp_path, with_a_gap()) as rig:
        times = {"start": "2026-11-23T03:00", "end": "2026-11-23T05:00"}
        asked = await rig.client.post("/on-call/cover", data={**times, "person": "", "reason": SCRIPT})
        page = await asked.text()
        assert "You keep the pager until somebody accepts." in page
        assert "not accepted yet" in page
        assert "/accept" not in page  # nobody covers for themselves
        marek = {"X-Viewer": "marek"}
        (accept,) = re.findall(r'action="(on-call/covers/\d+/accept)"', await rig.get("/on-call", **marek))
        page = await (await rig.client.post(f"/{accept}", headers=marek)).text()
        assert "Done: pages go there from then on." in page
        assert "Marek for Linh" in page
        page = await rig.get("/on-call")
        assert re.search(r"<h2>on-call engineer</h2>\n<p><b>Marek</b>", page)
        (cancel,) = re.findall(r'action="(on-call/covers/\d+/cancel)"', page)
        assert "Cancelled." in await (await rig.client.post(f"/{cancel}")).text()
        assert re.search(r"<h2>on-call engineer</h2>\n<p><b>Linh</b>", await rig.get("/on-call"))
        taken = {"what": "take", "schedule": "leads", "end": "2026-11-23T06:00"}
        assert "Linh takes leads" in await (await rig.client.post("/on-call/cover", data=taken)).text()
        wrong = await rig.client.post("/on-call/cover", data={**times, "person": "linh"})
        assert "Choose somebody else" in await wrong.text()
        assert (await rig.client.post("/on-call/cover", headers={"X-Viewer": "guest"})).status == 403


async def test_two_shifts_are_swapped(tmp_path: Path) -> None:
    async with a_console(tmp_path, with_a_gap()) as rig:
        swap = {"what": "swap", "person": "marek", "start": "2026-11-23T03:00", "end": "2026-11-23T05:00"}
        back = {"back-start": "2026-11-24T03:00", "back-end": "2026-11-24T05:00"}
        page = await (await rig.client.post("/on-call/cover", data={**swap, **back})).text()
        assert "You keep the pager until somebody accepts." in page
        assert {"Marek for Linh", "Linh for Marek"} == set(re.findall(r"<b>(\w+ for \w+)</b>", page))
        marek = {"X-Viewer": "marek"}
        (accept,) = re.findall(r'action="(on-call/covers/\d+/accept)"', await rig.get("/on-call", **marek))
        await rig.client.post(f"/{accept}", headers=marek)
        covers = await rig.store.duty.covers(rig.clock.now)
        assert [(one.out, one.person, one.state) for one in covers] == [
            ("linh", "marek", CoverState.ACTIVE),
            ("marek", "linh", CoverState.ACTIVE),
        ]
        wrong = await rig.client.post("/on-call/cover", data=swap)  # without the other's shift
        assert "It must end after it begins" in await wrong.text()


async def test_a_shift_is_summed_up_for_who_comes_next(tmp_path: Path) -> None:
    async with a_console(tmp_path, with_a_gap()) as rig:
        first = await rig.fire(summary=SCRIPT)
        await rig.apply(first.id, Acknowledge("linh", Origin.API))
        (path,) = re.findall(r'href="(on-call/handover\?role=on-call-engineer)"', await rig.get("/on-call"))
        page = await rig.get(f"/{path}")
        assert "Hand-over, on-call engineer: Marek" in page
        assert f'href="../incidents/{first.id}"' in page
        assert "1 incident is open" in page
        assert page == await rig.get("/on-call/handover?role=unknown")  # the role that Linh holds
        assert 'href="on-call/handover"' in await rig.get("/history")


async def test_who_is_awake_takes_what_is_new_and_then_keeps_it_or_gives_it_back(rig: Rig) -> None:
    page = await (await rig.client.post("/awake/on")).text()
    assert re.search(r"Awake until <time[^>]*>03:30", page)
    rig.routing = rig.current.routing
    await rig.fire(severity="warning")
    assert "Linh has it" in await rig.get("/")
    page = await (await rig.client.post("/awake/off")).text()
    assert "1 incident taken while you were awake" in page
    page = await (await rig.client.post("/awake/giveback")).text()
    assert "taken while you were awake" not in page
    assert (await rig.read(1)).state is State.TRIGGERED


async def test_what_fires_is_put_under_maintenance(rig: Rig) -> None:
    await rig.fire()
    assert "Paused by maintenance" in await told(rig, "maintenance", minutes="60")
    assert "1 quiet" in await rig.get("/")


async def test_maintenance_that_cannot_begin_says_so(rig: Rig) -> None:
    raised = {"text": "the shop is down", "whom": "person:marek", "priority": "P1"}
    await rig.client.post("/raise", data=raised)
    assert "No maintenance was started" in await told(rig, "maintenance", minutes="60")  # it has no alert with labels


EXAMPLE = Path("deploy/config/receiver.yml").read_text("utf-8")


async def test_the_policy_replays_the_past_under_an_edited_file(rig: Rig) -> None:
    await rig.fire()
    rig.clock.forward(minutes=5)
    page = await (await rig.client.post("/policy/replay", data={"file": EXAMPLE, "days": "7"})).text()
    assert "1 incident of the past" in page
    assert "Every incident pages the same people" in page
    wrong = await (await rig.client.post("/policy/replay", data={"file": f"{SCRIPT}: 1", "days": "x"})).text()
    assert "receiver.yml" in wrong
    assert "<script>alert" not in wrong
    assert (await rig.client.post("/policy/replay", headers={"X-Viewer": "guest"})).status == 403
