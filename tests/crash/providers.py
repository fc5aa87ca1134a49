"""Local servers in place of PagerDuty, Slack and SMTP: they are slow, fail, kill, and write down what they took."""

import asyncio
import json
import random
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.crash.book import Book
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.server import FakeServer
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSMTP

KEYS = {"engineers": "e" * 32, "leads": "l" * 32}
TEAMS = [f"team{number}" for number in range(8)]  # Slack takes one message a second in each channel
NAMES = ("pagerduty", "slack", "email")
POINTS = ("accept", "before answer", "after answer")
SENDS = tuple(f"{name}: {point}" for name in NAMES for point in POINTS)
TITLE = re.compile(r"storm-\d{5}(?!\d)")


class _Witness(FakeServer):
    """A provider that takes its time, fails now and then before it takes anything, and kills.

    ``steady``: it takes at once what it is sent, and answers after so many seconds.
    """

    name = ""
    book: Book
    chance: random.Random
    failing, slow, steady = 0.1, 0.0, 0.0

    async def _take(self, request: web.Request) -> web.StreamResponse:
        port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        life = self.book.life_at(port)
        self.book.at(f"{self.name}: accept")
        raw = await request.read()
        if await self.stall(raw):
            return web.Response(status=503, text="too late")
        if not self.steady:
            await asyncio.sleep(self.slow + self.chance.random() * 0.12 + 0.4 * (self.chance.random() < 0.1))
        if self.book.life_at(port) != life or self.chance.random() < self.failing:
            return web.Response(status=503, text="try again")
        answer = await super()._take(request)
        self.calls.clear()  # the book has what matters
        if isinstance(answer, web.Response) and answer.status < 300 and '"ok": false' not in (answer.text or ""):
            self.taken(request.path, json.loads(raw or b"{}"), life)
        await asyncio.sleep(self.steady)
        self.book.at(f"{self.name}: before answer")
        if self.book.armed == f"{self.name}: after answer":
            await answer.prepare(request)
            await answer.write_eof()
            self.book.at(f"{self.name}: after answer")
        return answer

    async def listen_again(self) -> str:
        """Listen at another port as well."""
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[-1][1]}"

    async def stall(self, _raw: bytes) -> bool:
        return False

    def refuse(self, status: int) -> None:
        """Answer the next request with a status."""
        self.misfortunes.append((status, {"Retry-After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}))

    @property
    def refuses(self) -> bool:
        """Say whether it still waits for that request."""
        return bool(self.misfortunes)

    def taken(self, path: str, body: dict[str, Any], life: int) -> None:
        raise NotImplementedError


class WitnessPagerDuty(_Witness, FakePagerDuty):
    """``stalling``: an event is held past its lease; when it comes again, the first fails, and then the other is taken.

    Only the holder of the newest lease may then settle it.
    """

    name = "pagerduty"
    stalling = False
    held: dict[str, list[asyncio.Event]]

    async def stall(self, raw: bytes) -> bool:
        if not self.stalling:
            return False
        event = json.loads(raw)
        came = self.held.setdefault(f"{event['dedup_key']} {event['event_action']}", [])
        came.append(asyncio.Event())
        if len(came) == 2:
            came[0].set()
            await asyncio.sleep(1.2)
        if len(came) != 1:
            return False
        await asyncio.wait_for(came[0].wait(), 30)
        return True

    def taken(self, _path: str, body: dict[str, Any], life: int) -> None:
        kind = {"trigger": "page", "acknowledge": "acknowledged", "resolve": "resolved"}[body["event_action"]]
        key = body["dedup_key"]
        titles = sorted(set(TITLE.findall(json.dumps(body))))
        service = next(name for name, routing_key in KEYS.items() if routing_key == body["routing_key"])
        self.book.took("pagerduty", service, kind, key, titles, life)


class WitnessSlack(_Witness, FakeSlack):
    name = "slack"

    def taken(self, path: str, body: dict[str, Any], life: int) -> None:
        if path == "/api/chat.postMessage":
            names = {number: name for name, number in self.ids.items()}
            target = names.get(body["channel"], body["channel"])
            titles = sorted(set(TITLE.findall(json.dumps(body))))
            identity = body["metadata"]["event_payload"]["id"]
            self.book.took("slack", target, "", identity, titles, life)


class WitnessSMTP(FakeSMTP):
    """As the others, for mail."""

    book: Book
    chance: random.Random
    failing, steady = 0.1, 0.0

    def __init__(self) -> None:
        super().__init__()
        self.unknown = set[str]()  # recipients that are refused for now

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return "450 mailbox busy"
        return await super().handle_RCPT(server, session, envelope, address, options)

    def refuse(self, status: int) -> None:
        """Answer the next mail with a status."""
        self.replies.append(f"{status} try again")

    @property
    def refuses(self) -> bool:
        """Say whether it still waits for that mail."""
        return bool(self.replies)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        life = self.book.life_at(self.port)
        self.book.at("email: accept")
        if not self.steady:
            await asyncio.sleep(self.chance.random() * 0.12)
        if self.book.life_at(self.port) != life or self.chance.random() < self.failing:
            return "451 try again"
        answer = await super().handle_DATA(server, session, envelope)
        self.contents.clear()
        if self.mails:
            to, mail = self.mails.pop()
            titles = sorted(set(TITLE.findall(str(mail["Subject"]) + str(mail.get_body(("plain",))))))
            self.book.took("email", to[0], mail["X-HeyPeter-Kind"], mail["Message-ID"], titles, life)
        await asyncio.sleep(self.steady)
        self.book.at("email: before answer")
        asyncio.get_running_loop().call_later(0.002, self.book.at, "email: after answer")
        return answer


class Providers:
    """All three."""

    def __init__(self, book: Book, seed: int) -> None:
        self.pagerduty = WitnessPagerDuty(set(KEYS.values()))
        self.slack = WitnessSlack("xoxb-storm", {f"#{team}" for team in TEAMS})
        self.smtp, self._others = WitnessSMTP(), list[WitnessSMTP]()
        self.pagerduty.held = {}
        self._book, self._seed = book, seed
        for witness in self.all():
            self._settle(witness)

    def _settle(self, witness: "_Witness | WitnessSMTP") -> None:
        witness.book, witness.chance = self._book, random.Random(self._seed)  # noqa: S311  # to be repeated

    def of(self, name: str) -> WitnessPagerDuty | WitnessSlack | WitnessSMTP:
        return self.all()[NAMES.index(name)]

    def all(self) -> tuple[WitnessPagerDuty, WitnessSlack, WitnessSMTP]:
        return self.pagerduty, self.slack, self.smtp

    def hurry(self, latency: float, failing: float) -> None:
        """Take at once what comes, answer so soon, and refuse so much."""
        witnesses: list[_Witness | WitnessSMTP] = [*self.all(), *self._others]
        for witness in witnesses:
            witness.steady, witness.failing = latency, failing

    def slowest(self) -> float:
        """Say how long one that is steady takes."""
        return max(witness.steady for witness in self.all())

    async def start(self) -> None:
        """Listen, if they do not yet."""
        if self.pagerduty.url:
            return
        await self.pagerduty.start()
        await self.slack.start()
        self.smtp.start()

    async def door(self, life: Callable[[], int]) -> tuple[str, str, int]:
        """Let one of several receivers in by ports of its own: where it finds PagerDuty, Slack and SMTP."""
        smtp = WitnessSMTP()
        self._settle(smtp)
        smtp.start()
        self._others.append(smtp)
        urls = await self.pagerduty.listen_again(), await self.slack.listen_again()
        self._book.doors |= dict.fromkeys((*(int(url.rpartition(":")[2]) for url in urls), smtp.port), life)
        return *urls, smtp.port

    async def stop(self) -> None:
        await self.pagerduty.stop()
        await self.slack.stop()
        for smtp in (self.smtp, *self._others):
            smtp.stop()
