"""What a store promises of the devices that Web Push reaches: their subscriptions, and what became of the last push."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

MOST_DEVICES = 10  # of one person
_SILENT_FOR = timedelta(minutes=5)  # without a receipt
_FAILURES = 3  # in a row


class PushOutcome(StrEnum):
    """What a push service said of one push."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    GONE = "gone"  # the subscription is over: 404 or 410


class DeviceState(StrEnum):
    """Whether a page would be seen there: the metric label `state`."""

    WORKING = "working"
    SILENT = "silent"  # what was sent has not been confirmed
    FAILING = "failing"  # its push service refuses it
    BLOCKED = "blocked"  # what arrives cannot be shown
    GONE = "gone"


class Subscription(msgspec.Struct, frozen=True):
    """One browser that may be pushed to. ``id`` is the SHA-256 of its endpoint, in hexadecimal.

    ``endpoint``, ``p256dh`` and ``auth`` are what the browser gave; empty once the push service has dropped it.
    """

    id: str
    person: str  # key in `people`
    endpoint: str
    p256dh: str
    auth: str
    device: str  # what it calls itself
    created: datetime
    last_ok: datetime | None = None  # the push service took one
    last_receipt: datetime | None = None  # the device said that one had arrived
    waiting_since: datetime | None = None  # one was taken and nothing has arrived since
    gone: datetime | None = None
    failures: int = 0  # in a row
    blocked: bool = False  # what arrived could not be shown

    def state(self, now: datetime) -> DeviceState:
        """Say whether a page would be seen there; of several reasons why not, the worst."""
        silent = self.waiting_since is not None and now - self.waiting_since > _SILENT_FOR
        wrong = (
            (DeviceState.GONE, self.gone is not None),
            (DeviceState.BLOCKED, self.blocked),
            (DeviceState.FAILING, self.failures >= _FAILURES),
            (DeviceState.SILENT, silent),
        )
        return next((state for state, holds in wrong if holds), DeviceState.WORKING)


class PushStore(Protocol):
    """Each method is one transaction. StoreError: nothing has changed."""

    async def subscribe(self, subscription: Subscription) -> None:
        """Keep it, in place of what is known of its endpoint; of too many, those that are gone or silent go first."""

    async def unsubscribe(self, person: str, number: str) -> bool:
        """Forget one of a person's; False if there is none."""

    async def subscriptions(self, person: str) -> Sequence[Subscription]:
        """Give those of one person, the newest first, those that are gone as well."""

    async def note_pushes(self, outcomes: Mapping[str, PushOutcome], now: datetime) -> None:
        """Remember what became of pushes, by the ids of subscriptions; what is gone loses its endpoint and its keys."""

    async def note_receipt(self, number: str, now: datetime, *, shown: bool) -> bool:
        """Remember that something has arrived, and whether it could be shown; False for an unknown device."""

    async def forget_devices(self, person: str) -> None:
        """Forget all of a person's."""
