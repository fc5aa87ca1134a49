"""Turns CloudEvents 1.0 over HTTP (structured, batched, binary) into bodies that the decoder knows. Pure.

Our own events have the attributes of CloudEvents, so structured and batched bodies are used as they are; a binary one
has its attributes in headers (github.com/cloudevents/spec, HTTP protocol binding 1.0.2, 3.1).
"""

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from exporter.events.decode import BOM, UNDECODABLE, DecodeError, Reason, named

_OURS = {"id", "source", "time", "traceparent", "type"}


def body(raw: bytes, headers: Mapping[str, str], content_type: str) -> bytes:
    """Return the JSON to decode; DecodeError for a CloudEvent of another version or with data that is not JSON."""
    raw = raw.removeprefix(BOM)
    version = headers.get("ce-specversion")
    if version is None:
        if content_type == "application/cloudevents+json":
            _check(raw)
        return raw
    if version != "1.0":
        raise DecodeError(Reason.SCHEMA, f"unsupported version {version[:20]!r} (expected 1.0)", "ce-specversion")
    if content_type not in {"application/json", "application/octet-stream", ""} and not content_type.endswith("+json"):
        raise DecodeError(Reason.SCHEMA, "the data of a CloudEvent must be application/json", "content-type")
    return _binary(raw, headers)


def _binary(raw: bytes, headers: Mapping[str, str]) -> bytes:
    event: dict[str, object] = {}
    for name, value in headers.items():
        attribute = name.lower().removeprefix("ce-")
        if name.lower().startswith("ce-") and attribute in _OURS:
            event[attribute] = unquote(value)
    for needed in ("id", "source", "type"):
        if not event.get(needed):
            raise DecodeError(Reason.SCHEMA, "required for a CloudEvent", f"ce-{needed}")
    if raw.strip():
        try:
            msgspec.json.decode(raw)
        except UNDECODABLE as error:
            raise named(error, "data") from error
        event["data"] = msgspec.Raw(raw)
    return msgspec.json.encode(event)


class _Structured(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str


def _check(raw: bytes) -> None:
    try:
        event = msgspec.json.decode(raw, type=_Structured)
    except UNDECODABLE as error:
        reason = Reason.SCHEMA if isinstance(error, msgspec.ValidationError) else Reason.BAD_JSON
        raise DecodeError(reason, f"not a CloudEvent: {error}") from error
    if event.specversion != "1.0":
        raise DecodeError(
            Reason.SCHEMA, f"unsupported version {event.specversion[:20]!r} (expected 1.0)", "specversion"
        )
