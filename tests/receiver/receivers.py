"""Several receivers on one PostgreSQL, each a process of its own, which can be stopped and killed from outside."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import yaml

from tests.crash.book import Book
from tests.crash.installation import Process
from tests.receiver.channels.test_registry import BASE
from tests.receiver.stores import conninfo, server

# A receiver that is dead is one after these seconds, and not after eight.
TURN = {"receiver.store.postgres.turns.LENGTH": 1.5, "receiver.store.postgres.store._PRESENT_EVERY": 0.3}
TOKEN = {"Authorization": "Bearer t"}
HOST = {"Host": "oncall.example.com"}  # as a balancer with TLS before them hands it on
OURS = {"Sec-Fetch-Site": "same-origin"}


class Programs:
    """The processes of receivers: their modules are loaded once, and each life of one is a fork."""

    def __init__(self, folder: Path, count: int) -> None:
        self.book = Book(folder / "book.jsonl")
        self.processes = [Process(folder, self.book, f"receiver-{number}") for number in range(count)]

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(process.begin(os.environ) for process in self.processes))
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes:
            await process.end()
        self.book.close()


class Receivers:
    """Lives of all of them, for one test. ``settings`` are of all, but for ``own`` of the one of that number."""

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        constants: Mapping[str, float] | None = None,
        own: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        self.folder, self.settings, self._own = folder, settings, own or {}
        self._constants = {**TURN, **(constants or {})}
        self.book, self.processes = programs.book, programs.processes
        self._ended: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        try:
            for number in range(len(self.processes)):  # the first leads
                self.write(number)
                await self.start(number)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for life in list(self.book.running):
            self.book.kill("end", life)
        await asyncio.gather(*self._ended.values())
        await self.session.close()

    def write(self, number: int, **changed: object) -> None:
        """Write the configuration of one."""
        process = self.processes[number]
        where = self.folder / f"state-{number}"
        where.mkdir(exist_ok=True)
        own = {"listen": f"127.0.0.1:{process.port}", "state_dir": str(where), "postgres": {"url": _url(self.folder)}}
        config = {**BASE, **self.settings, **self._own.get(number, {}), **own, **changed}
        del config["database"]
        process.config.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        process.config.chmod(0o600)

    async def start(self, number: int, constants: Mapping[str, float] | None = None) -> None:
        """Begin a life of one, and wait until it serves."""
        process = self.processes[number]
        await process.start({"constants": {**self._constants, **(constants or {})}})
        self._ended[number] = asyncio.ensure_future(process.ended())
        await process.listens(self._ended[number])
        assert not self._ended[number].done(), process.log()

    @property
    def alive(self) -> list[int]:
        """Give those that run."""
        return [number for number, process in enumerate(self.processes) if process.life in self.book.running]

    async def outage(self, number: int) -> str:
        """Say why one of them cannot write, as its metrics do."""
        status, text = await self.ask(number, "GET", "/metrics")
        assert status == 200
        return " ".join(re.findall(r'^receiver_store_outage{reason="(\w+)"} 1', text, re.MULTILINE))

    async def kill(self, number: int) -> None:
        """SIGKILL."""
        self.book.kill("asked", self.processes[number].life)
        await self._ended[number]

    def pause(self, number: int) -> None:
        """SIGSTOP."""
        self.signal(number, signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        """SIGCONT."""
        self.signal(number, signal.SIGCONT)

    def signal(self, number: int, signum: signal.Signals) -> None:
        os.kill(self.book.running[self.processes[number].life], signum)

    def log(self, number: int) -> str:
        """Give what one of them has written so far."""
        return self.processes[number].config.with_suffix(".log").read_text("utf-8", "replace")

    async def ask(self, number: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Ask one of them; gives the status and what it says."""
        sent = {**TOKEN, **HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"{self.processes[number].url}{path}"
        async with self.session.request(method, url, json=body, headers=sent, allow_redirects=False) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())

    async def fire(self, number: int, name: str = "HighErrorRate", **labels: str) -> None:
        """Let an alert fire, of which one of them hears."""
        await self._tell(number, name, labels, firing=True)

    async def end(self, number: int, name: str = "HighErrorRate", **labels: str) -> None:
        """Let it end."""
        await self._tell(number, name, labels, firing=False)

    async def beat(self, number: int) -> None:
        """Let one of them hear the Watchdog."""
        await self._tell(number, "Watchdog", {}, firing=True, to="watchdog")

    async def _tell(
        self, number: int, name: str, labels: Mapping[str, str], *, firing: bool, to: str = "alertmanager"
    ) -> None:
        status = "firing" if firing else "resolved"
        ends_at = "0001-01-01T00:00:00Z" if firing else "2026-11-23T04:00:00Z"
        alert = {
            "status": status,
            "labels": {"alertname": name, "severity": "critical", **labels},
            "annotations": {},
            "startsAt": "2026-11-23T03:00:00Z",
            "endsAt": ends_at,
            "fingerprint": name.lower(),
        }
        body = {"version": "4", "groupKey": f'{{}}:{{alertname="{name}"}}', "status": status, "receiver": "receiver"}
        rest = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [alert]}
        assert (await self.ask(number, "POST", f"/webhook/{to}", {**body, **rest}))[0] == 200

    async def incidents(self, number: int) -> list[dict[str, Any]]:
        status, answer = await self.ask(number, "GET", "/api/v1/incidents")
        assert status == 200
        return list(answer["incidents"])

    async def told(self, number: int, incident: int, kind: str) -> int:
        """Count the lines of this kind in the timeline of an incident."""
        _, answer = await self.ask(number, "GET", f"/api/v1/incidents/{incident}")
        return sum(line["kind"] == kind for line in answer["timeline"])

    async def metric(self, number: int, name: str) -> float | None:
        """Read the sum of a family's samples at one of them; ``name`` may have labels. None if there are none."""
        _, text = await self.ask(number, "GET", "/metrics")
        values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if re.match(rf"{re.escape(name)}[ {{]", line)]
        return sum(map(float, values)) if values else None


def _url(folder: Path) -> str:
    words = dict(word.split("=", 1) for word in server().split())
    options = re.search(r"options='([^']*)'", conninfo(folder))
    assert options is not None
    where = f"{words['user']}@{words['host']}:{words['port']}/{words['dbname']}"
    return f"postgresql://{where}?options={quote(options[1])}"
