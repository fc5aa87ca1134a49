"""The storm: incidents over HTTP, providers as witnesses, and kills from outside; it writes down all that it saw.

The book says of each request how it ended: ``acknowledged`` (2xx), ``refused``, or ``unknown`` when the receiver died
under way. The providers write down what they took, and kill the receiver when it is their turn.
"""

import asyncio
import contextlib
import math
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Any, Self

import aiohttp
import yaml

from tests.crash.book import Book
from tests.crash.installation import ROOT, Installation, OnSQLite, Process
from tests.crash.program import STATEMENTS
from tests.crash.providers import KEYS, NAMES, SENDS, TEAMS, Providers

TOKEN = "t" * 40
STEP = 2.0  # seconds to the second step
SYNC = "fdatasync"
ANSWERS = 120.0  # seconds in which a request that is repeated has to succeed at last
AT_ONCE = 8  # incidents that are read
READ = aiohttp.ClientTimeout(total=30)
SLOWEST = 20  # times as long as we wait for the next notification, we wait for all


def kinds(statements: tuple[str, ...] = OnSQLite.statements) -> tuple[str, ...]:
    """Name each kind of kill that this machine can do."""
    sync = (SYNC,) if which("strace") and statements == OnSQLite.statements else ()
    return (*statements, *SENDS, *sync, "random")


class Storm:
    """One run: start it, let it rage for so many kills, let it calm down, and read what is left by the API."""

    step = STEP
    gap = (0.1, 0.3)  # seconds between two incidents
    most_people = 400  # who wait for an answer
    again = 0.1  # seconds until a request is repeated

    def __init__(self, folder: Path, seed: int, planted: str = "", *, on: Installation | None = None) -> None:
        self.folder, self.seed, self.planted = folder, seed, planted
        self.chance, self.book = random.Random(seed), Book(folder / "history.jsonl")  # noqa: S311  # to be repeated
        self.counts, self.number = Counter[str](), 0
        self.providers = Providers(self.book, seed)
        self.installation = on or OnSQLite(folder)
        self.kinds = kinds(self.installation.statements)
        self.process = Process(folder, self.book)
        self._people = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        await self.providers.start()
        await self.installation.start()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        await self.prepare(self.process, self.settings())
        self.book.write(
            type="run",
            seed=self.seed,
            planted=self.planted,
            step=self.step,
            lease=self.installation.lease,
            kinds=self.kinds,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        if error[0] is not None:
            self.book.write(type="failed", error=repr(error[1]))
        for person in self._people:
            person.cancel()
        self.book.kill("end")
        await self.process.end()
        await self.session.close()
        await self.providers.stop()
        self.book.close()
        await self.installation.stop()

    async def prepare(self, process: Process, settings: dict[str, Any]) -> None:
        """Write its configuration, and load its modules."""
        process.config.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
        await process.begin(os.environ | self.environment())

    def url(self) -> str:
        """Say where the next request goes."""
        return self.process.url

    def environment(self) -> Mapping[str, str]:
        """Give what the receiver finds in its environment beside our own."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Give the configuration of the receiver."""
        people = {
            "linh": {"name": "Linh Tran", "email": "linh@example.com", "pagerduty": "engineers"},
            "marek": {"name": "Marek Novak", "email": "marek@example.com", "pagerduty": "leads"},
        }
        rows = (("0s", "on-call-engineer"), (f"{self.step:.0f}s", "tech-lead"))
        config: dict[str, Any] = yaml.safe_load((ROOT / "tests/receiver/receiver.yml").read_text("utf-8"))
        config |= self.installation.settings() | {
            "external_url": self.process.url,
            "listen": f"127.0.0.1:{self.process.port}",
            "webhook": {"token": TOKEN},
            "api": {"token": TOKEN},
            "links": {"secret": TOKEN},
            "retry": {"first_delay": "300ms", "longest_delay": "1s"},
            "retention": {"keep": "365d"},
            "escalation_matrix": [
                {"after": after, **dict.fromkeys(("P1", "P2", "P3", "P4"), role)} for after, role in rows
            ],
            "catch_up_dwell": "1s",
            "response_times": dict.fromkeys(("P1", "P2", "P3", "P4"), "24h"),  # no reminders, however long it rages
            "roles": {"on-call-engineer": ["linh"], "tech-lead": ["marek"]},
            "people": people,
            "teams": {"default": {"slack": "#team0"}, **{team: {"slack": f"#{team}"} for team in TEAMS}},
            "fallback": {"email": ["operations@example.com"]},
            "channels": self.channels(),
        }
        del config["alertmanager"], config["repeat_last_step"], config["site"]
        if "postgres" in config:
            del config["database"]
        return config

    def channels(self) -> dict[str, dict[str, Any]]:
        """Give the settings of the three channels."""
        pagerduty, slack, smtp = self.providers.all()
        return self.reach(pagerduty.url, slack.url, smtp.port)

    def reach(self, pagerduty: str, slack: str, smtp: int) -> dict[str, dict[str, Any]]:
        """As above, of providers that are there."""
        return {
            "pagerduty": {
                "api_url": pagerduty,
                "timeout": "30s",  # longer than a lease that is renewed
                "services": {name: {"routing_key": key} for name, key in KEYS.items()},
            },
            "slack": {"api_url": f"{slack}/api/", "token": "xoxb-storm"},
            "email": {"host": "127.0.0.1", "port": smtp, "tls": "none", "from": "alerts@example.com"},
        }

    async def rage(self, kills: int) -> None:
        """Begin incidents all the time, and kill the receiver so often."""
        weather = asyncio.ensure_future(self.begin_incidents())
        try:
            while self.counts.total() < kills:
                await self._life(self._next())
        finally:
            weather.cancel()

    def _next(self) -> str:
        """Choose a kind of kill that has been seen least."""
        least = min(self.counts[kind] for kind in self.kinds)
        return self.chance.choice([kind for kind in self.kinds if self.counts[kind] == least])

    async def _life(self, kind: str, spared: float = 0.0) -> None:
        """Start it, and kill it; ``spared`` are the seconds for which it lives first."""
        asked: dict[str, object] = {"planted": self.planted}
        if kind in STATEMENTS:
            count = self.chance.randint(1, 1 if kind == "start" else 6)
            asked |= {"statement": kind, "count": count, "spared": 0.0 if kind == "start" else spared}
        await self.process.start(asked)
        self.book.hows[self.book.life] = kind
        ended = asyncio.ensure_future(self.process.ended())
        if spared:
            await asyncio.wait({ended}, timeout=spared)
        if kind in SENDS:
            self.book.armed = kind
        sync = f"inject={SYNC}:signal=KILL:when={self.chance.randint(1, 6)}"  # counted from when strace has attached
        tracer = await self.trace(sync) if kind == SYNC else None
        most = self.installation.life
        wait = most if kind != "random" else self.chance.uniform(0.05, most)
        if kind != "random":
            await self.process.listens(ended)
        await asyncio.wait({ended}, timeout=wait)
        if not ended.done():
            self.book.kill("random")
        await self._count(await ended)
        if tracer is not None:
            await tracer.wait()

    async def _count(self, status: int) -> None:
        """See how a life has ended: killed, or by itself, since it has found no database at its start."""
        if status == signal.SIGKILL:
            self.counts[await self.over()] += 1
            return
        assert self.process.found_no_database(), f"the receiver has ended by itself: {self.process.log()}"
        self.book.hows[self.process.life] = ""
        await self.over()
        self.book.write(type="no start", log=self.process.log())

    async def over(self) -> str:
        """Write down the end of a life; say how it ended.

        What the dead process had still written is in the providers' sockets: it must not be taken for the next one's.
        """
        await asyncio.sleep(self.providers.slowest() + 0.05)
        self.book.armed = ""
        return self.book.end(self.process.life)

    async def trace(self, inject: str) -> asyncio.subprocess.Process:
        """Let strace change what the kernel answers to the process that runs, from when it has attached."""
        call = inject.removeprefix("inject=").partition(":")[0]
        return await asyncio.create_subprocess_exec(
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject),
            *("-p", str(self.book.pid)),
            stderr=subprocess.DEVNULL,
        )

    async def begin_incidents(self, most: float = math.inf) -> None:
        """Begin so many, one after the other, but wait when too many of them are not answered."""
        while self.number < most:
            while len(self._people) >= self.most_people:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.1)
            self.number += 1
            person = asyncio.ensure_future(self._incident(f"storm-{self.number:05}", self.number))
            self._people.add(person)
            person.add_done_callback(self._over)
            await asyncio.sleep(self.chance.uniform(*self.gap))

    def _over(self, person: asyncio.Task[None]) -> None:
        self._people.discard(person)
        if not person.cancelled() and (error := person.exception()) is not None:
            self.book.write(type="failed", error=repr(error))

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
            await asyncio.sleep(self.again)

    async def _act(self, title: str, incident: int, act: str) -> None:
        body = {"actor": f"{act} {title}"}
        path = f"/api/v1/incidents/{incident}/{act}"
        while (await self._request(path, body, title, act))[0] != "acknowledged":  # noqa: ASYNC110  # asked each time
            await asyncio.sleep(self.again)

    async def _request(self, path: str, body: dict[str, Any], title: str, what: str) -> tuple[str, dict[str, Any]]:
        began, outcome, told = time.time(), "unknown", dict[str, Any]()
        url, headers = f"{self.url()}{path}", {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with self.session.post(url, json=body, headers=headers) as answer:
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
        self.providers.pagerduty.stalling, self.providers.pagerduty.failing = True, 0.0
        await self.process.start({"planted": self.planted, "lease": 3.0})
        await self.five()
        await self.rest()

    async def set_the_clock(self) -> None:
        """Set the clock forward by more than a lease while PagerDuty takes its time; nothing is killed."""
        self.providers.pagerduty.slow, self.providers.pagerduty.failing = 2.0, 0.0
        await self.process.start({"planted": self.planted})
        await self.five()
        os.kill(self.book.pid, signal.SIGUSR1)
        await self.rest()

    async def five(self) -> None:
        """Post five incidents."""
        for number in range(1, 6):
            await self.fire(number)

    async def fire(self, number: int) -> None:
        """Post an incident until it is acknowledged; nobody acts on it."""
        title = f"storm-{number:05}"
        await self._post(title, _payload(title, TEAMS[number % len(TEAMS)]))

    async def calm_down(self) -> None:
        """Let a last life send what is owed."""
        await self.process.start({"planted": self.planted})
        await self.rest()

    async def rest(self, most: float = 60.0) -> None:
        """Wait until nothing is owed, or nothing has come for so many seconds; write down what the API says then."""
        if self._people:
            _, waiting = await asyncio.wait(self._people, timeout=ANSWERS)
            self.book.write(type="people", waiting=len(waiting))
        await asyncio.sleep(self.step + 0.5)
        self.book.write(type="rest", owed=await self._calm(most))
        before, listed = "", list[dict[str, Any]]()
        while True:
            page = await self._get(f"/api/v1/incidents?limit=1000{before}")
            listed += page["incidents"]
            if page["next"] is None:
                break
            before = f"&before={page['next']}"
        for some in (listed[at : at + AT_ONCE] for at in range(0, len(listed), AT_ONCE)):
            for read in await asyncio.gather(*(self._get(f"/api/v1/incidents/{one['id']}") for one in some)):
                self.book.write(type="incident", **read)
        self.book.write(type="database", integrity=await asyncio.to_thread(self.installation.integrity))
        self.book.write(type="end")

    async def _calm(self, most: float) -> str:
        """Wait while anything comes at all; say whether at last something is still owed, and whether it still comes."""
        at_last, taken, moved = time.monotonic() + SLOWEST * most, -1, 0.0
        while not await self._nothing_is_owed():
            now = time.monotonic()
            if self.book.taken > taken:
                taken, moved = self.book.taken, now
            if now > min(at_last, moved + most):
                return "coming" if now < moved + most else "stuck"
            await asyncio.sleep(0.1)
        return ""

    async def _get(self, path: str) -> dict[str, Any]:
        """Ask again what is not answered, or not in time."""
        headers, patience = {"Authorization": f"Bearer {TOKEN}"}, time.monotonic() + ANSWERS
        while True:
            try:
                async with self.session.get(f"{self.process.url}{path}", headers=headers, timeout=READ) as answer:
                    answer.raise_for_status()
                    return dict(await answer.json())
            except (aiohttp.ClientError, TimeoutError):
                if time.monotonic() > patience:
                    raise
            await asyncio.sleep(0.5)

    async def _nothing_is_owed(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.session.get(f"{self.process.url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            ages = [line for line in lines if line.startswith("receiver_outbox_oldest_age_seconds{")]
            return len(ages) == len(NAMES) and all(line.endswith(" 0.0") for line in ages)
        return False


def _payload(title: str, team: str) -> dict[str, Any]:
    labels = {"alertname": title, "severity": "critical", "team": team}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{title} fires"},
        "startsAt": "2026-09-23T03:00:00.123456789Z",
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


async def run(
    folder: Path, seed: int, kills: int, planted: str = "", *, on: Installation | None = None
) -> tuple[Path, Counter[str]]:
    """Run a storm; gives the file of its history, and how often each kind of kill was hit."""
    async with Storm(folder, seed, planted, on=on) as storm:
        if planted == "no fencing":  # with one process, only a lease that is outlived needs it
            await storm.outlive_leases()
        elif planted == "lease by local clock":
            await storm.set_the_clock()
        else:
            await storm.rage(kills)
            await storm.calm_down()
        return storm.book.path, storm.counts


async def outlive_leases(folder: Path, seed: int, on: Installation | None = None) -> tuple[Path, Counter[str]]:
    """See Storm; gives the same as `run`."""
    async with Storm(folder, seed, on=on) as storm:
        await storm.outlive_leases()
        return storm.book.path, storm.counts


async def set_the_clock(folder: Path, seed: int) -> tuple[Path, Counter[str]]:
    """See Storm; gives the same as `run`."""
    async with Storm(folder, seed) as storm:
        await storm.set_the_clock()
        return storm.book.path, storm.counts
