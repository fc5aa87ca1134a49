"""One request that an application serves: counted once, when its answer is sent, its client leaves or it breaks off."""

import re
import time
from collections.abc import Callable, Mapping

from .client import Client, trace

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
# Types of a response that goes on for as long as somebody listens: that its client leaves is how it ends.
_STREAM = re.compile(
    r"text/event-stream|application/(x-ndjson|ndjson|jsonl|json-seq|stream\+json|grpc\b.*)|multipart/x-mixed-replace"
)
# Types that are sent piece by piece both for a stream and for a document: a stream if their length is not known.
_OPEN = re.compile(r"text/plain|application/octet-stream|audio/.*|video/.*")
_LONGEST = 3600.0  # seconds
_MAX_ROUTE, _MAX_METHOD = 2000, 50  # characters; anybody may ask for a path of any length
_STATUSES = range(100, 600)
_UPGRADE, _OK, _REDIRECT, _ERROR, _CLIENT_LEFT, _FAILED = 101, 200, 300, 400, 499, 500


def trace_id(traceparent: str) -> str:
    """Return the trace id of a W3C traceparent header, or "": https://www.w3.org/TR/trace-context/#traceparent-header."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match[1] if match else ""


def since(began: float, ended: float | None = None) -> float:
    """Return the seconds since a time of ``perf_counter``; an hour at most, as the exporter refuses more."""
    passed = (time.perf_counter() if ended is None else ended) - began
    return min(max(passed, 0.0), _LONGEST)


def request_data(method: str, route: str, status: int) -> dict[str, object]:
    """Return what the exporter takes of a request: anybody may ask for a path of any length."""
    known = status if status in _STATUSES else _FAILED
    return {"method": method[:_MAX_METHOD], "route": route[:_MAX_ROUTE], "status": known}


class ServedRequest:
    """The duration of a request is a latency; of a stream or an upgrade only the time to the first byte is told.

    heypeter.mjs decides in the same way: tests/exporter/client/requests.yml has the cases of both.
    """

    def __init__(self, client: Client, method: str, route: Callable[[], str], traceparent: str) -> None:
        self._client, self._method, self._route = client, method, route
        self._trace = trace_id(traceparent) or trace.get()
        self._began = time.perf_counter()
        self._first_byte = 0.0
        self._status = 0
        self._is_stream = self._is_endless = False
        self.has_failed = self.is_counted = False

    @property
    def is_answered(self) -> bool:
        """Whether the head of the response was written."""
        return self._status != 0

    def answer(self, status: int, headers: Mapping[str, str], *, in_parts: bool) -> None:
        """Note the head of the response; the names of ``headers`` are in lower case. An upgrade is counted by it."""
        self._first_byte = self._first_byte or time.perf_counter()
        self._status = status
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        has_no_length = in_parts and "content-length" not in headers
        can_stream = _OK <= status < _REDIRECT and self._method != "HEAD" and has_no_length
        self._is_endless = status == _UPGRADE or (can_stream and _STREAM.fullmatch(kind) is not None)
        is_open = can_stream and "content-encoding" not in headers and _OPEN.fullmatch(kind) is not None
        self._is_stream = self._is_endless or is_open
        if status == _UPGRADE:
            self.end()

    def fail(self) -> None:
        """Note that the application failed: 500, unless it answers with another error."""
        self.has_failed = True

    def end(self, *, client_left: bool = False) -> None:
        """Count the request, unless it was counted before."""
        if self.is_counted:
            return
        self.is_counted = True
        status = self._status or _FAILED
        if client_left and not self._is_endless:
            status = _CLIENT_LEFT
        elif self.has_failed and status < _ERROR:
            status = _FAILED
        data = request_data(self._method, self._route(), status)
        if self._is_stream:
            data |= {"duration": since(self._began, self._first_byte), "kind": "stream"}
        else:
            data["duration"] = since(self._began)
        self._client.track("http_request", data, trace_id=self._trace)
