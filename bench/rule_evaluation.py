"""Rules: all of them over twenty thousand series and a month of history, by Prometheus' own account on one core.

Every group is evaluated every five seconds, so that a cycle comes often; the targets are scraped every second for a
while, so that a window of five minutes holds more samples than the twenty that it has in earnest. What the rules look
back at for a day and more (business counters, the probe, the objectives) is there from the start, made by promtool.
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fake_targets import Series, application, host, servers
from load import ROOT, Server, free_port

BIN = ROOT / ".stack/bin"
WANTED, LIMIT = 20_000, 0.150
FILLING, MEASURED = 45, 12  # seconds, and cycles
CYCLE = 5
COUNTED = ("user_registrations_total", "class_bookings_total", "class_cancellations_total", "payment_")
DAY = 86_400


def targets() -> dict[str, list[Series]]:
    """Give every target's series, with as many hosts as are needed to make twenty thousand."""
    found = {f"{job}/0": series for job, series in servers().items()}
    found["heypeter-app/0"] = application()
    one = host(node_exporter())
    number = 0
    while sum(map(len, found.values())) < WANTED:
        found[f"node/{number}"] = one
        number += 1
    return found


def node_exporter() -> str:
    """Ask the real one for this host."""
    server = Server([str(BIN / "node_exporter"), f"--web.listen-address=127.0.0.1:{(port := free_port())}"], port)
    try:
        return get(f"http://127.0.0.1:{port}/metrics")
    finally:
        server.stop()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode("utf-8"))


def history(now: int, app: list[Series]) -> Iterator[str]:
    """Write what is looked back at for a day or a month, in OpenMetrics."""
    counted = [series for series in app if series.name.startswith(COUNTED) and "_bucket" not in series.name]
    labels = 'instance="heypeter-app-0",job="heypeter-app"'
    for series in counted:
        name = series.name.replace("{}", "").replace("{", f"{{{labels},") if "{" in series.name else series.name
        yield from (f"{name} {series.rate * n * 30:.6g} {now - 2 * DAY + n * 30}" for n in range(2 * DAY // 30))
    probe = 'probe_success{instance="blackbox-http-0",job="blackbox-http"}'
    yield from (f"{probe} 1 {now - 30 * DAY + n * 15}" for n in range(30 * DAY // 15))
    for slo, team in {"http-availability": "backend", "http-latency": "backend", "payment-success": "payments"}.items():
        for name, value in {"slo:bad_events:rate5m": 0.0001, "slo:events:rate5m": 5}.items():
            series_name = f'{name}{{slo="{slo}",team="{team}"}}'
            yield from (f"{series_name} {value} {now - 30 * DAY + n * 30}" for n in range(30 * DAY // 30))


def remember(folder: Path, app: list[Series]) -> None:
    """Make blocks of it where Prometheus will find them."""
    text = folder / "history.txt"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in history(int(time.time()) - 60, app))
        file.write("# EOF\n")
    words = [
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--quiet",
        "--max-block-duration=744h",
        str(text),
        str(folder / "data"),
    ]
    subprocess.run([str(BIN / "promtool"), *words], check=True, stdout=subprocess.DEVNULL)


def configure(folder: Path, fake: int, own: int, names: list[str]) -> Path:
    """Write Prometheus' configuration and the rules, whose groups are all evaluated as often."""
    for source in (ROOT / "rules").glob("*.yml"):
        groups = yaml.safe_load(source.read_text("utf-8"))["groups"]
        quick = {"groups": [{**group, "interval": f"{CYCLE}s"} for group in groups]}
        (folder / source.name).write_text(json.dumps(quick), "utf-8")
    jobs = sorted({name.partition("/")[0] for name in names})
    scrapes = [
        {
            "job_name": job,
            "static_configs": [
                {
                    "targets": [f"127.0.0.1:{fake}"],
                    "labels": {"__metrics_path__": f"/{name}", "instance": name.replace("/", "-")},
                }
                for name in names
                if name.startswith(f"{job}/")
            ],
        }
        for job in jobs
    ]
    scrapes.append({"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{own}"]}]})
    config = {
        "global": {"scrape_interval": "1s"},
        "rule_files": [str(folder / "*.yml")],
        "scrape_configs": scrapes,
    }
    path = folder / "prometheus.json"
    path.write_text(json.dumps(config), "utf-8")
    return path


def cycle(url: str) -> dict[str, float]:
    """Read how long each group took the last time, by Prometheus' own account."""
    found = re.findall(
        r'prometheus_rule_group_last_duration_seconds\{rule_group="[^"]*;([^"]+)"\} (\S+)', get(f"{url}/metrics")
    )
    return {group: float(value) for group, value in found}


def rules(url: str) -> list[dict[str, Any]]:
    groups = json.loads(get(f"{url}/api/v1/rules"))["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def tell(url: str, cycles: list[dict[str, float]], series: int) -> bool:
    """Print the numbers; say whether they hold."""
    sums = [sum(one.values()) for one in cycles]
    found = rules(url)
    unwell = [f"{rule['name']}: {rule.get('lastError')}" for rule in found if rule["health"] != "ok"]
    median = statistics.median(sums)
    print(f"{len(found)} rules in {len(cycles[0])} groups over {series:,} series, one core")
    spread = f"best {min(sums) * 1000:.0f} ms, worst {max(sums) * 1000:.0f} ms of {len(sums)}"
    print(f"a cycle of all of them: median {median * 1000:.0f} ms, {spread}")
    for group in sorted(cycles[0], key=lambda name: -statistics.median(one[name] for one in cycles))[:5]:
        print(f"  group {group:24} {statistics.median(one[group] for one in cycles) * 1000:6.1f} ms")
    for rule in sorted(found, key=lambda rule: -rule["evaluationTime"])[:8]:
        labels = ",".join((rule.get("labels") or {}).get(name, "") for name in ("benchmark", "slo")).strip(",")
        print(f"  rule  {rule['name']} {labels:24} {rule['evaluationTime'] * 1000:6.1f} ms")
    print("\n".join(f"NOT WELL: {line}" for line in unwell) or "every rule is well")
    print(f"{'holds' if median < LIMIT else 'DOES NOT HOLD'}: under {LIMIT * 1000:.0f} ms a cycle")
    return median < LIMIT and not unwell


async def serve(found: dict[str, list[Series]]) -> tuple[web.AppRunner, int]:
    """Serve the targets from the other core."""
    began = time.monotonic()

    async def metrics(request: web.Request) -> web.Response:
        elapsed = 1000 + time.monotonic() - began
        series = found[request.match_info["target"]]
        return web.Response(text="\n".join(one.line(elapsed) for one in series) + "\n")

    app, port = web.Application(), free_port()
    app.add_routes([web.get("/{target:.+}", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, port


async def main() -> int:
    """Run the benchmark; the exit status says whether the promise holds."""
    found = targets()
    runner, fake = await serve(found)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        folder, own = Path(name), free_port()
        await asyncio.to_thread(remember, folder, found["heypeter-app/0"])
        config = configure(folder, fake, own, [*found])
        words = [
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=45d",
        ]
        command = [str(BIN / "prometheus"), *words, f"--web.listen-address=127.0.0.1:{own}"]
        prometheus = await asyncio.to_thread(Server, command, own)
        try:
            await asyncio.sleep(FILLING)
            url, cycles = f"http://127.0.0.1:{own}", []
            for _ in range(MEASURED):
                await asyncio.sleep(CYCLE)
                cycles.append(await asyncio.to_thread(cycle, url))
            holds = await asyncio.to_thread(tell, url, cycles, sum(map(len, found.values())))
        finally:
            await asyncio.to_thread(prometheus.stop)
    await runner.cleanup()
    return 0 if holds else 1


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    raise SystemExit(asyncio.run(main()))
