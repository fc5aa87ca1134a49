"""Sets up the log of a process: to standard error, one line an entry, logfmt as Prometheus writes it, or JSON."""

import json
import logging
import time
from typing import Literal

Format = Literal["logfmt", "json"]


def set_up_logs(level: str, form: Format = "logfmt") -> None:
    """Begin to log; call it once, from ``__main__``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Logfmt())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("aiohttp.access").disabled = True  # 43 µs a request, and Prometheus counts requests better


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
