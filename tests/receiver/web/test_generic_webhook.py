"""Jobs' heartbeats and the JSON webhooks of other tools: who may send, what is on disk, what a body is read as."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st

from process.settings import Secret
from receiver.config.generic import Expression, GenericWebhook
from receiver.incident.heartbeat import Job
from receiver.incident.model import UNKNOWN_START, Alert, State
from receiver.metrics import Metrics
from receiver.store.sql.store import SQLStore
from receiver.web.alertmanager_payload import PayloadError
from receiver.web.generic_payload import parse
from receiver.web.generic_webhook import GenericWebhooks
from receiver.web.job_heartbeats import JobHeartbeats
from tests.process.bounded_server import BoundedServer
from tests.receiver.example_site import START, Clock, a_store, beside, the_current

HOOK = {"Authorization": "Bearer hook-token"}
DOWN: dict[str, Any] = {
    "heartbeat": {"status": 0, "msg": "timeout of 48000ms exceeded"},
    "monitor": {"id": 12, "name": "shop", "url": "https://shop.example.com", "tags": ["payments", "eu"]},
}
UP = {**DOWN, "heartbeat": {"status": 1, "msg": "200 - OK"}}


def mapping(**changes: str | dict[str, Expression]) -> GenericWebhook:
    fields: dict[str, Any] = {
        "key": "monitor.id",
        "status": "heartbeat.status == `0`",
        "title": "join(' ', [monitor.name, 'is down'])",
        "description": "heartbeat.msg",
        "priority": "contains(monitor.tags, 'payments') && 'P1' || 'P3'",
        "link": "monitor.url",
        "labels": {"team": Expression("monitor.tags[0]"), "service": Expression("monitor.name")},
    }
    made: dict[str, Any] = {
        name: Expression(value) if isinstance(value, str) else value for name, value in (fields | changes).items()
    }
    return GenericWebhook(**made)


def read(webhook: GenericWebhook, body: object) -> Alert:
    (alert,) = parse("uptime", webhook, json.dumps(body).encode(), START).alerts
    return alert


def test_a_body_is_read_as_its_expressions_say() -> None:
    alert = read(mapping(), DOWN)
    assert alert.firing
    assert alert.labels == {"alertname": "uptime", "team": "payments", "service": "shop", "priority": "P1"}
    assert alert.annotations == {"summary": "shop is down", "description": "timeout of 48000ms exceeded"}
    assert alert.generator_url == "https://shop.example.com"
    assert alert.starts_at == UNKNOWN_START
    over = read(mapping(), UP)
    assert (over.firing, over.ends_at, over.fingerprint) == (False, START, alert.fingerprint)


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"key": "monitor.nothing"}, "key"),
        ({"key": "monitor"}, "key"),
        ({"status": "heartbeat.nothing"}, "status"),
        ({"status": "heartbeat.msg"}, "status"),
        ({"title": "monitor.nothing"}, "title"),
        ({"title": "length(monitor.id)"}, "title"),
        ({"priority": "monitor.name"}, "priority"),
        ({"link": "monitor.name"}, "link"),
        ({"description": "monitor.tags"}, "description"),
        ({"labels": {"team": Expression("monitor.tags")}}, "labels.team"),
    ],
)
def test_a_field_that_is_missing_or_unusable_is_named_by_its_key(changes: dict[str, Any], at: str) -> None:
    with pytest.raises(PayloadError, match=rf"^generic_webhooks\.uptime\.{at}: "):
        read(mapping(**changes), DOWN)


def test_a_number_of_any_length_is_text_or_a_named_error() -> None:
    long = {**DOWN, "monitor": {**DOWN["monitor"], "id": 10**400}}
    assert read(mapping(), long).firing
    longer = {**DOWN, "monitor": {**DOWN["monitor"], "id": 10**4300 - 1}}
    for key in ("monitor.id", "sum([monitor.id, monitor.id])"):  # the second has more digits than Python writes
        with pytest.raises(PayloadError, match=r"^generic_webhooks\.uptime\.key: "):
            read(mapping(key=key), longer)


@pytest.mark.parametrize("written", [b"\xfc", rb"\ud83d"], ids=["latin-1", "half an emoji"])
def test_a_text_in_another_encoding_costs_no_alert(written: bytes) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({**DOWN, "monitor": {"id": 12, "name": "CUT", "tags": []}}).encode()
    (alert,) = parse("uptime", mapping(labels={}), body.replace(b"CUT", written), START).alerts
    assert alert.annotations["summary"] == "\ufffd is down"


def test_what_is_optional_may_be_null() -> None:
    absent = "monitor.nothing"
    alert = read(mapping(priority=absent, link=absent, description=absent, labels={"team": Expression(absent)}), DOWN)
    assert alert.labels == {"alertname": "uptime"}
    assert alert.generator_url == ""
    assert read(mapping(labels={"alertname": Expression(absent)}), DOWN).labels["alertname"] == "uptime"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["monitor", "heartbeat", "status", "id", "name", "tags", "url"]), inner)
        ),
    )
)
def test_any_json_is_an_alert_or_a_named_error(body: object) -> None:
    try:
        alert = read(mapping(), body)
    except PayloadError:
        return
    assert len(alert.annotations["summary"]) <= 500


@pytest.mark.parametrize(
    "text",
    [
        *("", "a..b", "a[", "nothing(@)", "'" + "a" * 600 + "'"),
        " | ".join(["[@, @][]"] * 20),  # each doubles what it is given
        " | ".join(["[@, @]"] * 6),
        "[*].[@, @, @, @] | [] | [*].[@, @, @, @] | [] | [*].[@, @, @, @]",
        "map(&[@, @, @, @, @, @], [@, @, @, @, @, @])",
    ],
)
def test_an_expression_that_is_wrong_or_too_large_is_refused_when_the_file_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"expression|JMESPath"):
        Expression.from_yaml(text)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("[?@ == `1`]", [1] * 100_000),
        ("map(&length([@]), @)", [1] * 100_000),
        ("[*].[*].[@, @]", [[1] * 2] * 40_000),
        ("[?contains(to_string(@), 'a')]", [[1] * 200] * 400),
    ],
)
def test_a_body_of_many_elements_is_refused_before_it_holds_up_the_receiver(text: str, elements: list[object]) -> None:
    labels = {f"l{number}": Expression(f"length(many | {text})") for number in range(50)}
    with pytest.raises(PayloadError, match=r"^generic_webhooks\.uptime\.labels\.l\d+: .*takes too long"):
        read(mapping(labels=labels), {**DOWN, "many": elements})


class Rig:
    def __init__(self, client: TestClient[web.Request, web.Application], store: SQLStore, folder: Path) -> None:
        self.client, self.store, self.folder = client, store, folder
        self.metrics, self.clock = Metrics(["email"]), Clock()

    def requests(self, source: str, code: int) -> float | None:
        labels = {"source": source, "code": str(code)}
        return self.metrics.registry.get_sample_value("receiver_webhook_requests_total", labels)

    async def post(self, body: object, name: str = "uptime") -> tuple[int, dict[str, Any]]:
        answer = await self.client.post(f"/webhook/generic/{name}", json=body, headers=HOOK)
        return answer.status, await answer.json()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    metrics, token = Metrics(["email"]), Secret("hook-token")
    generic = GenericWebhooks(store, the_current(), token, metrics, clock, webhooks=lambda: {"uptime": mapping()})
    jobs = JobHeartbeats(store, token, metrics, clock, jobs=lambda: {"backup": Job("backup", 60, 60)})
    app = web.Application()
    app.add_subapp("/webhook/generic", generic.application())
    app.add_subapp("/heartbeat", jobs.application())
    async with TestClient(BoundedServer(app)) as client:
        made = Rig(client, store, tmp_path)
        made.metrics, made.clock = metrics, clock
        yield made
    await store.close()


async def test_what_is_answered_200_is_on_the_disk_and_one_key_is_one_incident(rig: Rig) -> None:
    status, told = await rig.post(DOWN)
    assert (status, told["state"], told["priority"]) == (200, "triggered", "P1")
    with beside(rig.folder) as other:
        assert other.execute("SELECT id, state FROM incident").fetchall() == [(told["incident"], "triggered")]
    other_monitor = {**DOWN, "monitor": {**DOWN["monitor"], "id": 13}}
    assert (await rig.post(DOWN))[1]["incident"] == told["incident"]
    assert (await rig.post(other_monitor))[1]["incident"] != told["incident"]
    rig.clock.forward(minutes=1)
    assert (await rig.post(UP))[1] == {"incident": told["incident"], "state": "resolved", "priority": "P1"}
    assert (await rig.post({**UP, "monitor": {"id": 99, "name": "new", "tags": []}}))[1] == {"incident": None}
    assert rig.requests("generic/uptime", 200) == 5


async def test_a_tool_that_repeats_itself_changes_nothing(rig: Rig) -> None:
    _, told = await rig.post(DOWN)
    first = await rig.store.incident(told["incident"])
    await rig.post(DOWN)
    assert await rig.store.incident(told["incident"]) == first


@pytest.mark.parametrize("seconds", [1, 89, 600])
async def test_what_a_tool_says_is_down_again_is_no_echo(rig: Rig, seconds: int) -> None:
    """It says so once, and is no cluster: what is passed over is never heard of again."""
    _, told = await rig.post(DOWN)
    rig.clock.forward(seconds=1)
    assert (await rig.post(UP))[1]["state"] == "resolved"
    rig.clock.forward(seconds=seconds)
    assert (await rig.post(DOWN))[1] == told


async def test_bad_requests_are_answered_by_what_is_wrong(rig: Rig) -> None:
    status, told = await rig.post({})
    assert status == 400
    assert told["error"].startswith("generic_webhooks.uptime.key: ")
    assert (await rig.post(DOWN, "nobody"))[0] == 404
    for body, code in ((b"{", 400), (b"[" * 100_000, 400), (b" " * 300_000, 413)):
        assert (await rig.client.post("/webhook/generic/uptime", data=body, headers=HOOK)).status == code
    assert (await rig.client.post("/webhook/generic/uptime", json=DOWN)).status == 401
    assert rig.requests("generic/uptime", 400) == 3
    assert rig.requests("", 404) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_beat_that_is_answered_200_is_on_the_disk(rig: Rig, method: str) -> None:
    answer = await rig.client.request(method, "/heartbeat/backup", headers=HOOK)
    assert answer.status == 200
    with beside(rig.folder) as other:
        expected = [("backup", START.timestamp(), None)]
        assert other.execute("SELECT name, heard_at, missed_at FROM job_heartbeat").fetchall() == expected


async def test_beats_of_strangers_and_of_unknown_jobs_are_refused(rig: Rig) -> None:
    assert (await rig.client.get("/heartbeat/backup")).status == 401
    assert (await rig.client.get("/heartbeat/backup", headers={"Authorization": "Bearer x"})).status == 401
    assert (await rig.client.get("/heartbeat/nobody", headers=HOOK)).status == 404
    assert (await rig.store.watch_jobs(lambda known: known)).beats == {}


@pytest.mark.sqlite("its file is taken away")
async def test_what_cannot_be_stored_is_answered_503(rig: Rig) -> None:
    (rig.folder / "receiver.sqlite3").unlink()
    await rig.store.alive(START)
    assert (await rig.post(DOWN))[0] == 503
    assert (await rig.client.post("/heartbeat/backup", headers=HOOK)).status == 503


async def test_an_incident_that_a_tool_opened_ends_only_by_its_own_key(rig: Rig) -> None:
    _, told = await rig.post(DOWN)
    stored = await rig.store.incident(told["incident"])
    assert stored is not None
    incident = stored[0]
    assert (incident.state, incident.receiver, incident.source) == (State.TRIGGERED, "", "generic/uptime")
