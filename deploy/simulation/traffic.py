"""Sends what a school reports to an exporter: the server's events with the token, the browsers' without."""

import asyncio
import time

import aiohttp

from deploy.simulation.school import School

DAY = 120.0  # seconds that a day of 24 hours takes here
BEAT = 0.5
# What a person's Chromium sends. Headless Chromium sends HeadlessChrome, which the exporter takes for a robot.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


class Traffic:
    """Sends a batch twice a second to the exporter at ``url``; aiohttp.ClientError when that does not take it."""

    def __init__(self, url: str, token: str, school: School) -> None:
        self._url, self._token, self._school = url, token, school
        self.sent = 0

    async def run(self) -> None:
        """Send until cancelled."""
        server = {"Authorization": f"Bearer {self._token}"}
        # Robots are not counted, and pages of elsewhere may not post: be a browser on a page of our own.
        browser = {"Origin": self._url, "User-Agent": AGENT}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            began = time.monotonic()
            await self._post(session, "/api/events", self._school.morning(), server)
            while True:
                day = (time.monotonic() - began) % DAY / DAY
                await self._post(session, "/api/events", self._school.beat(day, time.time()), server)
                await self._post(session, "/api/pulse", self._school.visit(time.time()), browser)
                await asyncio.sleep(BEAT)

    async def _post(self, session: aiohttp.ClientSession, path: str, body: object, headers: dict[str, str]) -> None:
        async with session.post(self._url + path, json=body, headers=headers) as answer:
            answer.raise_for_status()
            events = body["events"] if isinstance(body, dict) else body
            self.sent += len(events) if isinstance(events, list) else 0
