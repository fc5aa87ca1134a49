"""Accepts decoded batches: leaves out what is known or out of time, journals the rest, and counts it.

All endpoints for events use it. No HTTP here: it takes events and returns a value.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, NamedTuple

import msgspec

from exporter.events.decode import Batch, DecodeError, Event, Reason, seconds
from exporter.events.dedupe import fingerprint
from exporter.persistence.journal import Journal, JournalError
from exporter.registry.state import SERVER_IDS_KNOWN, Record, State
from exporter.self_metrics import Metrics

MAX_AHEAD = 60.0  # seconds that an event may lie in the future, after the sender's clock is corrected
MAX_AGE = {"events": SERVER_IDS_KNOWN}  # seconds, by source; a server may have kept events while we were down
_MAX_BROWSER_AGE = 86_400.0
_SKEW_TOLERANCE = 5.0  # seconds; a smaller difference may as well be the network, so the clock is not corrected
_MAX_OBSERVED = 8 * 86_400.0  # seconds of a sender's clock that are observed: a sum must not be what a sender likes
_MAX_DETAILS = 100  # rejected events that an answer describes

SERVERS = "events"  # the endpoint for servers, which have the token
_ID, _TIME = attrgetter("id"), attrgetter("time")
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Sender(NamedTuple):
    """Who sent a batch: the endpoint it was posted to (a label value), and the kind of device if a browser sent it."""

    source: str
    device: str = ""


class Rejected(msgspec.Struct, frozen=True):
    """Why one event was not counted; ``index`` is its place in the batch, from 0."""

    index: _Count
    reason: Reason
    field: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    """What became of a batch; ``rejected`` describes the first 100 of ``rejected_total`` events."""

    accepted: _Count
    duplicates: _Count
    rejected: Annotated[list[Rejected], msgspec.Meta(max_length=_MAX_DETAILS)]
    rejected_total: _Count

    @property
    def wholly_rejected(self) -> bool:
        """Whether no event of the batch was counted, now or before."""
        return bool(self.rejected_total) and not self.accepted and not self.duplicates


class Result(NamedTuple):
    """The answer, and whether the whole batch was known: then it is the answer given the first time."""

    answer: Answer
    known: bool = False


class Acceptor:
    """The one way in. Nothing awaits between the look-up of an id and the journal's write, so batches cannot mix."""

    def __init__(self, state: State, metrics: Metrics, journal: Journal | None, now: Callable[[], float]) -> None:
        self._state, self._metrics, self._journal, self._now = state, metrics, journal, now

    def accept(self, batch: Batch, sender: Sender, body: bytes | None) -> Result:
        """Count a batch once; JournalError if the disk refuses it, and then none of it was counted.

        ``body`` is the JSON that was decoded, for the journal; of browsers only what is counted is journaled. Wait for
        the journal to be durable before telling a server that its events are safe.
        """
        now, source = self._now(), sender.source
        key = fingerprint(source, batch.id) if batch.id else 0
        if key:
            stored = self._state.known(source).get(key, now)
            if stored is not None:
                self._metrics.duplicates(source, len(batch.events))
                return Result(_stored_answer(stored), known=True)
        skew = self._skew(batch, now)
        events, errors = self._in_time(batch, source, now, skew)
        page = fingerprint("page", batch.client.page_id) if batch.client.page_id else 0
        session = fingerprint("session", batch.client.session) if batch.client.session else 0
        ids: tuple[int, ...] = ()
        outside: dict[str, int] = {}
        duplicates = 0
        if source == SERVERS:
            events, ids, duplicates = self._unknown(events, now)
        else:
            outside, body = self._state.fold(events, session or page), None
        for _, error in errors:
            self._metrics.rejected(source, error.reason)
        answer = Answer(len(events), duplicates, _details(errors), len(errors))
        if events or errors or duplicates:
            if body is None or len(events) != len(batch.events) or batch.errors:
                body = _encode(events)
            record = Record(
                received=now,
                source=source,
                body=body,
                batch=key,
                ids=ids,
                answer=msgspec.json.encode(answer) if source == SERVERS and key else b"",
                device=sender.device,
                weight=batch.client.sample,
                page=page,
                sequence=batch.client.sequence,
                session=session,
                outside=outside,
                skew=skew,
            )
            self._write(record)
            self._state.apply(record, events)
        if duplicates:
            self._metrics.duplicates(source, duplicates)
        return Result(answer)

    @property
    def has_peers(self) -> bool:
        """Whether a sender may go to another exporter."""
        return self._state.log is not None

    @property
    def position(self) -> int:
        """Where the log for the other exporters ends."""
        return self._state.log.servers.end if self._state.log else 0

    def synced(self, position: int) -> None:
        """Let the others hear what was counted before a position: it is on disk."""
        if self._state.log:
            self._state.log.synced(position)

    def _write(self, record: Record) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(_pack(record))
        except JournalError:
            self._metrics.storage_error("append")
            raise

    def _skew(self, batch: Batch, now: float) -> float:
        """Return the seconds to add to the sender's times, by ``sent_at``; 0 if it does not say when it sent."""
        if batch.sent_at is None:
            return 0.0
        skew = now - seconds(batch.sent_at)
        self._metrics.skew(min(abs(skew), _MAX_OBSERVED))
        return skew if abs(skew) > _SKEW_TOLERANCE else 0.0

    def _in_time(
        self, batch: Batch, source: str, now: float, skew: float
    ) -> tuple[Sequence[Event], Sequence[tuple[int, DecodeError]]]:
        """Reject events that are too old or in the future by our clock."""
        if {None}.issuperset(map(_TIME, batch.events)):
            return batch.events, batch.errors
        good, errors = [], list(batch.errors)
        undecodable = {index for index, _ in batch.errors}
        indexes = [index for index in range(len(batch.events) + len(undecodable)) if index not in undecodable]
        for index, event in zip(indexes, batch.events, strict=True):
            age = 0.0 if event.time is None else now - (seconds(event.time) + skew)
            if -MAX_AHEAD <= age <= MAX_AGE.get(source, _MAX_BROWSER_AGE):
                good.append(event)
                if event.time is not None:
                    self._metrics.age(source, max(age, 0))
            elif age < 0:
                errors.append((index, DecodeError(Reason.FUTURE, f"time is {-age:.0f} s in the future", "time")))
            else:
                errors.append((index, DecodeError(Reason.TOO_OLD, f"time is {age:.0f} s ago", "time")))
        return good, sorted(errors, key=lambda error: error[0])

    def _unknown(self, events: Sequence[Event], now: float) -> tuple[Sequence[Event], tuple[int, ...], int]:
        """Leave out a server's events whose source and id are known; a vital's id is there to replace it.

        Browsers have no share in these ids: anybody could reserve those of bookings that are still to come.
        """
        if not any(map(_ID, events)):
            return events, (), 0
        unknown: list[Event] = []
        ids: dict[int, None] = {}
        duplicates = 0
        for event in events:
            if not event.id or type(event) in self._state.pending_kinds:
                unknown.append(event)
                continue
            identity = fingerprint(event.source, event.id)
            if identity in ids or self._state.ids.get(identity, now) is not None:
                duplicates += 1
            else:
                ids[identity] = None
                unknown.append(event)
        return unknown, tuple(ids), duplicates


def _stored_answer(stored: bytes) -> Answer:
    """Read the answer stored for a known batch; none is stored for browsers, which cannot read it."""
    return msgspec.json.decode(stored, type=Answer) if stored not in {b"", b"{}"} else Answer(0, 0, [], 0)


def _details(errors: Sequence[tuple[int, DecodeError]]) -> list[Rejected]:
    return [Rejected(index, error.reason, error.field, error.message) for index, error in errors[:_MAX_DETAILS]]
