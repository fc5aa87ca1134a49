"""Writes the OpenAPI description of the exporter from the catalogue, so that it cannot be out of date. Pure."""

from typing import Any

from exporter.catalogue.file import EventSettings
from exporter.catalogue.model import Catalogue
from exporter.events.decode import Reason

Json = dict[str, Any]

_TYPES: dict[str, Json] = {
    "text": {"type": "string", "maxLength": 2000},
    "path": {"type": "string", "maxLength": 2000, "description": "a path or URL; query and fragment are cut off"},
    "status": {"type": "integer", "minimum": 100, "maximum": 599},
    "seconds": {"type": "number", "minimum": 0, "maximum": 3600},
    "elapsed": {"type": "number", "minimum": 0, "maximum": 31_536_000, "description": "seconds"},
    "score": {"type": "number", "minimum": 0, "maximum": 100},
    "rating": {"type": "integer", "minimum": 1, "maximum": 5},
    "ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "number": {"type": "number", "minimum": 0, "maximum": 1e12},
    "count": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "amount": {"type": "integer", "minimum": 0, "maximum": 10**9, "description": "in the currency's smallest unit"},
    "timestamp": {"type": "number", "minimum": 0, "maximum": 1e11, "description": "Unix seconds, or RFC 3339"},
    "identity": {"type": "string", "minLength": 1, "maxLength": 200, "description": "only a keyed hash is looked at"},
    "switch": {"type": "boolean"},
}
_TIME: Json = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "minimum": 0, "maximum": 1e14}]}
_SHORT: Json = {"type": "string", "maxLength": 200}


def document(catalogue: Catalogue, version: str, pulse: str) -> Json:
    """Give the OpenAPI 3.1 document; ``pulse`` is the path of the browser client's batches."""
    schemas = {name: _event(name, event) for name, event in catalogue.events.items()}
    private = [name for name, event in catalogue.events.items() if event.from_ != "public"]
    public = [name for name, event in catalogue.events.items() if event.from_ != "private"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HeyPeter exporter",
            "version": version,
            "description": "Events in, Prometheus metrics out. Retry 429, 503 and lost connections with the same "
            "batch_id, and nothing else.",
        },
        "paths": {
            "/api/events": {"post": _events(private)},
            pulse: {"post": _pulse(public)},
            "/metrics": {"get": _metrics()},
            "/-/healthy": {"get": _probe("The process runs.")},
            "/-/ready": {
                "get": {"summary": "It takes events.", "responses": _text("Ready.") | _text("Stopping.", 503)}
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas, "Answer": _answer(), "Problem": _problem(), "Client": _client()},
        },
    }


def _event(name: str, event: EventSettings) -> Json:
    properties, required = {}, []
    for field, written in event.fields.items():
        optional = isinstance(written, str) and written.endswith("?")
        found = {"enum": written} if isinstance(written, list) else dict(_TYPES[written.removesuffix("?")])
        properties[field] = {"anyOf": [found, {"type": "null"}]} if optional else found
        if not optional:
            required.append(field)
    data = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    envelope = {"type": {"const": name}, "data": data, "time": _TIME}
    envelope |= dict.fromkeys(("id", "source", "trace_id", "traceparent"), _SHORT)
    envelope["count"] = {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "description": "alike events; of servers",
    }
    needed = ["type", "data"] if required else ["type"]
    return {"type": "object", "properties": envelope, "required": needed}


def _batch(names: list[str], most: int) -> Json:
    events = {"type": "array", "maxItems": most, "items": {"oneOf": [_ref(name) for name in names]}}
    properties = {"batch_id": _SHORT, "sent_at": _TIME, "events": events, "client": _ref("Client")}
    return {"type": "object", "properties": properties, "required": ["events"], "additionalProperties": False}


def _events(names: list[str]) -> Json:
    one: Json = {"oneOf": [_ref(name) for name in names]}
    schema = {"anyOf": [_batch(names, 1000), {"type": "array", "maxItems": 1000, "items": one}, one]}
    answers = {
        "202": {"description": "What was accepted is on disk.", "content": _json("Answer")},
        **{str(status): _refused(text) for status, text in _PRIVATE.items()},
        "400": {
            "description": "Nothing of it could be counted.",
            "content": {"application/json": {"schema": {"anyOf": [_ref("Answer"), _ref("Problem")]}}},
        },
    }
    content = {"application/json": {"schema": schema}}
    return {
        "operationId": "sendEvents",
        "summary": "Events of servers: one, a list, a batch, or CloudEvents 1.0",
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": content},
        "responses": answers,
    }


_PRIVATE = {
    401: "The token is missing or wrong.",
    404: "No token is configured.",
    413: "Over 1 MiB: split it.",
    415: "Content-Encoding: gzip, deflate or none.",
    429: "The disk is behind; see Retry-After.",
    503: "Stopping, or the disk does not take it; see Retry-After.",
}
_PUBLIC = {**_PRIVATE, 400: "Nothing of it could be counted.", 403: "This origin may not post.", 413: "Over 64 KiB."}


def _pulse(names: list[str]) -> Json:
    answers = {str(status): _refused(text) for status, text in _PUBLIC.items() if status not in {401, 404}}
    origin = {"name": "Origin", "in": "header", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": "sendPulse",
        "summary": "Events of browsers; any Content-Type is taken as JSON, as sendBeacon sends it",
        "parameters": [origin],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _batch(names, 100)}}},
        "responses": {"204": {"description": "Taken, or counted before."}, **answers},
    }


def _metrics() -> Json:
    names = {"name": "name[]", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
    text = {"schema": {"type": "string"}}
    content = {"text/plain": text, "application/openmetrics-text": text}
    return {
        "operationId": "scrape",
        "summary": "All series, or only the families of these names",
        "parameters": [names],
        "responses": {"200": {"description": "The series.", "content": content}, "401": _refused("User or password.")},
    }


def _probe(summary: str) -> Json:
    return {"summary": summary, "responses": _text("It does.")}


def _text(description: str, status: int = 200) -> Json:
    return {str(status): {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}}


def _refused(description: str) -> Json:
    return {"description": description, "content": _json("Problem")}


def _json(name: str) -> Json:
    return {"application/json": {"schema": _ref(name)}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer() -> Json:
    count = {"type": "integer", "minimum": 0}
    reason = {"enum": [reason.value for reason in Reason]}
    text = {"type": "string"}
    one = {"index": count, "reason": reason, "field": text, "message": text}
    rejected = {"type": "object", "properties": one, "required": list(one), "additionalProperties": False}
    found = {"accepted": count, "duplicates": count, "rejected": {"type": "array", "maxItems": 100, "items": rejected}}
    found["rejected_total"] = count
    return {"type": "object", "properties": found, "required": list(found), "additionalProperties": False}


def _problem() -> Json:
    text = {"type": "string"}
    return {"type": "object", "properties": {"error": text, "reason": text, "field": text}, "required": ["error"]}


def _client() -> Json:
    found: Json = {
        "page_id": {"type": "string", "maxLength": 64},
        "sequence": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "session": {"type": "string", "maxLength": 64},
        "sample": {"type": "integer", "minimum": 1, "maximum": 1000},
        "automated": {"type": "boolean"},
    }
    return {"type": "object", "properties": found, "additionalProperties": False}
