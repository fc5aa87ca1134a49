"""Pictures of incidents from the whole receiver: in the API, behind the address in a message, and in a mail."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from process.settings import Secret
from process.web import Handler
from receiver import app
from receiver.app import Receiver
from receiver.channels.base import PICTURE_ID
from receiver.config.load import load
from receiver.evidence.deployments import Deployments
from receiver.messages.link import ChartGrant, sign_chart
from receiver.web.access.viewer import VIEWER, Role, Viewer
from receiver.web.charts import ChartRoutes
from receiver.web.evidence import EvidenceRoutes
from receiver.web.replay_api import LIMIT
from tests.fakes.smtp import FakeSMTP
from tests.receiver.channels.test_registry import written
from tests.receiver.evidence.test_charts import RATE, URL, Server
from tests.receiver.web.test_alertmanager import with_alert

HOOK, API = {"Authorization": "Bearer t"}, {"Authorization": "Bearer t"}
PNG = b"\x89PNG\r\n"


class Rig:
    def __init__(
        self, client: TestClient[web.Request, web.Application], server: Server, mail: FakeSMTP, receiver: Receiver
    ) -> None:
        self.client, self.server, self.mail, self.receiver = client, server, mail, receiver

    async def fire(self, severity: str = "critical") -> int:
        labels = {"alertname": "HighErrorRate", "severity": severity}
        body = with_alert(generatorURL=URL.format(RATE), labels=labels)
        async with self.client.post("/webhook/alertmanager", data=body, headers=HOOK) as answer:
            return int((await answer.json())["incident"])

    async def get(self, path: str, *, api: bool = True) -> tuple[int, str, bytes]:
        async with self.client.get(path, headers=API if api else {}) as answer:
            return answer.status, answer.content_type, await answer.read()

    async def post(self, path: str, text: str) -> tuple[int, dict[str, Any]]:
        body = text.encode("utf-8", "surrogatepass")
        async with self.client.post(path, data=body, headers=API) as answer:
            return answer.status, await answer.json()

    async def mailed(self) -> EmailMessage:
        async with asyncio.timeout(30):
            while not self.mail.mails:  # noqa: ASYNC110  # the server is in another thread
                await asyncio.sleep(0.01)
        return self.mail.mails[0][1]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    server, served, mail = Server(), web.Application(), FakeSMTP()
    served.router.add_post("/api/v1/{query:query_range|query}", server.handle)
    mail.start()
    async with TestServer(served) as prometheus, aiohttp.ClientSession() as session:
        settings = {
            "channels": {"email": {"host": "127.0.0.1", "port": mail.port, "tls": "none", "from": "a@example.com"}},
            "people": {"linh": {"name": "Linh", "email": "linh@example.com", "time_zone": "Asia/Ho_Chi_Minh"}},
            "alertmanager": {"url": "http://127.0.0.1:9", "prometheus_url": str(prometheus.make_url("/"))},
            "grouping_window": "1s",
        }
        receiver = Receiver(*load(written(tmp_path, settings)))
        await receiver.start(session)
        stop = asyncio.Event()
        running = asyncio.ensure_future(receiver.run(stop))
        async with TestClient(TestServer(receiver.application())) as client:
            yield Rig(client, server, mail, receiver)
            server.go.set()
            stop.set()
            await running
        await receiver.stop()
    mail.stop()


async def test_the_api_gives_the_picture_in_both_forms(rig: Rig) -> None:
    number = await rig.fire()
    status, kind, body = await rig.get(f"/api/v1/incidents/{number}/chart.svg?theme=dark&width=360&zone=Europe/Berlin")
    assert (status, kind) == (200, "image/svg+xml")
    assert b"Europe/Berlin" in body
    status, kind, body = await rig.get(f"/api/v1/incidents/{number}/chart.png")
    assert (status, kind, body[:6]) == (200, "image/png", PNG)
    assert (await rig.get(f"/api/v1/incidents/{number}/chart.png", api=False))[0] == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("99/chart.svg", 404),
        ("1/chart.gif", 404),
        ("1/chart.svg?theme=pink", 400),
        ("1/chart.svg?width=99999", 400),
        ("1/chart.svg?zone=../etc/passwd", 400),
        ("1/chart.svg?language=xx", 400),
    ],
)
async def test_what_is_asked_wrongly_is_said(rig: Rig, path: str, status: int) -> None:
    await rig.fire()
    assert (await rig.get(f"/api/v1/incidents/{path}"))[0] == status


async def test_what_cannot_be_drawn_has_a_reason(rig: Rig) -> None:
    rig.server.answer = lambda: web.json_response({}, status=500)
    number = await rig.fire()
    status, _, body = await rig.get(f"/api/v1/incidents/{number}/chart.svg")
    assert (status, b'"reason": "refused"' in body) == (404, True)


async def test_a_page_goes_out_while_prometheus_hangs_and_links_to_the_picture(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_PICTURE", 3600.0)  # a P1 does not wait at all
    rig.server.go.clear()
    await rig.fire()
    mail = await rig.mailed()
    text = mail.get_body(("plain",))
    assert text is not None
    (url,) = re.findall(r"Chart: (\S+)", text.get_content())
    assert PICTURE_ID not in str(mail)
    rig.server.go.set()
    status, kind, body = await rig.get(urlsplit(url).path, api=False)
    assert (status, kind, body[:6]) == (200, "image/png", PNG)
    svg = (await rig.get(urlsplit(url).path.replace(".png", ".svg"), api=False))[2]
    assert b"Asia/Ho_Chi_Minh" in svg
    token = urlsplit(url).path
    assert (await rig.get(token.replace("/chart/", "/chart/x"), api=False))[0] == 403
    assert (await rig.get(token.replace("/chart/", "/answer/").removesuffix(".png"), api=False))[0] == 403


async def test_a_mail_in_less_of_a_hurry_carries_the_picture(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_PICTURE", 30.0)  # this machine may be busy
    await rig.fire("warning")
    mail = await rig.mailed()
    related = [part for part in mail.walk() if part.get_content_type() == "multipart/related"]
    (picture,) = [part for part in related[0].walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == f"<{PICTURE_ID}>"
    assert picture.get_content()[:6] == PNG
    html = mail.get_body(("html",))
    assert html is not None
    assert f"cid:{PICTURE_ID}" in html.get_content()
    text = mail.get_body(("plain",))
    assert text is not None
    assert "Chart:" not in text.get_content()


async def test_who_is_signed_in_sees_picture_and_draft_at_the_console(rig: Rig) -> None:
    number = await rig.fire()
    assert (await rig.get(f"/incidents/{number}/chart.svg"))[:2] == (200, "image/svg+xml")
    status, kind, body = await rig.get(f"/incidents/{number}/postmortem")
    assert (status, kind, body[:14]) == (200, "text/markdown", b"# Post-mortem:")
    assert (await rig.get(f"/incidents/{number}/chart.svg", api=False))[1] == "text/html"  # the sign-in
    assert (await rig.get("/incidents/99/postmortem"))[0] == 404


async def test_the_api_gives_similar_incidents_deployments_and_the_draft(rig: Rig) -> None:
    number = await rig.fire()
    rig.server.answer = lambda: rig.server.vector([1.0, str(1_700_000_000)])
    status, _, body = await rig.get(f"/api/v1/incidents/{number}/evidence")
    assert status == 200
    found = json.loads(body)
    assert found["similar"] == []
    assert found["deployments"] == [{"at": "2023-11-14T22:13:20Z", "name": "job=shop"}]
    rig.server.answer = lambda: web.Response(status=500)
    assert json.loads((await rig.get(f"/api/v1/incidents/{number}/evidence"))[2])["deployments"] == []
    status, kind, body = await rig.get(f"/api/v1/incidents/{number}/postmortem?language=de&zone=Europe/Berlin")
    assert (status, kind) == (200, "text/markdown")
    assert b"# Nachbetrachtung: P1" in body
    assert (await rig.get(f"/api/v1/incidents/{number}/postmortem?language=xx"))[0] == 400
    assert (await rig.get("/api/v1/incidents/99/evidence"))[0] == 404


async def test_the_shift_under_way_is_summed_up(rig: Rig) -> None:
    number = await rig.fire()
    status, _, body = await rig.get("/api/v1/handover?role=engineer&zone=Europe/Berlin")
    found = json.loads(body)
    assert (status, found["open"], found["leaving"], found["opened"]) == (200, [number], ["linh"], 1)
    assert "1 incident is open" in found["text"]
    assert (await rig.get("/api/v1/handover"))[0] == 400
    assert (await rig.get("/api/v1/handover?role=engineer&zone=Mars"))[0] == 400


async def test_the_page_of_an_incident_shows_the_picture_and_what_was_seen_before(rig: Rig) -> None:
    number = await rig.fire()
    page = (await rig.get(f"/incidents/{number}"))[2].decode()
    assert f'src="{number}/chart.svg"' in page
    assert f'href="{number}/postmortem"' in page
    body = (await rig.mailed()).get_body(("plain",))
    assert body is not None
    link = re.search(r"https://oncall.example.com(/answer/\S+)", body.get_content())
    assert link is not None
    page = (await rig.get(link[1], api=False))[2].decode()
    assert f'src="{link[1].rpartition("/")[2]}/chart.svg"' in page
    assert "postmortem" not in page
    assert (await rig.get(f"{link[1]}/chart.svg?theme=dark", api=False))[:2] == (200, "image/svg+xml")


@pytest.mark.parametrize(("by", "status"), [({}, 200), ({"installation": 1}, 404), ({"opened": 1}, 404)])
async def test_an_address_shows_the_incident_that_it_was_made_for(rig: Rig, by: dict[str, int], status: int) -> None:
    number = await rig.fire()
    stored = await rig.receiver.store.incident(number)
    assert stored is not None
    installation = await rig.receiver.store.installation()
    grant = ChartGrant.of(stored[0], "linh", 2**40, installation)
    token = sign_chart(msgspec.structs.replace(grant, **by), "s" * 32)
    assert (await rig.get(f"/chart/{token}.svg", api=False))[0] == status
    late = sign_chart(msgspec.structs.replace(grant, expires=1), "s" * 32)
    assert (await rig.get(f"/chart/{late}.svg", api=False))[0] == 410


async def test_who_may_see_one_incident_sees_no_other(rig: Rig) -> None:
    number = await rig.fire()
    receiver, seen = rig.receiver, Viewer("linh", "Linh", Role.RESPONDER, "link", incident=number + 1)

    @web.middleware
    async def somebody(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[VIEWER] = seen
        return await handler(request)

    charts = ChartRoutes(receiver.store, receiver.charts, receiver.current, Secret("s" * 32), app.now)
    evidence = EvidenceRoutes(
        receiver.store, receiver.current, app.now, charts, Deployments({}, "", app.now), "https://x"
    )
    served = web.Application(middlewares=[somebody])
    served.add_routes(evidence.console())
    async with TestClient(TestServer(served)) as client:
        for page in ("chart.svg", "postmortem"):
            assert (await client.get(f"/incidents/{number}/{page}")).status == 403
        seen = msgspec.structs.replace(seen, incident=number)
        assert (await client.get(f"/incidents/{number}/postmortem")).status == 200


async def test_an_edited_file_is_replayed_against_the_one_in_force(rig: Rig, tmp_path: Path) -> None:
    await rig.fire()
    text = (tmp_path / "receiver.yml").read_text("utf-8")
    status, found = await rig.post("/api/v1/replay?days=1", text)
    assert (status, found["incidents"]) == (200, 1)
    assert found["words"] == ["Every incident pages the same people, at the same time."]
    later = text.replace("after: 0m", "after: 9m")
    status, found = await rig.post("/api/v1/replay?days=1&language=de", later)
    assert found["words"][0] == "1 P1 alarmiert niemanden mehr"  # it is too young
    status, found = await rig.post("/api/v1/replay", later.replace("engineer", "nobody", 1))
    assert status == 400
    assert found["error"].startswith("receiver.yml:")
    for path, body in (("?days=0", text), ("?days=1000", text), ("?zone=Mars", text), ("", "\udc00"), ("", "[")):
        assert (await rig.post(f"/api/v1/replay{path}", body))[0] == 400
    assert (await rig.post("/api/v1/replay", "x" * (LIMIT + 1)))[0] == 413
