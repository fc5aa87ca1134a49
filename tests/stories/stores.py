"""A school's real data stores, web server and disk with their real exporters, watched by all rules of the product.

For a Prometheus in which every family has a series and nothing is wrong, as a dashboard needs it to be tried::

    async with filled(tmp_path) as stores:
        prometheus = stores.url("prometheus")  # http://127.0.0.1:PORT, up until the block ends

It takes some fifteen seconds to start. Everything happens sixty times as fast as in earnest there (quick.py), so a
minute of the rules is a second; Prometheus scrapes twice a second, and PostgreSQL's exporter every two.
"""

import asyncio
import contextlib
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from deploy.local.servers import PLACE as SERVERS
from deploy.simulation.school import School
from deploy.simulation.traffic import Traffic
from tests.stories.quick import Quick
from tests.stories.stack import PATIENCE, ROOT, TOOLS, Stack, until

PROGRAMS = SERVERS / "bin"
EVERYTHING = (
    *("postgres", "redis", "nginx"),
    *("node_exporter", "postgres_exporter", "redis_exporter", "nginx_exporter", "blackbox_exporter"),
    *("receiver", "exporter", "alertmanager", "prometheus"),
)
FACTOR = 60
COUNTED = "1 + sum(class_bookings_total)"  # what nobody has booked yet is 0 already
DISKS = "ext[234]|xfs|btrfs|zfs|nfs4?"  # the file systems that rules/recording.yml counts
# The ports of the shipped prometheus.yml, and what listens there.
SHIPPED = {
    3001: "exporter",
    9090: "prometheus",
    9093: "alertmanager",
    9095: "receiver",
    9100: "node_exporter",
    9187: "postgres_exporter",
    9121: "redis_exporter",
    9113: "nginx_exporter",
    9115: "blackbox_exporter",
}
NGINX = """\
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port};
    location = /stub_status {{ stub_status; }}
    location / {{ return 200 "the school\\n"; }}
  }}
}}
"""


class Stores(Stack):
    """The stack with PostgreSQL, Redis, nginx, a disk image and the exporters of the shipped prometheus.yml."""

    def __init__(self, folder: Path, factor: int = FACTOR) -> None:
        super().__init__(folder)
        self.quick, self.patience = Quick(factor), PATIENCE * FACTOR / factor
        self.warm = True  # while not, the cache has lost everything and nobody fills it
        self.ports |= {name: free_port() for name in EVERYTHING if name not in self.ports}
        self.disk = folder / "disk"
        self.database = Postgres(self.ports["postgres"])

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        self.database.remove()

    async def stop(self, name: str, signum: signal.Signals = signal.SIGTERM) -> int:
        """Stop a program; PostgreSQL without waiting for its clients, for which it has a signal of its own."""
        return await super().stop(name, signal.SIGINT if name == "postgres" else signum)

    def _postgres(self) -> list[str]:
        return self.database.command()

    def _redis(self) -> list[str]:
        return [str(PROGRAMS / "redis-server"), *f"--port {self.ports['redis']} --save --bind 127.0.0.1".split()]

    def _nginx(self) -> list[str]:
        path = self.folder / "nginx.conf"
        path.write_text(NGINX.format(folder=self.folder, port=self.ports["nginx"]), "utf-8")
        return [str(PROGRAMS / "nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(path)]

    def _exporter_of(self, name: str, *words: str) -> list[str]:
        listen = f"--web.listen-address=127.0.0.1:{self.ports[f'{name}_exporter']}"
        return [str(TOOLS / f"{name}_exporter"), listen, *words]

    def _postgres_exporter(self) -> list[str]:
        source = f"postgresql://postgres@127.0.0.1:{self.ports['postgres']}/postgres?sslmode=disable"
        return ["env", f"DATA_SOURCE_NAME={source}", *self._exporter_of("postgres")]

    def _redis_exporter(self) -> list[str]:
        return self._exporter_of("redis", f"--redis.addr=redis://127.0.0.1:{self.ports['redis']}")

    def _nginx_exporter(self) -> list[str]:
        return self._exporter_of("nginx", f"--nginx.scrape-uri={self.url('nginx')}/stub_status")

    def _blackbox_exporter(self) -> list[str]:
        modules = {"modules": {"http_2xx": {"prober": "http", "http": {"preferred_ip_protocol": "ip4"}}}}
        # It stops this long before Prometheus would; its own half a second would leave nothing of a scrape's time.
        return self._exporter_of(
            "blackbox", f"--config.file={self._write('blackbox', modules)}", "--timeout-offset=0.1"
        )

    def _node_exporter(self) -> list[str]:
        return self._exporter_of("node", "--collector.filesystem.mount-points-exclude=^/(proc|sys)($|/)")

    def _exporter(self) -> list[str]:
        """The exporter as for any story, but a web vital is counted at once, and one visitor may do much."""
        words = super()._exporter()
        config = yaml.safe_load((self.folder / "exporter.yml").read_text("utf-8"))
        config["browser"]["settle_after"] = "1s"
        config["limits"]["client_rate"] = 1000
        config["storage"]["snapshot_every"] = "5s"
        self._write("exporter", config)
        return words

    def _prometheus(self) -> list[str]:
        """The shipped configuration with the addresses of here, and all rules made quick."""
        words = super()._prometheus()
        config = yaml.safe_load((ROOT / "deploy/config/prometheus.yml").read_text("utf-8"))
        text = yaml.safe_dump(config, sort_keys=False).replace("https://heypeteracademy.com", self.url("nginx"))
        for port, name in SHIPPED.items():
            text = text.replace(f"localhost:{port}", f"127.0.0.1:{self.ports[name]}")
        config = yaml.safe_load(text)
        scrape = f"{max(15_000 // self.quick.factor, 500)}ms"
        config["global"] |= {"scrape_interval": scrape, "evaluation_interval": scrape}
        config["global"]["scrape_timeout"] = "500ms" if scrape == "500ms" else "10s"
        config["rule_files"] = [str(self._rules() / "*.yml")]
        for job in config["scrape_configs"]:
            if job["job_name"] == "postgres" and scrape == "500ms":
                # postgres_exporter tries again for a second before it says that the database is down.
                job |= {"scrape_interval": "2s", "scrape_timeout": "2s"}
            if job["job_name"] == "node":
                job["metric_relabel_configs"] = self._of_the_disk_image_alone()
        self._write("prometheus", config)
        return words

    def _rules(self) -> Path:
        folder = self.folder / "quick-rules"
        folder.mkdir(exist_ok=True)
        for source in (ROOT / "rules").glob("*.yml"):
            rules = self.quick.rules(yaml.safe_load(source.read_text("utf-8")))
            (folder / source.name).write_text(yaml.safe_dump(rules, sort_keys=False), "utf-8")
        return folder

    def _of_the_disk_image_alone(self) -> list[dict[str, Any]]:
        """The disks of whoever runs this may be as full as they like."""
        names = ["__name__", "mountpoint"]
        ours = {"source_labels": names, "regex": f"node_filesystem_.*;{self.disk}"}
        others = {"source_labels": ["__name__", "fstype", "__tmp_ours"], "regex": f"node_filesystem_.*;({DISKS});"}
        return [
            {**ours, "target_label": "__tmp_ours", "replacement": "yes"},
            {**others, "action": "drop"},
            {"regex": "__tmp_ours", "action": "labeldrop"},
        ]

    async def _ready(self, name: str) -> bool:
        """A server listens; an exporter that listens is asked by Prometheus soon enough."""
        if name in ("exporter", "receiver", "prometheus", "alertmanager"):
            return await super()._ready(name)
        process = self._processes[name]
        assert process.returncode is None, f"{name} stopped: {self.log(name)}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.ports[name])
        except OSError:
            return False
        writer.close()
        return True

    async def rules(self) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.url('prometheus')}/api/v1/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
            return [{**rule, "file": group["file"]} for group in groups for rule in group["rules"]]

    async def active(self, within: str) -> set[str]:
        """Name the alerts that were pending or firing at any moment of so long, by Prometheus' own record.

        ``within`` is as the rules count time: 10m of a Prometheus that is sixty times as fast are ten seconds.
        """
        params = {"query": f"count by (alertname) (last_over_time(ALERTS[{self.quick.length(within)}]))"}
        async with self.session.get(f"{self.url('prometheus')}/api/v1/query", params=params) as answer:
            return {series["metric"]["alertname"] for series in (await answer.json())["data"]["result"]}

    async def suppressed(self) -> dict[str, list[str]]:
        """Name the alerts that Alertmanager inhibits, and by which."""
        async with self.session.get(f"{self.url('alertmanager')}/api/v2/alerts") as answer:
            alerts = await answer.json()
        names = {alert["fingerprint"]: alert["labels"]["alertname"] for alert in alerts}
        causes_by_alert: dict[str, list[str]] = {}
        for alert in alerts:
            causes = [names[cause] for cause in alert["status"]["inhibitedBy"] if cause in names]
            if causes:
                causes_by_alert.setdefault(names[alert["fingerprint"]], []).extend(causes)
        return causes_by_alert

    @asynccontextmanager
    async def connections(self, count: int) -> AsyncIterator[None]:
        """Hold this many connections to PostgreSQL open, idle, as an application with a leak does."""
        startup = struct.pack(">I", 196608) + b"user\0postgres\0database\0postgres\0\0"
        writers = []
        try:
            for _ in range(count):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["postgres"])
                writers.append(writer)
                writer.write(struct.pack(">I", len(startup) + 4) + startup)
                assert await reader.readexactly(1) == b"R", "PostgreSQL did not let us in"
            yield
        finally:
            for writer in writers:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def ask_redis(self, *commands: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["redis"])
        try:
            writer.write("".join(f"{command}\r\n" for command in commands).encode())
            writer.write(b"QUIT\r\n")
            await reader.read()
        finally:  # also when the story ends meanwhile
            writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def filled(folder: Path, factor: int = FACTOR) -> AsyncIterator[Stores]:
    """Start everything, let the school live, and yield when Prometheus knows all of it; stop everything at the end."""
    async with Stores(folder, factor) as stores:
        stores.database.create()
        stores.disk.mkdir()
        await stores.start(*EVERYTHING)
        await until("Prometheus has seen the counters at 0", partial(stores.query, COUNTED))
        async with lively(stores):
            yield stores


@asynccontextmanager
async def lively(stores: Stores) -> AsyncIterator[None]:
    """Let people use the school: its pages, its lessons, and a cache that answers."""
    traffic = Traffic(stores.url("exporter"), stores.tokens["exporter"], School())
    people = [asyncio.ensure_future(traffic.run()), asyncio.ensure_future(_cache(stores))]
    try:
        yield
    finally:
        for task in people:
            task.cancel()
        await asyncio.gather(*people, return_exceptions=True)


async def _cache(stores: Stores) -> None:
    while True:
        with contextlib.suppress(OSError):
            filling = ["SET course:1 spanish"] if stores.warm else ["DEL course:1"]
            await stores.ask_redis(*filling, *["GET course:1"] * 19, "GET course:2")
        await asyncio.sleep(0.5)
