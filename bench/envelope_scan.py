"""Compares finding an envelope's items by their headers with parsing all of it: `python -m bench.envelope_scan`."""

import json
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec

from bench.options import is_short
from exporter.sentry_tunnel.envelope import level, scan

DSN = "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/42"
HEADER = {"event_id": "9ec79c33ec9942ab8353589fcb2e04dc", "sent_at": "2026-11-23T09:00:00.000Z", "dsn": DSN}


def frame(number: int) -> dict[str, object]:
    return {
        "filename": f"https://app.heypeteracademy.com/_next/static/chunks/{number:04}-5f1c.js",
        "function": f"renderLesson{number}",
        "in_app": True,
        "lineno": number,
        "colno": 1_000 + number,
    }


def error_event(frames: int) -> dict[str, object]:
    """Build an error as a browser reports it: stack, breadcrumbs, request, contexts."""
    crumbs = [{"timestamp": 1_795_000_000 + n, "category": "ui.click", "message": f"button.b{n}"} for n in range(100)]
    error = {
        "type": "TypeError",
        "value": "x is undefined",
        "stacktrace": {"frames": [frame(n) for n in range(frames)]},
    }
    return {
        "exception": {"values": [error]},
        "level": "error",
        "platform": "javascript",
        "breadcrumbs": crumbs,
        "request": {"url": "https://app.heypeteracademy.com/lessons", "headers": {"User-Agent": "Mozilla/5.0"}},
        "contexts": {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16}},
    }


def envelope_of(kind: str, payload: Mapping[str, object]) -> bytes:
    return b"\n".join(json.dumps(part, separators=(",", ":")).encode() for part in (HEADER, {"type": kind}, payload))


def parse_with(loads: Callable[[bytes], object]) -> Callable[[bytes], object]:
    return lambda body: [loads(line) for line in body.split(b"\n")]


def scan_and_judge(body: bytes) -> object:
    """Read what the tunnel reads of an envelope: the headers, and the level of an event."""
    envelope = scan(body)
    return [level(envelope.payload(item)) for item in envelope.items if item.type == "event"]


def microseconds(work: Callable[[bytes], object], body: bytes, size: int) -> float:
    """Give the median of 25 rounds, each over this many bytes."""
    number = max(1, size // len(body))
    rounds = []
    for _ in range(25):
        begun = time.perf_counter()
        for _ in range(number):
            work(body)
        rounds.append((time.perf_counter() - begun) / number * 1e6)
    return statistics.median(rounds)


def main(*, short: bool) -> None:
    size = 5_000 if short else 500_000
    spans = {"type": "transaction", "spans": [{"op": "resource.script", "data": frame(n)} for n in range(1000)]}
    cases = {
        "error": envelope_of("event", error_event(20)),
        "long error": envelope_of("event", error_event(250)),
        "transaction": envelope_of("transaction", spans),
    }
    ways = {
        "scan": scan,
        "scan + level": scan_and_judge,
        "msgspec": parse_with(msgspec.json.decode),
        "json": parse_with(json.loads),
    }
    for name, body in cases.items():
        times = {way: microseconds(work, body, size) for way, work in ways.items()}
        shown = ", ".join(f"{way} {took:.1f} µs ({took / times['scan']:.1f}x)" for way, took in times.items())
        print(f"{name}, {len(body) / 1024:.1f} KiB: {shown}")


if __name__ == "__main__":
    main(short=is_short(__doc__))
