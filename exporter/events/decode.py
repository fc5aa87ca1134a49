"""Turns the bodies that servers and our browser client send into events of the catalogue, or into named errors. Pure.

msgspec refuses NaN, Infinity and 1e999, booleans for numbers, and whatever is out of range: one bad number must
never reach a counter, which it would poison for ever.
"""

import difflib
import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Union

import msgspec

from exporter.catalogue.file import Fields
from exporter.catalogue.model import Catalogue

Short = Annotated[str, msgspec.Meta(max_length=200)]


class Reason(StrEnum):
    """Why something was not counted: the closed vocabulary of answers and of the metric label `reason`."""

    BAD_JSON = "bad_json"
    SCHEMA = "schema"
    VALUE_RANGE = "value_range"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    TOO_OLD = "too_old"
    FUTURE = "future"
    BAD_ENCODING = "bad_encoding"
    ORIGIN = "origin"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    CONSENT = "consent"
    STORAGE = "storage"
    DRAINING = "draining"


class DecodeError(Exception):
    """Not an event; ``field`` names the place."""

    def __init__(self, reason: Reason, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.message, self.field = reason, message, field


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """Something that happened. Each type of the catalogue has a struct of its own, whose ``data`` has its fields.

    ``time`` is RFC 3339, or Unix time in seconds or milliseconds. ``count`` lets a server say once what happened often:
    the event stands for so many that are alike; what a browser says there is not looked at. The envelope is that of
    CloudEvents 1.0, so other attributes of theirs may stand beside these and are ignored.
    """

    data: Any = None
    id: Short = ""
    source: Short = ""
    time: datetime | float | None = None
    trace_id: Short = ""
    traceparent: Short = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1

    @property
    def type(self) -> str:
        """The event's name in the catalogue."""
        return str(self.__struct_config__.tag)


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What our browser client says about the page that it is in."""

    page_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    sequence: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    session: Annotated[str, msgspec.Meta(max_length=64)] = ""
    sample: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    automated: bool = False


class Batch(msgspec.Struct, frozen=True):
    """The events of one request, and the errors of those that are none, by index."""

    events: Sequence[Event]
    errors: Sequence[tuple[int, DecodeError]] = ()
    id: str = ""
    sent_at: datetime | float | None = None
    client: Client = Client()


_TYPES: dict[str, Any] = {
    "text": Annotated[str, msgspec.Meta(max_length=2000)],
    "path": Annotated[str, msgspec.Meta(max_length=2000)],
    "status": Annotated[int, msgspec.Meta(ge=100, le=599)],
    "seconds": Annotated[float, msgspec.Meta(ge=0, le=3600)],
    "elapsed": Annotated[float, msgspec.Meta(ge=0, le=31_536_000)],
    "score": Annotated[float, msgspec.Meta(ge=0, le=100)],
    "rating": Annotated[int, msgspec.Meta(ge=1, le=5)],
    "ratio": Annotated[float, msgspec.Meta(ge=0, le=1)],
    "number": Annotated[float, msgspec.Meta(ge=0, le=1e12)],
    "count": Annotated[int, msgspec.Meta(ge=1, le=1_000_000)],
    "amount": Annotated[int, msgspec.Meta(ge=0, le=10**9)],
    "timestamp": Annotated[float, msgspec.Meta(ge=0, le=1e11)] | datetime,
    "identity": Annotated[str, msgspec.Meta(min_length=1, max_length=200)],
    "switch": bool,
}
_PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")
_RANGE = re.compile(r"^Expected `(?:int|float)` [<>]=")


def field_type(written: str | list[str]) -> tuple[Any, bool]:
    """Read a field's type as the catalogue writes it; the second value says whether it may be left out."""
    if isinstance(written, list):
        return Literal[tuple(written)], False
    name, optional = written.removesuffix("?"), written.endswith("?")
    if name not in _TYPES:
        raise DecodeError(Reason.SCHEMA, f"{written!r} is no type; use one of {', '.join(_TYPES)}, or a list of words")
    return _TYPES[name], optional


class Schema:
    """The struct of each type of event, made once from the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.types = {name: _struct(name, event.fields) for name, event in catalogue.events.items()}

    def make(self, name: str, event_id: str = "", **data: object) -> Event:
        """Build an event from fields that are already checked."""
        kind = self.types[name]
        return kind(data=kind.__annotations__["data"](**data), id=event_id)

    def public(self) -> dict[str, type[Event]]:
        """Give what browsers may send."""
        return {name: kind for name, kind in self.types.items() if self._catalogue.events[name].from_ != "private"}

    def private(self) -> dict[str, type[Event]]:
        """Give what servers may send."""
        return {name: kind for name, kind in self.types.items() if self._catalogue.events[name].from_ != "public"}


class Decoder:
    """Decodes one event, a list, or {"batch_id", "sent_at", "client", "events"}, each of one of the given types."""

    def __init__(self, types: dict[str, type[Event]], most: int) -> None:
        self._types, self._most = types, most
        union: Any = Union[tuple(types.values())]  # noqa: UP007  # of types known only at run time
        whole = msgspec.defstruct("Whole", [("events", list[union]), *_BATCH], forbid_unknown_fields=True, gc=False)
        self._whole: msgspec.json.Decoder[Any] = msgspec.json.Decoder(whole)
        self._list: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(list[union])
        self._one = {name: msgspec.json.Decoder(kind) for name, kind in types.items()}
        self._kind = msgspec.json.Decoder(_Kind)
        self._raws = msgspec.json.Decoder(list[msgspec.Raw])
        self._parts: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            msgspec.defstruct("Parts", [("events", list[msgspec.Raw]), *_BATCH], forbid_unknown_fields=True)
        )

    def decode(self, body: bytes) -> Batch:
        """Decode a body; DecodeError if it is no batch at all, else the good events and the errors of the others.

        A wholly good batch is decoded in one go; only one with a fault is taken apart to find which event it is.
        """
        try:
            if body[:1] == b"[":
                batch = Batch(self._list.decode(body))
            else:
                whole = self._whole.decode(body)
                batch = Batch(whole.events, (), whole.batch_id, whole.sent_at, whole.client)
        except (msgspec.DecodeError, UnicodeDecodeError):
            batch = self._by_parts(body)
        if len(batch.events) + len(batch.errors) > self._most:
            raise self._too_many(len(batch.events) + len(batch.errors))
        return batch

    def _by_parts(self, body: bytes) -> Batch:
        raws, whole = self._split(body)
        if len(raws) > self._most:
            raise self._too_many(len(raws))
        events: list[Event] = []
        errors: list[tuple[int, DecodeError]] = []
        for index, raw in enumerate(raws):
            try:
                events.append(self.event(raw))
            except DecodeError as error:
                errors.append((index, error))
        if whole is None:
            return Batch(events, errors)
        return Batch(events, errors, whole.batch_id, whole.sent_at, whole.client)

    def _split(self, body: bytes) -> tuple[list[msgspec.Raw], Any]:
        try:
            if body.lstrip()[:1] == b"[":
                return self._raws.decode(body), None
            keys = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            if "events" in keys:
                whole = self._parts.decode(body)
                return whole.events, whole
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise named(error) from error
        return [msgspec.Raw(body)], None

    def event(self, raw: msgspec.Raw | bytes) -> Event:
        """Decode one event; DecodeError names what is wrong and where."""
        try:
            kind = self._kind.decode(raw).type
            decoder = self._one.get(kind)
            if decoder is None:
                near = difflib.get_close_matches(kind, self._types, 1)
                hint = f"did you mean {near[0]!r}?" if near else "docs/metrics.md lists what may be sent here"
                raise DecodeError(Reason.UNKNOWN_TYPE, f"{kind[:50]!r} is no event; {hint}", "type")
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise named(error) from error

    def _too_many(self, found: int) -> DecodeError:
        return DecodeError(
            Reason.TOO_MANY, f"at most {self._most} events in one request; this has {found}: split it", "events"
        )


class _Kind(msgspec.Struct):
    type: Annotated[str, msgspec.Meta(max_length=100)]


_BATCH: list[tuple[str, Any, Any]] = [
    ("batch_id", Short, ""),
    ("sent_at", datetime | float | None, None),
    ("client", Client, Client()),
]


def _struct(name: str, fields: Fields) -> type[Event]:
    described: list[Any] = []
    for field, written in fields.items():
        kind, optional = field_type(written)
        described.append((field, kind | None, None) if optional else (field, kind))
    data = msgspec.defstruct(f"{name}_data", described, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False)
    required = any(len(field) == 2 for field in described)  # noqa: PLR2004  # a pair has no default
    described = [("data", data) if required else ("data", data, msgspec.field(default_factory=data))]
    found: Any = msgspec.defstruct(name, described, bases=(Event,), tag=name, frozen=True, kw_only=True, gc=False)
    made: type[Event] = found
    return made


def seconds(given: datetime | float) -> float:
    """Give Unix seconds for a time as it may be written: RFC 3339, seconds, or milliseconds as browsers count."""
    if isinstance(given, datetime):
        return given.timestamp()
    return given / 1000 if given > 1e11 else given  # noqa: PLR2004  # 1e11 s is the year 5138, 1e11 ms is 1973


def named(error: Exception, at: str = "") -> DecodeError:
    """Split msgspec's message into what and where; a message never repeats the input."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return DecodeError(
            Reason.BAD_JSON, f"not JSON: {text}" if isinstance(error, msgspec.DecodeError) else "not UTF-8"
        )
    match = _PLACE.search(text)
    place = match["place"] if match else ""
    word = re.search(r"field `([^`]+)`", text)
    field = at + (f"{place}.{word[1]}" if place and word else place or (word[1] if word else ""))
    reason = Reason.VALUE_RANGE if _RANGE.match(text) else Reason.SCHEMA
    return DecodeError(reason, text[: match.start()] if match else text, field)
