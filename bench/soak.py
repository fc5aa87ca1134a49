"""Loads an exporter of 40,000 series for a long time and prints memory and latency, which should not grow."""

import json
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml

from bench.exporter_ingest import TOKEN, ours
from bench.load import ROOT, Server, load, request
from bench.options import parser

ROUTES, TABLES = 380, 110


def configure(folder: Path) -> tuple[list[str], int]:
    """Write the example configuration with lists long enough for 40,000 lines of /metrics."""
    command, port = ours(folder)
    path = Path(command[-1].partition("=")[2])
    config = yaml.safe_load(path.read_text("utf-8"))
    config["lists"]["routes"] = [f"/r{n}" for n in range(ROUTES)]
    config["lists"]["tables"] = [f"t{n}" for n in range(TABLES)]
    config["limits"] |= {"series": 1_000_000, "family_series": 20_000}
    path.write_text(yaml.safe_dump(config), "utf-8")
    return command, port


def batches() -> list[bytes]:
    """Make requests whose events reach every label set."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    made = []
    for method in ("GET", "POST", "PUT"):
        for start in range(0, ROUTES, 190):
            data = [
                {"method": method, "route": f"/r{n}", "status": status, "duration": 0.1}
                for n in range(start, start + 190)
                for status in (200, 404, 500)
            ]
            body = json.dumps([{"type": "http_request", "data": one} for one in data])
            made.append(request("/api/events", body.encode(), headers))
    for operation in ("select", "insert", "update", "delete"):
        data = [{"operation": operation, "table": f"t{n}", "outcome": "success", "duration": 1} for n in range(TABLES)]
        body = json.dumps([{"type": "db_query", "data": one} for one in data])
        made.append(request("/api/events", body.encode(), headers))
    return made


def main(minutes: float, interval: float) -> None:
    """Print a line every ``interval`` seconds."""
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        command, port = configure(Path(name))
        server = Server(command, port)
        todo, began = batches(), time.monotonic()
        try:
            while time.monotonic() - began < minutes * 60:
                requests, latency = 0, 0.0
                for raw in todo:
                    measured = load(server, raw, interval / len(todo), 8)
                    requests += measured.requests
                    latency = max(latency, measured.percentile(0.99))
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    lines = sum(1 for line in answer if not line.startswith(b"#"))
                passed = (time.monotonic() - began) / 60
                latencies = f"p99 {latency:6.1f} ms"
                print(
                    f"{passed:5.1f} min: {requests:8,} requests, {latencies}, {lines:,} lines, {server.memory():.0f} MB"
                )
        finally:
            server.stop()


if __name__ == "__main__":
    known = parser(__doc__)
    known.add_argument("minutes", nargs="?", type=float, default=60, help="how long; 60 by default")
    options = known.parse_args()
    main(*((0.01, 1) if options.short else (options.minutes, 60)))
