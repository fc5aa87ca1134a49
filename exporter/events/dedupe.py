"""Remembers ids of batches and events for a while: a retry is answered again and not counted again. Pure."""

import hashlib
from typing import Any


def fingerprint(source: str, identity: str) -> int:
    """Hash a source and an id to 64 bits: two CloudEvents are the same if both are equal.

    Among a million remembered ids the chance of any collision is 1 in 37 million (birthday bound).
    """
    text = f"{source}\0{identity}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class SeenIds:
    """A bounded memory in two generations: an id is known for at least ``span`` seconds, if there is room."""

    def __init__(self, span: float, capacity: int) -> None:
        self._span, self._capacity = span, capacity
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._rotated_at = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: int, now: float) -> bytes | None:
        """Return what was stored under a key; None if it is not known."""
        self._rotate(now)
        value = self._young.get(key)
        return value if value is not None else self._old.get(key)

    def put(self, key: int, value: bytes, now: float) -> bool:
        """Remember a key and the answer it was given. True if others had to go for it before their time."""
        self._rotate(now)
        forgets = False
        if len(self._young) >= self._capacity:
            # The last id of the old generation is as old as the young generation.
            forgets = bool(self._old)
            self._old, self._young, self._rotated_at = self._young, {}, now
        self._young[key] = value
        return forgets

    def _rotate(self, now: float) -> None:
        if now - self._rotated_at >= self._span:
            # After two quiet spans the young generation has expired as well.
            stale = now - self._rotated_at >= 2 * self._span
            self._old, self._young, self._rotated_at = ({} if stale else self._young), {}, now

    def dump(self) -> Any:  # noqa: ANN401  # plain data
        """Return everything for the snapshot."""
        return (self._rotated_at, list(self._young.items()), list(self._old.items()))

    def load(self, saved: Any) -> None:  # noqa: ANN401  # plain data
        """Restore what a snapshot has."""
        self._rotated_at, young, old = saved
        self._young, self._old = dict(young), dict(old)
