"""Decides which incident the news of a group belongs to: an open one, one that is over and fires again, or a new one.

Pure: what is known of earlier incidents is asked through ``Lookup``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from receiver.incident.alerts import following, joined, merge
from receiver.incident.event import AlertsReceived
from receiver.incident.flapping import reopens
from receiver.incident.model import AlertGroup, Incident, State, route_of
from receiver.incident.policy import Policy


class Lookup(Protocol):
    """What is known of earlier incidents; a store answers each question from an index."""

    def newest(self, key: str) -> Incident | None:
        """Give the newest incident of a group key."""

    def owners(self, route: str, fingerprints: tuple[str, ...]) -> Mapping[int, int]:
        """Count how many of these alerts fire in each open incident of this route, by the incident's number."""

    def incident(self, number: int) -> Incident | None:
        """Give one incident."""

    def next_number(self) -> int:
        """Give a number that no incident has ever had."""


def choose(event: AlertsReceived, known: Lookup, policy: Policy, now: datetime) -> Incident:
    """Give the incident that ``event`` is to be applied to; in the state NEW if there is none yet.

    The open incident of the group; else the open one that owns at least half of what fires (Alertmanager's grouping
    was changed); else the group's last one, if it fires again within the policy's window, or if nothing begins and it
    is news of alerts that fired when a person resolved it, or of echoes; else a new one, which still knows the episodes
    that are over.
    """
    last = known.newest(event.group.key)
    if last is not None and last.state is not State.RESOLVED:
        return last
    owner = _owner(event.group, known)
    if owner is not None:
        return owner
    if last is not None:
        after = merge(last, event, now).incident
        if reopens(last, policy, now) if joined(last, after) else _is_news(last, after):
            return last
    return following(last, known.next_number(), event.group.key, now)


def _is_news(last: Incident, after: Incident) -> bool:
    """Nothing begins: it may be news of what is over, which no new incident is to be opened for."""
    return len(after.firing) < len(last.firing) or after.doubted != last.doubted


def _owner(group: AlertGroup, known: Lookup) -> Incident | None:
    firing = tuple(alert.fingerprint for alert in group.alerts if alert.firing)
    owners = known.owners(route_of(group), firing) if firing else {}
    if not owners:
        return None
    number = max(owners, key=lambda one: (owners[one], -one))  # the oldest of those that own most
    return known.incident(number) if 2 * owners[number] >= len(firing) else None
