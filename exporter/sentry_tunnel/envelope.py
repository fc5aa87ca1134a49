"""Finds the headers and items of a Sentry envelope without parsing their payloads. Pure.

Grammar and examples: develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

_NEWLINE = 0x0A
# What msgspec raises; RecursionError for thousands of nested brackets.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MAX_HEADER = 64 * 1024  # bytes; as Sentry's own tunnel handler has it (sentry-javascript, tunnelForward.ts)
_MAX_ITEMS = 1000  # so that a body of tiny items cannot block the event loop
# Of a client report, which anybody may send, while a counter never goes back: entries, and events in all of them.
_MAX_ENTRIES, _MAX_DISCARDED = 100, 10_000
_PRIMARY = frozenset({"event", "transaction"})
# What is useless without the event or transaction that it came with, and is dropped with it, as Relay does.
_OWNERS = {"attachment": _PRIMARY, "profile": frozenset({"transaction"})}

ITEMS = (
    *("event", "transaction", "session", "sessions", "client_report", "replay_event", "replay_recording", "profile"),
    *("log", "span", "user_report", "feedback", "attachment", "check_in", "other"),
)
# Item type -> data category, where the two differ (sentry-javascript, packages/core/src/utils/envelope.ts).
_CATEGORIES = {
    "event": "error",
    "sessions": "session",
    "client_report": "internal",
    "user_report": "default",
    "profile_chunk": "profile",
    "replay_event": "replay",
    "replay_recording": "replay",
    "check_in": "monitor",
    "raw_security": "security",
    "log": "log_item",
    "trace_metric": "trace_metric",
    "statsd": "metric_bucket",
}
# A client report's reason -> our label value (develop.sentry.dev/sdk/telemetry/client-reports/).
_REASONS = {
    "queue_overflow": "queue_overflow",
    "cache_overflow": "queue_overflow",
    "buffer_overflow": "queue_overflow",
    "quota_exceeded": "quota_exceeded",
    "network_error": "network_error",
    "send_error": "network_error",
    "ratelimit_backoff": "rate_limited",
    "sample_rate": "sample_rate",
    "before_send": "before_send",
    "event_processor": "before_send",
}


class EnvelopeError(Exception):
    """The bytes are not an envelope; the text says where, and never repeats them."""


class Item(NamedTuple):
    """One item: its type, and the offsets of its header, its payload and the payload's end."""

    type: str
    begin: int
    payload: int
    end: int

    @property
    def label(self) -> str:
        """Return the type as a value of a closed set, for a metric label."""
        kind = "profile" if self.type == "profile_chunk" else self.type
        return kind if kind in ITEMS else "other"

    @property
    def category(self) -> str:
        """Return the data category, by which Sentry limits."""
        return _CATEGORIES.get(self.type, self.type)


class Envelope(NamedTuple):
    """A parsed envelope; ``body`` is the original bytes."""

    body: bytes
    dsn: str
    header: int  # where the header ends
    items: tuple[Item, ...]

    def payload(self, item: Item) -> bytes:
        """Return the payload of an item."""
        return self.body[item.payload : item.end]

    def only(self, kept: Iterable[Item]) -> bytes:
        """Return the envelope with some of its items; header and items keep their original bytes."""
        kept = tuple(kept)
        if kept == self.items:
            return self.body
        return b"\n".join((self.body[: self.header], *(self._raw(item) for item in kept)))

    def dependants(self, owner: Item) -> list[Item]:
        """List the items that are dropped together with their event or transaction."""
        return [item for item in self.items if owner.type in _OWNERS.get(item.type, ())]

    def _raw(self, item: Item) -> bytes:
        raw = self.body[item.begin : item.end]
        # At the end of the body, a header without payload may lack the newline that it needs when more follows.
        return raw if self.body[item.payload - 1] == _NEWLINE else raw + b"\n"


class _Header(msgspec.Struct):
    dsn: str


class _ItemHeader(msgspec.Struct):
    type: Annotated[str, msgspec.Meta(min_length=1)]
    length: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Level(msgspec.Struct):
    level: str = "error"


class _Discarded(msgspec.Struct):
    reason: str
    quantity: Annotated[int, msgspec.Meta(ge=0)]


class _Report(msgspec.Struct):
    discarded_events: list[_Discarded] = []


_header = msgspec.json.Decoder(_Header)
_item_header = msgspec.json.Decoder(_ItemHeader)
_level = msgspec.json.Decoder(_Level)
_report = msgspec.json.Decoder(_Report)


def scan(body: bytes) -> Envelope:
    """Find header and items; EnvelopeError if the body is not an envelope or has no DSN."""
    end, at = _line(body, 0)
    try:
        header = _header.decode(memoryview(body)[:end])
    except _UNREADABLE:
        raise EnvelopeError("the first line must be a JSON object with a string `dsn`") from None
    items: list[Item] = []
    primary = ""
    while at < len(body):
        if len(items) == _MAX_ITEMS:
            raise EnvelopeError(f"too many items (limit {_MAX_ITEMS})")
        item, at = _item(body, at, len(items))
        if item.type in _PRIMARY:
            if primary:
                raise EnvelopeError(f"item {len(items)}: an envelope may have only one event or transaction")
            primary = item.type
        items.append(item)
    return Envelope(body, header.dsn, end, tuple(items))


def level(payload: bytes) -> str:
    """Return the level of an event, ``error`` if it has none; empty if it cannot be read."""
    try:
        return _level.decode(payload).level
    except _UNREADABLE:
        return ""


def discarded(payload: bytes) -> list[tuple[str, int]]:
    """Return the events that a client report says were discarded: our reason, and how many."""
    try:
        report = _report.decode(payload)
    except _UNREADABLE:
        return []
    counted: list[tuple[str, int]] = []
    left = _MAX_DISCARDED
    for entry in report.discarded_events[:_MAX_ENTRIES]:
        quantity = min(entry.quantity, left)
        left -= quantity
        counted.append((_REASONS.get(entry.reason, "other"), quantity))
    return counted


def _item(body: bytes, begin: int, index: int) -> tuple[Item, int]:
    """Parse one item; returns it and the offset of the next."""
    end, payload = _line(body, begin)
    try:
        header = _item_header.decode(memoryview(body)[begin:end])
    except _UNREADABLE:
        raise EnvelopeError(f"item {index}: the header must be a JSON object with a `type`") from None
    if header.length is None:
        end, following = _until_newline(body, payload)
        return Item(header.type, begin, payload, end), following
    end = payload + header.length
    if end > len(body):
        raise EnvelopeError(f"item {index}: the payload is shorter than its length")
    if end < len(body) and body[end] != _NEWLINE:
        raise EnvelopeError(f"item {index}: the payload does not end at its length")
    return Item(header.type, begin, payload, end), end + 1


def _line(body: bytes, begin: int) -> tuple[int, int]:
    end, following = _until_newline(body, begin)
    if end - begin > _MAX_HEADER:
        raise EnvelopeError(f"header too long (limit {_MAX_HEADER} bytes)")
    return end, following


def _until_newline(body: bytes, begin: int) -> tuple[int, int]:
    """Return the end of a line and the start of the next; both are the end of the body if there is none."""
    end = body.find(b"\n", begin)
    return (len(body), len(body)) if end < 0 else (end, end + 1)
