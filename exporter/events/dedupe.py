"""Remembers ids of batches and events for a while: a retry is answered again and not counted again. Pure."""

import hashlib
from typing import Any


def fingerprint(source: str, given: str) -> int:
    """Make 8 bytes of an id and its source: CloudEvents are the same if both are.

    With a million ids remembered, two of them share one with a chance of 1 in 37 million (birthday bound, 64 bits).
    """
    text = f"{source}\0{given}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class Recent:
    """Two generations of a bounded memory: what was put in is known for at least one ``span``, if places last."""

    def __init__(self, span: float, capacity: int) -> None:
        self._span, self._capacity = span, capacity
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._turned = 0.0
        self.forgotten_early = 0  # times that a generation had to go before its time

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: int, now: float) -> bytes | None:
        """Give what was remembered under a key."""
        self._turn(now)
        found = self._young.get(key)
        return found if found is not None else self._old.get(key)

    def put(self, key: int, value: bytes, now: float) -> None:
        """Remember; a long answer takes the places of several."""
        self._turn(now)
        self._young[key] = value

    def _turn(self, now: float) -> None:
        full = len(self._young) >= self._capacity
        if now - self._turned >= self._span or full:
            # After a long quiet time the young ones are old enough to go, too.
            stale = now - self._turned >= 2 * self._span
            self._old, self._young, self._turned = ({} if stale else self._young), {}, now
            self.forgotten_early += full

    def dump(self) -> Any:  # noqa: ANN401  # plain data
        """Give everything for the snapshot."""
        return (self._turned, list(self._young.items()), list(self._old.items()))

    def load(self, saved: Any) -> None:  # noqa: ANN401  # plain data
        """Take over what a snapshot has."""
        self._turned, young, old = saved
        self._young, self._old = dict(young), dict(old)
