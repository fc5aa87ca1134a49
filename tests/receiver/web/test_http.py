"""The receiver's HTTP side: Alertmanager in, people in, and what each is answered."""

import gzip
import html
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from process.settings import Secret
from process.web import require_bearer
from receiver.actions.answer import Actions
from receiver.incident.event import AlertsReceived, Resolve
from receiver.incident.model import AlertGroup, Decision, EntryKind, Incident, Origin, Pause, PauseKind, Plan, State
from receiver.messages.i18n import Reader
from receiver.messages.link import DigestGrant, Grant, sign, sign_digest
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Person
from receiver.store.sql.store import SQLStore
from receiver.web.alertmanager_webhook import AlertmanagerWebhook
from receiver.web.answer_pages import AnswerPages
from receiver.web.api import IncidentApi
from receiver.web.console.board import Board
from receiver.web.console.layout import Layout
from receiver.web.console.stream import Streams
from tests.process.bounded_server import BoundedServer
from tests.receiver import stores
from tests.receiver.example_site import (
    MINUTE,
    START,
    Clock,
    a_store,
    an_alert,
    beside,
    deciding,
    of_group,
    received,
    refusing,
    the_current,
    the_policy,
    the_routing,
)
from tests.receiver.web.test_alertmanager import PAYLOAD, encoded, with_alert

HOOK = {"Authorization": "Bearer hook-token"}
API = {"Authorization": "Bearer api-token"}
SECRET = "s" * 32


class Rig:
    def __init__(self, client: TestClient[web.Request, web.Application], store: SQLStore, folder: Path) -> None:
        self.client, self.store, self.folder = client, store, folder
        self.metrics = Metrics(["email"])
        self.clock = Clock()

    async def fire(self) -> int:
        answer = await self.client.post("/webhook/alertmanager", data=encoded(), headers=HOOK)
        assert answer.status == 200
        return int((await answer.json())["incident"])

    async def state(self, number: int) -> State:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0].state

    def link(self, number: int, person: str = "Linh", seconds: int = 7 * 86400) -> str:
        return f"/answer/{sign(Grant(number, person, int(START.timestamp()) + seconds), SECRET)}"

    def answers(self, source: str, outcome: str) -> float | None:
        labels = {"source": source, "outcome": outcome}
        return self.metrics.registry.get_sample_value("receiver_answers_total", labels)

    def webhooks(self, code: int, source: str = "alertmanager") -> float | None:
        labels = {"code": str(code), "source": source}
        return self.metrics.registry.get_sample_value("receiver_webhook_requests_total", labels)


ENGLISH = Reader()
GERMAN = Reader("de", "Europe/Berlin")


@pytest.fixture
async def rig(
    tmp_path: Path,
) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    metrics = Metrics(["email"])
    app = web.Application()
    sources = {"alertmanager": (), "eu": ("oncall", "oncall-copy"), "us": ()}
    webhook = AlertmanagerWebhook(store, the_current(), Secret("hook-token"), metrics, clock, sources=sources)
    actions = Actions(store, the_current(), clock, metrics.registry)
    app.add_subapp("/webhook", webhook.application())
    app.add_subapp(
        "/api/v1", IncidentApi(store, actions, require_bearer(Secret("api-token"), "it is the api.token")).application()
    )
    jonas = Person("Jonas Weber", (), language="de", zone="Europe/Berlin")
    current = the_current(msgspec.structs.replace(the_routing(), people={**the_routing().people, "jonas": jonas}))
    streams = Streams(Board(store, clock), "test")
    pages = AnswerPages(
        store, actions, current, Secret(SECRET), silences=store.silences, layout=Layout(), streams=streams
    )
    app.add_subapp("/answer", pages.application())
    async with TestClient(BoundedServer(app)) as client:
        made = Rig(client, store, tmp_path)
        made.metrics, made.clock = metrics, clock
        yield made
    await store.close()


async def test_what_is_answered_200_is_on_the_disk(rig: Rig) -> None:
    number = await rig.fire()
    with beside(rig.folder) as other:
        assert other.execute("SELECT id, state FROM incident").fetchall() == [(number, "triggered")]
        assert other.execute("SELECT count(*) FROM outbox WHERE state = 'pending'").fetchone() == (3,)


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (encoded(), {}, 401, "Authorization"),
        (encoded(), {"Authorization": "Bearer wrong"}, 401, "Authorization"),
        (encoded(), {"Authorization": "Bearer \xff\xfe"}, 401, "Authorization"),
        (encoded(version="5"), HOOK, 400, "version"),
        (b'{"version": "4"', HOOK, 400, "version 4"),
        (with_alert(labels={"a": []}), HOOK, 400, "alerts[0].labels"),
        (b"not gzip", {**HOOK, "Content-Encoding": "gzip"}, 400, "Content-Encoding"),
        (gzip.compress(encoded(), mtime=0)[:40], {**HOOK, "Content-Encoding": "gzip"}, 400, "truncated"),
        (encoded(), {**HOOK, "Content-Encoding": "compress"}, 415, "Content-Encoding"),
        (gzip.compress(b" " * (33 * 1024 * 1024), mtime=0), {**HOOK, "Content-Encoding": "gzip"}, 413, "larger than"),
    ],
)
async def test_bad_webhooks(rig: Rig, body: bytes, headers: dict[str, str], status: int, says: str) -> None:
    answer = await rig.client.post("/webhook/alertmanager", data=body, headers=headers)
    assert answer.status == status
    assert says in (await answer.json())["error"]
    assert rig.webhooks(status) == 1
    assert await rig.store.incidents(None, 1) == []
    assert await rig.fire() == 1  # and the next good one is taken


HOSTILE: list[object] = [
    *(None, "", " ", "x", 0, -1, 10**18, 1.5, 1e300, True, [], [1], {}, {"": None}, {"a": "b"}, "\x00", "\U0010ffff"),
    *("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00", "1970-01-01T00:00:00Z"),
    *("2026-11-23T03:00:00", "-292277022399-01-01T00:00:00Z", "a" * 100_000, {"a": "b" * 100_000}),
]


async def test_no_value_of_any_field_is_a_500(rig: Rig) -> None:
    alert = PAYLOAD["alerts"][0]
    bodies = [{**PAYLOAD, field: value} for field in PAYLOAD for value in HOSTILE]
    bodies += [{**PAYLOAD, "alerts": [{**alert, field: value}]} for field in alert for value in HOSTILE]
    bodies += [
        {**PAYLOAD, "alerts": [{**alert, part: {**alert[part], name: value}}]}
        for part, name in (("labels", "alertname"), ("labels", "severity"), ("annotations", "summary"))
        for value in HOSTILE
    ]
    for body in bodies:
        for path in ("/webhook/alertmanager", "/webhook/watchdog"):
            answer = await rig.client.post(path, json=body, headers=HOOK)
            assert answer.status in {200, 400}, body
    for incident in await rig.store.incidents(None, 1000):
        page = await rig.client.get(rig.link(incident.id))
        assert page.status == 200


async def test_an_alert_without_times_fires_once_and_its_resolve_ends_it(rig: Rig) -> None:
    alert: dict[str, object] = {"labels": {"alertname": "BackupFailed"}}
    body = {"alerts": [alert]}
    for _ in range(2):
        rig.clock.forward(minutes=1)
        await rig.client.post("/webhook/alertmanager", json=body, headers=HOOK)
    (incident,) = await rig.store.incidents(None, 10)
    assert [alert.starts_at for alert in incident.firing] == [START + MINUTE]
    alert["status"] = "resolved"
    await rig.client.post("/webhook/alertmanager", json=body, headers=HOOK)
    assert await rig.state(incident.id) is State.RESOLVED


async def test_an_alert_without_times_that_a_person_resolved_is_not_silenced_for_good(rig: Rig) -> None:
    body = {"alerts": [{"labels": {"alertname": "BackupFailed"}}]}
    await rig.client.post("/webhook/alertmanager", json=body, headers=HOOK)
    await rig.client.post("/api/v1/incidents/1/resolve", headers=API)
    rig.clock.forward(days=1)
    await rig.client.post("/webhook/alertmanager", json=body, headers=HOOK)
    assert [incident.state for incident in await rig.store.incidents(None, 10)] == [State.TRIGGERED, State.RESOLVED]


async def test_a_dropped_alert_is_counted_answered_and_written_down(rig: Rig) -> None:
    for _ in range(2):
        alerts = [*PAYLOAD["alerts"], {"labels": []}]
        answer = await rig.client.post("/webhook/alertmanager", data=encoded(alerts=alerts), headers=HOOK)
        assert (await answer.json())["dropped"] == 1
    assert rig.metrics.registry.get_sample_value("receiver_alerts_dropped_total", {"source": "alertmanager"}) == 2
    stored = await rig.store.incident(1)
    assert stored is not None
    assert [entry.kind for entry in stored[1]].count(EntryKind.ALERTS_DROPPED) == 1


async def send(rig: Rig, source: str, body: bytes) -> dict[str, object]:
    answer = await rig.client.post(f"/webhook/alertmanager{source}", data=body, headers=HOOK)
    assert answer.status == 200
    return dict(await answer.json())


async def test_sources_whose_group_keys_collide_have_incidents_of_their_own(rig: Rig) -> None:
    for number, source in enumerate(("", "/eu", "/us"), start=1):
        assert (await send(rig, source, encoded()))["incident"] == number
    assert (await send(rig, "/alertmanager", encoded()))["incident"] == 1  # the default source by its name
    over = with_alert(status="resolved", endsAt="2026-11-23T03:01:00Z")
    await send(rig, "/us", over)
    states = {incident.source: incident.state for incident in await rig.store.incidents(None, 10)}
    assert states == {"alertmanager": State.TRIGGERED, "eu": State.TRIGGERED, "us": State.RESOLVED}


async def test_a_changed_grouping_finds_the_owner_only_within_its_source(rig: Rig) -> None:
    await send(rig, "/eu", encoded())
    assert (await send(rig, "/us", encoded(groupKey='{}:{job="app"}')))["incident"] == 2
    assert (await send(rig, "/eu", encoded(groupKey='{}:{job="app"}')))["incident"] == 1


@pytest.mark.parametrize("receiver", ["\teu\theypeter.receiver", "\t\teu\theypeter.receiver"])
async def test_no_receivers_name_pretends_to_be_another_source(rig: Rig, receiver: str) -> None:
    await send(rig, "/eu", encoded())
    assert (await send(rig, "", encoded(receiver=receiver)))["incident"] == 2


async def test_merged_receivers_open_one_incident(rig: Rig) -> None:
    await send(rig, "/eu", encoded(receiver="oncall"))
    assert (await send(rig, "/eu", encoded(receiver="oncall-copy", groupKey='{}/{a="b"}:{}')))["incident"] == 1
    assert (await send(rig, "/eu", encoded(receiver="other")))["incident"] == 2
    assert (await send(rig, "/us", encoded(receiver="oncall")))["incident"] == 3
    assert (await send(rig, "/us", encoded(receiver="oncall-copy")))["incident"] == 4


@pytest.mark.parametrize("path", ["/webhook/alertmanager/asia", "/webhook/watchdog/asia", "/webhook/alertmanager/%00"])
async def test_an_unknown_source_is_404_and_names_the_known_ones(rig: Rig, path: str) -> None:
    answer = await rig.client.post(path, data=encoded(), headers=HOOK)
    assert answer.status == 404
    assert "alertmanager, eu, us" in (await answer.json())["error"]
    assert rig.webhooks(404, "") == 1  # a sender chooses no label
    assert (await rig.client.post(path, data=encoded())).status == 401


async def test_each_source_has_a_watchdog_of_its_own(rig: Rig) -> None:
    await rig.client.post("/webhook/watchdog/eu", data=encoded(), headers=HOOK)
    assert (await rig.store.backlog()).heartbeats == {"eu": START}


async def test_a_compressed_webhook_is_taken(rig: Rig) -> None:
    headers = {**HOOK, "Content-Encoding": "gzip"}
    answer = await rig.client.post("/webhook/alertmanager", data=gzip.compress(encoded()), headers=headers)
    assert answer.status == 200


async def test_a_store_that_cannot_commit_is_503_so_that_alertmanager_comes_back(rig: Rig) -> None:
    with refusing(rig.folder, "INSERT ON outbox", "disk full"):
        answer = await rig.client.post("/webhook/alertmanager", data=encoded(), headers=HOOK)
        assert answer.status == 503
    await rig.fire()


async def test_a_storm_in_one_payload_is_taken(rig: Rig) -> None:
    alerts = [{**PAYLOAD["alerts"][0], "fingerprint": f"{n:016x}"} for n in range(10_000)]
    answer = await rig.client.post("/webhook/alertmanager", data=io.BytesIO(encoded(alerts=alerts)), headers=HOOK)
    assert answer.status == 200
    (incident,) = await rig.store.incidents(None, 10)
    assert len(incident.firing) == 10_000


async def test_the_watchdog_is_heard_only_while_it_fires(rig: Rig) -> None:
    await rig.client.post("/webhook/watchdog", data=with_alert(status="resolved"), headers=HOOK)
    assert (await rig.store.backlog()).heartbeats == {}
    answer = await rig.client.post("/webhook/watchdog", data=encoded(), headers=HOOK)
    assert answer.status == 200
    assert (await rig.store.backlog()).heartbeats == {"alertmanager": START}
    assert await rig.store.incidents(None, 1) == []


async def test_the_api_lists_shows_acknowledges_and_resolves(rig: Rig) -> None:
    number = await rig.fire()
    listed = await (await rig.client.get("/api/v1/incidents?state=triggered", headers=API)).json()
    assert [i["id"] for i in listed["incidents"]] == [number]
    assert listed["incidents"][0]["next"] == ["tech-lead"]
    verb = f"/api/v1/incidents/{number}/acknowledge"
    for _ in range(2):  # idempotent
        answer = await rig.client.post(verb, json={"actor": "Linh"}, headers=API)
        assert (await answer.json())["acknowledged_by"] == "linh"
    answer = await rig.client.post(f"/api/v1/incidents/{number}/resolve", headers=API)
    assert (await answer.json())["state"] == "resolved"
    shown = await (await rig.client.get(f"/api/v1/incidents/{number}", headers=API)).json()
    assert [line["kind"] for line in shown["timeline"]][-2:] == ["acknowledged", "resolved_by_hand"]
    assert shown["timeline"][-1]["data"] == {"origin": "api", "count": 1}
    assert "(the API)" in shown["timeline"][-1]["text"]
    assert (rig.answers("api", "taken"), rig.answers("api", "already"), rig.answers("api", "unknown")) == (2, 1, 0)
    assert shown["alerts"][0]["labels"]["alertname"] == "HighErrorRate"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/api/v1/incidents/99", None, 404, "no incident 99"),
        ("GET", "/api/v1/incidents/" + "9" * 40, None, 404, "no incident"),
        ("GET", "/api/v1/incidents/x", None, 404, "no incident x"),
        ("GET", "/api/v1/incidents?state=open", None, 400, "state: expected"),
        ("GET", "/api/v1/incidents?limit=0", None, 400, "limit"),
        ("POST", "/api/v1/incidents/99/acknowledge", b"{}", 404, "no incident 99"),
        ("POST", "/api/v1/incidents/1/acknowledge", b'{"actor": 5}', 400, "$.actor"),
        ("POST", "/api/v1/incidents/1/acknowledge", b'{"actr": "x"}', 400, "actr"),
        ("POST", "/api/v1/incidents/1/acknowledge", b" " * 70_000, 413, "larger than"),
    ],
)
async def test_bad_api_calls(rig: Rig, method: str, path: str, body: bytes | None, status: int, says: str) -> None:
    await rig.fire()
    refused = await rig.client.request(method, path, data=body)
    assert refused.status == 401
    answer = await rig.client.request(method, path, data=body, headers=API)
    assert answer.status == status
    assert says in json.dumps(await answer.json())
    assert await rig.state(1) is State.TRIGGERED


async def test_looking_at_a_link_changes_nothing_and_its_button_acts(rig: Rig) -> None:
    number = await rig.fire()
    page = await rig.client.get(rig.link(number))
    assert page.status == 200
    text = await page.text()
    assert "HighErrorRate: High error rate detected" in text
    assert ENGLISH.say("acknowledge_as", who="Linh") in text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert await rig.state(number) is State.TRIGGERED
    after = await rig.client.post(rig.link(number), data={"verb": "acknowledge"})
    assert 'data-state="acknowledged"' in await after.text()
    assert await rig.state(number) is State.ACKNOWLEDGED
    await rig.client.post(rig.link(number), data={"verb": "resolve", "confirm": "1"})
    assert await rig.state(number) is State.RESOLVED
    assert (rig.answers("link", "taken"), rig.answers("link", "already")) == (2, 0)
    done = await (await rig.client.get(rig.link(number))).text()
    assert re.findall(r'action="[^"]+/(\w+)"', done) == ["undo", "note"]
    rig.clock.forward(seconds=61)
    done = await (await rig.client.get(rig.link(number))).text()
    assert re.findall(r'action="[^"]+/(\w+)"', done) == ["note"]


async def undo_form(rig: Rig, link: str) -> dict[str, str]:
    """What the button of the page sends."""
    page = await (await rig.client.get(link)).text()
    hidden = re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page)
    return dict(hidden) | {"verb": "undo"}


async def test_a_resolve_is_undone_by_the_button_of_the_page_for_a_minute(rig: Rig) -> None:
    number = await rig.fire()
    link = await new_link(rig, number)
    await rig.client.post(link, data={"verb": "resolve", "confirm": "1"})
    form = await undo_form(rig, link)
    shown = await rig.client.get(link)
    text = await shown.text()
    assert '<noscript><meta http-equiv="refresh" content="61">' in text  # the button goes when its time is over
    rig.clock.forward(seconds=30)
    pressed = await rig.client.post(link, data=form, allow_redirects=False)
    assert (pressed.status, pressed.headers["Location"]) == (
        303,
        f"./{link.rpartition('/')[2]}?said=undo.taken.{number}",
    )
    assert await rig.state(number) is State.TRIGGERED
    assert (await rig.client.post(link, data=form)).status == 200  # pressed twice
    stored = await rig.store.incident(number)
    assert stored is not None
    assert [entry.kind for entry in stored[1]].count(EntryKind.RESOLVE_UNDONE) == 1
    assert (rig.answers("link", "taken"), rig.answers("link", "already")) == (2, 1)


async def test_an_undo_that_comes_too_late_is_refused_and_says_how_it_stands(rig: Rig) -> None:
    number = await rig.fire()
    link = await new_link(rig, number)
    await rig.client.post(link, data={"verb": "resolve", "confirm": "1"})
    form, at = await undo_form(rig, link), ENGLISH.moment(rig.clock.now)
    rig.clock.forward(seconds=61)
    late = await rig.client.post(link, data=form)
    text = html.unescape(await late.text())
    assert late.status == 409
    assert ENGLISH.say("refused_too_late") in text
    assert f"<h1>{ENGLISH.say('refused_undo')}</h1>" in text
    assert ENGLISH.say("answer_resolved_firing", count=1, who="Linh", at=at) in text
    assert await rig.state(number) is State.RESOLVED
    assert rig.answers("link", "too_late") == 1


async def test_an_undo_of_one_person_does_not_take_back_anothers_later_resolve(rig: Rig) -> None:
    number = await rig.fire()
    link = await new_link(rig, number)
    await rig.client.post(link, data={"verb": "resolve", "confirm": "1"})
    form = await undo_form(rig, link)
    rig.clock.forward(seconds=1)
    await rig.client.post(link, data=form)
    await rig.client.post(await new_link(rig, number, "marek"), data={"verb": "resolve", "confirm": "1"})
    assert (await rig.client.post(link, data=form)).status == 409
    assert await rig.state(number) is State.RESOLVED
    assert (await rig.client.post(link, data={**form, "resolve": "x" * 99})).status == 409


async def test_what_fires_in_another_incident_by_now_is_not_undone(rig: Rig) -> None:
    group = AlertGroup("g", (an_alert(),), receiver="receiver")
    policy = msgspec.structs.replace(the_policy(), flap_window=0.0)
    first = await rig.store.update(AlertsReceived(group), policy, rig.clock.now)
    assert first is not None
    link = await new_link(rig, first.id)
    await rig.client.post(link, data={"verb": "resolve", "confirm": "1"})
    form = await undo_form(rig, link)
    rig.clock.forward(seconds=10)
    again = AlertGroup("g", (an_alert(starts_at=rig.clock.now),), receiver="receiver")
    second = await rig.store.update(AlertsReceived(again), policy, rig.clock.now)
    assert second is not None
    assert second.id != first.id
    refused = await rig.client.post(link, data=form)
    assert (refused.status, ENGLISH.say("refused_older") in html.unescape(await refused.text())) == (409, True)
    assert [await rig.state(one.id) for one in (first, second)] == [State.RESOLVED, State.TRIGGERED]


async def test_alerts_that_joined_after_the_question_are_asked_about_again(rig: Rig) -> None:
    number = await rig.fire()
    link = await new_link(rig, number)
    text = await (await rig.client.post(link, data={"verb": "resolve"})).text()
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', text)) | {"verb": "resolve"}
    rig.clock.forward(seconds=5)
    stored = await rig.store.incident(number)
    assert stored is not None
    (alert,) = stored[0].firing
    other = an_alert("other", starts_at=rig.clock.now)
    over = msgspec.structs.replace(alert, firing=False, ends_at=rig.clock.now)
    group = AlertGroup(stored[0].key, (over, other), receiver=stored[0].receiver)
    await rig.store.update(AlertsReceived(group), the_policy(), rig.clock.now)
    again = await (await rig.client.post(link, data=form)).text()  # one alert fires, as before, and it is another one
    assert ENGLISH.say("resolve_firing", count=1) in again
    assert await rig.state(number) is State.TRIGGERED
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', again)) | {"verb": "resolve"}
    await rig.client.post(link, data=form)
    assert await rig.state(number) is State.RESOLVED


async def test_the_api_resolves_what_was_seen_and_undoes_it(rig: Rig) -> None:
    number = await rig.fire()
    path = f"/api/v1/incidents/{number}"

    async def post(action: str, **body: object) -> tuple[int, str]:
        answer = await rig.client.post(f"{path}/{action}", json={"actor": "Linh", **body}, headers=API)
        return answer.status, (await answer.json()).get("state", "")

    assert await post("resolve", firing=0) == (409, "")
    assert await post("resolve", firing=-1) == (400, "")
    assert await post("resolve", firing=1) == (200, "resolved")
    assert await post("undo") == (200, "triggered")
    assert await post("undo") == (200, "triggered")  # idempotent
    assert await post("resolve") == (200, "resolved")
    rig.clock.forward(seconds=61)
    assert await post("undo") == (409, "")
    shown = await (await rig.client.get(path, headers=API)).json()
    assert [line["kind"] for line in shown["timeline"]].count("resolve_undone") == 1
    counted = [rig.answers("api", outcome) for outcome in ("taken", "already", "unconfirmed", "too_late")]
    assert counted == [3, 1, 1, 1]


async def test_resolving_what_still_fires_is_asked_about_once_and_said(rig: Rig) -> None:
    number = await rig.fire()
    for confirm in ({}, {"confirm": "0"}, {"confirm": "9" * 5000}, {"confirm": "-1"}):
        asked = await rig.client.post(rig.link(number), data={"verb": "resolve", **confirm})
        text = await asked.text()
        assert asked.status == 200
        assert ENGLISH.say("resolve_firing", count=1) in text
        assert '<input type="hidden" name="confirm" value="1">' in text
        assert await rig.state(number) is State.TRIGGERED
    done = await (await rig.client.post(rig.link(number), data={"verb": "resolve", "confirm": "1"})).text()
    assert await rig.state(number) is State.RESOLVED
    at = f"{rig.clock.now:%H:%M}"
    assert ENGLISH.say("answer_resolved_firing", count=1, who="Linh", at=at) in done
    assert ENGLISH.say("entry_resolved_by_hand_firing", count=1, actor="Linh", origin="link") in done
    assert (rig.answers("link", "taken"), rig.answers("link", "already")) == (1, 0)


async def test_what_a_person_has_resolved_hears_of_the_end_of_its_alerts(rig: Rig) -> None:
    number = await rig.fire()
    await rig.client.post(rig.link(number), data={"verb": "resolve", "confirm": "1"})
    stored = await rig.store.incident(number)
    assert stored is not None
    rig.clock.forward(hours=6)
    (alert,) = stored[0].firing
    over = msgspec.structs.replace(alert, firing=False, ends_at=rig.clock.now)
    group = AlertGroup(stored[0].key, (over,), receiver=stored[0].receiver)
    await rig.store.update(AlertsReceived(group), the_policy(), rig.clock.now)
    after = await rig.store.incident(number)
    assert after is not None
    assert (after[0].state, after[0].firing, after[0].resolved_by) == (State.RESOLVED, (), "linh")
    assert after[1][-1].kind is EntryKind.ALERT_RESOLVED
    at = f"{stored[0].resolved_at or rig.clock.now:%H:%M}"
    page = await (await rig.client.get(rig.link(number))).text()
    assert ENGLISH.say("answer_resolved_by", who="Linh", at=at) in page


async def a_digest(rig: Rig, count: int) -> tuple[list[int], str]:
    incidents = list[Incident]()
    for number in range(count):
        group = AlertGroup(f"g{number}", (an_alert(f"f{number}", severity="warning"),), receiver="receiver")
        made = await rig.store.update(AlertsReceived(group), the_policy(), rig.clock.now)
        assert made is not None
        incidents.append(made)
    grant = DigestGrant.of(incidents, "linh", int(START.timestamp()) + 86400, await rig.store.installation())
    return [incident.id for incident in incidents], f"/answer/digest/{sign_digest(grant, SECRET)}"


async def test_one_link_lists_a_digest_and_acknowledges_all_of_it(rig: Rig) -> None:
    numbers, link = await a_digest(rig, 30)
    await rig.store.apply(numbers[3], deciding(Resolve("marek", Origin.API), rig.clock.now), rig.clock.now)
    page = await rig.client.get(link)
    text = await page.text()
    assert (page.status, text.count('<li class="row')) == (200, 30)
    assert await rig.state(numbers[0]) is State.TRIGGERED  # looking changes nothing
    own = re.findall(r'class="title" href="([^"]+)">', text)
    assert len(own) == 30
    assert (await rig.client.get(urljoin(link, own[0]))).status == 200
    pressed = await rig.client.post(link, data={"verb": "acknowledge"}, allow_redirects=False)
    assert pressed.headers["Location"].startswith("./")  # a proxy may serve it below a path of its own
    after = await rig.client.get(urljoin(link, pressed.headers["Location"]))
    assert "<button" not in await after.text()
    states = [await rig.state(number) for number in numbers]
    assert states.count(State.ACKNOWLEDGED) == 29
    assert states[3] is State.RESOLVED
    stored = await rig.store.incident(numbers[0])
    assert stored is not None
    assert stored[0].acknowledged_by == "linh"


async def test_the_link_of_a_digest_grants_nothing_else(rig: Rig) -> None:
    numbers, link = await a_digest(rig, 3)
    assert (await rig.client.post(link, data={"verb": "resolve"})).status == 400
    token = link.rpartition("/")[2]
    assert (await rig.client.get(f"/answer/{token}")).status == 403  # no link of one incident
    assert (await rig.client.get(f"/answer/digest/{rig.link(numbers[0]).rpartition('/')[2]}")).status == 403
    assert (await rig.client.get(link[:-3] + "AAA")).status == 403
    for other in (
        DigestGrant(
            numbers[0], (1, 1), int(START.timestamp()), "linh", 2**40, 2**50, await rig.store.installation() + 1
        ),
        DigestGrant(numbers[0], (1, 1), int(START.timestamp()) - 1, "linh", 2**40),  # of an older version
    ):
        assert (
            await rig.client.get(f"/answer/digest/{sign_digest(other, SECRET)}")
        ).status == 404  # another database's


@pytest.mark.parametrize("old_format", [False, True])
async def test_a_digest_acknowledges_nothing_that_has_fired_again_since(rig: Rig, *, old_format: bool) -> None:
    numbers, link = await a_digest(rig, 3)
    if old_format:
        grant = DigestGrant(numbers[0], (1, 1), int(START.timestamp()), "linh", int(START.timestamp()) + 7 * 86400)
        link = f"/answer/digest/{sign_digest(grant, SECRET)}"
    rig.clock.forward(minutes=1)
    await rig.store.apply(numbers[1], deciding(Resolve("marek", Origin.API), rig.clock.now), rig.clock.now)
    rig.clock.forward(minutes=2)
    again = an_alert("f1", severity="warning", starts_at=rig.clock.now)
    group = AlertGroup("g1", (again,), receiver="receiver")
    await rig.store.update(AlertsReceived(group), the_policy(), rig.clock.now)
    assert await rig.state(numbers[1]) is State.TRIGGERED
    page = await (await rig.client.get(link)).text()
    assert (page.count(ENGLISH.say("digest_older")), page.count('href="../W')) == (1, 2)
    assert ENGLISH.say("digest_acknowledge", count=2) in page
    await rig.client.post(link, data={"verb": "acknowledge"})
    states = [await rig.state(number) for number in numbers]
    assert states == [State.ACKNOWLEDGED, State.TRIGGERED, State.ACKNOWLEDGED]


def test_the_link_of_a_digest_is_short_enough() -> None:
    incidents = [Incident(number, "key", opened_at=START) for number in range(100000, 102100, 7)]
    storm = DigestGrant.of(incidents, "linh", 1_800_000_000, 2**52 - 1)
    assert len(storm.incidents) == 300
    assert len(sign_digest(storm, SECRET)) < 1000


@pytest.mark.parametrize("person", ["linh", "Linh"])  # a link that was sent before people were keys carries the name
async def test_a_link_acts_for_the_key_and_shows_the_name(rig: Rig, person: str) -> None:
    number = await rig.fire()
    assert "Acknowledge as Linh<" in await (await rig.client.get(rig.link(number, person))).text()
    await rig.client.post(rig.link(number, person), data={"verb": "acknowledge"})
    stored = await rig.store.incident(number)
    assert stored is not None
    assert (stored[0].acknowledged_by, stored[1][-1].actor) == ("linh", "linh")


async def new_link(rig: Rig, number: int, person: str = "linh") -> str:
    """A link as it is made now."""
    stored = await rig.store.incident(number)
    assert stored is not None
    installation = await rig.store.installation()
    grant = Grant.of(stored[0], person, int(rig.clock.now.timestamp()) + 86400, installation)
    return f"/answer/{sign(grant, SECRET)}"


async def refuses(rig: Rig, link: str, status: int) -> None:
    before = [(one.state, one.acknowledged_by) for one in await rig.store.incidents(None, 10)]
    for answer in (
        await rig.client.get(link),
        await rig.client.get(f"{link}/stream"),
        await rig.client.post(link, data={"verb": "acknowledge"}),
        await rig.client.post(link, data={"verb": "resolve"}),
    ):
        assert answer.status == status
        assert "<button" not in await answer.text()
    assert [(one.state, one.acknowledged_by) for one in await rig.store.incidents(None, 10)] == before


@pytest.mark.parametrize("change", ["installation", "opened"])
async def test_a_link_of_another_installation_changes_nothing(rig: Rig, change: str) -> None:
    number = await rig.fire()
    stored = await rig.store.incident(number)
    assert stored is not None
    grant = Grant.of(stored[0], "linh", 2**40, await rig.store.installation())
    other = msgspec.structs.replace(grant, **{change: getattr(grant, change) - 1})
    await refuses(rig, f"/answer/{sign(other, SECRET)}", 403)
    await rig.client.post(await new_link(rig, number), data={"verb": "acknowledge"})
    assert await rig.state(number) is State.ACKNOWLEDGED


async def test_two_databases_are_two_installations_and_each_stays_itself(rig: Rig, tmp_path: Path) -> None:
    own = await rig.store.installation()
    with beside(tmp_path) as db:
        db.execute("BEGIN" if stores.on_postgres() else "BEGIN IMMEDIATE")
        if stores.on_postgres():
            db.execute("LOCK TABLE own")
        assert await rig.store.installation() == own  # asking again writes nothing, and waits for no lock
        db.execute("ROLLBACK")
    (tmp_path / "other").mkdir()
    other = await a_store(tmp_path / "other", rig.clock)
    assert await other.installation() != await rig.store.installation()
    await other.close()


@pytest.mark.parametrize("old_format", [False, True])
async def test_a_link_of_before_it_fired_again_changes_nothing_and_says_what_happened(
    rig: Rig, old_format: bool
) -> None:
    number = await rig.fire()
    valid_for = 7 * 86400
    link = rig.link(number, "linh", valid_for) if old_format else await new_link(rig, number)
    assert (await rig.client.get(link)).status == 200
    rig.clock.forward(minutes=1)
    over = with_alert(status="resolved", endsAt=rig.clock.now.isoformat())
    await rig.client.post("/webhook/alertmanager", data=over, headers=HOOK)
    assert (await rig.client.get(link)).status == 200  # resolved, and no button
    rig.clock.forward(minutes=3)
    again = with_alert(startsAt=rig.clock.now.isoformat())
    await rig.client.post("/webhook/alertmanager", data=again, headers=HOOK)
    await refuses(rig, link, 409)
    assert "03:" in await (await rig.client.get(link)).text()
    await rig.client.post(await new_link(rig, number), data={"verb": "acknowledge"})
    assert await rig.state(number) is State.ACKNOWLEDGED


async def test_a_person_who_has_left_answers_nothing(rig: Rig) -> None:
    number = await rig.fire()
    await refuses(rig, await new_link(rig, number, "gone"), 403)
    await refuses(rig, rig.link(number, "Somebody Gone", 7 * 86400), 403)


async def test_links_that_grant_nothing(rig: Rig) -> None:
    number = await rig.fire()
    forged = f"/answer/{sign(Grant(number, 'Linh', 2**40), 'x' * 32)}"
    for path, status in ((forged, 403), ("/answer/x", 403), (rig.link(number, seconds=-1), 403), (rig.link(99), 404)):
        for answer in (await rig.client.get(path), await rig.client.post(path, data={"verb": "resolve"})):
            assert answer.status == status
            assert "<button" not in await answer.text()
    assert (await rig.client.post(rig.link(number), data={"verb": "explode"})).status == 400
    assert (await rig.client.post(rig.link(number))).status == 400
    assert await rig.state(number) is State.TRIGGERED


async def test_hostile_alerts_are_only_text_on_the_page(rig: Rig) -> None:
    hostile = '<script>alert(1)</script>"><img src=x>'
    body = with_alert(
        annotations={"summary": hostile, "description": hostile, "runbook_url": "javascript:alert(1)"},
        labels={"alertname": hostile, hostile: hostile},
    )
    await rig.client.post("/webhook/alertmanager", data=body, headers=HOOK)
    text = await (await rig.client.get(rig.link(1, person=hostile))).text()
    assert "<script>" not in text
    assert "<img" not in text
    assert "javascript:" not in text


async def test_the_page_offers_the_owner_to_go_on_once_the_reminder_is_out(rig: Rig) -> None:
    number = await rig.fire()
    stored = await rig.store.incident(number)
    assert stored is not None
    longer = msgspec.structs.replace(stored[0], plan=Plan((), 900.0, acknowledge_for=3600.0), drill=True)

    async def change(incident: Incident) -> None:
        await rig.store.apply(number, lambda _old: Decision(incident), rig.clock.now)

    await change(longer)
    await rig.client.post(rig.link(number), data={"verb": "acknowledge"})
    page = await (await rig.client.get(rig.link(number))).text()
    assert "You have it until 04:00." in page
    assert ENGLISH.say("drill_note") in html.unescape(page)
    assert ENGLISH.say("still_working") not in page
    stored = await rig.store.incident(number)
    assert stored is not None
    asked = msgspec.structs.replace(stored[0].clocks, remind_due_at=None)
    await change(msgspec.structs.replace(stored[0], clocks=asked, paused=Pause(PauseKind.SILENCE, "8f1c", "Linh")))
    page = await (await rig.client.get(rig.link(number))).text()
    assert ENGLISH.say("still_working") in page
    assert "silence 8f1c by Linh" in page


async def test_the_page_and_its_refusals_speak_the_readers_language(rig: Rig) -> None:
    number = await rig.fire()
    page = await (await rig.client.get(rig.link(number, person="jonas"))).text()
    assert 'lang="de"' in page
    assert GERMAN.say("acknowledge_as", who="Jonas Weber") in page
    assert "um 04:15" in page
    late = await (await rig.client.get(rig.link(number, person="jonas", seconds=-1))).text()
    assert GERMAN.say("refused_expired") in late
    browser = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}
    forged = await (await rig.client.get("/answer/x", headers=browser)).text()
    assert GERMAN.say("refused_incomplete") in forged
    nobody = await (await rig.client.get("/answer/x", headers={"Accept-Language": "tlh, *;q=0.1"})).text()
    assert ENGLISH.say("refused_incomplete") in nobody


async def test_the_answer_page_is_called_after_what_broke_now(rig: Rig) -> None:
    hosts = [an_alert(f"h{number}", instance=f"web-{number}:9100") for number in range(1, 41)]
    incident = await rig.store.update(
        AlertsReceived(of_group(received(*hosts), key="hosts")), the_policy(), rig.clock.now
    )
    assert incident is not None
    async with rig.client.get(rig.link(incident.id)) as answer:
        page = await answer.text()
    headline = "HighErrorRate on 40 hosts (web-1, web-2, …)"
    assert f"<h1>{headline}</h1>" in page
    assert f"<title>#{incident.id} {headline} · " in page
