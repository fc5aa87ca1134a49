"""Works out what a period of incidents was like: how many, how soon answered and over, who was woken. Pure."""

import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from receiver.incident.model import Incident
from receiver.store.base import IncidentHistory

Night = Callable[[datetime, str], bool]


class Times(msgspec.Struct, frozen=True):
    """Seconds; None if there is nothing to count."""

    count: int
    mean: float | None
    median: float | None
    worst: float | None


class Row(msgspec.Struct, frozen=True):
    """One line of a table: a priority or a team."""

    name: str
    incidents: int
    acknowledge: Times  # MTTA; an incident that nobody acknowledged has none
    resolve: Times  # MTTR
    breaches: int


class Report(msgspec.Struct, frozen=True):
    """All of it."""

    start: datetime
    end: datetime
    incidents: int
    still_open: int
    breaches: int
    by_priority: tuple[Row, ...]
    by_team: tuple[Row, ...]
    noisiest: tuple[tuple[str, int, int], ...]  # alert, incidents, reopenings
    pages: tuple[tuple[str, int, int], ...]  # person, pages, of them at night
    by_day: tuple[tuple[str, int], ...]


class Summary:
    """Counts incidents one by one, and keeps of each no more than two numbers."""

    def __init__(self, start: datetime, end: datetime, night: Night) -> None:
        """Take what opened from ``start`` until before ``end``; ``night`` says whether a time is night for a person."""
        self._start, self._end, self._night = start, end, night
        self._total = _Group()
        self._priorities: dict[str, _Group] = {}
        self._teams: dict[str, _Group] = {}
        self._alerts, self._reopened, self._days = Counter[str](), Counter[str](), Counter[str]()
        self._paged, self._paged_at_night = Counter[str](), Counter[str]()

    def add(self, history: IncidentHistory) -> None:
        """Count one incident; drills and what opened at another time are left out."""
        incident = history.incident
        opened_at = incident.opened_at
        if incident.drill or opened_at is None or not self._start <= opened_at < self._end:
            return
        name = alert_name(incident)
        self._alerts[name] += 1
        self._reopened[name] += history.reopened
        self._days[f"{opened_at:%Y-%m-%d}"] += 1
        priority = self._priorities.setdefault(incident.priority.value, _Group())
        for group in (self._total, priority, self._teams.setdefault(incident.team, _Group())):
            group.add(history, opened_at)
        for page in history.pages:
            self._paged[page.person] += 1
            self._paged_at_night[page.person] += self._night(page.at, page.person)

    def report(self) -> Report:
        """Give what has been counted."""
        length = self._end - self._start
        days = (
            f"{self._start + timedelta(days=n):%Y-%m-%d}" for n in range(length.days + bool(length % timedelta(days=1)))
        )
        return Report(
            start=self._start,
            end=self._end,
            incidents=self._total.incidents,
            still_open=self._total.incidents - len(self._total.resolve),
            breaches=self._total.breaches,
            by_priority=tuple(group.row(name) for name, group in sorted(self._priorities.items())),
            by_team=tuple(group.row(name) for name, group in sorted(self._teams.items())),
            noisiest=tuple((name, count, self._reopened[name]) for name, count in _most(self._alerts)[:10]),
            pages=tuple((person, count, self._paged_at_night[person]) for person, count in _most(self._paged)),
            by_day=tuple((day, self._days[day]) for day in days),
        )


def alert_name(incident: Incident) -> str:
    """Give the name of the alert that opened an incident."""
    return incident.labels.get("alertname") or incident.title.partition(":")[0]


class _Group:
    def __init__(self) -> None:
        self.incidents = self.breaches = 0
        self.acknowledge, self.resolve = array("d"), array("d")  # seconds

    def add(self, history: IncidentHistory, opened_at: datetime) -> None:
        self.incidents += 1
        self.breaches += history.breached
        for times, at in ((self.acknowledge, history.acknowledged_at), (self.resolve, history.incident.resolved_at)):
            if at is not None:
                times.append(max(0.0, (at - opened_at).total_seconds()))

    def row(self, name: str) -> Row:
        return Row(name, self.incidents, _times(self.acknowledge), _times(self.resolve), self.breaches)


def _times(seconds: Sequence[float]) -> Times:
    if not seconds:
        return Times(0, None, None, None)
    return Times(len(seconds), statistics.fmean(seconds), statistics.median(seconds), max(seconds))


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
