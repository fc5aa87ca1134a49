"""Measures what a chart costs: the SVG, and the PNG in its own process. `python -m bench.evidence_chart`."""

import asyncio
import math
import resource
import time
from datetime import UTC, datetime, timedelta

from receiver.clients.prometheus import Series
from receiver.clients.promql import Comparison
from receiver.evidence.alert_query import POINTS, SERIES, Span
from receiver.evidence.chart import chart
from receiver.evidence.png import PngProcess
from receiver.evidence.svg import svg
from receiver.incident.model import Incident
from receiver.messages.i18n import Reader

ROUNDS = 20
END = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def main() -> None:
    span = Span(END - timedelta(hours=3), END, 45)
    begin = span.start.timestamp()
    series: Series = {
        (("instance", f"web-{number}.example.com:9100"),): [
            (begin + at * span.step, 0.02 + 0.01 * math.sin(at / 7 + number)) for at in range(POINTS)
        ]
        for number in range(SERIES)
    }
    found = Comparison("rate(http_requests_total[5m])", ">", 0.025, "")
    incident = Incident(1, "key", labels={"alertname": "HighErrorRate"}, opened_at=END - timedelta(minutes=10))
    begun = time.process_time()
    for _ in range(ROUNDS):
        picture = svg(chart(incident, found, series, span), Reader("en", "Europe/Berlin"))
    print(f"SVG: {(time.process_time() - begun) / ROUNDS * 1000:.1f} ms of CPU, {len(picture) / 1000:.0f} kB")
    asyncio.run(_png(picture))


async def _png(picture: str) -> None:
    process = PngProcess()
    begun = time.perf_counter()
    await process.draw(picture)
    print(f"first PNG, with the start of its process: {(time.perf_counter() - begun) * 1000:.0f} ms")
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        png = await process.draw(picture)
        times.append(time.perf_counter() - begun)
    process.close()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (spent.ru_utime + spent.ru_stime) / (ROUNDS + 1)
    print(f"PNG: median {sorted(times)[ROUNDS // 2] * 1000:.0f} ms, {len(png) / 1000:.0f} kB")
    print(f"its process: {cpu * 1000:.0f} ms of CPU a picture with its start, {spent.ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
