"""Queues a server's events and sends them in batches, in order, again after a failure, and counted once."""

import atexit
import contextvars
import itertools
import json
import logging
import random
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from .answer import COUNTED, Outcome, read
from .exchange import Exchange

_log = logging.getLogger("heypeter")
trace: contextvars.ContextVar[str] = contextvars.ContextVar("heypeter_trace", default="")
_BATCH, _EVENT, _QUEUE = 512 * 1024, 32 * 1024, 16 * 1024 * 1024  # bytes; a batch is half of what the exporter takes
_QUIET, _MOST_LINES = 60.0, 1000  # seconds between two log lines of one kind; kinds
# 502 and 504 mean that a proxy could not reach the exporter.
_RETRYABLE = {0, 408, 429, 502, 503, 504}  # 0 is no answer at all
_TOO_LARGE = 413


class NotQueuedError(Exception):
    """A business event could not be queued."""


class Extra(TypedDict, total=False):
    """Optional fields of an event besides its data; an event with a known ``id`` is not counted again."""

    id: str
    source: str
    time: float | str | datetime
    trace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a client; empty ones are read from HEYPETER_URL, HEYPETER_TOKEN and HEYPETER_TOKEN_FILE."""

    url: str = ""
    token: str = field(default="", repr=False)
    token_file: str | Path = ""
    source: str = ""
    batch_size: int = 200
    batch_delay: float = 1.0
    queue_size: int = 10_000
    timeout: float = 10.0
    close_timeout: float = 5.0
    backoff_base: float = 0.5
    backoff_most: float = 30.0
    # This runs in applications, which have no reason to pass these in; tests do.
    wall: Callable[[], float] = time.time  # noqa: TID251
    jitter: Callable[[], float] = random.random  # noqa: TID251
    new_id: Callable[[], object] = uuid.uuid4  # noqa: TID251


@dataclass(slots=True)
class _Entry:
    kind: str
    written: bytes
    future: Future[Outcome]


class Client:
    """A queue of events and the one thread that sends them; usable from any thread."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        chosen = self._settings
        self._exchange = Exchange(chosen.url, chosen.token, chosen.token_file, chosen.timeout, chosen.wall)
        self._queue: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # counts: events queued, events settled, events to send without waiting for a full batch, bytes, blocked senders
        self._entered = self._settled = self._until = self._bytes = self._waiting = 0
        self._closing = self._gave_up = False
        self._stats: Counter[str] = Counter()
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def enabled(self) -> bool:
        """Whether an address and a token are there."""
        return self._exchange.enabled

    def track(self, kind: str, data: Mapping[str, object] | None = None, **extra: Unpack[Extra]) -> bool:
        """Queue telemetry; never raises or blocks. If the queue is full the event is dropped and counted."""
        try:
            entry = self._entry(kind, data, extra)
        except (TypeError, ValueError, RecursionError, OverflowError):
            return self._drop("an event could not be written as JSON, or is too large")
        if not self.enabled:
            return self._drop("set HEYPETER_URL and HEYPETER_TOKEN or HEYPETER_TOKEN_FILE")
        with self._changed:
            if not self._closing and not self._waiting and not self._is_full():
                self._push(entry)
                return True
        return self._drop("the client is closed" if self._closing else "the queue is full")

    def send(self, kind: str, data: Mapping[str, object] | None = None, **extra: Unpack[Extra]) -> Future[Outcome]:
        """Queue a business event; waits while the queue is full, so call it in a thread from asynchronous code."""
        entry = self._entry(kind, data, extra)
        if not self.enabled:
            raise NotQueuedError("set HEYPETER_URL and HEYPETER_TOKEN or HEYPETER_TOKEN_FILE")
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._closing or not self._is_full())
            self._waiting -= 1
            if self._closing:
                raise NotQueuedError("the client is closed")
            self._push(entry)
        return entry.future

    def deliver(self, events: Iterable[Mapping[str, Any]]) -> list[Outcome]:
        """Send events and wait until the fate of each is known, for rows of an outbox."""
        futures = []
        for event in events:
            rest = {key: value for key, value in event.items() if key not in {"type", "data"}}
            futures.append(self.send(event["type"], event.get("data"), **rest))
        with self._changed:
            self._until = max(self._until, self._entered)
            self._changed.notify_all()
        return [future.result() for future in futures]

    def flush(self, timeout: float | None = None) -> bool:
        """Send what is queued now; True once the fate of all of it is known, False after ``timeout`` seconds."""
        with self._changed:
            target = self._until = self._entered
            self._changed.notify_all()
            limit = self._settings.timeout if timeout is None else timeout
            return self._changed.wait_for(lambda: self._settled >= target, limit)

    def close(self, timeout: float | None = None) -> bool:
        """Accept no more events and send the queue; events not sent within ``timeout`` seconds are dropped."""
        with self._changed:
            self._closing = True
        flushed = self.flush(self._settings.close_timeout if timeout is None else timeout)
        with self._changed:
            self._gave_up = True
            self._changed.notify_all()
        self._exchange.abort()
        if self._thread is not None:
            self._thread.join(1.0)
        atexit.unregister(self.close)
        return flushed

    def stats(self) -> dict[str, int]:
        """Return the number of events by outcome: sent + rejected + dropped + queued is the total."""
        names = ("sent", "duplicates", "rejected", "dropped", "retried", "batches")
        with self._changed:
            return {**{name: self._stats[name] for name in names}, "queued": self._entered - self._settled}

    def _entry(self, kind: str, data: Mapping[str, object] | None, extra: Extra) -> _Entry:
        event = {"type": kind, "time": round(self._settings.wall(), 3), "source": self._settings.source}
        said = {
            key: value for key, value in {**event, "trace_id": trace.get(), **extra}.items() if value not in ("", None)
        }
        written = json.dumps({**said, "data": dict(data or {})}, allow_nan=False, default=_time).encode()
        if len(written) > _EVENT:
            raise ValueError(f"an event has at most {_EVENT} bytes")
        return _Entry(kind, written, Future())

    def _is_full(self) -> bool:
        return len(self._queue) >= self._settings.queue_size or self._bytes >= _QUEUE

    def _push(self, entry: _Entry) -> None:
        entry.future.set_running_or_notify_cancel()  # it can no longer be cancelled
        self._queue.append(entry)
        self._bytes += len(entry.written)
        self._entered += 1
        if self._thread is None:  # started with the first event, so that a server may fork after importing this
            self._thread = threading.Thread(target=self._run, name="heypeter", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        self._changed.notify_all()

    def _run(self) -> None:
        # One batch at a time, until it is settled, so that events are counted in order.
        while batch := self._take():
            self._post(batch)

    def _is_due(self) -> bool:
        is_asked = self._entered - len(self._queue) < self._until
        return is_asked or self._gave_up or len(self._queue) >= self._settings.batch_size or self._bytes >= _BATCH

    def _take(self) -> list[_Entry]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._gave_up)
            self._changed.wait_for(self._is_due, self._settings.batch_delay)
            batch: list[_Entry] = []
            size = 0
            while self._queue and len(batch) < min(self._settings.batch_size, 1000):
                if batch and size + len(self._queue[0].written) > _BATCH:
                    break
                batch.append(self._queue.popleft())
                size += len(batch[-1].written)
            self._bytes -= size
            self._changed.notify_all()
            return batch

    def _post(self, batch: list[_Entry]) -> None:
        batch_id = str(self._settings.new_id())  # the same for every attempt, so that the exporter recognises a retry
        for attempt in itertools.count():
            if self._gave_up:
                self._finish(batch, dict.fromkeys(range(len(batch)), Outcome("undelivered")))
                return
            status, retry_after, answer = self._exchange.post(batch_id, [entry.written for entry in batch])
            self._count("batches")
            if status == _TOO_LARGE and len(batch) > 1:
                middle = (len(batch) + 1) // 2
                self._post(batch[:middle])
                self._post(batch[middle:])
                return
            if status not in _RETRYABLE:
                faults, duplicates = read(status, answer, len(batch))
                self._count("duplicates", duplicates)
                self._finish(batch, faults)
                return
            self._count("retried")
            self._say(f"the exporter answered {status}" if status else "the exporter cannot be reached")
            with self._changed:
                self._changed.wait_for(lambda: self._gave_up, self._wait(attempt, retry_after))

    def _wait(self, attempt: int, retry_after: float) -> float:
        """Full jitter, on top of what the exporter asks for: clients that failed together must not return together."""
        most = min(self._settings.backoff_most, self._settings.backoff_base * 2.0 ** min(attempt, 20))
        return retry_after + self._settings.jitter() * most

    def _finish(self, batch: list[_Entry], outcomes: dict[int, Outcome]) -> None:
        for index, entry in enumerate(batch):
            outcome = outcomes.get(index, COUNTED)
            if outcome.message:
                self._say(f"{entry.kind} was {outcome.state}: {outcome.message} ({outcome.reason} {outcome.field})")
            elif outcome.state == "undelivered":
                self._say("events could not be sent before the end")
            entry.future.set_result(outcome)
        with self._changed:
            for index in range(len(batch)):
                self._stats[_counter(outcomes.get(index, COUNTED))] += 1
            self._settled += len(batch)
            self._changed.notify_all()

    def _drop(self, why: str) -> bool:
        self._count("dropped")
        self._say(f"telemetry is dropped: {why}")
        return False

    def _count(self, name: str, count: int = 1) -> None:
        with self._changed:
            self._stats[name] += count

    def _say(self, line: str) -> None:
        now = self._settings.wall()
        if now - self._said.get(line, -_QUIET) >= _QUIET and len(self._said) < _MOST_LINES:
            self._said[line] = now
            _log.warning("%s", line)


def _counter(outcome: Outcome) -> str:
    if outcome is COUNTED:
        return "sent"
    return "rejected" if outcome.reason or outcome.message else "dropped"  # an event that was never sent has neither


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
