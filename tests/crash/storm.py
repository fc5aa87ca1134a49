"""The storm: incidents over HTTP, providers as witnesses, and kills from outside; it writes down all that it saw.

The book says of each request how it ended: ``acknowledged`` (2xx), ``refused``, or ``unknown`` when the receiver died
under way. The fakes write down what they took, and kill the receiver when it is their turn.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.ports import free_port
from tests.crash.program import STATEMENTS
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.server import FakeServer
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSMTP

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"engineers": "e" * 32, "leads": "l" * 32}
TOKEN = "t" * 40
TEAMS = [f"team{number}" for number in range(8)]  # Slack takes one message a second in each channel
STEP = 2.0  # seconds to the second step
POINTS = ("accept", "before answer", "after answer")
PROVIDERS = ("pagerduty", "slack", "email")
SENDS = tuple(f"{provider}: {point}" for provider in PROVIDERS for point in POINTS)
SYNC = "fdatasync"
LIFE = 1.2  # seconds after which a life ends by a random kill, if its own has not come
TITLE = re.compile(r"storm-\d{5}(?!\d)")


def kinds() -> tuple[str, ...]:
    """Name each kind of kill that this machine can do."""
    return (*STATEMENTS, *SENDS, *((SYNC,) if which("strace") else ()), "random")


@dataclass
class Book:
    """What happened, in its order; ``life`` is the number of the receiver that runs or ran last."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    life: int = 0
    pid: int = 0
    armed: str = ""  # the point at a provider that kills next
    how: str = ""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def write(self, **line: object) -> None:
        with self.guard:
            self.lines.append({"at": time.time(), **line})

    def kill(self, how: str) -> None:
        with self.guard:
            pid, self.pid = self.pid, 0
            if not pid:
                return
            self.armed, self.how = "", how
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def at(self, point: str) -> None:
        """Kill if this is the point that was asked for."""
        if self.armed == point:
            self.kill(point)

    def took(self, channel: str, target: str, kind: str, identity: str, titles: list[str], life: int) -> None:
        self.write(
            type="send",
            channel=channel,
            target=target,
            kind=kind,
            identity=identity,
            titles=titles,
            life=life,
        )


class _Witness(FakeServer):
    """A provider that takes its time, fails now and then before it takes anything, and kills."""

    name = ""
    book: Book
    chance: random.Random
    failing, slow = 0.1, 0.0

    async def _take(self, request: web.Request) -> web.StreamResponse:
        life = self.book.life
        self.book.at(f"{self.name}: accept")
        raw = await request.read()
        if await self.stall(raw):
            return web.Response(status=503, text="too late")
        await asyncio.sleep(self.slow + self.chance.random() * 0.12 + 0.4 * (self.chance.random() < 0.1))
        if self.book.life != life or self.chance.random() < self.failing:
            return web.Response(status=503, text="try again")
        answer = await super()._take(request)
        if isinstance(answer, web.Response) and answer.status < 300 and '"ok": false' not in (answer.text or ""):
            self.taken(request.path, json.loads(raw or b"{}"), life)
        self.book.at(f"{self.name}: before answer")
        if self.book.armed == f"{self.name}: after answer":
            await answer.prepare(request)
            await answer.write_eof()
            self.book.at(f"{self.name}: after answer")
        return answer

    async def stall(self, _raw: bytes) -> bool:
        return False

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
    book: Book
    chance: random.Random

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        life = self.book.life
        self.book.at("email: accept")
        await asyncio.sleep(self.chance.random() * 0.12)
        if self.book.life != life or self.chance.random() < 0.1:
            return "451 try again"
        answer = await super().handle_DATA(server, session, envelope)
        to, mail = self.mails[-1]
        titles = sorted(set(TITLE.findall(str(mail["Subject"]) + str(mail.get_body(("plain",))))))
        self.book.took("email", to[0], mail["X-HeyPeter-Kind"], mail["Message-ID"], titles, life)
        self.book.at("email: before answer")
        asyncio.get_running_loop().call_later(0.002, self.book.at, "email: after answer")
        return answer


class Storm:
    """One run: start it, let it rage for so many kills, let it calm down, and read what is left by the API."""

    def __init__(self, folder: Path, seed: int, planted: str = "") -> None:
        self.folder, self.seed, self.planted = folder, seed, planted
        self.chance, self.book = random.Random(seed), Book()  # noqa: S311  # to be repeated
        self.port, self.counts, self.number = free_port(), Counter[str](), 0
        self.pagerduty = WitnessPagerDuty(set(KEYS.values()))
        self.slack = WitnessSlack("xoxb-storm", {f"#{team}" for team in TEAMS})
        self.smtp = WitnessSMTP()
        self.pagerduty.held = {}
        for witness in (self.pagerduty, self.slack, self.smtp):
            witness.book, witness.chance = self.book, random.Random(seed)  # noqa: S311
        self._people = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        await self.pagerduty.start()
        await self.slack.start()
        self.smtp.start()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        words = [self._config(), self.folder / "receiver.log", self.folder / "hits"]
        self.program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.crash.program", *map(str, words)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.book.write(type="run", seed=self.seed, planted=self.planted, step=STEP, kinds=kinds())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.book.kill("end")
        assert self.program.stdin is not None
        self.program.stdin.close()
        await self.program.wait()
        await self.session.close()
        await self.pagerduty.stop()
        await self.slack.stop()
        self.smtp.stop()

    def _config(self) -> Path:
        people = {
            "linh": {"name": "Linh Tran", "email": "linh@example.com", "pagerduty": "engineers"},
            "marek": {"name": "Marek Novak", "email": "marek@example.com", "pagerduty": "leads"},
        }
        rows = (("0s", "on-call-engineer"), (f"{STEP:.0f}s", "tech-lead"))
        config = yaml.safe_load((ROOT / "tests/receiver/receiver.yml").read_text("utf-8"))
        config |= {
            "external_url": f"http://127.0.0.1:{self.port}",
            "listen": f"127.0.0.1:{self.port}",
            "database": str(self.folder / "receiver.sqlite3"),
            "webhook": {"token": TOKEN},
            "api": {"token": TOKEN},
            "links": {"secret": TOKEN},
            "retry": {"first_delay": "300ms", "longest_delay": "1s"},
            "retention": {"keep": "365d"},
            "escalation_matrix": [
                {"after": after, **dict.fromkeys(("P1", "P2", "P3", "P4"), role)} for after, role in rows
            ],
            "catch_up_dwell": "1s",
            "roles": {"on-call-engineer": ["linh"], "tech-lead": ["marek"]},
            "people": people,
            "teams": {"default": {"slack": "#team0"}, **{team: {"slack": f"#{team}"} for team in TEAMS}},
            "fallback": {"email": ["operations@example.com"]},
            "channels": {
                "pagerduty": {
                    "api_url": self.pagerduty.url,
                    "services": {name: {"routing_key": key} for name, key in KEYS.items()},
                },
                "slack": {"api_url": f"{self.slack.url}/api/", "token": "xoxb-storm"},
                "email": {"host": "127.0.0.1", "port": self.smtp.port, "tls": "none", "from": "alerts@example.com"},
            },
        }
        del config["alertmanager"], config["repeat_last_step"], config["site"]
        path = self.folder / "receiver.yml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        return path

    async def rage(self, kills: int) -> None:
        """Begin incidents all the time, and kill the receiver so often."""
        weather = asyncio.ensure_future(self._begin_incidents())
        try:
            for _ in range(kills):
                await self._life(self._next())
        finally:
            weather.cancel()

    def _next(self) -> str:
        """Choose a kind of kill that has been seen least."""
        least = min(self.counts[kind] for kind in kinds())
        return self.chance.choice([kind for kind in kinds() if self.counts[kind] == least])

    async def _life(self, kind: str) -> None:
        asked: dict[str, object] = {"planted": self.planted}
        if kind in STATEMENTS:
            asked |= {"statement": kind, "count": self.chance.randint(1, 1 if kind == "start" else 6)}
        await self._start(asked)
        self.book.how = kind if kind in STATEMENTS else SYNC if kind == SYNC else ""
        if kind in SENDS:
            self.book.armed = kind
        tracer = await self._trace() if kind == SYNC else None
        wait = LIFE if kind != "random" else self.chance.uniform(0.05, LIFE)
        ended = asyncio.ensure_future(self._status())
        await asyncio.wait({ended}, timeout=wait)
        if not ended.done():
            self.book.kill("random")
        assert await ended == signal.SIGKILL, f"the receiver has ended by itself: {self.log()}"
        # What the dead process had still written is in the providers' sockets: it must not be taken for the next one's.
        await asyncio.sleep(0.05)
        self._over()
        if tracer is not None:
            await tracer.wait()

    def log(self) -> str:
        return (self.folder / "receiver.log").read_text("utf-8", "replace")[-2000:]

    def _over(self) -> None:
        self.book.pid, self.book.armed = 0, ""
        self.counts[self.book.how] += 1
        self.book.write(type="death", life=self.book.life, how=self.book.how)

    async def _start(self, asked: dict[str, object]) -> None:
        assert self.program.stdin is not None
        self.program.stdin.write(json.dumps(asked).encode() + b"\n")
        self.book.life += 1
        self.book.pid = (await self._said())["pid"]
        self.book.write(type="birth", life=self.book.life)

    async def _status(self) -> int:
        return int((await self._said())["status"])

    async def _said(self) -> dict[str, int]:
        assert self.program.stdout is not None
        return dict(json.loads(await self.program.stdout.readline()))

    async def _trace(self) -> asyncio.subprocess.Process:
        """Let strace kill it when it is about to sync; its own count begins when it has attached."""
        inject = f"inject=fdatasync:signal=KILL:when={self.chance.randint(1, 6)}"
        return await asyncio.create_subprocess_exec(
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject),
            *("-p", str(self.book.pid)),
            stderr=subprocess.DEVNULL,
        )

    async def _begin_incidents(self) -> None:
        while True:
            self.number += 1
            person = asyncio.ensure_future(self._incident(f"storm-{self.number:05}", self.number))
            self._people.add(person)
            person.add_done_callback(self._people.discard)
            await asyncio.sleep(self.chance.uniform(0.1, 0.3))

    async def _incident(self, title: str, number: int) -> None:
        """Fire until it is acknowledged, from two Alertmanagers at times; then people act, or nobody does."""
        payload = _payload(title, TEAMS[number % len(TEAMS)])
        twice = [self._post(title, payload) for _ in range(1 + (self.chance.random() < 0.2))]
        incident = next((found for found in await asyncio.gather(*twice) if found), 0)
        if not incident:
            return  # planted: nobody can act on what was not committed
        fate = self.chance.random()
        if fate < 0.7:
            await asyncio.sleep(self.chance.choice((0.2, 2.0)) * self.chance.random())
            await self._act(title, incident, "acknowledge")
        if 0.3 < fate < 0.9:
            await asyncio.sleep(self.chance.choice((0.2, 2.0)) * self.chance.random())
            await self._act(title, incident, "resolve")

    async def _post(self, title: str, payload: dict[str, Any]) -> int:
        while True:
            outcome, body = await self._request("/webhook/alertmanager", payload, title, "fire")
            if outcome == "acknowledged":
                return int(body.get("incident") or 0)
            await asyncio.sleep(0.1)

    async def _act(self, title: str, incident: int, act: str) -> None:
        body = {"actor": f"{act} {title}"}
        path = f"/api/v1/incidents/{incident}/{act}"
        while (await self._request(path, body, title, act))[0] != "acknowledged":  # noqa: ASYNC110  # asked each time
            await asyncio.sleep(0.1)

    async def _request(self, path: str, body: dict[str, Any], title: str, what: str) -> tuple[str, dict[str, Any]]:
        began, outcome, told = time.time(), "unknown", dict[str, Any]()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with self.session.post(f"http://127.0.0.1:{self.port}{path}", json=body, headers=headers) as answer:
                outcome = "acknowledged" if answer.status < 300 else "refused"
                told = await answer.json() if answer.status < 300 else {"status": answer.status}
        except aiohttp.ClientConnectorError:
            outcome = "refused"
        except (aiohttp.ClientError, TimeoutError):
            pass  # a 2xx that was cut off is one, too: `outcome` says what was seen of it
        self.book.write(type="request", title=title, what=what, began=began, outcome=outcome, told=told)
        return outcome, told

    async def outlive_leases(self) -> None:
        """Let PagerDuty hold events for longer than their leases of three seconds last; nothing is killed."""
        self.pagerduty.stalling, self.pagerduty.failing = True, 0.0
        await self._start({"planted": self.planted, "lease": 3.0})
        await self._five()
        await self._rest()

    async def set_the_clock(self) -> None:
        """Set the clock forward by more than a lease while PagerDuty takes its time; nothing is killed."""
        self.pagerduty.slow, self.pagerduty.failing = 2.0, 0.0
        await self._start({"planted": self.planted})
        await self._five()
        os.kill(self.book.pid, signal.SIGUSR1)
        await self._rest()

    async def _five(self) -> None:
        for number in range(1, 6):
            await self._post(f"storm-{number:05}", _payload(f"storm-{number:05}", TEAMS[number % len(TEAMS)]))

    async def calm_down(self) -> None:
        """Let a last life send what is owed."""
        await self._start({"planted": self.planted})
        await asyncio.gather(*self._people)
        await self._rest()

    async def _rest(self) -> None:
        """Wait until nothing is owed, and write down what the API says of each incident."""
        patience = time.time() + 60
        await asyncio.sleep(STEP + 1)
        while time.time() < patience and not await self._nothing_is_owed():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.1)
        before, listed = "", list[dict[str, Any]]()
        while True:
            page = await self._get(f"/api/v1/incidents?limit=1000{before}")
            listed += page["incidents"]
            if page["next"] is None:
                break
            before = f"&before={page['next']}"
        for incident in listed:
            self.book.write(type="incident", **await self._get(f"/api/v1/incidents/{incident['id']}"))
        with closing(sqlite3.connect(f"file:{self.folder / 'receiver.sqlite3'}?mode=ro", uri=True)) as db:
            self.book.write(type="database", integrity=db.execute("PRAGMA integrity_check").fetchone()[0])

    async def _get(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as answer:
            return dict(await answer.json())

    async def _nothing_is_owed(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self.session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            ages = [line for line in lines if line.startswith("receiver_outbox_oldest_age_seconds{")]
            return len(ages) == len(PROVIDERS) and all(line.endswith(" 0.0") for line in ages)
        return False

    def history(self, path: Path) -> Path:
        """Write what was seen as JSON lines."""
        path.write_text("".join(json.dumps({**line, "n": n}) + "\n" for n, line in enumerate(self.book.lines)), "utf-8")
        return path


def _payload(title: str, team: str) -> dict[str, Any]:
    labels = {"alertname": title, "severity": "critical", "team": team}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{title} fires"},
        "startsAt": "2026-11-23T03:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": f"{int(title[-5:]):016x}",
    }
    return {
        "receiver": "heypeter\\.receiver",
        "status": "firing",
        "alerts": [alert],
        "groupLabels": {"alertname": title},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{title}"}}',
        "truncatedAlerts": 0,
    }


async def run(folder: Path, seed: int, kills: int, planted: str = "") -> tuple[Path, Counter[str]]:
    """Run a storm; gives the file of its history, and how often each kind of kill was hit."""
    async with Storm(folder, seed, planted) as storm:
        if planted == "no fencing":  # with one process, only a lease that is outlived needs it
            await storm.outlive_leases()
        elif planted == "lease by local clock":
            await storm.set_the_clock()
        else:
            await storm.rage(kills)
            await storm.calm_down()
        return storm.history(folder / "history.jsonl"), storm.counts


async def run_without_kills(folder: Path, seed: int) -> list[Path]:
    """Outlive leases, and set the clock."""
    histories = []
    for name in ("outlive_leases", "set_the_clock"):
        (folder / name).mkdir()
        async with Storm(folder / name, seed) as storm:
            await getattr(storm, name)()
            histories.append(storm.history(folder / name / "history.jsonl"))
    return histories
