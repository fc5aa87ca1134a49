"""Adds to a review what the receiver knows: incidents that nobody acknowledged, contacts and schedules."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from process.settings import SettingsError, Source
from receiver.config.build import known, routing
from receiver.config.load import Config, load, missing_secret_files
from receiver.oncall.ical import CalendarError, spans
from receiver.policy.current import Live
from receiver.reports.review.answers import unanswered, unreached
from receiver.reports.review.contacts import notes
from receiver.reports.review.shape import Note, Review, Trouble


def added(review: Review, path: Path, database: Path | None, now: datetime) -> Review:
    """Give the review with all of it; SettingsError if receiver.yml itself cannot be used."""
    config, source = load(path)
    troubles = list(review.troubles)
    found = [*_contacts(config, source, review, now, troubles)]
    given = database or config.database
    ignored, incidents = None, 0
    try:
        ignored, incidents = unanswered(given, review.start, review.end)
        found += unreached(given, review.start, review.end)
    except SettingsError as error:
        troubles.append(Trouble("Alerts that nobody acknowledged", str(error)))
    return msgspec.structs.replace(
        review, unanswered=ignored, incidents=incidents, notes=tuple(found), troubles=tuple(troubles)
    )


def _contacts(config: Config, source: Source, review: Review, now: datetime, troubles: list[Trouble]) -> list[Note]:
    live = Live(routing(config, source), now)
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
            entries = spans(text, known(config), settings.time_zone, now - timedelta(days=2), until)
            live.calendar(name, entries)
        except (OSError, CalendarError) as error:
            unread.append(name)
            troubles.append(Trouble(f"Calendar of the schedule {name}", f"{settings.calendar.file}: {error}"))
    found = notes(live.routing, now, until, unread)
    for at, file in missing_secret_files(config):
        found.append(Note(at.lstrip("."), f"{file} cannot be read here", "check it where the receiver runs"))
    return found
