"""Covers, "I'm awake" and maintenance over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from process.web import Handler
from receiver.actions.answer import Actions
from receiver.actions.duty import Duty
from receiver.incident.event import AlertsReceived
from receiver.incident.model import AlertGroup
from receiver.store.sql.store import SQLStore
from receiver.web.access.viewer import ADDRESS, VIEWER, Role, Viewer
from receiver.web.api import IncidentApi, view
from receiver.web.duty_api import DutyApi
from tests.process.bounded_server import BoundedServer
from tests.receiver.example_site import MINUTE, Clock, a_store, an_alert, labelled, the_current

NIGHT = {"start": "2026-11-23T18:00:00Z", "end": "2026-11-24T08:00:00+01:00"}


class Rig:
    """The API over a real store; ``who`` asks."""

    def __init__(self, client: TestClient[web.Request, web.Application], store: SQLStore, clock: Clock) -> None:
        self.client, self.store, self.clock = client, store, clock
        self.current = the_current()

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
        async with self.client.request(method, path, json=body, headers={"X-Who": who}) as answer:
            return answer.status, await answer.json()

    async def fire(self, key: str, **labels: str) -> int:
        group = AlertGroup(key, (labelled(an_alert(key, severity="warning"), **labels),))
        incident = await self.store.update(AlertsReceived(group), self.current.routing, self.clock.now)
        assert incident is not None
        self.clock.forward(seconds=1)
        return incident.id


@web.middleware
async def _known(request: web.Request, handler: Handler) -> web.StreamResponse:
    name, _, role = request.headers["X-Who"].partition("/")
    request[VIEWER] = Viewer(name, name.title(), Role(role or "responder"), "session")
    request[ADDRESS] = "192.0.2.7"
    return await handler(request)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    current = the_current()
    actions = Actions(store, current, clock, CollectorRegistry())
    duty = Duty(store, store.duty, current, clock)
    routes = DutyApi(duty, actions, store, view).routes()
    async with TestClient(BoundedServer(IncidentApi(store, actions, _known).application(routes))) as client:
        made = Rig(client, store, clock)
        made.current = current
        yield made
    await store.close()


async def test_cover_me_tonight(rig: Rig) -> None:
    status, made = await rig.ask("linh", "POST", "/covers", {**NIGHT, "out": "linh", "reason": "a concert"})
    (cover,) = made["covers"]
    assert (status, cover["state"], cover["end"]) == (201, "asked", "2026-11-24T07:00:00+00:00")
    assert (await rig.ask("linh", "POST", f"/covers/{cover['id']}/accept"))[0] == 403
    status, accepted = await rig.ask("marek", "POST", f"/covers/{cover['id']}/accept")
    assert (status, accepted["covers"][0]["person"]) == (200, "marek")
    assert (await rig.ask("aisha", "POST", f"/covers/{cover['id']}/accept"))[0] == 409
    assert rig.current.routing.holders("on-call-engineer", rig.clock.now + 16 * 60 * MINUTE) == ("marek",)
    assert (await rig.ask("peter", "POST", f"/covers/{cover['id']}/cancel"))[0] == 403
    assert (await rig.ask("peter/admin", "POST", f"/covers/{cover['id']}/cancel"))[0] == 200
    shown = (await rig.ask("linh", "GET", "/covers"))[1]["covers"]
    assert [(one["state"], one["moved"]) for one in shown] == [("cancelled", False)]


async def test_a_swap(rig: Rig) -> None:
    later = {"start": "2026-11-30T18:00:00Z", "end": "2026-12-01T07:00:00Z"}
    body = {**NIGHT, "out": "linh", "person": "marek", "swap": later}
    status, made = await rig.ask("linh", "POST", "/covers", body)
    assert (status, [one["out"] for one in made["covers"]]) == (201, ["linh", "marek"])
    _, accepted = await rig.ask("marek", "POST", f"/covers/{made['covers'][0]['id']}/accept")
    assert {one["state"] for one in accepted["covers"]} == {"active"}


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 400, "start"),
        ({**NIGHT, "start": "2026-11-23T18:00:00"}, 400, "start"),
        ({**NIGHT, "start": "0001-01-01T00:00:00+14:00"}, 400, "start"),
        ({**NIGHT, "end": "9999-12-31T23:59:00-12:00"}, 400, "end"),
        (NIGHT, 400, "schedule"),
        ({**NIGHT, "out": "nobody"}, 400, "person"),
        ({**NIGHT, "schedule": "nothing", "out": "linh"}, 400, "schedule"),
        ({**NIGHT, "out": "linh", "swap": NIGHT}, 400, "swap"),
        ({**NIGHT, "out": "linh", "reason": "x" * 501}, 400, "reason"),
    ],
)
async def test_what_is_no_cover_is_named(rig: Rig, body: Any, status: int, named: str) -> None:  # noqa: ANN401
    answered, refused = await rig.ask("linh", "POST", "/covers", body)
    assert (answered, named in refused["error"]) == (status, True)


async def test_awake_takes_keeps_and_gives_back(rig: Rig) -> None:
    _, awake = await rig.ask("linh", "POST", "/awake")
    assert awake["taken"] == []
    assert (await rig.ask("marek", "GET", "/awake"))[1]["awake"] == {"linh": awake["until"]}
    one, two = await rig.fire("a"), await rig.fire("b")
    assert (await rig.ask("linh", "POST", "/awake"))[1]["taken"] == [one, two]
    _, kept = await rig.ask("linh", "POST", "/awake/keep")
    assert {shown["state"] for shown in kept["incidents"]} == {"acknowledged"}
    three = await rig.fire("c")
    _, back = await rig.ask("linh", "POST", "/awake/giveback")
    assert [(shown["id"], shown["state"]) for shown in back["incidents"]] == [(three, "triggered")]
    await rig.ask("linh", "DELETE", "/awake")
    assert (await rig.ask("marek", "GET", "/awake"))[1]["awake"] == {}
    assert (await rig.ask("nobody", "POST", "/awake"))[0] == 400


async def test_maintenance_from_an_incident(rig: Rig) -> None:
    number = await rig.fire("a", instance='db "1"')
    status, window = await rig.ask("linh", "POST", f"/incidents/{number}/maintenance", {"minutes": 60})
    assert (status, window["incident"], window["by"]) == (201, number, "linh")
    assert '"instance"="db \\"1\\""' in window["matchers"]
    assert (await rig.ask("linh", "GET", f"/incidents/{number}"))[1]["paused"]["kind"] == "maintenance"
    shown = (await rig.ask("linh", "GET", "/windows"))[1]["windows"]
    assert [one["id"] for one in shown] == [window["id"]]
    assert (await rig.ask("linh", "DELETE", f"/windows/{window['id']}"))[0] == 200
    assert (await rig.ask("linh", "DELETE", f"/windows/{window['id']}"))[0] == 404
    assert (await rig.ask("linh", "POST", "/incidents/99/maintenance", {"minutes": 60}))[0] == 404
    assert (await rig.ask("linh", "POST", "/windows", {"minutes": 60}))[0] == 400
    assert (await rig.ask("linh", "POST", "/windows", {"minutes": 60, "matchers": ["job=~.*"]}))[0] == 400
    assert (await rig.ask("linh", "POST", "/windows", {"minutes": 10081, "matchers": ["job=a"]}))[0] == 400
    lines = await rig.store.access.audit(None, 9)
    assert {(line.actor, line.via, line.ip) for line in lines} == {("linh", "session", "192.0.2.7")}
