"""What the exporter's tests start from: the example configuration, and a clock that is told the time."""

from pathlib import Path

import msgspec
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import Exporter
from exporter.config import load
from process.settings import Secret

EXAMPLE = Path("deploy/config/exporter.yml")
TOKEN = {"Authorization": "Bearer exporter-token"}

Client = TestClient[web.Request, web.Application]


def lists() -> dict[str, tuple[str, ...]]:
    return dict(msgspec.structs.asdict(load(EXAMPLE)[0].lists))


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def an_exporter(clock: Clock) -> Exporter:
    config, _, catalogue = load(EXAMPLE)
    return Exporter(config, catalogue, Secret("exporter-token"), clock)


async def value(client: Client, name: str, **labels: str) -> float | None:
    """One sample, as Prometheus would read it."""
    text = await (await client.get("/metrics")).text()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


async def error(answer: ClientResponse) -> str:
    return str((await answer.json())["error"])
