"""Remembers ids of batches and events for a while: a retry is answered again and not counted again. Pure."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Two generations of a bounded memory: what was put in is known for at least one ``span``, if places last."""

    def __init__(self, span: float, capacity: int) -> None:
        self._span, self._capacity = span, capacity
        self._young: dict[str, T] = {}
        self._old: dict[str, T] = {}
        self._turned = 0.0

    def get(self, key: str, now: float) -> T | None:
        """Give what was remembered under a key."""
        self._turn(now)
        found = self._young.get(key)
        return found if found is not None else self._old.get(key)

    def put(self, key: str, value: T, now: float) -> None:
        """Remember."""
        self._turn(now)
        self._young[key] = value

    def _turn(self, now: float) -> None:
        if now - self._turned >= self._span or len(self._young) >= self._capacity:
            self._old, self._young, self._turned = self._young, {}, now
