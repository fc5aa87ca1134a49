"""Turns request bodies into events: the catalogue's own, and what the document's browser classes send. Pure.

msgspec refuses NaN, Infinity and 1e999, booleans for numbers, and whatever is out of range: one bad number must
never reach a counter, which it would poison for ever.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from exporter.catalogue import Catalogue, Fields

BATCH = 1000  # events in one request


class Reason(StrEnum):
    """Why something was not counted: the closed vocabulary of answers and of the metric label `reason`."""

    BAD_JSON = "bad_json"
    SCHEMA = "schema"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    BAD_ENCODING = "bad_encoding"
    ORIGIN = "origin"
    AUTH = "auth"


class DecodeError(Exception):
    """Not an event; ``field`` names the place."""

    def __init__(self, reason: Reason, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.message, self.field = reason, message, field


class Event(msgspec.Struct, frozen=True):
    """Something that happened: ``values`` by field name; a field that was left out is absent."""

    type: str
    values: dict[str, Any]
    id: str = ""


class Batch(msgspec.Struct, frozen=True):
    """The events of one request, and the errors of those that are none, by index."""

    events: tuple[tuple[int, Event], ...]
    errors: tuple[tuple[int, DecodeError], ...]
    id: str = ""


Text = Annotated[str, msgspec.Meta(max_length=2000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
_TYPES: dict[str, Any] = {
    "text": Text,
    "path": Text,
    "status": Annotated[int, msgspec.Meta(ge=100, le=599)],
    "seconds": Seconds,
    "milliseconds": Milliseconds,
    "score": Annotated[float, msgspec.Meta(ge=0, le=100)],
    "amount": Annotated[int, msgspec.Meta(ge=0, le=10**9)],
}
_PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")


class _Envelope(msgspec.Struct, frozen=True):
    type: Annotated[str, msgspec.Meta(max_length=100)]
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    time: datetime | None = None


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: list[msgspec.Raw]
    batch_id: Annotated[str, msgspec.Meta(max_length=200)] = ""


def field_type(written: str | list[str]) -> tuple[Any, bool]:
    """Read a field's type as the catalogue writes it; the second value says whether it may be left out."""
    if isinstance(written, list):
        return Literal[tuple(written)], False
    name, optional = written.removesuffix("?"), written.endswith("?")
    if name not in _TYPES:
        raise DecodeError(Reason.SCHEMA, f"{written!r} is no type; use one of {', '.join(_TYPES)}, or a list of words")
    return _TYPES[name], optional


class Decoder:
    """Decodes what servers send: one event, a list, or {"batch_id", "events"}, each of a type of the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._data = {
            name: msgspec.json.Decoder(_struct(name, event.fields))
            for name, event in catalogue.events.items()
            if event.from_ != "public"
        }
        self._envelope = msgspec.json.Decoder(_Envelope)
        self._many = msgspec.json.Decoder(list[msgspec.Raw])
        self._batch = msgspec.json.Decoder(_Batch)

    def decode(self, body: bytes) -> Batch:
        """Decode a body; DecodeError if it is no batch at all, else the good events and the errors of the others."""
        raws, batch_id = self._split(body)
        if len(raws) > BATCH:
            raise DecodeError(Reason.TOO_MANY, f"at most {BATCH} events in one request; this has {len(raws)}", "events")
        events, errors = [], []
        for index, raw in enumerate(raws):
            try:
                events.append((index, self._event(raw)))
            except DecodeError as error:
                errors.append((index, error))
        return Batch(tuple(events), tuple(errors), batch_id)

    def _split(self, body: bytes) -> tuple[list[msgspec.Raw], str]:
        try:
            start = body.lstrip()[:1]
            if start == b"[":
                return self._many.decode(body), ""
            keys = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            if "events" in keys:
                batch = self._batch.decode(body)
                return batch.events, batch.batch_id
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise named(error) from error
        return [msgspec.Raw(body)], ""

    def _event(self, raw: msgspec.Raw) -> Event:
        try:
            envelope = self._envelope.decode(raw)
            decoder = self._data.get(envelope.type)
            if decoder is None:
                known = ", ".join(sorted(self._data))
                raise DecodeError(Reason.UNKNOWN_TYPE, f"{envelope.type[:50]!r} is none of {known}", "type")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise named(error) from error
        try:
            data = decoder.decode(envelope.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise named(error, "data.") from error
        return Event(envelope.type, _present(data), envelope.id)


def _struct(name: str, fields: Fields) -> type[msgspec.Struct]:
    described = []
    for field, written in fields.items():
        kind, optional = field_type(written)
        described.append((field, kind | None, None) if optional else (field, kind))
    return msgspec.defstruct(name, described, frozen=True, kw_only=True, forbid_unknown_fields=True)


def _present(data: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name in data.__struct_fields__ if (value := getattr(data, name)) is not None}


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
    return DecodeError(
        Reason.SCHEMA, text[: match.start()] if match else text, at + (place or (word[1] if word else ""))
    )
