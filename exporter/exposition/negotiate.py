"""Negotiates the format of GET /metrics and renders it chunk by chunk, so that no scrape delays events."""

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest as plain_text
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics_text
from prometheus_client.registry import Collector

from exporter.exposition.text import Text
from exporter.registry.recorder import Recorder

_END = "# EOF\n"
_MARGIN = 0.5  # seconds of Prometheus' timeout left for the network
_ESCAPINGS = {"allow-utf-8", "underscores", "dots", "values"}  # our names are the same in each of them


class Format(NamedTuple):
    """The format of an answer."""

    open_metrics: bool
    content_type: str


PLAIN = Format(open_metrics=False, content_type="text/plain; version=0.0.4; charset=utf-8")


def negotiate(accept: str) -> Format:
    """Choose the format that an Accept header prefers; plain text if it names none that we have."""
    best, highest = PLAIN, 0.0
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        options = dict(item.split("=", 1) for item in parameters if "=" in item)
        form, quality = _offered(kind.lower(), options), _quality(options.get("q", "1"))
        if form is not None and quality > highest:
            best, highest = form, quality
    return best


def accepts(coding: str, accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows a coding, as "gzip" or "br".

    A coding that the header names counts before `*` (RFC 9110, 12.5.3). A quality that cannot be read is a refusal, and
    so is an absent header: RFC 9110 allows any coding then, but whoever sends none may not decode any.
    """
    qualities: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        options = {key.strip(): value for key, _, value in (item.partition("=") for item in parameters)}
        qualities[name.removeprefix("x-")] = _quality(options.get("q", "1"))  # x-gzip is gzip (RFC 9110, 8.4.1.3)
    return qualities.get(coding, qualities.get("*", 0.0)) > 0


def _offered(kind: str, options: dict[str, str]) -> Format | None:
    version = options.get("version", "")
    escaping = f"; escaping={options['escaping']}" if options.get("escaping") in _ESCAPINGS else ""
    if kind == "application/openmetrics-text" and version in {"", "0.0.1", "1.0.0"}:
        content = f"application/openmetrics-text; version={version or '1.0.0'}; charset=utf-8"
        return Format(open_metrics=True, content_type=content + (escaping if version == "1.0.0" else ""))
    if kind == "text/plain" and version == "1.0.0":
        return Format(open_metrics=False, content_type=f"text/plain; version=1.0.0; charset=utf-8{escaping}")
    if kind in {"text/plain", "text/*", "*/*"} and version in {"", "0.0.4"}:
        return PLAIN
    return None


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def budget(header: str) -> float:
    """Return the seconds that a scrape may take by X-Prometheus-Scrape-Timeout-Seconds; Prometheus' default is 10."""
    try:
        timeout = float(header)
    except ValueError:
        timeout = math.nan
    if not math.isfinite(timeout):
        timeout = 10.0
    return min(max(timeout - _MARGIN, 0.1), 60.0)


class Exposition:
    """The text of all series, and of the process metrics that prometheus_client collects."""

    def __init__(
        self,
        recorder: Recorder,
        process: CollectorRegistry,
        hold: float,
        now: Callable[[], float],
        omitted: Callable[[str], None] = lambda _family: None,
    ) -> None:
        """``omitted`` is told each family that is left out because a parser would refuse the whole scrape for it."""
        self._recorder, self._process, self._hold, self._now, self._omitted = recorder, process, hold, now, omitted
        self._texts = {name: Text(series) for name, series in recorder.series.items()}

    async def render(self, form: Format, names: Collection[str], *, gzip: bool, process: bool) -> bytes:
        """Return the body, compressed or not; with ``names``, only the families of these names."""
        # Level 1 costs a thirteenth of the usual 9 and is a tenth larger.
        compressor = zlib.compressobj(1, wbits=31) if gzip else None
        parts: list[bytes] = []
        async for text in self._parts(form, names, process=process):
            raw = text.encode()
            parts.append(compressor.compress(raw) if compressor else raw)
        if compressor:
            parts.append(compressor.flush())
        return b"".join(parts)

    async def _parts(self, form: Format, names: Collection[str], *, process: bool) -> AsyncIterator[str]:
        now = self._now()
        for name, series in self._recorder.series.items():
            if names and not any(_belongs(wanted, name) for wanted in names):
                continue
            if not self._texts[name].is_sound():
                self._omitted(name)
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
        registry = CollectorRegistry() if names else self._process
        if names:
            registry.register(_Named(self._process, names))
        if open_metrics:
            text: bytes = open_metrics_text(registry)  # type: ignore[no-untyped-call]
            return text.decode().removesuffix(_END)
        return plain_text(registry).decode()


class _Named(Collector):
    """The families of a registry that are asked for by their own name or by that of a sample.

    prometheus_client's restricted_registry finds no collector that does not describe itself, as those of the process.
    """

    def __init__(self, registry: CollectorRegistry, names: Collection[str]) -> None:
        self._registry, self._names = registry, names

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            if not {metric.name, *(sample.name for sample in metric.samples)}.isdisjoint(self._names):
                yield metric

    def describe(self) -> list[Metric]:
        return []


def _belongs(wanted: str, name: str) -> bool:
    return wanted == name or any(wanted == name + suffix for suffix in ("_bucket", "_count", "_sum"))
