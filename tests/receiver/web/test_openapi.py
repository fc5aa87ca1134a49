"""The published OpenAPI files: they are current and valid, and the receiver's says what the receiver answers."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from schemathesis import openapi as schemathesis_openapi

from deploy.generate import openapi
from receiver.app import Receiver
from receiver.config.load import load
from receiver.web.incident_acts import ACTS
from receiver.web.openapi import document
from tests.process.bounded_server import BoundedServer
from tests.receiver.channels.test_registry import written
from tests.receiver.web.test_alertmanager import encoded

DOCUMENT = document()
TOKEN = "t"  # of tests.receiver.channels.test_registry.BASE, for both
OURS = re.compile(r"/(api|webhook|heartbeat|-|metrics)(/|$)")  # the rest is for people, and for PagerDuty and Slack
SENDERS = {
    "heartbeats": {"nightly": {"every": "1d"}},
    "generic_webhooks": {"tool": {"key": "id", "status": "status", "title": "id"}},
}


@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_the_published_file_is_valid_and_current(name: str) -> None:
    path = Path(f"docs/openapi-{name}.json")
    assert path.read_text("utf-8") == openapi.texts()[path.resolve()], "run `python -m deploy.generate`"
    schemathesis_openapi.from_path(path).validate()


class Rig:
    def __init__(self, receiver: Receiver, client: TestClient[web.Request, web.Application]) -> None:
        self.receiver, self.client = receiver, client

    async def ask(self, method: str, path: str, described: str, **more: Any) -> Any:  # noqa: ANN401  # aiohttp's words
        """What is answered to a request, after a look at whether it is described."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.client.request(method, path, headers=headers, **more) as answer:
            body = await answer.json()
        response = DOCUMENT["paths"][described][method.lower()]["responses"][str(answer.status)]
        schema = {**response["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, body)
        return body


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    receiver = Receiver(*load(written(tmp_path, SENDERS)))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        async with TestClient(BoundedServer(receiver.application())) as client:
            stop = asyncio.Event()
            running = asyncio.ensure_future(receiver.run(stop))
            yield Rig(receiver, client)
            stop.set()
            await running
    await receiver.stop()


async def test_every_endpoint_for_programs_is_described_and_no_other(rig: Rig) -> None:
    served = set()
    for resource in rig.receiver.application().router.resources():
        for route in resource:
            path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical if route.resource else "")
            if OURS.match(path) and route.method != "HEAD":
                served.add((path, route.method.lower()))
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    choices = {"{action}": tuple(ACTS), "{what}": ("accept", "cancel"), "{form}": ("svg", "png")}
    choices["{decision}"] = ("keep", "giveback")
    for parameter, values in choices.items():
        served = {(path.replace(parameter, value), method) for path, method in served for value in values}
    assert described == served


async def test_answers_are_as_they_are_described(rig: Rig) -> None:
    taken = await rig.ask("POST", "/webhook/alertmanager", "/webhook/alertmanager", data=encoded())
    one = f"/api/v1/incidents/{taken['incident']}"
    await rig.ask("POST", "/webhook/alertmanager", "/webhook/alertmanager", data=b"{")
    await rig.ask("POST", "/webhook/alertmanager/eu", "/webhook/alertmanager/{source}", data=encoded())
    await rig.ask("POST", "/webhook/watchdog", "/webhook/watchdog", data=encoded())
    hook = "/webhook/generic/{name}"
    await rig.ask("POST", "/webhook/generic/tool", hook, json={"id": 1, "status": "firing"})
    await rig.ask("POST", "/webhook/generic/tool", hook, json={"id": 2, "status": "resolved"})
    await rig.ask("POST", "/webhook/generic/tool", hook, json={})
    await rig.ask("GET", "/heartbeat/nightly", "/heartbeat/{name}")
    await rig.ask("POST", "/heartbeat/nobody", "/heartbeat/{name}")
    incident = "/api/v1/incidents/{id}"
    await rig.ask("POST", f"{one}/acknowledge", f"{incident}/acknowledge", json={"actor": "linh"})
    await rig.ask("POST", f"{one}/resolve", f"{incident}/resolve", json={"firing": 0})  # one more fires
    await rig.ask("POST", f"{one}/resolve", f"{incident}/resolve")
    await rig.ask("POST", f"{one}/undo", f"{incident}/undo", json={"nobody": 1})
    await rig.ask("POST", "/api/v1/incidents", "/api/v1/incidents", json={"text": "look"})
    await rig.ask("POST", "/api/v1/incidents", "/api/v1/incidents", json={"text": "look", "team": "nobody"})
    bodies = {
        "note": {"text": "a pod"},
        "snooze": {"minutes": 60},
        "handover": {"team": "default"},
        "attach": {"to": 2},
    }
    for act in sorted(ACTS):
        await rig.ask("POST", f"{one}/{act}", f"{incident}/{act}", json=bodies.get(act, {}))
    night = {"start": "2099-11-23T18:00:00Z", "end": "2099-11-24T08:00:00Z", "out": "linh"}
    for method, path, described, body in (
        ("POST", "/covers", "/covers", night),
        ("GET", "/covers", "/covers", None),
        ("POST", "/covers/9/accept", "/covers/{id}/accept", {}),
        ("POST", "/awake", "/awake", {"actor": "nobody"}),
        ("GET", "/awake", "/awake", None),
        ("POST", "/awake/keep", "/awake/keep", {}),
        ("POST", "/windows", "/windows", {"minutes": 5, "matchers": ["job=a"]}),
        ("GET", "/windows", "/windows", None),
        ("DELETE", "/windows/1", "/windows/{id}", {}),
        ("GET", "/incidents/1/silences", "/incidents/{id}/silences", None),
        ("GET", "/incidents/1/silences/preview", "/incidents/{id}/silences/preview", None),
        ("POST", "/incidents/1/silences", "/incidents/{id}/silences", {"minutes": 5}),
        ("PUT", "/incidents/1/silences/x", "/incidents/{id}/silences/{silence}", {"minutes": 5}),
        ("DELETE", "/incidents/1/silences/x", "/incidents/{id}/silences/{silence}", {}),
        ("POST", "/incidents/1/maintenance", "/incidents/{id}/maintenance", {"minutes": 5}),
    ):
        await rig.ask(method, f"/api/v1{path}", f"/api/v1{described}", json=body)
    assert len((await rig.ask("GET", "/api/v1/incidents", "/api/v1/incidents"))["incidents"]) == 3
    await rig.ask("GET", "/api/v1/incidents?state=x", "/api/v1/incidents")
    shown = await rig.ask("GET", one, incident)
    assert shown["timeline"]
    await rig.ask("GET", "/api/v1/incidents/99", incident)


@pytest.mark.slow
async def test_a_fuzzer_finds_no_answer_that_is_not_described(rig: Rig, tmp_path: Path) -> None:
    await rig.ask("POST", "/webhook/alertmanager", "/webhook/alertmanager", data=encoded())
    (tmp_path / "openapi.json").write_text(json.dumps(DOCUMENT), "utf-8")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", str(rig.client.make_url("/"))),
        *("-H", f"Authorization: Bearer {TOKEN}", "--checks", checks, "--max-examples", "20", "--seed", "7"),
        *("--phases", "examples,coverage,fuzzing", "--no-color"),
        stdout=-1,
        stderr=-1,
        cwd=tmp_path,
    )
    output, errors = await run.communicate()
    assert run.returncode == 0, output.decode()[-6000:] + errors.decode()[-2000:]
