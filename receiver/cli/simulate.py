"""Plays a story to the pure core: what happens, moment by moment, and what is owed to whom. Pure.

The same transition as in earnest, on a clock that jumps from one wake-up to the next; each page arrives at once.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.incident.event import Delivered, Event, TimeDue
from receiver.incident.machine import transition
from receiver.incident.model import Entry, Incident, Kind, Notification, State
from receiver.incident.policy import Policy
from receiver.policy.current import Live
from receiver.policy.routing import Routing

_MOST_STEPS = 10_000  # of one story; a policy that repeats for ever must end somewhere


class Told(msgspec.Struct, frozen=True):
    """One notification and its moment."""

    at: datetime
    notification: Notification
    priority: str


class Story(msgspec.Struct, frozen=True):
    """What a simulation gives."""

    incident: Incident
    told: tuple[Told, ...]
    timeline: tuple[Entry, ...]


class Simulation:
    """One group of alerts under one routing, from ``start``; ``play`` what happens, then ``run`` to an end."""

    def __init__(self, routing: Routing, start: datetime, key: str = "simulated") -> None:
        self._policy: Policy = Live(routing, start)
        self.incident = Incident(id=1, key=key)
        self.now = start
        self._told: list[Told] = []
        self._timeline: list[Entry] = []
        self._reached: set[str] = set()

    def play(self, at: datetime, event: Event) -> None:
        """Let time pass until ``at``, and then this happen."""
        self.run(at)
        self._apply(event)

    def run(self, until: datetime) -> None:
        """Let time pass."""
        for _ in range(_MOST_STEPS):
            wake = self.incident.wake_at
            if wake is None or wake > until:
                break
            before = self.incident
            self.now = max(self.now, wake)
            self._apply(TimeDue())
            if self.incident == before:
                break
        self.now = max(self.now, until)

    def story(self) -> Story:
        """Give what has happened so far."""
        return Story(self.incident, tuple(self._told), tuple(self._timeline))

    def _apply(self, event: Event) -> None:
        decision = transition(self.incident, event, self._policy, self.now)
        if decision.incident.state is State.NEW:
            return
        self._timeline += decision.entries
        self.incident, owed = decision.incident, decision.notifications
        for notification in owed:
            lane = notification.target.lane
            if notification.kind is Kind.PAGE:
                self._reached.add(lane)
            elif lane not in self._reached:
                continue  # the store owes news only where the trouble itself went
            self._told.append(Told(self.now, notification, self.incident.priority.value))
        for notification in owed:
            if notification.kind is Kind.PAGE:
                self._apply(Delivered(notification.round, notification.target.person))


def play(routing: Routing, start: datetime, events: Iterable[tuple[datetime, Event]], until: datetime) -> Story:
    """Play events in the order of time, those of one moment as they are given."""
    simulation = Simulation(routing, start)
    queue = [(at, number, event) for number, (at, event) in enumerate(events)]
    heapq.heapify(queue)
    while queue and queue[0][0] <= until:
        at, _, event = heapq.heappop(queue)
        simulation.play(at, event)
    simulation.run(until)
    return simulation.story()


def span(delta: timedelta) -> str:
    """Write a time after the start as people write it in a file: 0m, 15m, 1h30m, 45s."""
    seconds = int(delta.total_seconds())
    parts = ((seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0m"
