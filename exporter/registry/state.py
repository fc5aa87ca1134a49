"""The whole state of an exporter. ``apply`` counts: the same records in the same order give the same counts.

``merge`` takes what other exporters have counted, of which nothing is counted here.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from exporter.catalogue.model import SELF, Catalogue
from exporter.events.decode import DecodeError, Decoder, Event, Reason, Schema
from exporter.events.dedupe import SeenIds, fingerprint
from exporter.events.sessions import Ended, Sessions
from exporter.events.vitals import PendingVital, PendingVitals, key_of
from exporter.registry.recorder import Recorder
from exporter.registry.replication_log import MAX_TEXT, Fact, Kind, ReplicationLog

# Seconds for which ids of servers' batches and events are known, at least: as long as an event may be old, or one that
# is sent again late would be counted twice.
SERVER_IDS_KNOWN = 7 * 86_400.0
BROWSER_IDS_KNOWN = 600.0  # and those of browsers' batches
_REMEMBERED = 500_000  # of each kind that are remembered for that long
MAX_RECORD = 8 * 1024 * 1024  # bytes of one record's events; a request has at most 1 MiB
_MAX_RECORDED = 10_000  # events of one record; a request has at most 1,000
_IDS = {Kind.BATCH, Kind.EVENT, Kind.BEACON}
# Our own families that follow from records alone, so a replay restores them. The others start at 0 with the process.
_REPLAYED = {
    "exporter_dedup_early_forgets_total",
    "exporter_events_accepted_total",
    "exporter_label_overflow_total",
    "rum_beacons_lost_total",
    "rum_session_duration_seconds",
}


class Record(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What was accepted from one request and all that is needed to count it again: the unit of the journal."""

    received: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    source: str
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD)]  # JSON with the events that were accepted
    batch: int = 0  # fingerprint of the batch's id; 0 if it had none
    ids: tuple[int, ...] = ()  # fingerprints of the events' ids
    answer: bytes = b""  # JSON, to be given again to a retry of the batch
    device: str = ""
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    page: int = 0
    sequence: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    session: int = 0
    outside: dict[str, int] = {}  # texts of browsers that were folded to `other`, by label
    skew: float = 0.0  # seconds to add to the sender's times


class State:
    """The series, the known ids, the pending vitals, and the browsers' sessions."""

    def __init__(
        self,
        catalogue: Catalogue,
        key: bytes,
        settle_after: float,
        log: ReplicationLog | None = None,
        server_ids: int = _REMEMBERED,
    ) -> None:
        """``log``: where to note what other exporters must be told; None if there are none.

        ``server_ids``: how many ids of servers' batches, and of their events, are remembered in any case.
        """
        self.log = log
        self.catalogue, self.schema = catalogue, Schema(catalogue)
        self.recorder = Recorder(catalogue, self.schema, key)
        self.pending = PendingVitals(settle_after)
        self.sessions = Sessions()
        self.batches, self.ids = SeenIds(SERVER_IDS_KNOWN, server_ids), SeenIds(SERVER_IDS_KNOWN, server_ids)
        self.beacons = SeenIds(BROWSER_IDS_KNOWN, _REMEMBERED)
        self.pending_kinds = {kind for name, kind in self.schema.types.items() if catalogue.events[name].settle}
        self._decoder = Decoder(self.schema.types, limit=_MAX_RECORDED)
        accepted = self.recorder.series["exporter_events_accepted_total"].family
        self._sources = next(label.values for label in accepted.labels if label.name == "source")
        self._devices = {
            kind for kind in self.schema.types.values() if "device" in kind.__annotations__["data"].__struct_fields__
        }

    def known(self, source: str) -> SeenIds:
        """Return the ids of batches seen by an endpoint: browsers retry for minutes, servers for a week."""
        return self.batches if source == "events" else self.beacons

    def fold(self, events: Sequence[Event], owner: int) -> dict[str, int]:
        """Leave in events of browsers only what is counted, before they are journaled; see ``Recorder.fold``.

        A vital keeps an id, which is only its ``owner``'s, a session or a page: nobody can replace another's vitals.
        """

        def id_of(event: Event) -> str:
            if not event.id or type(event) not in self.pending_kinds:
                return ""
            return f"{fingerprint(str(owner), event.id):016x}"

        return self.recorder.fold(events, id_of)

    def apply(self, record: Record, events: Sequence[Event]) -> None:
        """Count the events of a record. Time passes first, so that vitals final by then are counted before them."""
        now = record.received
        self.tick(now)
        self._remember(record)
        for label, number in record.outside.items():
            self.recorder.series["exporter_label_overflow_total"].add((label,), number)
        if record.device:
            for event in events:
                if type(event) in self._devices and event.data.device is None:
                    msgspec.structs.force_setattr(event.data, "device", record.device)
        if not self.pending_kinds.isdisjoint(map(type, events)):
            self._report_vitals([event for event in events if type(event) in self.pending_kinds], record)
            events = [event for event in events if type(event) not in self.pending_kinds]
        self.recorder.record(events, record.source, now, record.weight, record.skew)

    def _remember(self, record: Record) -> None:
        now = record.received
        if record.batch:
            self._put(self.known(record.source), record.batch, record.answer, now)
        for identity in record.ids:
            self._put(self.ids, identity, b"", now)
        if record.page or record.session:
            self._count_ended(self.sessions.seen(record.page, record.sequence, record.session, now))
        if self.log is not None:
            self._tell(record, self.log)

    def _put(self, seen: SeenIds, key: int, answer: bytes, now: float) -> None:
        if seen.put(key, answer, now):
            kind = "server_events" if seen is self.ids else "server_batches" if seen is self.batches else "beacons"
            self.recorder.series["exporter_dedup_early_forgets_total"].add((kind,))

    def _tell(self, record: Record, log: ReplicationLog) -> None:
        """Note for the other exporters what was seen."""
        if record.source == "events":
            for identity in record.ids:
                log.counted(Kind.EVENT, identity)
            if record.batch:
                log.counted(Kind.BATCH, record.batch, record.answer)
            return
        if record.batch:
            log.tell(Fact(Kind.BEACON, record.batch))
        if record.session:
            first, last = self.sessions.session(record.session)
            log.tell(Fact(Kind.SESSION, record.session, first=first, last=last))
        if record.page:
            log.tell(Fact(Kind.PAGE, record.page, last=record.received))

    def merge(self, fact: Fact, now: float) -> bool:
        """Take what another exporter says; True if it is an id that both have counted."""
        if fact.kind in _IDS:
            return self._merge_id(fact, now)
        if fact.kind == Kind.VITAL:
            self.pending.drop_before(fact.text, fact.last)
        elif fact.kind == Kind.SESSION:
            self._give_session(fact.key, self.sessions.merge_session(fact.key, fact.first, fact.last))
        elif fact.kind == Kind.PAGE:
            self._give_page(fact.key, self.sessions.merge_page(fact.key, fact.last))
        elif fact.kind == Kind.PAGE_GIVEN:
            self.sessions.add_to_page(fact.key, fact.number, fact.count)
        return False

    def _merge_id(self, fact: Fact, now: float) -> bool:
        known = {Kind.BATCH: self.batches, Kind.BEACON: self.beacons}.get(Kind(fact.kind), self.ids)
        if known.get(fact.key, now) is None:
            self._put(known, fact.key, fact.answer, now)
        return fact.kind != Kind.BEACON and self.log is not None and self.log.was_counted(fact.key)

    def _give_session(self, key: int, session: tuple[float, float] | None) -> None:
        if session is not None and self.log is not None:
            self.log.tell(Fact(Kind.SESSION, key, first=session[0], last=session[1]))

    def _give_page(self, key: int, page: tuple[float, int, int] | None) -> None:
        if page is not None and self.log is not None:
            self.log.tell(Fact(Kind.PAGE_GIVEN, key, last=page[0], number=page[1], count=page[2]))

    def _report_vitals(self, events: list[Event], record: Record) -> None:
        for event in events:
            if self.log is not None and event.id:
                self.log.tell(Fact(Kind.VITAL, text=key_of(event)[:MAX_TEXT], last=record.received))
            for vital in self.pending.report(PendingVital(event, record.source, record.weight), record.received):
                self._count_vital(vital, record.received)

    def _count_vital(self, vital: PendingVital, now: float) -> None:
        self.recorder.record([vital.event], vital.source, now, vital.weight)

    def replay(self, record: Record) -> None:
        """Count a record of the journal, without the events that the catalogue no longer knows.

        DecodeError, and nothing counted, if it is not a record that this exporter would have written.
        """
        if record.source not in self._sources:
            raise DecodeError(Reason.SCHEMA, "unknown source", "source")
        self.apply(record, self._decoder.decode(record.body).events)

    def tick(self, now: float) -> None:
        """Let time pass: count the vitals that are final, end the pages and sessions that are over."""
        for vital in self.pending.final(now):
            self._count_vital(vital, now)
        self._count_ended(self.sessions.ended(now))

    def resume(self, now: float, hold: float) -> None:
        """After a restart, show what may have been shown before, and let the time since then pass."""
        self.tick(now)
        for series in self.recorder.series.values():
            series.resume(now, hold)

    def _count_ended(self, ended: Ended) -> None:
        if ended.lost:
            self.recorder.series["rum_beacons_lost_total"].add((), ended.lost)
        for duration in ended.durations:
            self.recorder.series["rum_session_duration_seconds"].observe((), duration)

    def dump(self, *, own: bool = False) -> dict[str, Any]:
        """Return everything as plain data; ``own`` includes all that the exporter counts about itself, for a reload.

        The keys are those of the snapshot file's version 1.
        """
        return {
            "series": {
                name: series.dump()
                for name, series in self.recorder.series.items()
                if own or series.family.event != SELF or name in _REPLAYED
            },
            "found": {name: list(values) for name, values in self.recorder.discovered.items()},
            "distinct": {name: distinct.dump() for name, distinct in self.recorder.distinct.items()},
            "settling": [
                (reported, msgspec.json.encode(vital.event), vital.source, vital.weight)
                for reported, vital in self.pending.dump()
            ],
            "visits": self.sessions.dump(),
            "batches": self.batches.dump(),
            "beacons": self.beacons.dump(),
            "ids": self.ids.dump(),
        }

    def load(self, saved: dict[str, Any]) -> list[str]:
        """Restore what was dumped; returns the families that were not, as their type, labels or buckets changed."""
        for name, values in saved["found"].items():
            self.recorder.discovered.setdefault(name, {}).update(dict.fromkeys(values))
        changed = [
            name
            for name, series in saved["series"].items()
            if name in self.recorder.series and not self.recorder.series[name].load(series)
        ]
        for name, sketches in saved["distinct"].items():
            if name in self.recorder.distinct:
                self.recorder.distinct[name].load(sketches)
        for reported, body, source, weight in saved["settling"]:
            for event in self._decoder.decode(body).events:
                self.pending.report(PendingVital(event, source, weight), reported)
        self.sessions.load(saved["visits"])
        for seen, name in ((self.batches, "batches"), (self.beacons, "beacons"), (self.ids, "ids")):
            seen.load(saved[name])
        return changed
