"""Sets up the log of a process: to standard error, one line an entry, logfmt as Prometheus writes it, or JSON."""

import json
import logging
import time
from collections.abc import Callable
from typing import Literal

Format = Literal["logfmt", "json"]

PERIOD = 60.0  # seconds
BURST = 20  # entries of one kind in a period
_MAX_KINDS, _MAX_KIND = 500, 200  # kinds that are remembered, and characters of one


def set_up_logs(level: str, form: Format = "logfmt") -> None:
    """Begin to log; call it once, from ``__main__``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Logfmt())
    handler.addFilter(RateLimit(time.monotonic))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level != "debug":  # a line for each request to PagerDuty and to a provider of sign-in
        logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").disabled = True  # 43 µs a request, and Prometheus counts requests better


class RateLimit(logging.Filter):
    """Lets each kind of entry through at most ``BURST`` times in a period, and then says how many were left out.

    A kind is what the code says, before anything is filled in: what a stranger sends must not fill a disk.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # kind -> start of its period, entries in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether an entry is written."""
        kind, now = (record.name, str(record.msg)[:_MAX_KIND]), self._clock()
        began, number = self._seen.pop(kind, (now, 0))
        if now - began >= PERIOD:
            if number > BURST:
                record.facts = {**getattr(record, "facts", {}), "left_out": number - BURST}
            began, number = now, 0
        self._seen[kind] = (began, number + 1)
        if len(self._seen) > _MAX_KINDS:
            del self._seen[next(iter(self._seen))]
        return number < BURST


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, str]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    fields = {
        "time": f"{moment}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "source": record.name,
        "msg": record.getMessage(),
    }
    # What an entry is about, to be searched by: log.info("...", extra={"facts": {"incident": 12}}).
    fields |= {name: str(value) for name, value in getattr(record, "facts", {}).items()}
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


class _Logfmt(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_quoted(value)}" for name, value in _fields(record, self).items())


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record, self), ensure_ascii=False)


def _quoted(value: str) -> str:
    """Quote what has spaces, quotes or control characters: an entry is one line, whatever somebody sent."""
    if value and value.isprintable() and not set(value) & set(' "=\\'):
        return value
    return json.dumps(value, ensure_ascii=False)
