"""All that an exporter knows, changed only by ``apply``: the same records in the same order give the same state."""

from collections.abc import Sequence
from typing import Any

import msgspec

from exporter.catalogue.model import SELF, Catalogue
from exporter.events.decode import Decoder, Event, Schema
from exporter.events.dedupe import Recent
from exporter.events.sessions import Ended, Visits
from exporter.events.vitals import Held, Settling
from exporter.registry.recorder import Recorder

REMEMBER = 24 * 3600.0  # seconds that ids of servers' batches and events are known, at least
REMEMBER_PAGES = 600.0  # and those of browsers' batches
_IDS = 500_000
# Own families that follow from records alone: a replay gives them again. The others start at 0 with the process.
_REPLAYED = {
    "exporter_events_accepted_total",
    "exporter_label_overflow_total",
    "rum_beacons_lost_total",
    "rum_session_duration_seconds",
}


class Record(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What was accepted from one request, and all that is needed to count it again: the unit of the journal."""

    received: float
    source: str
    body: bytes  # JSON with the events that were accepted
    batch: int = 0  # fingerprint of the batch's id; 0: it had none
    ids: tuple[int, ...] = ()  # fingerprints of the events' ids
    answer: bytes = b""
    device: str = ""
    weight: int = 1
    page: int = 0
    sequence: int = 0
    session: int = 0


class State:
    """The series, the ids that are known, the vitals that have not settled, and who is visiting."""

    def __init__(self, catalogue: Catalogue, key: bytes, settle_after: float) -> None:
        self.catalogue, self.schema = catalogue, Schema(catalogue)
        self.recorder = Recorder(catalogue, self.schema, key)
        self.settling = Settling(settle_after)
        self.visits = Visits()
        self.batches, self.ids = Recent(REMEMBER, _IDS), Recent(REMEMBER, _IDS)
        self.beacons = Recent(REMEMBER_PAGES, _IDS)
        self.settles = {kind for name, kind in self.schema.types.items() if catalogue.events[name].settle}
        self._decoder = Decoder(self.schema.types, most=1_000_000)
        self._devices = {
            kind for kind in self.schema.types.values() if "device" in kind.__annotations__["data"].__struct_fields__
        }

    def known(self, source: str) -> Recent:
        """Give the memory of batches: browsers retry for minutes, servers for a day."""
        return self.batches if source == "events" else self.beacons

    def apply(self, record: Record, events: Sequence[Event]) -> None:
        """Count the events of a record. Time passes first, so that what had settled by then is counted alone."""
        now = record.received
        self.tick(now)
        self._remember(record)
        if record.device:
            for event in events:
                if type(event) in self._devices and event.data.device is None:
                    msgspec.structs.force_setattr(event.data, "device", record.device)
        if not self.settles.isdisjoint(map(type, events)):
            self._hold([event for event in events if type(event) in self.settles], record)
            events = [event for event in events if type(event) not in self.settles]
        self.recorder.record(events, record.source, now, record.weight)

    def _remember(self, record: Record) -> None:
        now = record.received
        if record.batch:
            self.known(record.source).put(record.batch, record.answer, now)
        for identity in record.ids:
            self.ids.put(identity, b"", now)
        if record.page or record.session:
            self._ended(self.visits.sign(record.page, record.sequence, record.session, now))

    def _hold(self, events: list[Event], record: Record) -> None:
        for event in events:
            for held in self.settling.hold(Held(event, record.source, record.weight), record.received):
                self.recorder.record([held.event], held.source, record.received, held.weight)

    def replay(self, record: Record) -> None:
        """Count a record of the journal; events that the catalogue no longer knows are left out."""
        self.apply(record, self._decoder.decode(record.body).events)

    def tick(self, now: float) -> None:
        """Let time pass: count the vitals that have settled, end pages and sessions that are quiet."""
        for held in self.settling.settled(now):
            self.recorder.record([held.event], held.source, now, held.weight)
        self._ended(self.visits.ended(now))

    def resume(self, now: float, hold: float) -> None:
        """After a restart, bring everything to what it was before."""
        self.tick(now)
        for series in self.recorder.series.values():
            series.resume(now, hold)

    def _ended(self, ended: Ended) -> None:
        if ended.lost:
            self.recorder.series["rum_beacons_lost_total"].add((), ended.lost)
        for duration in ended.durations:
            self.recorder.series["rum_session_duration_seconds"].observe((), duration)

    def dump(self, *, own: bool = False) -> dict[str, Any]:
        """Give everything as plain data; ``own``: with what the exporter counts about itself, for a reload."""
        return {
            "series": {
                name: series.dump()
                for name, series in self.recorder.series.items()
                if own or series.family.event != SELF or name in _REPLAYED
            },
            "found": {name: list(values) for name, values in self.recorder.found.items()},
            "distinct": {name: distinct.dump() for name, distinct in self.recorder.distinct.items()},
            "settling": [
                (seen, msgspec.json.encode(held.event), held.source, held.weight) for seen, held in self.settling.dump()
            ],
            "visits": self.visits.dump(),
            "batches": self.batches.dump(),
            "beacons": self.beacons.dump(),
            "ids": self.ids.dump(),
        }

    def load(self, saved: dict[str, Any]) -> list[str]:
        """Take over what was dumped; gives the families that could not be, for they have another shape now."""
        for name, values in saved["found"].items():
            self.recorder.found.setdefault(name, {}).update(dict.fromkeys(values))
        changed = [
            name
            for name, series in saved["series"].items()
            if name in self.recorder.series and not self.recorder.series[name].load(series)
        ]
        for name, sketches in saved["distinct"].items():
            if name in self.recorder.distinct:
                self.recorder.distinct[name].load(sketches)
        for seen, body, source, weight in saved["settling"]:
            for event in self._decoder.decode(body).events:
                self.settling.hold(Held(event, source, weight), seen)
        self.visits.load(saved["visits"])
        for memory, name in ((self.batches, "batches"), (self.beacons, "beacons"), (self.ids, "ids")):
            memory.load(saved[name])
        return changed
