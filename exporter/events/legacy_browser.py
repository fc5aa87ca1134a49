"""Turns what the document's two browser classes send into events of the catalogue. Pure.

PerformanceMonitor posts milliseconds to /api/metrics; RealUserMonitoring beacons vitals and interactions. Their known
faults are handled here: NaN arrives as null, a page that has not loaded yet has negative times, CLS is multiplied by
1000, FID no longer exists in browsers. A part that cannot be is left out and counted; the rest of the event counts.
"""

import re
from collections.abc import Collection
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from exporter.events.decode import BOM, MAX_SCORE, MAX_SECONDS, UNDECODABLE, DecodeError, Reason, named
from exporter.events.sql import statement
from exporter.events.vitals import VITALS, rating

_MAX_TEXT, _MAX_QUERY, _MAX_ID, _MAX_SESSION = 2000, 60_000, 200, 64  # characters

# Errors of browser extensions, and a notice of browsers that nothing is the matter with: https://crbug.com/809574
_NOISE = re.compile(r"[a-z-]+-extension:|(?:Uncaught (?:Error: )?)?ResizeObserver loop")
# The first address of a stack is where it was thrown.
_ADDRESS = re.compile(r"[a-z-]{2,30}://\S")
# Ids of web-vitals before version 3, which gives 0 as the TTFB where the browser does not tell it (responseStart is 0).
_EARLY = re.compile(r"v[12]-")
_ERROR = re.compile(r"\b((?:[A-Z]\w{0,40})?Error)\b")


class Fields(NamedTuple):
    """Type, fields and id of an event of the catalogue, its session, and how many parts of it were left out."""

    type: str
    data: dict[str, Any]
    id: str = ""
    session: str = ""
    left_out: int = 0


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    type: Annotated[str, msgspec.Meta(max_length=100)]
    data: dict[str, Any] = {}
    session_id: Any = None


class _Parts:
    """Reads the parts of an event; those that cannot be are counted in ``left_out``."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data, self.left_out = data, 0

    def text(self, name: str, limit: int = _MAX_TEXT) -> str:
        """Return a text; "" if it is missing, too long or not a text."""
        value = self._data.get(name)
        if isinstance(value, str) and len(value) <= limit:
            return value
        self.left_out += value is not None
        return ""

    def seconds(self, name: str) -> float | None:
        """Return milliseconds as seconds; None if it is missing or cannot be. NaN arrives as null."""
        value = self._data.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS * 1000:
            return value / 1000
        self.left_out += value is not None
        return None

    def value(self, most: float, divisor: float) -> float:
        """Return the value of a vital, at most ``most`` after the division; DecodeError if there is none."""
        value = self._data.get("value")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
            raise DecodeError(Reason.VALUE_RANGE, "expected a number >= 0", "value")
        if value > most * divisor:  # first: a whole number of 400 digits cannot be divided
            self.left_out += 1
            return most
        return value / divisor


def metric(body: bytes, *, refuse: Collection[str] = ()) -> Fields:
    """Decode POST /api/metrics; DecodeError names what is wrong. An SQL text is not read if it is refused anyway."""
    envelope = _decode(body, _Envelope)
    parts = _Parts(envelope.data)
    match envelope.type:
        case "page_load":
            fields = {"page": parts.text("page"), **_times(parts)}
        case "api_call":
            outcome = "failure" if envelope.data.get("status") == "error" else "success"
            _require(envelope.data, "duration")
            values = {"endpoint": parts.text("endpoint"), "method": parts.text("method"), "outcome": outcome}
            fields = {**values, "duration": parts.seconds("duration")}
        case "database_query":
            check_allowed("db_query", refuse)
            _require(envelope.data, "duration")
            operation, table = statement(parts.text("query", _MAX_QUERY))
            return Fields(
                "db_query",
                {"operation": operation, "table": table, "duration": parts.seconds("duration")},
                left_out=parts.left_out,
            )
        case _:
            message = "unknown type (expected page_load, api_call or database_query)"
            raise DecodeError(Reason.UNKNOWN_TYPE, message, "type")
    return Fields(envelope.type, fields, left_out=parts.left_out)


def check_allowed(event: str, refuse: Collection[str]) -> None:
    """Raise DecodeError for an event of the catalogue that browsers may not send."""
    if event in refuse:
        message = f"browsers may not send {event}; see browser.refuse in exporter.yml"
        raise DecodeError(Reason.UNKNOWN_TYPE, message, "type")


def _require(data: dict[str, Any], name: str) -> None:
    if name not in data:
        raise DecodeError(Reason.SCHEMA, f"missing {name}", f"data.{name}")


_TIMES = {
    "total": "totalLoadTime",
    "dom_content_loaded": "domContentLoaded",
    "load_complete": "loadComplete",
    "render": "renderTime",
    "interactive": "domInteractive",
}


def _times(parts: _Parts) -> dict[str, float]:
    times = {name: parts.seconds(theirs) for name, theirs in _TIMES.items()}
    known = {name: time for name, time in times.items() if time is not None}
    # Asked before the load event has ended, a browser gives 0 for each time that has not come yet. The total is then
    # minus fetchStart, which the browser rounds to 0 when it begins fast enough: no load takes 0 s.
    if known.get("total") == 0:
        parts.left_out += 1
    return known if known.get("total") else {name: time for name, time in known.items() if time > 0}


def vital(body: bytes) -> Fields:
    """Decode POST /api/rum/vitals; a later event with the same id replaces the earlier one."""
    data = _decode(body, dict[str, Any])
    parts = _Parts(data)
    name = data.get("metric")
    if name not in VITALS:
        raise DecodeError(Reason.SCHEMA, f"unknown vital {str(name)[:20]!r} (expected {', '.join(VITALS)})", "metric")
    vital_id = parts.text("id", _MAX_ID)
    if name == "TTFB" and data.get("value") == 0 and _EARLY.match(vital_id):
        raise DecodeError(Reason.VALUE_RANGE, "the browser did not tell when the answer began", "value")
    value = parts.value(MAX_SCORE, 1000) if name == "CLS" else parts.value(MAX_SECONDS, 1000)
    measured = {"score": value} if name == "CLS" else {"seconds": value}
    rated = rating(name, value if name == "CLS" else value * 1000)
    fields = {"vital": name, "page": parts.text("page"), "rating": rated, **measured}
    return Fields("web_vital", fields, vital_id, left_out=parts.left_out)


def interaction(body: bytes, referer: str, *, cross_site: bool = False) -> Fields:
    """Decode POST /api/rum/events; the page is that of the Referer.

    Browsers cut it down to its origin for other sites (w3c.github.io/webappsec-referrer-policy, the default policy):
    ``https://shop.example/`` from another site says nothing about the page.
    """
    page = "" if cross_site and _is_bare(referer) else referer
    envelope = _decode(body, _Envelope)
    parts = _Parts(envelope.data)
    match envelope.type:
        case "click":
            element = parts.text("element").lower()
            fields = {"page": parts.text("page") or page, "element": {"a": "link"}.get(element, element)}
        case "form_submit":
            # A form without an id or name sends an empty string; one with an input named "id" sends an object.
            names = [envelope.data.get("formId"), envelope.data.get("formName")]
            fields = {"form": next((name[:200] for name in names if isinstance(name, str) and name), "")}
        case "javascript_error":
            _refuse_noise(envelope.data)
            fields = {"page": page, "kind": _kind(envelope.data.get("message"))}
        case "unhandled_promise_rejection":
            fields = {"page": page, "kind": _kind(envelope.data.get("reason"))}
        case _:
            known = "click, form_submit, javascript_error or unhandled_promise_rejection"
            raise DecodeError(Reason.UNKNOWN_TYPE, f"unknown type (expected {known})", "type")
    session = _Parts({"id": envelope.session_id})
    name = {"unhandled_promise_rejection": "unhandled_rejection"}.get(envelope.type, envelope.type)
    session_id = session.text("id", _MAX_SESSION)
    return Fields(name, fields, session=session_id, left_out=parts.left_out + session.left_out)


def _refuse_noise(error: dict[str, Any]) -> None:
    """Raise DecodeError for what is no fault of the page; an `Event("error")` of its own has no message at all."""
    stack = str(error.get("stack"))[:_MAX_TEXT]
    thrown = _ADDRESS.search(stack)
    said = (error.get("message"), error.get("source"), stack[thrown.start() :] if thrown else None)
    if not {"message", "source"} & error.keys() or any(isinstance(it, str) and _NOISE.match(it) for it in said):
        raise DecodeError(Reason.NOISE, "no error of the page", "data")


def _is_bare(url: str) -> bool:
    """Whether a URL names no page of a site, or is none."""
    try:
        return urlsplit(url).path in {"", "/"}
    except ValueError:
        return True


def _kind(error: object) -> str:
    """Return the class of an error from its message, or from its name where a library writes errors as JSON."""
    text = error.get("name") if isinstance(error, dict) else error
    match = _ERROR.search(text[:_MAX_TEXT]) if isinstance(text, str) else None
    return match[1] if match else ""


def _decode(body: bytes, kind: Any) -> Any:  # noqa: ANN401  # an instance of kind
    try:
        return msgspec.json.decode(body.removeprefix(BOM), type=kind)
    except UNDECODABLE as error:
        raise named(error) from error
