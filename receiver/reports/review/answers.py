"""Reads out of the receiver's records which alerts nobody acknowledged, and whom no notification reached."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from process.settings import SettingsError
from receiver.reports.incidents.reading import read
from receiver.reports.incidents.statistics import Fact
from receiver.reports.review.shape import Note, Unanswered

_DEAD = """
SELECT channel, coalesce(json_extract(CAST(notification AS TEXT), '$.target.person'), '') AS person, count(*)
FROM outbox WHERE state = 'dead' AND settled_at >= ? AND settled_at < ? GROUP BY channel, person ORDER BY 3 DESC
"""


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


def unreached(path: Path, start: datetime, end: datetime) -> list[Note]:
    """Say for whom notifications were given up; SettingsError if the database cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            rows = db.execute(_DEAD, (start.timestamp(), end.timestamp())).fetchall()
    except sqlite3.Error as error:
        raise SettingsError(f"{path}: is not a receiver's database ({error})") from error
    return [
        Note(person or "a team's place", f"{count} notifications by {channel} were given up", "send a drill to it")
        for channel, person, count in rows
    ]
