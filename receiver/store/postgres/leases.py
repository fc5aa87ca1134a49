"""What this receiver has leased: short leases that are renewed, so that those of one that has died are soon over."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.store.base import Claimed
from receiver.store.sql.connection import Connection

LENGTH = 8.0  # seconds
RENEWED_EVERY = 2.5  # seconds
_RENEW = """
UPDATE outbox SET lease_until = ? WHERE state = 'sending' AND id IN (SELECT CAST(value AS INTEGER) FROM json_each(?))
    AND id || ':' || attempt IN (SELECT value FROM json_each(?))
RETURNING id, attempt
"""
Rows = list[tuple[int, int]]


class Leases:
    """``clock`` is the database's. A lease is renewed for as long as its holder has asked for, and no longer."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._held = dict[tuple[int, int], datetime]()  # (row, attempt) -> until when it is renewed
        self._lasts = dict[tuple[int, int], datetime]()  # the same -> until when it lasts as it was written last

    def keep(self, claims: Iterable[Claimed], length: float, claimed_at: datetime) -> None:
        """Take over what was claimed."""
        until = self._clock() + timedelta(seconds=length)
        leases = [(claimed.id, claimed.attempt) for claimed in claims]
        self._held |= dict.fromkeys(leases, until)
        self._lasts |= dict.fromkeys(leases, claimed_at + timedelta(seconds=min(length, LENGTH)))

    def hold(self, claimed: Claimed) -> bool:
        """Say whether it lasts: whoever was stopped for longer has lost it to another receiver."""
        lasts = self._lasts.get((claimed.id, claimed.attempt))
        return lasts is not None and self._clock() < lasts

    def end(self, claims: Iterable[Claimed]) -> None:
        """Renew these no more."""
        for claimed in claims:
            self._held.pop((claimed.id, claimed.attempt), None)
            self._lasts.pop((claimed.id, claimed.attempt), None)

    async def renew(self, commit: Callable[[Callable[[Connection], Rows]], Awaitable[Rows]]) -> None:
        """Renew them all."""
        now = self._clock()
        self._held = {lease: until for lease, until in self._held.items() if until > now}
        self._lasts = {lease: until for lease, until in self._lasts.items() if lease in self._held}
        if not self._held:
            return
        numbers = msgspec.json.encode([number for number, _ in self._held]).decode()
        attempts = msgspec.json.encode([f"{number}:{attempt}" for number, attempt in self._held]).decode()
        until = now + timedelta(seconds=LENGTH)
        values = (until.timestamp(), numbers, attempts)
        renewed = await commit(lambda db: db.execute(_RENEW, values).fetchall())
        self._lasts |= {(number, attempt): until for number, attempt in renewed if (number, attempt) in self._held}
