"""`receiver silence` as somebody types it, down to the real Alertmanager."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer

from process.settings import Secret
from process.web import require_bearer
from receiver.__main__ import main
from receiver.web.api import IncidentApi
from receiver.web.silences_api import SilencesApi
from tests.fakes.alertmanager import Alertmanager
from tests.process.bounded_server import BoundedServer
from tests.receiver.silence_site import Site, a_site

pytestmark = pytest.mark.stack


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    running = Alertmanager(tmp_path / "alertmanager")
    yield running
    running.stop()


class Rig:
    def __init__(self, site: Site, server: BaseTestServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.site, self._server, self._capsys = site, server, capsys

    async def type(self, *words: str) -> tuple[int, str]:
        where = ("--receiver.url", str(self._server.make_url("/")), "--token.file", str(self.site.folder / "token"))
        status = await asyncio.to_thread(main, ["silence", *words, *where, "--as", "linh"])
        printed = self._capsys.readouterr()
        return status, printed.out + printed.err


@pytest.fixture
async def rig(tmp_path: Path, alertmanager: Alertmanager, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Rig]:
    (tmp_path / "token").write_text("t", "utf-8")
    async with a_site(tmp_path, alertmanager) as site:
        routes = SilencesApi(site.silences, site.store).routes()
        below = IncidentApi(site.store, site.actions, require_bearer(Secret("t"), "it is t")).application(routes)
        app = web.Application()
        app.add_subapp("/api/v1", below)
        async with BoundedServer(app) as server:
            yield Rig(site, server, capsys)


async def test_a_silence_from_the_command_line(rig: Rig) -> None:
    number = str(await rig.site.fire("a", "b"))
    await rig.site.fire("elsewhere")
    _, counted = await rig.type(number, "--count", "--matcher", rig.site.matchers[0])
    assert "2 of 2 alerts of the incident" in counted
    assert "and 1 others" in counted
    assert "host=elsewhere" in counted
    assert await rig.type(number) == (0, "no silences\n")
    status, made = await rig.type(number, "--for", "2h", "--matcher", 'host="a"', "--comment", "new disks")
    ((name, there),) = (await rig.site.api.silences()).items()
    assert (status, name in made, "new disks" in made) == (0, True, True)
    assert there.created_by == "Linh"
    await rig.type(number, "--change", name, "--for", "5h")
    changed = (await rig.site.api.silences())[name]
    assert changed.ends_at > there.ends_at
    assert (await rig.type(number, "--end", name))[0] == 0
    status, said = await rig.type(number, "--end", name)
    assert (status, "it has ended" in said) == (1, True)
    status, said = await rig.type(number, "--change", name)
    assert (status, "--for or --until" in said) == (1, True)
