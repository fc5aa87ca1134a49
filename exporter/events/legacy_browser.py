"""Turns what the document's two browser classes send into events of the catalogue. Pure.

PerformanceMonitor posts milliseconds to /api/metrics; RealUserMonitoring beacons vitals and interactions. What they
measure wrongly is known here: NaN arrives as null, CLS arrives multiplied by 1000, FID is gone from browsers.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from exporter.events.decode import DecodeError, Reason, named

Text = Annotated[str, msgspec.Meta(max_length=2000)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]

_OPERATION = re.compile(r"^\s*(?:with\b.*?\)\s*)?(select|insert|update|delete)\b", re.IGNORECASE | re.DOTALL)
_DDL = re.compile(r"^\s*(create|alter|drop|truncate)\b", re.IGNORECASE)
_TRANSACTION = re.compile(r"^\s*(begin|commit|rollback|start\s+transaction|savepoint)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:from|into|update|join)\s+[\"`]?(?:\w+[\"`]?\.[\"`]?)?(\w+)", re.IGNORECASE)
_ERROR = re.compile(r"\b([A-Z]\w{0,40}Error)\b")
# web.dev/articles/vitals: good up to the first, poor above the second; CLS without a unit, the others in ms
_RATINGS = {"LCP": (2500, 4000), "INP": (200, 500), "CLS": (0.1, 0.25), "FCP": (1800, 3000), "TTFB": (800, 1800)}
_RATINGS["FID"] = (100, 300)


class Found(NamedTuple):
    """The type, fields and id of an event of the catalogue."""

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
    # A form without id or name sends an empty text; one with an input named "id" sends an object.
    form_id: Any = None
    form_name: Any = None


class _Error(msgspec.Struct, frozen=True):
    message: Any = None
    reason: Any = None


def metric(body: bytes) -> Found:
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
            return Found("page_load", {"page": load.page, "total": load.total_load_time / 1000, **known})
        case "api_call":
            call = _decode(envelope.data, _ApiCall, "data.")
            outcome = "failure" if call.status == "error" else "success"
            values = {"endpoint": call.endpoint, "method": call.method, "outcome": outcome}
            return Found("api_call", {**values, "duration": call.duration / 1000})
        case "database_query":
            query = _decode(envelope.data, _Query, "data.")
            operation, table = statement(query.query)
            return Found("db_query", {"operation": operation, "table": table, "duration": query.duration / 1000})
    raise DecodeError(Reason.UNKNOWN_TYPE, "is none of page_load, api_call, database_query", "type")


def vital(body: bytes) -> Found:
    """Decode POST /api/rum/vitals; the event's id is the vital's, under which later values replace earlier ones."""
    given = _decode(body, _Vital, "")
    value = given.value / 1000 if given.metric == "CLS" else given.value
    good, poor = _RATINGS[given.metric]
    rating = "good" if value <= good else "needs-improvement" if value <= poor else "poor"
    unit = {"score": value} if given.metric == "CLS" else {"seconds": value / 1000}
    return Found("web_vital", {"vital": given.metric, "page": given.page, "rating": rating, **unit}, given.id)


def interaction(body: bytes, page: str) -> Found:
    """Decode POST /api/rum/events; ``page`` is where the browser says that it was (Referer)."""
    envelope = _decode(body, _Envelope, "")
    match envelope.type:
        case "click":
            click = _decode(envelope.data, _Click, "data.")
            element = {"a": "link"}.get(click.element.lower(), click.element.lower())
            return Found("click", {"page": click.page or page, "element": element})
        case "form_submit":
            form = _decode(envelope.data, _Form, "data.")
            names = [name for name in (form.form_id, form.form_name) if isinstance(name, str) and name]
            return Found("form_submit", {"form": names[0][:200] if names else ""})
        case "javascript_error" | "unhandled_promise_rejection":
            error = _decode(envelope.data, _Error, "data.")
            text = error.message if envelope.type == "javascript_error" else error.reason
            kind = _ERROR.search(text[:2000]) if isinstance(text, str) else None
            name = "javascript_error" if envelope.type == "javascript_error" else "unhandled_rejection"
            return Found(name, {"page": page, "kind": kind[1] if kind else ""})
    known = "click, form_submit, javascript_error, unhandled_promise_rejection"
    raise DecodeError(Reason.UNKNOWN_TYPE, f"is none of {known}", "type")


def statement(query: str) -> tuple[str, str]:
    """Give operation and first table of an SQL text; nothing else of it survives, least of all its values."""
    found = _OPERATION.match(query)
    operation = found[1].lower() if found else "ddl" if _DDL.match(query) else ""
    if not operation and _TRANSACTION.match(query):
        operation = "transaction"
    table = _TABLE.search(query)
    return operation, table[1].lower() if table else ""


def _decode(body: bytes | msgspec.Raw, kind: type[Any], at: str) -> Any:  # noqa: ANN401  # an instance of kind
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise named(error, at) from error
