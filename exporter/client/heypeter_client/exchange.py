"""One attempt to send a batch to the exporter, and what its answer means."""

import contextlib
import gzip
import http.client
import json
import os
import re
import socket
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

_COMPRESS_ABOVE = 8 * 1024  # bytes; below it gzip costs more time than it saves
_RETRY_AFTER_MOST = 300.0  # seconds; a longer Retry-After is shortened


class Exchange:
    """The exporter's address, the token and the open connection."""

    def __init__(self, url: str, token: str, token_file: str | Path, timeout: float, wall: Callable[[], float]) -> None:
        self._address = _address(url or os.environ.get("HEYPETER_URL", ""))
        self._token = _token_reader(token, token_file)
        self._timeout, self._wall = timeout, wall
        self._connection: http.client.HTTPConnection | None = None

    @property
    def enabled(self) -> bool:
        """Whether an address and a token are there."""
        return self._address is not None and self._token is not None

    def post(self, batch_id: str, events: list[bytes]) -> tuple[int, float, dict[str, Any]]:
        """Return the status, the seconds to wait and the answer; status 0 if the exporter could not be reached."""
        if self._address is None or self._token is None:
            return 0, 0.0, {}
        head = json.dumps({"batch_id": batch_id, "sent_at": round(self._wall(), 3)})[:-1]
        body = f'{head}, "events": ['.encode() + b",".join(events) + b"]}"
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        headers["Idempotency-Key"] = batch_id  # by which a balancer sends it to the same exporter again
        if len(body) > _COMPRESS_ABOVE:
            body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
        connection = self._connection = _connection(self._address, self._timeout)
        try:
            connection.request("POST", self._address.path, body, headers)
            response = connection.getresponse()
            wait = _retry_after(response.headers.get("Retry-After", ""), self._wall())
            return response.status, wait, _parsed(response.read())
        except (OSError, http.client.HTTPException):
            return 0, 0.0, {}
        finally:
            connection.close()

    def abort(self) -> None:
        """End the attempt that is under way, from another thread."""
        sock = self._connection.sock if self._connection else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _connection(address: SplitResult, timeout: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    return kind(address.hostname or "", address.port, timeout=timeout)


def _address(text: str) -> SplitResult | None:
    if not text:
        return None
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.password:
        raise ValueError("HEYPETER_URL is the exporter's address without a password: http://127.0.0.1:3001")
    return url._replace(path="/api/events") if url.path in {"", "/"} else url


def _token_reader(token: str, file: str | Path) -> Callable[[], str] | None:
    """Return a function that reads the token; a file is read for every batch, so a new token needs no restart."""
    token = token or ("" if file else os.environ.get("HEYPETER_TOKEN", ""))
    path = Path(file or os.environ.get("HEYPETER_TOKEN_FILE", ""))
    if not token and path == Path():
        return None
    known = [_clean(token or path.read_text("utf-8"))]

    def current() -> str:
        if not token:
            with contextlib.suppress(OSError, ValueError):  # the file is being replaced
                known[0] = _clean(path.read_text("utf-8"))
        return known[0]

    return current


def _clean(token: str) -> str:
    if not re.fullmatch(r"[!-~]+", token.strip()):  # http.client's own error would repeat the token
        raise ValueError("the token is empty or has characters beyond ASCII")
    return token.strip()


def _parsed(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(body)
        if isinstance(answer, dict):
            return answer
    return {}


def _retry_after(header: str, now: float) -> float:
    """Retry-After is seconds or a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    seconds = float(header) if header.isdecimal() else 0.0
    with contextlib.suppress(ValueError, OverflowError):
        seconds = seconds or parsedate_to_datetime(header).timestamp() - now
    return min(max(seconds, 0.0), _RETRY_AFTER_MOST)
