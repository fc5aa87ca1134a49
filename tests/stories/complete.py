"""The school with all that a dashboard shows: a limit of Redis, a certificate, a cluster, a disk, incidents."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import trustme
import yaml

from deploy.local.ports import free_port
from tests.stories.disk import mounted
from tests.stories.stack import until
from tests.stories.stores import COUNTED, EVERYTHING, Stores, lively
from tests.stories.victoria import command, there, writing

PRIORITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "info"}
FACTOR, SCRAPE = 20, "2s"  # a busy machine loses scrapes of half a second, and with them the series
STEPS = "max(receiver_step_lateness_seconds_count) > 0"
EVENTS = "max(receiver_time_to_{verb}_seconds_count{{priority='{priority}'}})"
_TLS = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/site.pem; ssl_certificate_key {folder}/site.pem;
    location / {{ return 200 "the school\\n"; }}
  }}
}}
"""


class Complete(Stores):
    """The stores with what a school may leave out; `no_disk` says why there is no disk, where there is none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FACTOR)
        self.ports |= {"https": free_port(), "cluster": free_port(), "victoria": free_port()}
        self.no_disk = ""

    def _redis(self) -> list[str]:
        return [*super()._redis(), "--maxmemory", "64mb"]

    def _nginx(self) -> list[str]:
        words, path = super()._nginx(), self.folder / "nginx.conf"
        site = trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem
        site.write_to_path(self.folder / "site.pem")
        text = path.read_text("utf-8").rstrip().removesuffix("}")
        path.write_text(text + _TLS.format(folder=self.folder, port=self.ports["https"]), "utf-8")
        return words

    def _blackbox_exporter(self) -> list[str]:
        words = super()._blackbox_exporter()
        http = {"preferred_ip_protocol": "ip4", "tls_config": {"insecure_skip_verify": True}}
        self._write("blackbox", {"modules": {"http_2xx": {"prober": "http", "http": http}}})
        return words

    def _alertmanager(self) -> list[str]:
        cluster = f"--cluster.listen-address=127.0.0.1:{self.ports['cluster']}"
        return [cluster if word.startswith("--cluster.listen-address") else word for word in super()._alertmanager()]

    def _victoria(self) -> list[str]:
        return command(self.ports["victoria"], self.folder / "victoria")

    def _prometheus(self) -> list[str]:
        """Scrape it all, and write it to VictoriaMetrics where there is one."""
        words = super()._prometheus()
        config = yaml.safe_load((self.folder / "prometheus.yml").read_text("utf-8"))
        probes = next(job for job in config["scrape_configs"] if job["job_name"] == "blackbox-http")
        probes["static_configs"][0]["targets"].append(f"https://127.0.0.1:{self.ports['https']}/")
        config["global"] |= {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
        self._write("prometheus", writing(config, self.ports["victoria"]) if there() else config)
        return words

    async def answer_incidents(self) -> None:
        """Open, acknowledge and end an incident of every priority, so that there are times to be shown."""
        for number in count():
            await asyncio.gather(*(self._alert(priority, number, "firing") for priority in PRIORITIES))
            await until("a step of the matrix was due", partial(self.query, STEPS), self.patience)
            for incident in await self.incidents():
                for verb in ("acknowledge", "resolve"):
                    await self._answer(incident["id"], verb)
            asked = [EVENTS.format(verb=verb, priority=p) for verb in ("acknowledge", "resolve") for p in PRIORITIES]
            if all([(await self.query(one) or 0) >= 1 for one in asked]):
                return
            await asyncio.sleep(1)

    async def _alert(self, priority: str, number: int, status: str) -> None:
        labels = {"alertname": f"Rehearsal{number}", "priority": priority, "team": "backend"}
        labels["severity"] = PRIORITIES[priority]
        alert: dict[str, Any] = {"status": status, "labels": labels, "annotations": {"summary": "A rehearsal"}}
        alert |= {"startsAt": "2026-11-25T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": ""}
        alert["fingerprint"] = f"{priority.encode().hex()}{number:012x}"
        group = {"alertname": labels["alertname"], "priority": priority}
        payload = {"version": "4", "groupKey": f"{{}}:{group}", "truncatedAlerts": 0, "status": status}
        payload |= {"receiver": "receiver", "groupLabels": group, "commonLabels": labels, "commonAnnotations": {}}
        assert await self.post_alerts({**payload, "externalURL": "", "alerts": [alert]}) == 200

    async def _answer(self, number: int, verb: str) -> None:
        headers = {"Authorization": f"Bearer {self.tokens['api']}"}
        url = f"{self.url('receiver')}/api/v1/incidents/{number}/{verb}"
        async with self.session.post(url, json={"actor": "Lin Hoang"}, headers=headers) as answer:
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def complete(folder: Path) -> AsyncIterator[Complete]:
    """Start it all, and yield when Prometheus knows of it; stop everything at the end."""
    async with Complete(folder) as stores:
        stores.database.create()
        stores.disk.mkdir()
        with contextlib.ExitStack() as stack:
            stores.no_disk = stack.enter_context(mounted(stores.disk))
            await stores.start(*EVERYTHING, *(["victoria"] if there() else []))
            await until("Prometheus has seen the counters at 0", partial(stores.query, COUNTED))
            async with lively(stores):
                await stores.answer_incidents()
                yield stores
