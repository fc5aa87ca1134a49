"""Plays a story to the pure core: what happens, moment by moment, and what is owed to whom. Pure.

The functions that the store runs, on a clock that jumps from one moment at which something is due to the next.
"""

import heapq
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.incident.delivery import (
    TELLING,
    End,
    Handling,
    Status,
    Window,
    correction,
    due_at,
    is_given_back,
    is_undone,
    may_still_reach,
    nobody_told,
    pointless,
    worth_owing,
)
from receiver.incident.event import AlertsReceived, Delivered, Event, Raise, TimeDue, Undelivered, Unreached
from receiver.incident.machine import transition
from receiver.incident.matching import choose
from receiver.incident.model import (
    BY_HAND,
    Decision,
    Entry,
    Failure,
    Incident,
    Kind,
    Notification,
    Reason,
    State,
    route_of,
)
from receiver.incident.policy import Policy
from receiver.policy.routing import Routing

_MOST_STEPS = 10_000  # of one story; a policy that repeats for ever must end somewhere


class Told(msgspec.Struct, frozen=True):
    """One notification that was sent, its moment, and its incident."""

    at: datetime
    notification: Notification
    priority: str
    incident: int = 1


class Story(msgspec.Struct, frozen=True):
    """What a simulation gives; ``incident`` is the newest."""

    incident: Incident
    told: tuple[Told, ...]
    timeline: tuple[Entry, ...]


class _Owed(msgspec.Struct):
    """A row of the outbox."""

    incident: int
    notification: Notification
    created_at: datetime
    not_before: datetime
    status: Status = Status.PENDING
    cancelled_at: datetime | None = None

    @property
    def lane(self) -> tuple[int, str]:
        return self.incident, self.notification.target.lane


class Simulation:
    """Alerts under one routing, from ``start``; ``play`` what happens, then ``run`` to an end.

    Each notification is sent when it is due, and arrives if ``arrives`` says so, else it is dead at once. ``handling``
    says how each channel takes what is owed on it.
    """

    def __init__(
        self,
        routing: Routing,
        start: datetime,
        *,
        handling: Callable[[str], Handling] = lambda _channel: Handling(),
        arrives: Callable[[Notification], bool] = lambda _notification: True,
    ) -> None:
        self._policy: Policy = routing
        self._handling, self._arrives, self.now = handling, arrives, start
        self._windows: dict[tuple[str, str], Window] = {}
        self._incidents: dict[int, Incident] = {}
        self._outbox: list[_Owed] = []
        self._told: list[Told] = []
        self._timeline: list[Entry] = []

    # What matching.choose asks.

    def newest(self, key: str) -> Incident | None:
        """Give the newest incident of a group key."""
        return next((one for one in reversed(self._incidents.values()) if one.key == key), None)

    def owners(self, route: str, fingerprints: tuple[str, ...]) -> dict[int, int]:
        """Count how many of these alerts fire in each open incident of this route."""
        wanted = set(fingerprints)
        shared_of_incident = {
            one.id: len(wanted & {alert.fingerprint for alert in one.firing})
            for one in self._incidents.values()
            if one.state is not State.RESOLVED and route and route_of(one) == route
        }
        return {number: count for number, count in shared_of_incident.items() if count}

    def incident(self, number: int) -> Incident | None:
        """Give one incident."""
        return self._incidents.get(number)

    def next_number(self) -> int:
        """Give the number after the greatest."""
        return len(self._incidents) + 1

    # What happens.

    def play(self, at: datetime, event: Event, key: str = "") -> None:
        """Let time pass until ``at``, and then this happen: to the newest incident of ``key``, or of all."""
        self.run(at)
        if isinstance(event, AlertsReceived):
            incident: Incident | None = choose(event, self, self._policy, self.now)
        elif isinstance(event, Raise):
            incident = Incident(id=self.next_number(), key=f"{BY_HAND}{self.next_number()}")
        else:
            incident = self.newest(key) if key else self._incidents.get(len(self._incidents))
        if incident is not None:
            self._apply(incident, event)
            self._send()

    def run(self, until: datetime) -> None:
        """Let time pass."""
        for _ in range(_MOST_STEPS):
            due = self._next()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            ready = [one for one in self._incidents.values() if one.wake_at is not None and one.wake_at <= self.now]
            changed = [self._apply(one, TimeDue()) for one in sorted(ready, key=lambda one: one.wake_at or self.now)]
            if not self._send() and not any(changed):
                break
        self.now = max(self.now, until)

    def story(self) -> Story:
        """Give what has happened so far."""
        newest = self._incidents.get(len(self._incidents), Incident(id=0, key=""))
        return Story(newest, tuple(self._told), tuple(self._timeline))

    def _next(self) -> datetime | None:
        """When the next clock runs to its time, or the next notification is due."""
        wakes = (one.wake_at for one in self._incidents.values())
        owed = (row.not_before for row in self._heads())
        return min((at for at in (*wakes, *owed) if at is not None), default=None)

    def _apply(self, before: Incident, event: Event) -> bool:
        """Decide, and keep what was decided as a store does; False if nothing changed."""
        return self._save(before, transition(before, event, self._policy, self.now))

    def _save(self, before: Incident, decision: Decision) -> bool:
        after = decision.incident
        if after.state is State.NEW or not decision.changes(before):
            return False
        self._incidents[after.id] = after
        self._timeline += decision.entries
        self._cancel_pointless(after)
        for notification in decision.notifications:
            self._owe(after, notification)
        if is_undone(before, after):
            self._owe_again(before.id, before.resolved_at)
            self._cancel_pointless(after)
        if is_given_back(before, after):
            self._owe_again(before.id, before.acknowledged_at)
        for ripple in decision.ripples:
            attached = [number for number, one in self._incidents.items() if one.attached_to == after.id]
            for number in (ripple.number,) if ripple.number else attached:
                if number in self._incidents:
                    self._save(self._incidents[number], ripple.decide(self._incidents[number]))
        return True

    def _cancel_pointless(self, incident: Incident) -> None:
        for row in self._outbox:
            waits = row.incident == incident.id and row.status is Status.PENDING
            if waits and pointless(row.notification.kind, row.created_at, incident):
                row.status, row.cancelled_at = Status.CANCELLED, self.now

    def _owe_again(self, incident: int, since: datetime | None) -> None:
        """What an answer has made pointless is not, now that it is taken back, but for a provider's ended incident."""
        for number, row in enumerate(self._outbox):
            at = row.cancelled_at if row.incident == incident else None
            if at is None or since is None or at < since:
                continue
            later = [other for other in self._outbox[number + 1 :] if other.lane == row.lane]
            if not (self._handling(row.notification.target.channel).keeps_incidents and _last_end(later)):
                row.status, row.cancelled_at = Status.PENDING, None

    def _owe(self, incident: Incident, notification: Notification) -> None:
        if notification.reason is Reason.RESOLVE_UNDONE:
            for each in self._corrections(incident, notification):
                self._write_down(incident, each)
            return
        lane = [row for row in self._outbox if row.lane == (incident.id, notification.target.lane)]
        after = _last_end(lane) if self._handling(notification.target.channel).keeps_incidents else 0
        told = ((row.status, 0) for row in lane[after:] if row.notification.kind in TELLING)
        waiting = (row.notification.kind for row in lane if row.status is Status.PENDING)
        if worth_owing(notification, told, waiting):
            self._write_down(incident, notification)

    def _corrections(self, incident: Incident, notification: Notification) -> tuple[Notification, ...]:
        lane = (incident.id, notification.target.lane)
        ends = [row for row in self._outbox if row.lane == lane and row.notification.kind is Kind.RESOLVED]
        end = End(ends[-1].status, 0, ends[-1].notification.serial) if ends else None
        is_cancelled, owed = correction(notification, incident, self._handling(notification.target.channel), end)
        if is_cancelled:
            ends[-1].status = Status.CANCELLED
        return owed

    def _write_down(self, incident: Incident, notification: Notification) -> None:
        target = notification.target
        place, way = (target.channel, target.address), self._handling(target.channel)
        if notification.kind not in way.kinds:
            return
        due, window = due_at(incident, way, self._windows.get(place), self.now)
        new = _Owed(incident.id, notification, self.now, due)
        known = {_identity(row.notification) for row in self._outbox if row.lane == new.lane}
        if _identity(notification) not in known:
            self._outbox.append(new)
            if window is not None:
                self._windows[place] = window

    def _send(self) -> bool:
        """Send what is due, in order within each lane, until nothing is; False if nothing was."""
        sent = False
        while ready := [row for row in self._heads() if row.not_before <= self.now]:
            sent = True
            for row in ready:
                row.status = Status.SENDING
            for row in ready:
                self._settle(row)
        return sent

    def _heads(self) -> list[_Owed]:
        """Give what is first in its lane: nothing overtakes it."""
        lanes: dict[tuple[int, str], _Owed] = {}
        for row in self._outbox:
            if row.status is Status.PENDING:
                lanes.setdefault(row.lane, row)
        return list(lanes.values())

    def _settle(self, row: _Owed) -> None:
        notification, target = row.notification, row.notification.target
        arrived = self._arrives(notification)
        row.status = Status.SENT if arrived else Status.DEAD
        if arrived:
            priority = self._incidents[row.incident].priority.value
            self._told.append(Told(self.now, notification, priority, row.incident))
        if notification.kind is not Kind.PAGE:
            return
        if arrived:
            self._apply(self._incidents[row.incident], Delivered(notification.round, target.person))
            return
        waiting = (
            one.notification.target for one in self._pages(row) if one.status in {Status.PENDING, Status.SENDING}
        )
        if may_still_reach(target, waiting):
            return
        self._apply(self._incidents[row.incident], Unreached(target, notification.round, Failure.REFUSED))
        if nobody_told(one.status for one in self._pages(row)):
            self._apply(self._incidents[row.incident], Undelivered(notification.round))

    def _pages(self, row: _Owed) -> list[_Owed]:
        """Give the pages of its incident and round."""
        return [
            other
            for other in self._outbox
            if other.incident == row.incident
            and other.notification.kind is Kind.PAGE
            and other.notification.round == row.notification.round
        ]


def _last_end(lane: list[_Owed]) -> int:
    """Say how many rows of a lane go up to its last end; one that an undo has cancelled has ended nothing."""
    kinds = [row.notification.kind is Kind.RESOLVED and row.status is not Status.CANCELLED for row in lane]
    return len(kinds) - kinds[::-1].index(True) if True in kinds else 0


def _identity(notification: Notification) -> tuple[str, Kind, int, int]:
    return notification.target.lane, notification.kind, notification.round, notification.serial


def play(
    routing: Routing,
    start: datetime,
    events: Iterable[tuple[datetime, Event]],
    until: datetime,
    handling: Callable[[str], Handling] = lambda _channel: Handling(),
) -> Story:
    """Play events in the order of time, those of one moment as they are given."""
    simulation = Simulation(routing, start, handling=handling)
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
