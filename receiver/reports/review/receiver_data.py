"""Adds to a review what the receiver knows: incidents that nobody acknowledged, contacts and schedules."""

from datetime import datetime

import msgspec

from process.settings import Source
from receiver.config.build import build_routing
from receiver.config.load import Config, missing_secret_files
from receiver.policy.current import Current
from receiver.reports.calendars import fill
from receiver.reports.incidents.statistics import alert_name
from receiver.reports.review.contacts import notes
from receiver.reports.review.model import Note, Review, Trouble, Unanswered
from receiver.store.base import History, StoreError, Undelivered


async def add_receiver_data(review: Review, config: Config, source: Source, history: History, now: datetime) -> Review:
    """Give the review with what the receiver's configuration and its incidents tell; what fails becomes a trouble."""
    troubles = list(review.troubles)
    current = Current(build_routing(config, source), now)
    until = now + review.period.ahead
    unread = await _unread(config, source, current, now, until, troubles)
    noted = notes(current.routing, now, until, unread)
    for at, file in missing_secret_files(config):
        noted.append(Note(at.lstrip("."), f"{file} cannot be read here", "check it where the receiver runs"))
    ignored, incidents = None, 0
    try:
        ignored, incidents = await unanswered(history, review.start, review.end)
        given_up = await history.undelivered(review.start, review.end)
        noted += [_given_up(one, current.routing.directory.name(one.person)) for one in given_up]
    except StoreError as error:
        troubles.append(Trouble("Unacknowledged alerts", str(error)))
    return msgspec.structs.replace(
        review, unanswered=ignored, incidents=incidents, notes=tuple(noted), troubles=tuple(troubles)
    )


async def unanswered(history: History, start: datetime, end: datetime) -> tuple[tuple[Unanswered, ...], int]:
    """Give the alerts with incidents that nobody acknowledged, the most urgent first, and how many incidents opened."""
    alerts: dict[str, _Count] = {}
    total = 0
    async for one in history.opened_between(start, end):
        incident = one.incident
        if incident.drill or incident.opened_at is None:
            continue
        total += 1
        count = alerts.setdefault(alert_name(incident), _Count())
        count.incidents += 1
        if one.acknowledged_at is None:
            count.unanswered += 1
            count.priority = min(count.priority, incident.priority.value)
            count.longest = max(count.longest, ((incident.resolved_at or end) - incident.opened_at).total_seconds())
    lines = (
        Unanswered(name, count.priority, count.incidents, count.unanswered, count.longest)
        for name, count in alerts.items()
        if count.unanswered
    )
    return tuple(sorted(lines, key=lambda line: (line.priority, -line.unanswered, line.alert))), total


class _Count(msgspec.Struct):
    priority: str = "P9"  # less urgent than any
    incidents: int = 0
    unanswered: int = 0
    longest: float = 0.0


def _given_up(one: Undelivered, name: str) -> Note:
    what = f"{one.count} notifications by {one.channel} were given up"
    return Note(name or "a team's address", what, "send a drill to it")


async def _unread(  # one call
    config: Config, source: Source, current: Current, now: datetime, until: datetime, troubles: list[Trouble]
) -> list[str]:
    """Read the calendars, and give the schedules whose calendar could not be read: their gaps are unknown."""
    unread = []
    for calendar in await fill(config, source, current, now, until):
        about = f"Calendar of the schedule {calendar.schedule}"
        if calendar.failure:
            unread.append(calendar.schedule)
            troubles.append(Trouble(about, calendar.failure))
        troubles += [Trouble(about, f"{remark.entry}: {remark.reason.value}") for remark in calendar.remarks]
    return unread
