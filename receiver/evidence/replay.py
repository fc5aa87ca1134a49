"""Replays past incidents under a configuration, by the functions that the store runs, and compares who was paged.

Each incident is replayed by itself. Its alerts, silences and ends are as they were; who acknowledged it does so as long
after their first page as they did then, or in their place whoever is paged. What people did otherwise is left out.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec.structs import replace

from receiver.incident.delivery import Handling
from receiver.incident.event import Acknowledge, AlertsReceived, Event, Paused, Resolve, Resumed
from receiver.incident.model import Alert, AlertGroup, Entry, EntryKind, Incident, Kind, Origin, PauseKind
from receiver.messages.i18n import Reader
from receiver.messages.render import what_broke
from receiver.policy.routing import Routing
from receiver.policy.simulate import Simulation, Story
from receiver.store.base import History, IncidentHistory, SentPage

MOVED = timedelta(minutes=1)  # a first page that comes so much later or earlier is a difference
LISTED = 50  # differences
_ENDS = frozenset({EntryKind.RESOLVED, EntryKind.RESOLVED_QUIET})
_ORDER = ("gone", "later", "new", "earlier", "who")
HandlingOf = Callable[[str], Handling]
Night = Callable[[datetime, str], bool]


class Outcome(msgspec.Struct, frozen=True):
    """Who was paged for an incident, when, and whether its response time was kept."""

    number: int
    title: str
    priority: str
    pages: tuple[SentPage, ...]
    breached: bool

    @property
    def first(self) -> datetime | None:
        """When somebody was paged first."""
        return min((page.at for page in self.pages), default=None)


class Difference(msgspec.Struct, frozen=True):
    """What became of one incident: `gone` and `new` pages, `later` and `earlier` ones by ``seconds``, or `who`."""

    number: int
    title: str
    priority: str
    what: str
    seconds: float = 0.0


class Group(msgspec.Struct, frozen=True):
    """How many incidents of a priority have the same difference, and by how much at most."""

    priority: str
    what: str
    count: int
    seconds: float


class Compared(msgspec.Struct, frozen=True):
    """All of it; pairs are before and after."""

    incidents: int
    left_out: int
    pages: tuple[int, int]
    night_pages: tuple[int, int]
    breaches: tuple[int, int]
    people: tuple[tuple[str, int, int], ...]
    groups: tuple[Group, ...]  # the most important first
    differences: tuple[Difference, ...]  # the most important of them


class Configured(msgspec.Struct, frozen=True):
    """What is replayed under: a routing with its calendars filled in, and how each channel takes what is owed on it."""

    routing: Routing
    handling: HandlingOf


class Past(History, Protocol):
    """What is read of a store."""

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        """Give one incident and its timeline."""


async def compare(
    store: Past, start: datetime, now: datetime, before: Configured | None, after: Configured, night: Night
) -> Compared:
    """Replay what opened from ``start`` until now, one by one; against the record, if ``before`` is None.

    Raises:
        StoreError: it cannot be read.
    """
    comparing = Comparing(night)
    async for history in store.opened_between(start, now):
        if history.incident.drill:
            continue
        stored = await store.incident(history.incident.id)
        timeline = stored[1] if stored else ()
        # In a thread, so that a process that also serves goes on serving.
        comparing.add(*await asyncio.to_thread(_both, history, timeline, before, after, now))
    return comparing.result()


def _both(
    history: IncidentHistory, timeline: Sequence[Entry], before: Configured | None, after: Configured, now: datetime
) -> tuple[Outcome, Outcome | None]:
    then = replayed(history, timeline, before.routing, before.handling, now) if before else None
    return then or recorded(history), replayed(history, timeline, after.routing, after.handling, now)


def recorded(history: IncidentHistory) -> Outcome:
    """Give what happened then."""
    incident = history.incident
    title = what_broke(incident, Reader())
    return Outcome(incident.id, title, incident.priority.value, history.pages, history.breached)


def replayed(
    history: IncidentHistory, timeline: Sequence[Entry], routing: Routing, handling: HandlingOf, now: datetime
) -> Outcome | None:
    """Give what would happen under another configuration; None for what cannot be replayed, as what a person raised."""
    incident = history.incident
    if not incident.alerts or incident.opened_at is None:
        return None
    events = list(_events(incident, incident.opened_at, timeline))
    until = incident.resolved_at or now
    told = _played(routing, incident.opened_at, events, until, handling)
    answer = _answer(history, timeline, _pages(told))
    if answer is not None:
        told = _played(routing, incident.opened_at, [*events, answer], until, handling)
    breached = any(entry.kind is EntryKind.BREACHED for entry in told.timeline)
    before = recorded(history)
    return Outcome(before.number, before.title, told.incident.priority.value, _pages(told), breached)


def _played(
    routing: Routing, start: datetime, events: list[tuple[datetime, Event]], until: datetime, handling: HandlingOf
) -> Story:
    simulation = Simulation(routing, start, handling=handling)
    for at, event in sorted(events, key=lambda pair: pair[0]):
        if at <= until:
            simulation.play(at, event)
    simulation.run(until)
    return simulation.story()


def _pages(told: Story) -> tuple[SentPage, ...]:
    """One page a round and person, however many channels carried it, as the store counts them."""
    first: dict[tuple[int, int, str], datetime] = {}
    for one in told.told:
        notification = one.notification
        if notification.kind is Kind.PAGE and notification.target.person:
            first.setdefault((one.incident, notification.round, notification.target.person), one.at)
    return tuple(SentPage(at, person) for (_, _, person), at in first.items())


def _events(incident: Incident, opened: datetime, timeline: Sequence[Entry]) -> Iterator[tuple[datetime, Event]]:
    """Give what its alerts did, and what Alertmanager and people did about it, but for acknowledging it."""
    lead = min(incident.alerts.values(), key=lambda alert: alert.starts_at)
    for alert in incident.alerts.values():
        begun = opened if alert is lead else max(alert.starts_at, opened)
        yield (
            begun,
            _received(incident, replace(alert, firing=True, starts_at=min(alert.starts_at, begun), ends_at=None)),
        )
        if not alert.firing and alert.ends_at is not None and alert.ends_at > begun:
            yield alert.ends_at, _received(incident, replace(alert, firing=False))
    for entry in timeline:
        if entry.kind is EntryKind.REOPENED:
            yield entry.at, _received(incident, replace(lead, firing=True, starts_at=entry.at, ends_at=None))
        elif entry.kind in _ENDS:
            ended = [replace(one, firing=False, ends_at=entry.at) for one in incident.alerts.values()]
            yield entry.at, _received(incident, *ended)
        elif entry.kind is EntryKind.RESOLVED_BY_HAND:
            yield entry.at, Resolve(entry.actor, entry.data.origin or Origin.API)
        else:
            yield from _pause(entry)


def _pause(entry: Entry) -> Iterator[tuple[datetime, Event]]:
    """Maintenance is the configuration's own, and not what Alertmanager did."""
    pause = entry.data.pause
    if pause is None or pause.kind is PauseKind.MAINTENANCE:
        return
    if entry.kind is EntryKind.PAUSED:
        yield entry.at, Paused(pause)
    elif entry.kind is EntryKind.RESUMED:
        yield entry.at, Resumed()


def _received(incident: Incident, *alerts: Alert) -> AlertsReceived:
    group = AlertGroup(
        incident.key, alerts, receiver=incident.receiver, labels=incident.group_labels, source=incident.source
    )
    return AlertsReceived(group)


def _answer(
    history: IncidentHistory, timeline: Sequence[Entry], pages: tuple[SentPage, ...]
) -> tuple[datetime, Event] | None:
    """Say when it would be acknowledged, by whom."""
    entry = next((one for one in timeline if one.kind is EntryKind.ACKNOWLEDGED), None)
    if entry is None:
        return None
    own = [page.at for page in history.pages if page.person == entry.actor and page.at <= entry.at]
    theirs = min((page.at for page in pages if page.person == entry.actor), default=None)
    if own and theirs is not None:
        at = theirs + (entry.at - min(own))
    else:
        before = min((page.at for page in history.pages), default=entry.at)
        after = min((page.at for page in pages), default=before)
        at = after + max(timedelta(0), entry.at - before)
    return at, Acknowledge(entry.actor, entry.data.origin or Origin.API)


class Comparing:
    """Compares incident by incident, and keeps no more than sums and the most important differences."""

    def __init__(self, night: Night) -> None:
        """``night`` says whether a time is night for a person."""
        self._night = night
        self._incidents = self._left_out = 0
        self._sums = {name: Counter[bool]() for name in ("pages", "night", "breaches")}
        self._people: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self._differences: list[Difference] = []
        self._groups: dict[tuple[str, int], Group] = {}

    def add(self, before: Outcome, after: Outcome | None) -> None:
        """Count one incident; None was left out."""
        if after is None:
            self._left_out += 1
            return
        self._incidents += 1
        for is_after, outcome in ((False, before), (True, after)):
            self._sums["pages"][is_after] += len(outcome.pages)
            self._sums["night"][is_after] += sum(self._night(page.at, page.person) for page in outcome.pages)
            self._sums["breaches"][is_after] += outcome.breached
            self._people[is_after].update(page.person for page in outcome.pages)
        found = difference(before, after)
        if found is not None:
            key = (found.priority, _ORDER.index(found.what))
            known = self._groups.get(key, Group(found.priority, found.what, 0, 0.0))
            self._groups[key] = replace(known, count=known.count + 1, seconds=max(known.seconds, found.seconds))
            self._differences.append(found)
            if len(self._differences) > 10 * LISTED:
                self._differences = _most_important(self._differences)

    def result(self) -> Compared:
        """Give what has been counted."""
        names = sorted({*self._people[False], *self._people[True]})
        people = ((name, self._people[False][name], self._people[True][name]) for name in names)
        return Compared(
            incidents=self._incidents,
            left_out=self._left_out,
            pages=self._pair("pages"),
            night_pages=self._pair("night"),
            breaches=self._pair("breaches"),
            people=tuple(sorted(people, key=lambda row: (row[2] - row[1], row[0]))),
            groups=tuple(self._groups[key] for key in sorted(self._groups)),
            differences=tuple(_most_important(self._differences)),
        )

    def _pair(self, name: str) -> tuple[int, int]:
        return self._sums[name][False], self._sums[name][True]


def difference(before: Outcome, after: Outcome) -> Difference | None:
    """Say what has become of the first page, else of who is paged; None if it is all the same."""
    about = (after.number, after.title, min(before.priority, after.priority))
    if before.first is None or after.first is None:
        if before.first is after.first:
            return None
        return Difference(*about, "new" if before.first is None else "gone")
    moved = after.first - before.first
    if abs(moved) >= MOVED:
        return Difference(*about, "later" if moved > timedelta(0) else "earlier", abs(moved).total_seconds())
    same = {page.person for page in before.pages} == {page.person for page in after.pages}
    return None if same else Difference(*about, "who")


def _most_important(found: list[Difference]) -> list[Difference]:
    return sorted(found, key=lambda one: (one.priority, _ORDER.index(one.what), -one.seconds, one.number))[:LISTED]


def in_words(compared: Compared, reader: Reader) -> list[str]:
    """Say what is different in a few sentences, the most important first."""
    lines = [reader.say("replay_same")] if not compared.groups else []
    for group in compared.groups:
        values = {"count": group.count, "priority": group.priority, "length": reader.duration(group.seconds)}
        lines.append(reader.say(f"replay_{group.what}", **values))
    for key, (before, after) in (("night", compared.night_pages), ("pages", compared.pages)):
        if before != after:
            fewer = "fewer" if after < before else "more"
            lines.append(reader.say(f"replay_{fewer}_{key}", count=abs(after - before), before=before, after=after))
    if compared.breaches[0] != compared.breaches[1]:
        before, after = compared.breaches
        lines.append(reader.say("replay_breaches", before=before, after=after))
    return lines
