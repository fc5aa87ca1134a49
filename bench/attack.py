"""Sends a million distinct values for every open label and prints how much series and memory grow."""

import json
import resource
from pathlib import Path

from bench.figures import note
from bench.options import parser
from exporter.config import load
from exporter.events.decode import Decoder, Schema
from exporter.registry.recorder import Recorder

FULL, SHORT = 1_000_000, 2_000


def main(number: int, warm_up: int) -> None:
    """Attack, then print the growth of the process as JSON."""
    catalogue = load(Path(__file__).resolve().parents[1] / "deploy/config/exporter.yml")[2]
    schema = Schema(catalogue)
    recorder, decoder = Recorder(catalogue, schema, b"key"), Decoder(schema.types, 10_000)
    for first in range(0, warm_up, 500):
        recorder.record(decoder.decode(batch(first)).events, "events", 1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for first in range(warm_up, warm_up + number, 500):
        recorder.record(decoder.decode(batch(first)).events, "events", 1.0)
    series = sum(len(one.cells) for one in recorder.series.values())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    note(f"memory that {number:,} made-up values of each label take", grown / 1024, "MB")
    note("series after it", series, "")
    print(f"{number:,} distinct methods, routes, pages, elements and users:")
    print(json.dumps({"kilobytes": grown, "series": series}))


def batch(first: int) -> bytes:
    """Make 1,500 events that share no value."""
    events: list[dict[str, object]] = []
    for n in range(first, first + 500):
        request = {"method": f"M{n}", "route": f"/{n}/x{n}", "status": n % 500 + 100, "duration": 1}
        events.append({"type": "http_request", "data": request})
        events.append({"type": "click", "data": {"page": f"/p{n}", "element": f"e{n}"}})
        events.append({"type": "user_active", "data": {"user": f"u{n}"}})
    return json.dumps(events).encode()


if __name__ == "__main__":
    known = parser(__doc__)
    known.add_argument("number", nargs="?", type=int, help=f"of values of each label; {FULL:,} by default")
    options = known.parse_args()
    main(options.number or (SHORT if options.short else FULL), 1_000 if options.short else 20_000)
