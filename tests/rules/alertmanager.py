"""Real Alertmanagers with the product's routes, inhibitions and mute times, which tell a recorder and nobody else."""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port
from tests.stories.stack import until

PROGRAM = Path(".stack/bin/alertmanager").absolute()
# How long each node of a cluster waits for the one before it; 15s unless told.
TURN = "5s"
CONFIG = Path("deploy/config/alertmanager.yml")


def labels_of_rules() -> dict[str, dict[str, str]]:
    """Give the labels of each alert by its name, as the rules write them."""
    return {
        rule["alert"]: {key: value.replace("{{ $labels.team }}", "backend") for key, value in rule["labels"].items()}
        for path in sorted(Path("rules").glob("*.yml"))
        for group in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


LABELS = labels_of_rules()


def alert(name: str, env: str, **more: str) -> dict[str, str]:
    return {"alertname": name, "env": env, "job": "any", **LABELS[name], **more}


class Recorder:
    """Stand where the receiver stands, and keep what it would have been told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        app = web.Application()
        app.router.add_post("/{receiver}", self._take)
        self._server = TestServer(app)

    async def start(self) -> str:
        await self._server.start_server()
        return str(self._server.make_url("/"))

    async def stop(self) -> None:
        await self._server.close()

    async def _take(self, request: web.Request) -> web.Response:
        self.told.append({"to": request.match_info["receiver"], **await request.json()})
        return web.Response()

    def of(self, name: str) -> list[dict[str, Any]]:
        """Give the notifications about one alert to the receiver, oldest first."""
        return [one for one in self.told if one["groupLabels"]["alertname"] == name and one["to"] == "receiver"]


def routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", []):
        yield from routes(child)


def configured(recorder: str, timings: Mapping[str, str], zone: str | None) -> dict[str, Any]:
    """Give the product's configuration with the recorder's addresses, and where a test asks for it quicker or moved.

    *zone* takes the place of the school's in the mute times: so a test chooses what the clock there shows now.
    """
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    names = [receiver["name"] for receiver in config["receivers"]]
    config["receivers"] = [{"name": name, "webhook_configs": [{"url": recorder + name}]} for name in names]
    for route in routes(config["route"]):
        route |= {key: value for key, value in timings.items() if key in route}
    if zone:
        for interval in config["time_intervals"]:
            for times in interval["time_intervals"]:
                times["location"] = zone
    return config


class Alertmanager:
    """One running Alertmanager; *peers* are the gossip addresses of its cluster, none for a single one."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        self._folder, self._session = folder, session
        self._port, self.gossip = free_port(), f"127.0.0.1:{free_port()}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, config: dict[str, Any], peers: tuple[str, ...] = ()) -> None:
        self._folder.mkdir()
        (self._folder / "alertmanager.yml").write_text(yaml.safe_dump(config), "utf-8")
        words = [
            *("--config.file=alertmanager.yml", "--storage.path=data", f"--cluster.peer-timeout={TURN}"),
            f"--web.listen-address=127.0.0.1:{self._port}",
            f"--cluster.listen-address={self.gossip if peers else ''}",
            *(f"--cluster.peer={peer}" for peer in peers if peer != self.gossip),
        ]
        quiet = subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, *words, cwd=self._folder, stdout=quiet, stderr=quiet
        )
        await until("Alertmanager is ready", self._ready)

    async def kill(self) -> None:
        """End it at once; one that leaves a cluster properly says goodbye for 10 s."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _ready(self) -> bool:
        try:
            async with self._session.get(f"http://127.0.0.1:{self._port}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def fire(self, *alerts: dict[str, str]) -> None:
        body = json.dumps([{"labels": labels} for labels in alerts])
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self._port}/api/v2/alerts"
        async with self._session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def ask(self, path: str) -> Any:  # noqa: ANN401  # JSON of the real Alertmanager, looked into by the tests
        async with self._session.get(f"http://127.0.0.1:{self._port}/api/v2/{path}") as answer:
            return await answer.json()

    async def metric(self, name: str) -> float:
        """Give the value of one series of its own metrics, 0 when it has none."""
        async with self._session.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            text = await answer.text()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def hidden(self, env: str) -> set[str]:
        alerts = await self.ask(f"alerts?filter=env={env}")
        return {alert["labels"]["alertname"] for alert in alerts if alert["status"]["inhibitedBy"]}

    async def caught_up(self) -> None:
        """Wait for a known effect: the inhibitor takes alerts in the order in which they were fired."""
        await self.fire(alert("DatabaseDown", "canary"), alert("HighErrorRate", "canary"))
        effect = partial(self._hides, "canary", {"HighErrorRate"})
        await until(f"DatabaseDown hides HighErrorRate ({CONFIG}, inhibit_rules)", effect)

    async def _hides(self, env: str, expected: set[str]) -> bool:
        return await self.hidden(env) == expected
