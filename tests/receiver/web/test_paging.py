"""Lists of the API by pages and filters, entity tags, and acts for an incident as it was seen."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from process.settings import Secret
from process.web import require_bearer
from receiver.actions.answer import Actions
from receiver.incident.event import AlertsReceived
from receiver.incident.model import AlertGroup
from receiver.store.sql import row
from receiver.store.sql.store import SQLStore
from receiver.web.api import IncidentApi
from receiver.web.openapi import OpenApi, document
from tests.receiver.example_site import Clock, a_store, an_alert, labelled, the_current, the_policy

TOKEN = {"Authorization": "Bearer t"}


class Rig:
    """The API over five incidents: P2 and P1 by turns, the last one of another team."""

    def __init__(self, client: TestClient[web.Request, web.Application], store: SQLStore, clock: Clock) -> None:
        self.client, self.store, self.clock = client, store, clock

    async def fire(self, key: str, severity: str, team: str) -> None:
        alert = labelled(an_alert(key, severity=severity), team=team)
        await self.store.update(AlertsReceived(AlertGroup(key, (alert,))), the_policy(), self.clock.now)
        self.clock.forward(minutes=1)

    async def get(self, query: str, **headers: str) -> tuple[int, Any, str]:
        async with self.client.get(query, headers={**TOKEN, **headers}) as answer:
            body = await answer.json() if answer.status != 304 else await answer.read()
            return answer.status, body, answer.headers.get("ETag", "")

    async def post(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, str]:
        async with self.client.post(path, json=body, headers={**TOKEN, **headers}) as answer:
            return answer.status, answer.headers.get("ETag", "")

    async def listed(self, query: str) -> tuple[list[int], int | None]:
        status, body, _ = await self.get(f"/incidents?{query}")
        assert status == 200, body
        return [one["id"] for one in body["incidents"]], body["next"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    actions = Actions(store, the_current(), clock, CollectorRegistry())
    app = IncidentApi(store, actions, require_bearer(Secret("t"), "api.token")).application(OpenApi().routes())
    async with TestClient(TestServer(app)) as client:
        rig = Rig(client, store, clock)
        for number in range(5):
            severity = "critical" if number % 2 else "warning"
            await rig.fire(f"k{number}", severity, "backend" if number < 4 else "default")
        yield rig
    await store.close()


async def test_pages_follow_each_other_without_gap_or_repeat(rig: Rig) -> None:
    assert await rig.listed("limit=2") == ([5, 4], 4)
    assert await rig.listed("limit=2&before=4") == ([3, 2], 2)
    assert await rig.listed("limit=2&before=2") == ([1], None)
    assert await rig.listed("limit=5") == ([5, 4, 3, 2, 1], None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("priority=P1", [4, 2]),
        ("team=default", [5]),
        ("team=nobody", []),
        ("state=resolved", []),
        ("since=2026-11-23T03:02:00Z", [5, 4, 3]),
        ("since=2026-11-23T05:02:00%2B02:00&team=backend&priority=P1&state=triggered", [4]),
    ],
)
async def test_filters(rig: Rig, query: str, found: list[int]) -> None:
    assert await rig.listed(query) == (found, None)


async def test_a_reading_is_bounded_and_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row, "_LOOKED_AT", 2)
    assert await rig.listed("team=backend") == ([4], 4)
    assert await rig.listed("team=backend&before=4") == ([3, 2], 2)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        *(("limit=0", "limit"), ("limit=1001", "limit"), ("before=0", "before"), ("before=x", "before")),
        *(("priority=P9", "priority"), ("state=new", "state"), ("since=yesterday", "since")),
        *(("since=2026-11-23T03:02:00", "since"), ("before=99999999999999999999", "before")),
    ],
)
async def test_a_wrong_parameter_is_named(rig: Rig, query: str, named: str) -> None:
    status, body, _ = await rig.get(f"/incidents?{query}")
    assert status == 400
    assert named in body["error"]


@pytest.mark.parametrize("path", ["/incidents?limit=3", "/incidents/1"])
async def test_what_is_known_is_not_sent_again(rig: Rig, path: str) -> None:
    _, _, tag = await rig.get(path)
    assert await rig.get(path, **{"If-None-Match": tag}) == (304, b"", tag)
    await rig.post("/incidents/1/note", {"text": "look"}) if path[-1] == "1" else await rig.fire("k9", "warning", "db")
    status, _, other = await rig.get(path, **{"If-None-Match": tag})
    assert (status, other == tag) == (200, False)


async def test_an_act_is_for_an_incident_as_it_was_seen(rig: Rig) -> None:
    _, _, tag = await rig.get("/incidents/1")
    assert (await rig.post("/incidents/1/note", {"text": "look"}, **{"If-Match": tag}))[0] == 200
    status, changed = await rig.post("/incidents/1/acknowledge", {"actor": "linh"}, **{"If-Match": tag})
    assert status == 200  # a note is no change
    assert (await rig.post("/incidents/1/resolve", {"actor": "linh"}, **{"If-Match": tag}))[0] == 412
    stored = await rig.store.incident(1)
    assert stored is not None
    assert stored[0].resolved_at is None
    assert (await rig.post("/incidents/1/resolve", {"actor": "linh"}, **{"If-Match": changed}))[0] == 200
    assert (await rig.post("/incidents/2/resolve", {"actor": "linh"}, **{"If-Match": "*"}))[0] == 200


async def test_what_was_done_by_the_same_key_is_done_whatever_it_is_now(rig: Rig) -> None:
    """A program whose answer got lost sends the same again: the tag that it has is of before its own act."""
    _, _, tag = await rig.get("/incidents/1")
    headers = {"If-Match": tag, "Idempotency-Key": "a"}
    assert [(await rig.post("/incidents/1/acknowledge", {}, **headers))[0] for _ in range(2)] == [200, 200]


async def test_the_document_is_served(rig: Rig) -> None:
    assert (await rig.get("/openapi.json"))[1] == json.loads(json.dumps(document()))
