"""Remembers open incidents as they were last read: one whose document is still the same is not decoded again."""

from receiver.incident.model import Incident

_MOST = 8 * 1024 * 1024  # bytes of documents; decoded, they take a few times as much


class Remembered:
    """What one reader of all open incidents has read, by their numbers; used by one thread at a time."""

    def __init__(self, most: int = _MOST) -> None:
        self._most, self._size = most, 0
        self._read: dict[int, tuple[bytes, Incident]] = {}

    @property
    def size(self) -> int:
        """Give the bytes of documents that are kept."""
        return self._size

    def __getitem__(self, number: int) -> tuple[bytes, Incident] | None:
        """Give the document that was read last, and what it says."""
        return self._read.get(number)

    def keep(self, number: int, document: bytes, incident: Incident) -> None:
        """Take in what was read; beyond the bound, it is decoded each time."""
        known = self._read.pop(number, None)
        self._size -= len(known[0]) if known else 0
        if self._size + len(document) <= self._most:
            self._read[number] = (document, incident)
            self._size += len(document)

    def keep_only(self, numbers: set[int]) -> None:
        """Forget those that are not open any more."""
        for number in self._read.keys() - numbers:
            self._size -= len(self._read.pop(number)[0])
