"""Asks Prometheus' HTTP API for rules and series, a piece at a time.

prometheus.io/docs/prometheus/latest/querying/api. A range query may have 11,000 points a series.
"""

import math
from collections.abc import Iterator
from typing import TypeVar

import aiohttp
import msgspec

from receiver.reports.review.firing import Sample
from receiver.reports.review.shape import Rule

POINTS = 10_000  # of a series in one answer
_PIECE = 86_400.0  # seconds of raw samples in one answer
_PATIENCE = aiohttp.ClientTimeout(total=150, connect=10)
T = TypeVar("T")
Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, list[Sample]]


class PrometheusError(Exception):
    """A question was not answered; the text says why, and never how we are known there."""


class _Result(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    result: list[_Result]


class _Alert(msgspec.Struct):
    name: str
    query: str = ""
    type: str = ""
    duration: float = 0.0
    keep_firing_for: float = msgspec.field(default=0.0, name="keepFiringFor")
    labels: dict[str, str] = {}  # msgspec copies a mutable default


class _Group(msgspec.Struct):
    file: str
    interval: float
    rules: list[_Alert]


class _Groups(msgspec.Struct):
    groups: list[_Group]


class _Refused(msgspec.Struct):
    error: str = ""


class _Answer(msgspec.Struct):
    data: msgspec.Raw


class Prometheus:
    """One Prometheus, or what speaks like it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        self._session, self._url, self._headers = session, url.rstrip("/"), headers

    async def rules(self) -> list[Rule]:
        """Give the alerts, in the order of their groups."""
        found = await self._ask("rules", {"type": "alert"}, _Groups)
        return [
            Rule(
                rule.name,
                rule.query,
                rule.duration,
                rule.keep_firing_for,
                group.interval,
                rule.labels.get("priority", ""),
                rule.labels.get("team", ""),
                group.file,
            )
            for group in found.groups
            for rule in group.rules
            if rule.type == "alerting"
        ]

    async def over(self, query: str, start: float, end: float, step: int) -> Series:
        """Give the series of a range, asked for in pieces that Prometheus allows."""
        found: Series = {}
        for begin, finish in pieces(start, end, step, POINTS):
            given = {"query": query, "start": f"{begin:.3f}", "end": f"{finish:.3f}", "step": str(step)}
            for labels, samples in _series(await self._ask("query_range", given, _Data)):
                found.setdefault(labels, []).extend(samples)
        return found

    async def raw(self, selector: str, start: float, end: float) -> Series:
        """Give the samples of a selector as they were stored: after ``start``, up to ``end``."""
        found: Series = {}
        begin = start
        while begin < end:
            finish = min(begin + _PIECE, end)
            length = math.ceil(finish - begin)
            given = {"query": f"{selector}[{length}s]", "time": f"{finish:.3f}"}
            for labels, samples in _series(await self._ask("query", given, _Data)):
                kept = found.setdefault(labels, [])
                kept.extend(pair for pair in samples if pair[0] > begin and (not kept or pair[0] > kept[-1][0]))
            begin = finish
        return found

    async def at(self, query: str, moment: float) -> dict[Labels, float]:
        """Give the values of a moment."""
        found = await self._ask("query", {"query": query, "time": f"{moment:.3f}"}, _Data)
        return {_labels(one.metric): float(one.value[1]) for one in found.result if one.value}

    async def _ask(self, way: str, given: dict[str, str], kind: type[T]) -> T:
        url = f"{self._url}/api/v1/{way}"
        try:
            if way == "rules":  # the only one of them that must be asked by GET
                asked = self._session.get(url, params=given, headers=self._headers, timeout=_PATIENCE)
            else:
                asked = self._session.post(url, data=given, headers=self._headers, timeout=_PATIENCE)
            async with asked as answer:
                body, status = await answer.read(), answer.status
        except TimeoutError as error:
            raise PrometheusError(f"{way}: no answer in time") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise PrometheusError(f"cannot be reached ({_reason(error)})") from error
        try:
            if status != 200:  # noqa: PLR2004  # OK
                raise PrometheusError(f"{way}: {_said(body) or f'HTTP status {status}'}")
            return msgspec.json.decode(msgspec.json.decode(body, type=_Answer).data, type=kind)
        except msgspec.DecodeError as error:
            raise PrometheusError(f"{way}: the answer is not Prometheus' ({error})") from error


def pieces(start: float, end: float, step: int, points: int) -> Iterator[tuple[float, float]]:
    """Divide a range into pieces of at most so many points, none of which is asked for twice."""
    length = step * (points - 1)
    begin = start
    while begin <= end:
        yield begin, min(begin + length, end)
        begin += length + step


def _series(data: _Data) -> Iterator[tuple[Labels, list[Sample]]]:
    for one in data.result:
        yield _labels(one.metric), [(at, float(value)) for at, value in one.values]


def _labels(metric: dict[str, str]) -> Labels:
    return tuple(sorted(metric.items()))


def _said(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refused).error[:300]
    except msgspec.DecodeError:
        return ""


def _reason(error: Exception) -> str:
    system = getattr(error, "os_error", None)
    return str(getattr(system, "strerror", "")) or str(error) or type(error).__name__
