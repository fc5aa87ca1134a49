"""A naive exporter to compare with: await request.json(), then .labels().inc() for each event."""

import sys

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

REGISTRY = CollectorRegistry()
HTTP = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 1.5, 2, 3, 5, 10)
DB = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


def families() -> dict[str, list[tuple[Counter | Histogram, tuple[str, ...]]]]:
    """Make what each type of event feeds."""
    disable_created_metrics()  # type: ignore[no-untyped-call]

    def counter(name: str, *labels: str) -> tuple[Counter | Histogram, tuple[str, ...]]:
        return Counter(name, name, labels, registry=REGISTRY), labels

    def histogram(name: str, buckets: tuple[float, ...], *labels: str) -> tuple[Counter | Histogram, tuple[str, ...]]:
        return Histogram(name, name, labels, buckets=buckets, registry=REGISTRY), labels

    return {
        "http_request": [
            counter("http_requests_total", "method", "route", "status"),
            histogram("http_request_duration_seconds", HTTP, "method", "route"),
        ],
        "db_query": [
            counter("db_queries_total", "operation", "table", "outcome"),
            histogram("db_query_duration_seconds", DB, "operation", "table"),
        ],
        "cache_request": [counter("cache_requests_total", "cache", "result")],
        "class_booked": [counter("class_bookings_total", "class_type", "channel")],
    }


def application() -> web.Application:
    """Build the web application."""
    known = families()

    async def events(request: web.Request) -> web.Response:
        for event in (await request.json())["events"]:
            data = event["data"]
            for family, labels in known[event["type"]]:
                child = family.labels(**{name: str(data[name]) for name in labels})
                if isinstance(child, Counter):
                    child.inc()
                else:
                    child.observe(data["duration"])
        return web.Response(status=202)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY))

    app = web.Application()
    app.add_routes([web.post("/api/events", events), web.get("/metrics", metrics)])
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda _text: None)
