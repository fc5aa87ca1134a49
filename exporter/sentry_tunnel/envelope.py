"""Finds the headers and items of a Sentry envelope without reading what its items say. Pure.

develop.sentry.dev/sdk/foundations/transport/envelopes/ has the grammar and the examples that the tests paste.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

_NEWLINE = 0x0A
# What msgspec raises; a RecursionError for brackets in brackets in brackets, thousands deep.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_LONGEST_HEADER = 64 * 1024  # bytes; as Sentry's own tunnel handler has it (sentry-javascript, tunnelForward.ts)
_MOST_ITEMS = 1000  # so that a body of tiny items cannot keep the loop busy
# Of a report, for anybody may send one, and a counter never goes back: entries, and events in one of them.
_MOST_ENTRIES, _MOST_DISCARDED = 100, 10_000
_PRIMARY = frozenset({"event", "transaction"})
# What makes no sense, and is not taken, without the event or transaction that it came with (as Relay drops it).
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
# A client report's reason -> ours (develop.sentry.dev/sdk/telemetry/client-reports/).
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
    """The bytes are no envelope; the text says where and never repeats them."""


class Item(NamedTuple):
    """One item: its type, and where its header begins, its payload begins and its payload ends."""

    type: str
    begin: int
    payload: int
    end: int

    @property
    def label(self) -> str:
        """Give the type as a metric label of a closed set."""
        kind = "profile" if self.type == "profile_chunk" else self.type
        return kind if kind in ITEMS else "other"

    @property
    def category(self) -> str:
        """Give the data category that rate limits speak of."""
        return _CATEGORIES.get(self.type, self.type)


class Envelope(NamedTuple):
    """What was found; ``body`` is the whole of it, byte by byte as it came."""

    body: bytes
    dsn: str
    header: int  # where the header ends
    items: tuple[Item, ...]

    def payload(self, item: Item) -> bytes:
        """Cut out what one item carries."""
        return self.body[item.payload : item.end]

    def only(self, kept: Iterable[Item]) -> bytes:
        """Write the envelope again with some of its items; header and items stay byte by byte what they were."""
        kept = tuple(kept)
        if kept == self.items:
            return self.body
        return b"\n".join((self.body[: self.header], *(self._written(item) for item in kept)))

    def dependants(self, owner: Item) -> list[Item]:
        """List the items that go where their event or transaction goes."""
        return [item for item in self.items if owner.type in _OWNERS.get(item.type, ())]

    def _written(self, item: Item) -> bytes:
        written = self.body[item.begin : item.end]
        # At the end of the body a header with no payload may lack its newline, which it needs once more follows.
        return written if self.body[item.payload - 1] == _NEWLINE else written + b"\n"


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
    """Find header and items; EnvelopeError for whatever is no envelope or names no DSN."""
    end, at = _line(body, 0)
    try:
        header = _header.decode(memoryview(body)[:end])
    except _UNREADABLE:
        raise EnvelopeError("the first line must be a JSON object with a dsn, which is a text") from None
    items: list[Item] = []
    alone = ""
    while at < len(body):
        if len(items) == _MOST_ITEMS:
            raise EnvelopeError(f"an envelope may have at most {_MOST_ITEMS} items")
        item, at = _item(body, at, len(items))
        if item.type in _PRIMARY:
            if alone:
                raise EnvelopeError(f"item {len(items)}: an envelope has one event or one transaction")
            alone = item.type
        items.append(item)
    return Envelope(body, header.dsn, end, tuple(items))


def level(payload: bytes) -> str:
    """Read the level of an event, which is ``error`` if it has none; empty if it cannot be told."""
    try:
        return _level.decode(payload).level
    except _UNREADABLE:
        return ""


def discarded(payload: bytes) -> list[tuple[str, int]]:
    """Read from a client report what the SDK gave up: our reasons, and how many each."""
    try:
        report = _report.decode(payload)
    except _UNREADABLE:
        return []
    entries = report.discarded_events[:_MOST_ENTRIES]
    return [(_REASONS.get(entry.reason, "other"), min(entry.quantity, _MOST_DISCARDED)) for entry in entries]


def _item(body: bytes, begin: int, index: int) -> tuple[Item, int]:
    """Find one item; the second number is where the next one begins."""
    end, payload = _line(body, begin)
    try:
        header = _item_header.decode(memoryview(body)[begin:end])
    except _UNREADABLE:
        raise EnvelopeError(f"item {index}: its header must be a JSON object with a type") from None
    if header.length is None:
        end, following = _until_newline(body, payload)
        return Item(header.type, begin, payload, end), following
    end = payload + header.length
    if end > len(body):
        raise EnvelopeError(f"item {index}: its payload is shorter than its length says")
    if end < len(body) and body[end] != _NEWLINE:
        raise EnvelopeError(f"item {index}: its payload does not end where its length says")
    return Item(header.type, begin, payload, end), end + 1


def _line(body: bytes, begin: int) -> tuple[int, int]:
    end, following = _until_newline(body, begin)
    if end - begin > _LONGEST_HEADER:
        raise EnvelopeError(f"a header may have at most {_LONGEST_HEADER} bytes")
    return end, following


def _until_newline(body: bytes, begin: int) -> tuple[int, int]:
    """Find the end of a line and the beginning of the next; at the end of the body, both are there."""
    end = body.find(b"\n", begin)
    return (len(body), len(body)) if end < 0 else (end, end + 1)
