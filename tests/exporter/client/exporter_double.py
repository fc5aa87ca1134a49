"""A stand-in for the exporter's private endpoint: real sockets, its contract, and scripted misfortunes."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.request import Request, urlopen

TOKEN = "s3cret-token-of-the-exporter"


@dataclass
class Call:
    """One request as it arrived."""

    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]

    @property
    def batch_id(self) -> str:
        return str(self.body["batch_id"])

    @property
    def notes(self) -> list[Any]:
        """What the tests number their events by."""
        return [event["data"].get("rating") for event in self.body["events"]]


@dataclass
class ExporterDouble:
    """Counts like the exporter; ``script`` says what befalls the next requests.

    ``"lose"`` counts and ends the connection without an answer, ``"hang"`` counts and never answers, ``"half"`` counts
    and breaks off in the answer; a status answers with it, and with Retry-After if there is one behind a space.
    """

    script: list[str] = field(default_factory=list)
    limit: int = 1000  # events of a request; more is 413
    reject: str = ""  # events of this type are refused
    upstream: str = ""  # a real exporter that does the counting
    calls: list[Call] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def wait_for_calls(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= count, 30), f"{len(self.calls)} of {count} calls"

    @property
    def notes(self) -> list[Any]:
        return [event["data"].get("rating") for event in self.counted]

    def take(self, call: Call) -> tuple[int, dict[str, str], dict[str, Any], str]:
        """Give status, headers, answer and how to break the connection."""
        with self.changed:
            fate = self.script.pop(0) if self.script else "ok"
            self.calls.append(call)
            self.changed.notify_all()
            if call.headers.get("authorization") != f"Bearer {TOKEN}":
                return 401, {}, {"error": "the bearer token is wrong"}, ""
            if fate[0].isdigit():
                status, _, retry_after = fate.partition(" ")
                headers = {"Retry-After": retry_after} if retry_after else {}
                return int(status), headers, {"error": f"scripted {status}", "reason": "scripted"}, ""
            if len(call.body["events"]) > self.limit:
                return 413, {}, {"error": "send less at a time"}, ""
            answer = self._forward(call) if self.upstream else self._count(call)
            is_bad = not answer["accepted"] and not answer["duplicates"]
            return 400 if is_bad else 202, {}, answer, "" if fate == "ok" else fate

    def _count(self, call: Call) -> dict[str, Any]:
        if call.batch_id not in self.known:
            ids = {event["id"] for event in self.counted if "id" in event}
            events = list(enumerate(call.body["events"]))
            bad = [index for index, event in events if event["type"] == self.reject]
            new = [event for index, event in events if index not in bad and event.get("id") not in ids]
            self.counted += new
            message = {"reason": "schema", "field": "data.rating", "message": "Expected `int`"}
            rejected = [{"index": index, **message} for index in bad]
            duplicates = len(events) - len(new) - len(bad)
            answer = {"accepted": len(new), "duplicates": duplicates, "rejected": rejected[:100]}
            self.known[call.batch_id] = {**answer, "rejected_total": len(rejected)}
        return self.known[call.batch_id]

    def _forward(self, call: Call) -> dict[str, Any]:
        names = {"authorization", "content-type", "content-encoding"}
        headers = {name: value for name, value in call.headers.items() if name in names}
        with urlopen(Request(f"{self.upstream}/api/events", call.raw, headers), timeout=30) as response:
            return dict(json.loads(response.read()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: ExporterDouble

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw)
        status, more, answer, broken = self.double.take(Call({**headers, "path": self.path}, raw, body))
        if broken == "hang":
            self.double.released.wait(60)
        if broken in {"hang", "lose"}:
            self.close_connection = True
            return
        text = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if broken == "half" else text)
        self.close_connection = self.close_connection or broken == "half"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client keeps its connection open

    @classmethod
    def serving(cls, double: ExporterDouble, port: int) -> Self:
        return cls(("127.0.0.1", port), type("Handler", (_Handler,), {"double": double}))


@contextmanager
def serve(double: ExporterDouble, port: int = 0) -> Iterator[ExporterDouble]:
    server = _Server.serving(double, port)
    double.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield double
    finally:
        double.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
