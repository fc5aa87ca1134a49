"""The real programs whose metrics the rules read, all running, for a scrape of what they export.

`make scrape` writes rules/tables/exporters/<generation>.yml of the generation that is below .stack.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import trustme

from deploy.local.ports import free_port
from rules.exported import FOLDER
from rules.scrape import main as scrape
from tests.receiver.web.test_alertmanager import PAYLOAD
from tests.stories.stack import ROOT, until
from tests.stories.stores import EVERYTHING, Stores

# What is there only after something has happened: an alert was sent, a certificate was seen.
LAST = (
    *("prometheus_notifications_sent_total", "prometheus_rule_evaluation_failures_total", "pg_stat_activity_count"),
    *("alertmanager_notifications_total", "alertmanager_cluster_members", "probe_ssl_earliest_cert_expiry"),
    *("node_filesystem_avail_bytes", "redis_up", "nginx_up", "receiver_watchdog_last_seen_timestamp_seconds"),
    "receiver_open_incident_opened_timestamp_seconds",
)


class Programs(Stores):
    """The stack of the stores, with every file system of the host, a cluster of one, and a probe that meets TLS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ports |= {"tls": free_port(), "cluster": free_port()}

    def _of_the_disk_image_alone(self) -> list[dict[str, object]]:
        return []

    def _nginx(self) -> list[str]:
        words = super()._nginx()
        pair = self.folder / "site.pem"
        trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pair)
        path = self.folder / "nginx.conf"
        server = f"listen 127.0.0.1:{self.ports['tls']} ssl; ssl_certificate {pair}; ssl_certificate_key {pair};"
        text = path.read_text("utf-8")
        path.write_text(text.replace("location = /stub_status", f"{server}\n    location = /stub_status"), "utf-8")
        return words

    def _alertmanager(self) -> list[str]:
        flag = "--cluster.listen-address="
        address = f"127.0.0.1:{self.ports['cluster']}"
        words = super()._alertmanager()
        return [*(f"{flag}{address}" if w == flag else w for w in words), f"--cluster.advertise-address={address}"]

    def _write(self, name: str, content: object) -> Path:
        if name == "blackbox" and isinstance(content, dict):
            content["modules"]["http_2xx"]["http"]["tls_config"] = {"insecure_skip_verify": True}
        if name == "prometheus" and isinstance(content, dict):
            for job in content["scrape_configs"]:
                if job["job_name"] == "blackbox-http":
                    job["static_configs"][0]["targets"].append(f"https://127.0.0.1:{self.ports['tls']}")
        return super()._write(name, content)

    async def scraped(self, generation: str, folder: Path) -> int:
        """Wait until all there is to see is seen, and write it."""
        for metric in LAST:

            async def there(metric: str = metric) -> bool:
                return await self.query(f"count({metric})") is not None

            await until(f"{metric} is there", there)
        words = ["--prometheus.url", self.url("prometheus"), "--generation", generation, "--output.dir", str(folder)]
        return await asyncio.to_thread(scrape, words)


async def write(generation: str, folder: Path) -> int:
    """Start all, scrape, stop all."""
    with tempfile.TemporaryDirectory() as place:
        async with Programs(Path(place)) as running:
            running.database.create()
            running.disk.mkdir()
            await running.start(*EVERYTHING)
            assert await running.post_alerts(PAYLOAD) == 200  # an open incident has metrics of its own
            return await running.scraped(generation, folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make scrape", description=__doc__)
    parser.add_argument("--generation", default=(ROOT / ".stack/suite").read_text("utf-8").strip())
    parser.add_argument("--output.dir", dest="folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    return asyncio.run(write(options.generation, options.folder))


if __name__ == "__main__":
    sys.exit(main())
