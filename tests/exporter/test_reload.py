"""Reloads under way: no event is lost, none waits, and many at once are few."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from exporter.app import Addresses, Exporter, Listening, Settings, applications
from process.settings import SettingsError
from tests.exporter.example_exporter import BROWSER, TOKEN, Client, Time, a_config, an_application, an_exporter, value

REQUEST = {"type": "http_request", "data": {"method": "GET", "route": "/", "status": 200, "duration": 0.25}}
REQUESTS = {"method": "GET", "route": "/", "status": "200"}
VIEW = {"type": "page_load", "data": {"page": "/", "navigation": "navigate", "total": 1.5}}
VIEWS = {"page": "/", "device": "desktop", "navigation": "navigate"}
DOORS = {
    "/api/events": (TOKEN, [REQUEST], ("http_requests_total", REQUESTS)),
    "/api/pulse": (BROWSER, {"events": [VIEW]}, ("rum_page_views_total", VIEWS)),
    "/api/metrics": (
        BROWSER,
        {"type": "page_load", "data": {"page": "/", "totalLoadTime": 1500}},
        ("rum_page_views_total", {**VIEWS, "navigation": "other"}),
    ),
}


@pytest.fixture
def exporter() -> Exporter:
    return an_exporter(Time(), a_config(first_increment_hold=0))


@pytest.mark.parametrize("path", DOORS)
async def test_what_is_sent_while_the_settings_are_replaced_is_counted(exporter: Exporter, path: str) -> None:
    headers, body, (name, labels) = DOORS[path]

    async def half_before_and_half_after() -> AsyncIterator[bytes]:
        # The body is asked for by "100 Continue": the server has begun to read it.
        text = json.dumps(body).encode()
        yield text[:9]
        exporter.reload(exporter.parts.settings)
        yield text[9:]

    async with TestClient(TestServer(an_application(exporter))) as client:
        answer = await client.post(path, data=half_before_and_half_after(), headers=headers, expect100=True)
        assert answer.status in {202, 204}, await answer.text()
        assert await value(client, name, **labels) == 1
        assert await value(client, "exporter_batches_total", source=SOURCES[path], outcome="ok") == 1


SOURCES = {"/api/events": "events", "/api/pulse": "browser", "/api/metrics": "metrics"}


class Reader:
    """Gives the settings when it is told to, and counts how often it was asked for them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.reads, self.go, self.error = settings, 0, threading.Event(), ""
        self.began = threading.Event()

    def __call__(self) -> Settings:
        self.reads += 1
        error = self.error
        self.began.set()
        assert self.go.wait(30)
        if error:
            raise SettingsError(error)
        return self.settings


@pytest.fixture
async def slow(exporter: Exporter) -> AsyncIterator[tuple[Client, Reader]]:
    reader = Reader(exporter.parts.settings)
    app = applications(exporter, Listening(Addresses("", ""), None, exporter.reloader(reader), lifecycle=True))[0][1]
    async with TestClient(TestServer(app)) as client:
        yield client, reader
        reader.go.set()


async def test_events_are_taken_while_the_settings_are_read(slow: tuple[Client, Reader]) -> None:
    client, reader = slow
    reloading = asyncio.ensure_future(client.post("/-/reload"))
    assert await asyncio.to_thread(reader.began.wait, 30)
    assert (await client.post("/api/events", json=[REQUEST], headers=TOKEN)).status == 202
    assert not reloading.done()
    reader.go.set()
    assert (await reloading).status == 200
    assert await value(client, "http_requests_total", **REQUESTS) == 1


async def test_forty_reloads_at_once_are_two(exporter: Exporter) -> None:
    reader = Reader(exporter.parts.settings)
    reloader = exporter.reloader(reader)
    first = reloader.ask()
    assert await asyncio.to_thread(reader.began.wait, 30)
    others = [reloader.ask() for _ in range(40)]
    reader.error = "it has changed"  # the first has read it already, the others have not
    reader.go.set()
    assert await asyncio.gather(first, *others) == ["", *["it has changed"] * 40]
    assert reader.reads == 2
