"""Turns what the document's two browser classes send into events of the catalogue. Pure.

PerformanceMonitor posts milliseconds to /api/metrics; RealUserMonitoring beacons vitals and interactions. Their known
faults are handled here: NaN arrives as null, CLS is multiplied by 1000, FID no longer exists in browsers.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from exporter.events.decode import DecodeError, Reason, named
from exporter.events.vitals import rating

Text = Annotated[str, msgspec.Meta(max_length=2000)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]

_OPERATION = re.compile(r"^\s*(?:with\b.*?\)\s*)?(select|insert|update|delete)\b", re.IGNORECASE | re.DOTALL)
_DDL = re.compile(r"^\s*(create|alter|drop|truncate)\b", re.IGNORECASE)
_TRANSACTION = re.compile(r"^\s*(begin|commit|rollback|start\s+transaction|savepoint)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:from|into|update|join)\s+[\"`]?(?:\w+[\"`]?\.[\"`]?)?(\w+)", re.IGNORECASE)
_ERROR = re.compile(r"\b([A-Z]\w{0,40}Error)\b")


class Fields(NamedTuple):
    """Type, fields and id of an event of the catalogue."""

    type: str
    data: dict[str, Any]
    id: str = ""


class _PageLoad(msgspec.Struct, frozen=True, rename="camel"):
    page: Text
    total_load_time: Milliseconds
    dom_content_loaded: Milliseconds | None = None
    load_complete: Milliseconds | None = None
    render_time: Milliseconds | None = None
    dom_interactive: Milliseconds | None = None


class _ApiCall(msgspec.Struct, frozen=True):
    endpoint: Text
    duration: Milliseconds
    method: Text = ""
    status: Literal["success", "error"] = "success"


class _Query(msgspec.Struct, frozen=True):
    query: Annotated[str, msgspec.Meta(max_length=60_000)]
    duration: Milliseconds


class _Vital(msgspec.Struct, frozen=True):
    metric: Literal["CLS", "FID", "FCP", "LCP", "TTFB", "INP"]
    value: Milliseconds
    page: Text
    id: Annotated[str, msgspec.Meta(max_length=200)] = ""


class _Envelope(msgspec.Struct, frozen=True):
    type: Annotated[str, msgspec.Meta(max_length=100)]
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Click(msgspec.Struct, frozen=True):
    element: Text = ""
    page: Text = ""


class _Form(msgspec.Struct, frozen=True, rename="camel"):
    # A form without an id or name sends an empty string; one with an input named "id" sends an object.
    form_id: Any = None
    form_name: Any = None


class _Error(msgspec.Struct, frozen=True):
    message: Any = None
    reason: Any = None


def metric(body: bytes) -> Fields:
    """Decode POST /api/metrics; DecodeError names what is wrong."""
    envelope = _decode(body, _Envelope, "")
    match envelope.type:
        case "page_load":
            load = _decode(envelope.data, _PageLoad, "data.")
            times = {
                "dom_content_loaded": load.dom_content_loaded,
                "load_complete": load.load_complete,
                "render": load.render_time,
                "interactive": load.dom_interactive,
            }
            known = {name: time / 1000 for name, time in times.items() if time is not None}
            return Fields("page_load", {"page": load.page, "total": load.total_load_time / 1000, **known})
        case "api_call":
            call = _decode(envelope.data, _ApiCall, "data.")
            outcome = "failure" if call.status == "error" else "success"
            values = {"endpoint": call.endpoint, "method": call.method, "outcome": outcome}
            return Fields("api_call", {**values, "duration": call.duration / 1000})
        case "database_query":
            query = _decode(envelope.data, _Query, "data.")
            operation, table = statement(query.query)
            return Fields("db_query", {"operation": operation, "table": table, "duration": query.duration / 1000})
    raise DecodeError(Reason.UNKNOWN_TYPE, "unknown type (expected page_load, api_call or database_query)", "type")


def vital(body: bytes) -> Fields:
    """Decode POST /api/rum/vitals; a later event with the same id replaces the earlier one."""
    report = _decode(body, _Vital, "")
    name, value = report.metric, report.value / 1000 if report.metric == "CLS" else report.value
    unit = {"score": value} if name == "CLS" else {"seconds": value / 1000}
    fields = {"vital": name, "page": report.page, "rating": rating(name, value), **unit}
    return Fields("web_vital", fields, report.id)


def interaction(body: bytes, page: str) -> Fields:
    """Decode POST /api/rum/events; ``page`` is the Referer."""
    envelope = _decode(body, _Envelope, "")
    match envelope.type:
        case "click":
            click = _decode(envelope.data, _Click, "data.")
            element = {"a": "link"}.get(click.element.lower(), click.element.lower())
            return Fields("click", {"page": click.page or page, "element": element})
        case "form_submit":
            form = _decode(envelope.data, _Form, "data.")
            names = [name for name in (form.form_id, form.form_name) if isinstance(name, str) and name]
            return Fields("form_submit", {"form": names[0][:200] if names else ""})
        case "javascript_error" | "unhandled_promise_rejection":
            error = _decode(envelope.data, _Error, "data.")
            text = error.message if envelope.type == "javascript_error" else error.reason
            kind = _ERROR.search(text[:2000]) if isinstance(text, str) else None
            name = "javascript_error" if envelope.type == "javascript_error" else "unhandled_rejection"
            return Fields(name, {"page": page, "kind": kind[1] if kind else ""})
    known = "click, form_submit, javascript_error or unhandled_promise_rejection"
    raise DecodeError(Reason.UNKNOWN_TYPE, f"unknown type (expected {known})", "type")


def statement(query: str) -> tuple[str, str]:
    """Return operation and first table of an SQL statement; nothing else of it is kept, least of all its values."""
    match = _OPERATION.match(query)
    operation = match[1].lower() if match else "ddl" if _DDL.match(query) else ""
    if not operation and _TRANSACTION.match(query):
        operation = "transaction"
    table = _TABLE.search(query)
    return operation, table[1].lower() if table else ""


def _decode(body: bytes | msgspec.Raw, kind: type[Any], at: str) -> Any:  # noqa: ANN401  # an instance of kind
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise named(error, at) from error
