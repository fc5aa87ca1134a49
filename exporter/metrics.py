"""The exporter's metrics about itself: every label set stands at 0 from the start."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from exporter.event import Reason

SOURCES = ("metrics", "vitals", "interactions", "events")


class Metrics:
    """The families of one process, in its registry."""

    def __init__(self, registry: CollectorRegistry, families: Iterable[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series of every counter
        self.rejected = Counter(
            "exporter_events_rejected",
            "Events and requests that were not counted, by endpoint and reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.duplicates = Counter(
            "exporter_events_duplicate", "Events that had been counted before.", registry=registry
        )
        self.series = Gauge("exporter_series", "Label sets of a family.", ["family"], registry=registry)
        self.render = Histogram(
            "exporter_render_duration_seconds",
            "Time to write /metrics.",
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1),
            registry=registry,
        )
        for source in SOURCES:
            for reason in Reason:
                self.rejected.labels(source, reason.value)
        for family in families:
            self.series.labels(family)
