"""A school's day, compressed: the events that its app server, its browsers and its business would send."""

import asyncio
import math
import random
import time
from typing import Any

import aiohttp

from installation import Site

DAY = 120.0  # seconds that a day of 24 hours takes here
# route -> (method, share of the requests, median seconds)
ROUTES = {
    "/": ("GET", 0.20, 0.03),
    "/courses": ("GET", 0.20, 0.05),
    "/api/classes": ("GET", 0.20, 0.08),
    "/api/bookings": ("POST", 0.25, 0.15),
    "/api/payments": ("POST", 0.05, 0.40),
    "/login": ("POST", 0.10, 0.12),
}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
VITALS = {"LCP": 1800, "INP": 120, "CLS": 60, "FCP": 900, "TTFB": 250}


class Traffic:
    """Sends a batch twice a second; ``broken`` makes most bookings fail."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.broken = False
        self.sent = 0
        self._random = random.Random(7)  # noqa: S311  # a demo that looks the same each time

    async def run(self) -> None:
        """Send until cancelled."""
        token = self._site.secret("exporter-token").read_text("utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            began = time.monotonic()
            while True:
                events = self._batch((time.monotonic() - began) % DAY / DAY)
                url = f"{self._site.url('exporter')}/api/events"
                async with session.post(url, json=events, headers=headers) as answer:
                    answer.raise_for_status()
                    self.sent += len(events)
                await self._browse(session)
                await asyncio.sleep(0.5)

    def _batch(self, day: float) -> list[dict[str, Any]]:
        # Quiet before lessons, busy in the evening, never silent.
        busy = 8 + 10 * (1 + math.sin(2 * math.pi * (day - 0.1)))
        routes, shares = list(ROUTES), [share for _, share, _ in ROUTES.values()]
        events: list[dict[str, Any]] = []
        for route in self._random.choices(routes, shares, k=int(busy)):
            events += self._request(route)
        return events

    def _request(self, route: str) -> list[dict[str, Any]]:
        method, _, median = ROUTES[route]
        failed = self.broken and route == "/api/bookings" and self._random.random() < 0.8  # noqa: PLR2004  # most
        data = {
            "method": method,
            "route": route,
            "status": 500 if failed else 200,
            "duration": round(self._random.lognormvariate(math.log(median), 0.5), 4),
        }
        events: list[dict[str, Any]] = [{"type": "http_request", "data": data}]
        if not failed and route == "/api/bookings":
            events.append({"type": "class_booked", "data": {"class_type": "conversation", "channel": "web"}})
        if not failed and route == "/api/payments":
            events.append({"type": "payment_attempted", "data": {"provider": "stripe"}})
        if route == "/login" and self._random.random() < 0.1:  # noqa: PLR2004  # one in ten is new
            events.append({"type": "user_registered", "data": {"channel": "web", "plan": "trial"}})
        return events

    async def _browse(self, session: aiohttp.ClientSession) -> None:
        """One visitor's browser, as the document's client classes send it."""
        name, median = self._random.choice(list(VITALS.items()))
        vital = {
            "metric": name,
            "value": round(median * self._random.lognormvariate(0, 0.4)),
            "id": f"v5-{self._random.getrandbits(48)}",
            "page": self._random.choice(["/", "/courses", "/login"]),
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        # Robots are not counted, and pages of elsewhere may not post: be a browser on a page of our own.
        headers = {"Origin": self._site.url("exporter"), "User-Agent": AGENT}
        url = f"{self._site.url('exporter')}/api/rum/vitals"
        async with session.post(url, json=vital, headers=headers) as answer:
            answer.raise_for_status()
            self.sent += 1
