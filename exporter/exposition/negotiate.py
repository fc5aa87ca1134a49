"""Answers GET /metrics: which format, which families, and written in turns, so that no scrape holds up the events."""

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest as plain_text
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics_text

from exporter.exposition.text import Text
from exporter.registry.recorder import Recorder

_END = "# EOF\n"
_MARGIN = 0.5  # seconds of Prometheus' time-out that are left for the network
_ESCAPINGS = {"allow-utf-8", "underscores", "dots", "values"}  # our names are the same in each


class Format(NamedTuple):
    """What was agreed on."""

    open_metrics: bool
    content_type: str


PLAIN = Format(open_metrics=False, content_type="text/plain; version=0.0.4; charset=utf-8")


def negotiate(accept: str) -> Format:
    """Choose the format that an Accept header likes best; plain text if it names none that we have."""
    best, liked = PLAIN, 0.0
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        given = dict(item.split("=", 1) for item in parameters if "=" in item)
        found, quality = _offered(kind.lower(), given), _quality(given.get("q", "1"))
        if found is not None and quality > liked:
            best, liked = found, quality
    return best


def _offered(kind: str, given: dict[str, str]) -> Format | None:
    version = given.get("version", "")
    escaping = f"; escaping={given['escaping']}" if given.get("escaping") in _ESCAPINGS else ""
    if kind == "application/openmetrics-text" and version in {"", "0.0.1", "1.0.0"}:
        content = f"application/openmetrics-text; version={version or '1.0.0'}; charset=utf-8"
        return Format(open_metrics=True, content_type=content + (escaping if version == "1.0.0" else ""))
    if kind == "text/plain" and version == "1.0.0":
        return Format(open_metrics=False, content_type=f"text/plain; version=1.0.0; charset=utf-8{escaping}")
    if kind in {"text/plain", "text/*", "*/*"} and version in {"", "0.0.4"}:
        return PLAIN
    return None


def _quality(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return 0.0


def budget(header: str) -> float:
    """Give the seconds that a scrape may take, by X-Prometheus-Scrape-Timeout-Seconds; 10 is Prometheus' default."""
    try:
        given = float(header)
    except ValueError:
        given = math.nan
    if not math.isfinite(given):
        given = 10.0
    return min(max(given - _MARGIN, 0.1), 60.0)


class Exposition:
    """The text of all series, and of the process by prometheus_client's collectors."""

    def __init__(self, recorder: Recorder, process: CollectorRegistry, hold: float, now: Callable[[], float]) -> None:
        self._recorder, self._process, self._hold, self._now = recorder, process, hold, now
        self._texts = {name: Text(series) for name, series in recorder.series.items()}

    async def write(self, form: Format, names: Collection[str], *, gzip: bool, process: bool) -> bytes:
        """Give the body, packed or not; only the families of these names if there are any."""
        # Level 1: 13 times cheaper than the usual 9, and a tenth larger.
        packer = zlib.compressobj(1, wbits=31) if gzip else None
        parts: list[bytes] = []
        async for text in self._parts(form, names, process=process):
            raw = text.encode()
            parts.append(packer.compress(raw) if packer else raw)
        if packer:
            parts.append(packer.flush())
        return b"".join(parts)

    async def _parts(self, form: Format, names: Collection[str], *, process: bool) -> AsyncIterator[str]:
        now = self._now()
        for name, series in self._recorder.series.items():
            if names and not any(_belongs(wanted, name) for wanted in names):
                continue
            held = series.release(now, self._hold)
            yield self._texts[name].header(open_metrics=form.open_metrics)
            for chunk in self._texts[name].chunks(now, held, open_metrics=form.open_metrics):
                yield chunk
                await asyncio.sleep(0)
        if process:
            yield self._collected(names, open_metrics=form.open_metrics)
        yield _END if form.open_metrics else ""

    def _collected(self, names: Collection[str], *, open_metrics: bool) -> str:
        registry = self._process.restricted_registry(list(names)) if names else self._process
        if open_metrics:
            written: bytes = open_metrics_text(registry)  # type: ignore[no-untyped-call]
            return written.decode().removesuffix(_END)
        return plain_text(registry).decode()


def _belongs(wanted: str, name: str) -> bool:
    return wanted == name or any(wanted == name + suffix for suffix in ("_bucket", "_count", "_sum"))
