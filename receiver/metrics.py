"""The receiver's metrics about itself: every label set that can be known stands at 0 from the start."""

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from receiver.channels.base import Failure
from receiver.escalation import Priority
from receiver.incident import State
from receiver.store.base import Backlog

WEBHOOK_CODES = ("200", "400", "401", "413", "415", "503")
OUTCOMES = ("sent", "retried", "dead")


class Metrics:
    """One registry and the families in it."""

    def __init__(self, channels: Iterable[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series of every counter
        self.registry = registry = CollectorRegistry()
        self.webhooks = Counter("receiver_webhook_requests", "Requests of Alertmanager.", ["code"], registry=registry)
        self.deliveries = Counter(
            "receiver_deliveries", "Attempts to send, by outcome.", ["channel", "outcome"], registry=registry
        )
        self.failures = Counter(
            "receiver_delivery_failures", "Failed attempts, by reason.", ["channel", "reason"], registry=registry
        )
        self.page_lag = Histogram(
            "receiver_page_lag_seconds",
            "From the moment that a notification was owed to its first attempt.",
            ["channel"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120),
            registry=registry,
        )
        self.incidents = self._gauge("incidents", "Incidents that are not resolved.", "state", "priority")
        text = "Age of the oldest incident that nobody has acknowledged; 0 if there is none."
        self.unacknowledged = self._gauge("incident_unacknowledged_age_seconds", text, "priority")
        text = "Age of the oldest notification that is still owed; 0 if there is none."
        self.outbox_age = self._gauge("outbox_oldest_age_seconds", text, "channel")
        text = "When Alertmanager's Watchdog was last heard."
        self.watchdog = self._gauge("watchdog_last_seen_timestamp_seconds", text, "source")
        self.channels = tuple(channels)
        self._initialise()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"receiver_{name}", text, labels, registry=self.registry)

    def _initialise(self) -> None:
        for code in WEBHOOK_CODES:
            self.webhooks.labels(code)
        for channel in self.channels:
            self.page_lag.labels(channel)
            for outcome in OUTCOMES:
                self.deliveries.labels(channel, outcome)
            for reason in Failure:
                self.failures.labels(channel, reason.value)

    def show(self, backlog: Backlog, now: datetime) -> None:
        """Take the store's reading into the gauges; called at each scrape."""
        for priority in Priority:
            for state in (State.TRIGGERED, State.ACKNOWLEDGED):
                count = backlog.open_incidents.get((state.value, priority.value), 0)
                self.incidents.labels(state.value, priority.value).set(count)
            opened = backlog.oldest_unacknowledged.get(priority.value, now)
            self.unacknowledged.labels(priority.value).set(max(0.0, (now - opened).total_seconds()))
        for channel in self.channels:
            owed = backlog.oldest_owed.get(channel, now)
            self.outbox_age.labels(channel).set(max(0.0, (now - owed).total_seconds()))
        for source, seen in backlog.heartbeats.items():
            self.watchdog.labels(source).set(seen.timestamp())
