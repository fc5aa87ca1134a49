"""Sends requests to a Prometheus as Grafana does, and returns the series and the time that each took.

Not receiver.clients.prometheus: that one splits long ranges and converts every sample to a number, which would change
what is measured here; it treats a refused query as an error, which is a finding here; and it has no label values.
"""

import time
from dataclasses import dataclass

import aiohttp
import msgspec

from grafana.queries.plan import Request, Window

_PATIENCE = aiohttp.ClientTimeout(total=60)
Labels = dict[str, str]
Points = tuple[tuple[float, str], ...]


class UnreachableError(Exception):
    """Nothing answers at the address, or it is no Prometheus."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the labels of each series with a value that is a number, and its points; or why nothing did."""

    request: Request
    series: tuple[Labels, ...]
    seconds: float
    error: str = ""
    points: tuple[Points, ...] = ()  # of each of the series, in the same order; none of the values of a label


class _Series(msgspec.Struct):
    metric: Labels = {}
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None

    def points(self) -> Points:
        """Give what would be drawn."""
        return tuple(one for one in ([self.value] if self.value else self.values) if one[1] != "NaN")


class _Result(msgspec.Struct):
    type: str = msgspec.field(name="resultType", default="")
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Body(msgspec.Struct):
    status: str
    error: str = ""
    data: _Result | list[str] | None = None


async def ask(session: aiohttp.ClientSession, url: str, request: Request, window: Window) -> Answer:
    """Send one request; UnreachableError when there is no Prometheus."""
    began = time.perf_counter()
    try:
        async with (
            session.post(*_to(url, request), data=_words(request, window), timeout=_PATIENCE)
            if (request.kind != "values")
            else session.get(*_to(url, request), params=_words(request, window), timeout=_PATIENCE) as answer
        ):
            text = await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnreachableError(f"{url} does not answer: {error}") from error
    took = time.perf_counter() - began
    try:
        body = msgspec.json.decode(text, type=_Body)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"{url} does not answer as a Prometheus does: {error}") from error
    drawn = _series(request, body)
    return Answer(request, tuple(labels for labels, _ in drawn), took, body.error, tuple(points for _, points in drawn))


def _to(url: str, request: Request) -> tuple[str]:
    paths = {"range": "query_range", "instant": "query", "values": f"label/{request.label}/values"}
    return (f"{url.rstrip('/')}/api/v1/{paths[request.kind]}",)


def _words(request: Request, window: Window) -> dict[str, str]:
    if request.kind == "instant":
        return {"query": request.expr, "time": str(window.end)}
    between = {"start": str(window.start), "end": str(window.end)}
    if request.kind == "values":
        return between | ({"match[]": request.expr} if request.expr else {})
    # Grafana asks for whole steps, so that lines do not tremble while time goes on.
    start = window.start // window.step * window.step
    return {"query": request.expr, "start": str(start), "end": str(window.end), "step": str(window.step)}


def _series(request: Request, body: _Body) -> list[tuple[Labels, Points]]:
    if isinstance(body.data, list):
        return [({request.label: value}, ()) for value in body.data]
    if body.data is None:
        return []
    if body.data.type == "scalar":
        return [({}, (msgspec.json.decode(body.data.result, type=tuple[float, str]),))]  # a number without labels
    series = msgspec.json.decode(body.data.result, type=list[_Series])
    return [(one.metric, one.points()) for one in series if one.points()]
