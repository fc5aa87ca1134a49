"""Durable events: acknowledged bookings a second next to what the disk can commit, with and without scrapes."""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from bench.exporter_ingest import TOKEN, events, ours
from bench.figures import note_pairs
from bench.load import ROOT, Measured, Server, load, request
from bench.options import is_short

CONNECTIONS = 64


def commits(folder: Path, seconds: float) -> float:
    """Give the records a second that the disk commits when every sync covers one record of each connection."""
    record, done, began = b"x" * 300, 0, time.monotonic()
    with (folder / "commits").open("wb", buffering=0) as file:
        while time.monotonic() - began < seconds:
            for _ in range(CONNECTIONS):
                file.write(record)
            os.fdatasync(file.fileno())
            done += CONNECTIONS
    return done / (time.monotonic() - began)


def scraped(server: Server, raw: bytes, seconds: float) -> Measured:
    """Load the exporter while it is scraped every second."""
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(1):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        return load(server, raw, seconds, CONNECTIONS)
    finally:
        stop.set()
        thread.join()


def main(*, short: bool) -> int:
    """Print medians and ratios."""
    rounds, brief, long = (1, 0.1, 0.3) if short else (3, 1.5, 6.0)
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        command, port = ours(Path(name))
        server = Server(command, port)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        booking = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}
        single = request("/api/events", json.dumps(booking).encode(), headers)
        ten = request("/api/events", json.dumps([booking] * 10).encode(), headers)
        traffic = request("/api/events", json.dumps({"events": events(14)}).encode(), headers)
        try:
            disk, one, many = [], [], []
            for _ in range(rounds):
                disk.append(commits(Path(name), brief))
                one.append(load(server, single, brief, CONNECTIONS))
                many.append(load(server, ten, brief, CONNECTIONS))
            report(disk, one, many)
            quiet = load(server, traffic, long, CONNECTIONS)
            busy = scraped(server, traffic, long)
            ratio = busy.percentile(0.99) / quiet.percentile(0.99)
            p99 = f"{quiet.percentile(0.99):.1f} ms, scraped every second {busy.percentile(0.99):.1f} ms"
            print(f"p99 of ingest: {p99}: {ratio:.2f} times")
            print(f"memory: {server.memory():.0f} MB")
        finally:
            server.stop()
    return 0


def report(disk: list[float], one: list[Measured], many: list[Measured]) -> None:
    """Print the rates and latencies."""
    rate = statistics.median(disk)
    print(f"the disk by itself: {rate:,.0f} records a second, {CONNECTIONS} a sync")
    for name, several, size in (("one a request", one, 1), ("ten a request", many, 10)):
        acknowledged = statistics.median(m.requests / m.seconds for m in several) * size
        p50, p99 = (statistics.median(m.percentile(share) for m in several) for share in (0.5, 0.99))
        share = f"{acknowledged / rate:.2f} of the disk's"
        rates = [m.rate * size for m in several]
        note_pairs(f"bookings, {name}", "/s", rates, disk, f"the disk's syncs, {CONNECTIONS} records each")
        print(f"bookings, {name}: {acknowledged:,.0f} a second, {share}; p50 {p50:.1f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    sys.exit(main(short=is_short(__doc__)))
