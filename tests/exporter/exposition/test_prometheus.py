"""What the real Prometheus' parser makes of a page with the worst texts that may stand in it."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from deploy.local.ports import free_port
from exporter.exposition.text import is_sound
from tests.exporter.example_exporter import Time, a_config, an_application, an_exporter
from tests.exporter.web.test_strangers import every_kind_of_character
from tests.stories.stack import TOOLS, until

pytestmark = pytest.mark.stack

# What escapes, ends a line, opens or closes something, or looks like the end of the page.
_HOSTILE = [
    "\\",
    '"',
    "\n",
    "\\n",
    '\\"',
    "\\\\",
    '"} 1',
    "# EOF\n",
    '# {trace_id="x"} 1',
    "{}",
    "%s%%",
    "é" * 40,
    "\U0001f600",
]


@cache
def texts() -> list[str]:
    return [f"/{text}" for text in (*_HOSTILE, *filter(is_sound, every_kind_of_character()))]


class Prometheus:
    """A real one that scrapes one target every few seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.wait_for(self._process.wait(), 30)

    async def scrape(self, port: int, protocol: str) -> None:
        target = {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}], "scrape_protocols": [protocol]}
        config = {"global": {"scrape_interval": "3s"}, "scrape_configs": [{"job_name": "it", **target}]}
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        options = [
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--enable-feature=exemplar-storage",
        ]
        with (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(TOOLS / "prometheus", *options, stdout=log, stderr=log)

    async def ask(self, path: str, **query: str) -> Any:  # noqa: ANN401  # JSON
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        async with aiohttp.ClientSession() as session, session.get(url, params=query) as answer:
            return (await answer.json())["data"]

    async def tables(self) -> set[str]:
        stored = await self.ask("query", query="db_queries_total")
        return {one["metric"]["table"] for one in stored["result"]}

    async def health(self) -> str:
        """Return "up", or why the last scrape failed; empty before there was one that was in time."""
        try:
            (target,) = (await self.ask("targets"))["activeTargets"] or [{}]
        except (aiohttp.ClientError, ValueError):
            return ""
        if not target or target["health"] == "unknown":
            return ""
        if "deadline exceeded" in target["lastError"]:  # a busy machine
            return ""
        return "up" if target["health"] == "up" else str(target["lastError"])


@pytest.mark.parametrize(
    ("protocol", "exemplars"),
    [
        ("OpenMetricsText1.0.0", True),
        ("OpenMetricsText0.0.1", True),
        ("PrometheusText1.0.0", False),
        ("PrometheusText0.0.4", False),
    ],
)
async def test_every_text_arrives_as_it_is(tmp_path: Path, protocol: str, exemplars: bool) -> None:
    exporter = an_exporter(Time(), a_config(first_increment_hold=0))
    series = exporter.parts.state.recorder.series
    for text in texts():  # past all that maps texts to labels: the exposition alone has to stand them
        series["db_queries_total"].cell(("select", text, "success")).value = 1
        cell = series["db_query_duration_seconds"].cell(("select", text))
        cell.observe(0.02)
        cell.add_exemplar(text[:60], 0.02, 1_790_000_000.0)
    async with TestClient(TestServer(an_application(exporter))) as client, Prometheus(tmp_path) as prometheus:
        assert client.port is not None
        await prometheus.scrape(client.port, protocol)
        said = list[str]()

        async def has_scraped() -> bool:
            said.append(await prometheus.health())
            return said[-1] != ""

        await until("it has scraped", has_scraped)
        assert said[-1] == "up"
        await until("it has stored the page", prometheus.tables)
        assert await prometheus.tables() == set(texts())
        span = {"start": "1780000000", "end": "1800000000"}
        of_series = await prometheus.ask("query_exemplars", query="db_query_duration_seconds_bucket", **span)
        traces = {one["labels"]["trace_id"] for series_ in of_series for one in series_["exemplars"]}
        # Prometheus 3.5 keeps the escapes of an exemplar's labels as they stand on the page.
        assert traces == ({_escaped(text[:60]) for text in texts()} if exemplars else set())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
