"""What this receiver has leased: short leases that are renewed, so that those of one that has died are soon over."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.store.base import Claimed
from receiver.store.sql.connection import Connection

LENGTH = 8.0  # seconds
RENEWED_EVERY = 2.5  # seconds
_RENEW = """
UPDATE outbox SET lease_until = ? WHERE state = 'sending' AND id IN (SELECT CAST(value AS INTEGER) FROM json_each(?))
    AND id || ':' || attempt IN (SELECT value FROM json_each(?))
"""


class Leases:
    """``clock`` is the database's. A lease is renewed for as long as its holder has asked for, and no longer."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._held = dict[tuple[int, int], datetime]()  # (row, attempt) -> until when it is renewed

    def keep(self, claims: Iterable[Claimed], length: float) -> None:
        """Take over what was claimed."""
        until = self._clock() + timedelta(seconds=length)
        self._held |= {(claimed.id, claimed.attempt): until for claimed in claims}

    def end(self, claims: Iterable[Claimed]) -> None:
        """Renew these no more."""
        for claimed in claims:
            self._held.pop((claimed.id, claimed.attempt), None)

    def renewal(self) -> Callable[[Connection], object] | None:
        """Give the change that renews them all; None if there are none."""
        now = self._clock()
        self._held = {lease: until for lease, until in self._held.items() if until > now}
        if not self._held:
            return None
        numbers = msgspec.json.encode([number for number, _ in self._held]).decode()
        attempts = msgspec.json.encode([f"{number}:{attempt}" for number, attempt in self._held]).decode()
        values = ((now + timedelta(seconds=LENGTH)).timestamp(), numbers, attempts)
        return lambda db: db.execute(_RENEW, values)
