"""Recovers the state after a restart from snapshot and journal, and saves snapshots."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from exporter.events.decode import DecodeError
from exporter.persistence import snapshot
from exporter.persistence.journal import Fault, Journal, Kind
from exporter.persistence.snapshot import Folder, SnapshotError
from exporter.registry.state import Record, State
from exporter.self_metrics import Metrics

log = logging.getLogger("exporter.persistence.recovery")

# What a record that this version did not write can raise: the start must not fail for it, or every restart would.
_UNREPLAYABLE = (
    *(msgspec.MsgspecError, DecodeError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError),
)


class Storage:
    """Snapshot and journal of a running exporter; ``now`` gives Unix seconds."""

    def __init__(self, folder: Folder, journal: Journal, now: Callable[[], float]) -> None:
        self._folder, self.journal, self._now = folder, journal, now
        self._saving = asyncio.Lock()
        self._kept = 0  # the journal file that the newest snapshot continues with; older ones are for the one before

    def recover(self, state: State, metrics: Metrics, hold: float) -> None:
        """Load the newest sound snapshot, replay the journal from there on, and begin a new journal file."""
        for _ in range(self._folder.faults):
            metrics.storage_error("recover")
        self._kept = self._load(state, metrics)
        replayed = self._replay(state, metrics)
        metrics.recovered(self._now())
        state.resume(self._now(), hold)
        self.journal.begin(self._kept)
        if self._kept or replayed:
            log.info(
                "recovered: snapshot %s, %d requests from the journal", "loaded" if self._kept else "none", replayed
            )

    def _load(self, state: State, metrics: Metrics) -> int:
        """Load a snapshot; returns the number of the journal file that it continues with, 0 if there is none."""
        damaged = False
        for load in (self._folder.load, self._folder.load_previous):
            try:
                saved = load()
            except SnapshotError as error:
                damaged = True
                metrics.storage_error("recover")
                log.error("%s; trying the one before, and the journal", error)  # noqa: TRY400  # the text says it all
                continue
            if saved is not None:
                changed = state.load(saved["state"])
                if changed:
                    names = ", ".join(changed)
                    log.warning("restarting at 0, because their type, labels or buckets changed: %s", names)
                number: int = saved["journal"]
                return number
        if not damaged and min(self.journal.numbers(), default=1) > 1:
            metrics.storage_error("recover")
            log.error("%s has a journal and no snapshot: what it held is lost", self._folder.path)
        return 0

    def _replay(self, state: State, metrics: Metrics) -> int:
        def fault(damage: Fault) -> None:
            path, at, lost, kind = damage
            if kind is Kind.INCOMPLETE:
                log.warning("%s: %s", path, kind.value)
                return
            metrics.storage_error("recover")
            size = f"{lost} bytes" if lost else "an unknown number of bytes"
            log.error("%s: %s: %s from %d on; what they held is lost", path, kind.value, size, at)

        decoder = msgspec.msgpack.Decoder(Record)
        replayed = 0
        for number, raw in enumerate(self.journal.read(self._kept, fault), 1):
            try:
                state.replay(decoder.decode(raw))
                replayed += 1
            except _UNREPLAYABLE as error:
                metrics.storage_error("recover")
                place = self._folder.set_aside(raw)
                # Neither its bytes nor the error's text, which may repeat them, belong in the log.
                log.error("record %d of the journal cannot be counted (%s): %s", number, type(error).__name__, place)  # noqa: TRY400
        return replayed

    async def save(self, state: State, metrics: Metrics) -> None:
        """Write a snapshot, keep the one before and the journal from there on. A failure is counted and retried."""
        async with self._saving:
            try:
                number = self.journal.rotate()
                # Nothing else runs until encode returns, so the state is exactly what the older files hold.
                data = snapshot.encode({"journal": number, "state": state.dump()})
                await asyncio.to_thread(snapshot.save, self._folder.path, data)
                self.journal.delete(self._kept)
                self._kept = number
            except OSError as error:
                metrics.storage_error("snapshot")
                log.error("cannot save snapshot: %s; keeping the journal", error.strerror or error)  # noqa: TRY400
                return
            metrics.gauge("exporter_snapshot_last_success_timestamp_seconds", self._now(), self._now())

    def close(self) -> None:
        """Sync and close the journal, unlock the folder."""
        self.journal.close()
        self._folder.close()
