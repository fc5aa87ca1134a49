"""The receiver's metrics about itself: every label set that can be known stands at 0 from the start."""

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from receiver.channels.base import Failure
from receiver.incident.heartbeat import Beat
from receiver.incident.model import DEFAULT_SOURCE, Incident, Priority, State
from receiver.oncall.calendar_entries import Reason
from receiver.store.base import Backlog, OpenIncident, Outage
from receiver.store.unreadable import Table

WEBHOOK_CODES = ("200", "400", "401", "413", "415", "503")
OUTCOMES = ("sent", "retried", "dead")
DRIFT = ("missed", "vanished", "silenced", "unsilenced", "completed", "confirmed")
FOUR = tuple(priority.value for priority in Priority)[:4]  # what a site has that configures no fifth
_MOST_NAMES = 1000  # of alerts that are counted by themselves
_LONGEST_NAME = 200  # characters of an alert's name, a title or an owner in a label


def _described(one: OpenIncident) -> tuple[str, ...]:
    """Return the labels of an open incident, in the order of the family."""
    owner = one.acknowledged_by if one.state is State.ACKNOWLEDGED else ""
    texts = (one.title, one.labels.get("alertname", ""), one.team, owner)
    return (str(one.id), one.priority.value, one.state.value, *(text[:_LONGEST_NAME] for text in texts))


class Metrics:
    """One registry and the families in it; what is counted for each of the teams stands at 0 from the start."""

    def __init__(
        self,
        channels: Iterable[str],
        teams: Iterable[str] = (),
        sources: Iterable[str] = (DEFAULT_SOURCE,),
        priorities: Iterable[str] = FOUR,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series of every counter
        self.registry = registry = CollectorRegistry()
        self.webhooks = Counter(
            "receiver_webhook_requests",
            "Requests of Alertmanager, of jobs and of other tools.",
            ["source", "code"],
            registry=registry,
        )
        text = "Alerts of webhooks that could not be read; the rest of their webhook was taken."
        self.alerts_dropped = Counter("receiver_alerts_dropped", text, ["source"], registry=registry)
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
        self._add_incidents()
        self._add_watch()
        self.incidents = self._gauge("incidents", "Incidents that are not resolved.", "state", "priority")
        text = "When each of the 50 most urgent open incidents was opened; the owner is who acknowledged it."
        names = ("incident", "priority", "state", "title", "alertname", "team", "owner")
        self.opened_at = self._gauge("open_incident_opened_timestamp_seconds", text, *names)
        text = "How long an incident has waited for an acknowledgement, without pauses, at most; 0 if none waits."
        self.unacknowledged = self._gauge("incident_unacknowledged_age_seconds", text, "priority")
        text = "How long an unacknowledged incident is past its own response time, of the one that is so for longest."
        self.overdue = self._gauge("incident_unacknowledged_overdue_seconds", text, "priority")
        text = "Age of the oldest notification that is still owed; 0 if there is none."
        self.outbox_age = self._gauge("outbox_oldest_age_seconds", text, "channel")
        text = "When Alertmanager's Watchdog was last heard."
        self.watchdog = self._gauge("watchdog_last_seen_timestamp_seconds", text, "source")
        text = "When each job's heartbeat was last heard; 0 if never."
        self.job_heard = self._gauge("heartbeat_last_seen_timestamp_seconds", text, "heartbeat")
        text = "1 while the job's heartbeat is missed."
        self.job_missed = self._gauge("heartbeat_missed", text, "heartbeat")
        self.channels, self._teams, self._sources = tuple(channels), tuple(teams), tuple(sources)
        self._priorities = set(priorities)
        self._names = set[str]()  # of alerts that have opened an incident
        self._initialise()

    def _add_incidents(self) -> None:
        """Add what incidents and their answers are measured by."""
        text = "From the moment that a step of the matrix was due to its pages being owed."
        self.lateness = Histogram(
            "receiver_step_lateness_seconds",
            text,
            buckets=(0.1, 0.5, 1, 2, 5, 15, 60, 300, 900),
            registry=self.registry,
        )
        self.acknowledged = self._durations("time_to_acknowledge", "From an incident's opening to its acknowledgement.")
        self.resolved = self._durations("time_to_resolve", "From an incident's opening to its end.")
        labels = ["priority", "team"]
        text = "Incidents that nobody acknowledged within the response time."
        self.breaches = Counter("receiver_response_time_breaches", text, labels, registry=self.registry)
        text = "Incidents opened; drills are left out."
        labels = ["priority", "team", "alertname"]
        self.opened = Counter("receiver_incidents_opened", text, labels, registry=self.registry)

    def _add_watch(self) -> None:
        """Add what says that somebody should look after this receiver."""
        text = "Notifications that will never be sent."
        self.dead = Counter("receiver_notifications_dead", text, ["channel"], registry=self.registry)
        text = "Hosts of the channel that have failed several times in a row and are paused."
        self.circuit_open = self._gauge("channel_circuit_open", text, "channel")
        text = "Addresses of the channel that are paused, by themselves or with their host."
        self.addresses_paused = self._gauge("channel_addresses_paused", text, "channel")
        text = "1 if somebody who can be reached holds the role now, or no row of a matrix pages it at this hour."
        self.covered = self._gauge("oncall_covered", text, "role")
        self.on_call = self._gauge("oncall_info", "1 for each person who holds a role now.", "role", "person")
        text = "Browsers of people that can be paged by push, by whether a page would be seen there."
        self.push_devices = self._gauge("push_devices", text, "state")
        text = "When the alerts of a source were last compared with its own API."
        self.reconciled = self._gauge("reconcile_last_success_timestamp_seconds", text, "source")
        text = "Incidents that a person has resolved, and whose alerts still fire a while later."
        self.still_firing = self._gauge("resolved_still_firing", text, "source")
        self.stuck = self._gauge("incidents_stuck", "Incidents in which the receiver's own rules raise an error.")
        text = "1 while the database cannot be written, by reason."
        self.store_outage = self._gauge("store_outage", text, "reason")
        self._add_data()

    def _add_data(self) -> None:
        """Add what says that something the receiver reads is not as it should be."""
        text = "Rows of the database that could not be read within the last hour, and were left out."
        self.unreadable = self._gauge("unreadable_rows", text, "table")
        text = "When the calendar of a schedule was last read."
        self.calendar_read = self._gauge("calendar_last_success_timestamp_seconds", text, "schedule")
        text = "Entries of a schedule's calendar that could not be used as they are, by reason, when it was last read."
        self.calendar_remarks = self._gauge("calendar_entries_with_problems", text, "schedule", "reason")
        text = "Seconds until nobody who can be reached holds the role; 0 in a gap, +Inf if none is in sight."
        self.next_gap = self._gauge("oncall_next_gap_seconds", text, "role")
        self._gap_starts: dict[str, datetime | None] = {}
        text = "Rounds of the loops that pages do not depend on, and that failed."
        self.housekeeping_failures = Counter("receiver_housekeeping_failures", text, ["loop"], registry=self.registry)
        text = "1 while the last round of the loop failed."
        self.housekeeping_failing = self._gauge("housekeeping_failing", text, "loop")
        text = "Differences between our incidents and Alertmanager's API."
        self.drift = Counter("receiver_reconcile_drift", text, ["source", "kind"], registry=self.registry)
        text = "Templates of the folder that failed; the built-in one was used."
        self.template_failures = Counter("receiver_template_failures", text, ["template"], registry=self.registry)
        text = "How often the clock of the receiver was set, by direction."
        self.clock_steps = Counter("receiver_clock_steps", text, ["direction"], registry=self.registry)
        for direction in ("forward", "back"):
            self.clock_steps.labels(direction)
        text = "1 if the last reload was taken, 0 if the file was refused."
        self.reloaded = Gauge("receiver_config_last_reload_successful", text, registry=self.registry)
        self.reloaded.set(1)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"receiver_{name}", text, labels, registry=self.registry)

    def _durations(self, name: str, text: str) -> Histogram:
        labels = ("priority", "team")
        buckets = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200)
        return Histogram(f"receiver_{name}_seconds", text, labels, buckets=buckets, registry=self.registry)

    def template_failed(self, name: str) -> None:
        """Count a template that failed."""
        self.template_failures.labels(name).inc()

    def clock_set(self, by: timedelta) -> None:
        """Count that somebody set the clock."""
        self.clock_steps.labels("forward" if by > timedelta(0) else "back").inc()

    def config_reloaded(self, ok: bool) -> None:  # noqa: FBT001  # its one argument
        """Say whether the last reload was taken."""
        self.reloaded.set(ok)

    def watch(self, before: Incident, after: Incident) -> None:
        """Count what a change means; drills count for nothing."""
        labels = after.priority.value, after.team
        due, paged = before.clocks.next_due_at, after.delivery.paged_at
        if after.delivery.rounds > before.delivery.rounds and due is not None and paged is not None:
            self.lateness.observe(max(0.0, (paged - due).total_seconds()))
        if after.drill or after.opened_at is None:
            return
        if before.state is State.NEW:
            self.opened.labels(*labels, self._bounded(after.labels.get("alertname", "")[:_LONGEST_NAME])).inc()
        if after.acknowledged_at is not None and before.acknowledged_at is None:
            self.acknowledged.labels(*labels).observe(after.open_for(after.acknowledged_at).total_seconds())
        if after.resolved_at is not None and before.resolved_at is None:
            self.resolved.labels(*labels).observe(after.open_for(after.resolved_at).total_seconds())
        if after.breached_at is not None and before.breached_at is None:
            self.breaches.labels(*labels).inc()

    def _bounded(self, alertname: str) -> str:
        """Give the name, or `other` once there are too many of them: each is a series for ever."""
        if len(self._names) < _MOST_NAMES:
            self._names.add(alertname)
        return alertname if alertname in self._names else "other"

    def _initialise(self) -> None:
        # A series that appears with its first event has no increase: MTTA and MTTR would lose the first incident.
        for priority, team in product(self._priorities, self._teams):
            for family in (self.acknowledged, self.resolved, self.breaches):
                family.labels(priority, team)
        for source in self._sources:
            self.alerts_dropped.labels(source)
            self.still_firing.labels(source).set(0)
        for source, kind in product(self._sources, DRIFT):
            self.drift.labels(source, kind)
        self.show_unreadable(dict.fromkeys(Table, 0))
        self.expect_requests(self._sources)
        for channel in self.channels:
            self._initialise_channel(channel)

    def _initialise_channel(self, channel: str) -> None:
        self.page_lag.labels(channel)
        self.dead.labels(channel)
        self.circuit_open.labels(channel)
        self.addresses_paused.labels(channel)
        for outcome in OUTCOMES:
            self.deliveries.labels(channel, outcome)
        for reason in Failure:
            self.failures.labels(channel, reason.value)

    def housekeeping_failed(self, loop: str) -> None:
        """Count a round that failed."""
        self.housekeeping_failures.labels(loop).inc()
        self.housekeeping_failing.labels(loop).set(1)

    def housekeeping_succeeded(self, loop: str) -> None:
        """Say that a loop works; its counter stands at 0 from its first round on."""
        self.housekeeping_failures.labels(loop)
        self.housekeeping_failing.labels(loop).set(0)

    def show_calendar(self, schedule: str, counts: Mapping[Reason, int]) -> None:
        """Say how many entries of a calendar have which problem."""
        for reason in Reason:
            self.calendar_remarks.labels(schedule, reason.value).set(counts.get(reason, 0))

    def show_gaps(self, starts: dict[str, datetime | None]) -> None:
        """Take in when the next gap of each role begins, None if none is in sight."""
        self._gap_starts = starts

    def expect_requests(self, sources: Iterable[str]) -> None:
        """Let the requests of these senders begin at 0."""
        for source, code in product(sources, WEBHOOK_CODES):
            self.webhooks.labels(source, code)

    def show_jobs(self, beats: Mapping[str, Beat]) -> None:
        """Say when each job was heard, and who is missed."""
        self.job_heard.clear()
        self.job_missed.clear()
        for name, beat in beats.items():
            self.job_heard.labels(name).set(beat.heard_at.timestamp() if beat.heard_at else 0)
            self.job_missed.labels(name).set(beat.missed_at is not None)

    def show_unreadable(self, counts: Mapping[Table, int]) -> None:
        """Say how many rows cannot be read."""
        for table, count in counts.items():
            self.unreadable.labels(table.value).set(count)

    def show_store(self, outage: Outage | None) -> None:
        """Say why the database cannot be written."""
        for reason in Outage:
            self.store_outage.labels(reason.value).set(reason is outage)

    def show_next_gaps(self, now: datetime) -> None:
        """Say how long it is until each of these."""
        self.next_gap.clear()
        for role, start in self._gap_starts.items():
            seconds = math.inf if start is None else max(0.0, (start - now).total_seconds())
            self.next_gap.labels(role).set(seconds)

    def show_cover(self, holders: Mapping[str, tuple[str, ...]], covered: Collection[str]) -> None:
        """Take in who holds each role now, and which roles are covered; called at each scrape."""
        self.on_call.clear()
        for role, people in holders.items():
            self.covered.labels(role).set(role in covered)
            for person in people:
                self.on_call.labels(role, person).set(1)

    def show_nothing_stored(self, now: datetime) -> None:
        """Show no count and no age of the store rather than an old one."""
        for family in (self.incidents, self.unacknowledged, self.overdue, self.opened_at, self.outbox_age):
            family.clear()
        self.show_next_gaps(now)

    def show(self, backlog: Backlog, now: datetime) -> None:
        """Take the store's reading into the gauges; called at each scrape."""
        self._priorities |= {priority for _, priority in backlog.open_incidents}  # a reload may bring one, or take it
        for priority in self._priorities:
            for state in (State.TRIGGERED, State.ACKNOWLEDGED):
                count = backlog.open_incidents.get((state.value, priority), 0)
                self.incidents.labels(state.value, priority).set(count)
            opened = backlog.oldest_unacknowledged.get(priority, now)
            self.unacknowledged.labels(priority).set(max(0.0, (now - opened).total_seconds()))
            due = backlog.first_due.get(priority, now)
            self.overdue.labels(priority).set(max(0.0, (now - due).total_seconds()))
        self.opened_at.clear()
        for one in backlog.most_urgent:
            self.opened_at.labels(*_described(one)).set((one.opened_at or now).timestamp())
        for channel in self.channels:
            owed = backlog.oldest_owed.get(channel, now)
            self.outbox_age.labels(channel).set(max(0.0, (now - owed).total_seconds()))
        self.show_next_gaps(now)
        for source, seen in backlog.heartbeats.items():
            self.watchdog.labels(source).set(seen.timestamp())
