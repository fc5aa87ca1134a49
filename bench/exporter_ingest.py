"""Ingest: our exporter, a naive one and the Pushgateway in turn, each on one core: CPU, rate and latency."""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import yaml

from bench.figures import note_pairs
from bench.load import ROOT, Measured, Server, load, program, python, request
from bench.options import is_short
from deploy.local.ports import free_port
from deploy.simulation.traffic import AGENT

TOKEN = "bench-token"  # noqa: S105  # for a server that runs for seconds


def events(number: int) -> list[dict[str, object]]:
    """What an app server sends: requests and their queries, look-ups, now and then a booking."""
    made: list[dict[str, object]] = []
    for n in range(number):
        if n % 14 < 6:
            route = ["/", "/courses", "/api/classes", "/api/bookings"][n % 4]
            data = {"method": "GET", "route": route, "status": 200, "duration": 0.012 + n % 7 / 100}
            made.append({"type": "http_request", "data": data})
        elif n % 14 < 11:
            query = {"operation": "select", "table": "users", "outcome": "success", "duration": 0.004 + n % 5 / 100}
            made.append({"type": "db_query", "data": query})
        elif n % 14 < 13:
            made.append({"type": "cache_request", "data": {"cache": "session", "result": "hit"}})
        else:
            made.append({"type": "class_booked", "data": {"class_type": "group", "channel": "web"}})
    return made


def views(number: int) -> list[dict[str, object]]:
    """What browsers send."""
    click: dict[str, object] = {"type": "click", "data": {"page": "/courses", "element": "button"}}
    view: dict[str, object] = {
        "type": "page_load",
        "data": {"page": "/courses", "navigation": "navigate", "total": 1.25, "interactive": 0.8},
    }
    call: dict[str, object] = {
        "type": "api_call",
        "data": {"endpoint": "/api/classes", "outcome": "success", "duration": 0.2},
    }
    return [[click, view, call, call][n % 4] for n in range(number)]


def ours(folder: Path) -> tuple[list[str], int]:
    port = free_port()
    config = yaml.safe_load((ROOT / "deploy/config/exporter.yml").read_text("utf-8"))
    limits = dict.fromkeys(("client_rate", "client_burst", "total_rate", "total_burst"), 1e9)
    del config["browser"]["listen"]
    config |= {
        "events": {"token": TOKEN},
        "storage": {"path": str(folder / f"state-{port}")},
        "listen": f"127.0.0.1:{port}",
    }
    config["limits"] |= limits
    path = folder / f"exporter-{port}.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return program("exporter", path), port


def main(*, short: bool) -> int:
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        folder = Path(name)
        naive_port, gateway_port = free_port(), free_port()
        command, port = ours(folder)
        servers = {
            "ours": Server(command, port),
            "naive": Server(python("-m", "bench.naive_exporter", str(naive_port)), naive_port),
        }
        gateway = ROOT / ".stack/bin/pushgateway"
        if gateway.exists():
            servers["gateway"] = Server([str(gateway), f"--web.listen-address=127.0.0.1:{gateway_port}"], gateway_port)
        try:
            measure(servers, *((1, 0.2) if short else (5, 0.8)))
        finally:
            for server in servers.values():
                server.stop()
    return 0


Case = tuple[str, str, bytes, int]
OURS_14, GATEWAY = ("servers, 14 events, on disk", 14), ("Pushgateway, 4 samples", 4)


def cases(*, gateway: bool) -> list[Case]:
    """List the server, the name, the request and its events."""
    bearer = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    page = {
        "Origin": "https://app.heypeteracademy.com",
        "User-Agent": AGENT,
        "Content-Type": "text/plain;charset=UTF-8",
    }
    listed: list[Case] = []
    for size in (1, 14, 200):
        body = json.dumps({"events": events(size)}).encode()
        listed.append(("ours", f"servers, {size} events, on disk", request("/api/events", body, bearer), size))
        listed.append(("naive", f"naive, {size} events, in memory", request("/api/events", body, bearer), size))
    for size in (14, 100):
        body = json.dumps({"events": views(size)}).encode()
        listed.append(("ours", f"browsers, {size} events", request("/api/pulse", body, page), size))
    if gateway:
        text = b'# TYPE a_total counter\na_total 1\n# TYPE b gauge\nb 2\nb{x="1"} 3\nb{x="2"} 4\n'
        listed.append(("gateway", GATEWAY[0], request("/metrics/job/bench", text, {}, "PUT"), GATEWAY[1]))
    return listed


def measure(servers: dict[str, Server], rounds: int, seconds: float) -> None:
    """Run every case in each round, so that all meet the same load of the machine, and print medians and ratios."""
    todo = cases(gateway="gateway" in servers)
    measured: dict[str, list[Measured]] = {case: [] for _, case, _, _ in todo}
    for number in range(rounds):
        for server, case, raw, _size in todo if number % 2 else todo[::-1]:
            measured[case].append(load(servers[server], raw, seconds))
    print(f"{'':34}{'µs CPU/request':>15}{'µs/event':>10}{'events/s of one core':>22}{'requests/s':>12}{'p50, ms':>9}")
    for _, case, _, size in todo:
        several = measured[case]
        cpu, rate = (statistics.median(one) for one in ([m.microseconds for m in several], [m.rate for m in several]))
        p50 = statistics.median(m.percentile(0.5) for m in several)
        print(f"{case:34}{cpu:15.1f}{cpu / size:10.2f}{size / cpu * 1e6:22,.0f}{rate:12,.0f}{p50:9.2f}")
    for size in (1, 14, 200):
        ours, naive = measured[f"servers, {size} events, on disk"], measured[f"naive, {size} events, in memory"]
        _compare(
            f"{size} event{'s' * (size > 1)} a request, on disk",
            ours,
            naive,
            "a naive aiohttp server that keeps none on disk",
        )
    if "gateway" in servers:
        costs = [[m.microseconds / size for m in measured[case]] for case, size in (OURS_14, GATEWAY)]
        peer = "a sample of 4 in the Pushgateway"
        ratio = note_pairs("an event of 14, on disk", "µs of CPU", costs[0], costs[1], peer, less_is_better=True)
        print(f"at  14 events ours does {ratio:.2f} times the events of the Pushgateway")


def _compare(what: str, ours: list[Measured], naive: list[Measured], peer: str) -> None:
    costs, theirs = [m.microseconds for m in ours], [m.microseconds for m in naive]
    by_cpu = note_pairs(what, "µs of CPU", costs, theirs, peer, less_is_better=True)
    on_clock = note_pairs(what, "/s", [m.rate for m in ours], [m.rate for m in naive], peer)
    print(f"{what}: {by_cpu:.2f} times the requests of the naive build by CPU, {on_clock:.2f} on the clock")


if __name__ == "__main__":
    sys.exit(main(short=is_short(__doc__)))
