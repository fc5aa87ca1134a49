"""Works out what a period of incidents was like: how many, how soon answered and over, who was woken. Pure."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

Night = Callable[[datetime, str], bool]


class Page(msgspec.Struct, frozen=True):
    """One page that reached a person."""

    at: datetime
    person: str


class Fact(msgspec.Struct, frozen=True):
    """One incident as the report sees it."""

    id: int
    title: str
    alert: str
    priority: str
    team: str
    opened_at: datetime
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None
    breached: bool = False
    reopened: int = 0
    pages: tuple[Page, ...] = ()


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


def summarise(facts: Iterable[Fact], start: datetime, end: datetime, night: Night) -> Report:
    """Count what opened between ``start`` and ``end``; ``night`` says whether a moment is one for a person."""
    chosen = sorted((f for f in facts if start <= f.opened_at < end), key=lambda f: (f.opened_at, f.id))
    pages = [page for fact in chosen for page in fact.pages]
    told = Counter(page.person for page in pages)
    woken = Counter(page.person for page in pages if night(page.at, page.person))
    alerts = Counter(fact.alert for fact in chosen)
    again = Counter[str]()
    for fact in chosen:
        again[fact.alert] += fact.reopened
    days = Counter(f"{fact.opened_at:%Y-%m-%d}" for fact in chosen)
    span = range((end - start).days + (1 if (end - start) % timedelta(days=1) else 0))
    return Report(
        start=start,
        end=end,
        incidents=len(chosen),
        still_open=sum(fact.resolved_at is None for fact in chosen),
        breaches=sum(fact.breached for fact in chosen),
        by_priority=_rows(chosen, lambda fact: fact.priority),
        by_team=_rows(chosen, lambda fact: fact.team),
        noisiest=tuple((name, count, again[name]) for name, count in _most(alerts)[:10]),
        pages=tuple((person, count, woken[person]) for person, count in _most(told)),
        by_day=tuple((day, days[day]) for day in (f"{start + timedelta(days=n):%Y-%m-%d}" for n in span)),
    )


def _rows(facts: list[Fact], key: Callable[[Fact], str]) -> tuple[Row, ...]:
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(key(fact), []).append(fact)
    return tuple(
        Row(
            name=name,
            incidents=len(group),
            acknowledge=_times((f.acknowledged_at - f.opened_at) for f in group if f.acknowledged_at),
            resolve=_times((f.resolved_at - f.opened_at) for f in group if f.resolved_at),
            breaches=sum(f.breached for f in group),
        )
        for name, group in sorted(groups.items())
    )


def _times(spans: Iterable[timedelta]) -> Times:
    seconds = [max(0.0, span.total_seconds()) for span in spans]
    if not seconds:
        return Times(0, None, None, None)
    return Times(len(seconds), statistics.fmean(seconds), statistics.median(seconds), max(seconds))


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
