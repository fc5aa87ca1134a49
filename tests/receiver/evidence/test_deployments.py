"""The last deployments before an incident, and what a page shows that does not wait for Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from receiver.clients.prometheus import Prometheus
from receiver.evidence.deployments import Deployments
from tests.receiver.evidence.test_charts import Server, incident
from tests.receiver.example_site import START, Clock

HOUR = timedelta(hours=1)


class Rig:
    def __init__(self, server: Server, prometheus: Prometheus) -> None:
        self.server, self.clock = server, Clock()
        self.deployments = Deployments({"alertmanager": prometheus}, "deployed", self.clock)
        server.answer = lambda: server.vector([1.0, str((START - HOUR).timestamp())])


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    server, app = Server(), web.Application()
    app.router.add_post("/api/v1/query", server.handle)
    async with TestServer(app) as running, aiohttp.ClientSession() as session:
        rig = Rig(server, Prometheus(session, str(running.make_url("/")), timeout=30))
        yield rig
        server.go.set()
        await rig.deployments.close()


async def test_it_is_asked_as_of_the_end_of_the_incident(rig: Rig) -> None:
    (found,) = await rig.deployments.before(incident(resolved_at=START), START + HOUR)
    assert (found.at, found.name) == (START - HOUR, "job=shop")
    assert rig.server.asked[0]["time"] == f"{START.timestamp():.3f}"
    assert await rig.deployments.before(incident(resolved_at=START - 2 * HOUR), START) == ()
    assert await rig.deployments.before(incident(source="other"), START) == ()


async def test_a_page_gets_what_is_known_and_asks_for_more_once_a_minute(rig: Rig) -> None:
    rig.server.go.clear()
    assert rig.deployments.known(incident()) == ()
    assert rig.deployments.known(incident()) == ()
    await rig.server.was_asked(1)
    rig.server.go.set()
    await asyncio.gather(*rig.deployments._asking.values())  # noqa: SLF001  # the answer is on its way
    assert rig.deployments.known(incident())
    assert rig.deployments.known(incident(resolved_at=START - 2 * HOUR)) == ()
    assert len(rig.server.asked) == 1
    rig.clock.forward(minutes=1)
    rig.deployments.look("alertmanager")
    await rig.server.was_asked(2)


async def test_a_prometheus_that_refuses_costs_nothing_but_the_list(rig: Rig) -> None:
    rig.server.answer = lambda: web.Response(status=500)
    assert await rig.deployments.before(incident(), START) == ()
