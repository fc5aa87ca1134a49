"""Silences over HTTP, against the real Alertmanager: each address, and what is answered when it does not."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from process.settings import Secret
from process.web import require_bearer
from receiver.app import Receiver
from receiver.clients.alertmanager import AlertmanagerApi
from receiver.config.load import load
from receiver.web.api import IncidentApi
from receiver.web.silences_api import SilencesApi
from tests.fakes.alertmanager import Alertmanager
from tests.process.bounded_server import BoundedServer
from tests.receiver.channels.test_registry import written
from tests.receiver.silence_site import Site, a_site
from tests.receiver.web.test_alertmanager import encoded

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    running = Alertmanager(tmp_path_factory.mktemp("alertmanager"))
    yield running
    running.stop()


class Rig:
    def __init__(self, site: Site, client: TestClient[web.Request, web.Application]) -> None:
        self.site, self.client = site, client

    async def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, dict[str, Any]]:  # noqa: ANN401
        headers = {"Authorization": "Bearer t", **({"Idempotency-Key": key} if key else {})}
        async with self.client.request(method, f"/incidents{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def rig(tmp_path: Path, alertmanager: Alertmanager) -> AsyncIterator[Rig]:
    async with a_site(tmp_path, alertmanager) as site:
        routes = SilencesApi(site.silences, site.store).routes()
        app = IncidentApi(site.store, site.actions, require_bearer(Secret("t"), "it is t")).application(routes)
        async with TestClient(BoundedServer(app)) as client:
            yield Rig(site, client)


async def test_a_silence_by_the_api(rig: Rig) -> None:
    number = await rig.site.fire("a", "b")
    status, found = await rig.ask("GET", f"/{number}/silences/preview")
    assert (status, found["here"], found["firing"], found["elsewhere"]) == (200, 2, 2, 0)
    assert f'alertname="{rig.site.name}"' in found["matchers"]  # what its alerts share
    asked = {"actor": "linh", "minutes": 90, "comment": "a deployment"}
    status, made = await rig.ask("POST", f"/{number}/silences", asked, key="k")
    assert (status, made["made_by"], made["comment"]) == (201, "linh", "a deployment")
    status, again = await rig.ask("POST", f"/{number}/silences", asked, key="k")
    assert (status, again["id"]) == (201, made["id"])
    one = f"/{number}/silences/{made['id']}"
    status, changed = await rig.ask("PUT", one, {"minutes": 240, "actor": "marek"})
    assert (status, changed["id"]) == (200, made["id"])
    assert changed["ends_at"] > made["ends_at"]
    status, ended = await rig.ask("DELETE", one, {"actor": "marek"})
    assert (status, ended["over_by"]) == (200, "marek")
    assert (await rig.ask("DELETE", one))[0] == 409
    _, listed = await rig.ask("GET", f"/{number}/silences")
    assert [silence["id"] for silence in listed["silences"]] == [made["id"]]
    assert await rig.site.there() == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("POST", "/1/silences", {}, 400, "minutes"),
        ("POST", "/1/silences", {"minutes": 43_201}, 400, "minutes"),
        ("POST", "/1/silences", {"minutes": 5, "matchers": ["x"]}, 400, "matchers"),
        ("POST", "/1/silences", {"minutes": 5, "matchers": ["x=1"] * 21}, 400, "matchers"),
        ("POST", "/9/silences", {"minutes": 5}, 404, "no incident"),
        ("GET", "/9/silences", None, 404, "no incident"),
        ("GET", "/9/silences/preview", None, 404, "no incident"),
        ("GET", "/1/silences/preview?matcher=x", None, 400, "matchers"),
        ("PUT", "/1/silences/nothing", {"minutes": 5}, 404, "silence"),
        ("DELETE", "/1/silences/nothing", {}, 404, "silence"),
    ],
)
async def test_what_cannot_be_done_is_said(
    rig: Rig,
    method: str,
    path: str,
    body: object,
    status: int,
    named: str,
) -> None:
    await rig.site.fire("a")
    answer = await rig.ask(method, path, body)
    assert (answer[0], named in answer[1]["error"]) == (status, True), answer


async def test_an_alertmanager_that_is_away_or_slow_is_named(rig: Rig) -> None:
    number = await rig.site.fire("a")
    rig.site.way.hang = True
    status, said = await rig.ask("POST", f"/{number}/silences", {"minutes": 5})
    assert (status, "Alertmanager did not answer" in said["error"]) == (504, True)
    rig.site.way.hang = False
    await rig.site.way.close()
    for method, path, body in (
        ("GET", f"/{number}/silences/preview", None),
        ("POST", f"/{number}/silences", {"minutes": 5}),
    ):
        status, said = await rig.ask(method, path, body)
        assert (status, "Alertmanager cannot be reached" in said["error"]) == (502, True)
    assert (await rig.ask("GET", f"/{number}/silences"))[0] == 200


async def test_an_incident_that_no_alertmanager_has_sent_cannot_be_silenced(rig: Rig) -> None:
    _, raised = await rig.ask("POST", "", {"text": "look", "team": "backend"})
    status, said = await rig.ask("POST", f"/{raised['id']}/silences", {"minutes": 5, "matchers": ["a=b"]})
    assert (status, "alertmanager.url" in said["error"]) == (409, True)


async def test_a_receiver_finds_the_alertmanager_that_its_file_names(
    tmp_path: Path, alertmanager: Alertmanager
) -> None:
    receiver = Receiver(*load(written(tmp_path, {"alertmanager": {"url": alertmanager.url}})))
    async with aiohttp.ClientSession() as session:
        await alertmanager.ready(session)
        await receiver.start(session)
        async with TestClient(BoundedServer(receiver.application())) as client:
            bearer = {"Authorization": "Bearer t"}
            async with client.post("/webhook/alertmanager", data=encoded(), headers=bearer) as answer:
                number = (await answer.json())["incident"]
            path = f"/api/v1/incidents/{number}/silences"
            async with client.post(path, json={"minutes": 5, "actor": "linh"}, headers=bearer) as answer:
                made = await answer.json()
                assert answer.status == 201, made
        known = await AlertmanagerApi(alertmanager.url, session).silences()
        assert not known[made["id"]].is_over
    await receiver.stop()
