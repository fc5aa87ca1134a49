"""What a store promises; the SQLite store keeps it, and any other must pass the same tests."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from receiver.incident import Entry, Incident, Notification

Decide = Callable[[Incident], tuple[Incident, tuple[Notification, ...]]]


class StoreError(Exception):
    """The change could not be made durable (disk full, database locked): the caller must not say that it was."""


class Claimed(msgspec.Struct, frozen=True):
    """A notification leased to this process; ``attempt`` fences it: only the holder of this attempt may settle."""

    id: int
    incident: Incident
    notification: Notification
    timeline: tuple[Entry, ...]
    attempt: int
    created_at: datetime
    thread: str  # the ref of the first message that was sent on this lane


class Backlog(msgspec.Struct, frozen=True):
    """What the metrics say of the store: one consistent reading."""

    open_incidents: dict[tuple[str, str], int]  # (state, priority) -> how many
    oldest_unacknowledged: dict[str, datetime]  # priority -> opened
    oldest_owed: dict[str, datetime]  # channel -> when its oldest unsent notification became due
    heartbeats: dict[str, datetime]  # source -> last seen


class Store(Protocol):
    """Incidents and what they owe. Every method is one transaction; all may be called concurrently.

    ``decide`` runs inside the transaction and must be pure: it may run again if the transaction is retried.
    """

    async def update(self, key: str, decide: Decide, now: datetime) -> Incident | None:
        """Apply ``decide`` to the open incident of the group ``key``, or to a new one; None if none was opened.

        On return state, timeline and outbox are on disk. StoreError: nothing has changed.
        """

    async def act(self, incident_id: int, decide: Decide, now: datetime) -> Incident | None:
        """Apply ``decide`` to this very incident, resolved or not; None if there is no such incident."""

    async def due(self, now: datetime) -> list[int]:
        """Give the incidents whose next step is due, longest overdue first."""

    async def claim(self, channel: str, now: datetime, lease: float, limit: int) -> list[Claimed]:
        """Lease what is owed on a channel now, in order within each lane: a row waits for the one before it."""

    async def settle(self, claimed: Claimed, ref: str, now: datetime) -> None:
        """It was sent."""

    async def retry_at(self, claimed: Claimed, when: datetime, error: str, now: datetime) -> None:
        """It was not sent; try again at ``when``, unless it has become pointless (a page of an answered incident)."""

    async def dead(self, claimed: Claimed, error: str, decide: Decide, now: datetime) -> None:
        """It will never be sent. When its whole round is dead, ``decide`` is applied in the same transaction."""

    async def incident(self, incident_id: int) -> tuple[Incident, tuple[Entry, ...]] | None:
        """Give one incident and its timeline."""

    async def incidents(self, state: str | None, limit: int) -> list[Incident]:
        """Give the newest incidents, all or those in ``state``."""

    async def beat(self, source: str, now: datetime) -> None:
        """Remember that the Watchdog of ``source`` was heard."""

    async def backlog(self) -> Backlog:
        """Read what the metrics show."""

    async def close(self) -> None:
        """Finish what is under way and let go of the file; call it last."""
