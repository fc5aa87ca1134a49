"""Leases the first pages of a P1 in the transaction that opens its incident, for dispatchers that send them at once.

Between a webhook and its pages that is one commit, and not two. Only where one process has the database.
"""

from collections.abc import Mapping
from datetime import datetime

from receiver.incident.model import Decision, Notification, Target
from receiver.store.base import Claimed, Taker


class FirstPages:
    """What is leased for the takers of some channels by one transaction."""

    def __init__(self, takers: Mapping[str, Taker], decision: Decision, now: datetime) -> None:
        self._takers, self._decision, self._now = takers, decision, now
        self._leased: dict[str, list[Claimed]] = {}

    def until(self, target: Target) -> float | None:
        """Say how long a page to a target is leased for, if it is to be; in seconds since 1970."""
        taker = self._takers.get(target.channel)
        if taker is None or not taker.takes(target.address, len(self._leased.get(target.channel, ()))):
            return None
        return self._now.timestamp() + taker.lease

    def add(self, number: int, notification: Notification, created_at: datetime) -> None:
        """Note what was leased, as it would be read: of its incident and lane nothing is older."""
        incident = self._decision.incident
        claimed = Claimed(
            id=number,
            incident=incident,
            notification=notification,
            timeline=self._decision.entries,
            attempt=1,
            created_at=created_at,
            thread="",
            priority=incident.priority,
        )
        self._leased.setdefault(notification.target.channel, []).append(claimed)

    def hand_over(self) -> None:
        """Give all to its takers, after the commit."""
        for channel, claims in self._leased.items():
            self._takers[channel].take(claims)
