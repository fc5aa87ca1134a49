"""The whole product on free ports, for a story: the real programs, and local servers in place of the providers."""

import asyncio
import json
import re
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from deploy.local.ports import free_port
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSMTP

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".stack/bin"
KEYS = {"engineers": "e" * 32, "leads": "l" * 32}
SLACK_TOKEN = "xoxb-story"
PATIENCE = 180.0


async def until(what: str, question: Callable[[], object], patience: float = PATIENCE) -> None:
    """Ask until the answer is true; fail with ``what`` when it never is."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < patience:
        answer = question()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        # The longer it takes, the less often: asking costs the programs the time in which they would answer.
        await asyncio.sleep(min(0.25, max(0.02, waited / 10)))
    raise AssertionError(f"timed out after {patience:.0f} s waiting until {what}")


class Stack:
    """Starts and stops the programs that a story needs."""

    def __init__(self, folder: Path, steps: tuple[str, ...] = ("0s", "4s", "300s", "600s")) -> None:
        self.folder, self._steps, self.hold = folder, steps, "2s"
        self.ports = {n: free_port() for n in ("exporter", "receiver", "prometheus", "alertmanager")}
        self.tokens = {n: secrets.token_urlsafe(32) for n in ("webhook", "api", "link", "exporter")}
        self.pagerduty, self.smtp = FakePagerDuty(set(KEYS.values())), FakeSMTP()
        people = {"U01LINH", "U01MAREK", "U01AISHA", "U01PETER"}
        teams = set(re.findall(r"#alerts[a-z-]*", (ROOT / "tests/receiver/receiver.yml").read_text("utf-8")))
        self.slack = FakeSlack(SLACK_TOKEN, people | teams)
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await self.pagerduty.start()
        await self.slack.start()
        self.smtp.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Prometheus first: it does not end before it has written to another program what it has.
        for name in sorted(self._processes, key=lambda name: name != "prometheus"):
            await self.stop(name)
        await self.session.close()
        await self.pagerduty.stop()
        await self.slack.stop()
        self.smtp.stop()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    async def start(self, *names: str) -> None:
        """Start these beside each other, and Prometheus when the others are ready: it would find them down."""
        await self._start(*(name for name in names if name != "prometheus"))
        await self._start(*(name for name in names if name == "prometheus"))

    async def _start(self, *names: str) -> None:
        for name in names:
            command = getattr(self, f"_{name}")()
            with (self.folder / f"{name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=log, stderr=log)
            self._processes[name] = process
        for name in names:
            await until(f"{name} is ready", partial(self._ready, name))

    async def stop(self, name: str, signum: signal.Signals = signal.SIGTERM) -> int:
        process = self._processes.pop(name)
        if process.returncode is None:
            process.send_signal(signum)
        return await asyncio.wait_for(process.wait(), 30)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", errors="replace")[-2000:] if path.exists() else ""

    async def _ready(self, name: str) -> bool:
        process = self._processes[name]
        assert process.returncode is None, f"{name} stopped: {self.log(name)}"
        try:
            async with self.session.get(f"{self.url(name)}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def _write(self, name: str, content: object) -> Path:
        path = self.folder / f"{name}.yml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        return path

    def _exporter(self) -> list[str]:
        config = yaml.safe_load((ROOT / "tests/exporter/exporter.yml").read_text("utf-8"))
        config |= {
            "events": {"token": self.tokens["exporter"]},
            "listen": f"127.0.0.1:{self.ports['exporter']}",
            "storage": {"path": str(self.folder / "exporter")},
            "first_increment_hold": self.hold,
        }
        del config["browser"]["listen"]
        return [sys.executable, "-m", "exporter", f"--config.file={self._write('exporter', config)}"]

    def _receiver(self) -> list[str]:
        config = yaml.safe_load((ROOT / "tests/receiver/receiver.yml").read_text("utf-8"))
        rows = zip(config["escalation_matrix"], self._steps, strict=True)
        config |= {
            "external_url": self.url("receiver"),
            "listen": f"127.0.0.1:{self.ports['receiver']}",
            "database": str(self.folder / "receiver.sqlite3"),
            "webhook": {"token": self.tokens["webhook"]},
            "api": {"token": self.tokens["api"]},
            "links": {"secret": self.tokens["link"]},
            "retry": {"first_delay": "500ms", "longest_delay": "2s"},
            "alertmanager": {"url": self.url("alertmanager"), "prometheus_url": self.url("prometheus")},
            "retention": {"archive": str(self.folder / "archive")},
            "escalation_matrix": [{**row, "after": after} for row, after in rows],
            "channels": {
                "pagerduty": {
                    "api_url": self.pagerduty.url,
                    "services": {name: {"routing_key": key} for name, key in KEYS.items()},
                },
                "slack": {"api_url": f"{self.slack.url}/api/", "token": SLACK_TOKEN},
                "email": {"host": "127.0.0.1", "port": self.smtp.port, "tls": "none", "from": "alerts@example.com"},
            },
        }
        return [sys.executable, "-m", "receiver", f"--config.file={self._write('receiver', config)}"]

    def _alertmanager(self) -> list[str]:
        """The shipped configuration, with this stack's address and token, and group times in seconds."""
        text = (ROOT / "deploy/config/alertmanager.yml").read_text("utf-8")
        token = self.folder / "webhook-token"
        token.write_text(self.tokens["webhook"], "utf-8")
        text = text.replace("http://localhost:9095", self.url("receiver")).replace("secrets/webhook-token", str(token))
        config = yaml.safe_load(text)
        del config["global"]["smtp_auth_password_file"]  # its file is not here; 0.25 does not know the key
        del config["global"]["smtp_auth_username"]
        config["global"] |= {"smtp_smarthost": f"127.0.0.1:{self.smtp.port}", "smtp_require_tls": False}
        for route in (config["route"], *config["route"]["routes"]):
            # Long enough for a cause, judged by another group within the same second, to hide its consequences.
            route |= {"group_wait": "2s", "group_interval": "2s"}
        path = self._write("alertmanager", config)
        storage = f"--storage.path={self.folder / 'alertmanager'}"
        listen = f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}"
        return [str(TOOLS / "alertmanager"), f"--config.file={path}", storage, "--cluster.listen-address=", listen]

    def _prometheus(self) -> list[str]:
        """The shipped rules with windows of 5m as 15s and waits of minutes as seconds; jobs only for what runs."""
        folder = self.folder / "rules"
        folder.mkdir(exist_ok=True)
        for source in (ROOT / "rules").glob("*.yml"):
            rules = json.loads(json.dumps(yaml.safe_load(source.read_text("utf-8"))).replace("[5m]", "[15s]"))
            for group in rules["groups"]:
                group["interval"] = "1s"
                for rule in group["rules"]:
                    if rule.get("for") == "2m" or str(rule.get("alert", "")).startswith("Receiver"):
                        rule["for"] = "2s"
            (folder / source.name).write_text(yaml.safe_dump(rules, sort_keys=False), "utf-8")
        jobs = {"heypeter-app": "exporter", "receiver": "receiver", "alertmanager": "alertmanager"}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "*.yml")],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.ports['alertmanager']}"]}]}]
            },
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{self.ports[name]}"]}]}
                for job, name in jobs.items()
            ],
        }
        path = self._write("prometheus", config)
        storage = f"--storage.tsdb.path={self.folder / 'prometheus'}"
        listen = f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}"
        # The first alerts leave before Alertmanager has been discovered, and come again only after this delay.
        resend = "--rules.alert.resend-delay=2s"
        return [str(TOOLS / "prometheus"), f"--config.file={path}", storage, listen, resend]

    async def post_events(self, events: list[dict[str, Any]]) -> None:
        headers = {"Authorization": f"Bearer {self.tokens['exporter']}"}
        async with self.session.post(f"{self.url('exporter')}/api/events", json=events, headers=headers) as answer:
            body = await answer.json()
            assert (answer.status, body["accepted"]) == (202, len(events)), body

    async def query(self, expression: str, store: str = "prometheus") -> float | None:
        """The value of an instant query that gives at most one series; None if it gives none."""
        series = await self.instant(expression, store)
        return float(series[0]["value"][1]) if series else None

    async def instant(self, expression: str, store: str = "prometheus") -> list[dict[str, Any]]:
        """The series of an instant query, each with its labels as `metric`."""
        async with self.session.get(f"{self.url(store)}/api/v1/query", params={"query": expression}) as answer:
            return list((await answer.json())["data"]["result"])

    async def post_alerts(self, payload: dict[str, Any]) -> int:
        headers = {"Authorization": f"Bearer {self.tokens['webhook']}"}
        url = f"{self.url('receiver')}/webhook/alertmanager"
        async with self.session.post(url, json=payload, headers=headers) as answer:
            return answer.status

    async def nothing_is_owed(self) -> bool:
        """Whether the receiver has delivered everything, on all three channels."""
        async with self.session.get(f"{self.url('receiver')}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        ages = [line for line in lines if line.startswith("receiver_outbox_oldest_age_seconds{")]
        return len(ages) == 3 and all(line.endswith(" 0.0") for line in ages)

    async def incidents(self) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.tokens['api']}"}
        async with self.session.get(f"{self.url('receiver')}/api/v1/incidents", headers=headers) as answer:
            return list((await answer.json())["incidents"])

    async def incident(self, number: int) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.tokens['api']}"}
        async with self.session.get(f"{self.url('receiver')}/api/v1/incidents/{number}", headers=headers) as answer:
            return dict(await answer.json())
