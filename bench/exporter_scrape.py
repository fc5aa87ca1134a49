"""Scrapes: our exposition and prometheus_client's, for the same bytes, and how long each blocks the event loop."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from bench.figures import note_pairs
from bench.options import is_short
from exporter.catalogue.label_values import Label
from exporter.catalogue.model import Catalogue, Family
from exporter.events.decode import Schema
from exporter.exposition.negotiate import PLAIN, Exposition
from exporter.registry.recorder import Recorder

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 1.5, 2, 3, 5, 10)


def family(name: str, kind: str, number: int) -> Family:
    """Make a family with this many label sets."""
    label = Label("route", "route", "route", tuple(f"/api/v1/things/{n}" for n in range(number)))
    return Family(
        name=name,
        type=kind,
        help=f"{name}.",
        event="self",
        labels=(label, Label("method", "method", "method", ("GET",))),
        value="",
        buckets=BUCKETS if kind == "histogram" else (),
        when=(),
        above=(),
        divisor=1,
        max_age=0,
        distinct="",
        exemplars=False,
        init=False,
        limit=1_000_000,
    )


def both(lines: int) -> tuple[Exposition, CollectorRegistry]:
    """Fill twenty families, half of them histograms, once in our cells and once in prometheus_client's."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    families, registry = [], CollectorRegistry()
    for n in range(10):
        families.append(family(f"c{n}_total", "counter", lines // 20))
        families.append(family(f"h{n}_seconds", "histogram", lines // 20 // 17))
    catalogue = Catalogue(tuple(families), {})
    recorder = Recorder(catalogue, Schema(catalogue), b"key")
    for one in families:
        names = [label.name for label in one.labels]
        theirs: Counter | Histogram
        if one.type == "counter":
            theirs = Counter(one.name.removesuffix("_total"), one.help, names, registry=registry)
        else:
            theirs = Histogram(one.name, one.help, names, buckets=BUCKETS, registry=registry)
        for index, route in enumerate(one.labels[0].values):
            child = theirs.labels(route, "GET")
            if isinstance(child, Counter):
                recorder.series[one.name].add((route, "GET"), index * 37)
                child.inc(index * 37)
            else:
                for observed in (0.02, 0.2, 0.2, 7):
                    recorder.series[one.name].observe((route, "GET"), observed)
                    child.observe(observed)
    return Exposition(recorder, CollectorRegistry(), 0, lambda: 1.0), registry


async def stall(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Give the milliseconds of the work, and of the longest time that nothing else could run."""
    longest, last, done = 0.0, time.perf_counter(), False

    async def watch() -> None:
        nonlocal longest, last
        while not done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0.01)
    longest, last, began = 0.0, time.perf_counter(), time.perf_counter()
    await work()
    took, done = time.perf_counter() - began, True
    await watching
    return took * 1000, longest * 1000


def main(*, short: bool) -> None:
    """Print a table."""
    rounds, sizes = (1, (1000,)) if short else (5, (1000, 10_000, 100_000))
    print(f"{'lines':>8}{'':22}{'ms':>9}{'longest stall, ms':>20}")
    for lines in sizes:
        exposition, registry = both(lines)

        async def ours(exposition: Exposition = exposition) -> bytes:
            return await exposition.render(PLAIN, (), gzip=False, process=False)

        async def packed(exposition: Exposition = exposition) -> bytes:
            return await exposition.render(PLAIN, (), gzip=True, process=False)

        async def client(registry: CollectorRegistry = registry) -> bytes:
            return generate_latest(registry)

        same = asyncio.run(ours()) == generate_latest(registry)
        works = (("ours", ours), ("ours, gzip", packed), ("prometheus_client", client))
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in works}
        for _ in range(rounds):
            for name, work in works:
                runs[name].append(asyncio.run(stall(work)))
        for name, several in runs.items():
            took, longest = (statistics.median(column) for column in zip(*several, strict=True))
            print(f"{lines:8,}  {name:20}{took:9.2f}{longest:20.2f}")
        ratio, calm = (
            note_pairs(
                what,
                "ms",
                [run[place] for run in runs["ours"]],
                [run[place] for run in runs["prometheus_client"]],
                f"prometheus_client, {'the same' if same else 'OTHER'} bytes",
                less_is_better=True,
            )
            for place, what in enumerate((f"{lines:,} lines of /metrics", f"longest stall by {lines:,} lines"))
        )
        print(f"{'':10}{ratio:.1f} times faster, {calm:.0f} times shorter stall; the same bytes: {same}")


if __name__ == "__main__":
    main(short=is_short(__doc__))
