"""A school's real data stores, web server and disk with their real exporters, watched by all rules of the product."""

import asyncio
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from promql_parser import parse_duration

from tests.stories.stack import ROOT, TOOLS, Stack, free_port

SERVERS = ROOT / ".stack/servers/bin"
NOBODY = 65534
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

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        names = ("postgres", "redis", "nginx", "node_exporter", "blackbox_exporter")
        names += ("postgres_exporter", "redis_exporter", "nginx_exporter")
        self.ports |= {name: free_port() for name in names}
        self.disk = folder / "disk"
        # PostgreSQL refuses to run as root, and its own user must be able to reach its folder.
        self._database = Path(tempfile.mkdtemp(prefix="heypeter-postgres-"))
        self._as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if os.geteuid():
            self._as_nobody = []

    def prepare(self) -> None:
        """Make the database cluster and the disk image, which only root can mount."""
        if self._as_nobody:
            os.chown(self._database, NOBODY, NOBODY)
        words = ["-D", str(self._database / "data"), "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run([*self._as_nobody, SERVERS / "initdb", *words], check=True, capture_output=True, cwd="/")
        self.disk.mkdir()
        if self._as_nobody:
            image = self.folder / "disk.img"
            with image.open("wb") as file:
                file.truncate(32 << 20)
            subprocess.run(["/sbin/mkfs.ext4", "-q", image], check=True)
            subprocess.run(["mount", "-o", "loop", image, self.disk], check=True)

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        if self.disk.is_mount():
            subprocess.run(["umount", "--lazy", self.disk], check=True)  # noqa: ASYNC221  # the very end
        shutil.rmtree(self._database, ignore_errors=True)

    def _postgres(self) -> list[str]:
        settings = {
            **{"port": self.ports["postgres"], "listen_addresses": "127.0.0.1", "fsync": "off"},
            **{"max_connections": 20, "unix_socket_directories": self._database, "shared_buffers": "16MB"},
        }
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._as_nobody, str(SERVERS / "postgres"), "-D", str(self._database / "data"), *given]

    def _redis(self) -> list[str]:
        return [str(SERVERS / "redis-server"), *f"--port {self.ports['redis']} --save --bind 127.0.0.1".split()]

    def _nginx(self) -> list[str]:
        path = self.folder / "nginx.conf"
        path.write_text(NGINX.format(folder=self.folder, port=self.ports["nginx"]), "utf-8")
        return [str(SERVERS / "nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(path)]

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
        return self._exporter_of("blackbox", f"--config.file={self._write('blackbox', modules)}")

    def _node_exporter(self) -> list[str]:
        return self._exporter_of("node", "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys)($|/)")

    def _prometheus(self) -> list[str]:
        """The shipped configuration with the addresses of here, and all rules with each minute of `for` a second."""
        words = super()._prometheus()
        config = yaml.safe_load((ROOT / "deploy/config/prometheus.yml").read_text("utf-8"))
        theirs = {
            **{3001: "exporter", 9090: "prometheus", 9093: "alertmanager", 9095: "receiver", 9100: "node_exporter"},
            **{9187: "postgres_exporter", 9121: "redis_exporter", 9113: "nginx_exporter", 9115: "blackbox_exporter"},
        }
        text = yaml.safe_dump(config, sort_keys=False).replace("https://heypeteracademy.com", self.url("nginx"))
        for port, name in theirs.items():
            text = text.replace(f"localhost:{port}", f"127.0.0.1:{self.ports[name]}")
        config = yaml.safe_load(text)
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(self._rules() / "*.yml")]
        for scrape in config["scrape_configs"]:
            if scrape["job_name"] == "node":
                scrape["metric_relabel_configs"] = self._of_the_disk_image_alone()
        self._write("prometheus", config)
        return words

    def _rules(self) -> Path:
        folder = self.folder / "quick-rules"
        folder.mkdir(exist_ok=True)
        for source in (ROOT / "rules").glob("*.yml"):
            rules = yaml.safe_load(source.read_text("utf-8"))
            for group in rules["groups"]:
                group["interval"] = "1s"
                for rule in group["rules"]:
                    if "for" in rule:
                        rule["for"] = f"{int(parse_duration(rule['for']).total_seconds() * 1000 / 60)}ms"
            (folder / source.name).write_text(yaml.safe_dump(rules, sort_keys=False), "utf-8")
        return folder

    def _of_the_disk_image_alone(self) -> list[dict[str, Any]]:
        """The disks of whoever runs this may be as full as they like."""
        pattern = f"node_filesystem_.*;{self.disk}"
        labels = ["__name__", "mountpoint"]
        return [
            {"source_labels": labels, "regex": pattern, "target_label": "__tmp_ours", "replacement": "yes"},
            {"source_labels": ["__name__", "__tmp_ours"], "regex": "node_filesystem_.*;", "action": "drop"},
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

    async def active(self) -> dict[str, str]:
        """Name the alerts that are pending or firing, with which of the two."""
        async with self.session.get(f"{self.url('prometheus')}/api/v1/alerts") as answer:
            alerts = (await answer.json())["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert["state"] for alert in alerts}

    @asynccontextmanager
    async def connections(self, count: int) -> AsyncIterator[None]:
        """Hold this many connections to PostgreSQL open, idle, as an application with a leak does."""
        startup = struct.pack(">I", 196608) + b"user\0postgres\0database\0postgres\0\0"
        writers = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["postgres"])
            writer.write(struct.pack(">I", len(startup) + 4) + startup)
            assert await reader.readexactly(1) == b"R", "PostgreSQL did not let us in"
            writers.append(writer)
        try:
            yield
        finally:
            for writer in writers:
                writer.close()

    async def ask_redis(self, *commands: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["redis"])
        writer.write("".join(f"{command}\r\n" for command in commands).encode())
        writer.write(b"QUIT\r\n")
        await reader.read()
        writer.close()

    async def send(self, kind: str, data: dict[str, Any], count: int = 1) -> None:
        await self.post_events([{"type": kind, "data": data}] * count)

    async def reachable(self) -> bool:
        try:
            async with self.session.get(self.url("nginx")) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False
