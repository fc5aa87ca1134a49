"""Turns the bodies that servers and our browser client send into events of the catalogue, or into named errors. Pure.

msgspec rejects NaN, Infinity and 1e999, booleans for numbers, and whatever is out of range: a single NaN would make a
counter NaN for ever. Every bound stands here once; web/openapi.py is generated from these types.
"""

import difflib
import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, cast

import msgspec

from exporter.catalogue.model import Catalogue, Fields

BOM = b"\xef\xbb\xbf"  # some editors and .NET write it before UTF-8; RFC 8259, 8.1 lets a parser ignore it
MAX_SECONDS, MAX_SCORE = 3600, 100  # of a duration, and of a layout shift
MAX_TEXT = 2000  # characters of a text or path that are read
_TOO_LONG = f"Expected `str` of length <= {MAX_TEXT}"

Short = Annotated[str, msgspec.Meta(max_length=200)]
_RFC3339 = Annotated[datetime, msgspec.Meta(tz=True, extra_json_schema={"format": "date-time"})]
Time = _RFC3339 | Annotated[float, msgspec.Meta(ge=0, le=1e14, description="Unix time in seconds or milliseconds")]


class Reason(StrEnum):
    """Why something was not counted: the closed vocabulary of answers and of the metric label `reason`."""

    BAD_JSON = "bad_json"
    SCHEMA = "schema"
    VALUE_RANGE = "value_range"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    TOO_SLOW = "too_slow"
    TOO_OLD = "too_old"
    FUTURE = "future"
    BAD_ENCODING = "bad_encoding"
    ORIGIN = "origin"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    CONSENT = "consent"
    PRERENDER = "prerender"
    NOISE = "noise"
    STORAGE = "storage"
    ABANDONED = "abandoned"


# What msgspec raises for a body that is no JSON, not UTF-8, not of the type, or nested a thousand deep.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class DecodeError(Exception):
    """The input is not an event; ``field`` says where."""

    def __init__(self, reason: Reason, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.message, self.field = reason, message, field


_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", omit_defaults=True):
    """Something that happened. Each type of the catalogue has its own struct, whose ``data`` has its fields.

    ``id``, ``source`` and ``count`` are ignored from browsers, but for the id of a vital; ``count`` lets a server send
    one event for many identical ones. The envelope is that of CloudEvents 1.0; its other attributes are ignored.
    """

    data: Any = None
    id: Short = ""
    source: Short = ""
    time: Time | None = None
    trace_id: Short = ""
    traceparent: Short = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000, description="identical events; from servers only")] = 1

    @property
    def type(self) -> str:
        """The event's name in the catalogue."""
        return str(self.__struct_config__.tag)

    @property
    def trace(self) -> str:
        """The trace's id, 32 hexadecimal digits as W3C Trace Context has it; empty if it is anything else."""
        if self.trace_id:
            trace_id = self.trace_id.lower()
            return trace_id if _TRACE.fullmatch(trace_id) else ""
        match = _TRACEPARENT.fullmatch(self.traceparent)
        return match[1] if match else ""


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What our browser client says about its page."""

    page_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    sequence: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    session: Annotated[str, msgspec.Meta(max_length=64)] = ""
    sample: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    automated: bool = False


class Batch(msgspec.Struct, frozen=True):
    """The events of one request, and the errors of those that could not be decoded, by index."""

    events: Sequence[Event]
    errors: Sequence[tuple[int, DecodeError]] = ()
    id: str = ""
    sent_at: Time | None = None
    client: Client = Client()


_TYPES: dict[str, Any] = {
    "text": Annotated[str, msgspec.Meta(max_length=MAX_TEXT)],
    "path": Annotated[
        str, msgspec.Meta(max_length=MAX_TEXT, description="a path or URL; query and fragment are cut off")
    ],
    "status": Annotated[int, msgspec.Meta(ge=100, le=599)],
    "seconds": Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)],
    "elapsed": Annotated[float, msgspec.Meta(ge=0, le=31_536_000, description="seconds")],
    "score": Annotated[float, msgspec.Meta(ge=0, le=MAX_SCORE)],
    "rating": Annotated[int, msgspec.Meta(ge=1, le=5)],
    "ratio": Annotated[float, msgspec.Meta(ge=0, le=1)],
    "number": Annotated[float, msgspec.Meta(ge=0, le=1e12)],
    "count": Annotated[int, msgspec.Meta(ge=1, le=10_000)],
    "amount": Annotated[int, msgspec.Meta(ge=0, le=10**9, description="in the currency's smallest unit")],
    "timestamp": Annotated[float, msgspec.Meta(ge=0, le=1e11, description="Unix seconds")] | _RFC3339,
    "identity": Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="kept only as a keyed hash")],
    "switch": bool,
}
_EXACT = 2.0**53  # up to here a float holds each whole number; larger ones cannot be encoded as JSON again
_PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")
_RANGE = re.compile(r"^Expected `(?:int|float)` [<>]=")


def field_type(written: str | list[str]) -> tuple[Any, bool]:
    """Read a field's type as the catalogue writes it; the second value says whether the field is optional."""
    if isinstance(written, list):
        return Literal[tuple(written)], False
    name, optional = written.removesuffix("?"), written.endswith("?")
    if name not in _TYPES:
        raise DecodeError(Reason.SCHEMA, f"unknown type {written!r} (expected {', '.join(_TYPES)} or a list of words)")
    return _TYPES[name], optional


class Schema:
    """The struct of each type of event, built once from the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.types = {name: _struct(name, event.fields) for name, event in catalogue.events.items()}

    def make(self, name: str, event_id: str = "", **data: object) -> Event:
        """Build an event from checked fields; DecodeError if the catalogue has no such event, or no such fields."""
        kind = self.types.get(name)
        if kind is None:
            raise DecodeError(Reason.UNKNOWN_TYPE, f"the catalogue has no event {name!r}", "type")
        try:
            return kind(data=kind.__annotations__["data"](**data), id=event_id)
        except TypeError as error:
            raise DecodeError(Reason.SCHEMA, f"the catalogue's event {name!r} has other fields", "type") from error

    def public(self) -> dict[str, type[Event]]:
        """Return the types that browsers may send."""
        return {name: kind for name, kind in self.types.items() if self._catalogue.events[name].from_ != "private"}

    def private(self) -> dict[str, type[Event]]:
        """Return the types that servers may send."""
        return {name: kind for name, kind in self.types.items() if self._catalogue.events[name].from_ != "public"}


class Decoder:
    """Decodes one event, a list, or {"batch_id", "sent_at", "client", "events"}, with at most ``limit`` events.

    ``event_type``, ``list_type`` and ``batch_type`` are what it decodes; ``name`` is the name of the last one.
    """

    def __init__(self, types: dict[str, type[Event]], limit: int, name: str = "Batch") -> None:
        self._types, self._limit = types, limit
        union: Any = Union[tuple(types.values()) or (Event,)]  # noqa: UP007  # of types known only at run time
        events: Any = Annotated[list[union], msgspec.Meta(max_length=limit if types else 0)]
        self.event_type, self.list_type = union, events
        self.batch_type = msgspec.defstruct(name, [("events", events), *_BATCH], forbid_unknown_fields=True, gc=False)
        self._batch: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self.batch_type)
        self._list: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(self.list_type)
        self._one = {name: msgspec.json.Decoder(kind) for name, kind in types.items()}
        self._kind = msgspec.json.Decoder(_Kind)
        self._raws = msgspec.json.Decoder(list[msgspec.Raw])
        self._envelope: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            msgspec.defstruct("Envelope", [("events", list[msgspec.Raw]), *_BATCH], forbid_unknown_fields=True)
        )

    def decode(self, body: bytes) -> Batch:
        """Decode a body; DecodeError if it is not a batch, else the good events and the errors of the others.

        A faultless batch is decoded in one go; any other is decoded event by event to find the faulty ones.
        """
        body = body.removeprefix(BOM)
        try:
            if body[:1] == b"[":
                return Batch(self._list.decode(body))
            batch = self._batch.decode(body)
            return Batch(batch.events, (), batch.batch_id, batch.sent_at, batch.client)
        except UNDECODABLE:
            return self._one_by_one(body)

    def _one_by_one(self, body: bytes) -> Batch:
        raws, envelope = self._split(body)
        if len(raws) > self._limit:
            message = f"{len(raws)} events in one request, at most {self._limit} are allowed; split the batch"
            raise DecodeError(Reason.TOO_MANY, message, "events")
        events: list[Event] = []
        errors: list[tuple[int, DecodeError]] = []
        for index, raw in enumerate(raws):
            try:
                events.append(self.event(raw))
            except DecodeError as error:
                errors.append((index, error))
        if envelope is None:
            return Batch(events, errors)
        return Batch(events, errors, envelope.batch_id, envelope.sent_at, envelope.client)

    def _split(self, body: bytes) -> tuple[list[msgspec.Raw], Any]:
        try:
            if body.lstrip()[:1] == b"[":
                return self._raws.decode(body), None
            keys = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            if "events" in keys:
                envelope = self._decoded_envelope(keys)
                return envelope.events, envelope
        except UNDECODABLE as error:
            raise named(error) from error
        return [msgspec.Raw(body)], None

    def _decoded_envelope(self, keys: dict[str, msgspec.Raw]) -> Any:  # noqa: ANN401  # of a type made above
        """Decode what is around the events, which may have whole numbers as 3.0."""
        if "client" in keys:
            keys["client"] = msgspec.Raw(msgspec.json.encode(_whole(msgspec.json.decode(keys["client"]))))
        return self._envelope.decode(msgspec.json.encode(keys))

    def event(self, raw: msgspec.Raw | bytes) -> Event:
        """Decode one event; DecodeError names what is wrong and where."""
        try:
            kind = self._kind.decode(raw).type
            decoder = self._one.get(kind)
            if decoder is None:
                near = difflib.get_close_matches(kind, self._types, 1)
                hint = f"did you mean {near[0]!r}?" if near else "see docs/metrics.md for the list"
                raise DecodeError(Reason.UNKNOWN_TYPE, f"unknown event type {kind[:50]!r}; {hint}", "type")
            return self._lenient(raw, kind, decoder)
        except UNDECODABLE as error:
            raise named(error) from error

    def _lenient(self, raw: msgspec.Raw | bytes, kind: str, decoder: msgspec.json.Decoder[Event]) -> Event:
        """Decode an event that may have whole numbers as 4900.0: JSON has one kind of number, msgspec has two.

        A text or path of a stranger, such as that of a request, may have any length: it is cut, and the event counts.
        """
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            if not str(error).startswith(("Expected `int`, got `float`", _TOO_LONG)):
                raise
            fields = _whole(msgspec.json.decode(raw))
            if isinstance(fields.get("data"), dict):
                fields["data"] = {
                    name: value[:MAX_TEXT] if isinstance(value, str) else value
                    for name, value in fields["data"].items()
                }
            event: Event = msgspec.convert(fields, self._types[kind])
            return event


def _whole(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _whole(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


class _Kind(msgspec.Struct):
    type: Annotated[str, msgspec.Meta(max_length=100)]


_BATCH: list[tuple[str, Any, Any]] = [
    ("batch_id", Short, ""),
    ("sent_at", Time | None, None),
    ("client", Client, Client()),
]


def _struct(name: str, fields: Fields) -> type[Event]:
    attributes: list[Any] = []
    for field, written in fields.items():
        kind, optional = field_type(written)
        attributes.append((field, kind | None, None) if optional else (field, kind))
    data = msgspec.defstruct(
        f"{name}_data",
        attributes,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
    )
    required = any(len(attribute) == 2 for attribute in attributes)  # noqa: PLR2004  # a pair has no default
    attributes = [("data", data) if required else ("data", data, msgspec.field(default_factory=data))]
    struct: Any = msgspec.defstruct(
        name, attributes, bases=(Event,), tag=name, frozen=True, kw_only=True, omit_defaults=True, gc=False
    )
    return cast("type[Event]", struct)


def seconds(time: datetime | float) -> float:
    """Return Unix seconds for a time given as RFC 3339, in seconds, or in milliseconds as browsers count."""
    if isinstance(time, datetime):
        return time.timestamp()
    return time / 1000 if time > 1e11 else time  # noqa: PLR2004  # 1e11 s is the year 5138, 1e11 ms is 1973


def named(error: Exception, at: str = "") -> DecodeError:
    """Split msgspec's message into what is wrong and where; its messages never repeat the input."""
    if isinstance(error, UnicodeDecodeError):
        return DecodeError(Reason.BAD_JSON, "not UTF-8", at.rstrip("."))
    if isinstance(error, RecursionError):
        return DecodeError(Reason.BAD_JSON, "nested too deeply", at.rstrip("."))
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return DecodeError(Reason.BAD_JSON, f"not JSON: {text}", at.rstrip("."))
    match = _PLACE.search(text)
    place = match["place"] if match else ""
    word = re.search(r"field `([^`]+)`", text)
    field = at + (f"{place}.{word[1]}" if place and word else place or (word[1] if word else ""))
    reason = Reason.VALUE_RANGE if _RANGE.match(text) else Reason.SCHEMA
    return DecodeError(reason, text[: match.start()] if match else text, field)
