"""What amtool cannot judge: the real Alertmanager groups the ten alerts and lets a cause hide its consequences."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.stories.stack import free_port, until

pytestmark = pytest.mark.stack

PROGRAM = Path(".stack/bin/alertmanager")
CONFIG = Path("deploy/config/alertmanager.yml")
RULES = [Path(f"rules/{name}.yml") for name in ("critical", "warning", "business")]
TEN = {
    rule["alert"]: rule["labels"]
    for path in RULES
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
CONSEQUENCES = {
    "HighErrorRate": {"SlowResponseTime", "LowUserRegistrations"},
    "DatabaseDown": {
        "HighErrorRate",
        "SlowResponseTime",
        "HighDatabaseConnections",
        "PaymentFailureRate",
        "LowUserRegistrations",
    },
}
# who is silent while all others fire, and who is hidden then: the worst cause hides what the lesser ones do as well
CASES = [
    ({"DatabaseDown", "HighErrorRate"}, set()),
    ({"DatabaseDown"}, CONSEQUENCES["HighErrorRate"]),
    ({"HighErrorRate"}, CONSEQUENCES["DatabaseDown"] - {"HighErrorRate"}),
    (set(), CONSEQUENCES["DatabaseDown"]),
]


class Alertmanager:
    """The product's routes and inhibitions in a running Alertmanager that tells nobody."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session

    async def ready(self) -> bool:
        try:
            async with self._session.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def fire(self, *alerts: dict[str, str]) -> None:
        body = json.dumps([{"labels": labels} for labels in alerts])
        headers = {"Content-Type": "application/json"}
        async with self._session.post(f"{self._url}/api/v2/alerts", data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def ask(self, path: str) -> Any:  # noqa: ANN401  # JSON of the real Alertmanager, looked into by the tests
        async with self._session.get(f"{self._url}/api/v2/{path}") as answer:
            return await answer.json()

    async def hidden(self, env: str) -> set[str]:
        alerts = await self.ask(f"alerts?filter=env={env}")
        return {alert["labels"]["alertname"] for alert in alerts if alert["status"]["inhibitedBy"]}

    async def caught_up(self) -> None:
        """Wait for a known effect: the inhibitor takes alerts in the order in which they were fired."""
        await self.fire(alert("DatabaseDown", "canary"), alert("HighErrorRate", "canary"))

        async def effect() -> bool:
            return await self.hidden("canary") == {"HighErrorRate"}

        await until(f"DatabaseDown hides HighErrorRate ({CONFIG}, inhibit_rules)", effect, 15)


def words(folder: Path, address: str) -> list[str]:
    """Give the command line; the receivers of the configuration keep their names and lose their addresses."""
    assert PROGRAM.exists(), "alertmanager is not there: run `make stack`"
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    config["receivers"] = [{"name": receiver["name"]} for receiver in config["receivers"]]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config), "utf-8")
    options = {"config.file": "alertmanager.yml", "storage.path": "data", "web.listen-address": address}
    return [str(PROGRAM.resolve()), *(f"--{k}={v}" for k, v in options.items()), "--cluster.listen-address="]


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    address = f"127.0.0.1:{free_port()}"
    quiet = subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*words(tmp_path, address), cwd=tmp_path, stdout=quiet, stderr=quiet)
    try:
        async with aiohttp.ClientSession() as session:
            running = Alertmanager(f"http://{address}", session)
            await until("Alertmanager is ready", running.ready, 30)
            yield running
    finally:
        process.terminate()
        await process.wait()


def alert(name: str, env: str, **more: str) -> dict[str, str]:
    return {"alertname": name, "env": env, "job": "any", **TEN[name], **more}


@pytest.mark.parametrize(("silent", "hidden"), CASES, ids=["no cause", "errors", "database", "both"])
async def test_a_cause_hides_its_consequences_alone(
    alertmanager: Alertmanager, silent: set[str], hidden: set[str]
) -> None:
    await alertmanager.fire(*(alert(name, "production") for name in TEN if name not in silent))
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == hidden, f"{CONFIG}: inhibit_rules must hide {hidden}"
    everything = {found["labels"]["alertname"] for found in await alertmanager.ask("alerts?filter=env=production")}
    assert everything == set(TEN) - silent


async def test_one_environment_does_not_hide_another(alertmanager: Alertmanager) -> None:
    await alertmanager.fire(alert("DatabaseDown", "staging"), alert("HighErrorRate", "production"))
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == set(), f"{CONFIG}: inhibit_rules need equal: [env]"


async def test_critical_hides_the_milder_alert_of_the_same_name_on_the_same_instance(
    alertmanager: Alertmanager,
) -> None:
    milder = {"severity": "warning", "priority": "P2"}
    await alertmanager.fire(
        alert("HighMemoryUsage", "production", instance="a"),
        alert("HighMemoryUsage", "production", instance="a", **milder),
        alert("HighMemoryUsage", "elsewhere", instance="b", **milder),
    )
    await alertmanager.caught_up()
    assert await alertmanager.hidden("production") == {"HighMemoryUsage"}
    assert await alertmanager.hidden("elsewhere") == set()


async def test_ten_hosts_with_one_trouble_are_one_group_and_two_troubles_are_two(alertmanager: Alertmanager) -> None:
    hosts = [alert("HighMemoryUsage", "production", instance=f"host-{n}") for n in range(10)]
    await alertmanager.fire(*hosts, alert("DiskSpaceCritical", "production", instance="host-0"))

    async def groups() -> dict[str, int]:
        found = await alertmanager.ask("alerts/groups")
        return {json.dumps(group["labels"], sort_keys=True): len(group["alerts"]) for group in found}

    def labels(name: str) -> str:
        return json.dumps({"alertname": name, "job": "any", "team": TEN[name]["team"]}, sort_keys=True)

    expected = {labels("HighMemoryUsage"): 10, labels("DiskSpaceCritical"): 1}

    async def as_expected() -> bool:
        return await groups() == expected

    await until(f"the groups are {expected}", as_expected, 15)
