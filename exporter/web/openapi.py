"""Generates the OpenAPI description from the types that the exporter decodes and answers. Pure."""

from typing import Any

import msgspec

from exporter.accept import Answer
from exporter.events.decode import Decoder
from exporter.web import browser_events, server_events

Json = dict[str, Any]


def document(servers: Decoder, browsers: Decoder, version: str, pulse: str) -> Json:
    """Return the OpenAPI 3.1 document; ``pulse`` is the path of the browser client's batches."""
    types = (servers.batch_type, servers.list_type, servers.event_type, browsers.batch_type, Answer)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    server_batch, server_list, server_event, browser_batch, answer = schemas
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HeyPeter exporter",
            "version": version,
            "description": "Turns events into Prometheus metrics. On 429, 503 or a lost connection, retry with the "
            "same batch_id; never retry on any other status.",
        },
        "paths": {
            "/api/events": {"post": _events({"anyOf": [server_batch, server_list, server_event]}, answer)},
            pulse: {"post": _pulse(browser_batch)},
            "/metrics": {"get": _metrics()},
            "/-/healthy": {"get": {"summary": "Liveness", "responses": _text("The process is running.")}},
            "/-/ready": {
                "get": {"summary": "Readiness", "responses": _text("Ready.") | _text("The process is stopping.", 503)}
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**components, "Problem": _PROBLEM},
        },
    }


def _events(body: Json, answer: Json) -> Json:
    return {
        "operationId": "sendEvents",
        "summary": "Events from servers: one, a list, a batch, or CloudEvents 1.0",
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            "202": {"description": "The accepted events are on disk.", "content": _json(answer)},
            "400": {"description": "No event could be counted.", "content": _json({"anyOf": [answer, _PROBLEM_REF]})},
            "401": _problem("The token is missing or wrong."),
            "404": _problem("No token is configured."),
            "429": _problem("The disk is behind; see Retry-After."),
            "503": _problem("Stopping, or the disk failed; see Retry-After."),
            **_body_problems(server_events.MAX_BODY),
        },
    }


def _pulse(body: Json) -> Json:
    origin = {"name": "Origin", "in": "header", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": "sendPulse",
        "summary": "Events from browsers; any Content-Type is read as JSON, because sendBeacon sends text/plain",
        "parameters": [origin],
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            "204": {"description": "Accepted, or accepted before."},
            "400": _problem("No event could be counted."),
            "403": _problem("The origin is not allowed."),
            "429": _problem("Rate limit exceeded; see Retry-After."),
            "503": _problem("Stopping, or the disk failed; see Retry-After."),
            **_body_problems(browser_events.MAX_BODY),
        },
    }


def _metrics() -> Json:
    names = {"name": "name[]", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
    text = {"schema": {"type": "string"}}
    content = {"text/plain": text, "application/openmetrics-text": text}
    return {
        "operationId": "scrape",
        "summary": "All series, or only the named families",
        "parameters": [names],
        "responses": {
            "200": {"description": "The series.", "content": content},
            "401": _problem("User or password is missing or wrong."),
        },
    }


def _body_problems(limit: int) -> Json:
    return {
        "413": _problem(f"The body is larger than {limit // 1024} KiB; split the batch."),
        "415": _problem("Unsupported Content-Encoding (expected gzip, deflate or none)."),
    }


# What process.web.problem answers.
_TEXT: Json = {"type": "string"}
_PROBLEM: Json = {
    "type": "object",
    "properties": {"error": _TEXT, "reason": _TEXT, "field": _TEXT},
    "required": ["error"],
}
_PROBLEM_REF: Json = {"$ref": "#/components/schemas/Problem"}


def _problem(description: str) -> Json:
    return {"description": description, "content": _json(_PROBLEM_REF)}


def _text(description: str, status: int = 200) -> Json:
    return {str(status): {"description": description, "content": {"text/plain": {"schema": _TEXT}}}}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
