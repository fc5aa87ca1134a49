"""`make run`: every rule evaluates, and nobody is told of what is not there on one machine without a school."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import parse_duration

from tests.stories.stack import ROOT, Stack, until

pytestmark = [pytest.mark.stack, pytest.mark.story]

LOCAL = ROOT / "deploy/local"
PORTS = {3001: "exporter", 9090: "prometheus", 9093: "alertmanager", 9095: "receiver"}
# What fires there all the time; deploy/local/prometheus.yml says why nobody is told.
UNTOLD = {"JobMissing", "ExpectedMetricMissing"}


class Local(Stack):
    """The launcher's own Prometheus and Alertmanager; the rules look every second, and wait five at most."""

    def _local(self, name: str) -> Any:  # noqa: ANN401  # YAML
        text = (LOCAL / f"{name}.yml").read_text("utf-8")
        for port, program in PORTS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[program]}")
        return yaml.safe_load(text.replace("../../data/run/secrets/webhook-token", str(self.folder / "webhook-token")))

    def _alertmanager(self) -> list[str]:
        words = super()._alertmanager()
        self._write("alertmanager", self._local("alertmanager"))
        return words

    def _prometheus(self) -> list[str]:
        words = super()._prometheus()
        folder = self.folder / "hasty-rules"
        folder.mkdir()
        for source in (ROOT / "rules").glob("*.yml"):
            groups = yaml.safe_load(source.read_text("utf-8"))["groups"]
            for rule in [rule for group in groups for rule in group["rules"] if "for" in rule]:
                rule["for"] = f"{min(int(parse_duration(rule['for']).total_seconds()), 5)}s"
            hasty = [{**group, "interval": "1s"} for group in groups]
            (folder / source.name).write_text(json.dumps({"groups": hasty}), "utf-8")
        config = self._local("prometheus")
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        self._write("prometheus", {**config, "rule_files": [str(folder / "*.yml")]})
        return words

    async def asked(self, program: str, path: str) -> Any:  # noqa: ANN401  # JSON
        async with self.session.get(f"{self.url(program)}/api/{path}") as answer:
            return await answer.json()


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    async with Local(tmp_path) as running:
        await running.start("receiver", "exporter", "alertmanager", "prometheus")
        yield running


async def test_every_rule_evaluates_and_nobody_is_told_of_what_is_not_there(local: Local) -> None:
    often = "min(prometheus_rule_group_iterations_total) > 10"
    await until("every group was evaluated often", lambda: local.query(often))
    groups = (await local.asked("prometheus", "v1/rules"))["data"]["groups"]
    assert [(r["name"], r["lastError"]) for group in groups for r in group["rules"] if r["health"] != "ok"] == []
    alerts = (await local.asked("prometheus", "v1/alerts"))["data"]["alerts"]
    assert {alert["labels"]["alertname"] for alert in alerts} == UNTOLD | {"Watchdog"}
    assert {alert["labels"]["alertname"] for alert in await local.asked("alertmanager", "v2/alerts")} == {"Watchdog"}
    assert await local.incidents() == []
