"""Adds to a review what the receiver knows: incidents that nobody acknowledged, contacts and schedules."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from process.settings import SettingsError
from receiver.config.build import routing
from receiver.config.load import Config, load, missing_secret_files
from receiver.oncall.ical import CalendarError, spans
from receiver.policy.current import Live
from receiver.reports.incidents.reading import read
from receiver.reports.incidents.statistics import Fact
from receiver.reports.review.contacts import notes
from receiver.reports.review.model import Note, Review, Trouble, Unanswered

_DEAD = """
SELECT channel, coalesce(json_extract(CAST(notification AS TEXT), '$.target.person'), '') AS person, count(*)
FROM outbox WHERE state = 'dead' AND settled_at >= ? AND settled_at < ? GROUP BY channel, person ORDER BY 3 DESC
"""


def added(review: Review, path: Path, database: Path | None, now: datetime) -> Review:
    """Give the review with all of it; SettingsError if receiver.yml itself cannot be used."""
    config, source = load(path)
    troubles = list(review.troubles)
    live = Live(routing(config, source), now)
    found = [*_contacts(config, live, review, now, troubles)]
    given = database or config.database
    ignored, incidents = None, 0
    try:
        ignored, incidents = unanswered(given, review.start, review.end)
        found += unreached(given, review.start, review.end, live.routing.directory.name)
    except SettingsError as error:
        troubles.append(Trouble("Alerts that nobody acknowledged", str(error)))
    return msgspec.structs.replace(
        review, unanswered=ignored, incidents=incidents, notes=tuple(found), troubles=tuple(troubles)
    )


def _contacts(config: Config, live: Live, review: Review, now: datetime, troubles: list[Trouble]) -> list[Note]:
    until = now + review.period.ahead
    unread: list[str] = []
    for name, settings in config.schedules.items():
        if settings.calendar is None:
            continue
        if settings.calendar.file is None:
            unread.append(name)  # one at a URL is known to the running receiver only
            continue
        try:
            text = settings.calendar.file.read_bytes()
            entries = spans(text, live.routing.directory, settings.time_zone, now - timedelta(days=2), until)
            live.calendar(name, entries)
        except (OSError, CalendarError) as error:
            unread.append(name)
            troubles.append(Trouble(f"Calendar of the schedule {name}", f"{settings.calendar.file}: {error}"))
    found = notes(live.routing, now, until, unread)
    for at, file in missing_secret_files(config):
        found.append(Note(at.lstrip("."), f"{file} cannot be read here", "check it where the receiver runs"))
    return found


def unanswered(path: Path, start: datetime, end: datetime) -> tuple[tuple[Unanswered, ...], int]:
    """Give the alerts with incidents that nobody acknowledged, and the number of all incidents.

    Raises:
        SettingsError: the database cannot be read.

    """
    facts = read(path, start, end)
    return ignored(facts, end), len(facts)


def ignored(facts: list[Fact], end: datetime) -> tuple[Unanswered, ...]:
    """Count by alert; the longest first."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.alert, []).append(fact)
    lines = []
    for alert, group in groups.items():
        alone = [fact for fact in group if fact.acknowledged_at is None]
        if alone:
            longest = max(((f.resolved_at or end) - f.opened_at).total_seconds() for f in alone)
            lines.append(Unanswered(alert, min(f.priority for f in alone), len(group), len(alone), longest))
    return tuple(sorted(lines, key=lambda line: (line.priority, -line.unanswered, line.alert)))


def unreached(path: Path, start: datetime, end: datetime, name_of: Callable[[str], str]) -> list[Note]:
    """Say for whom notifications were given up; SettingsError if the database cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            rows = db.execute(_DEAD, (start.timestamp(), end.timestamp())).fetchall()
    except sqlite3.Error as error:
        raise SettingsError(f"{path}: is not a receiver's database ({error})") from error
    advice = "send a drill to it"
    return [
        Note(name_of(person) or "a team's place", f"{count} notifications by {channel} were given up", advice)
        for channel, person, count in rows
    ]
