"""Rule evaluation: all rules over 20,000 series and a month of history, as Prometheus measures it, on one core.

Targets are scraped every 15 seconds and all groups are evaluated every 30 seconds. In production only the fastest
groups run that often, so the average cost of a cycle weights each group by its own interval. Printed are that average
and the rare cycle in which every group is due. promtool writes the history first: the last minutes of every series, and
the days that rules look back on (business counters, the probe, the objectives).
"""

import asyncio
import json
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiohttp import web
from promql_parser import parse_duration

from bench.fake_targets import Series, application, host, servers
from bench.load import ROOT, Server
from bench.options import is_short
from deploy.local.ports import free_port

BIN = ROOT / ".stack/bin"
LIMIT = 0.150
SCRAPE, RECENT = 15, 660  # seconds between two scrapes, and seconds of every series
COUNTED = ("user_registrations_total", "class_bookings_total", "class_cancellations_total", "payment_")
BEGIN = 10_000  # seconds that the targets have run already


class Size(NamedTuple):
    """At least so many series; seconds of a cycle, cycles measured, and seconds of a day of history."""

    series: int
    cycle: int
    cycles: int
    day: int


FULL, SHORT = Size(20_000, 30, 2, 86_400), Size(0, 1, 1, 900)


def targets(wanted: int) -> dict[str, list[Series]]:
    """Give every target's series, with as many hosts as it takes to reach ``wanted``."""
    series_of = {f"{job}/0": series for job, series in servers().items()}
    series_of["heypeter-app/0"] = application()
    one = host(node_exporter())
    number = 0
    while sum(map(len, series_of.values())) < wanted:
        series_of[f"node/{number}"] = one
        number += 1
    return series_of


def node_exporter() -> str:
    """Scrape the real node exporter of this host."""
    server = Server([str(BIN / "node_exporter"), f"--web.listen-address=127.0.0.1:{(port := free_port())}"], port)
    try:
        return get(f"http://127.0.0.1:{port}/metrics")
    finally:
        server.stop()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode("utf-8"))


def recent(now: int, series_of: dict[str, list[Series]]) -> Iterator[str]:
    """Write the last minutes of every series, in OpenMetrics; the scrapes continue them."""
    for target, several in series_of.items():
        labels = f'instance="{target.replace("/", "-")}",job="{target.partition("/")[0]}"'
        yield from (f"up{{{labels}}} 1 {now - age}" for age in range(RECENT, 0, -SCRAPE))
        for series in several:
            for age in range(RECENT, 0, -SCRAPE):
                name, value = series.line(BEGIN - age).rsplit(" ", 1)
                bare, _, own = name.rstrip("}").partition("{")
                yield f"{bare}{{{','.join(filter(None, (labels, own)))}}} {value} {now - age}"


def history(now: int, app: list[Series], day: int) -> Iterator[str]:
    """Write the series that rules look back on for a day or a month, in OpenMetrics."""
    counted = [series for series in app if series.name.startswith(COUNTED) and "_bucket" not in series.name]
    labels = 'instance="heypeter-app-0",job="heypeter-app"'
    end = now - RECENT
    for series in counted:
        name = series.name.replace("{}", "").replace("{", f"{{{labels},") if "{" in series.name else series.name
        yield from (f"{name} 0 {end - 2 * day + n * 15}" for n in range(2 * day // 15))
    probe = 'probe_success{instance="blackbox-http-0",job="blackbox-http"}'
    yield from (f"{probe} 1 {end - 30 * day + n * 15}" for n in range(30 * day // 15))
    for slo, team in {"http-availability": "backend", "http-latency": "backend", "payment-success": "payments"}.items():
        for name, value in {"slo:bad_events:rate5m": 0.0001, "slo:events:rate5m": 5}.items():
            series_name = f'{name}{{slo="{slo}",team="{team}"}}'
            yield from (f"{series_name} {value} {now - 30 * day + n * 30}" for n in range(30 * day // 30))


def write_blocks(folder: Path, now: int, series_of: dict[str, list[Series]], day: int) -> None:
    """Write the history as blocks into the data folder."""
    text = folder / "history.txt"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in history(now, series_of["heypeter-app/0"], day))
        file.writelines(f"{line}\n" for line in recent(now, series_of))
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


def configure(folder: Path, fake: int, own: int, names: list[str], interval: int) -> Path:
    """Write Prometheus' configuration and the rules."""
    for source in (ROOT / "rules").glob("*.yml"):
        groups = yaml.safe_load(source.read_text("utf-8"))["groups"]
        quick = {
            "groups": [{**group, "interval": f"{interval}s"} for group in groups]
        }  # the interval of the fastest groups in production
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
        "global": {"scrape_interval": f"{SCRAPE}s"},
        "rule_files": [str(folder / "*.yml")],
        "scrape_configs": scrapes,
    }
    path = folder / "prometheus.json"
    path.write_text(json.dumps(config), "utf-8")
    return path


def cycle(url: str) -> dict[str, float]:
    """Read each group's last evaluation time from Prometheus' own metrics."""
    durations = re.findall(
        r'prometheus_rule_group_last_duration_seconds\{rule_group="[^"]*;([^"]+)"\} (\S+)', get(f"{url}/metrics")
    )
    return {group: float(value) for group, value in durations}


def intervals() -> dict[str, float]:
    """Give each group's own interval in seconds."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "rules").glob("*.yml")]
    return {
        group["name"]: parse_duration(group["interval"]).total_seconds() for file in files for group in file["groups"]
    }


def rules(url: str) -> list[dict[str, Any]]:
    groups = json.loads(get(f"{url}/api/v1/rules"))["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def report(url: str, cycles: list[dict[str, float]], series: int, interval: int) -> bool:
    """Print the figures; say whether the limit holds."""
    own = intervals()
    sums = [sum(one.values()) for one in cycles]
    shares = [sum(took * interval / own[group] for group, took in one.items()) for one in cycles]
    loaded = rules(url)
    failing = [f"{rule['name']}: {rule.get('lastError')}" for rule in loaded if rule["health"] != "ok"]
    median = statistics.median(shares)
    print(f"{len(loaded)} rules in {len(cycles[0])} groups over {series:,} series, one core")
    for what, several in (("each group at its own interval", shares), ("everything due at once", sums)):
        spread = f"best {min(several) * 1000:.0f} ms, worst {max(several) * 1000:.0f} ms of {len(several)}"
        print(f"a cycle of {interval} s, {what}: median {statistics.median(several) * 1000:.0f} ms, {spread}")
    for group in sorted(cycles[0], key=lambda name: -statistics.median(one[name] for one in cycles))[:5]:
        print(f"  group {group:24} {statistics.median(one[group] for one in cycles) * 1000:6.1f} ms")
    for rule in sorted(loaded, key=lambda rule: -rule["evaluationTime"])[:8]:
        labels = ",".join((rule.get("labels") or {}).get(name, "") for name in ("benchmark", "slo")).strip(",")
        print(f"  rule  {rule['name']} {labels:24} {rule['evaluationTime'] * 1000:6.1f} ms")
    print("\n".join(f"FAILING: {line}" for line in failing) or "no rule fails")
    verdict = "holds" if median < LIMIT else "DOES NOT HOLD"
    print(f"{verdict}: under {LIMIT * 1000:.0f} ms a cycle, each group at its own interval")
    return median < LIMIT and not failing


async def serve(now: int, series_of: dict[str, list[Series]]) -> tuple[web.AppRunner, int]:
    """Serve the targets from the other core."""

    async def metrics(request: web.Request) -> web.Response:
        elapsed = BEGIN + time.time() - now
        series = series_of[request.match_info["target"]]
        return web.Response(text="\n".join(one.line(elapsed) for one in series) + "\n")

    app, port = web.Application(), free_port()
    app.add_routes([web.get("/{target:.+}", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, port


async def main(*, short: bool) -> int:
    """Run the benchmark; exit status 1 if the limit does not hold, which a short run ignores."""
    size = SHORT if short else FULL
    series_of, now = await asyncio.to_thread(targets, size.series), int(time.time())
    runner, fake = await serve(now, series_of)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        folder, own = Path(name), free_port()
        await asyncio.to_thread(write_blocks, folder, now, series_of, size.day)
        config = configure(folder, fake, own, [*series_of], size.cycle)
        words = [
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=45d",
        ]
        command = [str(BIN / "prometheus"), *words, f"--web.listen-address=127.0.0.1:{own}"]
        prometheus = await asyncio.to_thread(Server, command, own)
        try:
            await asyncio.sleep(2 * size.cycle)
            url, cycles = f"http://127.0.0.1:{own}", []
            for _ in range(size.cycles):
                await asyncio.sleep(size.cycle)
                cycles.append(await asyncio.to_thread(cycle, url))
            holds = await asyncio.to_thread(report, url, cycles, sum(map(len, series_of.values())), size.cycle)
        finally:
            await asyncio.to_thread(prometheus.stop)
    await runner.cleanup()
    return 0 if holds or short else 1


if __name__ == "__main__":
    (ROOT / "data").mkdir(exist_ok=True)
    raise SystemExit(asyncio.run(main(short=is_short(__doc__))))
