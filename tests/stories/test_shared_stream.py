"""Two receivers in processes of their own on a PostgreSQL: a page that is open on one shows what the other commits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bench.receiver_process import Site
from bench.receiver_storm import payload
from receiver.store.postgres.connection import Login, PostgresConnection
from receiver.web.access.session_cookie import SESSION_COOKIE, hashed
from tests.receiver.store.postgres_server import Server
from tests.stories.stores import PROGRAMS

pytestmark = [
    pytest.mark.stack,
    pytest.mark.story,
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`"),
]
_SESSION = """
INSERT INTO session (hash, person, name, groups, via, created, seen, expires, ip, agent)
SELECT ?, '', 'console', '[]', 'loopback', now, now, now + 3600, '127.0.0.1', ''
FROM (SELECT extract(epoch FROM clock_timestamp()) AS now) AS clock
"""


class Page:
    """An open page, by what its stream says."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        assert answer.content_type == "text/event-stream", answer.url
        self._answer = answer

    async def shows(self, text: str) -> None:
        """Read on until it says this."""
        async with asyncio.timeout(60):
            async for line in self._answer.content:
                if text in line.decode():
                    return
        raise AssertionError(text)


class Two:
    """Receivers ``a`` and ``b``, and somebody whose session both know."""

    def __init__(self, folder: Path, url: str) -> None:
        self._url, self.a = url, Site(folder, url)
        self.b = Site(folder, url, self.a)

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with self.a.session() as session, self.a.run(session, by=""), self.b.run(session, by=""):
            db = PostgresConnection(Login(self._url))
            db.execute(_SESSION, (hashed("s"),))
            db.close()
            yield session

    @contextlib.asynccontextmanager
    async def page(self, site: Site, path: str) -> AsyncIterator[Page]:
        """Open a page's stream, and read what it begins with."""
        cookies = {f"{SESSION_COOKIE}-{site.port}": "s"}
        jar = aiohttp.CookieJar(unsafe=True)  # of an address
        async with (
            aiohttp.ClientSession(cookies=cookies, cookie_jar=jar) as browser,
            browser.get(f"{site.url}{path}") as answer,
        ):
            page = Page(answer)
            await page.shows("retry:")
            yield page


async def test_what_one_receiver_commits_is_shown_by_pages_of_the_other_also_after_a_restart_of_the_database(
    tmp_path: Path,
) -> None:
    server = Server()
    server.create()
    try:
        server.start()
        two = Two(tmp_path, f"postgresql://postgres@127.0.0.1:{server.port}/postgres")
        async with two.run() as session:
            await _post(session, two.a, 1)
            async with two.page(two.b, "/stream") as now, two.page(two.b, "/incidents/1/stream") as incident:
                await _post(session, two.a, 2)
                await now.shows('id="i-2"')
                await _note(session, two.a, "It is the disk")
                await incident.shows("It is the disk")
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                await _post(session, two.a, 3)
                await now.shows('id="i-3"')
                await _note(session, two.a, "It was the disk")
                await incident.shows("It was the disk")
    finally:
        server.remove()


async def _post(session: aiohttp.ClientSession, site: Site, number: int) -> None:
    """Send an alert as Alertmanager does: again, until it is taken."""
    async with asyncio.timeout(60):
        while True:
            async with session.post(site.webhook, data=payload(number)) as answer:
                if answer.status == 200:
                    return


async def _note(session: aiohttp.ClientSession, site: Site, text: str) -> None:
    headers = {"Authorization": f"Bearer {site.tokens['api']}"}
    path = f"{site.url}/api/v1/incidents/1/note"
    async with session.post(path, json={"text": text}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
