"""An exporter with the example configuration, a clock that is set by hand, and what servers and browsers send it."""

import functools
from pathlib import Path
from typing import Any

import msgspec
import yaml
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import Addresses, Clock, Exporter, Listening, Settings, applications
from exporter.catalogue.model import Catalogue, CatalogueSettings, Limits, build, merged
from exporter.config import Config, Storage, load, shipped_catalogue
from exporter.self_metrics import OWN
from process.settings import Secret

EXAMPLE = Path("tests/exporter/exporter.yml")  # not deploy/config/exporter.yml, which is for others to edit
# What the shipped catalogue files say, as YAML.
SHIPPED = [
    yaml.load(Path(f"exporter/catalogue/{name}.yml").read_text("utf-8"), yaml.CSafeLoader)
    for name in ("application", "school")
]
OWN_FILE = yaml.safe_load(Path("exporter/catalogue/own.yml").read_text("utf-8"))
TOKEN = {"Authorization": "Bearer exporter-token"}
ORIGIN = "https://app.heypeteracademy.com"
# What Chrome on a desk sends with a beacon.
BROWSER = {
    "Content-Type": "text/plain;charset=UTF-8",
    "Origin": ORIGIN,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140 Safari/537.36",
}

Client = TestClient[web.Request, web.Application]


def limits() -> Limits:
    config = load(EXAMPLE)[0]
    return Limits(config.lists)


def settings(*more: Any) -> CatalogueSettings:  # noqa: ANN401  # YAML
    own, *files = [msgspec.convert(data, CatalogueSettings) for data in (OWN_FILE, *SHIPPED, *more)]
    return merged(own, files)


def a_catalogue(*more: Any) -> Catalogue:  # noqa: ANN401  # YAML
    """Give the shipped catalogue and more files."""
    return build(settings(*more), limits(), OWN)


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@functools.cache
def the_example() -> tuple[Config, Catalogue]:
    config, _, catalogue = load(EXAMPLE)
    return config, catalogue


def a_config(folder: Path | None = None, **changes: Any) -> Config:  # noqa: ANN401  # parts of a Config
    return msgspec.structs.replace(the_example()[0], storage=Storage(path=folder), **changes)


def an_exporter(time: Time, config: Config | None = None) -> Exporter:
    config, (example, catalogue) = config or a_config(), the_example()
    same = (config.lists, config.discover, config.limits) == (example.lists, example.discover, example.limits)
    what = Settings(config, catalogue if same else shipped_catalogue(config), Secret("exporter-token"))
    return Exporter(what, Clock(time, time))


def an_application(exporter: Exporter) -> web.Application:
    now = exporter.parts.settings
    return applications(exporter, Listening(Addresses("", ""), None, exporter.reloader(lambda: now), lifecycle=True))[
        0
    ][1]


async def value(client: Client, name: str, **labels: str) -> float | None:
    """One sample, as Prometheus would read it."""
    return sample_in(await (await client.get("/metrics")).text(), name, **labels)


def sample_in(text: str, name: str, **labels: str) -> float | None:
    """Find one sample; only the lines of its name are parsed, for all of them take longer than most tests."""
    of_the_name = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    for family in text_string_to_metric_families("\n".join(of_the_name)):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


async def error(answer: ClientResponse) -> str:
    return str((await answer.json())["error"])
