"""VictoriaMetrics beside a Prometheus that writes to it as deploy/long-term/victoria-metrics.yml says."""

from pathlib import Path
from typing import Any

import yaml

from tests.stories.stack import ROOT

FOLDER = ROOT / ".stack/victoria-metrics"
SKIPPED = "no VictoriaMetrics: see `make stack`"


def there() -> bool:
    return (FOLDER / "victoria-metrics").exists()


def command(port: int, data: Path) -> list[str]:
    """Its command line; it shows what it has at once instead of after 30 s, as a test does not wait for them."""
    flags = {"storageDataPath": data, "httpListenAddr": f"127.0.0.1:{port}", "retentionPeriod": "3y"}
    flags |= {"search.latencyOffset": "0s", "loggerLevel": "ERROR", "dedup.minScrapeInterval": "1ms"}
    return [str(FOLDER / "victoria-metrics"), *(f"-{name}={value}" for name, value in flags.items())]


def merged(config: Any, part: Any) -> Any:  # noqa: ANN401  # YAML
    """A configuration with what is added to it: maps are joined, all else is replaced."""
    if not isinstance(config, dict) or not isinstance(part, dict):
        return part
    return {**config, **{key: merged(config.get(key), value) for key, value in part.items()}}


def writing(config: dict[str, Any], port: int) -> dict[str, Any]:
    """A Prometheus' configuration that writes to VictoriaMetrics at this port, every second."""
    text = (ROOT / "deploy/long-term/victoria-metrics.yml").read_text("utf-8")
    part = yaml.safe_load(text.replace("localhost:8428", f"127.0.0.1:{port}"))
    (remote,) = part["remote_write"]
    remote["queue_config"] = {"batch_send_deadline": "1s"}
    both: dict[str, Any] = merged(config, part)
    return both
