"""Limits the rate of each client and of all together, with token buckets in a bounded table. Pure."""

from collections.abc import Sequence

from process.client_address import PREFIXES

_QUIET_SHARE = 0.25  # of all events, kept for the networks that have sent less than half of their own burst
CLIENTS = 20_000  # in each of two generations; beyond that, the least recent are dropped and start with a full bucket


class Bucket:
    """A token bucket; a large batch may overdraw it, and then the next one waits longer."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, now

    def wait(self, now: float, reserve: float = 0.0) -> float:
        """Return the seconds until a request may pass that leaves ``reserve`` tokens to others; 0 if now."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._tokens > reserve else (reserve + 1 - self._tokens) / self._rate

    def is_quiet(self) -> bool:
        """Whether at least half of the burst is left."""
        return self._tokens >= self._burst / 2

    def take(self, number: float) -> None:
        """Take tokens."""
        self._tokens -= number


class Limiter:
    """Buckets of events for the networks of each client, narrowest first, and one for all together."""

    def __init__(self, rate: float, burst: float, total_rate: float, total_burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._total, self._reserve = Bucket(total_rate, total_burst, now), total_burst * _QUIET_SHARE
        self._young: dict[str, Bucket] = {}
        self._old: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def wait(self, client: Sequence[str], now: float) -> float:
        """Return the seconds until this client may send; 0 if now. Takes one token, even from the refused.

        Who is refused by a narrow network's bucket takes nothing from the wider ones, which others share.
        """
        quiet = True
        for network in client:
            bucket = self._bucket(network, now)
            wait = bucket.wait(now)
            quiet = quiet and bucket.is_quiet()
            bucket.take(1)
            if wait:
                return wait
        return self._total.wait(now, 0.0 if quiet else self._reserve)

    def take(self, client: Sequence[str], events: int, now: float) -> None:
        """Take tokens for the events of a request."""
        for network in client:
            self._bucket(network, now).take(max(events - 1, 0))
        self._total.take(events)

    def _bucket(self, network: str, now: float) -> Bucket:
        bucket = self._young.get(network)
        if bucket is None:
            if len(self._young) >= CLIENTS:
                self._old, self._young = self._young, {}
            bucket = self._old.pop(network, None) or self._new(network, now)
            self._young[network] = bucket
        return bucket

    def _new(self, network: str, now: float) -> Bucket:
        prefix = network.rpartition("/")[2]
        times = PREFIXES.get(int(prefix), 1) if prefix.isdecimal() and ":" in network else 1
        return Bucket(self._rate * times, self._burst * times, now)
