"""Acts over HTTP: each one has an address, says clearly what is wrong, and is done once however often it is sent."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from process.settings import Secret
from process.web import Handler, require_bearer
from receiver.actions.answer import Actions
from receiver.incident.event import AlertsReceived
from receiver.incident.model import AlertGroup, EntryKind
from receiver.store.sql.store import SQLStore
from receiver.web.access.viewer import ADDRESS, VIEWER, Role, Viewer
from receiver.web.api import IncidentApi
from receiver.web.incident_acts import ACTS
from tests.process.bounded_server import BoundedServer
from tests.receiver.example_site import MINUTE, Clock, a_store, an_alert, the_current, the_policy

TOKEN = {"Authorization": "Bearer t"}
LINH = Viewer("linh", "Linh", Role.RESPONDER, "token")


class Rig:
    """The API over a real store, with two incidents of the team backend."""

    def __init__(self, client: TestClient[web.Request, web.Application], store: SQLStore, clock: Clock) -> None:
        self.client, self.store, self.clock = client, store, clock

    async def fire(self, key: str, severity: str = "warning") -> int:
        group = AlertGroup(key, (an_alert(key, severity=severity),))
        incident = await self.store.update(AlertsReceived(group), the_policy(), self.clock.now)
        assert incident is not None
        self.clock.forward(seconds=1)
        return incident.id

    async def post(self, path: str, body: Any = None, key: str = "") -> tuple[int, dict[str, Any]]:  # noqa: ANN401
        headers = {**TOKEN, **({"Idempotency-Key": key} if key else {})}
        async with self.client.post(f"/incidents{path}", json=body or {}, headers=headers) as answer:
            return answer.status, await answer.json()

    async def kinds(self, number: int) -> list[EntryKind]:
        stored = await self.store.incident(number)
        assert stored is not None
        return [entry.kind for entry in stored[1]]


@web.middleware
async def _as_linh(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[VIEWER], request[ADDRESS] = LINH, "192.0.2.7"
    return await handler(request)


@pytest.fixture(params=["token"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    actions = Actions(store, the_current(), clock, CollectorRegistry())
    guard = _as_linh if request.param == "linh" else require_bearer(Secret("t"), "it is t")
    app = IncidentApi(store, actions, guard).application()
    async with TestClient(BoundedServer(app)) as client:
        yield Rig(client, store, clock)
    await store.close()


async def test_a_shift_by_the_api(rig: Rig) -> None:
    number = await rig.fire("a")
    status, shown = await rig.post(f"/{number}/snooze", {"actor": "linh", "minutes": 90})
    assert (status, shown["state"], shown["acknowledged_by"]) == (200, "acknowledged", "linh")
    assert shown["snoozed_until"] == (rig.clock.now + 90 * MINUTE).isoformat().replace("+00:00", "Z")
    _, shown = await rig.post(f"/{number}/takeover", {"actor": "marek"})
    assert (shown["acknowledged_by"], shown["snoozed_until"]) == ("marek", None)
    _, shown = await rig.post(f"/{number}/handover", {"actor": "marek", "person": "Aisha"})
    assert (shown["acknowledged_by"], shown["asked"]["person"]) == ("marek", "aisha")
    _, shown = await rig.post(f"/{number}/acknowledge", {"actor": "aisha"})
    assert (shown["acknowledged_by"], shown["asked"]) == ("aisha", None)
    _, shown = await rig.post(f"/{number}/escalate", {"actor": "aisha", "step": shown["step"]})
    assert (shown["state"], shown["step"]) == ("acknowledged", 2)
    await rig.post(f"/{number}/note", {"actor": "aisha", "text": "a bad deployment", "tell": True})
    _, shown = await rig.post(f"/{number}/handover", {"actor": "aisha", "team": "default"})
    assert (shown["state"], shown["team"]) == ("triggered", "default")
    _, shown = await rig.post(f"/{number}/acknowledge", {"actor": "linh"})
    _, shown = await rig.post(f"/{number}/unacknowledge", {"actor": "linh"})
    assert (shown["state"], shown["acknowledged_by"]) == ("triggered", "")
    _, shown = await rig.post(f"/{number}/resolve", {"actor": "linh"})
    assert shown["state"] == "resolved"


async def test_one_incident_speaks_for_another(rig: Rig) -> None:
    child, parent = await rig.fire("a"), await rig.fire("b")
    assert (await rig.post(f"/{child}/attach", {"to": parent}))[1]["attached_to"] == parent
    status, refused = await rig.post(f"/{parent}/attach", {"to": child})
    assert (status, "attached itself" in refused["error"]) == (409, True)
    assert (await rig.post(f"/{child}/detach"))[1]["attached_to"] == 0


@pytest.mark.parametrize(
    ("act", "body", "status", "named"),
    [
        ("snooze", {}, 400, "until or minutes"),
        ("snooze", {"minutes": 10, "until": "2026-11-23T04:00:00Z"}, 400, "until or minutes"),
        ("snooze", {"minutes": 1441}, 400, "minutes"),
        ("snooze", {"until": "2026-11-23T02:00:00Z"}, 400, "24 hours"),
        ("snooze", {"until": "2026-11-23T04:00:00"}, 400, "until"),
        ("snooze", {"until": "0001-01-01T00:00:00+14:00"}, 400, "until"),
        ("snooze", {"until": "9999-12-31T23:59:00-12:00"}, 400, "until"),
        ("handover", {}, 400, "person or team"),
        ("handover", {"person": "nobody"}, 400, "person or team"),
        ("handover", {"person": "marek", "team": "default"}, 400, "person or team"),
        ("handover", {"person": "x" * 101}, 400, "person"),
        ("note", {}, 400, "text"),
        ("note", {"text": "x" * 2001}, 400, "text"),
        ("note", {"text": " \u200b\x00\n"}, 400, "text"),
        ("attach", {"to": 99}, 409, "open incident"),
        ("attach", {"to": -1}, 400, "to"),
        ("escalate", {"step": -1}, 400, "step"),
        ("takeover", {"who": "linh"}, 400, "who"),
        ("takeover", [], 400, "object"),
    ],
)
async def test_what_is_wrong_is_named(rig: Rig, act: str, body: Any, status: int, named: str) -> None:  # noqa: ANN401
    number = await rig.fire("a")
    before = await rig.kinds(number)
    async with rig.client.post(f"/incidents/{number}/{act}", json=body, headers=TOKEN) as answer:
        assert answer.status == status
        assert named in (await answer.json())["error"]
    assert await rig.kinds(number) == before


async def test_a_p1_is_snoozed_for_four_hours_at_most(rig: Rig) -> None:
    number = await rig.fire("a", "critical")
    assert (await rig.post(f"/{number}/snooze", {"minutes": 241}))[0] == 400
    assert (await rig.post(f"/{number}/snooze", {"minutes": 240}))[0] == 200


@pytest.mark.parametrize("act", sorted(set(ACTS) - {"acknowledge", "resolve", "note", "undo"}))
async def test_an_act_on_what_is_over_is_refused_and_noted(rig: Rig, act: str) -> None:
    number = await rig.fire("a")
    await rig.post(f"/{number}/resolve")
    bodies = {"snooze": {"minutes": 5}, "handover": {"person": "marek"}, "attach": {"to": 5}}
    status, refused = await rig.post(f"/{number}/{act}", bodies.get(act))
    assert (status, "resolved" in refused["error"]) == (409, True)
    assert EntryKind.ACTED_LATE in await rig.kinds(number)


async def test_a_note_with_a_key_is_written_once(rig: Rig) -> None:
    number = await rig.fire("a")
    for _ in range(2):
        assert (await rig.post(f"/{number}/note", {"text": "look"}, key="k-1"))[0] == 200
    await rig.post(f"/{number}/note", {"text": "look"})
    assert (await rig.kinds(number)).count(EntryKind.NOTED) == 2
    assert (await rig.post(f"/{number}/note", {"text": "look"}, key="k" * 201))[0] == 400


async def test_an_incident_is_raised_once_for_a_key(rig: Rig) -> None:
    body = {"actor": "linh", "text": "the shop is down", "team": "backend", "priority": "P2"}
    first, again = await rig.post("", body, key="k"), await rig.post("", body, key="k")
    assert (first[0], again[0]) == (201, 200)
    assert first[1]["id"] == again[1]["id"]
    assert (first[1]["raised_by"], first[1]["priority"], first[1]["next"]) == ("linh", "P2", ["tech-lead"])
    assert (await rig.post("", {"text": "x", "person": "nobody"}))[0] == 400
    assert (await rig.post("", {"text": "x", "priority": "P9"}))[0] == 400


async def test_what_is_not_there_is_not_found(rig: Rig) -> None:
    assert (await rig.post("/99/takeover"))[0] == 404
    async with rig.client.post("/incidents/1/dance", headers=TOKEN) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("rig", ["linh"], indirect=True)
async def test_a_person_acts_for_themselves_and_the_audit_log_says_from_where(rig: Rig) -> None:
    number = await rig.fire("a")
    _, shown = await rig.post(f"/{number}/takeover", {"actor": "marek"})
    assert shown["acknowledged_by"] == "linh"
    (line,) = await rig.store.access.audit(None, 5)
    assert (line.actor, line.via, line.ip, line.act) == ("linh", "token", "192.0.2.7", "incident.take_over")


async def test_what_was_raised_by_hand_can_be_shown(rig: Rig) -> None:
    _, raised = await rig.post("", {"actor": "linh", "text": "the shop is down", "person": "marek"})
    rig.clock.now += timedelta(minutes=1)
    async with rig.client.get(f"/incidents/{raised['id']}", headers=TOKEN) as answer:
        shown = await answer.json()
    assert (answer.status, shown["alerts"], shown["firing"]) == (200, [], 0)
    assert shown["timeline"][0]["text"] == "P1 raised by Linh for team default (the API): the shop is down"
