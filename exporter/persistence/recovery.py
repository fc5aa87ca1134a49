"""Brings the state back after a restart and saves it from time to time: journal and snapshot as one."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from exporter.persistence import snapshot
from exporter.persistence.journal import Journal
from exporter.persistence.snapshot import Folder, SnapshotError
from exporter.registry.state import Record, State
from exporter.self_metrics import Metrics

log = logging.getLogger("exporter.persistence.recovery")


class Storage:
    """The folder of a running exporter; ``now`` gives Unix seconds."""

    def __init__(self, folder: Folder, journal: Journal, now: Callable[[], float]) -> None:
        self._folder, self.journal, self._now = folder, journal, now
        self._saving = asyncio.Lock()

    def recover(self, state: State, metrics: Metrics, hold: float) -> None:
        """Load the snapshot, count what the journal has beyond it, and begin a new file of the journal."""
        first = 0
        try:
            saved = self._folder.load()
        except SnapshotError as error:
            saved = None
            metrics.storage_error("recover")
            log.error("%s; counters begin again with what the journal holds", error)  # noqa: TRY400  # it says it all
        if saved is not None:
            first = saved["journal"]
            changed = state.load(saved["state"])
            if changed:
                log.warning("families with another shape than before begin at 0: %s", ", ".join(changed))

        def fault(path: Path, lost: int) -> None:
            log.warning("%s: %d bytes at its end are no record; a cut-off one was never answered", path, lost)

        decoder = msgspec.msgpack.Decoder(Record)
        replayed = 0
        for raw in self.journal.read(first, fault):
            try:
                state.replay(decoder.decode(raw))
                replayed += 1
            except msgspec.DecodeError:
                metrics.storage_error("recover")
                log.error("a record of the journal cannot be read by this version; it is left out")  # noqa: TRY400  # no bytes of it into the log
        state.resume(self._now(), hold)
        self.journal.rotate()
        if saved is not None or replayed:
            log.info("recovered: snapshot %s, %d requests from the journal", "read" if saved else "none", replayed)

    async def save(self, state: State, metrics: Metrics) -> None:
        """Write a snapshot, and delete the journal that it makes needless. A failure is counted and tried again."""
        async with self._saving:
            try:
                number = self.journal.rotate()
                # From here to the end of encode nothing else runs: the state is exactly what the older files hold.
                data = snapshot.encode({"journal": number, "state": state.dump()})
                await asyncio.to_thread(snapshot.save, self._folder.path, data)
                self.journal.forget(number)
            except OSError as error:
                metrics.storage_error("snapshot")
                log.error("cannot save the state: %s; the journal is kept", error.strerror or error)  # noqa: TRY400
                return
            metrics.gauge("exporter_snapshot_last_success_timestamp_seconds", self._now(), self._now())

    def close(self) -> None:
        """Sync the journal and let the folder go."""
        self.journal.close()
        self._folder.close()
