"""Decides what is worth delivering: where news goes, when it is due, and what an answer has made pointless. Pure."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from receiver.incident.model import Incident, Kind, Notification, Priority, Reason, State

PATIENT_TRIES = 6  # failures after which a notification no longer keeps others from trying its address
RANKS = tuple(range(8))  # what `rank` may give
# What whoever has acknowledged must hear, though their own page was cancelled before it was sent.
_FOR_THE_OWNER = {Reason.ALERTS_JOINED, Reason.REOPENED, Reason.PRIORITY_RAISED, Reason.EXPIRING}
_COUNTED = {Kind.UPDATE, Kind.REMINDER}  # of these, one round may owe several


class Status(StrEnum):
    """What has become of a notification that was owed."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"


TELLING = frozenset({Kind.PAGE, Kind.UPDATE, Kind.REMINDER})  # what tells somebody of the trouble


def pointless(kind: Kind, owed_at: datetime, incident: Incident) -> bool:
    """Nobody is paged about what was answered; of what is over, nothing but its end is told.

    A page that is owed after the acknowledgement goes to the places of a team that joined since, and is sent.
    A reminder to answer is pointless once somebody has, and one to acknowledge again once the owner has done so.
    """
    if incident.state is State.RESOLVED:
        return kind is not Kind.RESOLVED
    if incident.state is not State.ACKNOWLEDGED:
        return False
    before = incident.acknowledged_at is None or owed_at <= incident.acknowledged_at
    if kind is Kind.REMINDER:
        return before or incident.clocks.remind_due_at is not None
    return kind is Kind.PAGE and before


def worth_owing(notification: Notification, told: Iterable[tuple[Status, int]], waiting: Iterable[Kind]) -> bool:
    """Say whether a notification is worth owing to a lane: news goes only where the trouble itself went.

    ``told`` gives the status and the attempts of the lane's pages, updates and reminders. One whose answer was lost may
    have arrived. ``waiting`` gives the kinds that are pending on the lane: an end that is still to be told need not be
    told twice.
    """
    kind = notification.kind
    if kind is Kind.PAGE or notification.reason in _FOR_THE_OWNER:
        return True
    if kind is Kind.RESOLVED and Kind.RESOLVED in waiting:
        return False
    return any(
        status in {Status.SENT, Status.SENDING} or (status is Status.CANCELLED and attempts > 0)
        for status, attempts in told
    )


def rank(kind: Kind, priority: Priority) -> int:
    """Give the place in the order of sending: pages by priority, then everything else by priority."""
    return (kind is not Kind.PAGE) * len(Priority) + tuple(Priority).index(priority)


def is_urgent(rank: int) -> bool:
    """Say whether a rank is that of a P1."""
    return rank % len(Priority) == 0


def serial(notification: Notification) -> int:
    """Give what tells apart notifications of one lane, kind and round; a second one that is equal is not owed."""
    return notification.serial if notification.kind in _COUNTED else 0


def due_at(incident: Incident, hold: timedelta, now: datetime) -> datetime:
    """Say when a notification of this incident may be sent.

    What is no P1 waits for the end of the present window of ``hold``, so that ten incidents of one cause reach a
    person as one message; the windows are the same for all, so that what waits becomes due together.
    """
    held = hold.total_seconds()
    if held <= 0 or incident.priority is Priority.P1 or incident.drill:
        return now
    return datetime.fromtimestamp(math.ceil(now.timestamp() / held) * held, UTC)


def nobody_told(pages: Iterable[Status]) -> bool:
    """Say whether no page of a round was sent or can still be sent."""
    return all(status is Status.DEAD for status in pages)
