"""The loop that moves incidents resolved long ago out of the database: to an archive, or deletes them."""

import asyncio
import gzip
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from receiver.incident.model import Entry, Incident
from receiver.store.base import Store

log = logging.getLogger(__name__)

_BATCH = 200
_PERIOD = 3600.0


class Record(msgspec.Struct, frozen=True):
    """One line of the archive."""

    incident: Incident
    timeline: tuple[Entry, ...]


class Retention:
    """``run_once`` moves what was resolved over ``keep`` ago; the archive is on disk before anything is deleted."""

    def __init__(self, store: Store, clock: Callable[[], datetime], keep: timedelta, archive: Path | None) -> None:
        self._store, self._clock, self._keep, self._archive = store, clock, keep, archive

    async def run(self) -> None:
        """Run until cancelled; an error ends the loop, and with it the process."""
        while True:
            await self.run_once()
            await asyncio.sleep(_PERIOD)

    async def run_once(self) -> int:
        """Give how many incidents were moved."""
        before, moved = self._clock() - self._keep, 0
        while old := await self._store.resolved_before(before, _BATCH):
            if self._archive is not None:
                await asyncio.to_thread(_append, self._archive, old)
            await self._store.delete([incident.id for incident, _ in old])
            moved += len(old)
        if moved:
            where = f"archived in {self._archive}" if self._archive else "deleted"
            log.info("%d incidents resolved before %s are %s", moved, before.date(), where)
        return moved


def _append(folder: Path, old: list[tuple[Incident, tuple[Entry, ...]]]) -> None:
    """Append JSON lines to one file a month; a gzip file may have several parts."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[bytes]] = {}
    for incident, timeline in old:
        month = f"{incident.resolved_at:%Y-%m}" if incident.resolved_at else "unknown"
        parts.setdefault(month, []).append(msgspec.json.encode(Record(incident, timeline)))
    for month, lines in parts.items():
        path = folder / f"incidents-{month}.jsonl.gz"
        with path.open("ab") as file:
            os.fchmod(file.fileno(), 0o600)  # incidents name people and systems
            file.write(gzip.compress(b"\n".join(lines) + b"\n"))
            file.flush()
            os.fsync(file.fileno())
