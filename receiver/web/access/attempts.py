"""Limits how often somebody may try to sign in: by network and by name, in bounded tables. Pure.

A stranger who tries the name of a person from elsewhere uses up the tries of strangers, and not those of a browser or a
network from which that person has signed in before: each of those has tries of its own
(cheatsheetseries.owasp.org, Authentication: "slow down with device cookies").
"""

from collections.abc import Hashable, Sequence
from datetime import datetime

_BURST = {"network": 10.0, "name": 20.0, "known": 10.0}  # tries at once
_REFILL = 1 / 30  # tries a second
_REMEMBERED = 5000  # in each of two generations; what has not been tried for longest starts anew


class _Bucket:
    __slots__ = ("at", "burst", "tries")

    def __init__(self, burst: float, at: float) -> None:
        self.burst = self.tries = burst
        self.at = at

    def wait(self, now: float) -> float:
        self.tries = min(self.burst, self.tries + max(0.0, now - self.at) * _REFILL)
        self.at = now
        return 0.0 if self.tries >= 1 else (1 - self.tries) / _REFILL


class Attempts:
    """Ask ``wait`` before each try, and tell what became of it: only what ``failed`` uses up tries."""

    def __init__(self) -> None:
        self._young: dict[Hashable, _Bucket] = {}
        self._old: dict[Hashable, _Bucket] = {}
        self._passed: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self._passed)

    def wait(self, name: str, networks: Sequence[str], device: str, now: datetime) -> float:
        """Give the seconds until the next try; 0 if now. ``device`` is a browser that this name has signed in from.

        Without a name, only the network counts.
        """
        return max(bucket.wait(now.timestamp()) for bucket in self._buckets(name, networks, device, now.timestamp()))

    def failed(self, name: str, networks: Sequence[str], device: str, now: datetime) -> None:
        """Take note of a wrong one."""
        for bucket in self._buckets(name, networks, device, now.timestamp()):
            bucket.tries = max(0.0, bucket.tries - 1)

    def passed(self, name: str, networks: Sequence[str]) -> None:
        """Take note of a right one."""
        self._passed.pop((name, networks[0]), None)
        self._passed[name, networks[0]] = None
        if len(self._passed) > _REMEMBERED:
            del self._passed[next(iter(self._passed))]

    def _buckets(self, name: str, networks: Sequence[str], device: str, now: float) -> list[_Bucket]:
        if device:
            return [self._bucket("known", (name, device), now)]
        if (name, networks[0]) in self._passed:
            return [self._bucket("known", (name, networks[0]), now)]
        by_network = [self._bucket("network", network, now) for network in networks[:1]]
        return [*by_network, self._bucket("name", name, now)] if name else by_network

    def _bucket(self, kind: str, key: Hashable, now: float) -> _Bucket:
        bucket = self._young.get((kind, key))
        if bucket is None:
            if len(self._young) >= _REMEMBERED:
                self._old, self._young = self._young, {}
            bucket = self._old.pop((kind, key), None) or _Bucket(_BURST[kind], now)
            self._young[kind, key] = bucket
        return bucket
