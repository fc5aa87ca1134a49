"""What outgoing webhooks need of a store: the lines of all timelines in one order, and how far each hook has come."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from receiver.incident.model import Entry, EntryKind, Incident


class Line(msgspec.Struct, frozen=True):
    """One line of a timeline, its number among the lines of all, and its incident as it is now."""

    seq: int
    entry: Entry
    incident: Incident


class HookStore(Protocol):
    """A line is written in the transaction of what it tells, so that none is missing, and none tells what was not."""

    async def place(self, name: str) -> int:
        """Give the number of the last line that this hook needs no more; a hook that is new begins with what follows.

        Raises:
            StoreError: it cannot be read, or a new one cannot be kept.
        """

    async def lines(self, after: int, kinds: Collection[EntryKind], limit: int) -> tuple[Sequence[Line], int]:
        """Give the next lines of these kinds, and the number up to which all were looked at."""

    async def move(self, name: str, to: int) -> None:
        """Remember that this hook has come so far, unless it has come farther."""

    async def count_before(self, after: int, kinds: Collection[EntryKind], moment: datetime) -> tuple[int, int]:
        """Say how many of the next lines in a row are older, of these kinds, and the number of the last of them."""
