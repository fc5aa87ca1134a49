"""The example configurations as they are inside containers: names instead of localhost, and secrets in one folder."""

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Two receivers have one name: it leads to the address of each, and each has counters of its own.
EACH_RECEIVER = {
    """    static_configs:
      - targets: ["receiver:9095"]
""": """    dns_sd_configs:
      - {names: [receiver], type: A, port: 9095, refresh_interval: 10s}
"""
}
GATEWAY = "172.31.95.1/32"  # of compose.yml's network
# Service of compose.yml by the port on which its program listens.
SERVICES = {
    3001: "exporter",
    9090: "prometheus",
    9093: "alertmanager",
    9095: "receiver",
    9100: "node-exporter",
    9113: "nginx-exporter",
    9115: "blackbox-exporter",
    9121: "redis-exporter",
    9187: "postgres-exporter",
}


def head(name: str) -> str:
    """Give the first line of a generated configuration."""
    source = f"deploy/config/{name.replace('-postgresql', '').replace('-replicas', '')}"
    return f"# Generated from {source} by `python -m deploy.generate`: edit that one, or a copy of this.\n"


def replaced(name: str, text: str, changes: Mapping[str, str]) -> str:
    """Replace each key, which must occur; ValueError names one that does not."""
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"deploy/config/{name} has no {old!r} (deploy/generate/containers.py replaces it)")
        text = text.replace(old, new)
    return text


def example(name: str) -> str:
    """Read an example configuration."""
    return (ROOT / "deploy/config" / name).read_text("utf-8")


def exporter(secrets: str, proxies: str) -> str:
    """Give exporter.yml; ``secrets`` is the folder, ``proxies`` the networks from which requests of browsers come."""
    changes = {
        "listen: 127.0.0.1:3001": "listen: 0.0.0.0:3001",
        "listen: 127.0.0.1:3002": "listen: 0.0.0.0:3002",
        "path: data/exporter": "path: /var/lib/heypeter/state",
        "token_file: secrets/": f"token_file: {secrets}/",
        '["127.0.0.0/8", "::1/128"]': f"[{proxies}]",
    }
    return replaced("exporter.yml", example("exporter.yml"), changes)


def receiver(secrets: str, alertmanager: str, prometheus: str) -> str:
    """Give receiver.yml; the other two are the URLs of the servers."""
    changes = {
        "_file: secrets/": f"_file: {secrets}/",
        "url: http://localhost:9093": f"url: {alertmanager}",
        "prometheus_url: http://localhost:9090": f"prometheus_url: {prometheus}",
    }
    return replaced("receiver.yml", example("receiver.yml"), changes)


def on_postgresql(text: str, url: str) -> str:
    """Put a PostgreSQL database in the place of the SQLite file of receiver.yml."""
    database = {
        "database: /var/lib/heypeter/receiver.sqlite3": (
            f"postgres:\n  url: {url}\n  password_file: /run/secrets/database-password\n"
            "state_dir: /var/lib/heypeter                        # copies of calendars"
        )
    }
    return replaced("receiver.yml", text, database)


def named(text: str) -> str:
    """Put the service's name wherever a program on this host is named."""

    def name(match: re.Match[str]) -> str:
        return f"{SERVICES[int(match['port'])]}:{match['port']}"

    return re.sub(r"localhost:(?P<port>\d+)", name, text)


def texts() -> dict[Path, str]:
    """Give the files of deploy/compose/config."""
    rules = {"../../rules/*.yml": "/etc/prometheus/rules/*.yml"}
    prometheus = named(replaced("prometheus.yml", example("prometheus.yml"), rules))
    on_sqlite = receiver("/run/secrets", "http://alertmanager:9093", "http://prometheus:9090")
    made = {
        "exporter.yml": exporter("/run/secrets", f'"{GATEWAY}"'),
        "receiver.yml": on_sqlite,
        "receiver-postgresql.yml": on_postgresql(on_sqlite, "postgresql://heypeter@database/heypeter"),
        "alertmanager.yml": named(
            replaced("alertmanager.yml", example("alertmanager.yml"), {"_file: secrets/": "_file: /run/secrets/"})
        ),
        "prometheus.yml": prometheus,
        "prometheus-postgresql.yml": replaced("prometheus.yml", prometheus, EACH_RECEIVER),
    }
    folder = ROOT / "deploy/compose/config"
    return {folder / name: head(name) + text for name, text in made.items()}
