"""The exporter's metrics about itself; each label set is exposed as 0 from the start."""

from exporter.events.decode import Reason
from exporter.registry.recorder import Recorder

SOURCES = ("browser", "metrics", "vitals", "interactions", "events", "sentry")
OWN = {"sources": SOURCES, "reasons": tuple(Reason)}


class Metrics:
    """What the parts of the exporter count about themselves, in the same series as everything else."""

    def __init__(self, recorder: Recorder) -> None:
        self._series = recorder.series

    def follow(self, recorder: Recorder) -> None:
        """From now on count in the series of another recorder, also what began before: a reload has replaced it."""
        self._series = recorder.series

    def rejected(self, source: str, reason: Reason, number: int = 1) -> None:
        """Count rejected events or requests, by reason."""
        self._series["exporter_events_rejected_total"].add((source, reason), number)

    def left_out(self, source: str, number: int) -> None:
        """Count parts that were left out of events."""
        self._series["exporter_event_parts_left_out_total"].add((source,), number)

    def duplicates(self, source: str, number: int) -> None:
        """Count events that were counted before."""
        self._series["exporter_events_duplicate_total"].add((source,), number)

    def bots(self, number: int) -> None:
        """Count events of bots."""
        self._series["exporter_bot_events_total"].add((), number)

    def batch(self, source: str, outcome: str, size: int) -> None:
        """Count a request and the bytes of its body."""
        self._series["exporter_batches_total"].add((source, outcome))
        if size:
            self._series["exporter_batch_size_bytes"].observe((source,), size)

    def age(self, source: str, seconds: float) -> None:
        """Observe how old an event was when it was received."""
        self._series["exporter_event_age_seconds"].observe((source,), seconds)

    def skew(self, seconds: float) -> None:
        """Observe by how much a sender's clock is off."""
        self._series["exporter_client_clock_skew_seconds"].observe((), seconds)

    def omitted(self, family: str) -> None:
        """Count a scrape without a family that could not be rendered."""
        self._series["exporter_families_omitted_total"].add((family,))

    def storage_error(self, operation: str) -> None:
        """Count a failure of journal or snapshot."""
        self._series["exporter_storage_errors_total"].add((operation,))

    def recovered(self, now: float) -> None:
        """Say what a start found damaged: nothing increases later, and the first value of a counter is no increase."""
        found = self._series["exporter_storage_errors_total"].cell(("recover",)).value
        self.gauge("exporter_recovery_faults", found, now)

    def synced(self, seconds: float) -> None:
        """Observe a sync of the journal."""
        self._series["exporter_journal_sync_duration_seconds"].observe((), seconds)

    def rendered(self, seconds: float) -> None:
        """Observe the time to render /metrics."""
        self._series["exporter_render_duration_seconds"].observe((), seconds)

    def lag(self, seconds: float) -> None:
        """Observe how late the event loop was."""
        self._series["exporter_event_loop_lag_seconds"].observe((), max(seconds, 0))

    def gauge(self, name: str, value: float, now: float, *labels: str) -> None:
        """Set one of the exporter's own gauges."""
        self._series[name].set(labels, value, now)

    # For the other exporters:

    def sent(self, outcome: str) -> None:
        """Count a message to a peer."""
        self._series["exporter_replication_sent_total"].add((outcome,))

    def received(self, outcome: str) -> None:
        """Count a message of a peer."""
        self._series["exporter_replication_received_total"].add((outcome,))

    def counted_twice(self) -> None:
        """Count an id that two exporters had counted before they told each other."""
        self._series["exporter_counted_twice_total"].add(())

    # For the Sentry tunnel:

    def item(self, item: str, outcome: str, n: int) -> None:
        """Count items of envelopes by outcome."""
        self._series["sentry_tunnel_items_total"].add((item, outcome), n)

    def discarded(self, reason: str, n: int) -> None:
        """Count events that the Sentry SDK reports as discarded."""
        self._series["sentry_client_discarded_events_total"].add((reason,), n)

    def upstream(self, seconds: float) -> None:
        """Observe the time that Sentry took to answer."""
        self._series["sentry_tunnel_upstream_duration_seconds"].observe((), seconds)
