"""Takes decoded batches: answers what it knows, drops what is too old, keeps the rest on disk, and counts it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from exporter.events.decode import Batch, DecodeError, Event, Reason, seconds
from exporter.events.dedupe import fingerprint
from exporter.persistence.journal import Journal, JournalError
from exporter.registry.state import Record, State
from exporter.self_metrics import Metrics

FUTURE = 60.0  # seconds that an event may lie ahead, its sender's clock being corrected
OLDEST = {"events": 7 * 86_400.0}  # seconds; a server may have kept events while we were down
OLDEST_PAGE = 86_400.0
_TOLERATED = 5.0  # a clock that is wrong by less is not corrected: it may as well be the way here
_DETAILS = 100  # rejected events that an answer describes


class Context(NamedTuple):
    """Where a batch came from."""

    source: str
    device: str = ""


class Rejected(msgspec.Struct, frozen=True):
    """Why an event was not counted."""

    index: int
    reason: Reason
    field: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    """The answer to a server's batch; ``rejected`` describes the first hundred."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    rejected_total: int


class Acceptance(NamedTuple):
    """How a batch fared: the JSON of the answer, and how many events were accepted and refused."""

    answer: bytes
    accepted: int
    rejected: int
    known: bool = False


class Intake:
    """The one way in. Everything up to the journal's write happens without a pause, so no two batches can mix."""

    def __init__(self, state: State, metrics: Metrics, journal: Journal | None, now: Callable[[], float]) -> None:
        self._state, self._metrics, self._journal, self._now = state, metrics, journal, now

    def take(self, batch: Batch, context: Context, body: bytes | None) -> Acceptance:
        """Count a batch once; JournalError if the disk does not take it, and then nothing of it was counted.

        ``body`` is what was decoded, if it can be decoded again as it is; it is kept in the journal. Wait for the
        journal to be durable before you tell a server that its events are safe.
        """
        now, source = self._now(), context.source
        key = fingerprint(context.source, batch.id) if batch.id else 0
        if key:
            known = self._state.known(source).get(key, now)
            if known is not None:
                self._metrics.duplicates(source, len(batch.events))
                return Acceptance(known, 0, 0, known=True)
        events, errors = self._in_time(batch, source, now)
        events, ids, duplicates = self._fresh(events, now)
        for _, error in errors:
            self._metrics.rejected(source, error.reason)
        answer = _answer(len(events), duplicates, errors) if source == "events" else b"{}"
        if events or errors or duplicates:
            if body is None or len(events) != len(batch.events) or batch.errors:
                body = msgspec.json.encode(events)
            record = Record(
                received=now,
                source=source,
                body=body,
                batch=key,
                ids=ids,
                answer=answer,
                device=context.device,
                weight=batch.client.sample,
                page=fingerprint("page", batch.client.page_id) if batch.client.page_id else 0,
                sequence=batch.client.sequence,
                session=fingerprint("session", batch.client.session) if batch.client.session else 0,
            )
            self._keep(record)
            self._state.apply(record, events)
        self._metrics.duplicates(source, duplicates)
        return Acceptance(answer, len(events), len(errors))

    def _keep(self, record: Record) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(msgspec.msgpack.encode(record))
        except JournalError:
            self._metrics.storage_error("append")
            raise

    def _in_time(
        self, batch: Batch, source: str, now: float
    ) -> tuple[Sequence[Event], Sequence[tuple[int, DecodeError]]]:
        """Refuse what is too old or lies ahead, by the sender's own clock as far as it is wrong."""
        offset = 0.0
        if batch.sent_at is not None:
            offset = now - seconds(batch.sent_at)
            self._metrics.skew(offset)
            offset = offset if abs(offset) > _TOLERATED else 0.0
        if all(event.time is None for event in batch.events):
            return batch.events, batch.errors
        good, errors = [], list(batch.errors)
        refused = {index for index, _ in batch.errors}
        places = [index for index in range(len(batch.events) + len(refused)) if index not in refused]
        for index, event in zip(places, batch.events, strict=True):
            age = 0.0 if event.time is None else now - (seconds(event.time) + offset)
            if event.time is not None:
                self._metrics.age(source, age)
            if -FUTURE <= age <= OLDEST.get(source, OLDEST_PAGE):
                good.append(event)
            elif age < 0:
                errors.append((index, DecodeError(Reason.FUTURE, f"the time lies {-age:.0f} s ahead", "time")))
            else:
                errors.append((index, DecodeError(Reason.TOO_OLD, f"the time is {age:.0f} s ago", "time")))
        return good, sorted(errors, key=lambda error: error[0])

    def _fresh(self, events: Sequence[Event], now: float) -> tuple[Sequence[Event], tuple[int, ...], int]:
        """Leave out the events whose source and id are known; vitals have ids to be replaced by, not to be known by."""
        if not any(event.id for event in events):
            return events, (), 0
        fresh: list[Event] = []
        ids: dict[int, None] = {}
        duplicates = 0
        for event in events:
            if not event.id or type(event) in self._state.settles:
                fresh.append(event)
                continue
            identity = fingerprint(event.source, event.id)
            if identity in ids or self._state.ids.get(identity, now) is not None:
                duplicates += 1
            else:
                ids[identity] = None
                fresh.append(event)
        return fresh, tuple(ids), duplicates


def _answer(accepted: int, duplicates: int, errors: Sequence[tuple[int, DecodeError]]) -> bytes:
    rejected = [Rejected(index, error.reason, error.field, error.message) for index, error in errors[:_DETAILS]]
    return msgspec.json.encode(Answer(accepted, duplicates, rejected, len(errors)))
