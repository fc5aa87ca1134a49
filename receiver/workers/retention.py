"""The loop that packs incidents resolved yesterday, and moves those of long ago to an archive, or deletes them."""

import asyncio
import contextlib
import gzip
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from io import RawIOBase
from pathlib import Path

import msgspec

from receiver.incident.model import Entry, Incident
from receiver.store.base import Store

log = logging.getLogger(__name__)

_BATCH = 50  # incidents in one commit: some 10 ms, which a webhook may have to wait for
_PACKED_AFTER = timedelta(days=1)  # nothing of them changes any more, as a rule
_PAUSE = 0.05  # seconds between two commits that nobody waits for
PERIOD = 3600.0  # seconds


class Record(msgspec.Struct, frozen=True):
    """One line of the archive."""

    incident: Incident
    timeline: tuple[Entry, ...]


class Retention:
    """``run_once`` moves what was resolved over ``keep`` ago; the archive is on disk before anything is deleted."""

    def __init__(self, store: Store, clock: Callable[[], datetime], keep: timedelta, archive: Path | None) -> None:
        self._store, self._clock, self._keep, self._archive = store, clock, keep, archive
        self._archived: set[int] = set()  # and not deleted yet

    async def run_once(self) -> int:
        """Give how many incidents were moved. OSError or StoreError: the rest stays in the database."""
        before, moved = self._clock() - self._keep, 0
        while old := await self._store.resolved_before(before, _BATCH):
            if self._archive is not None:
                # What was archived in a round whose deletion failed is not archived again.
                await asyncio.to_thread(_append, self._archive, old, self._archived)
            await self._store.delete([incident.id for incident, _ in old])
            self._archived.clear()
            moved += len(old)
        if moved:
            where = f"archived in {self._archive}" if self._archive else "deleted"
            log.info("%d incidents resolved before %s are %s", moved, before.date(), where)
        await self._pack()
        return moved

    async def _pack(self) -> None:
        count = _BATCH
        while count == _BATCH:
            count = await self._store.pack(self._clock() - _PACKED_AFTER, _BATCH)
            await asyncio.sleep(_PAUSE)


def _append(folder: Path, old: list[tuple[Incident, tuple[Entry, ...]]], archived: set[int]) -> None:
    """Append JSON lines to one file a month, but for incidents in ``archived``, to which it adds what it has written.

    A gzip file may have several parts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, dict[int, bytes]] = {}
    for incident, timeline in old:
        month = f"{incident.resolved_at:%Y-%m}" if incident.resolved_at else "unknown"
        if incident.id not in archived:
            parts.setdefault(month, {})[incident.id] = msgspec.json.encode(Record(incident, timeline))
    for month, lines in parts.items():
        path = folder / f"incidents-{month}.jsonl.gz"
        with path.open("ab", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)  # incidents name people and systems
            _add(file, gzip.compress(b"\n".join(lines.values()) + b"\n"))
        archived.update(lines)


def _add(file: RawIOBase, part: bytes) -> None:
    """Append a part as a whole, or nothing: half of one would make all that follows unreadable."""
    size = os.fstat(file.fileno()).st_size
    try:
        rest = memoryview(part)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):  # the first error says more
            os.ftruncate(file.fileno(), size)
        raise
