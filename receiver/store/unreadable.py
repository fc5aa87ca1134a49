"""Rows that cannot be read: each is logged once, shown and left out, so that no loop ends or stands still at one."""

import logging
import time
import zlib
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import msgspec

from receiver.store.base import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")

_WRONG = (msgspec.MsgspecError, zlib.error, ValueError, TypeError, OverflowError, OSError, RecursionError)
_SHOWN = 3600.0  # seconds after which one that nobody has come across again is not shown any more
_NAMED = 10  # that an error names
_MOST = 1000  # that are remembered: with more, the log and the metric say no more by naming them


class Table(StrEnum):
    """What the rows are; a label of a metric."""

    INCIDENT = "incident"
    NOTIFICATION = "notification"
    TIMELINE = "timeline"
    HEARTBEAT = "heartbeat"
    OWN = "own"  # what the receiver remembers of itself
    COVER = "cover"
    COVER_NOTICE = "cover_notice"
    WINDOW = "window"
    AWAKE = "awake"
    SILENCE = "silence"


class UnreadableError(StoreError):
    """This very row cannot be read, and nothing has changed."""


class Unreadable:
    """What this process could not read. Called by the threads of the store and by the loop: one step on a dict each."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._known: dict[tuple[Table, object], float] = {}

    def read(self, table: Table, key: object, decode: Callable[[], T]) -> T | None:
        """Give what ``decode`` gives, None if the row of this key cannot be read."""
        try:
            value = decode()
        except _WRONG as error:
            self._note(table, key, error)
            return None
        if self._known:
            self._known.pop((table, key), None)
        return value

    def demand(self, table: Table, key: object, decode: Callable[[], T]) -> T:
        """Give what ``decode`` gives; UnreadableError if the row of this key cannot be read."""
        value = self.read(table, key, decode)
        if value is None:
            raise UnreadableError(f"the {table} {key} cannot be read; the log says why")
        return value

    def counts(self) -> dict[Table, int]:
        """Count them."""
        known = self._known.copy()
        for one, at in known.items():
            if self._elapsed() - at > _SHOWN:
                self._known.pop(one, None)
        return {table: sum(one is table for one, _ in self._known.copy()) for table in Table}

    def report(self) -> None:
        """Say that there are some; UnreadableError names the first of them."""
        counts, known = self.counts(), list(self._known.copy())
        if total := sum(counts.values()):
            named = ", ".join(f"{table} {key}" for table, key in known[:_NAMED])
            raise UnreadableError(f"{total} rows cannot be read and are left out: {named}")

    def _note(self, table: Table, key: object, error: Exception) -> None:
        is_new = (table, key) not in self._known
        if is_new and len(self._known) >= _MOST:
            return
        self._known[table, key] = self._elapsed()
        if is_new:  # what is in it may be about people: the error names the place in it only
            text = "the %s %s cannot be read, and is left out: %s: %s"
            log.error(text, table, key, type(error).__name__, error, extra={"facts": {"table": table.value}})
